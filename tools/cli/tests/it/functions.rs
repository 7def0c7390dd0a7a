//! Functions, maxima and gates as exporters write them, in many forms: networks are compared by their results.

use crate::onnx::{Onnx, attribute, scalar, weight};
use crate::spellings::{Load, message};
use brooklet_import::network::{Function, Network, Op};
use brooklet_quantize::forward::FloatModel;
use ndarray::Array4;

/// The value of the image at an index, in the order channel, row, column. Values are from -4 to 4.
fn pixel(index: usize) -> f32 {
    4.0 * (index as f32 * 0.37).sin()
}

/// The network's output for the image, channel by channel.
fn answer(network: &Network) -> Vec<f32> {
    let [height, width, channels] = network.input;
    let image = Array4::from_shape_fn((1, height, width, channels), |(_, row, column, channel)| {
        pixel((channel * height + row) * width + column)
    });
    let answers = FloatModel::new(network).unwrap().answers(image.view()).unwrap();
    let [rows, columns, _] = network.nodes[network.outputs[0].node].shape;
    let pixels = answers[0].as_slice().unwrap().chunks(answers[0].len() / (rows * columns));
    let pixels: Vec<&[f32]> = pixels.collect();
    (0..pixels[0].len())
        .flat_map(|channel| pixels.iter().map(move |pixel| pixel[channel]))
        .collect()
}

fn assert_near(found: &[f32], expected: impl IntoIterator<Item = f32>) {
    let expected: Vec<f32> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() < 1e-5, "{index}: {found}, not {expected}");
    }
}

/// A network for images of two channels of 3 × 4, with constants that functions are made of.
fn map() -> Onnx {
    let numbers = [
        ("one", 1.0),
        ("half", 0.5),
        ("root2", std::f32::consts::SQRT_2),
        ("by_root2", std::f32::consts::FRAC_1_SQRT_2),
        ("three", 3.0),
        ("cubic", 0.044_715),
        ("root2pi", 0.797_884_6),
    ];
    numbers
        .iter()
        .fold(Onnx::new(&[1, 2, 3, 4]), |onnx, &(name, number)| onnx.floats(name, &[], |_| number))
}

#[test]
fn a_function_in_several_nodes_is_known_by_its_values() {
    let tanh = |onnx: Onnx| {
        onnx.node("Pow", "x three", "p", &[])
            .node("Mul", "p cubic", "c", &[])
            .node("Add", "x c", "s", &[])
            .node("Mul", "s root2pi", "r", &[])
            .node("Tanh", "r", "t", &[])
            .node("Add", "t one", "a", &[])
    };
    let spelled = [
        // PyTorch writes this for opsets below 20.
        (
            map()
                .node("Div", "x root2", "d", &[])
                .node("Erf", "d", "e", &[])
                .node("Add", "e one", "a", &[])
                .node("Mul", "x a", "m", &[])
                .node("Mul", "m half", "y", &[]),
            Function::Gelu,
        ),
        // tf2onnx writes this.
        (
            map()
                .node("Mul", "x by_root2", "d", &[])
                .node("Erf", "d", "e", &[])
                .node("Add", "one e", "a", &[])
                .node("Mul", "a half", "h", &[])
                .node("Mul", "h x", "y", &[]),
            Function::Gelu,
        ),
        (
            tanh(map()).node("Mul", "x half", "h", &[]).node("Mul", "h a", "y", &[]),
            Function::GeluTanh,
        ),
        (
            tanh(map()).node("Mul", "x a", "m", &[]).node("Mul", "half m", "y", &[]),
            Function::GeluTanh,
        ),
        (
            map().node("Softplus", "x", "s", &[]).node("Tanh", "s", "t", &[]).node(
                "Mul",
                "x t",
                "y",
                &[],
            ),
            Function::Mish,
        ),
    ];
    for (onnx, function) in spelled {
        let network = onnx.load().unwrap();
        assert_eq!(network.nodes.len(), 2, "{function:?}");
        assert_eq!(network.nodes[1].op, Op::Function(function));
        let value = |index| function.value(pixel(index).into()) as f32;
        assert_near(&answer(&network), (0..24).map(value));
    }
    // A function of the same form that is none of the known functions is not replaced.
    let other = map()
        .node("Mul", "x three", "d", &[])
        .node("Erf", "d", "e", &[])
        .node("Add", "e one", "a", &[])
        .node("Mul", "x a", "y", &[])
        .load()
        .unwrap();
    assert!(other.nodes.iter().any(|node| node.op == Op::Multiply));
    let erf = |index| Function::Erf.value(3.0 * f64::from(pixel(index))) as f32;
    assert_near(&answer(&other), (0..24).map(|index| pixel(index) * (1.0 + erf(index))));
}

#[test]
fn scaled_exponentials_and_large_softplus() {
    let selu = map().node("Selu", "x", "y", &[]).load().unwrap();
    let value = |x: f32| if x > 0.0 { 1.050_701 * x } else { 1.758_099_3 * x.exp_m1() };
    assert_near(&answer(&selu), (0..24).map(|index| value(pixel(index))));

    let alpha = rten_onnx::onnx::AttributeProto {
        name: Some("alpha".into()),
        f: Some(2.0),
        ..Default::default()
    };
    let celu = map().node("Celu", "x", "y", &[alpha]).load().unwrap();
    let value = |x: f32| if x > 0.0 { x } else { 2.0 * (x / 2.0).exp_m1() };
    assert_near(&answer(&celu), (0..24).map(|index| value(pixel(index))));

    // e^100 exceeds the range of float.
    let large = map()
        .floats("much", &[], |_| 25.0)
        .node("Mul", "x much", "m", &[])
        .node("Softplus", "m", "s", &[])
        .floats("little", &[], |_| 0.04)
        .node("Mul", "s little", "y", &[])
        .load()
        .unwrap();
    let value = |x: f32| 0.04 * Function::Softplus.value(25.0 * f64::from(x)) as f32;
    assert_near(&answer(&large), (0..24).map(|index| value(pixel(index))));
}

/// Whole powers are those of negative numbers, too; roots count those as zero.
#[test]
fn powers_keep_their_signs() {
    for exponent in [1, 2, 3, 4, 5, 8] {
        let network = map()
            .floats("exponent", &[], |_| exponent as f32)
            .floats("quarter", &[], |_| 0.25)
            .node("Mul", "x quarter", "q", &[])
            .node("Pow", "q exponent", "y", &[])
            .load()
            .unwrap();
        assert_near(&answer(&network), (0..24).map(|index| (0.25 * pixel(index)).powi(exponent)));
    }
    let root = map().node("Sqrt", "x", "y", &[]).load().unwrap();
    assert_near(&answer(&root), (0..24).map(|index| pixel(index).max(0.0).sqrt()));
    let refused = map().floats("ninth", &[], |_| 9.0).node("Pow", "x ninth", "y", &[]).load();
    let refused = message(&refused.unwrap_err());
    assert!(
        refused.contains("a map to the power of 9") && refused.contains("up to 8"),
        "{refused}"
    );
}

#[test]
fn the_larger_and_the_smaller_of_maps_and_of_channels() {
    for (op, choose) in [("Max", f32::max as fn(f32, f32) -> f32), ("Min", f32::min)] {
        let network = map()
            .ints("starts", &[0])
            .ints("middle", &[1])
            .ints("ends", &[2])
            .ints("axes", &[1])
            .node("Slice", "x starts middle axes", "a", &[])
            .node("Slice", "x middle ends axes", "b", &[])
            .node(op, "a b", "y", &[])
            .load()
            .unwrap();
        let expected = (0..12).map(|index| choose(pixel(index), pixel(12 + index)));
        assert_near(&answer(&network), expected);
    }
    for channels in [1, 2, 5, 8] {
        let network = Onnx::new(&[1, channels as i64, 2, 3])
            .floats("one", &[], |_| 1.0)
            .node("ReduceMax", "x", "m", &[attribute("axes", &[1])])
            .node("Mul", "x m", "g", &[])
            .node("Add", "g one", "y", &[])
            .load()
            .unwrap();
        let largest = |at: usize| {
            (0..channels).map(|channel| pixel(6 * channel + at)).fold(f32::MIN, f32::max)
        };
        let expected = (0..6 * channels).map(|index| pixel(index) * largest(index % 6) + 1.0);
        assert_near(&answer(&network), expected);
    }
}

/// ECA: the means of the channels are convolved along the channels.
#[test]
fn a_convolution_along_the_channels() {
    let network = Onnx::new(&[1, 6, 2, 2])
        .floats("w", &[1, 1, 3], weight)
        .floats("b", &[1], |_| 0.25)
        .node("GlobalAveragePool", "x", "mean", &[])
        .ints("last", &[-1])
        .node("Squeeze", "mean last", "s", &[])
        .node("Transpose", "s", "t", &[attribute("perm", &[0, 2, 1])])
        .node("Conv", "t w b", "c", &[attribute("pads", &[1, 1]), scalar("group", 1)])
        .node("Transpose", "c", "u", &[attribute("perm", &[0, 2, 1])])
        .node("Unsqueeze", "u last", "gate", &[])
        .node("Mul", "x gate", "y", &[])
        .load()
        .unwrap();
    let mean = |channel: usize| (0..4).map(|at| pixel(4 * channel + at)).sum::<f32>() / 4.0;
    let gate = |channel: usize| {
        let near = (0..3).filter_map(|at| (channel + at).checked_sub(1).map(|of| (at, of)));
        0.25 + near.filter(|&(_, of)| of < 6).map(|(at, of)| weight(at) * mean(of)).sum::<f32>()
    };
    assert_near(&answer(&network), (0..24).map(|index| pixel(index) * gate(index / 4)));
}

/// ShuffleNet's shuffle of three groups of two channels: the first channel of each group, then the second of
/// each.
#[test]
fn a_channel_shuffle() {
    let shuffle = |target: &[i64]| {
        Onnx::new(&[1, 6, 2, 2])
            .ints("groups", &[1, 3, 2, 2, 2])
            .ints("whole", target)
            .node("Reshape", "x groups", "r", &[])
            .node("Transpose", "r", "t", &[attribute("perm", &[0, 2, 1, 3, 4])])
            .node("Reshape", "t whole", "y", &[])
            .load()
    };
    let order = [0, 2, 4, 1, 3, 5];
    let expected: Vec<f32> = (0..24).map(|at| pixel(4 * order[at / 4] + at % 4)).collect();
    for target in [[1, -1, 2, 2], [1, 6, 2, 2]] {
        assert_near(&answer(&shuffle(&target).unwrap()), expected.iter().copied());
    }
    let refused = shuffle(&[1, 3, 4, 2]).unwrap_err().to_string();
    assert!(refused.contains("`y`: reads channels in groups"), "{refused}");
}

/// A batch norm whose output is read twice: the activation behind one of the readers is not fused into the
/// convolution.
#[test]
fn hard_swish_behind_a_batch_norm() {
    let network = Onnx::new(&[1, 2, 3, 4])
        .floats("w", &[2, 2, 1, 1], weight)
        .floats("scale", &[2], |channel| 0.5 + channel as f32)
        .floats("shift", &[2], |_| 0.25)
        .floats("mean", &[2], |_| 0.0)
        .floats("var", &[2], |_| 1.0)
        .floats("three", &[], |_| 3.0)
        .floats("zero", &[], |_| 0.0)
        .floats("six", &[], |_| 6.0)
        .floats("sixth", &[], |_| 1.0 / 6.0)
        .node("Conv", "x w", "c", &[])
        .node("BatchNormalization", "c scale shift mean var", "n", &[])
        .node("Add", "n three", "a", &[])
        .node("Clip", "a zero six", "r", &[])
        .node("Mul", "r sixth", "g", &[])
        .node("Mul", "n g", "y", &[])
        .load()
        .unwrap();
    assert_eq!(network.nodes.len(), 3);
    let value = |index: usize| {
        let (channel, at) = (index / 12, index % 12);
        let sum = weight(2 * channel) * pixel(at) + weight(2 * channel + 1) * pixel(12 + at);
        let x = f64::from((0.5 + channel as f32) * sum) / f64::from(1.0f32 + 1e-5).sqrt() + 0.25;
        Function::HardSwish.value(x) as f32
    };
    assert_near(&answer(&network), (0..24).map(value));
}

/// A grey image that is repeated for a network of colours, channels in reverse order, and computed shapes.
#[test]
fn channels_repeated_and_reversed() {
    let grey = |spell: fn(Onnx) -> Onnx| spell(Onnx::new(&[1, 1, 2, 3])).load().unwrap();
    let repeated = [
        grey(|onnx| onnx.ints("times", &[1, 3, 1, 1]).node("Tile", "x times", "y", &[])),
        grey(|onnx| {
            onnx.ints("ones", &[1, 1, 1, 1])
                .ints("times", &[1, 3, 1, 1])
                .node("Expand", "x ones", "e", &[])
                .node("Tile", "e times", "y", &[])
        }),
        // expand(-1, 3, -1, -1) as PyTorch's older exporter writes it.
        grey(|onnx| {
            onnx.ints("wanted", &[-1, 3, -1, -1])
                .ints("rank", &[4])
                .ints("minus", &[-1])
                .node("ConstantOfShape", "rank", "zeros", &[])
                .node("Cast", "zeros", "z", &[scalar("to", 7)])
                .ints("one", &[1])
                .node("Add", "z one", "ones", &[])
                .node("Mul", "ones minus", "open", &[])
                .node("Equal", "wanted open", "is", &[])
                .node("Where", "is ones wanted", "shape", &[])
                .node("Expand", "x shape", "y", &[])
        }),
    ];
    for network in repeated {
        assert_near(&answer(&network), (0..18).map(|index| pixel(index % 6)));
    }
    let reversed = Onnx::new(&[1, 3, 2, 2])
        .ints("starts", &[-1])
        .ints("ends", &[i64::MIN])
        .ints("axes", &[1])
        .ints("steps", &[-1])
        .node("Slice", "x starts ends axes steps", "y", &[])
        .load()
        .unwrap();
    assert_near(&answer(&reversed), (0..12).map(|at| pixel(4 * (2 - at / 4) + at % 4)));
}

/// If the input is a vector that is reshaped to a map, the map is the image.
#[test]
fn an_image_as_a_vector() {
    let network = Onnx::new(&[0, 12])
        .ints("shape", &[-1, 2, 2, 3])
        .node("Reshape", "x shape", "r", &[])
        .node("Relu", "r", "y", &[])
        .load()
        .unwrap();
    assert_eq!(network.input, [2, 3, 2]);
    let refused = Onnx::new(&[1, 4, 2, 2])
        .node("Flatten", "x", "f", &[])
        .node("GlobalAveragePool", "x", "p", &[])
        .node("Flatten", "p", "g", &[])
        .node("Concat", "f g", "y", &[scalar("axis", 1)])
        .load()
        .unwrap_err();
    let words = "`y`: joins vectors of maps of [2, 2, 4] and [1, 1, 4]";
    let found = message(&refused);
    assert!(found.contains("dimension 1") || found.contains(words), "{found}");
}

/// Weights that are standardized by operators of the graph.
#[test]
fn weights_are_computed_by_reductions() {
    let network = Onnx::new(&[1, 2, 2, 2])
        .floats("w", &[2, 2, 1, 1], weight)
        .floats("two", &[], |_| 2.0)
        .node("ReduceMean", "w", "m", &[attribute("axes", &[1, 2, 3])])
        .node("Sub", "w m", "d", &[])
        .node("Pow", "d two", "s", &[])
        .node("ReduceSum", "s", "v", &[attribute("axes", &[1, 2, 3])])
        .node("Sqrt", "v", "r", &[])
        .node("Div", "d r", "q", &[])
        .node("Conv", "x q", "y", &[])
        .load()
        .unwrap();
    let Op::Conv(conv) = &network.nodes[1].op else { panic!() };
    // Standardized, two numbers become plus and minus half their difference, divided by its length.
    let sign = |channel: usize| (weight(2 * channel) - weight(2 * channel + 1)).signum();
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let expected = (0..4).map(|at| if at % 2 == 0 { half } else { -half } * sign(at / 2));
    assert_near(conv.weights.as_slice().unwrap(), expected);
}
