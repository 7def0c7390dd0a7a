//! Chooses how many bits the weights of each convolution get if flash is scarce.

use std::collections::BTreeMap;

use brooklet::format::Operator;
use brooklet_plan::knapsack::{self, Choice};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::data::{Dataset, Preprocess};
use crate::error::QuantizeError;
use crate::forward::BATCH;
use crate::forward::{FloatModel, squared_error};
use crate::fuse::Fused;
use crate::fuse::given;
use crate::lower::{operator_of_conv, shape};
use crate::network::{Network, NodeId, Op};
use crate::program::Layer;
use crate::recipe::Progress;
use crate::weights::rounding::Bits;
use crate::weights::{Weights, input_scales};

/// Maximum number of images on which errors are measured.
const IMAGES: usize = 100;

/// Bits of weights, as the user asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum WeightBits {
    /// 3 in all convolutions except the first and the last, which have few weights.
    #[strum(serialize = "3")]
    Three,
    /// 4 in the same convolutions.
    #[strum(serialize = "4")]
    Four,
    /// 5 in the same convolutions.
    #[strum(serialize = "5")]
    Five,
    /// 6 in the same convolutions.
    #[strum(serialize = "6")]
    Six,
    /// 8 in all layers.
    #[strum(serialize = "8")]
    Eight,
}

impl WeightBits {
    /// Bits of all convolutions except the first and the last, if fewer than eight.
    pub fn narrow(self) -> Option<Bits> {
        let [three, four, five, six] = Bits::NARROW;
        match self {
            Self::Three => Some(three),
            Self::Four => Some(four),
            Self::Five => Some(five),
            Self::Six => Some(six),
            Self::Eight => None,
        }
    }
}

/// A convolution whose weights could have fewer than eight bits.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its unit, which is the number of its layer.
    pub unit: usize,
    /// Its node.
    pub node: NodeId,
    /// Squared error of the logits with only its weights quantized, to each of [`Bits::NARROW`].
    pub errors: [f64; Bits::NARROW.len()],
}

/// The convolutions whose weights can have fewer bits, in order: all except for depthwise ones.
fn convolutions<'f>(
    network: &'f Network,
    fused: &'f Fused<'_>,
) -> impl Iterator<Item = (usize, NodeId)> + 'f {
    let units = fused.units.iter().enumerate();
    let is_narrow = |node: NodeId| match &network.nodes[node].op {
        Op::Conv(conv) => {
            let channels = network.nodes[network.nodes[node].inputs[0]].shape[2];
            operator_of_conv(conv.groups, channels) != Operator::DepthwiseConv
        }
        _ => false,
    };
    units.map(|(index, unit)| (index, unit.node)).filter(move |&(_, node)| is_narrow(node))
}

/// All convolutions except the first and the last, with weights of `bits` bits.
pub fn inner(network: &Network, fused: &Fused<'_>, bits: Bits) -> BTreeMap<NodeId, Bits> {
    let all: Vec<NodeId> = convolutions(network, fused).map(|(_, node)| node).collect();
    all.get(1..all.len().saturating_sub(1))
        .unwrap_or(&[])
        .iter()
        .map(|&node| (node, bits))
        .collect()
}

/// The error that each convolution would cause, with weights rounded to the nearest.
///
/// # Errors
///
/// [`QuantizeError`] says what went wrong.
pub fn candidates(
    network: &Network,
    fused: &Fused<'_>,
    preprocess: &Preprocess,
    data: &Dataset,
    progress: &dyn Progress,
) -> Result<Vec<Candidate>, QuantizeError> {
    let float = FloatModel::new(network)?;
    let logits = network.logits();
    let mut candidates: Vec<Candidate> = convolutions(network, fused)
        .map(|(unit, node)| Candidate { unit, node, errors: Default::default() })
        .collect();
    let images = data.spread(IMAGES);
    progress.begin("trying fewer bits", candidates.len() * images.len().div_ceil(BATCH));
    for images in images.chunks(BATCH) {
        let batch = data.batch(images.iter().copied())?;
        let maps = float.maps(batch.view(), fused)?;
        for candidate in &mut candidates {
            let before = candidate.unit - 1;
            let given = given(fused, before, maps.of(before), &|unit| maps.of(unit));
            for (bits, error) in Bits::NARROW.into_iter().zip(&mut candidate.errors) {
                let mut changed = network.clone();
                let (unit, node) =
                    (&fused.units[candidate.unit], &mut changed.nodes[candidate.node]);
                if let Op::Conv(conv) = &node.op {
                    // The scales of activations do not matter for rounding to the nearest.
                    let pixels = (unit.input == 0).then_some(preprocess);
                    let input = network.nodes[fused.units[unit.input].output].shape;
                    let mut layer = Layer::new("", Operator::Input, 0, shape(input));
                    layer.record.scale.set(1.0);
                    let input_scales = input_scales(conv.weights.dim().3, &layer, pixels);
                    let weights = Weights::nearest(conv, &input_scales, bits);
                    node.op = Op::Conv(weights.dequantize(conv, &input_scales));
                }
                let behind = FloatModel::part(&changed, fused.nodes_from(candidate.unit))?;
                let wrong = behind.output(&given, logits)?;
                *error += squared_error(wrong.view(), maps.logits());
            }
            progress.advance(1);
        }
    }
    Ok(candidates)
}

/// Bytes of the weights of each unit's layer, by their bits.
type Bytes = [BTreeMap<u32, usize>];

/// Bits of the convolutions that get fewer than eight so that the model file, which takes `now`
/// bytes with eight, takes at most `file_bytes`, with the least sum of errors.
///
/// `None` if the fewest bits still take more.
pub fn within(
    file_bytes: usize,
    now: usize,
    candidates: &[Candidate],
    bytes: &Bytes,
) -> Option<BTreeMap<NodeId, Bits>> {
    let choices = |candidate: &Candidate| -> Vec<(Bits, Choice)> {
        let narrow = Bits::NARROW.into_iter().zip(candidate.errors);
        let all = narrow.chain([(Bits::EIGHT, 0.0)]);
        let choice = |(bits, cost): (Bits, f64)| {
            let bytes = *bytes[candidate.unit].get(&bits.count())?;
            Some((bits, Choice { bytes, cost }))
        };
        all.filter_map(choice).collect()
    };
    let choices: Vec<Vec<(Bits, Choice)>> = candidates.iter().map(choices).collect();
    let groups: Vec<Vec<Choice>> =
        choices.iter().map(|of| of.iter().map(|&(_, choice)| choice).collect()).collect();
    let eight = |candidate: &Candidate| bytes[candidate.unit].get(&8).copied().unwrap_or(0);
    let others = now - candidates.iter().map(eight).sum::<usize>();
    let numbers = knapsack::cheapest(&groups, file_bytes.checked_sub(others)?)?;
    let chosen = candidates.iter().zip(&choices).zip(numbers);
    let chosen = chosen.map(|((candidate, choices), number)| (candidate.node, choices[number].0));
    Some(chosen.filter(|&(_, bits)| bits != Bits::EIGHT).collect())
}

/// Bytes of the model file with the fewest bits in all convolutions.
pub fn least(now: usize, candidates: &[Candidate], bytes: &Bytes) -> usize {
    let saved = |candidate: &Candidate| {
        let bytes = &bytes[candidate.unit];
        bytes.get(&8).unwrap_or(&0) - bytes.values().min().unwrap_or(&0)
    };
    now - candidates.iter().map(saved).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_least_that_fit() {
        let candidate = |unit, errors| Candidate { unit, node: 10 + unit, errors };
        let candidates = [
            candidate(1, [9.0, 4.0, 2.0, 1.0]),
            candidate(2, [90.0, 40.0, 20.0, 10.0]),
            candidate(3, [0.9, 0.4, 0.2, 0.1]),
        ];
        let widths =
            |each| BTreeMap::from([3, 4, 5, 6, 8].map(|bits| (bits, each * bits as usize)));
        // The input has no weights; those of the third unit always have 8 bits.
        let only_eight = BTreeMap::from([(8, 160)]);
        let bytes = [BTreeMap::new(), widths(16), widths(32), only_eight];
        let now = 1000 + 128 + 256 + 160;
        let chosen = |file| {
            let bits = within(file, now, &candidates, &bytes)?;
            Some([11, 12, 13].map(|node| bits.get(&node).map_or(8, |bits| bits.count())))
        };
        assert_eq!(chosen(now), Some([8, 8, 8]));
        assert_eq!(chosen(now - 1), Some([6, 8, 8]));
        assert_eq!(chosen(now - 64), Some([4, 8, 8]));
        assert_eq!(chosen(now - 128), Some([4, 6, 8]));
        let fewest = now - 5 * (16 + 32);
        assert_eq!(chosen(fewest), Some([3, 3, 8]));
        assert_eq!(least(now, &candidates, &bytes), fewest);
        assert_eq!(chosen(fewest - 1), None);
        assert_eq!(chosen(100), None);
    }
}
