//! Convolutions that share the weights of an earlier one, such as those of a block that runs
//! several times.
//!
//! They get the integers of the first, so that the model file stores these once. The scale of the
//! input differs from use to use, and with it multipliers and biases.

use std::collections::{BTreeMap, HashMap};

use super::{Weights, smallest_scale};
use crate::network::{Conv, Network, NodeId, Op};

/// For each convolution that shares another's weights, the first that has them.
///
/// Convolutions of the image are left out, as each channel of the image may have a scale of its
/// own.
pub(crate) fn shared(network: &Network) -> BTreeMap<NodeId, NodeId> {
    let mut first: HashMap<Vec<u32>, Vec<NodeId>> = HashMap::new();
    let mut shared = BTreeMap::new();
    for (id, node) in network.nodes.iter().enumerate() {
        let Op::Conv(conv) = &node.op else { continue };
        if node.inputs.first().is_none_or(|&input| matches!(network.nodes[input].op, Op::Input)) {
            continue;
        }
        // A few weights tell most convolutions apart.
        let few = conv.weights.iter().step_by(1 + conv.weights.len() / 64);
        let alike = first.entry(few.map(|weight| weight.to_bits()).collect()).or_default();
        let same = |&&of: &&NodeId| match &network.nodes[of].op {
            Op::Conv(other) => other.groups == conv.groups && other.weights == conv.weights,
            _ => false,
        };
        match alike.iter().find(same) {
            Some(&of) => drop(shared.insert(id, of)),
            None => alike.push(id),
        }
    }
    shared
}

impl Weights {
    /// The same integers for a convolution whose inputs have a scale `ratio` times as large; `None`
    /// if its biases are too large for that.
    pub(super) fn used_again(&self, conv: &Conv, ratio: f64) -> Option<Self> {
        let bias: Vec<f64> = conv.bias.iter().map(|&bias| f64::from(bias)).collect();
        let mut channels = self.channels.clone();
        for (channel, &bias) in channels.iter_mut().zip(&bias) {
            channel.scale *= ratio;
            if channel.scale < smallest_scale(bias) {
                return None;
            }
        }
        Some(Self { channels, bias })
    }
}
