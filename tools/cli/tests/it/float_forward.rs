//! Compares the float forward pass with logits of other engines.

use crate::common::shared_data;
use brooklet_import::network::{Op, Shape};
use brooklet_import::{Imported, Options, load};
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::forward::FloatModel;
use ndarray::{Array2, s};
use ndarray_npy::read_npy;

const INPUT: Shape = [32, 32, 3];

fn check(files: &[&str], expected: &str, preprocess: &Preprocess, count: usize) {
    let Some(data) = shared_data(expected) else {
        return;
    };
    let expected: Array2<f32> = read_npy(data.join("expected").join(expected)).unwrap();
    let expected = expected.slice(s![..count, ..]);
    let images = data.join("cifar10/test_first5000.bin");
    let images = Dataset::open(images.to_str().unwrap(), INPUT, preprocess).unwrap();
    let batch = images.batch(0..count).unwrap();
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    for file in files {
        let bare = file.ends_with(".safetensors");
        let arch = bare.then(|| file.split('.').next().unwrap().parse().unwrap());
        let options = Options { arch, ..Options::default() };
        let Imported::Float(network) = load(data.join("models").join(file), &options).unwrap()
        else {
            panic!("{file} is not float")
        };
        let model = FloatModel::new(&network).unwrap();
        let logits = model.run(batch.view()).unwrap();
        let error = (&logits - &expected).iter().fold(0f32, |error, d| error.max(d.abs()));
        assert!(error <= 1e-4 * largest, "{file}: {error} of {largest}");

        // All intermediate maps, which include the same logits.
        let (mut seen, mut last) = (0, None);
        model
            .run_all(batch.slice(s![..2, .., .., ..]), |node, map| {
                assert_eq!(node, seen);
                let (n, height, width, channels) = map.dim();
                assert_eq!((n, [height, width, channels]), (2, network.nodes[node].shape));
                if matches!(network.nodes[node].op, Op::Relu) {
                    assert!(map.iter().all(|&value| value >= 0.0));
                }
                if node == network.logits() {
                    last = Some(map.to_owned());
                }
                seen += 1;
            })
            .unwrap();
        assert_eq!(seen, network.nodes.len());
        let last = last.unwrap().into_shape_with_order((2, 10)).unwrap();
        assert!((&last - &logits.slice(s![..2, ..])).iter().all(|d| d.abs() < 1e-4 * largest));
    }
}

const NORMALIZED: Preprocess = Preprocess {
    resize: None,
    crop: None,
    mean: Some([0.485, 0.456, 0.406]),
    std: Some([0.229, 0.224, 0.225]),
};

#[test]
fn resnet20() {
    let files = [
        "resnet20.safetensors",
        "resnet20_torchscript_opset17_folded.onnx",
        "resnet20_torch2.15_default.onnx",
    ];
    check(&files, "resnet20_float_logits_1000.npy", &NORMALIZED, 64);
}

#[test]
fn resnet56() {
    check(&["resnet56_opset17_bn.onnx"], "resnet56_float_logits_1000.npy", &NORMALIZED, 64);
}

#[test]
fn mlperf_resnet8() {
    let files = ["mlperf_resnet8_float_opset17_bn.onnx", "mlperf_resnet8_float.tflite"];
    check(&files, "mlperf_resnet8_float_logits_1000.npy", &Preprocess::default(), 64);
}
