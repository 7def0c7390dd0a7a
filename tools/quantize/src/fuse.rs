//! Decides which nodes of a float network become one layer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use ndarray::ArrayView4;

use crate::error::Unrepresentable;
use crate::lower::{READ_ON, answer_last, known};
use crate::network::{Network, NodeId, Op, Subsample};
use crate::weights::rounding::Bits;
use crate::weights::shared::shared;

/// A float network whose activations are fused into the layers before them.
///
/// Each unit becomes one layer, and its output one tensor.
#[derive(Debug)]
pub struct Fused<'n> {
    pub(crate) network: &'n Network,
    /// The units, each of which becomes a layer.
    pub units: Vec<Unit>,
    /// Bits of the weights of those convolutions that have fewer than eight.
    bits: BTreeMap<NodeId, Bits>,
    /// Nodes of the units whose outputs are int16.
    int16: BTreeSet<NodeId>,
    /// Nodes of the units whose outputs are streams in 16 bits.
    stream16: BTreeSet<NodeId>,
    /// For each convolution that shares another's weights, the first convolution that has them.
    pub(crate) shared: BTreeMap<NodeId, NodeId>,
}

/// Nodes that become one layer.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The node that computes; for a join, the convolution.
    pub node: NodeId,
    /// The node whose value is the layer's output: an activation, an add, or `node` itself.
    pub output: NodeId,
    /// The unit that it reads; 0 for the input itself.
    pub input: usize,
    /// The second operand, and how it is subsampled.
    pub shortcut: Option<(usize, Option<Subsample>)>,
}

impl<'n> Fused<'n> {
    /// Fuses activations, shortcuts and the adds behind convolutions.
    ///
    /// # Errors
    ///
    /// [`Unrepresentable`] for a network that is not built of residual blocks.
    pub fn new(network: &'n Network) -> Result<Self, Unrepresentable> {
        Self::with_joins(network, true)
    }

    /// The same, but additions stay layers of their own, as in networks that were quantized by
    /// other tools.
    ///
    /// # Errors
    ///
    /// As [`Fused::new`].
    pub fn without_joins(network: &'n Network) -> Result<Self, Unrepresentable> {
        Self::with_joins(network, false)
    }

    fn with_joins(network: &'n Network, joins: bool) -> Result<Self, Unrepresentable> {
        known::float(network)?;
        let mut readers = network.consumers();
        network.outputs.iter().skip(1).for_each(|output| readers[output.node] += 1);
        let mut units: Vec<Unit> = Vec::new();
        // For each node the unit whose output it is.
        let mut unit_of: HashMap<NodeId, usize> = HashMap::new();
        // Convolutions that are followed by an addition.
        let mut joined: HashMap<NodeId, NodeId> = HashMap::new();
        for (id, node) in network.nodes.iter().enumerate() {
            if joins && matches!(node.op, Op::Add) {
                let main = node.inputs[0];
                let is_plain = |op: &Op| matches!(op, Op::Conv(conv) if conv.groups == 1);
                if is_plain(&network.nodes[main].op) && readers[main] == 1 {
                    joined.insert(main, id);
                }
            }
        }
        for (id, node) in network.nodes.iter().enumerate() {
            let unit = |node: NodeId, input: NodeId| -> Result<Unit, Unrepresentable> {
                let input = match unit_of.get(&input) {
                    Some(&unit) => unit,
                    None => {
                        let name = &network.nodes[input].name;
                        return Err(Unrepresentable::new(name, "is read before it is complete"));
                    }
                };
                Ok(Unit { node, output: id, input, shortcut: None })
            };
            let new = match &node.op {
                op if op.bounds().is_some() => {
                    let before = node.inputs[0];
                    let Some(&index) = unit_of.get(&before) else {
                        return Err(Unrepresentable::new(
                            &node.name,
                            "an activation without an input layer",
                        ));
                    };
                    let alone = readers[before] == 1 && units[index].output == before;
                    if alone && clips(&network.nodes[units[index].node].op) {
                        units[index].output = id;
                        unit_of.insert(id, index);
                        continue;
                    }
                    unit(id, before)?
                }
                Op::Multiply | Op::Concat => {
                    let mut unit = unit(id, node.inputs[0])?;
                    let other = node.inputs.get(1).and_then(|other| unit_of.get(other));
                    let Some(&other) = other else {
                        let what = "reads a map that does not exist";
                        return Err(Unrepresentable::new(&node.name, what));
                    };
                    unit.shortcut = Some((other, None));
                    unit
                }
                Op::Subsample(_) => continue,
                Op::Conv(_) if joined.contains_key(&id) => continue,
                Op::Input => Unit { node: id, output: id, input: 0, shortcut: None },
                Op::Add => {
                    let main = node.inputs[0];
                    let mut unit = match joined.get(&main) {
                        Some(_) => unit(main, network.nodes[main].inputs[0])?,
                        None => unit(id, main)?,
                    };
                    let (from, subsample) = match network.nodes[node.inputs[1]].op {
                        Op::Subsample(s) => (network.nodes[node.inputs[1]].inputs[0], Some(s)),
                        _ => (node.inputs[1], None),
                    };
                    let Some(&from) = unit_of.get(&from) else {
                        return Err(Unrepresentable::new(
                            &node.name,
                            "adds a map that does not exist",
                        ));
                    };
                    unit.shortcut = Some((from, subsample));
                    unit
                }
                _ => unit(id, node.inputs[0])?,
            };
            unit_of.insert(id, units.len());
            units.push(new);
        }
        let units = with_answer_last(network, units)?;
        let (bits, int16, stream16) = Default::default();
        Ok(Self { network, units, bits, int16, stream16, shared: shared(network) })
    }

    /// The same, with fewer than eight bits for the weights of these convolutions.
    pub fn with_bits(self, bits: &BTreeMap<NodeId, Bits>) -> Self {
        Self { bits: bits.clone(), ..self }
    }

    /// The same, with int16 outputs for the units of these nodes and for max-pools behind them.
    ///
    /// Convolutions that read or write int16 have weights of eight bits.
    pub fn with_int16(mut self, nodes: &BTreeSet<NodeId>) -> Self {
        let kept: Vec<NodeId> = self
            .units
            .iter()
            .filter(|unit| in_int8_alone(self.network, unit.node))
            .flat_map(|unit| {
                let shortcut = unit.shortcut.map(|(shortcut, _)| self.units[shortcut].node);
                [Some(unit.node), Some(self.units[unit.input].node), shortcut]
            })
            .flatten()
            .collect();
        self.int16 = nodes.iter().copied().filter(|node| !kept.contains(node)).collect();
        for unit in &self.units {
            let reads = |of: usize| self.int16.contains(&self.units[of].node);
            let shortcut = unit.shortcut.is_some_and(|(shortcut, _)| reads(shortcut));
            match self.network.nodes[unit.node].op {
                Op::Input | Op::Softmax => drop(self.int16.remove(&unit.node)),
                Op::MaxPool(_) if reads(unit.input) => drop(self.int16.insert(unit.node)),
                Op::MaxPool(_) => drop(self.int16.remove(&unit.node)),
                _ if shortcut || reads(unit.input) || self.int16.contains(&unit.node) => {
                    self.bits.remove(&unit.node);
                }
                _ => {}
            }
        }
        self
    }

    /// The same, with the residual stream in 16 bits: the outputs of the layers that end residual
    /// blocks, of the convolutions that are added to them (such as those of the stem and of
    /// shortcuts), and the scores.
    ///
    /// These layers have weights of eight bits.
    pub fn with_stream16(mut self) -> Self {
        let is_conv = |unit: &Unit| matches!(self.network.nodes[unit.node].op, Op::Conv(_));
        let scores = |unit: &&Unit| unit.output == self.network.logits();
        // Outputs besides the main one have the scale of int8.
        let others = |unit: &Unit| self.network.outputs.iter().any(|of| of.node == unit.output);
        let can_be = |unit: &&Unit| is_conv(unit) && !scores(unit) && !others(unit);
        for unit in self.units.iter().filter(can_be) {
            let Some((shortcut, _)) = unit.shortcut else { continue };
            let shortcut = Some(&self.units[shortcut]).filter(can_be);
            self.stream16.extend([Some(unit), shortcut].into_iter().flatten().map(|of| of.node));
        }
        if !self.stream16.is_empty() {
            let scores = self.units.iter().find(scores).filter(|unit| is_conv(unit));
            self.stream16.extend(scores.map(|unit| unit.node));
        }
        self.stream16 = &self.stream16 - &self.int16;
        self.bits.retain(|node, _| !self.stream16.contains(node));
        self
    }

    /// Whether the output of a unit is a stream in 16 bits.
    pub(crate) fn is_stream16(&self, unit: &Unit) -> bool {
        self.stream16.contains(&unit.node)
    }

    /// Whether the output of a unit has the fine levels of 16 bits around zero: int16, or scores in
    /// 16 bits.
    pub(crate) fn is_fine(&self, unit: &Unit) -> bool {
        let scores = unit.output == self.network.logits();
        self.is_int16(unit) || scores && self.is_stream16(unit)
    }

    /// Whether a unit reads both bytes of its input, if that is a stream in 16 bits.
    ///
    /// The mean over a whole map does, and a unit whose shortcut is its own input.
    pub(crate) fn reads_both(&self, unit: &Unit) -> bool {
        let pools = matches!(self.network.nodes[unit.node].op, Op::GlobalAveragePool);
        pools || unit.shortcut.is_some_and(|(shortcut, _)| shortcut == unit.input)
    }

    /// The unit whose quantization a unit's output has: for pools and borders that of their input,
    /// otherwise its own.
    pub(crate) fn pooled(&self, index: usize) -> usize {
        let unit = &self.units[index];
        match self.network.nodes[unit.node].op {
            Op::MaxPool(_) | Op::AveragePool(_) | Op::Border(_) => self.pooled(unit.input),
            _ => index,
        }
    }

    /// Whether the output of a unit is int16.
    pub(crate) fn is_int16(&self, unit: &Unit) -> bool {
        self.int16.contains(&unit.node)
    }

    /// Bits of a convolution's weights.
    pub(crate) fn bits(&self, node: NodeId) -> Bits {
        self.bits.get(&node).copied().unwrap_or_default()
    }

    /// Nodes whose ranges are needed: outputs with a scale of their own.
    pub fn calibrated(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.units
            .iter()
            .filter(|unit| {
                !matches!(
                    self.network.nodes[unit.node].op,
                    Op::Input | Op::MaxPool(_) | Op::AveragePool(_) | Op::Border(_) | Op::Softmax
                )
            })
            .map(|unit| unit.output)
    }

    /// For each unit the last unit that reads it; 0 if none does.
    pub(crate) fn last_readers(&self) -> Vec<usize> {
        let mut last = vec![0; self.units.len()];
        for (index, unit) in self.units.iter().enumerate().skip(1) {
            last[unit.input] = index;
            if let Some((shortcut, _)) = unit.shortcut {
                last[shortcut] = index;
            }
        }
        last
    }

    /// The nodes up to the logits that this unit and later ones may need.
    pub(crate) fn nodes_from(&self, unit: usize) -> RangeInclusive<NodeId> {
        let logits = self.network.logits();
        // The convolution of a join stands before its shortcut, whose unit comes first.
        let first = self.units[unit..].iter().map(|unit| unit.node).min();
        first.unwrap_or(logits)..=logits
    }

    /// Bytes of the float and quantized maps of an image that are needed at once, if each unit runs
    /// on all images before the next unit.
    pub(crate) fn live_bytes(&self) -> usize {
        let last = self.last_readers();
        let bytes = |unit: &Unit| {
            2 * size_of::<f32>() * self.network.nodes[unit.output].shape.iter().product::<usize>()
        };
        let live = |at: usize| -> usize {
            let units = self.units.iter().zip(&last).take(at);
            units.filter(|&(_, &last)| last >= at).map(|(unit, _)| bytes(unit)).sum()
        };
        // A unit needs the maps that it reads and the one that it writes.
        (1..self.units.len()).map(|at| live(at) + bytes(&self.units[at])).max().unwrap_or(0)
    }
}

/// Whether the layers of a node's operator can neither read nor write int16.
fn in_int8_alone(network: &Network, node: NodeId) -> bool {
    match &network.nodes[node].op {
        Op::Conv(conv) => conv.groups > 1,
        Op::Input
        | Op::BatchNorm(_)
        | Op::Add
        | Op::Subsample(_)
        | Op::MaxPool(_)
        | Op::GlobalAveragePool
        | Op::Softmax => false,
        _ => true,
    }
}

/// Whether a layer with this operator can clip its output, as an activation behind it does.
fn clips(op: &Op) -> bool {
    !matches!(
        op,
        Op::Input
            | Op::Softmax
            | Op::Concat
            | Op::Border(_)
            | Op::PRelu(_)
            | Op::Function(_)
            | Op::Relu
            | Op::Relu6
    )
}

/// The units in an order in which those that only the main answer needs come last, since a model
/// ends in it.
fn with_answer_last(network: &Network, units: Vec<Unit>) -> Result<Vec<Unit>, Unrepresentable> {
    let reads: Vec<Vec<usize>> = units
        .iter()
        .map(|unit| [unit.input].into_iter().chain(unit.shortcut.map(|(of, _)| of)).collect())
        .collect();
    let outputs: Vec<NodeId> = network.outputs.iter().skip(1).map(|output| output.node).collect();
    let others = units.iter().map(|unit| outputs.contains(&unit.output)).collect();
    let answer = units.iter().position(|unit| unit.output == network.output()).unwrap_or(0);
    let Some(order) = answer_last(&reads, others, answer) else {
        return Err(Unrepresentable::new(&network.nodes[network.output()].name, READ_ON));
    };
    let mut now = vec![0; units.len()];
    order.iter().enumerate().for_each(|(place, &old)| now[old] = place);
    let moved = |&old: &usize| {
        let unit = units[old].clone();
        let shortcut = unit.shortcut.map(|(shortcut, subsample)| (now[shortcut], subsample));
        Unit { input: now[unit.input], shortcut, ..unit }
    };
    Ok(order.iter().map(moved).collect())
}

/// The maps from which to continue if unit `first` has this `output`: those of earlier units that
/// are still read.
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
