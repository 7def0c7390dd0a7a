//! A model as an ONNX network: an engine computes the simulator's numbers, and brooklet reads the
//! file as the network that it wrote.

use std::path::Path;

use crate::onnx::{Onnx, attribute, scalar, weight};
use crate::shell::{brooklet, json, resnet8, succeed};
use brooklet::format::Operator;
use brooklet_plan::model_file::{HostBackend, ModelFile};
use rten_onnx::onnx::AttributeProto;

const NORMALIZED: &str = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";

/// Exports a model, and compares an engine's results with the simulator's.
#[track_caller]
fn exported(folder: &Path, name: &str) {
    let report = json(folder, &format!("export {name}.brook -o {name}.onnx --compare random:12"));
    let agreement = &report["agreement"];
    // A value at half a step can be slightly less in the engine, and the difference spreads.
    assert!(agreement["same_class"].as_f64().unwrap() >= 0.9, "{name}: {agreement}");
    assert!(agreement["sqnr_db"].as_f64().is_none_or(|sqnr| sqnr >= 25.0), "{name}: {agreement}");
}

/// The logits of some images of noise.
fn logits(folder: &Path, name: &str) -> Vec<i16> {
    let file = ModelFile::open(folder.join(name)).unwrap();
    let mut simulator = file.simulator(HostBackend::Auto).unwrap();
    let bytes = file.model().input().bytes();
    let pixel = |image: usize, at: usize| ((at * at + 7 * at * image) % 251) as u8;
    let image = |image| (0..bytes).map(|at| pixel(image, at)).collect::<Vec<_>>();
    (0..8).flat_map(|number| simulator.run(&image(number)).logits).collect()
}

/// Reads an exported network, and compares it with the model that it was made from: the same layers
/// and scales, and this share of equal scores.
#[track_caller]
fn comes_back(folder: &Path, name: &str, percent: usize) {
    succeed(folder, &format!("quantize {name}.onnx -o {name}.back.brook"));
    let files = [".brook", ".back.brook"].map(|ending| format!("{name}{ending}"));
    let opened = files.each_ref().map(|file| ModelFile::open(folder.join(file)).unwrap());
    let layers = opened.each_ref().map(|file| {
        let layers = file.model().layers().iter();
        // A batch norm comes back as the depthwise convolution that it is.
        let kind = |operator| match operator {
            Operator::BatchNorm => Operator::DepthwiseConv,
            other => other,
        };
        let of = |layer: &brooklet::format::LayerRecord| {
            let scale = (layer.scale.get(), layer.zero_point);
            (kind(layer.operator()), layer.shape(), Some(scale))
        };
        let mut layers: Vec<_> = layers.map(of).collect();
        // The image has units of its own.
        layers[0].2 = None;
        layers
    });
    assert_eq!(layers[0], layers[1], "{name}");
    let [here, back] = files.each_ref().map(|file| logits(folder, file));
    let same = here.iter().zip(&back).filter(|(a, b)| a == b).count();
    assert!(100 * same >= percent * here.len(), "{name}: {same} of {} scores", here.len());
}

#[test]
fn a_residual_network_comes_back() {
    let folder = resnet8();
    let folder = folder.path();
    let from = "quantize a.safetensors --arch resnet8 --effort fast --calibrate random:8";
    let quantize = |options: &str| succeed(folder, &format!("{from} {options}"));
    quantize(&format!("-o a.brook {NORMALIZED}"));
    exported(folder, "a");
    comes_back(folder, "a", 99);
    quantize(&format!("-o four.brook --weights 4 {NORMALIZED}"));
    exported(folder, "four");
    comes_back(folder, "four", 99);
    let wide = std::fs::metadata(folder.join("a.onnx")).unwrap().len();
    let four = std::fs::metadata(folder.join("four.onnx")).unwrap().len();
    assert!(four * 10 < wide * 7, "weights are two in a byte: {four} of {wide}");
    // ONNX has integers of four bits, which can hold three bits, but not five or six.
    for (bits, halved) in [(3, true), (5, false), (6, false)] {
        let name = format!("in{bits}");
        quantize(&format!("-o {name}.brook --weights {bits} {NORMALIZED}"));
        exported(folder, &name);
        comes_back(folder, &name, 99);
        let bytes = std::fs::metadata(folder.join(format!("{name}.onnx"))).unwrap().len();
        assert_eq!(bytes * 10 < wide * 7, halved, "{bits} bits: {bytes} of {wide}");
    }
    // Only other engines can read streams of 16 bits.
    quantize("-o stream.brook --stream 16");
    exported(folder, "stream");
    quantize("-o last.brook --int16 last");
    exported(folder, "last");
}

/// A network with all operators that a ResNet does not have.
fn of_all_operators() -> Vec<u8> {
    let word = |name: &str, word: &str| AttributeProto {
        name: Some(name.into()),
        s: Some(word.into()),
        ..Default::default()
    };
    let three = [attribute("kernel_shape", &[3, 3]), attribute("pads", &[1, 1, 1, 1])];
    let group = |groups| [&three[..], &[scalar("group", groups)]].concat();
    let pool = [
        attribute("kernel_shape", &[3, 3]),
        attribute("strides", &[2, 2]),
        attribute("pads", &[1, 1, 1, 1]),
    ];
    let counted = [&pool[..], &[scalar("count_include_pad", 1)]].concat();
    let around = [0, 0, 1, 1, 0, 0, 1, 1];
    Onnx::new(&[0, 3, 12, 12])
        .floats("w1", &[8, 3, 3, 3], |index| 0.01 * weight(index))
        .floats("w2", &[8, 4, 3, 3], |index| 0.2 * weight(index))
        .floats("w3", &[8, 1, 3, 3], weight)
        .floats("w4", &[8, 8, 1, 1], weight)
        .floats("slopes", &[8, 1, 1], |channel| 0.1 * channel as f32)
        .floats("six", &[], |_| 6.0)
        .floats("zero", &[], |_| 0.0)
        .floats("w5", &[5, 24], |index| 0.05 * weight(index))
        .floats("w6", &[2, 8], weight)
        .ints("around", &around)
        .node("Conv", "x w1", "c1", &three)
        .node("PRelu", "c1 slopes", "p1", &[])
        .node("Pad", "p1 around", "b1", &[word("mode", "reflect")])
        .node("Conv", "b1 w2", "c2", &[attribute("kernel_shape", &[3, 3]), scalar("group", 2)])
        .node("HardSwish", "c2", "h2", &[])
        .node("Conv", "h2 w3", "c3", &group(8))
        .node("Clip", "c3 zero six", "r3", &[])
        .node("GlobalAveragePool", "r3", "m3", &[])
        .node("Conv", "m3 w4", "e3", &[])
        .node("Sigmoid", "e3", "g3", &[])
        .node("Mul", "r3 g3", "s3", &[])
        .node("Add", "s3 h2", "a3", &[])
        .node("MaxPool", "a3", "x4", &pool)
        .node("AveragePool", "a3", "y4", &pool)
        .node("AveragePool", "a3", "z4", &counted)
        .node("Concat", "x4 y4 z4", "k4", &[scalar("axis", 1)])
        .node("GlobalAveragePool", "x4", "m4", &[])
        .node("Flatten", "m4", "f4", &[])
        .node("Gemm", "f4 w6", "other", &[scalar("transB", 1)])
        .node("GlobalAveragePool", "k4", "m5", &[])
        .node("Flatten", "m5", "f5", &[])
        .node("Gemm", "f5 w5", "scores", &[scalar("transB", 1)])
        .node("Softmax", "scores", "probabilities", &[scalar("axis", 1)])
        .bytes_with_outputs(&["probabilities", "other"])
}

#[test]
fn every_operator_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("net.onnx"), of_all_operators()).unwrap();
    succeed(folder, "quantize net.onnx --effort fast --calibrate random:8 -o all.brook");
    let file = ModelFile::open(folder.join("all.brook")).unwrap();
    let found = |operator| file.model().layers().iter().any(|layer| layer.operator() == operator);
    use Operator::*;
    let all = [
        Conv,
        Add,
        MaxPool,
        AveragePool,
        Softmax,
        GroupedConv,
        DepthwiseConv,
        Lookup,
        Multiply,
        Concat,
        WindowAverage,
        Border,
    ];
    let missing: Vec<_> = all.into_iter().filter(|&operator| !found(operator)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    exported(folder, "all");
    // A separate batch norm, and an addition in TFLite's form, are in other networks.
    succeed(folder, "new preact-resnet20 -o b.safetensors");
    let from = "quantize b.safetensors --arch preact-resnet20 --effort fast --calibrate random:2";
    succeed(folder, &format!("{from} -o b.brook"));
    exported(folder, "b");
    // The file stores scales as floats of 24 bits; over twenty blocks this causes a few steps of
    // difference.
    comes_back(folder, "b", 90);
    let refused = brooklet(folder, "export b.brook -o b.tflite").unwrap_err();
    assert!(refused.contains("can only be exported as ONNX"), "{refused}");
}
