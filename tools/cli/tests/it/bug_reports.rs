//! Networks as people's tools write them, from public bug reports: each file of the folder can be
//! imported.

use crate::common::shared_cases;
use brooklet_import::network::{Ending, Op};
use brooklet_import::{Imported, Options, load};
use brooklet_quantize::array::npy;
use brooklet_quantize::data::{Dataset, Preprocess, range_of_numbers};
use brooklet_quantize::forward::FloatModel;
use brooklet_quantize::lower::int8::lower;
use brooklet_quantize::units::{normalization_outside, of_numbers};
use ndarray::Array4;

/// The result of importing a file.
enum Gives {
    /// A float network with this number of nodes.
    Float(usize),
    /// A quantized network with this number of nodes that has layers.
    Int8(usize),
}

use Gives::{Float, Int8};

const FILES: &[(&str, Gives)] = &[
    ("02-tf2onnx-int8-tflite/core_int8.tflite", Int8(16)),
    ("02-tf2onnx-int8-tflite/tf2onnx_of_int8.onnx", Int8(16)),
    ("03-int8-tflite-without-mean-std/gapdense_int8.tflite", Int8(17)),
    ("04-float-tflite-softmax-range/big.onnx", Float(9)),
    ("05-ort-softmax-qdq/ort_default_logits.onnx", Int8(15)),
    ("05-ort-softmax-qdq/ort_default_softmax.onnx", Int8(16)),
    ("07-qdq-other-quantizers/a16w8.onnx", Int8(16)),
    ("07-qdq-other-quantizers/convgemm.onnx", Int8(16)),
    ("07-qdq-other-quantizers/u8u8.onnx", Int8(16)),
    ("07-qdq-other-quantizers/v_logits_float.onnx", Int8(15)),
    ("07-qdq-other-quantizers/v_qcdq.onnx", Int8(15)),
    ("07-qdq-other-quantizers/w4.onnx", Int8(16)),
    ("08-tflite-rescaling-inside/rescale_float.tflite", Float(24)),
    ("09-tflite-preactivation/preact_float.tflite", Float(27)),
    ("09-tflite-preactivation/preact_tf2onnx.onnx", Float(27)),
    ("09-tflite-preactivation/rv2_float.tflite", Float(28)),
    ("10-tflite-flatten-shape-chain/convhead_float.tflite", Float(23)),
    ("11-tflite-float16-and-others/core_16x8.tflite", Int8(16)),
    ("11-tflite-float16-and-others/core_drq.tflite", Float(23)),
    ("11-tflite-float16-and-others/core_f16.tflite", Float(23)),
    ("12-kernels-above-8/fc_bn_embed.onnx", Float(16)),
    ("12-kernels-above-8/kws_10x4.onnx", Float(10)),
    ("12-kernels-above-8/kws_float.tflite", Float(17)),
    ("14-one-score/sigmoid1.onnx", Float(16)),
    ("14-one-score/sigmoid_float.tflite", Float(22)),
    ("15-onnx-spellings/ext_dot.onnx", Float(16)),
    ("15-onnx-spellings/fp16.onnx", Float(16)),
    ("15-onnx-spellings/func_relu.onnx", Float(16)),
    ("15-onnx-spellings/max_relu.onnx", Float(16)),
    ("15-onnx-spellings/mean_mean.onnx", Float(16)),
    ("15-onnx-spellings/sum_add.onnx", Float(16)),
    ("16-missing-operators/avg_partial.onnx", Float(16)),
    ("16-missing-operators/clip01.onnx", Float(16)),
    ("16-missing-operators/conv1d.onnx", Float(10)),
    ("16-missing-operators/gmp.onnx", Float(16)),
    ("16-missing-operators/leaky.onnx", Float(16)),
    ("16-missing-operators/logsoftmax.onnx", Float(16)),
    ("16-missing-operators/prelu.onnx", Float(10)),
    ("16-missing-operators/repvgg3.onnx", Float(17)),
    ("16-missing-operators/resnet_d.onnx", Float(23)),
    ("16-missing-operators/resnext.onnx", Float(8)),
    ("16-missing-operators/se_block.onnx", Float(22)),
    ("16-missing-operators/two_heads.onnx", Float(17)),
    ("21-tflite-mean-35-pixels/k50_int8.tflite", Int8(16)),
    ("22-qdq-flatten-between/v_flat_int8.onnx", Int8(15)),
    ("23-exact-and-good/k50a_int8.tflite", Int8(16)),
];

#[test]
fn each_spelling_imports() {
    let Some(cases) = shared_cases("each_spelling") else { return };
    let mut wrong = Vec::new();
    for (file, gives) in FILES {
        let found = load(cases.join(file), &Options::default());
        let right = match (gives, &found) {
            (Float(nodes), Ok(Imported::Float(network))) => network.nodes.len() == *nodes,
            (Int8(nodes), Ok(Imported::Quantized(network))) => {
                let made = lower(network, &Preprocess::default());
                made.is_ok() && network.nodes.len() == *nodes
            }
            _ => false,
        };
        if !right {
            wrong.push(match found {
                Ok(Imported::Float(network)) => format!("{file}: float, {}", network.nodes.len()),
                Ok(Imported::Quantized(network)) => {
                    let made = lower(&network, &Preprocess::default()).map(|_| ());
                    format!("{file}: int8, {}, {made:?}", network.nodes.len())
                }
                Err(error) => error.to_string(),
            });
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_of_two_heads_is_chosen_by_name() {
    let Some(cases) = shared_cases("one_of_two_heads") else { return };
    let file = cases.join("16-missing-operators/two_heads.onnx");
    let Ok(Imported::Float(network)) = load(file, &Options::default()) else { panic!() };
    let names: Vec<String> = network.outputs.iter().map(|output| output.name.clone()).collect();
    assert_eq!(names, ["gemm_54", "gemm_57"]);
    for name in &names {
        let one = network.clone().with_outputs(std::slice::from_ref(name)).unwrap();
        assert_eq!((one.outputs.len(), one.nodes.len()), (1, network.nodes.len() - 1));
        assert!(matches!(&one.nodes[one.output()].op, Op::Conv(conv) if conv.fully_connected));
        assert_eq!(one.outputs[0].ending, Ending::None);
    }
    let refused = network.with_outputs(&["gemm_55".into()]).unwrap_err().problem.to_string();
    assert_eq!(refused, "has no output `gemm_55`; its outputs are gemm_54, gemm_57");
}

/// Features of sound in float32 and int8, and images of an IDX file.
#[test]
fn data_that_are_no_pictures() {
    let Some(cases) = shared_cases("data_that_are_no_pictures") else { return };
    let data = cases.join("13-data-that-is-no-picture");
    let float = data.join("kws_f32.npy");
    let range = range_of_numbers(float.to_str().unwrap()).unwrap().unwrap();
    let preprocess = of_numbers(range, &Preprocess::default());
    let read = Dataset::open(float.to_str().unwrap(), [49, 10, 1], &preprocess).unwrap();
    let bytes = files(&float);
    let numbers: Array4<f32> = npy(&bytes).unwrap();
    let step = (range[1] - range[0]) / 255.0;
    let batch = read.batch(0..40).unwrap();
    for (number, found) in numbers.iter().zip(&batch) {
        assert!((number - found).abs() <= 0.501 * step, "{number} is {found}");
    }
    // Zero is exactly a byte.
    let zero = (preprocess.mean.unwrap()[0] * 255.0).round() as u8;
    assert!(preprocess.normalize(zero, 0).abs() < 1e-4);

    let int8 = data.join("kws_i8.npy");
    let range = range_of_numbers(int8.to_str().unwrap()).unwrap();
    assert_eq!(range, Some([-128.0, 127.0]));
    let preprocess = of_numbers(range.unwrap(), &Preprocess::default());
    let read = Dataset::open(int8.to_str().unwrap(), [49, 10, 1], &preprocess).unwrap();
    let bytes = files(&int8);
    let numbers: Array4<i8> = npy(&bytes).unwrap();
    for (index, number) in numbers.outer_iter().enumerate() {
        let pixels = read.get(index).unwrap().pixels;
        let alike = number.iter().zip(&pixels).all(|(&n, &p)| i16::from(n) + 128 == i16::from(p));
        assert!(alike, "{index}");
    }

    let idx = data.join("train-images-idx3-ubyte");
    assert_eq!(range_of_numbers(idx.to_str().unwrap()).unwrap(), None);
    let read = Dataset::open(idx.to_str().unwrap(), [28, 28, 1], &Preprocess::default()).unwrap();
    assert_eq!(read.len(), 50);
    let bytes = files(&idx);
    assert_eq!(read.get(1).unwrap().pixels.as_slice().unwrap(), &bytes[16 + 784..16 + 2 * 784]);
}

fn files(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// If a network normalizes its image itself, that gives the units of pixels.
#[test]
fn normalization_inside_becomes_mean_and_std() {
    let Some(cases) = shared_cases("normalization_inside") else { return };
    let file = cases.join("08-tflite-rescaling-inside/rescale_float.tflite");
    let Ok(Imported::Float(network)) = load(file, &Options::default()) else { panic!() };
    let Op::BatchNorm(norm) = &network.nodes[1].op else { panic!() };
    let (without, preprocess) = normalization_outside(network.clone(), &Preprocess::default());
    assert_eq!(without.nodes.len(), network.nodes.len() - 1);
    for pixel in [0, 1, 100, 255] {
        let (factor, offset) = norm.affine(0);
        let inside = f64::from(pixel) * factor + offset;
        let outside = f64::from(preprocess.normalize(pixel, 0));
        assert!((inside - outside).abs() < 1e-5, "{inside} {outside}");
    }
    let batch = |preprocess: &Preprocess| {
        let data = Dataset::open("random:2", network.input, preprocess).unwrap();
        data.batch(0..2).unwrap()
    };
    let inside = FloatModel::new(&network).unwrap().run(batch(&Preprocess::default()).view());
    let outside = FloatModel::new(&without).unwrap().run(batch(&preprocess).view());
    let far = (&inside.unwrap() - &outside.unwrap()).iter().fold(0f32, |far, d| far.max(d.abs()));
    assert!(far < 1e-4, "{far}");
}
