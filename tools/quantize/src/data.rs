//! Images to calibrate and to evaluate with, as bytes of exactly the network's input size.
//!
//! A [`Dataset`] gives any image by its number and reads it when asked, so it can be shared
//! between threads and never holds more than a list of files (`.npy` and `.npz` excepted: those
//! are held whole). [`Preprocess`] says how an image of another size is fitted, and how bytes
//! become the numbers that a float network takes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use image::imageops;
use image::{DynamicImage, RgbImage};
use ndarray::{Array3, Array4, Axis, Ix1, Ix4};

use crate::array::{self, Npz};
use crate::decode;
use crate::error::{Error, Fault, Problem};
use crate::network::Shape;
use brooklet_files::{self as files, Limit};
pub use brooklet_plan::Preprocess;

/// An image of the network's input size.
fn fit(preprocess: &Preprocess, image: DynamicImage, input: Shape) -> Result<Array3<u8>, Problem> {
    let mut image = image;
    if let Some(short) = preprocess.resize {
        image = decode::resize(image, short)?;
    }
    if let Some([height, width]) = preprocess.crop {
        let found = [image.height(), image.width()];
        if found[0] < height || found[1] < width {
            let [found, crop] = [found, [height, width]].map(|size| size.map(|n| n as usize));
            return Err(Problem::CropSize { found, crop });
        }
        // Halves go to the even pixel, as in Python.
        let start = |all: u32, part: u32| (f64::from(all - part) / 2.0).round_ties_even() as u32;
        let (x, y) = (start(found[1], width), start(found[0], height));
        image = imageops::crop_imm(&image, x, y, width, height).to_image().into();
    }
    let [height, width, channels] = input;
    let size = [image.height() as usize, image.width() as usize];
    let pixels = match channels {
        1 => image.into_luma8().into_raw(),
        _ => image.into_rgb8().into_raw(),
    };
    if size != [height, width] || channels * height * width != pixels.len() {
        let found = [size[0], size[1], pixels.len() / (size[0] * size[1]).max(1)];
        return Err(Problem::ImageSize { found, wanted: input });
    }
    Ok(Array3::from_shape_vec((height, width, channels), pixels).expect("as many pixels"))
}

/// [`Preprocess::normalize`] for all pixels of one image.
pub fn normalized(preprocess: &Preprocess, pixels: &Array3<u8>) -> Array3<f32> {
    let channels = pixels.len_of(Axis(2));
    let tables: Vec<[f32; 256]> = (0..channels)
        .map(|channel| std::array::from_fn(|pixel| preprocess.normalize(pixel as u8, channel)))
        .collect();
    let mut result = Array3::zeros(pixels.dim());
    for ((index, &pixel), value) in pixels.indexed_iter().zip(&mut result) {
        *value = tables[index.2][usize::from(pixel)];
    }
    result
}

/// An image and what it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Bytes, `[height, width, channels]`.
    pub pixels: Array3<u8>,
    /// The number of its class, if known.
    pub label: Option<usize>,
}

/// Reads one image file, fitted to the network's input.
pub fn read_image(
    path: impl AsRef<Path>,
    input: Shape,
    preprocess: &Preprocess,
) -> Result<Array3<u8>, Error> {
    let path = path.as_ref();
    let read = || {
        let bytes = files::read(path, Limit::Image)?;
        Ok(fit(preprocess, decode::decode(&bytes)?, input)?)
    };
    read().map_err(|fault: Fault| fault.in_file(path))
}

/// Images by number.
pub struct Dataset {
    /// As the user named it.
    spec: PathBuf,
    source: Source,
    classes: Option<Vec<String>>,
    input: Shape,
    preprocess: Preprocess,
}

enum Source {
    /// Files with their classes.
    Folder(Vec<(PathBuf, Option<usize>)>),
    /// A file of 3073-byte records.
    Cifar { file: Mutex<File>, records: usize },
    /// Whole in memory, NHWC.
    Array { images: Array4<u8>, labels: Option<Vec<usize>> },
    /// Uniform noise.
    Random(usize),
}

/// The classes of CIFAR-10.
const CIFAR_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// A label byte and three planes of 32×32.
const CIFAR_RECORD: usize = 1 + 3 * 32 * 32;

impl Dataset {
    /// Opens a folder of images (one subfolder a class), a CIFAR-10 binary file, an `.npy` or
    /// `.npz` file, or `random:N`, for a network of this input.
    pub fn open(spec: &str, input: Shape, preprocess: &Preprocess) -> Result<Dataset, Error> {
        let path = PathBuf::from(spec);
        let (source, classes) =
            Source::open(spec, &path, input).map_err(|fault| fault.in_file(&path))?;
        let dataset = Dataset { spec: path, source, classes, input, preprocess: *preprocess };
        if dataset.is_empty() {
            let detail = "holds no images".into();
            return Err(Fault::from(Problem::Data { detail }).in_file(&dataset.spec));
        }
        Ok(dataset)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Folder(files) => files.len(),
            Source::Cifar { records, .. } => *records,
            Source::Array { images, .. } => images.len_of(Axis(0)),
            Source::Random(count) => *count,
        }
    }

    /// Never true: an empty data set does not open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, if the data has them.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// Name of an image: its file, or the data and its number.
    pub fn name(&self, index: usize) -> String {
        match &self.source {
            Source::Folder(files) => files[index].0.display().to_string(),
            _ => format!("{}[{index}]", self.spec.display()),
        }
    }

    /// Image `index`, of the network's input size.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn get(&self, index: usize) -> Result<Image, Error> {
        assert!(index < self.len(), "image {index} of {}", self.len());
        let fault = |fault: Fault| {
            let layer = Some(format!("image {index}"));
            Error { layer, ..fault.in_file(&self.spec) }
        };
        match &self.source {
            Source::Folder(files) => {
                let (path, label) = &files[index];
                let pixels = read_image(path, self.input, &self.preprocess)?;
                Ok(Image { pixels, label: *label })
            }
            Source::Cifar { file, .. } => {
                let (label, planes) = record(file, index).map_err(|error| fault(error.into()))?;
                let pixels = Array3::from_shape_fn((32, 32, 3), |(y, x, channel)| {
                    planes[channel * 1024 + y * 32 + x]
                });
                let pixels = self.fit(pixels).map_err(|problem| fault(problem.into()))?;
                Ok(Image { pixels, label: Some(label.into()) })
            }
            Source::Array { images, labels } => {
                let pixels = images.index_axis(Axis(0), index).to_owned();
                let pixels = self.fit(pixels).map_err(|problem| fault(problem.into()))?;
                Ok(Image { pixels, label: labels.as_ref().map(|labels| labels[index]) })
            }
            Source::Random(_) => {
                let mut noise = Noise::new(index as u64);
                let [height, width, channels] = self.input;
                let pixels =
                    Array3::from_shape_simple_fn((height, width, channels), || noise.byte());
                Ok(Image { pixels, label: None })
            }
        }
    }

    /// Refuses a label among these images that a network of `classes` classes does not have. A network
    /// of one score tells two apart.
    ///
    /// # Errors
    ///
    /// Names the first image with such a label.
    pub fn check_labels(&self, images: Range<usize>, classes: usize) -> Result<(), Error> {
        let classes = classes.max(2);
        if self.is_noise() {
            return Ok(());
        }
        for index in images {
            let label = self.label(index)?;
            if let Some(label) = label.filter(|&label| label >= classes) {
                let fault = Fault::from(Problem::Label { label, classes });
                let layer = Some(format!("image {index}"));
                return Err(Error { layer, ..fault.in_file(&self.spec) });
            }
        }
        Ok(())
    }

    /// The labels of all images, where they are known.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn labels(&self) -> Result<Vec<Option<usize>>, Error> {
        (0..self.len()).map(|index| self.label(index)).collect()
    }

    fn label(&self, index: usize) -> Result<Option<usize>, Error> {
        Ok(match &self.source {
            Source::Folder(files) => files[index].1,
            Source::Cifar { file, .. } => {
                let label = label_byte(file, index);
                Some(label.map_err(|error| Fault::from(error).in_file(&self.spec))?.into())
            }
            Source::Array { labels, .. } => labels.as_ref().map(|labels| labels[index]),
            Source::Random(_) => None,
        })
    }

    /// Whether the images are noise, of which nothing can be learned.
    pub fn is_noise(&self) -> bool {
        matches!(self.source, Source::Random(_))
    }

    /// Some images as a batch that a float network takes, `[images, height, width, channels]`.
    pub fn batch(
        &self,
        images: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Array4<f32>, Error> {
        self.batch_with(images, &self.preprocess)
    }

    /// The same with other means and deviations.
    ///
    /// # Errors
    ///
    /// The first image that cannot be read.
    pub fn batch_with(
        &self,
        images: impl ExactSizeIterator<Item = usize>,
        preprocess: &Preprocess,
    ) -> Result<Array4<f32>, Error> {
        let [height, width, channels] = self.input;
        let mut batch = Array4::zeros((images.len(), height, width, channels));
        for (index, mut place) in images.zip(batch.outer_iter_mut()) {
            place.assign(&normalized(preprocess, &self.get(index)?.pixels));
        }
        Ok(batch)
    }

    /// Numbers class folders as `names` does, the network's classes in its order. Where none of them
    /// has such a name they stay numbered in the order of their own.
    ///
    /// # Errors
    ///
    /// Names a folder that is no such class, where others are.
    pub fn number_by(&mut self, names: &[String]) -> Result<(), Error> {
        let (Source::Folder(files), Some(folders)) = (&mut self.source, &self.classes) else {
            return Ok(());
        };
        let places: Vec<Option<usize>> = folders
            .iter()
            .map(|folder| names.iter().position(|name| name.trim() == folder))
            .collect();
        if places.iter().all(Option::is_none) {
            return Ok(());
        }
        if let Some(stray) = places.iter().position(Option::is_none) {
            let folder = &folders[stray];
            let detail = format!("its folder `{folder}` is none of the network's classes");
            return Err(Fault::from(Problem::Data { detail }).in_file(&self.spec));
        }
        for (_, label) in files {
            *label = label.and_then(|label| places[label]);
        }
        self.classes = Some(names.to_vec());
        Ok(())
    }

    /// So many images, or all, from the whole of the data: folders come class by class.
    pub fn spread(&self, count: usize) -> Vec<usize> {
        let count = count.min(self.len());
        (0..count).map(|index| index * self.len() / count).collect()
    }

    /// Pixels from memory, fitted to the input.
    fn fit(&self, pixels: Array3<u8>) -> Result<Array3<u8>, Problem> {
        let (height, width, channels) = pixels.dim();
        let found = [height, width, channels];
        let reshapes = self.preprocess.resize.is_some() || self.preprocess.crop.is_some();
        if !reshapes && found == self.input {
            return Ok(pixels);
        }
        let raw = pixels.as_standard_layout().iter().copied().collect();
        let image = match channels {
            1 => image::GrayImage::from_raw(width as u32, height as u32, raw).map(Into::into),
            3 => RgbImage::from_raw(width as u32, height as u32, raw).map(Into::into),
            _ => None,
        };
        let image = image.ok_or(Problem::ImageSize { found, wanted: self.input })?;
        fit(&self.preprocess, image, self.input)
    }
}

impl Source {
    fn open(spec: &str, path: &Path, input: Shape) -> Result<(Source, Option<Vec<String>>), Fault> {
        if let Some(count) = spec.strip_prefix("random:") {
            let count = count.parse().map_err(|_| Problem::Data {
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
                let images = array::npy::<u8, Ix4>(&bytes).map_err(not_images)?;
                Ok((Source::Array { images: channels_last(images, input), labels: None }, None))
            }
            Some("npz") => npz(path, input),
            Some("png" | "jpg" | "jpeg") => {
                Err(Problem::Data { detail: "is one image, not a folder of images".into() }.into())
            }
            _ => {
                let (file, length) = files::open(path)?;
                let length = length as usize;
                if length == 0 || !length.is_multiple_of(CIFAR_RECORD) {
                    let detail = format!(
                        "is not a CIFAR-10 binary file: {length} bytes are no whole number of \
                         records of {CIFAR_RECORD} bytes"
                    );
                    return Err(Problem::Data { detail }.into());
                }
                let source =
                    Source::Cifar { file: Mutex::new(file), records: length / CIFAR_RECORD };
                let classes = CIFAR_CLASSES.map(String::from).to_vec();
                Ok((source, Some(classes)))
            }
        }
    }
}

fn not_images(error: impl std::fmt::Display) -> Problem {
    Problem::Data { detail: format!("is not an array of uint8 images [N, H, W, C]: {error}") }
}

/// The images in a folder, by subfolder and name; without subfolders they have no classes.
fn folder(path: &Path) -> Result<(Source, Option<Vec<String>>), Fault> {
    let sorted = |path: &Path| -> Result<Vec<PathBuf>, Fault> {
        let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.retain(|path| {
            !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
        });
        entries.sort();
        Ok(entries)
    };
    let is_image = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.map(str::to_ascii_lowercase);
        matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) && path.is_file()
    };
    let entries = sorted(path)?;
    let classes: Vec<&PathBuf> = entries.iter().filter(|path| path.is_dir()).collect();
    if classes.is_empty() {
        let files = entries.into_iter().filter(is_image).map(|path| (path, None)).collect();
        return Ok((Source::Folder(files), None));
    }
    let mut files = vec![];
    for (class, path) in classes.iter().enumerate() {
        let images = sorted(path)?.into_iter().filter(is_image);
        files.extend(images.map(|path| (path, Some(class))));
    }
    let name =
        |path: &&PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((Source::Folder(files), Some(classes.iter().map(name).collect())))
}

/// Images under `x`, labels, if any, under `y` (or some other usual names).
fn npz(path: &Path, input: Shape) -> Result<(Source, Option<Vec<String>>), Fault> {
    let mut file = Npz::open(path)?;
    let names = file.names();
    let find = |wanted: &[&str]| {
        let stem = |name: &String| name.strip_suffix(".npy").unwrap_or(name).to_owned();
        let found = wanted.iter().find_map(|w| names.iter().find(|name| stem(name) == **w));
        found.cloned()
    };
    let images = find(&["x", "x_test", "images", "data", "arr_0"])
        .ok_or_else(|| not_images(format!("it holds {}, but no `x`", names.join(", "))))?;
    let images = file.member(&images).and_then(|bytes| array::npy::<u8, Ix4>(&bytes));
    let images = images.map_err(not_images)?;
    let labels = match find(&["y", "y_test", "labels", "arr_1"]) {
        None => None,
        Some(name) => Some(labels(&mut file, &name, images.len_of(Axis(0)))?),
    };
    Ok((Source::Array { images: channels_last(images, input), labels }, None))
}

fn labels(file: &mut Npz, name: &str, count: usize) -> Result<Vec<usize>, Problem> {
    let detail = |what: String| Problem::Data { detail: format!("its labels `{name}` {what}") };
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

/// Images as NHWC; they are taken for NCHW only if they cannot be anything else.
fn channels_last(images: Array4<u8>, [_, _, channels]: Shape) -> Array4<u8> {
    let (_, one, _, three) = images.dim();
    if three != channels && one == channels {
        images.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned()
    } else {
        images
    }
}

fn label_byte(file: &Mutex<File>, index: usize) -> std::io::Result<u8> {
    let mut byte = [0];
    let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    file.seek(SeekFrom::Start((index * CIFAR_RECORD) as u64))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn record(file: &Mutex<File>, index: usize) -> std::io::Result<(u8, Vec<u8>)> {
    let mut record = vec![0; CIFAR_RECORD];
    let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    file.seek(SeekFrom::Start((index * CIFAR_RECORD) as u64))?;
    file.read_exact(&mut record)?;
    let planes = record.split_off(1);
    Ok((record[0], planes))
}

/// A splitmix64 generator: the same bytes for the same seed, everywhere.
struct Noise {
    state: u64,
}

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise { state: seed.wrapping_mul(0xd134_2543_de82_ef95) }
    }

    fn byte(&mut self) -> u8 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 56) as u8
    }
}
