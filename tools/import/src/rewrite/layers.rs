//! Rewrites nodes to forms that layers can compute: concatenations of two maps, convolutions
//! without dilation, kernels that never lie on padding alone, subsampled copies as convolutions,
//! pools of sizes that layers have.

use ndarray::{Array4, s};

use crate::network::{Conv, Network, Node, NodeId, Op, Output, Pads, Subsample, Window};

/// Maximum number of rows and columns of a layer's kernel.
const MAX_KERNEL: usize = 16;

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
                spread(conv);
                widen(&mut conv.weights, &mut conv.pads);
            }
            Op::Concat => in_pairs(&mut node, &mut made),
            Op::MaxPool(_) => in_steps(&mut node, &mut made),
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

/// Puts zeros between the weights of a dilated kernel, if a layer can have that size.
fn spread(conv: &mut Conv) {
    let (outputs, rows, columns, inputs) = conv.weights.dim();
    let [down, across] = conv.dilation;
    let size = [(rows - 1) * down + 1, (columns - 1) * across + 1];
    if conv.dilation == [1, 1] || size.iter().any(|&size| size > MAX_KERNEL) {
        return;
    }
    let mut weights = Array4::zeros((outputs, size[0], size[1], inputs));
    weights.slice_mut(s![.., ..;down, ..;across, ..]).assign(&conv.weights);
    conv.weights = weights;
    conv.dilation = [1, 1];
}

/// Puts zeros around a kernel that can lie entirely on padding, which a layer's kernel cannot.
///
/// Zeros before the weights let the kernel extend over the padding after the map, and zeros after
/// them over the padding before it.
pub(crate) fn widen<T: Clone + Default>(weights: &mut Array4<T>, pads: &mut Pads) {
    let (outputs, rows, columns, inputs) = weights.dim();
    let [top, left, bottom, right] = *pads;
    let more = |pad: usize, kernel: usize| (pad + 1).saturating_sub(kernel);
    let (above, below) = (more(bottom, rows), more(top, rows));
    let (before, behind) = (more(right, columns), more(left, columns));
    let size = [rows + above + below, columns + before + behind];
    if size == [rows, columns] || size.iter().any(|&size| size > MAX_KERNEL) {
        return;
    }
    let mut wide = Array4::from_elem((outputs, size[0], size[1], inputs), T::default());
    wide.slice_mut(s![.., above..above + rows, before..before + columns, ..]).assign(weights);
    *weights = wide;
    *pads = [top + above, left + before, bottom + below, right + behind];
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

/// Replaces a max-pool whose window is too large for a layer by two: one of a part of the window,
/// and one of its results. The windows must not overlap.
fn in_steps(node: &mut Node, made: &mut Vec<Node>) {
    let Op::MaxPool(window) = &mut node.op else { return };
    let [height, width, channels] = made[node.inputs[0]].shape;
    // The largest part that divides the window, and that a layer can have.
    let part = |kernel: usize| (1..=MAX_KERNEL).rev().find(|part| kernel.is_multiple_of(*part));
    let large = window.kernel.iter().any(|&kernel| kernel > MAX_KERNEL);
    let (Some(down), Some(across)) = (part(window.kernel[0]), part(window.kernel[1])) else {
        return;
    };
    let aside = window.stride == window.kernel || [height, width] == window.kernel;
    let rest = [window.kernel[0] / down, window.kernel[1] / across];
    if !large || !aside || window.pads != [0; 4] || rest.iter().any(|&rest| rest > MAX_KERNEL) {
        return;
    }
    let first = Window { kernel: [down, across], stride: [down, across], pads: [0; 4] };
    let shape = [height / down, width / across, channels];
    let inputs = node.inputs.clone();
    *window = Window { kernel: rest, stride: rest, pads: [0; 4] };
    made.push(Node { op: Op::MaxPool(first), inputs, shape, statistics: None, ..node.clone() });
    node.inputs = vec![made.len() - 1];
}

/// The convolution that makes a subsampled copy with channels of zeros added.
fn copying(subsample: &Subsample, channels: usize) -> Conv {
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
