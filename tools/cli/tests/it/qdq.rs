//! Quantized ONNX networks that are made here: their numbers are kept, or an error names what
//! cannot be kept.

use crate::onnx::{Onnx, scalar};
use brooklet_cli::remedies::Remedy;
use brooklet_import::error::ImportError;
use brooklet_import::network::{Activation, QuantizedNetwork, QuantizedNode, QuantizedOp};
use brooklet_import::{Imported, Options, load};
use brooklet_quantize::data::Preprocess;
use brooklet_quantize::lower::int8::lower;
use rten_onnx::onnx::DataType;

fn load_made(onnx: Onnx) -> Result<Imported, ImportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.onnx");
    std::fs::write(&path, onnx.bytes()).unwrap();
    load(path, &Options::default())
}

fn quantized(onnx: Onnx) -> QuantizedNetwork {
    match load_made(onnx) {
        Ok(Imported::Quantized(network)) => network,
        Ok(Imported::Float(_)) => panic!("it is quantized"),
        Err(error) => panic!("{error}"),
    }
}

fn refused(onnx: Onnx) -> String {
    let error = load_made(onnx).unwrap_err();
    format!("{error} | {}", error.remedy().expect("each problem has a remedy"))
}

trait Qdq: Sized {
    /// Quantizes `from` and dequantizes it again, with its own scale and zero point.
    fn qdq(self, from: &str, to: &str, scale: f32, zero: i32, kind: DataType) -> Self;
    /// int8 weights `name`, dequantized with a scale for each index of `axis`.
    fn weights(self, name: &str, dims: &[i64], axis: i64) -> Self;
    /// An int32 bias `name`, with the scales of `weights` times `input`.
    fn bias(self, name: &str, count: usize, input: f32) -> Self;
}

fn step(index: usize) -> i32 {
    (index as i32 * 37) % 255 - 127
}

fn scale(index: usize) -> f32 {
    0.001 * (index + 3) as f32
}

impl Qdq for Onnx {
    fn qdq(self, from: &str, to: &str, scale: f32, zero: i32, kind: DataType) -> Self {
        let [s, z, q] = ["s", "z", "q"].map(|part| format!("{to}.{part}"));
        self.floats(&s, &[], |_| scale)
            .integers(&z, &[], kind, |_| zero)
            .node("QuantizeLinear", &format!("{from} {s} {z}"), &q, &[])
            .node("DequantizeLinear", &format!("{q} {s} {z}"), to, &[])
    }

    fn weights(self, name: &str, dims: &[i64], axis: i64) -> Self {
        let [s, z, q] = ["s", "z", "q"].map(|part| format!("{name}.{part}"));
        let count = [dims[axis as usize]];
        self.floats(&s, &count, scale)
            .integers(&z, &count, DataType::INT8, |_| 0)
            .integers(&q, dims, DataType::INT8, step)
            .node("DequantizeLinear", &format!("{q} {s} {z}"), name, &[scalar("axis", axis)])
    }

    fn bias(self, name: &str, count: usize, input: f32) -> Self {
        let [s, q] = ["s", "q"].map(|part| format!("{name}.{part}"));
        let count = [count as i64];
        self.floats(&s, &count, |channel| input * scale(channel))
            .integers(&q, &count, DataType::INT32, |channel| 1000 * channel as i32 - 1500)
            .node("DequantizeLinear", &format!("{q} {s}"), name, &[scalar("axis", 0)])
    }
}

/// A residual network, up to its last addition.
fn block() -> Onnx {
    use DataType as Type;
    Onnx::new(&[0, 3, 8, 8])
        .weights("w1", &[4, 3, 1, 1], 0)
        .bias("b1", 4, 0.5)
        .weights("w2", &[4, 4, 1, 1], 0)
        .floats("b2", &[4], |channel| 0.02 * scale(channel) * (channel as f32 - 7.0))
        .qdq("x", "x1", 0.5, 3, Type::UINT8)
        .node("Conv", "x1 w1 b1", "c1", &[])
        .node("Relu", "c1", "r1", &[])
        .qdq("r1", "a1", 0.02, 0, Type::UINT8)
        .node("Conv", "a1 w2 b2", "c2", &[])
        .qdq("c2", "a2", 0.03, 7, Type::INT8)
        .node("Add", "a1 a2", "sum", &[])
}

fn network() -> Onnx {
    use DataType as Type;
    block()
        .qdq("sum", "a3", 0.04, 130, Type::UINT8)
        .node("GlobalAveragePool", "a3", "mean", &[])
        .qdq("mean", "a4", 0.01, 128, Type::UINT8)
        .node("Flatten", "a4", "flat", &[])
        .qdq("flat", "a5", 0.01, 128, Type::UINT8)
        .weights("w3", &[4, 5], 1)
        .bias("b3", 5, 0.01)
        .node("Gemm", "a5 w3 b3", "g", &[])
        .qdq("g", "logits", 0.25, 100, Type::UINT8)
}

#[test]
fn numbers_are_kept() {
    let network = quantized(network());
    let names: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    let block = ["stage1.block1.conv1", "stage1.block1.add"];
    assert_eq!(names, [&["input", "stem"], &block[..], &["pool", "fc"]].concat());
    let affine = |node: &QuantizedNode| (node.scale, node.zero_point);
    let affines: Vec<(f32, i32)> = network.nodes.iter().map(affine).collect();
    let expected = [(0.5, -125), (0.02, -128), (0.03, 7), (0.04, 2), (0.01, 0), (0.25, -28)];
    assert_eq!(affines, expected);
    let QuantizedOp::Conv(stem) = &network.nodes[1].op else { panic!() };
    assert_eq!(network.nodes[1].activation, Activation::Relu);
    // For a 1×1 kernel, OHWI is the same as O, I.
    let steps: Vec<i8> = (0..12).map(|index| step(index) as i8).collect();
    assert_eq!(stem.weights.iter().copied().collect::<Vec<_>>(), steps);
    assert_eq!(stem.scales, [0, 1, 2, 3].map(scale));
    assert_eq!(stem.bias, [-1500, -500, 500, 1500]);
    // A float bias has the step of the sums.
    let QuantizedOp::Conv(conv) = &network.nodes[2].op else { panic!() };
    assert_eq!(conv.bias, [-7, -6, -5, -4]);
    // Gemm without transB: inputs × outputs.
    let QuantizedOp::Conv(fc) = &network.nodes[5].op else { panic!() };
    assert_eq!(fc.weights[[1, 0, 0, 2]], step(2 * 5 + 1) as i8);
    assert_eq!(fc.scales, [0, 1, 2, 3, 4].map(scale));
    assert_eq!(fc.bias, [-1500, -500, 500, 1500, 2500]);

    let program = lower(&network, &Preprocess::default()).unwrap();
    for (layer, (scale, zero_point)) in program.layers.iter().zip(expected) {
        let record = &layer.record;
        assert_eq!((record.scale.get(), i32::from(record.zero_point)), (scale, zero_point));
    }
}

#[test]
fn weights_may_be_quantized_in_the_graph() {
    let made = |weights: fn(Onnx) -> Onnx| {
        let onnx = weights(Onnx::new(&[1, 3, 4, 4]).floats("s", &[4], scale))
            .node("DequantizeLinear", "q s zeros", "w", &[scalar("axis", 0)])
            .qdq("x", "x1", 0.5, 0, DataType::INT8)
            .node("Conv", "x1 w", "c", &[])
            .qdq("c", "y", 0.1, 0, DataType::INT8);
        quantized(onnx)
    };
    let kept = made(|onnx| {
        onnx.integers("zeros", &[4], DataType::INT8, |_| 0).integers(
            "q",
            &[4, 3, 1, 1],
            DataType::INT8,
            step,
        )
    });
    let there = made(|onnx| {
        onnx.integers("zeros", &[4], DataType::INT8, |_| 0)
            .floats("f", &[4, 3, 1, 1], |index| (step(index) as f32 + 0.3) * scale(index / 3))
            .node("QuantizeLinear", "f s zeros", "q", &[scalar("axis", 0)])
    });
    let unsigned = made(|onnx| {
        onnx.integers("zeros", &[4], DataType::UINT8, |_| 128).integers(
            "q",
            &[4, 3, 1, 1],
            DataType::UINT8,
            |index| step(index) + 128,
        )
    });
    assert_eq!(kept, there);
    assert_eq!(kept, unsigned);
}

#[test]
fn weights_alone_make_a_float_network() {
    let onnx =
        Onnx::new(&[1, 3, 4, 4]).weights("w", &[4, 3, 1, 1], 0).node("Conv", "x w", "y", &[]);
    assert!(matches!(load_made(onnx), Ok(Imported::Float(_))));
}

#[test]
fn what_cannot_be_kept_is_named() {
    use DataType as Type;
    let input = || Onnx::new(&[1, 3, 4, 4]).qdq("x", "x1", 0.5, 0, Type::INT8);
    let conv = || input().weights("w", &[4, 3, 1, 1], 0).node("Conv", "x1 w", "c", &[]);
    let cases = [
        (
            conv().node("GlobalAveragePool", "c", "m", &[]).qdq("m", "y", 0.1, 0, Type::INT8),
            "made.onnx: `c`: its output is not quantized",
        ),
        (
            conv().qdq("c", "d", 0.1, 0, Type::INT16).node("Tanh", "d", "t", &[]).qdq(
                "t",
                "y",
                0.1,
                0,
                Type::INT16,
            ),
            "`t`: tanh of maps quantized to 16 bits",
        ),
        (
            input().floats("w", &[4, 3, 1, 1], scale).node("Conv", "x1 w", "c", &[]).qdq(
                "c",
                "y",
                0.1,
                0,
                Type::INT8,
            ),
            "`c`: its weights are not quantized",
        ),
        (
            input().weights("w", &[4, 3, 1, 1], 1).node("Conv", "x1 w", "c", &[]).qdq(
                "c",
                "y",
                0.1,
                0,
                Type::INT8,
            ),
            "`c`: its weights' scales are not one for each output channel",
        ),
        (
            conv().qdq("c", "y", 0.1, 0, Type::INT8).qdq("c", "z", 0.2, 0, Type::INT8).node(
                "Add",
                "y z",
                "sum",
                &[],
            ),
            "`z.q`: a map, or a copy of it, is quantized with two scales",
        ),
        (
            conv().qdq("c", "y", f32::NAN, 0, Type::INT8),
            "`y.q`: is not a valid ONNX file: a scale of NaN",
        ),
        (
            Onnx::new(&[1, 3, 4, 4]).node("ConvInteger", "x", "y", &[]),
            "`y`: operator ConvInteger is not supported: quantized ONNX networks must be in QDQ form",
        ),
    ];
    for (onnx, expected) in cases {
        let text = refused(onnx);
        assert!(text.contains(expected), "{text}\ninstead of {expected}");
    }
}

/// Values that quantizers leave in float, or round twice, take the quantization around them.
#[test]
fn what_is_left_in_float() {
    const INT8: DataType = DataType::INT8;
    let input = || Onnx::new(&[1, 3, 1, 1]).qdq("x", "x1", 0.5, 0, INT8);
    let conv = || input().weights("w", &[4, 3, 1, 1], 0).node("Conv", "x1 w", "c", &[]);
    // A ReLU of a quantized map, both with the same scale.
    let relu = conv().qdq("c", "y", 0.1, 0, INT8).node("Relu", "y", "r", &[]);
    let fused = quantized(relu.qdq("r", "z", 0.1, 0, INT8));
    assert_eq!(fused.nodes.len(), 2);
    assert_eq!((fused.nodes[1].activation, fused.nodes[1].zero_point), (Activation::Relu, 0));
    // Scores get 16 bits for their whole possible range.
    let scores = quantized(conv());
    let (node, QuantizedOp::Conv(weights)) = (&scores.nodes[1], &scores.nodes[1].op) else {
        panic!()
    };
    assert!(node.int16 && node.zero_point == 0);
    let largest = weights.weights.outer_iter().zip(&weights.scales).map(|(channel, &scale)| {
        let sum: f32 = channel.iter().map(|&weight| f32::from(weight).abs() * 64.0).sum();
        sum * scale
    });
    let largest = largest.fold(0.0, f32::max);
    assert!((node.scale * 32767.0 / largest - 1.0).abs() < 0.01, "{} {largest}", node.scale);
    lower(&scores, &Preprocess::default()).unwrap();
    // A convolution before an addition gets the range that matters for the sum.
    let sum = conv()
        .weights("v", &[4, 3, 1, 1], 0)
        .node("Conv", "x1 v", "d", &[])
        .qdq("d", "d1", 0.25, 0, INT8)
        .node("Add", "c d1", "sum", &[])
        .qdq("sum", "y", 0.5, 0, INT8);
    let sum = quantized(sum);
    let open = sum.nodes.iter().find(|node| node.source == "c").unwrap();
    let reach = [-128, 127].map(|end| (end - open.zero_point) as f32 * open.scale);
    assert!((reach[0] + 95.75).abs() < 0.5 && (reach[1] - 95.5).abs() < 0.5, "{reach:?}");
}

/// QLinearConv and similar operators are float operators between QuantizeLinear and
/// DequantizeLinear.
#[test]
fn quantized_operators_are_read_as_float_ones() {
    const INT8: DataType = DataType::INT8;
    let made = |onnx: Onnx| {
        onnx.floats("xs", &[], |_| 0.5).integers("xz", &[], INT8, |_| 3).node(
            "QuantizeLinear",
            "x xs xz",
            "q",
            &[],
        )
    };
    let network = quantized(
        made(Onnx::new(&[1, 3, 4, 4]))
            .integers("w", &[4, 3, 1, 1], INT8, step)
            .floats("ws", &[4], scale)
            .integers("wz", &[4], INT8, |_| 0)
            .floats("ys", &[], |_| 0.125)
            .integers("yz", &[], INT8, |_| -128)
            .integers("b", &[4], DataType::INT32, |index| index as i32 * 100)
            .node("QLinearConv", "q xs xz w ws wz ys yz b", "c", &[])
            .node("DequantizeLinear", "c ys yz", "y", &[]),
    );
    let (node, QuantizedOp::Conv(conv)) = (&network.nodes[1], &network.nodes[1].op) else {
        panic!()
    };
    assert_eq!((node.scale, node.zero_point), (0.125, -128));
    assert_eq!(conv.bias, [0, 100, 200, 300]);
    assert_eq!(conv.scales, (0..4).map(scale).collect::<Vec<_>>());
    assert_eq!(conv.weights[[1, 0, 0, 2]], step(5) as i8);
}

/// A map that is quantized again is rounded to the other scale, as before the additions of Brevitas' networks.
#[test]
fn a_map_that_is_quantized_again() {
    const INT8: DataType = DataType::INT8;
    let network = quantized(
        Onnx::new(&[1, 3, 4, 4])
            .qdq("x", "x1", 0.5, 0, INT8)
            .weights("w", &[4, 3, 1, 1], 0)
            .node("Conv", "x1 w", "c", &[])
            .qdq("c", "y", 0.125, 0, INT8)
            .weights("v", &[4, 4, 1, 1], 0)
            .node("Conv", "y v", "d", &[])
            .qdq("d", "d1", 0.25, 0, INT8)
            .qdq("y", "z", 0.25, 0, INT8)
            .node("Add", "z d1", "sum", &[])
            .qdq("sum", "out", 0.5, 0, INT8),
    );
    let is_again = |node: &&QuantizedNode| matches!(node.op, QuantizedOp::Requantize);
    let again = network.nodes.iter().find(is_again).unwrap();
    assert_eq!((again.scale, again.zero_point), (0.25, 0));
    assert_eq!(network.nodes[again.inputs[0]].scale, 0.125);
    lower(&network, &Preprocess::default()).unwrap();
}
