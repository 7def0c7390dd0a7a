//! What changes to a float network are tried on: some pictures to choose by, others to judge by.

use ndarray::ArrayView4;

use crate::data::Dataset;
use crate::learn::BATCH;
use crate::network::{Network, NodeId};
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
        let all = data.spread((MACS / network.macs().max(1)).clamp(least, most));
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

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;
    use crate::float::FloatModel;
    use crate::network::{Conv, Op, Subsample};

    fn conv(outputs: usize, inputs: usize) -> Op {
        let weight = |(o, _, _, i)| ((3 * o + 7 * i) as f32 * 0.7).sin();
        Op::Conv(Conv {
            weights: Array4::from_shape_fn((outputs, 1, 1, inputs), weight),
            bias: vec![0.1; outputs],
            stride: [1, 1],
            pads: [0; 4],
            fully_connected: false,
        })
    }

    #[test]
    fn a_part_goes_on_from_any_unit_to_the_same_logits() {
        let mut network = Network::new([4, 4, 3], "x").unwrap();
        let mut push = |op: Op, inputs: &[NodeId]| network.push(op, inputs, "").unwrap();
        let stem = push(conv(4, 3), &[0]);
        let first = push(conv(4, 4), &[stem]);
        let first = push(Op::Relu, &[first]);
        let main = push(conv(6, 4), &[first]);
        let projection = push(conv(6, 4), &[stem]);
        let sum = push(Op::Add, &[main, projection]);
        let main = push(conv(8, 6), &[sum]);
        let more = Subsample { stride: [1, 1], channels_before: 1, channels_after: 1 };
        let shortcut = push(Op::Subsample(more), &[sum]);
        let sum = push(Op::Add, &[main, shortcut]);
        let pool = push(Op::GlobalAveragePool, &[sum]);
        let logits = push(conv(2, 8), &[pool]);
        let network = network.canonical(logits).unwrap();

        let fused = Fused::new(&network).unwrap();
        let data = Dataset::open("random:3", network.input, &Default::default()).unwrap();
        let whole = FloatModel::new(&network).unwrap();
        let batch = data.batch(0..3).unwrap();
        let maps = whole.maps(batch.view(), &fused).unwrap();
        let map = |unit| maps.of(unit);
        for unit in 0..fused.units.len() - 1 {
            let part = FloatModel::part(&network, fused.nodes_from(unit + 1)).unwrap();
            let given = given(&fused, unit, map(unit), &map);
            assert_eq!(part.output(&given, network.logits()).unwrap(), maps.logits(), "{unit}");
        }
        let last = FloatModel::part(&network, fused.nodes_from(fused.units.len() - 1)).unwrap();
        assert!(last.output(&[(0, map(0))], 1).is_err(), "what it does not make");
    }
}
