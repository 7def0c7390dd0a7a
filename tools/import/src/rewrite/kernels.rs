//! Kernels as layers have them: without dilation, never on padding alone, in one group for an image,
//! and not too large.
//!
//! A convolution whose kernel is too large becomes several with smaller kernels. A kernel over the
//! whole map is divided into [tiles]. Any other is divided into parts whose results are added: two that
//! overlap, if the padding allows that, or parts of [copies](in_parts) of the map that are shifted
//! against each other.

use ndarray::{Array4, Axis, s};

use crate::network::{
    Conv, MAX_KERNEL, MAX_NODES, Node, NodeId, Op, Pads, Shape, dilated, window_output,
};

/// Number of positions by which a copy of a map is shifted.
const SHIFT: usize = MAX_KERNEL - 1;

/// Maximum number of positions of a kernel that is divided, and of channels that dividing it makes.
const MOST: usize = 4096;

/// Maximum number of weights of a kernel for an image, with those that are added.
const MOST_WEIGHTS: usize = 1 << 22;

/// Puts zeros between the weights of a dilated kernel, if a layer can have that size.
pub(super) fn spread(conv: &mut Conv) {
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

/// Divides a convolution's kernel as far as layers need it.
///
/// The nodes before it are added to `made`. If it cannot be divided, it stays as it is.
pub(super) fn divide(node: &mut Node, made: &mut Vec<Node>) {
    let Op::Conv(conv) = &node.op else { return };
    let span: [usize; 2] =
        std::array::from_fn(|axis| dilated(conv.kernel()[axis], conv.dilation[axis]));
    let Some(axis) = (0..2).find(|&axis| span[axis] > MAX_KERNEL) else { return };
    if span[axis] > MOST {
        return;
    }
    let input = made[node.inputs[0]].shape;
    let whole = node.shape[..2] == [1, 1] && conv.kernel() == input[..2];
    if whole && conv.groups == 1 && conv.dilation == [1, 1] && conv.pads == [0; 4] {
        tiles(node, made);
    } else if span[axis] <= MAX_KERNEL + SHIFT
        && [conv.pads[axis], conv.pads[axis + 2]]
            .iter()
            .all(|&pad| (span[axis] - MAX_KERNEL..MAX_KERNEL).contains(&pad))
    {
        in_two(node, made, axis, span[axis]);
    } else {
        in_parts(node, made, axis, span[axis]);
    }
}

/// A convolution of the image as one with one group, whose other weights are zero: layers that read
/// an image have one group.
pub(super) fn ungroup(conv: &mut Conv) {
    let (out, height, width, depth) = conv.weights.dim();
    if conv.groups == 1 || conv.weights.len().saturating_mul(conv.groups) > MOST_WEIGHTS {
        return;
    }
    let mut weights = Array4::zeros((out, height, width, depth * conv.groups));
    let each = out / conv.groups;
    for (channel, own) in conv.weights.outer_iter().enumerate() {
        let first = channel / each * depth;
        weights.slice_mut(s![channel, .., .., first..first + depth]).assign(&own);
    }
    (conv.weights, conv.groups) = (weights, 1);
}

/// Adds a convolution, which is divided if need be.
fn push(made: &mut Vec<Node>, like: &Node, mut conv: Conv, input: NodeId) -> Option<NodeId> {
    if made.len() >= MAX_NODES {
        return None;
    }
    if input == 0 {
        ungroup(&mut conv);
    }
    if conv.dilation == [1, 1] {
        widen(&mut conv.weights, &mut conv.pads);
    }
    let shape = shape_of(made[input].shape, &conv)?;
    let mut node =
        Node { op: Op::Conv(conv), inputs: vec![input], shape, statistics: None, ..like.clone() };
    divide(&mut node, made);
    made.push(node);
    Some(made.len() - 1)
}

fn shape_of(input: Shape, conv: &Conv) -> Option<Shape> {
    let (out, ..) = conv.weights.dim();
    let kernel = std::array::from_fn(|axis| dilated(conv.kernel()[axis], conv.dilation[axis]));
    window_output(input, out, kernel, conv.stride, conv.pads).ok()
}

/// Divides a kernel over the whole map into tiles: a convolution computes all tiles at all places, and
/// a second one adds up each tile's result at its own place.
fn tiles(node: &mut Node, made: &mut Vec<Node>) {
    let Op::Conv(conv) = &node.op else { return };
    let (out, height, width, depth) = conv.weights.dim();
    let [down, across] = [height, width].map(|size| size.div_ceil(MAX_KERNEL));
    let [rows, columns] = [height.div_ceil(down), width.div_ceil(across)];
    let parts = down * across;
    if out.saturating_mul(parts) > MOST {
        return;
    }
    let mut weights = Array4::zeros((out * parts, rows, columns, depth));
    for part in 0..parts {
        let (top, left) = (part / across * rows, part % across * columns);
        let (bottom, right) = ((top + rows).min(height), (left + columns).min(width));
        let tile = conv.weights.slice(s![.., top..bottom, left..right, ..]);
        let mut own = weights.slice_mut(s![part..;parts, ..bottom - top, ..right - left, ..]);
        own.assign(&tile);
    }
    let first = Conv {
        weights,
        bias: vec![0.0; out * parts],
        stride: [rows, columns],
        pads: [0, 0, down * rows - height, across * columns - width],
        fully_connected: false,
        ..conv.clone()
    };
    let mut weights = Array4::zeros((out, down, across, parts));
    for part in 0..parts {
        weights.slice_mut(s![.., part / across, part % across, part]).fill(1.0);
    }
    let sum = Conv { weights, groups: out, fully_connected: false, ..conv.clone() };
    let begun = made.len();
    let input = node.inputs[0];
    let done = push(made, node, first, input).and_then(|tiles| push(made, node, sum, tiles));
    finish(node, made, begun, done);
}

/// Replaces `node` by the last node, if all were made; otherwise removes those.
fn finish(node: &mut Node, made: &mut Vec<Node>, begun: usize, done: Option<NodeId>) {
    match done.and_then(|_| made.pop()) {
        Some(last) => *node = Node { statistics: node.statistics.take(), ..last },
        None => made.truncate(begun),
    }
}

/// The weights of a kernel's positions from `begin` on, along an axis, as a kernel of this size without
/// dilation along that axis.
fn cut(conv: &Conv, axis: usize, begin: usize, size: usize, taps: [usize; 2]) -> Conv {
    let mut shape = conv.weights.raw_dim();
    shape[axis + 1] = size;
    let mut weights = Array4::zeros(shape);
    for (place, own) in conv.weights.axis_iter(Axis(axis + 1)).enumerate() {
        let position = place * conv.dilation[axis];
        if (taps[0]..taps[1]).contains(&position) {
            weights.index_axis_mut(Axis(axis + 1), position - begin).assign(&own);
        }
    }
    let mut part = Conv { weights, fully_connected: false, ..conv.clone() };
    part.dilation[axis] = 1;
    part
}

/// Divides a kernel into its first positions and its last ones.
fn in_two(node: &mut Node, made: &mut Vec<Node>, axis: usize, span: usize) {
    let Op::Conv(conv) = &node.op else { return };
    let rest = span - MAX_KERNEL;
    let mut first = cut(conv, axis, 0, MAX_KERNEL, [0, MAX_KERNEL]);
    first.pads[axis + 2] -= rest;
    let mut second = cut(conv, axis, rest, MAX_KERNEL, [MAX_KERNEL, span]);
    second.pads[axis] -= rest;
    second.bias.fill(0.0);
    let (begun, input) = (made.len(), node.inputs[0]);
    let done = push(made, node, first, input).and_then(|first| {
        let second = push(made, node, second, input)?;
        Some(add(made, node, [second, first]))
    });
    finish(node, made, begun, done);
}

fn add(made: &mut Vec<Node>, like: &Node, inputs: [NodeId; 2]) -> NodeId {
    let shape = made[inputs[0]].shape;
    let inputs = inputs.to_vec();
    made.push(Node { op: Op::Add, inputs, shape, statistics: None, ..like.clone() });
    made.len() - 1
}

/// Divides a kernel into parts of copies of the map, each of which is shifted by a part's length.
fn in_parts(node: &mut Node, made: &mut Vec<Node>, axis: usize, span: usize) {
    let Op::Conv(conv) = &node.op else { return };
    let (begun, input) = (made.len(), node.inputs[0]);
    let done = parts(node, made, conv, axis, span, input);
    finish(node, made, begun, done);
}

fn parts(
    node: &Node,
    made: &mut Vec<Node>,
    conv: &Conv,
    axis: usize,
    span: usize,
    mut map: NodeId,
) -> Option<NodeId> {
    let channels = made[map].shape[2];
    // The padding becomes a part of the map.
    let mut left = [conv.pads[axis], conv.pads[axis + 2]];
    while left != [0, 0] {
        let before = left[0].min(SHIFT);
        let behind = left[1].min(SHIFT - before);
        left = [left[0] - before, left[1] - behind];
        let mut pads = [0; 4];
        (pads[axis], pads[axis + 2]) = (before, behind);
        map = push(made, node, Conv::padding(channels, pads), map)?;
    }
    let mut conv = conv.clone();
    (conv.pads[axis], conv.pads[axis + 2]) = (0, 0);
    let used = |part: usize| {
        let taps = [part * SHIFT, ((part + 1) * SHIFT).min(span)];
        let positions = (0..conv.kernel()[axis]).map(|place| place * conv.dilation[axis]);
        let last = positions.filter(|at| (taps[0]..taps[1]).contains(at)).max();
        last.map(|last| (taps, last + 1 - taps[0]))
    };
    let count = span.div_ceil(SHIFT);
    // All parts have the same size, and so do their results.
    let size = (0..count).filter_map(|part| Some(used(part)?.1)).max()?;
    let mut sum: Option<NodeId> = None;
    for part in 0..count {
        if let Some((taps, _)) = used(part) {
            let mut own = cut(&conv, axis, taps[0], size, taps);
            if sum.is_some() {
                own.bias.fill(0.0);
            }
            let made_part = push(made, node, own, map)?;
            sum = Some(match sum {
                None => made_part,
                Some(sum) => add(made, node, [made_part, sum]),
            });
        }
        if part + 1 < count {
            let mut edges = [0; 4];
            edges[axis] = SHIFT;
            let mut shift = Conv::cropping(channels, edges);
            shift.pads[axis + 2] = SHIFT;
            map = push(made, node, shift, map)?;
        }
    }
    let mut sum = sum?;
    // Positions that the whole kernel does not reach.
    while made[sum].shape[axis] > node.shape[axis] {
        let mut edges = [0; 4];
        edges[axis + 2] = (made[sum].shape[axis] - node.shape[axis]).min(SHIFT);
        sum = push(made, node, Conv::cropping(node.shape[2], edges), sum)?;
    }
    Some(sum)
}
