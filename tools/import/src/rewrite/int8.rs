//! Rewrites nodes of int8 networks to forms that layers can compute, without another rounding:
//! subsampled copies that are no shortcuts, large maxima, linear layers and kernels over many columns.

use ndarray::Array4;

use super::layers::{copying, divided, pooled};
use super::phases::{MOST_WEIGHTS, in_phases};
use crate::network::{
    Activation, Conv, MAX_EXTENT, MAX_KERNEL, MAX_NODES, NodeId, Output, QuantizedConv,
    QuantizedNode, QuantizedOp,
};

/// Rewrites the nodes to forms that layers have, where possible.
///
/// If a node becomes several, the others come before it.
pub(crate) fn bring_to_layers(nodes: &mut Vec<QuantizedNode>, outputs: &mut [Output]) {
    let shortcuts = shortcuts(nodes, outputs);
    let old = std::mem::take(nodes);
    let mut room = MOST_WEIGHTS;
    let mut now: Vec<NodeId> = Vec::with_capacity(old.len());
    for (id, mut node) in old.into_iter().enumerate() {
        node.inputs.iter_mut().for_each(|input| *input = now[*input]);
        if nodes.len() < MAX_NODES {
            match &mut node.op {
                QuantizedOp::Subsample(copy) if !shortcuts[id] => {
                    let Conv { weights, .. } = copying(copy, nodes[node.inputs[0]].shape[2]);
                    let weights = weights.mapv(|weight| weight as i8);
                    let stride = copy.stride;
                    let conv = QuantizedConv { stride, ..QuantizedConv::of_weights(weights, 1) };
                    node.op = QuantizedOp::Conv(conv);
                }
                QuantizedOp::MaxPool(_) => in_steps(&mut node, nodes),
                QuantizedOp::Conv(_) => {
                    by_rows(&mut node, nodes);
                    in_phases(&mut node, nodes, &mut room);
                }
                _ => {}
            }
        }
        now.push(nodes.len());
        nodes.push(node);
    }
    outputs.iter_mut().for_each(|output| output.node = now[output.node]);
}

/// Whether each node is only read by additions, of which it can be the shortcut.
fn shortcuts(nodes: &[QuantizedNode], outputs: &[Output]) -> Vec<bool> {
    let mut shortcuts = vec![true; nodes.len()];
    outputs.iter().for_each(|output| shortcuts[output.node] = false);
    let is_copy = |id: NodeId| matches!(nodes[id].op, QuantizedOp::Subsample(_));
    for node in nodes {
        for (place, &input) in node.inputs.iter().enumerate() {
            // If both operands are copies, the second is the shortcut.
            let main = place == 0 && node.inputs.get(1).is_some_and(|&other| is_copy(other));
            shortcuts[input] &= node.op == QuantizedOp::Add && !main;
        }
    }
    shortcuts
}

/// Replaces a maximum by two, [as in float networks](super::layers::divided).
fn in_steps(node: &mut QuantizedNode, made: &mut Vec<QuantizedNode>) {
    let QuantizedOp::MaxPool(window) = &mut node.op else { return };
    let from = made[node.inputs[0]].shape;
    let Some([first, rest]) = divided(window, from, true) else { return };
    *window = rest;
    made.push(QuantizedNode {
        op: QuantizedOp::MaxPool(first),
        shape: pooled(from, &first),
        activation: Activation::None,
        ..node.clone()
    });
    node.inputs = vec![made.len() - 1];
}

/// Changes a linear layer over a map of more columns than a kernel has: each row becomes one pixel.
fn by_rows(node: &mut QuantizedNode, made: &mut Vec<QuantizedNode>) {
    let QuantizedOp::Conv(conv) = &mut node.op else { return };
    let from = &made[node.inputs[0]];
    let (out, rows, columns, depth) = conv.weights.dim();
    let whole = [rows, columns, depth] == from.shape
        && (conv.pads, conv.dilation, conv.groups) == ([0; 4], [1, 1], 1);
    if !whole
        || columns <= MAX_KERNEL
        || rows > MAX_KERNEL
        || columns * depth > MAX_EXTENT
        || conv.zeros.is_some()
        || from.int16
        || node.int16
    {
        return;
    }
    let weights: Vec<i8> = conv.weights.iter().copied().collect();
    let Ok(weights) = Array4::from_shape_vec((out, rows, 1, columns * depth), weights) else {
        return;
    };
    (conv.weights, conv.stride) = (weights, [1, 1]);
    let flat = QuantizedNode {
        name: node.name.clone(),
        source: node.source.clone(),
        op: QuantizedOp::Divide,
        inputs: node.inputs.clone(),
        shape: [rows, 1, columns * depth],
        activation: Activation::None,
        summed: false,
        ..from.clone()
    };
    made.push(flat);
    node.inputs = vec![made.len() - 1];
}
