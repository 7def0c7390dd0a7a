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
            Op::Multiply => gated(network, id),
            Op::GlobalAveragePool | Op::AveragePool(_) => means(network, id, &readers),
            Op::BatchNorm(_) => hard_sigmoid(network, id, &readers)
                .or_else(|| hard_swish(network, id, &readers))
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

/// The input of a node, if nothing else reads that.
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

/// A mean over the columns of a mean over the rows, or the reverse.
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
