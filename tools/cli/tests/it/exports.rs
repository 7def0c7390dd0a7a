//! Networks as PyTorch's own exporters write them, compared with PyTorch's results: every file of
//! the folder, and the errors for files that cannot be imported.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use crate::common::shared_cases;
use crate::shell::brooklet;
use brooklet_import::{Imported, Options, load};
use brooklet_quantize::forward::FloatModel;
use ndarray::{Array2, Array4, ArrayD, Axis, Ix4};
use ndarray_npy::NpzReader;

/// Files that are refused, with a part of the error.
const REFUSED: [(&str, &str); 4] = [
    ("group-norm", "operator InstanceNormalization is not supported"),
    ("upsample-decoder", "operator Resize is not supported"),
    ("saved.jit.pt", "is a TorchScript archive"),
    ("saved.pt2", "is a program of torch.export"),
];

/// Files whose weights have fewer digits.
const HALF: &str = "saved.ddp-half.pt";

/// Minimum signal to noise of the quantized networks, in decibels.
const LEAST: f64 = 30.0;

/// Largest error, relative to the largest output.
const TOLERANCE: f32 = 1e-4;

#[test]
fn every_export_imports_and_computes_what_pytorch_does() {
    let Some(networks) = shared_cases("every_export") else { return };
    let folder = networks.parent().unwrap().join("exports");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "npz"));
    files.sort();
    assert!(files.len() >= 60, "{} files", files.len());
    let mut wrong = BTreeMap::new();
    let mut models: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let refused = REFUSED.iter().find(|(start, _)| name.starts_with(start));
        let problem = match (check(&file), refused) {
            // The network of a checkpoint is one of these.
            (Ok(()), None) if file.extension().is_some_and(|extension| extension != "onnx") => {
                continue;
            }
            (Ok(()), None) => match quantized(&file) {
                Ok((_, db)) if db < LEAST => format!("has {db} dB in int8"),
                Err(message) => message,
                Ok((model, _)) => {
                    // All exporters' files of a network give the same model.
                    let network = name.split('.').next().unwrap().to_owned();
                    let other = models.entry(network).or_insert_with(|| model.clone());
                    if other.len() == model.len() {
                        continue;
                    }
                    format!("is a model of {} bytes, not {}", model.len(), other.len())
                }
            },
            (Ok(()), Some(_)) => "is imported".to_owned(),
            (Err(message), Some((_, words))) if message.contains(words) => continue,
            (Err(message), _) => message,
        };
        wrong.insert(name, problem);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A model of the network, and its error on other noise than that which it was quantized with.
fn quantized(file: &Path) -> Result<(Vec<u8>, f64), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = file.display();
    let line = format!("quantize {file} --effort fast --calibrate random:8 -o a.brook --json");
    let output = brooklet(folder.path(), &line)?;
    let report: serde_json::Value = serde_json::from_str(&output).unwrap();
    let db = report["evidence"]["sqnr_db"].as_f64().ok_or("has no evidence")?;
    Ok((fs::read(folder.path().join("a.brook")).unwrap(), db))
}

/// Compares a network's outputs with those in the file beside it.
fn check(file: &Path) -> Result<(), String> {
    let bare = file.extension().is_some_and(|extension| extension != "onnx");
    let arch = bare.then(|| "resnet20".parse().unwrap());
    let tolerance = if file.ends_with(HALF) { 20.0 * TOLERANCE } else { TOLERANCE };
    let network = match load(file, &Options { arch, ..Options::default() })
        .map_err(|error| error.to_string())?
    {
        Imported::Float(network) => network,
        Imported::Quantized(_) => return Err("is quantized".into()),
    };
    let stem = file.file_name().unwrap().to_str().unwrap().split('.').next().unwrap();
    let arrays = file.with_file_name(format!("{stem}.npz"));
    let mut arrays = NpzReader::new(File::open(arrays).unwrap()).unwrap();
    let x: ArrayD<f32> = arrays.by_name("x.npy").unwrap();
    let x = images(x, network.input);
    let model = FloatModel::new(&network).map_err(|error| error.to_string())?;
    let answers = model.answers(x.view()).map_err(|error| error.to_string())?;
    let expected = (0..).map_while(|index| {
        let name = format!("y{index}.npy");
        let float = arrays.by_name::<ndarray::OwnedRepr<f32>, ndarray::IxDyn>(&name).ok();
        float.or_else(|| {
            let ints = arrays.by_name::<ndarray::OwnedRepr<i64>, ndarray::IxDyn>(&name).ok()?;
            Some(ints.mapv(|index| index as f32))
        })
    });
    let expected: Vec<ArrayD<f32>> = expected.collect();
    if expected.len() != answers.len() {
        return Err(format!("{} outputs, not {}", answers.len(), expected.len()));
    }
    for (index, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        // Maps in the order of rows, columns and channels.
        let expected = match (expected.ndim(), bare) {
            (4, false) => {
                expected.permuted_axes(vec![0, 2, 3, 1]).as_standard_layout().into_owned()
            }
            _ => expected,
        };
        let count = expected.shape()[0];
        let size = expected.len() / count;
        let expected: Array2<f32> = expected.into_shape_with_order((count, size)).unwrap();
        if answer.dim() != expected.dim() {
            return Err(format!("output {index} is {:?}, not {:?}", answer.dim(), expected.dim()));
        }
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let error = (answer - &expected).iter().fold(0f32, |error, d| error.max(d.abs()));
        if error.is_nan() || error > tolerance * largest {
            return Err(format!("output {index} is wrong by {error} of {largest}"));
        }
    }
    Ok(())
}

/// Images as rows, columns, channels, converted from the layout of the network's input.
fn images(x: ArrayD<f32>, input: [usize; 3]) -> Array4<f32> {
    let x = if x.ndim() == 3 { x.insert_axis(Axis(2)) } else { x };
    let x = x.into_dimensionality::<Ix4>().unwrap();
    let (_, one, two, three) = x.dim();
    let x = if [one, two, three] == input { x } else { x.permuted_axes([0, 2, 3, 1]) };
    x.as_standard_layout().into_owned()
}
