//! Convolutions of int8 maps whose kernels span more columns than a layer's, without another
//! rounding.
//!
//! Groups of `m` neighbouring columns become one column with `m` times as many channels. Each output
//! column of a group has weights of its own, which are the kernel's, shifted. The kernel then spans
//! about `m` times fewer columns.

use ndarray::Array4;

use crate::network::{
    Activation, MAX_EXTENT, MAX_KERNEL, MAX_NODES, NodeId, QuantizedConv, QuantizedNode,
    QuantizedOp, Shape,
};

/// Maximum number of weights of all such convolutions of a network.
pub(super) const MOST_WEIGHTS: usize = 1 << 22;

/// Maximum number of columns that are computed and not used.
const MOST_UNUSED: usize = 64;

/// How columns are grouped.
struct Phases {
    /// Number of columns in a group.
    columns: usize,
    /// Number of output columns for each group.
    outputs: usize,
    /// Number of groups of zeros before the map and behind it.
    pads: [usize; 2],
    /// Number of groups that the kernel spans.
    kernel: usize,
    /// Number of groups of the map, with columns of zeros at its end.
    groups: usize,
}

/// Replaces such a convolution, if it can; the nodes before the last are added to `made`.
/// `room` is the number of weights that may be made.
pub(super) fn in_phases(node: &mut QuantizedNode, made: &mut Vec<QuantizedNode>, room: &mut usize) {
    let QuantizedOp::Conv(conv) = &node.op else { return };
    let input = node.inputs[0];
    let from = &made[input];
    let (_, rows, taps, _) = conv.weights.dim();
    let span = (taps - 1) * conv.dilation[1] + 1;
    let fits = span > MAX_KERNEL
        && rows <= MAX_KERNEL
        && conv.dilation[0] == 1
        && conv.zeros.is_none()
        && !(from.int16 || node.int16 || node.summed)
        && made.len() + 64 < MAX_NODES;
    if !fits {
        return;
    }
    // Fewer columns in a group make fewer weights.
    let phases = (2..=64).find_map(|columns| phases(conv, from.shape, node.shape, columns, *room));
    let Some(phases) = phases else { return };
    let Some(weights) = weights(conv, &phases) else { return };
    *room = room.saturating_sub(weights.len());
    let like = node.clone();
    let end = phases.groups * phases.columns - from.shape[1];
    let mut map = extended(&like, made, input, end);
    let [rows, _, channels] = made[map].shape;
    map = divided(&like, made, map, [rows, phases.groups, phases.columns * channels]);
    let out = conv.bias.len();
    let repeated = |count: usize| 0..count * phases.outputs;
    let new = QuantizedConv {
        scales: repeated(out).map(|place| conv.scales[place % out]).collect(),
        bias: repeated(out).map(|place| conv.bias[place % out]).collect(),
        weights,
        stride: [conv.stride[0], 1],
        pads: [conv.pads[0], phases.pads[0], conv.pads[2], phases.pads[1]],
        dilation: [1, 1],
        groups: 1,
        fully_connected: false,
        ..conv.clone()
    };
    let columns = phases.groups + phases.pads[0] + phases.pads[1] - phases.kernel + 1;
    let shape = [node.shape[0], columns, out * phases.outputs];
    made.push(QuantizedNode {
        op: QuantizedOp::Conv(new),
        inputs: vec![map],
        shape,
        ..like.clone()
    });
    map = made.len() - 1;
    let whole = [node.shape[0], columns * phases.outputs, out];
    map = divided(&like, made, map, whole);
    let mut behind = whole[1] - node.shape[1];
    while behind > 0 {
        let part = behind.min(MAX_KERNEL - 1);
        map = cropped(&like, made, map, part);
        behind -= part;
    }
    if let Some(last) = made.pop() {
        *node = last;
    }
}

/// The phases of a convolution with this number of columns in a group, if a layer can have it.
fn phases(
    conv: &QuantizedConv,
    from: Shape,
    to: Shape,
    columns: usize,
    room: usize,
) -> Option<Phases> {
    let stride = conv.stride[1];
    let (out, rows, taps, inputs) = conv.weights.dim();
    if conv.groups != 1 || !columns.is_multiple_of(stride) {
        return None;
    }
    let outputs = columns / stride;
    let before = conv.pads[1].div_ceil(columns);
    // The last column that an output of a group reads, from the first column of its kernel.
    let shift = before * columns - conv.pads[1];
    let last = shift + (outputs - 1) * stride + (taps - 1) * conv.dilation[1];
    let kernel = last / columns + 1;
    let groups = from[1].div_ceil(columns);
    let made = to[1].div_ceil(outputs);
    let behind = (made + kernel - 1).saturating_sub(groups + before);
    let weights = [out * outputs, rows, kernel, inputs * columns];
    let count = weights.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    let fits = kernel <= MAX_KERNEL
        && before < kernel
        && behind < kernel
        && count <= room
        && (groups + before + behind + 1).saturating_sub(kernel) * outputs <= to[1] + MOST_UNUSED
        && weights.iter().all(|&size| size <= MAX_EXTENT);
    fits.then_some(Phases { columns, outputs, pads: [before, behind], kernel, groups })
}

/// The kernel, shifted for each output column of a group.
fn weights(conv: &QuantizedConv, phases: &Phases) -> Option<Array4<i8>> {
    let (out, rows, taps, inputs) = conv.weights.dim();
    let shift = phases.pads[0] * phases.columns - conv.pads[1];
    let size = (out * phases.outputs, rows, phases.kernel, inputs * phases.columns);
    let mut weights = Array4::zeros(size);
    for place in 0..phases.outputs {
        for tap in 0..taps {
            let column = shift + place * conv.stride[1] + tap * conv.dilation[1];
            let (group, within) = (column / phases.columns, column % phases.columns);
            for channel in 0..out {
                for row in 0..rows {
                    for input in 0..inputs {
                        let to = [place * out + channel, row, group, within * inputs + input];
                        *weights.get_mut(to)? = conv.weights[[channel, row, tap, input]];
                    }
                }
            }
        }
    }
    Some(weights)
}

/// A node that copies another; its scale is that of its input.
fn copy(
    like: &QuantizedNode,
    made: &mut Vec<QuantizedNode>,
    input: NodeId,
    op: QuantizedOp,
    shape: Shape,
) -> NodeId {
    let (scale, zero_point) = (made[input].scale, made[input].zero_point);
    let activation = Activation::None;
    let inputs = vec![input];
    made.push(QuantizedNode { op, inputs, shape, scale, zero_point, activation, ..like.clone() });
    made.len() - 1
}

/// A map whose rows are divided otherwise into columns and channels.
fn divided(
    like: &QuantizedNode,
    made: &mut Vec<QuantizedNode>,
    input: NodeId,
    shape: Shape,
) -> NodeId {
    copy(like, made, input, QuantizedOp::Divide, shape)
}

/// A map with columns of zeros behind it.
fn extended(
    like: &QuantizedNode,
    made: &mut Vec<QuantizedNode>,
    mut input: NodeId,
    mut columns: usize,
) -> NodeId {
    while columns > 0 {
        let part = columns.min(MAX_KERNEL - 1);
        let [height, width, channels] = made[input].shape;
        // Zeros before the weight let the kernel reach over the padding.
        let conv = identity(channels, input == 0, [part + 1, part]);
        let conv = QuantizedConv { pads: [0, part, 0, part], ..conv };
        let shape = [height, width + part, channels];
        input = copy(like, made, input, QuantizedOp::Conv(conv), shape);
        columns -= part;
    }
    input
}

/// A map without its last columns.
fn cropped(
    like: &QuantizedNode,
    made: &mut Vec<QuantizedNode>,
    input: NodeId,
    columns: usize,
) -> NodeId {
    let [height, width, channels] = made[input].shape;
    let conv = identity(channels, false, [columns + 1, 0]);
    let shape = [height, width - columns, channels];
    copy(like, made, input, QuantizedOp::Conv(conv), shape)
}

/// A convolution with one weight of 1 among this number of columns; of one group for the image.
fn identity(channels: usize, image: bool, [columns, at]: [usize; 2]) -> QuantizedConv {
    let (inputs, groups) = if image { (channels, 1) } else { (1, channels) };
    let mut weights = Array4::zeros((channels, 1, columns, inputs));
    for channel in 0..channels {
        weights[[channel, 0, at, if image { channel } else { 0 }]] = 1;
    }
    QuantizedConv::of_weights(weights, groups)
}
