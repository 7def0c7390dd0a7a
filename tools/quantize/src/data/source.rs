//! Sources of images: folders, CIFAR-10's records, arrays, noise.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use brooklet_files::{self as files, Limit};
use brooklet_plan::Preprocess;
use ndarray::{Array4, Axis, Ix1};

use super::numbers::{self, Numbers};
use crate::array::{self, Npz};
use crate::error::{DataError, DataProblem};
use crate::network::Shape;

/// A source of images.
pub(super) enum Source {
    /// Files with their classes.
    Folder(Vec<(PathBuf, Option<usize>)>),
    /// A file of 3073-byte records.
    Cifar { file: Mutex<File>, records: usize },
    /// An array in memory, NHWC.
    Array { images: Array4<u8>, labels: Option<Vec<usize>> },
    /// Uniform noise.
    Random(usize),
}

/// The classes of CIFAR-10.
const CIFAR_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Size of a record: a label byte and three planes of 32×32.
const CIFAR_RECORD: usize = 1 + 3 * 32 * 32;

impl Source {
    /// Opens the source that the user named.
    pub(super) fn open(
        spec: &str,
        path: &Path,
        input: Shape,
        preprocess: &Preprocess,
    ) -> Result<(Source, Option<Vec<String>>), DataProblem> {
        if let Some(count) = spec.strip_prefix("random:") {
            let count = count.parse().map_err(|_| DataProblem::Data {
                detail: format!("`{count}` is not a number of images"),
            })?;
            return Ok((Source::Random(count), None));
        }
        if fs::metadata(path)?.is_dir() {
            return folder(path);
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("npy") => {
                let bytes = files::read(path, Limit::Array)?;
                let images = Numbers::read(&bytes).map_err(not_images)?;
                let images = images.images(input, preprocess)?;
                Ok((Source::Array { images, labels: None }, None))
            }
            Some("npz") => npz(path, input, preprocess),
            _ if is_idx(path) => idx_images(path, input),
            Some("png" | "jpg" | "jpeg" | "bmp" | "ppm" | "pgm" | "webp") => {
                Err(DataProblem::Data { detail: "is one image, not a folder of images".into() })
            }
            _ => {
                let (file, length) = files::open(path)?;
                let length = length as usize;
                if length == 0 || !length.is_multiple_of(CIFAR_RECORD) {
                    let detail = format!(
                        "is not a CIFAR-10 binary file: {length} bytes are not a whole number of \
                         records of {CIFAR_RECORD} bytes"
                    );
                    return Err(DataProblem::Data { detail });
                }
                let source =
                    Source::Cifar { file: Mutex::new(file), records: length / CIFAR_RECORD };
                let classes = CIFAR_CLASSES.map(String::from).to_vec();
                Ok((source, Some(classes)))
            }
        }
    }
}

fn not_images(error: impl std::fmt::Display) -> DataProblem {
    DataProblem::Data {
        detail: format!("is not an array of images or features [N, H, W, C]: {error}"),
    }
}

/// The entries of a folder, sorted by name, without hidden ones.
fn sorted(path: &Path) -> Result<Vec<PathBuf>, DataProblem> {
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.retain(|path| {
        !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    });
    entries.sort();
    Ok(entries)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase);
    const IMAGES: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "ppm", "pgm", "webp"];
    extension.is_some_and(|extension| IMAGES.contains(&&*extension)) && path.is_file()
}

/// The images directly in a folder, sorted by name.
///
/// # Errors
///
/// [`DataError`] if it cannot be read.
pub fn images_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let found = sorted(folder).map_err(|problem| problem.in_file(folder))?;
    Ok(found.into_iter().filter(|path| is_image(path)).collect())
}

/// The images in a folder, sorted by subfolder and name; without subfolders they have no classes.
fn folder(path: &Path) -> Result<(Source, Option<Vec<String>>), DataProblem> {
    let entries = sorted(path)?;
    let classes: Vec<&PathBuf> = entries.iter().filter(|path| path.is_dir()).collect();
    if classes.is_empty() {
        let files =
            entries.into_iter().filter(|path| is_image(path)).map(|path| (path, None)).collect();
        return Ok((Source::Folder(files), None));
    }
    let mut files = vec![];
    for (class, path) in classes.iter().enumerate() {
        let images = sorted(path)?.into_iter().filter(|path| is_image(path));
        files.extend(images.map(|path| (path, Some(class))));
    }
    let name =
        |path: &&PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((Source::Folder(files), Some(classes.iter().map(name).collect())))
}

/// Images from the array `x`, and labels, if there are any, from `y`, or from other usual names.
fn npz(
    path: &Path,
    input: Shape,
    preprocess: &Preprocess,
) -> Result<(Source, Option<Vec<String>>), DataProblem> {
    let (mut file, numbers) = numbers_of(path)?;
    let images = numbers.images(input, preprocess)?;
    let labels = match find(&file.names(), &["y", "y_test", "labels", "arr_1"]) {
        None => None,
        Some(name) => Some(labels(&mut file, &name, images.len_of(Axis(0)))?),
    };
    Ok((Source::Array { images, labels }, None))
}

/// The name of the array that has one of these usual names.
fn find(names: &[String], wanted: &[&str]) -> Option<String> {
    let stem = |name: &String| name.strip_suffix(".npy").unwrap_or(name).to_owned();
    let found = wanted.iter().find_map(|w| names.iter().find(|name| stem(name) == **w));
    found.cloned()
}

/// The numbers of an `.npz` file.
fn numbers_of(path: &Path) -> Result<(Npz, Numbers), DataProblem> {
    let mut file = Npz::open(path)?;
    let names = file.names();
    let images = find(&names, &["x", "x_test", "images", "data", "arr_0"])
        .ok_or_else(|| not_images(format!("it holds {}, but no `x`", names.join(", "))))?;
    let images = file.member(&images).and_then(|bytes| Numbers::read(&bytes));
    Ok((file, images.map_err(not_images)?))
}

/// The smallest and the largest of zero and an array's numbers, if these are not pixels; `None` for
/// other data.
///
/// # Errors
///
/// If the file cannot be read, or holds values that are not finite.
pub fn range_of_numbers(spec: &str) -> Result<Option<[f32; 2]>, DataError> {
    let path = Path::new(spec);
    let extension = path.extension().and_then(|extension| extension.to_str());
    let range = || {
        let numbers = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("npy") => Numbers::read(&files::read(path, Limit::Array)?).map_err(not_images)?,
            Some("npz") => numbers_of(path)?.1,
            _ => return Ok(None),
        };
        numbers.range().map_err(|detail| DataProblem::Data { detail })
    };
    range().map_err(|problem: DataProblem| problem.in_file(path))
}

/// Whether a file has a name as MNIST's files have.
fn is_idx(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with("-ubyte") || name.ends_with(".idx") || name.contains("idx3")
}

/// The images of an IDX file, and their labels, if a file of labels is beside it.
fn idx_images(path: &Path, input: Shape) -> Result<(Source, Option<Vec<String>>), DataProblem> {
    let wrong = |detail: String| DataProblem::Data { detail };
    let images = numbers::idx(&files::read(path, Limit::Array)?).map_err(wrong)?;
    let images = Numbers::Bytes(images).images(input, &Preprocess::default())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = name.replace("images", "labels").replace("idx3", "idx1");
    let beside = path.with_file_name(&beside);
    let mut all = None;
    if beside != path && beside.is_file() {
        let found = numbers::idx(&files::read(&beside, Limit::Array)?).map_err(wrong)?;
        if found.len() == images.len_of(Axis(0)) {
            all = Some(found.iter().map(|&label| label.into()).collect());
        }
    }
    Ok((Source::Array { images, labels: all }, None))
}

fn labels(file: &mut Npz, name: &str, count: usize) -> Result<Vec<usize>, DataProblem> {
    let detail = |what: String| DataProblem::Data { detail: format!("its labels `{name}` {what}") };
    let bytes = file.member(name).map_err(|error| detail(format!("cannot be read: {error}")))?;
    let widened: Vec<i64> = if let Ok(values) = array::npy::<i64, Ix1>(&bytes) {
        values.to_vec()
    } else if let Ok(values) = array::npy::<i32, Ix1>(&bytes) {
        values.iter().map(|&label| label.into()).collect()
    } else {
        let values = array::npy::<u8, Ix1>(&bytes);
        let values = values.map_err(|error| detail(format!("are not integers: {error}")))?;
        values.iter().map(|&label| label.into()).collect()
    };
    if widened.len() != count {
        return Err(detail(format!("are {}, but there are {count} images", widened.len())));
    }
    let labels = widened.into_iter().enumerate().map(|(row, label)| {
        let negative = || detail(format!("have {label} in row {row}: they count from 0"));
        usize::try_from(label).map_err(|_| negative())
    });
    labels.collect()
}

/// The class of a CIFAR-10 record.
pub(super) fn label_byte(file: &Mutex<File>, index: usize) -> std::io::Result<u8> {
    let mut byte = [0];
    let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    file.seek(SeekFrom::Start((index * CIFAR_RECORD) as u64))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// A CIFAR-10 record: its class, and its planes.
pub(super) fn record(file: &Mutex<File>, index: usize) -> std::io::Result<(u8, Vec<u8>)> {
    let mut record = vec![0; CIFAR_RECORD];
    let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    file.seek(SeekFrom::Start((index * CIFAR_RECORD) as u64))?;
    file.read_exact(&mut record)?;
    let planes = record.split_off(1);
    Ok((record[0], planes))
}
