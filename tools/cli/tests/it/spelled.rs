//! Networks in the spellings that people's tools write, from public bug reports: each file of the
//! folder imports, or is refused with these words.

use crate::common::shared_cases;
use brooklet_import::network::{Ending, Op};
use brooklet_import::{Imported, Options, load};
use brooklet_quantize::data::Preprocess;
use brooklet_quantize::lower::int8::lower;

/// What a file gives.
enum Gives {
    /// A float network of this number of nodes.
    Float(usize),
    /// An int8 network of this number of nodes, which has layers.
    Int8(usize),
    /// An error that says this.
    Error(&'static str),
}

use Gives::{Error, Float, Int8};

const FILES: &[(&str, Gives)] = &[
    ("02-tf2onnx-int8-tflite/core_int8.tflite", Int8(16)),
    ("02-tf2onnx-int8-tflite/tf2onnx_of_int8.onnx", Int8(16)),
    ("03-int8-tflite-without-mean-std/gapdense_int8.tflite", Int8(17)),
    ("04-float-tflite-softmax-range/big.onnx", Float(9)),
    ("05-ort-softmax-qdq/ort_default_logits.onnx", Int8(15)),
    ("05-ort-softmax-qdq/ort_default_softmax.onnx", Int8(16)),
    ("07-qdq-other-quantizers/a16w8.onnx", Error("quantized to 16 bits")),
    ("07-qdq-other-quantizers/convgemm.onnx", Int8(16)),
    ("07-qdq-other-quantizers/u8u8.onnx", Int8(16)),
    ("07-qdq-other-quantizers/v_logits_float.onnx", Int8(15)),
    ("07-qdq-other-quantizers/v_qcdq.onnx", Int8(15)),
    ("07-qdq-other-quantizers/w4.onnx", Int8(16)),
    ("08-tflite-rescaling-inside/rescale_float.tflite", Float(24)),
    ("09-tflite-preactivation/preact_float.tflite", Float(27)),
    ("09-tflite-preactivation/preact_tf2onnx.onnx", Float(27)),
    ("09-tflite-preactivation/rv2_float.tflite", Float(27)),
    ("10-tflite-flatten-shape-chain/convhead_float.tflite", Float(23)),
    ("11-tflite-float16-and-others/core_16x8.tflite", Error("16x8")),
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
    ("16-missing-operators/resnet_d.onnx", Float(22)),
    ("16-missing-operators/resnext.onnx", Float(8)),
    ("16-missing-operators/se_block.onnx", Float(22)),
    ("16-missing-operators/two_heads.onnx", Float(17)),
    ("21-tflite-mean-35-pixels/k50_int8.tflite", Int8(15)),
    ("22-qdq-flatten-between/v_flat_int8.onnx", Int8(15)),
    ("23-exact-and-good/k50a_int8.tflite", Int8(15)),
];

#[test]
fn each_spelling_imports_or_says_why_not() {
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
            (Error(says), Err(error)) => {
                let text = error.to_string();
                text.contains(says) && !text.contains("is not a valid")
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
        assert!(one.not_a_chain().is_none());
        assert!(matches!(&one.nodes[one.output()].op, Op::Conv(conv) if conv.fully_connected));
        assert_eq!(one.outputs[0].ending, Ending::None);
    }
    let refused = network.with_outputs(&["gemm_55".into()]).unwrap_err().problem.to_string();
    assert_eq!(refused, "has no output `gemm_55`; its outputs are gemm_54, gemm_57");
}
