//! Which convolutions get weights in four bits, where flash is scarce.

use std::collections::BTreeSet;

use brooklet::format::Operator;
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::data::{Dataset, Preprocess};
use crate::error::QuantizeError;
use crate::forward::BATCH;
use crate::forward::{FloatModel, squared_error};
use crate::fuse::Fused;
use crate::fuse::given;
use crate::lower::shape;
use crate::network::{Network, NodeId, Op};
use crate::program::Layer;
use crate::recipe::Progress;
use crate::weights::rounding::Bits;
use crate::weights::{Weights, input_scales};

/// Images on which errors are measured, at most.
const IMAGES: usize = 100;

/// Bits of weights, as the user wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum WeightBits {
    /// In all convolutions but the first and the last, which have few weights.
    #[strum(serialize = "4")]
    Four,
    /// In no layer less.
    #[strum(serialize = "8")]
    Eight,
}

/// A convolution that could have weights in four bits.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its unit, and so its layer.
    pub unit: usize,
    /// Its node.
    pub node: NodeId,
    /// Squared error of the logits, with its weights alone in four bits and all else in float.
    pub error: f64,
}

/// The convolutions, in order.
fn convolutions<'f>(
    network: &'f Network,
    fused: &'f Fused<'_>,
) -> impl Iterator<Item = (usize, NodeId)> + 'f {
    let units = fused.units.iter().enumerate();
    let is_conv = |node: NodeId| matches!(network.nodes[node].op, Op::Conv(_));
    units.map(|(index, unit)| (index, unit.node)).filter(move |&(_, node)| is_conv(node))
}

/// All convolutions but the first and the last.
pub fn inner(network: &Network, fused: &Fused<'_>) -> BTreeSet<NodeId> {
    let all: Vec<NodeId> = convolutions(network, fused).map(|(_, node)| node).collect();
    all.get(1..all.len().saturating_sub(1)).unwrap_or(&[]).iter().copied().collect()
}

/// What each convolution would cost, rounded to the nearest.
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
        .map(|(unit, node)| Candidate { unit, node, error: 0.0 })
        .collect();
    let images = data.spread(IMAGES);
    progress.begin("trying 4 bits", candidates.len() * images.len().div_ceil(BATCH));
    for images in images.chunks(BATCH) {
        let batch = data.batch(images.iter().copied())?;
        let maps = float.maps(batch.view(), fused)?;
        for candidate in &mut candidates {
            let mut changed = network.clone();
            let (unit, node) = (&fused.units[candidate.unit], &mut changed.nodes[candidate.node]);
            if let Op::Conv(conv) = &node.op {
                // Scales of activations are all one to the nearest weights.
                let pixels = (unit.input == 0).then_some(preprocess);
                let input = network.nodes[fused.units[unit.input].output].shape;
                let mut layer = Layer::new("", Operator::Input, 0, shape(input));
                layer.record.scale.set(1.0);
                let input_scales = input_scales(conv.weights.dim().3, &layer, pixels);
                let weights = Weights::nearest(conv, &input_scales, Bits::Four);
                node.op = Op::Conv(weights.dequantize(conv, &input_scales));
            }
            let before = candidate.unit - 1;
            let given = given(fused, before, maps.of(before), &|unit| maps.of(unit));
            let behind = FloatModel::part(&changed, fused.nodes_from(candidate.unit))?;
            let wrong = behind.output(&given, logits)?;
            candidate.error += squared_error(wrong.view(), maps.logits());
            progress.advance(1);
        }
    }
    Ok(candidates)
}

/// The convolutions that get four bits so that the model file takes at most `file_bytes`: one by
/// one, those first that save the most bytes for an error of the logits. `bytes_saved` is by unit;
/// `None` if all together do not save enough.
pub fn within(
    file_bytes: usize,
    now: usize,
    mut candidates: Vec<Candidate>,
    bytes_saved: impl Fn(usize) -> usize,
) -> Option<BTreeSet<NodeId>> {
    let worth = |candidate: &Candidate| bytes_saved(candidate.unit) as f64 / candidate.error;
    candidates.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    let (mut left, mut chosen) = (now, BTreeSet::new());
    for candidate in candidates {
        if left <= file_bytes {
            break;
        }
        left = left.saturating_sub(bytes_saved(candidate.unit));
        chosen.insert(candidate.node);
    }
    (left <= file_bytes).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_save_the_most_for_their_error_come_first() {
        let candidate = |unit, error| Candidate { unit, node: 10 + unit, error };
        let all =
            || vec![candidate(1, 1.0), candidate(2, 1.0), candidate(3, 0.1), candidate(4, 0.0)];
        let saved = |unit| [0, 100, 300, 50, 10][unit];
        let chosen = |bytes| within(bytes, 1000, all(), saved).map(Vec::from_iter);
        assert_eq!(chosen(1000), Some(vec![]));
        assert_eq!(chosen(995), Some(vec![14]));
        assert_eq!(chosen(990), Some(vec![14]));
        assert_eq!(chosen(989), Some(vec![13, 14]));
        assert_eq!(chosen(900), Some(vec![12, 13, 14]));
        assert_eq!(chosen(540), Some(vec![11, 12, 13, 14]));
        assert_eq!(chosen(539), None);
    }
}
