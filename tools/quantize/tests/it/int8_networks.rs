//! Small int8 networks, compared with the results of TensorFlow Lite for Microcontrollers and of
//! ONNX Runtime. The scripts `int8/make_*.py` made networks and results.

use std::fs::File;
use std::path::Path;

use brooklet_import::network::{Ending, QuantizedNetwork};
use brooklet_import::{Imported, Options, load};
use brooklet_plan::Preprocess;
use brooklet_quantize::lower::int8::lower;
use ndarray::Array2;
use ndarray_npy::NpzReader;

use crate::{files, in_session};

/// Largest error of ONNX networks, whose rounding differs, relative to the largest output.
const TOLERANCE: f32 = 0.03;

/// The bytes of an image of sines.
fn image(network: &QuantizedNetwork, number: usize, channels_first: bool) -> Vec<u8> {
    let [height, width, channels] = network.input;
    let node = &network.nodes[0];
    let pixel = |y: usize, x: usize, channel: usize| {
        let index = match channels_first {
            true => ((number * channels + channel) * height + y) * width + x,
            false => ((number * height + y) * width + x) * channels + channel,
        };
        let mut real = (index as f32 * 0.37).sin();
        if let Some(normalization) = &network.normalization {
            let (factor, offset) = normalization[channel];
            real = (f64::from(real) * factor + offset) as f32;
        }
        let level = (real / node.scale).round() + node.zero_point as f32;
        (level.clamp(-128.0, 127.0) as i8 as u8) ^ 0x80
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    places.flat_map(|(y, x)| (0..channels).map(move |c| pixel(y, x, c))).collect()
}

fn check(file: &Path) -> Result<(), String> {
    let network = load(file, &Options::default()).map_err(|error| error.to_string())?;
    let Imported::Quantized(network) = network else { return Err("a float network".into()) };
    let mut program = lower(&network, &Preprocess::default()).map_err(|error| error.to_string())?;
    // The image is in levels already.
    program.layers[0].table = None;
    let mut expected = NpzReader::new(File::open(file.with_extension("npz")).unwrap()).unwrap();
    let exact: Option<Array2<f32>> = expected.by_name("bytes.npy").ok();
    let reals: Array2<f32> = expected.by_name("reals.npy").map_err(|error| error.to_string())?;
    let ending = network.outputs[0].ending;
    let onnx = file.extension().is_some_and(|extension| extension == "onnx");
    let channels_first = onnx || file.file_stem().is_some_and(|name| name == "upright");
    let answers = in_session(&program, |session| {
        let answer = |number| {
            let image = image(&network, number, channels_first);
            session.push_image(&image).map_err(|error| error.to_string())?;
            let map = session.map().map_err(|error| error.to_string())?;
            let scores: Vec<f32> = map.scores().map(f32::from).collect();
            Ok((scores, map.quantization()))
        };
        (0..reals.nrows()).map(answer).collect::<Result<Vec<_>, String>>()
    })?;
    for (number, ((scores, quantization), reals)) in
        answers.into_iter().zip(reals.outer_iter()).enumerate()
    {
        if let Some(exact) = exact.as_ref().filter(|_| ending == Ending::None) {
            if scores != exact.row(number).to_vec() {
                return Err(format!("{scores:?} is not {}", exact.row(number)));
            }
            continue;
        }
        let (scale, zero) = (quantization.scale, f32::from(quantization.zero_point));
        let mut found: Vec<f32> = scores.iter().map(|q| scale * (q - zero)).collect();
        if ending == Ending::UnitLength {
            let length = found.iter().map(|value| value * value).sum::<f32>().sqrt();
            found.iter_mut().for_each(|value| *value /= length);
        }
        if ending == Ending::Sigmoid {
            found.iter_mut().for_each(|value| *value = 1.0 / (1.0 + (-*value).exp()));
        }
        let largest = reals.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * largest;
        if found.len() != reals.len() || !found.iter().zip(reals).all(near) {
            return Err(format!("{found:?} is not {reals}"));
        }
    }
    Ok(())
}

#[test]
fn int8_networks_compute_what_their_own_engines_do() {
    let files = files("int8", &["onnx", "tflite"]);
    assert!(files.len() >= 19, "{} files", files.len());
    let wrong = files.iter().filter_map(|file| {
        let error = check(file).err()?;
        Some(format!("{}: {error}", file.file_name().unwrap().display()))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
