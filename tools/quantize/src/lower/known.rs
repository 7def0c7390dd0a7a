//! What networks may hold that layers can be made of.

use crate::error::Unrepresentable;
use crate::network::{Network, NodeId, Op, QuantizedNetwork, QuantizedOp};

/// Refuses a float network with an operator, or of a structure, that has no layers.
pub(crate) fn float(network: &Network) -> Result<(), Unrepresentable> {
    for node in &network.nodes {
        let known = match &node.op {
            Op::Conv(conv) => conv.is_plain(),
            Op::Function(_)
            | Op::PRelu(_)
            | Op::Multiply
            | Op::Concat
            | Op::Border(_)
            | Op::AveragePool(_)
            | Op::Ending(_) => false,
            _ => true,
        };
        if !known {
            return Err(unknown(&node.name, &node.source, node.op.name()));
        }
    }
    chain(network.not_a_chain(), |id| network.nodes[id].name.as_str())
}

/// Refuses an int8 network with an operator, or of a structure, that has no layers.
pub(crate) fn int8(network: &QuantizedNetwork) -> Result<(), Unrepresentable> {
    for node in &network.nodes {
        let known = match &node.op {
            QuantizedOp::Conv(conv) => conv.groups == 1 && conv.dilation == [1, 1],
            QuantizedOp::Function(_)
            | QuantizedOp::PRelu(_)
            | QuantizedOp::Multiply
            | QuantizedOp::Concat
            | QuantizedOp::Requantize
            | QuantizedOp::AveragePool(_) => false,
            _ => true,
        };
        if !known {
            return Err(unknown(&node.name, &node.source, node.op.name()));
        }
    }
    chain(network.not_a_chain(), |id| network.nodes[id].name.as_str())
}

fn unknown(name: &str, source: &str, operator: &str) -> Unrepresentable {
    let file = if source == name { String::new() } else { format!(" (`{source}` in the file)") };
    Unrepresentable::new(name, format!("is {operator}{file}, which no layer computes in int8"))
}

fn chain<'n>(
    odd: Option<(NodeId, String)>,
    name: impl Fn(NodeId) -> &'n str,
) -> Result<(), Unrepresentable> {
    match odd {
        Some((id, what)) => Err(Unrepresentable::new(
            name(id),
            format!(
                "{what}: of float networks any graph is read, but in int8 only a chain of layers \
                 and residual blocks (two branches of one layer that meet in an addition) runs"
            ),
        )),
        None => Ok(()),
    }
}
