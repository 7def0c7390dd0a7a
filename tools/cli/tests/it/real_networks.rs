//! Networks that others have trained and exported.

use std::path::Path;

use crate::common::shared_data;
use brooklet_import::network::{Activation, QuantizedNetwork, QuantizedOp};
use brooklet_import::network::{Network, Op};
use brooklet_import::{Arch, Imported, Options, load};

fn options(file: &str) -> Options {
    let arch = |name: &str| Some(name.parse::<Arch>().unwrap());
    let bare = [".safetensors", ".th"].iter().any(|extension| file.ends_with(extension));
    let arch = match &file[..8.min(file.len())] {
        "resnet20" if bare => arch("resnet20"),
        "resnet56" if bare => arch("resnet56"),
        _ => None,
    };
    Options { arch, ..Options::default() }
}

fn float(data: &Path, file: &str) -> Network {
    match load(data.join("models").join(file), &options(file)) {
        Ok(Imported::Float(network)) => network,
        Ok(Imported::Quantized(_)) => panic!("{file} is quantized"),
        Err(error) => panic!("{error}"),
    }
}

fn quantized(data: &Path, file: &str) -> QuantizedNetwork {
    match load(data.join("models").join(file), &options(file)) {
        Ok(Imported::Quantized(network)) => network,
        Ok(Imported::Float(_)) => panic!("{file} is float"),
        Err(error) => panic!("{error}"),
    }
}

/// All weights and biases, as bits: `==` of floats would not distinguish 0 from −0.
fn bits(network: &Network) -> Vec<u32> {
    let convs = network.nodes.iter().filter_map(|node| match &node.op {
        Op::Conv(conv) => Some(conv.weights.iter().chain(&conv.bias).map(|value| value.to_bits())),
        _ => None,
    });
    convs.flatten().collect()
}

#[test]
fn one_network_from_four_formats_is_one_network() {
    let Some(data) = shared_data("one_network_from_four_formats_is_one_network") else {
        return;
    };
    let families: [&[&str]; 2] = [
        &[
            "resnet20.safetensors",
            "resnet20-12fca82f.th",
            "resnet20_opset17_bn.onnx",
            "resnet20_torchscript_opset17_bn.onnx",
        ],
        &["resnet56.safetensors", "resnet56_opset17_bn.onnx"],
    ];
    for files in families {
        let first = float(&data, files[0]);
        for file in &files[1..] {
            let other = float(&data, file);
            assert!(first == other, "{file} differs from {}", files[0]);
            assert!(bits(&first) == bits(&other), "{file} differs from {} in bits", files[0]);
        }
    }
}

#[test]
fn networks_folded_by_an_exporter_have_the_same_structure() {
    let Some(data) = shared_data("networks_folded_by_an_exporter") else {
        return;
    };
    let reference = float(&data, "resnet20.safetensors");
    for file in ["resnet20_torchscript_opset17_folded.onnx", "resnet20_torch2.15_default.onnx"] {
        let folded = float(&data, file);
        assert_eq!(reference.nodes.len(), folded.nodes.len());
        for (a, b) in reference.nodes.iter().zip(&folded.nodes) {
            assert_eq!((&a.name, &a.inputs, a.shape), (&b.name, &b.inputs, b.shape), "{file}");
            if let (Op::Conv(a), Op::Conv(b)) = (&a.op, &b.op) {
                assert_eq!((a.stride, a.pads), (b.stride, b.pads));
                let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * a.abs().max(1e-2);
                assert!(a.weights.iter().zip(&b.weights).all(|(&a, &b)| close(a, b)));
            }
        }
    }
}

#[test]
fn names_follow_the_structure() {
    let Some(data) = shared_data("names_follow_the_structure") else {
        return;
    };
    let network = float(&data, "resnet20_opset17_bn.onnx");
    let names: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names[..4], ["input", "stem", "stem.relu", "stage1.block1.conv1"]);
    assert!(names.contains(&"stage2.block1.shortcut"));
    assert!(names.contains(&"stage3.block3.add.relu"));
    assert_eq!(names[names.len() - 2..], ["pool", "fc"]);
    let shortcuts = network.nodes.iter().filter(|node| matches!(node.op, Op::Subsample(_)));
    assert_eq!(shortcuts.count(), 2);
    let fc = &network.nodes[network.logits()];
    assert_eq!((fc.source.as_str(), fc.shape), ("linear", [1, 1, 10]));
}

#[test]
fn keras_networks_pad_at_the_bottom_and_right() {
    let Some(data) = shared_data("keras_networks_pad_at_the_bottom_and_right") else {
        return;
    };
    let onnx = float(&data, "mlperf_resnet8_float_opset17_bn.onnx");
    let tflite = float(&data, "mlperf_resnet8_float.tflite");
    let int8 = quantized(&data, "mlperf_resnet8_int8.tflite");
    for name in ["stage2.block1.conv1", "stage3.block1.conv1"] {
        for network in [&onnx, &tflite] {
            let node = network.nodes.iter().find(|node| node.name == name).unwrap();
            let Op::Conv(conv) = &node.op else { panic!("{name}") };
            assert_eq!((conv.stride, conv.pads), ([2, 2], [0, 0, 1, 1]));
        }
        let node = int8.nodes.iter().find(|node| node.name == name).unwrap();
        let QuantizedOp::Conv(conv) = &node.op else { panic!("{name}") };
        assert_eq!((conv.stride, conv.pads), ([2, 2], [0, 0, 1, 1]));
    }
    let names = |network: &Network| -> Vec<String> {
        network.nodes.iter().map(|node| node.name.clone()).collect()
    };
    assert_eq!(names(&onnx), names(&tflite));
    assert!(matches!(onnx.nodes.last().unwrap().op, Op::Softmax));
}

#[test]
fn int8_tflite_keeps_every_number() {
    let Some(data) = shared_data("int8_tflite_keeps_every_number") else {
        return;
    };
    let network = quantized(&data, "mlperf_resnet8_int8.tflite");
    assert_eq!(network.input, [32, 32, 3]);
    let node = |name: &str| network.nodes.iter().find(|node| node.name == name).unwrap();
    assert_eq!((node("input").scale, node("input").zero_point), (1.0, -128));
    let QuantizedOp::Conv(stem) = &node("stem").op else { panic!("stem") };
    assert_eq!(node("stem").activation, Activation::Relu);
    assert_eq!(stem.weights.dim(), (16, 3, 3, 3));
    assert_eq!(stem.scales[..2], [8.902636e-05, 2.8168175e-05]);
    let fc = node("fc");
    assert_eq!((fc.scale, fc.zero_point, fc.shape), (0.17185351, 24, [1, 1, 10]));
    let QuantizedOp::Conv(conv) = &fc.op else { panic!("fc") };
    // The file has one scale; here there is one per class.
    assert_eq!(conv.scales, [0.030554391; 10]);
    assert!(conv.fully_connected);
    let softmax = node("softmax");
    assert_eq!((softmax.scale, softmax.zero_point), (1.0 / 256.0, -128));
    // In the file the shortcut is the first operand of this addition.
    let add = node("stage2.block1.add");
    assert_eq!(network.nodes[add.inputs[0]].name, "stage2.block1.conv2");
    assert_eq!(network.nodes[add.inputs[1]].name, "stage2.block1.shortcut");
    assert_eq!(add.activation, Activation::Relu);
}

#[test]
fn int8_tflite_with_option_a() {
    let Some(data) = shared_data("int8_tflite_with_option_a") else {
        return;
    };
    let network = quantized(&data, "resnet20_tensorflow_int8.tflite");
    let node = |name: &str| network.nodes.iter().find(|node| node.name == name).unwrap();
    let QuantizedOp::Subsample(shortcut) = node("stage2.block1.shortcut").op else { panic!() };
    assert_eq!(
        (shortcut.stride, shortcut.channels_before, shortcut.channels_after),
        ([2, 2], 8, 8)
    );
    // The file has a Pad before a convolution without padding.
    let QuantizedOp::Conv(conv) = &node("stage2.block1.conv1").op else { panic!() };
    assert_eq!((conv.stride, conv.pads), ([2, 2], [1, 1, 1, 1]));
    let last = network.nodes.last().unwrap();
    assert_eq!((last.scale, last.zero_point), (0.24074587, -53));
}

#[test]
fn qdq_onnx_keeps_every_number() {
    let Some(data) = shared_data("qdq_onnx_keeps_every_number") else {
        return;
    };
    let network = quantized(&data, "resnet20_onnxruntime_qdq_int8.onnx");
    let float = float(&data, "resnet20_opset17_bn.onnx");
    let node = |name: &str| network.nodes.iter().find(|node| node.name == name).unwrap();
    // The file's uint8 zero points are 128 larger.
    let affine = |name: &str| (node(name).scale, node(name).zero_point);
    assert_eq!(affine("input"), (0.018658448, -14));
    assert_eq!(affine("stem"), (0.028784389, -128));
    assert_eq!(affine("stage1.block1.conv2"), (0.041336477, 22));
    let QuantizedOp::Subsample(_) = node("stage2.block1.shortcut").op else { panic!("shortcut") };
    assert_eq!(affine("stage2.block1.shortcut"), affine("stage1.block3.add"));
    // Weights equal the float network's to half a step of the file's scale.
    let mut convs = 0;
    for quantized in &network.nodes {
        let QuantizedOp::Conv(conv) = &quantized.op else { continue };
        let Op::Conv(float) = &float.nodes.iter().find(|n| n.name == quantized.name).unwrap().op
        else {
            panic!("{}", quantized.name)
        };
        for ((steps, reals), scale) in
            conv.weights.outer_iter().zip(float.weights.outer_iter()).zip(&conv.scales)
        {
            for (&step, real) in steps.iter().zip(reals) {
                let off = (f32::from(step) * scale - real).abs();
                assert!(off <= 0.51 * scale, "{}: {step} for {real}", quantized.name);
            }
        }
        convs += 1;
    }
    assert_eq!(convs, 20);
}

#[test]
fn the_wrong_arch_is_refused_by_key() {
    let Some(data) = shared_data("the_wrong_arch_is_refused_by_key") else {
        return;
    };
    let path = data.join("models/resnet20.safetensors");
    let message = |arch: &str| {
        let arch = Some(arch.parse().unwrap());
        load(&path, &Options { arch, ..Options::default() }).unwrap_err().to_string()
    };
    assert!(message("resnet32").contains("`layer1.3.conv1.weight`: is missing"));
    assert!(message("resnet18").contains("`conv1.weight`: has shape [16, 3, 3, 3]"));
    let path = data.join("models/resnet56.safetensors");
    let arch = Some("resnet20".parse().unwrap());
    let error = load(&path, &Options { arch, ..Options::default() }).unwrap_err().to_string();
    assert!(error.contains("is not part of resnet20 ("), "{error}");
    let error = load(&path, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("weights only"), "{error}");
}
