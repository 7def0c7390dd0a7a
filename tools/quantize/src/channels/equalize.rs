//! Equalization: channels of a map scaled so that one range for all of them costs less.
//!
//! A map has one range for all its channels, so one of small values is rounded as coarsely as one
//! of large values. A channel may be scaled for nothing, the weights that make it by `s`, those that
//! read it by `1/s`: the former have a scale a channel, and a ReLU between does not mind. Where
//! shortcuts pass a channel on, all maps of the residual stream that hold it are scaled alike.
//!
//! The factors bring each channel's largest magnitude nearer to its map's, by a power:
//!
//! ```text
//! s[c] = mean over the maps that hold c of (largest of the map / largest of c) ^ power
//! ```
//!
//! a geometric mean. The weights that read a map become less even, so this does not always pay. For
//! each part of the network that can be scaled apart from the others (the residual stream, the
//! inside of each block) the power is the one, none included, with the least error of the logits
//! when that part alone is quantized, on other images than factors and ranges come from: channels
//! that were rarely seen are not scaled beyond what they have room for.
//!
//! Source: Nagel et al., *Data-free quantization through weight equalization and bias correction*
//! (2019), section 4.1. There both sides' weights are balanced, for one scale a layer; here weights
//! have one a channel, and it is activations that gain.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array4, ArrayView3, ArrayView4, Axis};

use crate::channels::{Images, MARGIN};
use crate::data::Dataset;
use crate::error::EngineError;
use crate::error::QuantizeError;
use crate::forward::BATCH;
use crate::forward::{FloatModel, squared_error};
use crate::fuse::Fused;
use crate::fuse::given;
use crate::network::{BatchNorm, Network, NodeId, Op};
use crate::ranges::{ByName, Histogram, Method};
use crate::weights::{Affine, Weights};

/// Powers that are tried beside 0.
const POWERS: [f64; 2] = [0.5, 1.0];
/// Factors are powers of two to a multiple of this. So [`Factors::of_model`] can tell them from
/// what rounding does to weights.
const GRID: f64 = 0.25;
/// Largest factor, and inverse of the smallest, as a power of two.
const MOST: f64 = 3.0;
/// Share of the error of weights rounded to the nearest that learned rounding leaves, about.
const LEARNED: f64 = 0.25;

/// Channels of a network that can only be scaled together, and a factor for each such group.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The group of each channel, for each node.
    of: Vec<Vec<usize>>,
    /// Of each group, whether its scale must stay: pixels, logits, what a ReLU6 clips.
    fixed: Vec<bool>,
    /// Of each group.
    factors: Vec<f64>,
}

impl Factors {
    /// Factors of one.
    pub fn ones(network: &Network) -> Self {
        let mut first = Vec::with_capacity(network.nodes.len());
        let mut count = 0;
        for node in &network.nodes {
            first.push(count);
            count += node.shape[2];
        }
        let mut sets = Sets((0..count).collect());
        let logits = network.logits();
        let mut stays = vec![false; count];
        for (id, node) in network.nodes.iter().enumerate() {
            let channels = node.shape[2];
            if id == logits || matches!(node.op, Op::Input | Op::Relu6 | Op::Softmax) {
                stays[first[id]..first[id] + channels].fill(true);
            }
            let before = match node.op {
                Op::Input | Op::Conv(_) | Op::BatchNorm(_) => continue,
                Op::Subsample(subsample) => subsample.channels_before,
                _ => 0,
            };
            for &input in &node.inputs {
                for channel in 0..network.nodes[input].shape[2] {
                    sets.join(first[id] + before + channel, first[input] + channel);
                }
            }
        }
        let groups: Vec<usize> = (0..count).map(|at| sets.root(at)).collect();
        let mut fixed = vec![false; count];
        for (&group, stays) in groups.iter().zip(stays) {
            fixed[group] |= stays;
        }
        let of = network.nodes.iter().zip(first);
        let of = of.map(|(node, first)| groups[first..first + node.shape[2]].to_vec()).collect();
        Self { of, fixed, factors: vec![1.0; count] }
    }

    /// Those that were saved.
    pub fn named(network: &Network, names: &ByName) -> Self {
        let mut factors = Self::ones(network);
        for (node, groups) in network.nodes.iter().zip(&factors.of) {
            for (&group, &factor) in groups.iter().zip(names.get(&node.name).into_iter().flatten())
            {
                if !factors.fixed[group] && factor.is_finite() && factor > 0.0 {
                    factors.factors[group] = factor.into();
                }
            }
        }
        factors
    }

    /// To be saved; without layers that are as they were.
    pub fn names(&self, network: &Network) -> ByName {
        let nodes = network.nodes.iter().enumerate();
        let layers = nodes.filter(|(_, node)| matches!(node.op, Op::Conv(_) | Op::BatchNorm(_)));
        layers
            .map(|(id, node)| (node.name.clone(), self.channels(id).map(|s| s as f32).collect()))
            .filter(|(_, factors): &(_, Vec<f32>)| factors.iter().any(|&factor| factor != 1.0))
            .collect()
    }

    /// Those with which the convolutions and batch norms of `made` were made of the network's: what
    /// brings its weights nearest.
    pub fn of_model(network: &Network, made: &Network) -> Self {
        let mut factors = Self::ones(network);
        let mut known = factors.fixed.clone();
        for (id, (node, made)) in network.nodes.iter().zip(&made.nodes).enumerate() {
            let Some(&input) = node.inputs.first() else { continue };
            let inputs: Vec<f64> = factors.channels(input).collect();
            // Of each channel its weights before and after.
            let channels: Vec<(Vec<f64>, Vec<f64>)> = match (&node.op, &made.op) {
                (Op::Conv(before), Op::Conv(after)) => {
                    let all = |weights: ArrayView3<'_, f32>| {
                        weights.iter().map(|&weight| weight.into()).collect()
                    };
                    let channels = before.weights.outer_iter().zip(after.weights.outer_iter());
                    channels.map(|(before, after)| (all(before), all(after))).collect()
                }
                (Op::BatchNorm(before), Op::BatchNorm(after)) => {
                    // A channel reads its like alone.
                    let factor = |norm: &BatchNorm, channel| norm.affine(channel).0;
                    let channel = |c| (vec![factor(before, c) / inputs[c]], vec![factor(after, c)]);
                    (0..inputs.len()).map(channel).collect()
                }
                _ => continue,
            };
            let inputs = match &node.op {
                Op::Conv(_) => inputs,
                _ => vec![1.0],
            };
            for ((before, after), &group) in channels.iter().zip(&factors.of[id]) {
                if known[group] {
                    continue;
                }
                let (mut product, mut square) = (0.0, 0.0);
                for ((before, after), input) in before.iter().zip(after).zip(inputs.iter().cycle())
                {
                    let before = before / input;
                    product += before * after;
                    square += before * before;
                }
                let factor = product / square;
                if factor > 0.0 && factor.is_finite() {
                    factors.factors[group] = snapped(factor.log2());
                    known[group] = true;
                }
            }
        }
        factors
    }

    /// Of a node's channels.
    pub fn channels(&self, node: NodeId) -> impl Iterator<Item = f64> + Clone + '_ {
        self.of[node].iter().map(|&group| self.factors[group])
    }

    /// The network with its channels scaled; it computes the same but for floats' rounding.
    pub fn apply(&self, network: &Network) -> Network {
        let mut network = network.clone();
        for (id, node) in network.nodes.iter_mut().enumerate() {
            let Some(&input) = node.inputs.first() else { continue };
            let (inputs, outputs) = (self.channels(input), self.channels(id));
            let times = |value: &mut f32, factor: f64| *value = (f64::from(*value) * factor) as f32;
            match &mut node.op {
                Op::Conv(conv) => {
                    for (mut weights, output) in conv.weights.outer_iter_mut().zip(outputs.clone())
                    {
                        for (weight, input) in weights.iter_mut().zip(inputs.clone().cycle()) {
                            times(weight, output / input);
                        }
                    }
                    conv.bias.iter_mut().zip(outputs).for_each(|(bias, s)| times(bias, s));
                }
                Op::BatchNorm(norm) => {
                    for (channel, (input, output)) in inputs.zip(outputs).enumerate() {
                        times(&mut norm.scale[channel], output / input);
                        times(&mut norm.shift[channel], output);
                        times(&mut norm.mean[channel], input);
                    }
                }
                _ => {}
            }
        }
        network
    }
}

/// The nearest factor that is tried.
fn snapped(log: f64) -> f64 {
    // As it is saved.
    f64::from(((log / GRID).round() * GRID).clamp(-MOST, MOST).exp2() as f32)
}

/// Disjoint sets of numbers.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Units whose maps share channels, and what was tried with them.
struct Part {
    units: Vec<usize>,
    /// For each power, 0 first: the ranges of the units' maps, and the errors of the logits.
    tried: Vec<Trial>,
}

struct Trial {
    factors: Factors,
    histograms: Vec<Histogram>,
    /// With the maps rounded.
    maps: f64,
    /// With the weights rounded that read them.
    weights: f64,
}

/// What was measured.
#[derive(Debug)]
pub struct Choice {
    /// For each part of the network those with the least error.
    pub best: Factors,
    /// For each power the factors of the whole network's larger parts, those of several maps.
    pub uniform: Vec<Factors>,
}

/// Measures which factors serve a network; `learned` says that rounding will be. Calls `done` for
/// each batch of images, [`batches`] times.
///
/// # Errors
///
/// [`QuantizeError`] of the engine or the data.
pub fn choose(
    network: &Network,
    fused: &Fused<'_>,
    data: &Dataset,
    learned: bool,
    mut done: impl FnMut(),
) -> Result<Choice, QuantizeError> {
    let model = FloatModel::new(network)?;
    let ones = Factors::ones(network);
    let calibrated: Vec<NodeId> = fused.calibrated().collect();
    let mut largest: HashMap<NodeId, Vec<f64>> = HashMap::new();
    let Images { seen, unseen } = Images::new(network, data);
    for images in seen.chunks(BATCH) {
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
    for images in seen.chunks(BATCH) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        for Part { units, tried } in &mut parts {
            for Trial { factors, histograms, .. } in tried {
                for (&unit, histogram) in units.iter().zip(histograms) {
                    let channels = factors.channels(fused.units[unit].output);
                    for (map, s) in maps.of(unit).axis_iter(Axis(1)).zip(channels) {
                        histogram.add(map.iter().map(|&value| value * s as f32));
                    }
                }
            }
        }
        done();
    }
    for images in unseen.chunks(BATCH) {
        let batch = data.batch(images.iter().copied())?;
        let maps = model.maps(batch.view(), fused)?;
        let (map, logits) = (|unit| maps.of(unit), network.logits());
        for part in &mut parts {
            for at in 0..part.tried.len() {
                let wrong = part.rounded(at, &model, fused, &map, logits)?;
                part.tried[at].maps += squared_error(wrong.view(), maps.logits());
                let first = part.units[0];
                let changed = part.with_rounded_weights(at, network, fused);
                let changed = FloatModel::part(&changed, fused.nodes_from(first + 1))?;
                let given = given(fused, first, map(first), &map);
                let wrong = changed.output(&given, logits)?;
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

/// How often [`choose`] calls `done`.
pub fn batches(network: &Network, data: &Dataset) -> usize {
    Images::new(network, data).batches()
}

/// The parts of a network that can be scaled apart from each other, the largest first.
fn parts(fused: &Fused<'_>, ones: &Factors, largest: &HashMap<NodeId, Vec<f64>>) -> Vec<Part> {
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
    // Sums of logarithms of how far channels are below their maps' largest, and how many.
    let mut below = vec![(0.0, 0.0); ones.fixed.len()];
    for unit in fused.units.iter() {
        let Some(of) = largest.get(&unit.output) else { continue };
        let most = of.iter().copied().fold(0.0, f64::max);
        for (&group, &of) in ones.of[unit.output].iter().zip(of).filter(|_| most > 0.0) {
            // What was never seen is left as it is.
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
        Part { units, tried }
    };
    let parts = units.into_iter().map(part).filter(|part| {
        part.tried.iter().skip(1).any(|trial| trial.factors != part.tried[0].factors)
    });
    parts.collect()
}

impl Factors {
    /// Those of `other` that are not one.
    fn take(&mut self, other: &Self) {
        for (own, &other) in self.factors.iter_mut().zip(&other.factors) {
            if other != 1.0 {
                *own = other;
            }
        }
    }
}

impl Part {
    /// The logits, with the part's maps rounded as trial `at` has them.
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

    /// The network with the weights rounded to the nearest that read the part's maps.
    fn with_rounded_weights(&self, at: usize, network: &Network, fused: &Fused<'_>) -> Network {
        let factors = &self.tried[at].factors;
        let mut changed = network.clone();
        for unit in fused.units.iter().filter(|unit| self.units.contains(&unit.input)) {
            let Op::Conv(conv) = &mut changed.nodes[unit.node].op else { continue };
            let steps: Vec<(f64, f64)> = factors
                .channels(network.nodes[unit.node].inputs[0])
                .map(|s| (1.0 / s, 0.0))
                .collect();
            *conv = Weights::nearest(conv, &steps, fused.bits(unit.node)).dequantize(conv, &steps);
        }
        changed
    }
}

/// What [`given`] gives, with all maps that were `made`.
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
    use ndarray::Array4 as Weights4;

    use super::*;
    use crate::network::{Conv, Subsample};

    fn conv(outputs: usize, inputs: usize, value: impl Fn(usize, usize) -> f32) -> Op {
        Op::Conv(Conv {
            weights: Weights4::from_shape_fn((outputs, 1, 1, inputs), |(o, _, _, i)| value(o, i)),
            bias: (0..outputs).map(|o| o as f32 * 0.1).collect(),
            stride: [1, 1],
            pads: [0; 4],
            fully_connected: false,
        })
    }

    fn wave(o: usize, i: usize) -> f32 {
        ((3 * o + 7 * (i % 8)) as f32 * 0.7).sin() / 3.0
    }

    /// A stem, an identity block, a block with a shortcut of more channels, and a classifier.
    fn network(
        stem: impl Fn(usize, usize) -> f32,
        reader: impl Fn(usize, usize) -> f32,
    ) -> Network {
        let mut network = Network::new([4, 4, 3], "x").unwrap();
        let mut push = |op: Op, inputs: &[NodeId]| network.push(op, inputs, "").unwrap();
        let stem = push(conv(4, 3, stem), &[0]);
        let stem = push(Op::Relu, &[stem]);
        let inner = push(conv(4, 4, &reader), &[stem]);
        let inner = push(Op::Relu, &[inner]);
        let main = push(conv(4, 4, wave), &[inner]);
        let sum = push(Op::Add, &[main, stem]);
        let sum = push(Op::Relu, &[sum]);
        let main = push(conv(6, 4, &reader), &[sum]);
        let subsample = Subsample { stride: [1, 1], channels_before: 1, channels_after: 1 };
        let shortcut = push(Op::Subsample(subsample), &[sum]);
        let sum = push(Op::Add, &[main, shortcut]);
        let pool = push(Op::GlobalAveragePool, &[sum]);
        let classifier = |o, i: usize| reader(o, i.wrapping_sub(1));
        let logits = push(conv(2, 6, classifier), &[pool]);
        network.canonical(logits).unwrap()
    }

    fn logits(network: &Network) -> ndarray::Array2<f32> {
        let data = Dataset::open("random:5", network.input, &Default::default()).unwrap();
        FloatModel::new(network).unwrap().run(data.batch(0..5).unwrap().view()).unwrap()
    }

    fn close(a: &Network, b: &Network) -> bool {
        let (a, b) = (logits(a), logits(b));
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1.0))
    }

    fn chosen(network: &Network) -> Choice {
        let fused = Fused::new(network).unwrap();
        let data = Dataset::open("random:12", network.input, &Default::default()).unwrap();
        choose(network, &fused, &data, true, || ()).unwrap()
    }

    #[test]
    fn channels_that_shortcuts_join_are_scaled_alike_and_pixels_and_logits_are_not() {
        let network = network(wave, wave);
        let ones = Factors::ones(&network);
        let id = |name: &str| network.nodes.iter().position(|node| node.name == name).unwrap();
        let of = |name: &str| &ones.of[id(name)];
        assert_eq!(of("stem"), of("stage1.block1.add.relu"));
        assert_eq!(of("stage1.block1.conv2"), of("stem"));
        // Behind the channel of zeros.
        assert_eq!(of("stage2.block1.add")[1..5], of("stem")[..]);
        assert_eq!(of("pool"), of("stage2.block1.conv1"));
        assert_ne!(of("stage1.block1.conv1"), of("stem"));
        let fixed = |node: NodeId| ones.of[node].iter().all(|&group| ones.fixed[group]);
        assert!(fixed(0) && fixed(network.logits()) && !fixed(id("stem")));
    }

    #[test]
    fn uneven_channels_are_scaled_and_the_network_computes_the_same() {
        // A channel of the stem is a hundred times the others, and read by a hundredth.
        let uneven = |o: usize| if o == 2 { 100.0 } else { 1.0 };
        let uneven_network =
            network(|o, i| wave(o, i).abs() * uneven(o), |o, i| wave(o, i) / uneven(i));
        let choice = chosen(&uneven_network);
        let stem: Vec<f64> = choice.best.channels(1).collect();
        assert!(stem.iter().enumerate().all(|(o, &s)| (s > 4.0) == (o != 2)), "{stem:?}");
        let scaled = choice.best.apply(&uneven_network);
        assert_ne!(scaled, uneven_network);
        assert!(close(&uneven_network, &scaled));

        let names = choice.best.names(&uneven_network);
        let again = Factors::named(&uneven_network, &names);
        assert_eq!(again, choice.best);
        // What was done to a model shows in its weights, whatever rounding did to them.
        let mut noisy = scaled;
        for node in &mut noisy.nodes {
            let Op::Conv(conv) = &mut node.op else { continue };
            conv.weights.indexed_iter_mut().for_each(|((o, _, _, i), w)| {
                *w *= 1.0 + 0.05 * wave(o + 5, i);
            });
        }
        assert_eq!(Factors::of_model(&uneven_network, &noisy), choice.best);
    }

    #[test]
    fn even_channels_stay_about_as_they_are() {
        let even = network(|o, i| if i == 0 { 0.2 + 0.001 * o as f32 } else { 0.0 }, wave);
        let stem: Vec<f64> = chosen(&even).best.channels(1).collect();
        assert!(stem.iter().all(|&s| s < 1.5), "{stem:?}");
    }
}
