//! Chooses the factors that help a network.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array4, ArrayView4, Axis};

use super::factors::{Factors, MOST, Sets, snapped};
use crate::channels::images::{Images, MARGIN};
use crate::data::Dataset;
use crate::error::{EngineError, QuantizeError};
use crate::forward::{FloatModel, squared_error};
use crate::fuse::{Fused, Unit, given};
use crate::memory::Memory;
use crate::network::{Network, NodeId, Op};
use crate::ranges::{Histogram, Method};
use crate::weights::{Affine, Weights};

/// Powers that are tried besides 0.
const POWERS: [f64; 2] = [0.5, 1.0];
/// Share of the error of nearest rounding that learned rounding leaves, about.
const LEARNED: f64 = 0.25;

/// Units whose maps share channels, and what was tried with them.
struct Group {
    units: Vec<usize>,
    /// For each power, with 0 first: the ranges of the units' maps, and the errors of the logits.
    tried: Vec<Trial>,
}

struct Trial {
    factors: Factors,
    histograms: Vec<Histogram>,
    /// Error of the logits with the maps rounded.
    maps: f64,
    /// Error of the logits with the weights rounded that read the maps.
    weights: f64,
}

/// The result of the measurement.
#[derive(Debug)]
pub struct Choice {
    /// The factors with the least error, for each part of the network.
    pub best: Factors,
    /// For each power, the factors of the larger parts of the network, which span several maps.
    pub uniform: Vec<Factors>,
}

/// Measures which factors help a network; `learned` tells whether rounding will be learned.
///
/// Calls `done` for each batch of images, [`batches`] times.
///
/// # Errors
///
/// [`QuantizeError`] of the engine or the data.
pub fn choose(
    network: &Network,
    fused: &Fused<'_>,
    data: &Dataset,
    learned: bool,
    memory: Memory,
    mut done: impl FnMut(),
) -> Result<Choice, QuantizeError> {
    let model = FloatModel::new(network)?;
    let ones = Factors::ones(network);
    let calibrated: Vec<NodeId> = fused.calibrated().collect();
    let mut largest: HashMap<NodeId, Vec<f64>> = HashMap::new();
    let Images { seen, unseen, batch } = Images::new(network, data, memory);
    for images in seen.chunks(batch) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        let units = fused.units.iter().map(|unit| unit.output).enumerate().skip(1);
        for (unit, node) in units.filter(|(_, node)| calibrated.contains(node)) {
            let map = maps.of(unit);
            let of = largest.entry(node).or_insert_with(|| vec![0.0; map.dim().1]);
            for (of, map) in of.iter_mut().zip(map.axis_iter(Axis(1))) {
                *of = map.iter().fold(*of, |most, value| most.max(value.abs().into()));
            }
        }
        done();
    }
    let mut parts = parts(fused, &ones, &largest);
    for images in seen.chunks(batch) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        for Group { units, tried } in &mut parts {
            for Trial { factors, histograms, .. } in tried {
                for (&unit, histogram) in units.iter().zip(histograms) {
                    let mut scaled = maps.of(unit).to_owned();
                    let channels = factors.channels(fused.units[unit].output);
                    for (mut map, s) in scaled.axis_iter_mut(Axis(1)).zip(channels) {
                        map *= s as f32;
                    }
                    histogram.add_images(scaled.view());
                }
            }
        }
        done();
    }
    for images in unseen.chunks(batch) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        let (map, logits) = (|unit| maps.of(unit), network.logits());
        for part in &mut parts {
            for at in 0..part.tried.len() {
                let wrong = part.rounded(at, &model, fused, &map, logits)?;
                part.tried[at].maps += squared_error(wrong.view(), maps.logits());
                let others = part.rounded_weights(at, network, fused);
                let wrong = part.made_with(&others, &model, fused, &map)?;
                part.tried[at].weights += squared_error(wrong.view(), maps.logits());
            }
        }
        done();
    }
    let mut best = ones.clone();
    for part in &parts {
        let share = if learned { LEARNED } else { 1.0 };
        let error = |trial: &Trial| trial.maps + share * trial.weights;
        let least = part.tried.iter().min_by(|a, b| error(a).total_cmp(&error(b)));
        let least = least.filter(|least| error(least) < (1.0 - MARGIN) * error(&part.tried[0]));
        least.into_iter().for_each(|least| best.take(&least.factors));
    }
    let uniform = (1..=POWERS.len()).map(|at| {
        let mut factors = ones.clone();
        let several = parts.iter().filter(|part| part.units.len() > 1);
        several.for_each(|part| factors.take(&part.tried[at].factors));
        factors
    });
    Ok(Choice { uniform: uniform.collect(), best })
}

/// Number of times that [`choose`] calls `done`.
pub fn batches(network: &Network, data: &Dataset, memory: Memory) -> usize {
    Images::new(network, data, memory).batches()
}

/// The parts of a network that can be scaled independently, the largest first.
fn parts(fused: &Fused<'_>, ones: &Factors, largest: &HashMap<NodeId, Vec<f64>>) -> Vec<Group> {
    let mut sets = Sets((0..ones.fixed.len()).collect());
    let free = |node: NodeId| ones.of[node].iter().copied().filter(|&group| !ones.fixed[group]);
    for &node in largest.keys() {
        let mut groups = free(node);
        let Some(first) = groups.next() else { continue };
        groups.for_each(|group| sets.join(first, group));
    }
    let mut units: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, unit) in fused.units.iter().enumerate() {
        if largest.contains_key(&unit.output)
            && let Some(first) = free(unit.output).next()
        {
            units.entry(sets.root(first)).or_default().push(index);
        }
    }
    // For each group the sum of the logarithms of how far its channels are below their maps'
    // largest, and their number.
    let mut below = vec![(0.0, 0.0); ones.fixed.len()];
    for unit in fused.units.iter() {
        let Some(of) = largest.get(&unit.output) else { continue };
        let most = of.iter().copied().fold(0.0, f64::max);
        for (&group, &of) in ones.of[unit.output].iter().zip(of).filter(|_| most > 0.0) {
            // A channel without values is left as it is.
            below[group].0 += if of > 0.0 { (most / of).log2().min(MOST) } else { 0.0 };
            below[group].1 += 1.0;
        }
    }
    let roots: Vec<usize> = (0..ones.fixed.len()).map(|group| sets.root(group)).collect();
    let part = |(root, units): (usize, Vec<usize>)| {
        let trial = |power: f64| {
            let mut factors = ones.clone();
            for (group, &(sum, count)) in below.iter().enumerate() {
                if count > 0.0 && !ones.fixed[group] && roots[group] == root {
                    factors.factors[group] = snapped(power * sum / count);
                }
            }
            let histograms = vec![Histogram::default(); units.len()];
            Trial { factors, histograms, maps: 0.0, weights: 0.0 }
        };
        let powers = [&[0.0], &POWERS[..]].concat();
        let tried: Vec<Trial> = powers.into_iter().map(trial).collect();
        Group { units, tried }
    };
    let parts = units.into_iter().map(part).filter(|part| {
        part.tried.iter().skip(1).any(|trial| trial.factors != part.tried[0].factors)
    });
    parts.collect()
}

impl Group {
    /// The logits, with the part's maps rounded as in trial `at`.
    fn rounded<'m>(
        &self,
        at: usize,
        model: &FloatModel,
        fused: &Fused<'_>,
        map: &impl Fn(usize) -> ArrayView4<'m, f32>,
        logits: NodeId,
    ) -> Result<Array4<f32>, EngineError> {
        let Trial { factors, histograms, .. } = &self.tried[at];
        let first = self.units[0];
        let mut made: Vec<(NodeId, Array4<f32>)> = Vec::new();
        for (&unit, histogram) in self.units.iter().zip(histograms) {
            let output = fused.units[unit].output;
            let mut values = match made.is_empty() {
                true => map(unit).to_owned(),
                false => model.output(&with(fused, first, &made, map), output)?,
            };
            let int16 = fused.is_int16(&fused.units[unit]);
            if let Some(affine) = Affine::new(histogram.range_in(Method::Mse, int16), int16) {
                for (mut map, s) in values.axis_iter_mut(Axis(1)).zip(factors.channels(output)) {
                    let s = s as f32;
                    map.mapv_inplace(|value| affine.round(value * s) / s);
                }
            }
            made.push((output, values));
        }
        model.output(&with(fused, first, &made, map), logits)
    }

    /// The logits with `others`, the operators behind the part's first map, in place of those of
    /// `model`. If only one unit reads the map, the layers after it run in `model`.
    fn made_with<'m>(
        &self,
        others: &[(NodeId, Op)],
        model: &FloatModel,
        fused: &Fused<'_>,
        map: &impl Fn(usize) -> ArrayView4<'m, f32>,
    ) -> Result<Array4<f32>, EngineError> {
        let (network, first) = (fused.network, self.units[0]);
        let logits = network.logits();
        let mut readers = self.readers(fused);
        if let (Some((index, reader)), None) = (readers.next(), readers.next()) {
            let part = FloatModel::part_with(network, others, reader.node..=reader.output)?;
            let shortcut = reader.shortcut.map(|(shortcut, _)| shortcut);
            let other = shortcut.filter(|&shortcut| shortcut != reader.input);
            let read = [Some(reader.input), other].into_iter().flatten();
            let maps: Vec<_> = read.map(|unit| (fused.units[unit].output, map(unit))).collect();
            let output = part.output(&maps, reader.output)?;
            if reader.output == logits {
                return Ok(output);
            }
            return model.output(&given(fused, index, output.view(), map), logits);
        }
        let changed = FloatModel::part_with(network, others, fused.nodes_from(first + 1))?;
        changed.output(&given(fused, first, map(first), map), logits)
    }

    /// The convolutions that read the part's maps, and their numbers.
    fn readers<'f>(&'f self, fused: &'f Fused<'_>) -> impl Iterator<Item = (usize, &'f Unit)> {
        let reads = |(_, unit): &(usize, &Unit)| {
            self.units.contains(&unit.input)
                && matches!(fused.network.nodes[unit.node].op, Op::Conv(_))
        };
        fused.units.iter().enumerate().filter(reads)
    }

    /// The convolutions that read the part's maps, with weights rounded to the nearest.
    fn rounded_weights(
        &self,
        at: usize,
        network: &Network,
        fused: &Fused<'_>,
    ) -> Vec<(NodeId, Op)> {
        let factors = &self.tried[at].factors;
        let rounded = |(_, unit): (usize, &Unit)| {
            let Op::Conv(conv) = &network.nodes[unit.node].op else { return None };
            let input_scales: Vec<(f64, f64)> = factors
                .channels(network.nodes[unit.node].inputs[0])
                .map(|s| (1.0 / s, 0.0))
                .collect();
            let weights = Weights::nearest(conv, &input_scales, fused.bits(unit.node));
            Some((unit.node, Op::Conv(weights.dequantize(conv, &input_scales))))
        };
        self.readers(fused).filter_map(rounded).collect()
    }
}

/// The result of [`given`], plus all maps that were `made`.
fn with<'a, 'm: 'a>(
    fused: &Fused<'_>,
    first: usize,
    made: &'a [(NodeId, Array4<f32>)],
    map: &impl Fn(usize) -> ArrayView4<'m, f32>,
) -> Vec<(NodeId, ArrayView4<'a, f32>)> {
    let mut given = given(fused, first, made[0].1.view(), map);
    given.extend(made.iter().skip(1).map(|(node, map)| (*node, map.view())));
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{two_blocks, wave};

    #[test]
    fn channels_that_shortcuts_join_are_scaled_alike_and_pixels_and_logits_are_not() {
        let network = two_blocks(wave, wave);
        let ones = Factors::ones(&network);
        let id = |name: &str| network.nodes.iter().position(|node| node.name == name).unwrap();
        let of = |name: &str| &ones.of[id(name)];
        assert_eq!(of("stem"), of("stage1.block1.add.relu"));
        assert_eq!(of("stage1.block1.conv2"), of("stem"));
        // The stem's channels follow one channel of zeros.
        assert_eq!(of("stage2.block1.add")[1..5], of("stem")[..]);
        assert_eq!(of("pool"), of("stage2.block1.conv1"));
        assert_ne!(of("stage1.block1.conv1"), of("stem"));
        let fixed = |node: NodeId| ones.of[node].iter().all(|&group| ones.fixed[group]);
        assert!(fixed(0) && fixed(network.logits()) && !fixed(id("stem")));
    }

    #[test]
    fn where_one_layer_reads_a_map_the_rest_goes_on_from_that_to_the_same_logits() {
        let network = two_blocks(wave, wave);
        let fused = Fused::new(&network).unwrap();
        let data = Dataset::open("random:3", network.input, &Default::default()).unwrap();
        let batch = data.batch(0..3).unwrap();
        let model = FloatModel::new(&network).unwrap();
        let maps = model.maps(batch.view(), &fused).unwrap();
        let mut alone = 0;
        for unit in 1..fused.units.len() - 1 {
            let factors = Factors::ones(&network);
            let trial = Trial { factors, histograms: Vec::new(), maps: 0.0, weights: 0.0 };
            let group = Group { units: vec![unit], tried: vec![trial] };
            let others = group.rounded_weights(0, &network, &fused);
            if others.is_empty() {
                continue;
            }
            alone += usize::from(others.len() == 1);
            let mut whole = network.clone();
            others.iter().for_each(|(node, op)| whole.nodes[*node].op = op.clone());
            let expected = FloatModel::new(&whole).unwrap().run(batch.view()).unwrap();
            let made = group.made_with(&others, &model, &fused, &|unit| maps.of(unit)).unwrap();
            assert!(made.iter().eq(expected.iter()), "{unit}");
            assert!(!made.iter().eq(maps.logits().iter()), "{unit}: nothing was rounded");
        }
        assert!(alone > 1);
    }
}
