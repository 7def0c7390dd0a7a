//! Rewrites nodes to forms that layers can compute: concatenations of two maps, convolutions
//! without dilation, kernels that never lie on padding alone, subsampled copies as convolutions,
//! kernels and pools of sizes that layers have.

use ndarray::Array4;

use super::kernels::{divide, spread, ungroup, widen};
use crate::network::{
    AveragePool, Conv, MAX_KERNEL, Network, Node, NodeId, Op, Output, Shape, Subsample, Window,
};

/// Rewrites the nodes of the network to forms that layers have, where possible.
///
/// If a node becomes several, the others come before it.
pub(crate) fn bring_to_layers(network: &mut Network, outputs: &mut [Output]) {
    let shortcuts = shortcuts(network);
    let nodes = std::mem::take(&mut network.nodes);
    let mut made: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut now: Vec<NodeId> = Vec::with_capacity(nodes.len());
    for (id, mut node) in nodes.into_iter().enumerate() {
        node.inputs.iter_mut().for_each(|input| *input = now[*input]);
        match &mut node.op {
            Op::Conv(conv) => {
                // Layers that read the image have one group.
                if node.inputs[0] == 0 {
                    ungroup(conv);
                }
                spread(conv);
                if conv.dilation == [1, 1] {
                    widen(&mut conv.weights, &mut conv.pads);
                }
                divide(&mut node, &mut made);
            }
            Op::Concat => in_pairs(&mut node, &mut made),
            Op::MaxPool(_) | Op::AveragePool(_) => in_steps(&mut node, &mut made),
            Op::Subsample(subsample) if !shortcuts[id] => {
                let channels = made[node.inputs[0]].shape[2];
                node.op = Op::Conv(copying(subsample, channels));
            }
            _ => {}
        }
        now.push(made.len());
        made.push(node);
    }
    network.nodes = made;
    outputs.iter_mut().for_each(|output| output.node = now[output.node]);
}

/// Whether each node is only read by additions, of which it can be the shortcut.
fn shortcuts(network: &Network) -> Vec<bool> {
    let mut shortcuts = vec![true; network.nodes.len()];
    let is_copy = |id: NodeId| matches!(network.nodes[id].op, Op::Subsample(_));
    for node in &network.nodes {
        for (place, &input) in node.inputs.iter().enumerate() {
            // If both operands are copies, the second is the shortcut.
            let main = place == 0 && node.inputs.get(1).is_some_and(|&other| is_copy(other));
            shortcuts[input] &= matches!(node.op, Op::Add) && !main;
        }
    }
    shortcuts
}

/// Replaces a concatenation of many maps by concatenations of two.
fn in_pairs(node: &mut Node, made: &mut Vec<Node>) {
    while node.inputs.len() > 2 {
        let [first, second] = [node.inputs[0], node.inputs[1]];
        let [height, width, channels] = made[first].shape;
        let shape = [height, width, channels + made[second].shape[2]];
        let inputs = vec![first, second];
        made.push(Node { op: Op::Concat, inputs, shape, statistics: None, ..node.clone() });
        node.inputs.splice(..2, [made.len() - 1]);
    }
}

/// Replaces a pool by two, if a layer cannot have its window or if [rows are held for
/// shorter](divided). The windows of an average must not overlap.
fn in_steps(node: &mut Node, made: &mut Vec<Node>) {
    let averages = matches!(node.op, Op::AveragePool(_));
    let (Op::MaxPool(window) | Op::AveragePool(AveragePool { window, .. })) = &mut node.op else {
        return;
    };
    let from = made[node.inputs[0]].shape;
    let Some([first, rest]) = divided(window, from, !averages) else { return };
    let (shape, inputs) = (pooled(from, &first), node.inputs.clone());
    *window = rest;
    let op = match averages {
        true => Op::AveragePool(AveragePool { window: first, counted: [0; 4] }),
        false => Op::MaxPool(first),
    };
    made.push(Node { op, inputs, shape, statistics: None, ..node.clone() });
    node.inputs = vec![made.len() - 1];
}

/// The shape of a pool's output.
pub(super) fn pooled([height, width, channels]: Shape, window: &Window) -> Shape {
    let [top, left, bottom, right] = window.pads;
    let [down, across] = [height + top + bottom, width + left + right];
    let outputs = |axis: usize, size: usize| (size - window.kernel[axis]) / window.stride[axis] + 1;
    [outputs(0, down), outputs(1, across), channels]
}

/// Two windows, the second over the results of the first, that together replace a window over a map
/// of this shape.
///
/// There are two reasons for it. The window may be too large for a layer; windows of maxima may then
/// overlap. Or a maximum takes fewer columns than its input has, and its windows share rows. Then
/// the first pool covers columns alone, and the rows that several windows share are those of its
/// narrower output:
///
/// ```text
/// a row has  112 columns         56                56
///            ─────────── 3×3 ──▶ ────
///            ───────────             for 3 rows of 112 columns, only one is in memory
///            ───────────
///            ─────────── 1×3 ──▶ ────  3×1 ──▶ ────
///                                ────
///                                ────
/// ```
pub(super) fn divided(window: &Window, from: Shape, is_maximum: bool) -> Option<[Window; 2]> {
    let [height, width, _] = from;
    let size = [height, width];
    let Window {
        kernel: [rows, columns],
        stride: [down, across],
        pads: [top, left, bottom, right],
    } = *window;
    let large = rows.max(columns) > MAX_KERNEL;
    if is_maximum && !large && rows > down && columns > 1 && across > 1 {
        return Some([
            Window { kernel: [1, columns], stride: [1, across], pads: [0, left, 0, right] },
            Window { kernel: [rows, 1], stride: [down, 1], pads: [top, 0, bottom, 0] },
        ]);
    }
    if !large || window.pads != [0; 4] {
        return None;
    }
    let inner = |rest: [usize; 2]| Window { kernel: rest, stride: rest, pads: [0; 4] };
    // The largest part that divides the window, and that a layer can have.
    let part = |kernel: usize| (1..=MAX_KERNEL).rev().find(|part| kernel.is_multiple_of(*part));
    let part = [part(window.kernel[0])?, part(window.kernel[1])?];
    let rest: [usize; 2] = std::array::from_fn(|axis| window.kernel[axis] / part[axis]);
    let aside = (0..2).all(|axis| {
        window.stride[axis] == window.kernel[axis] || size[axis] == window.kernel[axis]
    });
    if aside && rest.iter().all(|&rest| rest <= MAX_KERNEL) {
        return Some([inner(part), inner(rest)]);
    }
    if !is_maximum || size != window.kernel {
        return None;
    }
    // Kernel, stride and number of parts that cover all positions.
    let overlapping = |size: usize| {
        let counts = size.div_ceil(MAX_KERNEL)..=MAX_KERNEL;
        let mut all =
            counts.flat_map(|count| (1..=MAX_KERNEL).rev().map(move |stride| (stride, count)));
        all.find_map(|(stride, count)| {
            let kernel = size.checked_sub((count - 1) * stride)?;
            (stride..=MAX_KERNEL).contains(&kernel).then_some([kernel, stride, count])
        })
    };
    let [down, across] = [overlapping(size[0])?, overlapping(size[1])?];
    let [kernel, stride, rest] = [0, 1, 2].map(|part| [down[part], across[part]]);
    Some([Window { kernel, stride, pads: [0; 4] }, inner(rest)])
}

/// The convolution that makes a subsampled copy with channels of zeros added.
pub(super) fn copying(subsample: &Subsample, channels: usize) -> Conv {
    let outputs = subsample.channels_before + channels + subsample.channels_after;
    let mut weights = Array4::zeros((outputs, 1, 1, channels));
    for channel in 0..channels {
        weights[[subsample.channels_before + channel, 0, 0, channel]] = 1.0;
    }
    Conv {
        weights,
        bias: vec![0.0; outputs],
        stride: subsample.stride,
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
        fully_connected: false,
    }
}
