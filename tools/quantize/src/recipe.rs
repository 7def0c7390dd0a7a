//! How a float network is quantized: calibration, ranges, weights.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis, concatenate};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::channels::absorption;
use crate::channels::equalize;
use crate::channels::equalize::Factors;
use crate::data::{Dataset, Preprocess};
use crate::error::EngineError;
use crate::error::QuantizeError;
use crate::error::Unrepresentable;
use crate::forward::{FloatModel, squared_error};
use crate::fuse::Fused;
use crate::fuse::given;
use crate::memory::Memory;
use crate::network::{Network, NodeId};
use crate::ranges::ByName;
use crate::ranges::{Histogram, Method, Range, Ranges};
use crate::weights::learn;
use crate::weights::learn::learn;
use crate::weights::rounding::Bits;
use crate::weights::{Affine, Learned};

/// The amount of work to spend on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Effort {
    /// Takes seconds: weights are rounded to the nearest.
    Fast,
    /// Takes half a minute for a ResNet-20: channels are shifted and scaled, rounding and biases
    /// are learned.
    #[default]
    Default,
    /// Takes minutes: uses more images, and tries several ways to scale channels and to choose
    /// ranges. Replaces the default's only by one with less error of the logits, by more than
    /// chance explains.
    Best,
}

/// How ranges are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Calibration {
    /// For each tensor the method with the least error at the network's output.
    Auto,
    /// From the smallest to the largest value.
    MinMax,
    /// All values but 1 of 100,000.
    Percentile,
    /// The least squared error.
    Mse,
    /// The least divergence between the distributions of the values and of the quantized values.
    Entropy,
}

impl Calibration {
    /// The method, if it is the same for all tensors.
    fn method(self) -> Option<Method> {
        match self {
            Self::Auto => None,
            Self::MinMax => Some(Method::MinMax),
            Self::Percentile => Some(Method::Percentile),
            Self::Mse => Some(Method::Mse),
            Self::Entropy => Some(Method::Entropy),
        }
    }
}

/// Bits of the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, EnumMessage, IntoStaticStr, VariantArray)]
pub enum Stream {
    /// int8: each block rounds the stream again.
    #[default]
    #[strum(serialize = "8")]
    Eight,
    /// 16 bits, of which convolutions read eight; its rows take twice the bytes.
    #[strum(serialize = "16")]
    Sixteen,
    /// 16 bits if that gains more than 0.5 dB and fits the board.
    #[strum(serialize = "auto")]
    Auto,
}

/// A stage that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Stage {
    /// Moves what all values of a channel have in common into the following biases, where that
    /// helps.
    Absorption,
    /// Scales channels so that they use a map's range evenly, where that helps.
    Equalization,
    /// Rounds weights so that the errors of a layer's outputs are small.
    Rounding,
    /// Corrects biases for the mean error of a layer's outputs.
    BiasCorrection,
}

/// How a network is quantized.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// The amount of work to spend.
    pub effort: Effort,
    /// How ranges are chosen; `None` leaves it to the effort.
    pub calibration: Option<Calibration>,
    /// Stages that are left out.
    pub without: Vec<Stage>,
    /// Seed of everything random.
    pub seed: u64,
    /// Bits of the weights of those convolutions that get fewer than eight.
    pub bits: BTreeMap<NodeId, Bits>,
    /// Nodes of the layers whose outputs are int16.
    pub int16: BTreeSet<NodeId>,
    /// Whether the residual stream is in 16 bits.
    pub stream16: bool,
    /// Limit of the memory that quantizing takes.
    pub memory: Memory,
}

/// The result of a recipe.
#[derive(Debug)]
pub struct Quantized {
    /// The network that was quantized: the given one, with channels shifted and scaled.
    pub network: Network,
    /// Ranges of the activations.
    pub ranges: Ranges,
    /// The weights that were learned.
    pub learned: Learned,
    /// The float network's logits, one row per image.
    pub logits: Array2<f32>,
}

/// Receives the progress of the work.
pub trait Progress {
    /// A part of the work begins, which consists of this number of items.
    fn begin(&self, what: &'static str, items: usize);
    /// This number of its items are done.
    fn advance(&self, items: usize);
}

/// Ignores progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &'static str, _: usize) {}
    fn advance(&self, _: usize) {}
}

/// Number of standard errors by which a mean must be better to count as better: chance explains
/// that in one of 40 cases.
const DEVIATIONS: f64 = 2.0;
/// Number of images on which ranges are compared.
const IMAGES_FOR_RANGES: usize = 100;

impl Recipe {
    /// The units of a network, which become its layers.
    pub fn fused<'n>(&self, network: &'n Network) -> Result<Fused<'n>, Unrepresentable> {
        let fused = Fused::new(network)?;
        let fused = fused.with_bits(&self.bits).with_int16(&self.int16);
        Ok(if self.stream16 { fused.with_stream16() } else { fused })
    }

    /// Quantizes a network.
    ///
    /// # Errors
    ///
    /// [`QuantizeError`] says what went wrong.
    pub fn run(
        &self,
        network: &Network,
        data: &Dataset,
        preprocess: &Preprocess,
        progress: &dyn Progress,
    ) -> Result<Quantized, QuantizeError> {
        let with = |stage| self.effort != Effort::Fast && !self.without.contains(&stage);
        let (images, samples) = match self.effort {
            Effort::Fast | Effort::Default => (1_000, 50_000),
            Effort::Best => (4_000, 200_000),
        };
        let options = learn::Options {
            rounding: with(Stage::Rounding),
            bias_correction: with(Stage::BiasCorrection),
            images,
            samples,
            seed: self.seed,
            memory: self.memory,
            // Candidates are compared on images that they were not learned from.
            hold_out: self.effort == Effort::Best,
        };
        let absorbed;
        let (network, absorption) = if with(Stage::Absorption) {
            let fused = Fused::new(network)?;
            progress.begin("absorbing", absorption::batches(network, data, self.memory));
            let shifts =
                absorption::choose(network, &fused, data, self.memory, || progress.advance(1))?;
            absorbed = shifts.apply(network);
            (&absorbed, shifts.names(network))
        } else {
            (network, ByName::new())
        };
        // The default's factors come first: others must be better by more than chance explains.
        let mut candidates = vec![Factors::ones(network)];
        if with(Stage::Equalization) {
            let fused = self.fused(network)?;
            progress.begin("equalizing", equalize::batches(network, data, self.memory));
            let done = || progress.advance(1);
            let choice =
                equalize::choose(network, &fused, data, options.rounding, self.memory, done)?;
            candidates.insert(0, choice.best);
            match self.effort {
                Effort::Best => candidates.extend(choice.uniform),
                _ => candidates.truncate(1),
            }
        }
        let calibrations: &[Calibration] = match self.calibration {
            Some(calibration) => &[calibration],
            None if self.effort == Effort::Best => &[Calibration::Mse, Calibration::Auto],
            None => &[Calibration::Mse],
        };
        // Tries the first calibration with all factors, then the others with the best of these.
        let mut tried: Vec<Way> = Vec::new();
        let mut best: Option<(Way, Quantized, Vec<f64>)> = None;
        for (round, &calibration) in calibrations.iter().enumerate() {
            let factors = match &best {
                Some(((factors, _), ..)) if round > 0 => vec![factors.clone()],
                _ => candidates.clone(),
            };
            for way in factors.into_iter().map(|factors| (factors, calibration)) {
                if tried.contains(&way) {
                    continue;
                }
                let (made, errors) =
                    self.quantized(network, &way, data, preprocess, &options, progress)?;
                if best.as_ref().is_none_or(|(.., least)| are_less(&errors, least)) {
                    best = Some((way.clone(), made, errors));
                }
                tried.push(way);
            }
        }
        let (way, mut made, _) = best.expect("one at least is tried");
        if options.hold_out {
            // Learns again from all images.
            let all = learn::Options { hold_out: false, ..options };
            (made, _) = self.quantized(network, &way, data, preprocess, &all, progress)?;
        }
        made.ranges.absorption = absorption;
        Ok(made)
    }

    /// The network quantized with these factors and ranges, and the squared errors of its logits on
    /// the images that are held out; no errors if nothing is learned.
    fn quantized(
        &self,
        network: &Network,
        (factors, calibration): &Way,
        data: &Dataset,
        preprocess: &Preprocess,
        options: &learn::Options,
        progress: &dyn Progress,
    ) -> Result<(Quantized, Vec<f64>), QuantizeError> {
        let equalization = factors.names(network);
        let network = factors.apply(network);
        let fused = self.fused(&network)?;
        let (histograms, logits) = measure(&network, &fused, data, self.memory, progress)?;
        let ranges: Vec<_> = match calibration.method() {
            Some(method) => histograms
                .iter()
                .map(|(node, histogram)| {
                    let unit = fused.units.iter().find(|unit| unit.output == *node);
                    let int16 = unit.is_some_and(|unit| fused.is_fine(unit));
                    (*node, histogram.range_in(method, int16))
                })
                .collect(),
            None => choose(&network, &fused, data, &histograms, self.memory, progress)?,
        };
        let name = |node: NodeId| network.nodes[node].name.clone();
        let ranges = ranges.into_iter().map(|(node, range)| (name(node), range)).collect();
        let ranges = Ranges { images: data.len(), equalization, ranges, ..Ranges::default() };
        let (mut learned, mut errors) = (Learned::new(), Vec::new());
        if options.rounding || options.bias_correction {
            progress.begin("learning", fused.units.len());
            let done = || progress.advance(1);
            (learned, errors) = learn(&network, &fused, &ranges, preprocess, data, options, done)?;
        }
        Ok((Quantized { network, ranges, learned, logits }, errors))
    }
}

/// Factors of channels, and how ranges are chosen.
type Way = (Factors, Calibration);

/// Whether errors are less than other errors on the same images by more than chance explains. On
/// few images errors differ by chance, and the least of several would often be the luckiest.
fn are_less(errors: &[f64], others: &[f64]) -> bool {
    let count = errors.len() as f64;
    let gains: Vec<f64> = others.iter().zip(errors).map(|(other, error)| other - error).collect();
    let mean = gains.iter().sum::<f64>() / count;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (count - 1.0);
    mean > DEVIATIONS * (variance / count).sqrt()
}

/// Histograms of the outputs of all nodes that have a scale of their own.
type Histograms = Vec<(NodeId, Histogram)>;

/// Runs the float network over the data; gives histograms of tensors, and the logits.
fn measure(
    network: &Network,
    fused: &Fused<'_>,
    data: &Dataset,
    memory: Memory,
    progress: &dyn Progress,
) -> Result<(Histograms, Array2<f32>), QuantizeError> {
    let model = FloatModel::new(network)?;
    let mut histograms: Histograms =
        fused.calibrated().map(|node| (node, Histogram::default())).collect();
    let mut logits = Vec::new();
    progress.begin("calibrating", data.len());
    let together = memory.batch_of_nodes(network);
    for start in (0..data.len()).step_by(together) {
        let batch = data.batch(start..data.len().min(start + together))?;
        let logits_node = network.logits();
        let outputs: Vec<NodeId> = network.outputs.iter().map(|output| output.node).collect();
        let mut overflow = None;
        model.run_all(batch.view(), |node, map| {
            if overflow.is_none() && !map.iter().all(|value| value.is_finite()) {
                overflow = Some(node);
            }
            if let Some((_, histogram)) = histograms.iter_mut().find(|(n, _)| *n == node) {
                match outputs.contains(&node) {
                    // The error of an answer counts as it is.
                    true => histogram.add(map.iter().copied(), 1.0),
                    false => histogram.add_images(map.permuted_axes([0, 3, 1, 2])),
                }
            }
            if node == logits_node {
                // An answer that is a map gives all its numbers, pixel by pixel.
                let (count, classes) = (map.dim().0, map.len() / map.dim().0.max(1));
                let rows =
                    map.as_standard_layout().into_owned().into_shape_with_order((count, classes));
                logits.extend(rows.ok());
            }
        })?;
        if let Some(node) = overflow {
            return Err(QuantizeError::Overflows { layer: network.nodes[node].source.clone() });
        }
        progress.advance(batch.len_of(Axis(0)));
    }
    let views: Vec<_> = logits.iter().map(|rows| rows.view()).collect();
    let logits = concatenate(Axis(0), &views).map_err(EngineError::new)?;
    Ok((histograms, logits))
}

/// For each tensor the range of the method with the least error of the logits, with all else in
/// float.
fn choose(
    network: &Network,
    fused: &Fused<'_>,
    data: &Dataset,
    histograms: &[(NodeId, Histogram)],
    memory: Memory,
    progress: &dyn Progress,
) -> Result<Vec<(NodeId, Range)>, QuantizeError> {
    let model = FloatModel::new(network)?;
    let logits = network.logits();
    let mut candidates: Vec<Candidates> = Vec::new();
    for (index, unit) in fused.units.iter().enumerate() {
        let Some((_, histogram)) = histograms.iter().find(|(node, _)| *node == unit.output) else {
            continue;
        };
        let int16 = fused.is_fine(unit);
        // For the logits themselves the least squared error is the least error.
        let one = int16 || unit.output == logits;
        let methods = if one { &Method::ALL[..1] } else { &Method::ALL };
        let ranges = methods.iter().map(|&method| (histogram.range_in(method, int16), 0.0));
        let ranges = ranges.collect();
        candidates.push(Candidates { unit: index, ranges });
    }
    let images = data.spread(IMAGES_FOR_RANGES);
    let together = memory.batch_of_nodes(network);
    progress.begin("choosing", candidates.len() * images.len().div_ceil(together));
    for images in images.chunks(together) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        for Candidates { unit, ranges } in &mut candidates {
            let several = ranges.len() > 1;
            for (range, error) in ranges.iter_mut().filter(|_| several) {
                let Some(affine) = Affine::new(*range, false) else { continue };
                let rounded = maps.of(*unit).mapv(|value| affine.round(value));
                let given = given(fused, *unit, rounded.view(), &|unit| maps.of(unit));
                *error += squared_error(model.output(&given, logits)?.view(), maps.logits());
            }
            progress.advance(1);
        }
    }
    let best = |Candidates { unit, ranges }: Candidates| {
        let best = ranges.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
        (fused.units[unit].output, best.map_or_else(Range::default, |(range, _)| range))
    };
    Ok(candidates.into_iter().map(best).collect())
}

/// Candidate ranges of a unit's output, and the squared errors of the logits with each.
struct Candidates {
    unit: usize,
    ranges: Vec<(Range, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_chance_is_not_less() {
        let errors = |gain: f64, noise: f64| -> Vec<f64> {
            (0..100).map(|i| 1.0 - gain + noise * f64::from(i % 2 * 2 - 1)).collect()
        };
        let others = errors(0.0, 0.0);
        // The standard error is about a tenth of the noise.
        assert!(are_less(&errors(0.1, 0.3), &others));
        assert!(!are_less(&errors(0.1, 0.9), &others));
        assert!(!are_less(&errors(-0.1, 0.3), &others));
        // No image, or a single one, is not evidence.
        assert!(!are_less(&others, &others) && !are_less(&[], &[]) && !are_less(&[0.0], &[1.0]));
    }
}
