//! Factors of channels, and their effect on a network.

use ndarray::ArrayView3;

use crate::network::{BatchNorm, Network, NodeId, Op};
use crate::ranges::ByName;
use crate::weights::shared::shared;

/// Factors are powers of two whose exponents are multiples of this, so that [`Factors::of_model`]
/// can tell them from the rounding of weights.
const GRID: f64 = 0.25;
/// Largest factor, and inverse of the smallest, as a power of two.
pub(super) const MOST: f64 = 3.0;
/// Groups of channels that can only be scaled together, and a factor for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The group of each channel, for each node.
    pub(super) of: Vec<Vec<usize>>,
    /// Whether the scale of each group is fixed: that of pixels, of logits, of maps that a ReLU6
    /// clips.
    pub(super) fixed: Vec<bool>,
    /// The factor of each group.
    pub(super) factors: Vec<f64>,
}

impl Factors {
    /// Factors that are all one.
    pub fn ones(network: &Network) -> Self {
        let mut first = Vec::with_capacity(network.nodes.len());
        let mut count = 0;
        for node in &network.nodes {
            first.push(count);
            count += node.shape[2];
        }
        let mut sets = Sets((0..count).collect());
        let logits = network.logits();
        // Networks with other operators are not scaled.
        let mut stays = vec![!network.is_of_plain_layers(); count];
        let shared = shared(network);
        // Weights that several layers share are not scaled.
        for id in shared.iter().flat_map(|(&id, &of)| [id, of]) {
            for of in [id, network.nodes[id].inputs[0]] {
                stays[first[of]..first[of] + network.nodes[of].shape[2]].fill(true);
            }
        }
        for (id, node) in network.nodes.iter().enumerate() {
            let channels = node.shape[2];
            if id == logits || matches!(node.op, Op::Input | Op::Relu6 | Op::Softmax) {
                stays[first[id]..first[id] + channels].fill(true);
            }
            let before = match node.op {
                Op::Input | Op::Conv(_) | Op::BatchNorm(_) | Op::Concat | Op::Multiply => continue,
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

    /// The factors that were saved.
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

    /// The factors by layer, for saving, without layers that are not scaled.
    pub fn names(&self, network: &Network) -> ByName {
        let nodes = network.nodes.iter().enumerate();
        let layers = nodes.filter(|(_, node)| matches!(node.op, Op::Conv(_) | Op::BatchNorm(_)));
        layers
            .map(|(id, node)| (node.name.clone(), self.channels(id).map(|s| s as f32).collect()))
            .filter(|(_, factors): &(_, Vec<f32>)| factors.iter().any(|&factor| factor != 1.0))
            .collect()
    }

    /// The factors with which the convolutions and batch norms of `made` were made from the
    /// network's: those that bring its weights nearest.
    pub fn of_model(network: &Network, made: &Network) -> Self {
        let mut factors = Self::ones(network);
        let mut known = factors.fixed.clone();
        for (id, (node, made)) in network.nodes.iter().zip(&made.nodes).enumerate() {
            let Some(&input) = node.inputs.first() else { continue };
            let inputs: Vec<f64> = factors.channels(input).collect();
            // The weights of each channel, before and after.
            let channels: Vec<(Vec<f64>, Vec<f64>)> = match (&node.op, &made.op) {
                (Op::Conv(before), Op::Conv(after)) => {
                    let all = |weights: ArrayView3<'_, f32>| {
                        weights.iter().map(|&weight| weight.into()).collect()
                    };
                    let channels = before.weights.outer_iter().zip(after.weights.outer_iter());
                    channels.map(|(before, after)| (all(before), all(after))).collect()
                }
                (Op::BatchNorm(before), Op::BatchNorm(after)) => {
                    // A channel of a batch norm reads only the same channel.
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

    /// The factors of a node's channels.
    pub fn channels(&self, node: NodeId) -> impl Iterator<Item = f64> + Clone + '_ {
        self.of[node].iter().map(|&group| self.factors[group])
    }

    /// The network with its channels scaled; it computes the same outputs, up to the rounding of
    /// floats.
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

    /// Takes those factors of `other` that are not one.
    pub(super) fn take(&mut self, other: &Self) {
        for (own, &other) in self.factors.iter_mut().zip(&other.factors) {
            if other != 1.0 {
                *own = other;
            }
        }
    }
}

/// The nearest factor that is tried.
pub(super) fn snapped(log: f64) -> f64 {
    // The precision in which it is saved.
    f64::from(((log / GRID).round() * GRID).clamp(-MOST, MOST).exp2() as f32)
}

/// Disjoint sets of numbers.
pub(super) struct Sets(pub(super) Vec<usize>);

impl Sets {
    pub(super) fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
