//! Small networks for the tests of this crate, beside its code and here.

use brooklet_import::network::{BatchNorm, Conv, Network, NodeId, Op, Subsample, Window};
use ndarray::Array4;

/// A convolution that keeps the size of a map: its numbers of outputs, inputs, and rows and columns
/// of its kernel. The bias of output `o` is `o` times `bias`.
pub(crate) fn conv(
    [outputs, inputs, kernel]: [usize; 3],
    weight: impl Fn((usize, usize, usize, usize)) -> f32,
    bias: f32,
) -> Conv {
    Conv {
        weights: Array4::from_shape_fn((outputs, kernel, kernel, inputs), weight),
        bias: (0..outputs).map(|o| o as f32 * bias).collect(),
        stride: [1, 1],
        pads: [kernel / 2; 4],
        dilation: [1, 1],
        groups: 1,
        fully_connected: false,
    }
}

/// A weight.
pub(crate) fn wave(o: usize, i: usize) -> f32 {
    ((3 * o + 7 * (i % 8)) as f32 * 0.7).sin() / 3.0
}

/// A stem, an identity block, a block with a shortcut of more channels, and a classifier.
pub(crate) fn two_blocks(
    stem: impl Fn(usize, usize) -> f32,
    reader: impl Fn(usize, usize) -> f32,
) -> Network {
    fn conv(outputs: usize, inputs: usize, weight: impl Fn(usize, usize) -> f32) -> Op {
        Op::Conv(self::conv([outputs, inputs, 1], |(o, _, _, i)| weight(o, i), 0.1))
    }
    let mut network = Network::new([4, 4, 3], "x").unwrap();
    let mut push = |mut op: Op, inputs: &[NodeId]| {
        // No two convolutions have the same weights.
        if let Op::Conv(conv) = &mut op {
            conv.weights.mapv_inplace(|weight| weight * (1.0 + inputs[0] as f32 / 256.0));
        }
        network.push(op, inputs, "").unwrap()
    };
    let stem = push(conv(4, 3, stem), &[0]);
    let stem = push(Op::Relu, &[stem]);
    let inner = push(conv(4, 4, &reader), &[stem]);
    let inner = push(Op::Relu, &[inner]);
    let main = push(conv(4, 4, wave), &[inner]);
    let sum = push(Op::Add, &[main, stem]);
    let sum = push(Op::Relu, &[sum]);
    let main = push(conv(6, 4, &reader), &[sum]);
    let subsample = Subsample { stride: [1, 1], channels_before: 1, channels_after: 1 };
    let shortcut = push(Op::Subsample(subsample), &[sum]);
    let sum = push(Op::Add, &[main, shortcut]);
    let pool = push(Op::GlobalAveragePool, &[sum]);
    let classifier = |o, i: usize| reader(o, i.wrapping_sub(1));
    let logits = push(conv(2, 6, classifier), &[pool]);
    network.canonical(&[(logits, String::new())]).unwrap()
}

/// A stem with two channels of large values and two of small ones, a pool, a bottleneck with a
/// projection and large biases in its first convolution, and a classifier.
pub(crate) fn bottleneck(inner_bias: f32) -> Network {
    let weight = |(o, y, x, i)| ((3 * o + 7 * i + 5 * y + x) as f32 * 0.7).sin() / 3.0;
    let conv = |sizes| conv(sizes, weight, 0.1);
    let mut network = Network::new([8, 8, 3], "x").unwrap();
    let mut push = |op: Op, inputs: &[NodeId]| network.push(op, inputs, "").unwrap();
    let mut stem = conv([4, 3, 3]);
    stem.weights.mapv_inplace(|weight| weight / 400.0);
    stem.bias = vec![20.0, 0.2, 17.0, 0.3];
    let stem = push(Op::Conv(stem), &[0]);
    let stem = push(Op::Relu, &[stem]);
    let window = Window { kernel: [3, 3], stride: [2, 2], pads: [1; 4] };
    let pool = push(Op::MaxPool(window), &[stem]);
    let mut first = conv([4, 4, 1]);
    first.bias = vec![inner_bias; 4];
    let main = push(Op::Conv(first), &[pool]);
    let main = push(Op::Relu, &[main]);
    let main = push(Op::Conv(conv([4, 4, 3])), &[main]);
    let main = push(Op::Relu, &[main]);
    let main = push(Op::Conv(conv([6, 4, 1])), &[main]);
    let mut other = conv([6, 4, 1]);
    other.weights.mapv_inplace(|weight| 0.75 * weight);
    let shortcut = push(Op::Conv(other), &[pool]);
    let sum = push(Op::Add, &[main, shortcut]);
    let norm = BatchNorm {
        scale: vec![1.5, 0.2, 1.5, 0.2, 1.5, 0.2],
        shift: vec![0.5; 6],
        mean: vec![0.25; 6],
        var: vec![2.0; 6],
        eps: 1e-5,
    };
    let sum = push(Op::BatchNorm(norm), &[sum]);
    let sum = push(Op::Relu, &[sum]);
    let pool = push(Op::GlobalAveragePool, &[sum]);
    let logits = push(Op::Conv(conv([3, 6, 1])), &[pool]);
    network.canonical(&[(logits, String::new())]).unwrap()
}
