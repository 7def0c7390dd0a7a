//! What changes to a float network are tried on: some pictures to choose by, others to judge by.

use ndarray::ArrayView4;

use crate::data::Dataset;
use crate::learn::BATCH;
use crate::network::{Network, NodeId, Op};
use crate::quantize::Fused;

/// An error must be less by this share to count as less.
pub(crate) const MARGIN: f64 = 0.01;
/// Multiplications that a pass over the pictures takes at most, if these are not too few then.
const MACS: usize = 27_000_000_000;
/// Pictures, at least and at most; one of three is to judge by.
const PICTURES: [usize; 2] = [12, 450];

/// Pictures of a data set, fewer of them for larger networks.
pub(crate) struct Pictures {
    /// Those that factors and ranges come from.
    pub(crate) seen: Vec<usize>,
    /// Those that errors are measured on. Of one picture there is no other.
    pub(crate) unseen: Vec<usize>,
}

impl Pictures {
    /// For trials with a network.
    pub(crate) fn new(network: &Network, data: &Dataset) -> Self {
        let [least, most] = PICTURES;
        let all = data.spread((MACS / macs(network).max(1)).clamp(least, most));
        if all.len() < 2 {
            return Self { seen: all.clone(), unseen: all };
        }
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for (place, &picture) in all.iter().enumerate() {
            let part = if place % 3 == 1 { &mut unseen } else { &mut seen };
            part.push(picture);
        }
        Self { seen, unseen }
    }

    /// Batches of two passes over the pictures to choose by, and one over those to judge by.
    pub(crate) fn batches(&self) -> usize {
        2 * self.seen.len().div_ceil(BATCH) + self.unseen.len().div_ceil(BATCH)
    }
}

/// Multiplications of a network for a picture.
fn macs(network: &Network) -> usize {
    let macs = |node: &crate::network::Node| match &node.op {
        Op::Conv(conv) => node.shape[0] * node.shape[1] * conv.weights.len(),
        _ => 0,
    };
    network.nodes.iter().map(macs).sum()
}

/// Maps to go on from where unit `first` has `output`: those of units before that are still read.
pub(crate) fn given<'a, 'm: 'a>(
    fused: &Fused<'_>,
    first: usize,
    output: ArrayView4<'a, f32>,
    map: &impl Fn(usize) -> ArrayView4<'m, f32>,
) -> Vec<(NodeId, ArrayView4<'a, f32>)> {
    let last_readers = fused.last_readers();
    let others = (0..first).filter(|&other| last_readers[other] > first);
    let mut given: Vec<(NodeId, ArrayView4<'a, f32>)> =
        others.map(|other| (fused.units[other].output, map(other))).collect();
    given.push((fused.units[first].output, output));
    given
}
