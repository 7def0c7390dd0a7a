//! int8 files give the same bytes as TensorFlow Lite for Microcontrollers.

use std::io::Write;
use std::path::{Path, PathBuf};

use brooklet::quant::{Multiplier, requantize};
use brooklet_import::network::{
    Activation, QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp,
};
use brooklet_import::{Imported, Options, load};
use brooklet_plan::Preprocess;
use brooklet_plan::packing::Kernels;
use brooklet_plan::program::Program;
use brooklet_quantize::lower::int8::lower;
use ndarray::{Array2, Array4};
use ndarray_npy::ReadNpyExt;

use crate::in_session;

/// The logits of images, each of rows × columns × channels bytes.
fn logits(program: &Program, images: &[Vec<u8>]) -> Vec<Vec<i16>> {
    in_session(program, |session| {
        let answer = |image: &Vec<u8>| session.run_image(image).unwrap().scores().collect();
        Ok(images.iter().map(answer).collect())
    })
    .unwrap()
}

fn case(folder: &str) -> Option<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/networks").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    // Writes past the test runner's capture, which hides the output of passing tests.
    let line = format!("SKIPPED: there is no {}\n", path.display());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

#[test]
fn networks_give_the_bytes_of_tflm() {
    for (folder, name) in [("21-tflite-mean-35-pixels", "k50"), ("23-exact-and-good", "k50a")] {
        let Some(folder) = case(folder) else { continue };
        let open = |end: &str| std::fs::File::open(folder.join(format!("{name}_{end}"))).unwrap();
        let images = Array4::<u8>::read_npy(open("x.npy")).unwrap();
        let expected = Array2::<i8>::read_npy(open("tflm.npy")).unwrap();
        let path = folder.join(format!("{name}_int8.tflite"));
        let Ok(Imported::Quantized(network)) = load(path, &Options::default()) else { panic!() };
        let program = lower(&network, &Preprocess::default()).unwrap();
        let images: Vec<Vec<u8>> =
            images.outer_iter().map(|image| image.iter().copied().collect()).collect();
        let found = logits(&program, &images);
        let equal = found.iter().zip(expected.outer_iter()).filter(|(found, expected)| {
            found.iter().copied().eq(expected.iter().map(|&logit| i16::from(logit)))
        });
        assert_eq!(equal.count(), images.len(), "{name}");
    }
}

/// A network with images of 5 × 7 pixels, a convolution whose first channels are dead, and a mean
/// of 35 pixels.
fn dead_channels_and_mean() -> QuantizedNetwork {
    let node = |name: &str, op, inputs: &[usize], shape, scale, zero_point| QuantizedNode {
        summed: false,
        name: name.to_owned(),
        source: name.to_owned(),
        op,
        inputs: inputs.to_vec(),
        shape,
        scale,
        zero_point,
        int16: false,
        activation: Activation::None,
    };
    let mut weights = Array4::zeros((4, 1, 1, 2));
    weights[[2, 0, 0, 0]] = 1;
    weights[[3, 0, 0, 0]] = 60;
    weights[[3, 0, 0, 1]] = -59;
    let conv = QuantizedConv {
        zeros: None,
        scales: vec![1e-8, 1e-8, 1e-8, 0.004],
        bias: vec![1 << 30, -(1 << 30), -(1 << 30), 900],
        ..QuantizedConv::of_weights(weights, 1)
    };
    QuantizedNetwork {
        input: [5, 7, 2],
        nodes: vec![
            node("input", QuantizedOp::Input, &[], [5, 7, 2], 1.0, -128),
            node("conv", QuantizedOp::Conv(conv), &[0], [5, 7, 4], 0.37, -11),
            node("mean", QuantizedOp::TfliteMean, &[1], [1, 1, 4], 0.0451, 5),
        ],
        outputs: vec![],
        normalization: None,
    }
}

/// The answer that TFLM computes: each channel's sums are requantized and added up, and the result
/// is multiplied with a multiplier that was divided by the number of pixels.
fn by_tflm(network: &QuantizedNetwork, image: &[u8]) -> Vec<i16> {
    let QuantizedOp::Conv(conv) = &network.nodes[1].op else { panic!() };
    let [input, output] = [&network.nodes[1], &network.nodes[2]];
    let scales = Multiplier::from_real(f64::from(input.scale) / f64::from(output.scale)).unwrap();
    // 35 pixels take a shift of five bits.
    let mantissa = (i64::from(scales.mantissa.to_bits()) << 5) / 35;
    let mean = Multiplier {
        mantissa: fixed::types::I1F31::from_bits(mantissa as i32),
        shift: scales.shift - 5,
    };
    assert!(mantissa < 1 << 30, "a mantissa below one half");
    (0..4)
        .map(|o| {
            let real = f64::from(conv.scales[o]) / f64::from(input.scale);
            let multiplier = Multiplier::from_real(real).unwrap();
            let mut sum = 0;
            for pixel in image.chunks(2) {
                let products =
                    [0, 1].map(|i| i32::from(conv.weights[[o, 0, 0, i]]) * i32::from(pixel[i]));
                let acc = conv.bias[o] + products[0] + products[1];
                sum += (requantize(acc, multiplier) + input.zero_point).clamp(-128, 127);
            }
            let centred = sum - 35 * input.zero_point;
            (requantize(centred, mean) + output.zero_point).clamp(-128, 127) as i16
        })
        .collect()
}

#[test]
fn dead_channels_and_means_of_35_pixels_are_exact() {
    let network = dead_channels_and_mean();
    let program = lower(&network, &Preprocess::default()).unwrap();
    let images: Vec<Vec<u8>> = (0..200usize)
        .map(|n| (0..70).map(|i| (((n * 70 + i) * 2_654_435_761) >> 11) as u8).collect())
        .collect();
    let expected: Vec<_> = images.iter().map(|image| by_tflm(&network, image)).collect();
    assert!(expected.iter().any(|logits| logits[3] != expected[0][3]));
    assert_eq!(logits(&program, &images), expected);
    // All boards' kernels can use all sums.
    for kernels in
        ["armv7em", "armv6m", "helium", "rv32", "rvv"].map(|name| Kernels::named(name).unwrap())
    {
        let program = kernels.packed(program.clone());
        assert_eq!(logits(&program, &images[..10]), expected[..10], "{kernels:?}");
    }
}

#[test]
fn a_sum_that_can_wrap_is_named() {
    let mut network = dead_channels_and_mean();
    let QuantizedOp::Conv(conv) = &mut network.nodes[1].op else { panic!() };
    conv.bias[2] = i32::MAX;
    let error = lower(&network, &Preprocess::default()).unwrap_err().to_string();
    for part in ["`conv`", "output channel 2", "2147483902"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
