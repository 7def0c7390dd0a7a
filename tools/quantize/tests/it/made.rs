//! Small networks of all operators that are read, compared with the results of ONNX Runtime, TensorFlow Lite
//! and Keras. The scripts `made/make*.py` made networks and results.

use std::fs::File;
use std::path::Path;

use brooklet::ops::MAX_KERNEL;
use brooklet_import::network::Op;
use brooklet_import::{Imported, Options, load};
use brooklet_quantize::forward::FloatModel;
use ndarray::{Array2, Array4};
use ndarray_npy::NpzReader;

use crate::files;

/// Largest error, relative to the largest output.
const TOLERANCE: f32 = 1e-4;

#[test]
fn networks_compute_what_their_own_engines_do() {
    let files = files("made", &["onnx", "tflite", "keras", "h5"]);
    assert!(files.len() >= 75, "{} files", files.len());
    let wrong: Vec<String> = files.iter().filter_map(|file| check(file).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(file: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let network = match load(file, &Options::default()).map_err(|error| error.to_string())? {
        Imported::Float(network) => network,
        Imported::Quantized(_) => return Err(format!("{name} is quantized")),
    };
    // Kernels are as layers have them.
    for node in &network.nodes {
        let kernel = match &node.op {
            Op::Conv(conv) => conv.kernel(),
            Op::MaxPool(window) => window.kernel,
            Op::AveragePool(pool) => pool.window.kernel,
            _ => [1, 1],
        };
        if kernel.iter().any(|&size| size > MAX_KERNEL) {
            return Err(format!("{name}: `{}` has a kernel of {kernel:?}", node.source));
        }
    }
    let [height, width, channels] = network.input;
    // Sines, in the order image, channel, row, column.
    let images = Array4::from_shape_fn((2, height, width, channels), |(image, y, x, channel)| {
        let index = ((image * channels + channel) * height + y) * width + x;
        (index as f32 * 0.37).sin()
    });
    let model = FloatModel::new(&network).map_err(|error| format!("{name}: {error}"))?;
    let answers = model.answers(images.view()).map_err(|error| format!("{name}: {error}"))?;
    let mut expected = NpzReader::new(File::open(file.with_extension("npz")).unwrap()).unwrap();
    if answers.len() != expected.len() {
        return Err(format!("{name}: {} outputs, not {}", answers.len(), expected.len()));
    }
    for (index, answer) in answers.iter().enumerate() {
        let expected: Array2<f32> = expected.by_name(&format!("y{index}.npy")).unwrap();
        if answer.dim() != expected.dim() {
            return Err(format!("{name}: output {index} is {:?}", answer.dim()));
        }
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let error = (answer - &expected).iter().fold(0f32, |error, d| error.max(d.abs()));
        if error.is_nan() || error > TOLERANCE * largest {
            return Err(format!("{name}: output {index} is wrong by {error} of {largest}"));
        }
    }
    Ok(())
}
