//! Shifts of channels, and their effect on a network.

use crate::channels::equalize::Factors;
use crate::fuse::{Fused, Unit};
use crate::network::{Network, NodeId, Op};
use crate::ranges::ByName;

/// Shifts are powers of two whose exponents are multiples of this, so that [`Shifts::of_model`] can
/// tell them from corrections of biases.
const GRID: f64 = 0.25;
/// The least shift, as a share of the map's largest value.
const LEAST: f64 = 0.125;

/// A map whose channels can be shifted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) unit: usize,
    /// The node that computes it.
    pub(super) writer: NodeId,
    /// The convolutions and batch norms that read it, directly or behind pools.
    pub(super) readers: Vec<NodeId>,
}

/// The shifts that are subtracted from the channels of maps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shifts(pub(super) Vec<(Place, Vec<f64>)>);

impl Shifts {
    /// The shifts that were saved.
    pub fn named(network: &Network, fused: &Fused<'_>, names: &ByName) -> Self {
        let saved = |place: Place| {
            let by = names.get(&network.nodes[place.writer].name)?;
            Some((place, by.iter().map(|&by| by.into()).collect()))
        };
        Self(places(network, fused).into_iter().filter_map(saved).collect())
    }

    /// The shifts by the name of the layer that writes the map, for saving.
    pub fn names(&self, network: &Network) -> ByName {
        let saved = |(place, by): &(Place, Vec<f64>)| {
            let by = by.iter().map(|&by| by as f32).collect();
            (network.nodes[place.writer].name.clone(), by)
        };
        self.0.iter().map(saved).collect()
    }

    /// The shifts with which the convolutions and batch norms of `made` were made from the
    /// network's, given the `factors` that its channels are scaled by.
    ///
    /// Corrections of biases are told apart from them. `largest` gives the largest value of a
    /// unit's output in the model.
    pub fn of_model(
        network: &Network,
        fused: &Fused<'_>,
        made: &Network,
        factors: &Factors,
        largest: impl Fn(usize) -> f32,
    ) -> Self {
        let mut shifts = Self::default();
        for place in places(network, fused) {
            // The offsets that earlier maps' shifts leave.
            let before = offsets(&shifts.apply(network).nodes[place.writer].op);
            let after = offsets(&made.nodes[place.writer].op);
            let largest = f64::from(largest(place.unit));
            let channels = before.iter().zip(&after).zip(factors.channels(place.writer));
            let by = channels.map(|((before, after), factor)| {
                let by = before - after / factor;
                // The limit is a share of the map's largest value before the shift.
                if by * factor < LEAST / 2.0 * (largest + by * factor) { 0.0 } else { nearest(by) }
            });
            shifts.push(place, by.collect());
        }
        shifts
    }

    pub(super) fn push(&mut self, place: Place, by: Vec<f64>) {
        if by.iter().any(|&by| by != 0.0) {
            self.0.push((place, by));
        }
    }

    /// The network with its channels shifted.
    ///
    /// It computes the same outputs, except where a value is less than its shift.
    pub fn apply(&self, network: &Network) -> Network {
        let mut network = network.clone();
        for (Place { writer, readers, .. }, by) in &self.0 {
            let less = |value: &mut f32, by: f64| *value = (f64::from(*value) - by) as f32;
            match &mut network.nodes[*writer].op {
                Op::Conv(conv) => conv.bias.iter_mut().zip(by).for_each(|(b, &by)| less(b, by)),
                Op::BatchNorm(norm) => {
                    norm.shift.iter_mut().zip(by).for_each(|(b, &by)| less(b, by));
                }
                _ => {}
            }
            for &reader in readers {
                match &mut network.nodes[reader].op {
                    Op::Conv(conv) => {
                        for (weights, bias) in conv.weights.outer_iter().zip(&mut conv.bias) {
                            let taps = weights.iter().zip(by.iter().cycle());
                            less(bias, -taps.map(|(&w, &by)| f64::from(w) * by).sum::<f64>());
                        }
                    }
                    Op::BatchNorm(norm) => {
                        norm.mean.iter_mut().zip(by).for_each(|(mean, &by)| less(mean, by));
                    }
                    _ => {}
                }
            }
        }
        network
    }
}

/// The offset that a convolution or a batch norm adds to each channel.
fn offsets(op: &Op) -> Vec<f64> {
    match op {
        Op::Conv(conv) => conv.bias.iter().map(|&bias| bias.into()).collect(),
        Op::BatchNorm(norm) => (0..norm.shift.len()).map(|c| norm.affine(c).1).collect(),
        _ => Vec::new(),
    }
}

/// The maps whose channels can be shifted.
pub(super) fn places(network: &Network, fused: &Fused<'_>) -> Vec<Place> {
    let place = |(unit, of): (usize, &Unit)| {
        let op = |node: NodeId| &network.nodes[node].op;
        if !network.is_of_plain_layers() {
            return None;
        }
        let has_bias = matches!(op(of.node), Op::Conv(_) | Op::BatchNorm(_));
        // A ReLU6 would have to clip each channel at another value.
        if !has_bias || matches!(op(of.output), Op::Relu6) {
            return None;
        }
        let (mut readers, mut maps) = (Vec::new(), vec![of.output]);
        while let Some(map) = maps.pop() {
            if map == network.logits() {
                return None;
            }
            for (id, node) in network.nodes.iter().enumerate() {
                match &node.op {
                    _ if !node.inputs.contains(&map) => {}
                    Op::Conv(conv) if conv.pads == [0; 4] => readers.push(id),
                    Op::BatchNorm(_) => readers.push(id),
                    Op::MaxPool(_) | Op::GlobalAveragePool => maps.push(id),
                    _ => return None,
                }
            }
        }
        Some(Place { unit, writer: of.node, readers })
    };
    fused.units.iter().enumerate().filter_map(place).collect()
}

/// The nearest shift that is tried; `by` must be above zero.
fn nearest(by: f64) -> f64 {
    // The precision in which it is saved.
    f64::from(((by.log2() / GRID).round() * GRID).exp2() as f32)
}

/// The next smaller shift that is tried; 0 if that is too small for the values of the map.
pub(super) fn below(by: f64, largest: f64) -> f64 {
    if !(by > 0.0 && by >= LEAST * largest) {
        return 0.0;
    }
    f64::from(((by.log2() / GRID).floor() * GRID).exp2() as f32)
}
