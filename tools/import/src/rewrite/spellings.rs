//! Combines nodes that files write for one operator: activations, means and scalings.
//!
//! Nodes that become a part of another stay in the list, but nothing reads them.

use crate::network::{AveragePool, BatchNorm, Function, Network, NodeId, Op};

/// Largest relative difference of a factor from that of an activation, since files store a sixth as
/// float.
const TOLERANCE: f64 = 1e-6;

/// Combines nodes that together are one operator.
pub(crate) fn simplify(network: &mut Network, outputs: &[NodeId]) {
    let mut readers = network.consumers();
    outputs.iter().for_each(|&output| readers[output] += 1);
    for id in 0..network.nodes.len() {
        let found = match network.nodes[id].op {
            Op::Multiply => gated(network, id).or_else(|| spelled(network, id)),
            Op::Function(Function::Log) => spelled(network, id),
            Op::GlobalAveragePool | Op::AveragePool(_) => means(network, id, &readers),
            Op::BatchNorm(_) => hard_sigmoid(network, id, &readers)
                .or_else(|| hard_swish(network, id, &readers))
                .or_else(|| spelled(network, id))
                .or_else(|| affine(network, id, &readers)),
            _ => clips(network, id, &readers),
        };
        if let Some((op, input)) = found {
            network.nodes[id].op = op;
            let before = std::mem::replace(&mut network.nodes[id].inputs, vec![input]);
            readers[input] += 1;
            // A node without readers no longer reads its inputs.
            let mut left = before;
            while let Some(node) = left.pop() {
                readers[node] -= 1;
                if readers[node] == 0 {
                    left.extend(&network.nodes[node].inputs);
                }
            }
        }
    }
}

/// The new operator of a node, and the node that it reads.
type Found = Option<(Op, NodeId)>;

/// The input of a node, if no other node reads it.
fn before(network: &Network, id: NodeId, readers: &[usize]) -> Option<NodeId> {
    let &input = network.nodes[id].inputs.first()?;
    (readers[input] == 1).then_some(input)
}

/// A clip of a clip.
fn clips(network: &Network, id: NodeId, readers: &[usize]) -> Found {
    let [low, high] = network.nodes[id].op.bounds()?;
    let input = before(network, id, readers)?;
    let inner = network.nodes[input].op.bounds()?;
    let bounds = inner.map(|bound| bound.max(low).min(high));
    Some((Op::clip(bounds)?, network.nodes[input].inputs[0]))
}

/// `x · sigmoid(x)` and `x · hard-sigmoid(x)`.
fn gated(network: &Network, id: NodeId) -> Found {
    let &[a, b] = &network.nodes[id].inputs[..] else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let gate = &network.nodes[gate];
        let function = match gate.op {
            Op::Function(function) if gate.inputs == [x] => function,
            _ => return None,
        };
        match function {
            Function::Sigmoid => Some((Op::Function(Function::Silu), x)),
            Function::HardSigmoid { slope, offset } if near(slope, 1.0 / 6.0) && offset == 0.5 => {
                Some((Op::Function(Function::HardSwish), x))
            }
            _ => None,
        }
    })
}

/// Functions that files write as several nodes, in many ways. They are recognized by their values.
const SPELLED: [Function; 4] =
    [Function::Gelu, Function::GeluTanh, Function::Mish, Function::Softplus];

/// Maximum number of nodes between the input of such a function and its output.
const REACH: usize = 16;

/// The [`SPELLED`] function that a node computes, and the node that is its input.
fn spelled(network: &Network, id: NodeId) -> Found {
    /// Largest error of a value, because files round numbers to float.
    const ERROR: f64 = 1e-5;
    let points = || (-16..=16).map(|step| 0.37 * f64::from(step));
    (id.saturating_sub(REACH)..id).rev().find_map(|of| {
        let value = |x: f64| value(network, id, (of, x), &mut (4 * REACH));
        // Most nodes are not a function of a single other node, so one point rules them out.
        let first = value(0.37)?;
        let near = |function: &Function| {
            (first - function.value(0.37)).abs() <= ERROR
                && points()
                    .all(|x| value(x).is_some_and(|y| (y - function.value(x)).abs() <= ERROR))
        };
        let function = SPELLED.into_iter().find(near)?;
        Some((Op::Function(function), of))
    })
}

/// The value of a node if all values of the node `of.0` are `of.1`.
///
/// `None` if it also depends on other nodes, or if more than `left` steps are needed.
fn value(network: &Network, id: NodeId, of: (NodeId, f64), left: &mut usize) -> Option<f64> {
    *left = left.checked_sub(1)?;
    if id == of.0 {
        return Some(of.1);
    }
    let node = &network.nodes[id];
    let alike = node.inputs.iter().all(|&input| network.nodes[input].shape == node.shape);
    if id < of.0 || !alike {
        return None;
    }
    let mut input = |place: usize| value(network, *node.inputs.get(place)?, of, left);
    Some(match &node.op {
        Op::Relu => input(0)?.max(0.0),
        Op::Relu6 => input(0)?.clamp(0.0, 6.0),
        Op::Function(function) => function.value(input(0)?),
        Op::Add => input(0)? + input(1)?,
        Op::Multiply => input(0)? * input(1)?,
        op => {
            let (factor, offset) = uniform(op)?;
            factor * input(0)? + offset
        }
    })
}

/// A mean over columns of a mean over rows, or in the other order.
fn means(network: &Network, id: NodeId, readers: &[usize]) -> Found {
    let input = before(network, id, readers)?;
    let Op::AveragePool(AveragePool { window, counted: [0, 0, 0, 0] }) = network.nodes[input].op
    else {
        return None;
    };
    let from = network.nodes[input].inputs[0];
    let [height, width, _] = network.nodes[from].shape;
    let part = window.pads == [0; 4] && [[height, 1], [1, width]].contains(&window.kernel);
    let unmoved = window.stride == [1, 1];
    let whole = network.nodes[id].shape[..2] == [1, 1];
    (part && unmoved && whole).then_some((Op::GlobalAveragePool, from))
}

/// A factor and an offset that are the same for all channels.
fn uniform(op: &Op) -> Option<(f64, f64)> {
    let Op::BatchNorm(norm) = op else { return None };
    let first = norm.affine(0);
    (1..norm.scale.len()).all(|channel| norm.affine(channel) == first).then_some(first)
}

/// `min(max(x + 3, 0), 6)` times a sixth.
fn hard_sigmoid(network: &Network, id: NodeId, readers: &[usize]) -> Found {
    let (factor, 0.0) = uniform(&network.nodes[id].op)? else { return None };
    let clip = before(network, id, readers)?;
    let [0.0, high] = network.nodes[clip].op.bounds()? else { return None };
    let sum = before(network, clip, readers)?;
    let (1.0, offset) = uniform(&network.nodes[sum].op)? else { return None };
    let slope = factor as f32;
    if !near(high * slope, 1.0) {
        return None;
    }
    let offset = (offset * factor) as f32;
    let offset = if near(offset, 0.5) { 0.5 } else { offset };
    Some((Op::Function(Function::HardSigmoid { slope, offset }), network.nodes[sum].inputs[0]))
}

/// `x · min(max(x + 3, 0), 6)` times a sixth.
fn hard_swish(network: &Network, id: NodeId, readers: &[usize]) -> Found {
    let (factor, 0.0) = uniform(&network.nodes[id].op)? else { return None };
    let product = before(network, id, readers)?;
    let &[a, b] = &network.nodes[product].inputs[..] else { return None };
    if network.nodes[product].op != Op::Multiply || !near(factor as f32, 1.0 / 6.0) {
        return None;
    }
    [(a, b), (b, a)].into_iter().find_map(|(x, clip)| {
        let sum = *network.nodes[clip].inputs.first()?;
        let is_clip = network.nodes[clip].op == Op::Relu6;
        let is_sum = uniform(&network.nodes[sum].op) == Some((1.0, 3.0));
        let same = network.nodes[sum].inputs == [x];
        (is_clip && is_sum && same).then_some((Op::Function(Function::HardSwish), x))
    })
}

/// A factor and an offset per channel of another factor and offset.
fn affine(network: &Network, id: NodeId, readers: &[usize]) -> Found {
    let input = before(network, id, readers)?;
    let (Op::BatchNorm(inner), Op::BatchNorm(outer)) =
        (&network.nodes[input].op, &network.nodes[id].op)
    else {
        return None;
    };
    let both = (0..outer.scale.len()).map(|channel| {
        let ((a, b), (c, d)) = (inner.affine(channel), outer.affine(channel));
        ((a * c) as f32, (b * c + d) as f32)
    });
    let (factors, offsets): (Vec<f32>, Vec<f32>) = both.unzip();
    let norm = BatchNorm::affine_of(&factors, &offsets, factors.len());
    Some((Op::BatchNorm(norm), network.nodes[input].inputs[0]))
}

fn near(a: f32, b: f64) -> bool {
    (f64::from(a) - b).abs() <= TOLERANCE * b.abs()
}
