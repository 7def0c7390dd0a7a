//! Small networks that are made here: ways in which exporters write the same operation.

use crate::onnx::{Onnx, attribute, scalar, weight};
use brooklet_cli::remedies::Remedy;
use brooklet_import::error::ImportError;
use brooklet_import::network::{Function, Network, Op};
use brooklet_import::{Imported, Options, load};
use ndarray::Array4;
use rten_onnx::onnx::{AttributeProto, TensorProto};

pub(crate) trait Load {
    fn load(self) -> Result<Network, ImportError>;
}

impl Load for Onnx {
    fn load(self) -> Result<Network, ImportError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made.onnx");
        std::fs::write(&path, self.bytes()).unwrap();
        match load(path, &Options::default())? {
            Imported::Float(network) => Ok(network),
            Imported::Quantized(_) => panic!("it is float"),
        }
    }
}

fn ops(network: &Network) -> Vec<&'static str> {
    let name = |op: &Op| match op {
        Op::Input => "input",
        Op::Conv(conv) if conv.fully_connected => "fc",
        Op::Conv(_) => "conv",
        Op::BatchNorm(_) => "norm",
        Op::Relu => "relu",
        Op::Relu6 => "relu6",
        Op::Add => "add",
        Op::Subsample(_) => "subsample",
        Op::MaxPool(_) => "maxpool",
        Op::GlobalAveragePool => "pool",
        Op::Softmax => "softmax",
        other => other.name(),
    };
    network.nodes.iter().map(|node| name(&node.op)).collect()
}

pub(crate) fn message(error: &ImportError) -> String {
    format!("{error} | {}", error.remedy().expect("each problem has a remedy"))
}

#[test]
fn a_keras_network() {
    // Input in N, H, W, C; SAME padding; mean over the map; MatMul and a bias.
    let network = Onnx::new(&[0, 8, 8, 3])
        .floats("w", &[4, 3, 3, 3], weight)
        .floats("m", &[4, 5], weight)
        .floats("b", &[5], weight)
        .floats("zero", &[], |_| 0.0)
        .floats("six", &[], |_| 6.0)
        .ints("axes", &[2, 3])
        .node("Transpose", "x", "t", &[attribute("perm", &[0, 3, 1, 2])])
        .node(
            "Conv",
            "t w",
            "c",
            &[
                attribute("strides", &[2, 2]),
                AttributeProto {
                    name: Some("auto_pad".into()),
                    s: Some("SAME_UPPER".into()),
                    ..Default::default()
                },
            ],
        )
        .node("Clip", "c zero six", "r", &[])
        .node("ReduceMean", "r axes", "mean", &[scalar("keepdims", 0)])
        .node("MatMul", "mean m", "mm", &[])
        .node("Add", "mm b", "logits", &[])
        .node("Softmax", "logits", "p", &[scalar("axis", -1)])
        .load()
        .unwrap();
    assert_eq!(ops(&network), ["input", "conv", "relu6", "pool", "fc", "softmax"]);
    assert_eq!(network.input, [8, 8, 3]);
    let Op::Conv(conv) = &network.nodes[1].op else { panic!() };
    assert_eq!(conv.pads, [0, 0, 1, 1]);
    // OIHW in the file: output 1, channel 2, row 0, column 1.
    assert_eq!(conv.weights[[1, 0, 1, 2]], weight(27 + 18 + 1));
    let Op::Conv(fc) = &network.nodes[4].op else { panic!() };
    assert_eq!(fc.bias, (0..5).map(weight).collect::<Vec<_>>());
    assert_eq!(fc.weights[[2, 0, 0, 3]], weight(3 * 5 + 2));
}

#[test]
fn flattening_a_whole_map_keeps_its_order() {
    let network = Onnx::new(&[1, 2, 3, 4])
        .floats("w", &[5, 24], |index| index as f32)
        .node("Flatten", "x", "f", &[])
        .node("Gemm", "f w", "y", &[scalar("transB", 1)])
        .load()
        .unwrap();
    let Op::Conv(fc) = &network.nodes[1].op else { panic!() };
    let expected = Array4::from_shape_fn((5, 3, 4, 2), |(out, y, x, channel)| {
        (out * 24 + channel * 12 + y * 4 + x) as f32
    });
    assert_eq!(fc.weights, expected);
    assert_eq!(network.nodes[1].shape, [1, 1, 5]);
}

/// A block with an option A shortcut from `s` to `short`, which the closure writes.
fn option_a(spell: impl Fn(Onnx) -> Onnx) -> Network {
    let pads = |n| attribute("pads", &[n; 4]);
    let onnx = Onnx::new(&[1, 3, 8, 8])
        .floats("w0", &[4, 3, 3, 3], weight)
        .floats("w1", &[8, 4, 3, 3], weight)
        .node("Conv", "x w0", "c0", &[pads(1)])
        .node("Relu", "c0", "s", &[]);
    spell(onnx)
        .node("Conv", "s w1", "c1", &[pads(1), attribute("strides", &[2, 2])])
        .node("Add", "short c1", "sum", &[])
        .node("Relu", "sum", "y", &[])
        .load()
        .unwrap()
}

#[test]
fn option_a_in_four_spellings() {
    let slice_pad = option_a(|onnx| {
        onnx.ints("starts", &[0, 0])
            .ints("ends", &[i64::MAX, i64::MAX])
            .ints("axes", &[2, 3])
            .ints("steps", &[2, 2])
            .ints("pads", &[0, 2, 0, 0, 0, 2, 0, 0])
            .node("Slice", "s starts ends axes steps", "part", &[])
            .node("Pad", "part pads", "short", &[])
    });
    assert_eq!(ops(&slice_pad), ["input", "conv", "relu", "conv", "subsample", "add", "relu"]);
    let gather_concat = option_a(|onnx| {
        onnx.ints("every", &[0, 2, 4, 6])
            .ints("shape", &[1, 2, 4, 4])
            .node("Gather", "s every", "rows", &[scalar("axis", 2)])
            .node("Gather", "rows every", "part", &[scalar("axis", 3)])
            .node("ConstantOfShape", "shape", "zeros", &[])
            .node("Concat", "zeros part zeros", "short", &[scalar("axis", 1)])
    });
    let pool = option_a(|onnx| {
        let window = [attribute("kernel_shape", &[1, 1]), attribute("strides", &[2, 2])];
        onnx.ints("pads", &[2, 2])
            .ints("axes", &[1])
            .node("AveragePool", "s", "part", &window)
            .node("Pad", "part pads  axes", "short", &[])
    });
    let max_pool = option_a(|onnx| {
        let window = [attribute("kernel_shape", &[1, 1]), attribute("strides", &[2, 2])];
        onnx.ints("pads", &[0, 2, 0, 0, 0, 2, 0, 0]).node("MaxPool", "s", "part", &window).node(
            "Pad",
            "part pads",
            "short",
            &[],
        )
    });
    assert_eq!(slice_pad, gather_concat);
    assert_eq!(slice_pad, pool);
    assert_eq!(slice_pad, max_pool);
}

#[test]
fn a_pad_goes_into_the_convolution() {
    let network = Onnx::new(&[1, 3, 8, 8])
        .floats("w", &[4, 3, 3, 3], weight)
        .ints("pads", &[0, 0, 0, 1, 0, 0, 2, 1])
        .node("Pad", "x pads", "padded", &[])
        .node("Conv", "padded w", "y", &[attribute("pads", &[1, 0, 0, 0])])
        .load()
        .unwrap();
    let Op::Conv(conv) = &network.nodes[1].op else { panic!() };
    assert_eq!(conv.pads, [1, 1, 2, 1]);
    assert_eq!(network.nodes[1].shape, [9, 8, 4]);
}

/// As PyTorch writes `pad(x, (1, -2, -1, 0))`.
#[test]
fn a_negative_padding_takes_a_part() {
    let made = |spell: &dyn Fn(Onnx) -> Onnx| {
        let onnx = Onnx::new(&[1, 3, 8, 8]).floats("w", &[4, 2, 3, 3], weight);
        spell(onnx).node("Conv", "p w", "y", &[]).load()
    };
    let ops = |network: Network| network.nodes.into_iter().map(|node| node.op).collect::<Vec<_>>();
    let padded = |mode: &'static str| {
        made(&move |onnx| {
            let mode = AttributeProto {
                name: Some("mode".into()),
                s: Some(mode.into()),
                ..Default::default()
            };
            onnx.ints("pads", &[0, 0, -1, 1, 0, -1, 0, -2]).node("Pad", "x pads", "p", &[mode])
        })
    };
    let sliced =
        made(&|onnx| {
            let onnx =
                onnx.ints("from", &[0, 1, 0]).ints("to", &[2, 8, 6]).ints("axes", &[1, 2, 3]);
            onnx.ints("pads", &[0, 0, 0, 1, 0, 0, 0, 0])
                .node("Slice", "x from to axes", "s", &[])
                .node("Pad", "s pads", "p", &[])
        });
    assert_eq!(ops(padded("constant").unwrap()), ops(sliced.unwrap()));
    let error = message(&padded("edge").unwrap_err());
    assert!(error.contains("and takes positions away"), "{error}");
}

#[test]
fn batch_norms_fold() {
    let network = Onnx::new(&[1, 1, 2, 2])
        .floats("w", &[1, 1, 1, 1], |_| 3.0)
        .floats("b", &[1], |_| 0.5)
        .floats("scale", &[1], |_| 2.0)
        .floats("shift", &[1], |_| 1.0)
        .floats("mean", &[1], |_| 0.25)
        .floats("var", &[1], |_| 4.0)
        .node("Conv", "x w b", "c", &[])
        .node(
            "BatchNormalization",
            "c scale shift mean var",
            "y",
            &[AttributeProto { name: Some("epsilon".into()), f: Some(0.0), ..Default::default() }],
        )
        .load()
        .unwrap();
    let Op::Conv(conv) = &network.nodes[1].op else { panic!() };
    assert_eq!((conv.weights[[0, 0, 0, 0]], conv.bias[0]), (3.0, 1.25));
}

/// A pre-activation block as PyTorch exports it, with its first batch norm as the closure writes
/// it.
fn pre_activation(spell: impl Fn(Onnx) -> Onnx) -> Network {
    let pads = &[attribute("pads", &[1; 4])];
    let onnx = Onnx::new(&[1, 3, 8, 8])
        .floats("w0", &[4, 3, 3, 3], weight)
        .floats("w1", &[4, 4, 3, 3], weight)
        .floats("factor", &[4, 1, 1], |c| 0.5 + c as f32)
        .floats("offset", &[1, 4, 1, 1], |c| c as f32 - 1.5)
        .floats("scale", &[4], |c| 0.5 + c as f32)
        .floats("shift", &[4], |c| c as f32 - 1.5)
        .floats("zero", &[4], |_| 0.0)
        .floats("one", &[4], |_| 1.0)
        .node("Conv", "x w0", "s", pads);
    spell(onnx)
        .node("Relu", "normed", "r", &[])
        .node("Conv", "r w1", "c1", pads)
        .node("BatchNormalization", "c1 scale shift zero one", "n1", &[])
        .node("Relu", "n1", "r1", &[])
        .node("Conv", "r1 w1", "c2", pads)
        .node("Add", "s c2", "y", &[])
        .load()
        .unwrap()
}

#[test]
fn a_batch_norm_stays_where_a_sum_or_a_shortcut_is_before_it() {
    let epsilon =
        AttributeProto { name: Some("epsilon".into()), f: Some(0.0), ..Default::default() };
    let whole = pre_activation(|onnx| {
        let inputs = "s scale shift zero one";
        onnx.node("BatchNormalization", inputs, "normed", std::slice::from_ref(&epsilon))
    });
    let expected = ["input", "conv", "norm", "relu", "conv", "relu", "conv", "add"];
    assert_eq!(ops(&whole), expected);
    let names: Vec<&str> = whole.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names[2..4], ["stage1.block1.norm", "stage1.block1.norm.relu"]);
    // As grappler and TensorFlow's converters write it.
    let apart = pre_activation(|onnx| {
        onnx.node("Mul", "s factor", "scaled", &[]).node("Add", "offset scaled", "normed", &[])
    });
    assert_eq!(whole, apart);
}

#[test]
fn constants_go_into_the_convolution_before_them() {
    let network = Onnx::new(&[1, 3, 8, 8])
        .floats("w", &[4, 3, 1, 1], |_| 1.0)
        .floats("two", &[], |_| 2.0)
        .floats("bias", &[4, 1, 1], |c| c as f32)
        .node("Conv", "x w", "c", &[])
        .node("Mul", "two c", "m", &[])
        .node("Sub", "m bias", "y", &[])
        .load()
        .unwrap();
    assert_eq!(ops(&network), ["input", "conv"]);
    let Op::Conv(conv) = &network.nodes[1].op else { panic!() };
    assert_eq!((conv.weights[[3, 0, 0, 0]], &conv.bias[..]), (2.0, &[0.0, -1.0, -2.0, -3.0][..]));
}

#[test]
fn normalization_inside_of_the_network_is_one_factor_and_offset() {
    let network = Onnx::new(&[1, 3, 8, 8])
        .floats("mean", &[1, 3, 1, 1], |index| index as f32 * 0.25)
        .floats("std", &[3, 1, 1], |_| 0.5)
        .floats("w", &[4, 3, 1, 1], weight)
        .node("Sub", "x mean", "centred", &[])
        .node("Div", "centred std", "normal", &[])
        .node("Conv", "normal w", "y", &[])
        .load()
        .unwrap();
    assert_eq!(ops(&network), ["input", "norm", "conv"]);
    let Op::BatchNorm(norm) = &network.nodes[1].op else { panic!() };
    assert_eq!(norm.affine(2), (2.0, -1.0));
    let error = Onnx::new(&[1, 3, 8, 8])
        .floats("mean", &[1, 3, 8, 8], weight)
        .node("Sub", "x mean", "centred", &[])
        .load()
        .unwrap_err();
    let text = message(&error);
    assert!(text.contains("`centred`: Sub with a constant of shape [1, 3, 8, 8]"), "{text}");
}

#[test]
fn activations_in_many_spellings() {
    let one = |spell: &dyn Fn(Onnx) -> Onnx| {
        let onnx = Onnx::new(&[1, 3, 4, 4])
            .floats("w", &[6, 3, 1, 1], weight)
            .floats("zero", &[], |_| 0.0)
            .floats("tenth", &[], |_| 0.1)
            .floats("three", &[], |_| 3.0)
            .floats("six", &[], |_| 6.0)
            .node("Conv", "x w", "c", &[]);
        let network = spell(onnx).load().unwrap();
        assert_eq!(network.nodes.len(), 3, "{:?}", ops(&network));
        network.nodes[2].op.clone()
    };
    let hard_swish = Op::Function(Function::HardSwish);
    let leaky = Op::Function(Function::LeakyRelu { slope: 0.1 });
    let alpha = |name: &str, value: f32| AttributeProto {
        name: Some(name.into()),
        f: Some(value),
        ..Default::default()
    };
    let gate = [alpha("alpha", 1.0 / 6.0), alpha("beta", 0.5)];
    let spellings: [(&dyn Fn(Onnx) -> Onnx, &Op); 9] = [
        (&|onnx| onnx.node("Max", "zero c", "y", &[]), &Op::Relu),
        (&|onnx| onnx.node("Max", "c zero", "m", &[]).node("Min", "m six", "y", &[]), &Op::Relu6),
        (
            &|onnx| onnx.node("Greater", "c zero", "g", &[]).node("Where", "g c zero", "y", &[]),
            &Op::Relu,
        ),
        (
            &|onnx| {
                onnx.node("Greater", "c zero", "g", &[]).node("Mul", "c tenth", "t", &[]).node(
                    "Where",
                    "g c t",
                    "y",
                    &[],
                )
            },
            &leaky,
        ),
        (&|onnx| onnx.node("LeakyRelu", "c", "y", &[alpha("alpha", 0.1)]), &leaky),
        (&|onnx| onnx.node("HardSwish", "c", "y", &[]), &hard_swish),
        (
            &|onnx| onnx.node("HardSigmoid", "c", "g", &gate).node("Mul", "c g", "y", &[]),
            &hard_swish,
        ),
        (
            &|onnx| {
                onnx.node("Add", "c three", "s", &[])
                    .node("Clip", "s zero six", "k", &[])
                    .node("Mul", "c k", "p", &[])
                    .node("Div", "p six", "y", &[])
            },
            &hard_swish,
        ),
        (
            &|onnx| {
                onnx.node("Add", "c three", "s", &[])
                    .node("Clip", "s zero six", "k", &[])
                    .node("Div", "k six", "g", &[])
                    .node("Mul", "g c", "y", &[])
            },
            &hard_swish,
        ),
    ];
    for (index, (spell, op)) in spellings.into_iter().enumerate() {
        assert_eq!(one(spell), *op, "spelling {index}");
    }
}

#[test]
fn one_head_in_many_spellings() {
    let head = |spell: &dyn Fn(Onnx) -> Onnx| {
        let onnx = Onnx::new(&[0, 3, 4, 4])
            .floats("w", &[6, 3, 1, 1], weight)
            .floats("fc", &[5, 6], weight)
            .floats("fc_t", &[6, 5], |index| weight(index % 5 * 6 + index / 5))
            .floats("bias", &[5], weight)
            .node("Conv", "x w", "c", &[])
            .node("Relu", "c", "r", &[]);
        spell(onnx).load().unwrap()
    };
    let gemm = |onnx: Onnx| onnx.node("Gemm", "f fc bias", "y", &[scalar("transB", 1)]);
    let torch = head(&|onnx| {
        gemm(onnx.node("GlobalAveragePool", "r", "p", &[]).node("Flatten", "p", "f", &[]))
    });
    assert_eq!(ops(&torch), ["input", "conv", "relu", "pool", "fc"]);
    let axes = [attribute("axes", &[-1, -2])];
    let spellings: [&dyn Fn(Onnx) -> Onnx; 7] = [
        // Opset 11 to 17, and from 18 on; with a given shape.
        &|onnx| {
            gemm(onnx.ints("shape", &[-1, 6]).node("ReduceMean", "r", "p", &axes).node(
                "Reshape",
                "p shape",
                "f",
                &[],
            ))
        },
        &|onnx| {
            let keep = [scalar("keepdims", 0)];
            gemm(onnx.ints("axes", &[2, 3]).node("ReduceMean", "r axes", "f", &keep))
        },
        // A shape computed from the batch, as older PyTorch traces `view`.
        &|onnx| {
            gemm(
                onnx.ints("first", &[0])
                    .ints("rest", &[-1])
                    .node("GlobalAveragePool", "r", "p", &[])
                    .node("Shape", "p", "sizes", &[])
                    .node("Gather", "sizes first", "n", &[])
                    .node("Concat", "n rest", "shape", &[scalar("axis", 0)])
                    .node("Reshape", "p shape", "f", &[]),
            )
        },
        // `avg_pool2d(x, x.size()[3])`.
        &|onnx| {
            let window = [attribute("kernel_shape", &[4, 4]), attribute("strides", &[4, 4])];
            let axes = [attribute("axes", &[2, 3])];
            gemm(onnx.node("AveragePool", "r", "p", &window).node("Squeeze", "p", "f", &axes))
        },
        // Operators without effect that tracing leaves.
        &|onnx| {
            gemm(
                onnx.node("GlobalAveragePool", "r", "p", &[])
                    .node("Identity", "p", "i", &[])
                    .node("Flatten", "i", "g", &[scalar("axis", -3)])
                    .node("Cast", "g", "h", &[scalar("to", 1)])
                    .node("Dropout", "h", "f", &[]),
            )
        },
        // With the matrix not transposed, and the bias separate.
        &|onnx| {
            onnx.node("GlobalAveragePool", "r", "p", &[]).node("Flatten", "p", "f", &[]).node(
                "Gemm",
                "f fc_t bias",
                "y",
                &[],
            )
        },
        &|onnx| {
            onnx.node("GlobalAveragePool", "r", "p", &[])
                .node("Flatten", "p", "f", &[])
                .node("MatMul", "f fc_t", "m", &[])
                .node("Add", "bias m", "y", &[])
        },
    ];
    for (index, spell) in spellings.iter().enumerate() {
        assert_eq!(head(spell), torch, "spelling {index}");
    }
}

#[test]
fn relu_in_four_spellings() {
    let bounds = |low, high| {
        [("min", low), ("max", high)].map(|(name, value)| AttributeProto {
            name: Some(name.into()),
            f: Some(value),
            ..Default::default()
        })
    };
    let kind = |spell: &dyn Fn(Onnx) -> Onnx| {
        let onnx = Onnx::new(&[1, 3, 4, 4])
            .floats("w", &[6, 3, 1, 1], weight)
            .floats("zero", &[], |_| 0.0)
            .floats("six", &[], |_| 6.0)
            .node("Conv", "x w", "c", &[]);
        ops(&spell(onnx).load().unwrap())[2]
    };
    assert_eq!(kind(&|onnx| onnx.node("Clip", "c", "y", &bounds(0.0, 6.0))), "relu6");
    assert_eq!(kind(&|onnx| onnx.node("Clip", "c zero six", "y", &[])), "relu6");
    assert_eq!(kind(&|onnx| onnx.node("Clip", "c zero", "y", &[])), "relu");
    let constant = TensorProto {
        float_data: vec![6.0],
        ..crate::onnx::tensor("", &[], rten_onnx::onnx::DataType::FLOAT)
    };
    let value =
        AttributeProto { name: Some("value".into()), t: Some(constant), ..Default::default() };
    // `Constant` has no input.
    assert_eq!(
        kind(&|mut onnx| {
            onnx = onnx.node("Constant", "", "limit", std::slice::from_ref(&value));
            onnx.graph.node.last_mut().unwrap().input.clear();
            onnx.node("Clip", "c zero limit", "y", &[])
        }),
        "relu6"
    );
}
