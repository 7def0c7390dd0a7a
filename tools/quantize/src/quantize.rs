//! From a float network and its activation ranges to a [`Program`].
//!
//! - Weights: symmetric int8, or 4 bits where [asked for](crate::bits), one scale an output channel,
//!   with the least squared error.
//! - Activations: int8, one scale and zero point a tensor; or int16, where
//!   [asked for](crate::int16), symmetric. Layers that read or make int16 have int8 weights.
//! - The picture: pixel − 128, exact. Mean and standard deviation fold into the convolutions
//!   that read it, whose padding is then a value a channel.
//! - Residual blocks: the last convolution and the add become one layer with one rounding,
//!   the [join](brooklet::ops::conv).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use brooklet::format::{LayerRecord, Operator, Packing, flags};
use brooklet::ops::conv::MAX_JOIN_BITS;
use brooklet::quant::Multiplier;
use zerocopy::little_endian::F32;

use crate::calibrate::{Range, Ranges};
use crate::data::Preprocess;
use crate::lower::{Unrepresentable, set_kernel, set_shortcut, set_window, shape};
use crate::network::{BatchNorm, Conv, Network, NodeId, Op, Subsample};
use crate::program::{Layer, Program, Table, largest_sum};
use crate::rounding::{Bits, Steps};
use brooklet_plan::records::{set_add, set_softmax};

/// Extra fractional bits of a join, where the accumulator leaves room for them.
const JOIN_BITS: u8 = 12;

/// A float network whose activations are fused into the layers that they follow: what becomes
/// one layer, and so which tensors there are.
#[derive(Debug)]
pub struct Fused<'n> {
    network: &'n Network,
    /// The layers to be.
    pub units: Vec<Unit>,
    /// The convolutions whose weights get 4 bits.
    in_four_bits: BTreeSet<NodeId>,
    /// Nodes of the units whose outputs are int16.
    int16: BTreeSet<NodeId>,
}

/// Quantized weights by the convolution's node.
pub type Learned = BTreeMap<NodeId, Weights>;

/// Quantized weights of a convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// For each output channel its weights, kernel rows × columns × input channels, in steps of
    /// their products with a step of the input.
    pub channels: Vec<Steps>,
    /// Real biases.
    pub bias: Vec<f64>,
}

/// Nodes that become one layer.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The node that computes; of a join, the convolution.
    pub node: NodeId,
    /// The node whose value is the layer's output: an activation, an add, or `node` itself.
    pub output: NodeId,
    /// The unit that is read; 0 for the input itself.
    pub input: usize,
    /// The second operand, and how it is read.
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

    /// The same with adds as layers of their own, as networks have them that were quantized
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Fused::new`].
    pub fn without_joins(network: &'n Network) -> Result<Self, Unrepresentable> {
        Self::with_joins(network, false)
    }

    fn with_joins(network: &'n Network, joins: bool) -> Result<Self, Unrepresentable> {
        let readers = network.consumers();
        let mut units: Vec<Unit> = Vec::new();
        // For each node the unit whose output it is.
        let mut unit_of: HashMap<NodeId, usize> = HashMap::new();
        // Convolutions that wait for the add behind them.
        let mut joined: HashMap<NodeId, NodeId> = HashMap::new();
        for (id, node) in network.nodes.iter().enumerate() {
            if joins && matches!(node.op, Op::Add) {
                let main = node.inputs[0];
                if matches!(network.nodes[main].op, Op::Conv(_)) && readers[main] == 1 {
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
                Op::Relu | Op::Relu6 => {
                    let before = node.inputs[0];
                    let Some(&index) = unit_of.get(&before) else {
                        return Err(Unrepresentable::new(&node.name, "an activation of nothing"));
                    };
                    if readers[before] > 1 || units[index].output != before || index == 0 {
                        return Err(Unrepresentable::new(
                            &node.name,
                            "an activation of a map that is also used without it",
                        ));
                    }
                    units[index].output = id;
                    unit_of.insert(id, index);
                    continue;
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
                            "adds a map that is not there",
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
        Ok(Self { network, units, in_four_bits: BTreeSet::new(), int16: BTreeSet::new() })
    }

    /// The same with weights in four bits of these convolutions.
    pub fn with_four_bits(self, nodes: &BTreeSet<NodeId>) -> Self {
        Self { in_four_bits: nodes.clone(), ..self }
    }

    /// The same with int16 outputs of the units of these nodes, and of max-pools behind them.
    /// Convolutions that read or make int16 have weights in eight bits.
    pub fn with_int16(mut self, nodes: &BTreeSet<NodeId>) -> Self {
        self.int16.clone_from(nodes);
        for unit in &self.units {
            let reads = |of: usize| self.int16.contains(&self.units[of].node);
            let shortcut = unit.shortcut.is_some_and(|(shortcut, _)| reads(shortcut));
            match self.network.nodes[unit.node].op {
                Op::Input | Op::Softmax => drop(self.int16.remove(&unit.node)),
                Op::MaxPool(_) if reads(unit.input) => drop(self.int16.insert(unit.node)),
                Op::MaxPool(_) => drop(self.int16.remove(&unit.node)),
                _ if shortcut || reads(unit.input) || self.int16.contains(&unit.node) => {
                    self.in_four_bits.remove(&unit.node);
                }
                _ => {}
            }
        }
        self
    }

    /// The unit whose numbers a unit's output has: of a max-pool its input, else itself.
    pub(crate) fn pooled(&self, index: usize) -> usize {
        let unit = &self.units[index];
        match self.network.nodes[unit.node].op {
            Op::MaxPool(_) => self.pooled(unit.input),
            _ => index,
        }
    }

    /// Whether the output of a unit is int16.
    pub(crate) fn is_int16(&self, unit: &Unit) -> bool {
        self.int16.contains(&unit.node)
    }

    /// Bits of a convolution's weights.
    pub(crate) fn bits(&self, node: NodeId) -> Bits {
        if self.in_four_bits.contains(&node) { Bits::Four } else { Bits::Eight }
    }

    /// Nodes whose ranges are needed: outputs of layers that have a scale of their own.
    pub fn calibrated(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.units
            .iter()
            .filter(|unit| {
                !matches!(
                    self.network.nodes[unit.node].op,
                    Op::Input | Op::MaxPool(_) | Op::Softmax
                )
            })
            .map(|unit| unit.output)
    }

    /// For each unit the last one that reads it; 0 for those that none reads.
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

    /// The nodes up to the logits that this unit and those behind it may need.
    pub(crate) fn nodes_from(&self, unit: usize) -> RangeInclusive<NodeId> {
        let logits = self.network.logits();
        // Convolutions of joins stand before their shortcuts, whose units come first.
        let first = self.units[unit..].iter().map(|unit| unit.node).min();
        first.unwrap_or(logits)..=logits
    }

    /// Bytes of the float and the quantized maps of a picture that are needed at once, where each
    /// unit is run on all pictures before the next.
    pub(crate) fn live_bytes(&self) -> usize {
        let last = self.last_readers();
        let bytes = |unit: &Unit| {
            2 * size_of::<f32>() * self.network.nodes[unit.output].shape.iter().product::<usize>()
        };
        let live = |at: usize| -> usize {
            let units = self.units.iter().zip(&last).take(at);
            units.filter(|&(_, &last)| last >= at).map(|(unit, _)| bytes(unit)).sum()
        };
        // What a unit reads, and what it makes.
        (1..self.units.len()).map(|at| live(at) + bytes(&self.units[at])).max().unwrap_or(0)
    }

    /// Quantizes with these ranges, and weights that were learned; others are rounded to the
    /// nearest.
    ///
    /// # Errors
    ///
    /// [`Unrepresentable`] names the layer: a range is missing, or too large or small.
    pub fn quantize(
        &self,
        ranges: &Ranges,
        preprocess: &Preprocess,
        learned: &Learned,
    ) -> Result<Program, Unrepresentable> {
        let mut layers: Vec<Layer> = Vec::with_capacity(self.units.len());
        for unit in &self.units {
            let layer = self.layer(unit, &layers, ranges, preprocess, learned)?;
            layers.push(layer);
        }
        let logits = self.network.logits();
        let logits = self.units.iter().position(|unit| unit.output == logits).unwrap_or(0);
        Ok(Program { layers, logits, ..Program::default() })
    }

    /// The layer of a unit behind `layers`.
    pub(crate) fn layer(
        &self,
        unit: &Unit,
        layers: &[Layer],
        ranges: &Ranges,
        preprocess: &Preprocess,
        learned: &Learned,
    ) -> Result<Layer, Unrepresentable> {
        let node = &self.network.nodes[unit.node];
        let output = &self.network.nodes[unit.output];
        let operator = match node.op {
            Op::Input => Operator::Input,
            Op::Conv(_) => Operator::Conv,
            Op::Add => Operator::Add,
            Op::MaxPool(_) => Operator::MaxPool,
            Op::GlobalAveragePool => Operator::AveragePool,
            Op::Softmax => Operator::Softmax,
            Op::BatchNorm(_) => Operator::BatchNorm,
            Op::Relu | Op::Relu6 | Op::Subsample(_) => {
                return Err(Unrepresentable::new(&node.name, "has no layer of its own"));
            }
        };
        let mut layer = Layer::new(&node.name, operator, unit.input, shape(output.shape));
        let input = layers.get(unit.input);
        let wide = |of: usize| layers.get(of).is_some_and(|layer| layer.record.is_int16());
        let int16 = self.is_int16(unit);
        if int16 {
            layer.record.flags |= flags::INT16;
        }
        if int16 || wide(unit.input) || unit.shortcut.is_some_and(|(of, _)| wide(of)) {
            layer.record.flags |= flags::WIDE;
        }
        let (scale, zero_point) = match (operator, input) {
            (Operator::Input, _) | (_, None) => (1.0, -128),
            (Operator::MaxPool, Some(input)) => (input.record.scale.get(), input.record.zero_point),
            (Operator::Softmax, _) => (1.0 / 256.0, -128),
            _ => {
                let mut range = *ranges.ranges.get(&output.name).ok_or_else(|| {
                    Unrepresentable::new(&output.name, "the ranges file has no range for it")
                })?;
                if int16 && matches!(output.op, Op::Relu6) {
                    // The end of the range is what clips.
                    range.max = range.max.min(6.0);
                }
                let Affine { scale, zero_point, .. } = Affine::new(range, int16)
                    .ok_or_else(|| Unrepresentable::new(&output.name, "its range is impossible"))?;
                (scale, zero_point)
            }
        };
        layer.record.scale = F32::new(scale);
        layer.record.zero_point = zero_point;
        let step = |real: f32| {
            (f64::from(real / scale).round() + f64::from(zero_point)).clamp(-128.0, 127.0) as i8
        };
        if unit.output != unit.node && matches!(output.op, Op::Relu | Op::Relu6) {
            layer.record.clamp_min = step(0.0);
            if matches!(output.op, Op::Relu6) {
                layer.record.clamp_max = step(6.0);
            }
        }
        if let Some((shortcut, subsample)) = unit.shortcut {
            set_shortcut(&mut layer, shortcut, subsample)?;
        }
        let Some(input) = input else { return Ok(layer) };
        match &node.op {
            Op::Conv(conv) => {
                let pixels = (unit.input == 0).then_some(preprocess);
                let shortcut = unit.shortcut.map(|(shortcut, _)| &layers[shortcut]);
                let nearest;
                let weights = match learned.get(&unit.node) {
                    Some(learned) => learned,
                    None => {
                        let steps = steps(conv.weights.dim().3, input, pixels);
                        nearest = Weights::nearest(conv, &steps, self.bits(unit.node));
                        &nearest
                    }
                };
                if self.bits(unit.node) == Bits::Four {
                    layer.record.packing = Packing::Ohwi4 as u8;
                }
                set_conv(&mut layer, conv, input, pixels, shortcut, weights)?;
            }
            Op::Add => {
                let shortcut = &layers[unit.shortcut.map_or(0, |(shortcut, _)| shortcut)];
                if layer.record.is_wide() {
                    let ratio = |operand: &Layer| operand.record.scale.get() / scale;
                    let reals = [ratio(input).into()];
                    let bits = set_wide_join(&mut layer, ratio(shortcut).into(), &reals)?;
                    let input = f64::from(ratio(input)) * f64::from(1u32 << bits);
                    let multiplier = Multiplier::from_real(input).filter(|m| m.is_valid_wide());
                    let multiplier = multiplier.ok_or_else(|| {
                        Unrepresentable::new(&node.name, "its scales are out of proportion")
                    })?;
                    layer.record.set_multiplier(1, multiplier);
                    return Ok(layer);
                }
                let operands = [input, shortcut]
                    .map(|layer| (layer.record.scale.get(), i32::from(layer.record.zero_point)));
                set_add(&mut layer, operands).ok_or_else(|| {
                    Unrepresentable::new(&node.name, "its scales are out of proportion")
                })?;
            }
            Op::BatchNorm(norm) => {
                let pixels = (unit.input == 0).then_some(preprocess);
                set_batch_norm(&mut layer, norm, input, pixels)?;
            }
            Op::MaxPool(window) => set_window(&mut layer, window)?,
            Op::GlobalAveragePool => {
                let shape = input.record.shape();
                let pixels = f64::from(shape.rows) * f64::from(shape.columns);
                let real = f64::from(input.record.scale.get()) / (pixels * f64::from(scale));
                let multiplier = Multiplier::from_real(real)
                    .ok_or_else(|| Unrepresentable::new(&node.name, "its range is too small"))?;
                layer.record.set_multiplier(0, multiplier);
            }
            Op::Softmax => {
                set_softmax(&mut layer, input.record.scale.get()).ok_or_else(|| {
                    Unrepresentable::new(&node.name, "its input's range is too large")
                })?;
            }
            _ => {}
        }
        Ok(layer)
    }
}

/// Scale and zero point of a tensor of int8 or int16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine {
    scale: f32,
    zero_point: i8,
    int16: bool,
}

impl Affine {
    /// Of a range, if it is possible.
    pub(crate) fn new(range: Range, int16: bool) -> Option<Self> {
        let (min, max) = (range.min.min(0.0), range.max.max(0.0));
        // A tensor that is always zero: any scale will do.
        let scale = match max > min {
            true if int16 => max.max(-min) / 32767.0,
            true => (max - min) / 255.0,
            false => 1.0,
        };
        if !(scale.is_finite() && scale >= f32::MIN_POSITIVE) {
            return None;
        }
        let zero_point = match int16 {
            true => 0.0,
            false => (-128.0 - f64::from(min / scale)).round().clamp(-128.0, 127.0),
        };
        Some(Self { scale, zero_point: zero_point as i8, int16 })
    }

    /// Of a layer's output.
    pub(crate) fn of(layer: &Layer) -> Self {
        let LayerRecord { scale, zero_point, .. } = layer.record;
        Self { scale: scale.get(), zero_point, int16: layer.record.is_int16() }
    }

    /// The steps that there are.
    fn ends(self) -> [f32; 2] {
        if self.int16 { [-32768.0, 32767.0] } else { [-128.0, 127.0] }
    }

    /// Real value of a step.
    pub(crate) fn scale(self) -> f32 {
        self.scale
    }

    /// The reals that it stands for.
    pub(crate) fn range(self) -> Range {
        let [min, max] = self.ends().map(|step| (step - f32::from(self.zero_point)) * self.scale);
        Range { min, max }
    }

    /// The real that stands for `value`.
    pub(crate) fn round(self, value: f32) -> f32 {
        let zero = f32::from(self.zero_point);
        let [min, max] = self.ends();
        let step = (value / self.scale + zero).round().clamp(min, max);
        (step - zero) * self.scale
    }
}

impl Weights {
    /// The nearest to a convolution's, whose inputs have these `steps`.
    pub(crate) fn nearest(conv: &Conv, steps: &[(f64, f64)], bits: Bits) -> Self {
        let bias: Vec<f64> = conv.bias.iter().map(|&bias| f64::from(bias)).collect();
        let channels = conv
            .weights
            .outer_iter()
            .zip(&bias)
            .map(|(weights, &bias)| {
                let scaled: Vec<f64> = weights
                    .iter()
                    .zip(steps.iter().cycle())
                    .map(|(&weight, &(step, _))| f64::from(weight) * step)
                    .collect();
                Steps::nearest(&scaled, smallest_scale(bias), bits)
            })
            .collect();
        Self { channels, bias }
    }

    /// The convolution that has these weights, of inputs with these `steps`.
    pub(crate) fn dequantize(&self, conv: &Conv, steps: &[(f64, f64)]) -> Conv {
        let mut conv = conv.clone();
        for (mut weights, channel) in conv.weights.outer_iter_mut().zip(&self.channels) {
            let reals = channel.reals().zip(steps.iter().cycle());
            for (weight, (real, &(step, _))) in weights.iter_mut().zip(reals) {
                *weight = (real / step) as f32;
            }
        }
        conv.bias = self.bias.iter().map(|&bias| bias as f32).collect();
        conv
    }
}

/// Weights, biases and multipliers of a convolution, and the table of its join.
///
/// With `pixels` the input is the picture, and what its bytes stand for.
fn set_conv(
    layer: &mut Layer,
    conv: &Conv,
    input: &Layer,
    pixels: Option<&Preprocess>,
    shortcut: Option<&Layer>,
    weights: &Weights,
) -> Result<(), Unrepresentable> {
    set_kernel(layer, conv.kernel(), conv.stride, conv.pads)?;
    if conv.fully_connected {
        layer.record.flags |= flags::FULLY_CONNECTED;
    }
    let steps = steps(conv.weights.dim().3, input, pixels);
    let zeros: Vec<i8> =
        steps.iter().map(|&(_, zero)| zero.round().clamp(-128.0, 127.0) as i8).collect();
    if zeros.iter().any(|&zero| zero != input.record.zero_point) {
        layer.padding_values = Some(zeros);
    }
    let output_scale = f64::from(layer.record.scale.get());
    let mut reals = Vec::with_capacity(conv.bias.len());
    for (channel, &bias) in weights.channels.iter().zip(&weights.bias) {
        push_channel(layer, channel, bias, &steps)?;
        reals.push(channel.scale / output_scale);
    }
    let Some(shortcut) = shortcut else {
        return set_multipliers(layer, &reals);
    };
    let ratio = f64::from(shortcut.record.scale.get()) / output_scale;
    if layer.record.is_wide() {
        let bits = set_wide_join(layer, ratio, &reals)?;
        let reals: Vec<f64> = reals.iter().map(|real| real * f64::from(1u32 << bits)).collect();
        return set_multipliers(layer, &reals);
    }
    for bits in (0..=JOIN_BITS.min(MAX_JOIN_BITS)).rev() {
        let unit = f64::from(1u32 << bits);
        let half = if bits == 0 { 0 } else { 1i64 << (bits - 1) };
        let table: Vec<i64> = (-128..128)
            .map(|q| {
                let real = f64::from(q - i32::from(shortcut.record.zero_point)) * ratio
                    + f64::from(layer.record.zero_point);
                (real * unit).round() as i64 + half
            })
            .collect();
        let largest = table.iter().map(|t| t.unsigned_abs()).max().unwrap_or(0);
        let largest = u32::try_from(largest).unwrap_or(u32::MAX);
        let reals: Vec<f64> = reals.iter().map(|real| real * unit).collect();
        if let Some(multipliers) = multipliers(layer, &reals, largest) {
            layer.multipliers = multipliers;
            layer.record.join_bits = bits;
            layer.table = Some(Table::Terms(table.into_iter().map(|t| t as i32).collect()));
            return Ok(());
        }
    }
    Err(Unrepresentable::new(&layer.name, "its range is too small for its weights"))
}

/// Sets the shortcut's multiplier of a layer that reads or makes int16, and as many extra bits as
/// that and `reals`, by which the sum is multiplied, leave room for.
fn set_wide_join(layer: &mut Layer, shortcut: f64, reals: &[f64]) -> Result<u8, Unrepresentable> {
    let multiplier = |real: f64, bits: u8| {
        let multiplier = Multiplier::from_real(real * f64::from(1u32 << bits));
        multiplier.filter(|multiplier| multiplier.is_valid_wide())
    };
    let fits = |bits: &u8| reals.iter().all(|&real| multiplier(real, *bits).is_some());
    for bits in (0..=JOIN_BITS).rev().filter(fits) {
        if let Some(multiplier) = multiplier(shortcut, bits) {
            layer.record.set_multiplier(0, multiplier);
            layer.record.join_bits = bits;
            return Ok(bits);
        }
    }
    Err(Unrepresentable::new(&layer.name, "its range is too small for what it adds"))
}

/// Weights, biases and multipliers of a batch norm, with `pixels` of the picture.
fn set_batch_norm(
    layer: &mut Layer,
    norm: &BatchNorm,
    input: &Layer,
    pixels: Option<&Preprocess>,
) -> Result<(), Unrepresentable> {
    let output_scale = f64::from(layer.record.scale.get());
    let mut reals = Vec::with_capacity(norm.scale.len());
    for (channel, &step) in steps(norm.scale.len(), input, pixels).iter().enumerate() {
        let (factor, offset) = norm.affine(channel);
        let factor = Steps::nearest(&[factor * step.0], smallest_scale(offset), Bits::Eight);
        push_channel(layer, &factor, offset, &[step])?;
        reals.push(factor.scale / output_scale);
    }
    set_multipliers(layer, &reals)
}

/// What a step of the input stands for, and which step stands for zero: real = step · (q − zero)
/// for each of its channels.
pub(crate) fn steps(
    channels: usize,
    input: &Layer,
    pixels: Option<&Preprocess>,
) -> Vec<(f64, f64)> {
    let step = |channel| match pixels {
        // Linear in the pixel: its value at 0 and at 255 say all.
        Some(pixels) => {
            let real = |pixel| f64::from(pixels.normalize(pixel, channel));
            let (black, white) = (real(0), real(255));
            let step = (white - black) / 255.0;
            (step, -black / step - 128.0)
        }
        None => (f64::from(input.record.scale.get()), f64::from(input.record.zero_point)),
    };
    (0..channels).map(step).collect()
}

/// Beside weights that are as good as zero, a bias must still fit into 32 bits.
pub(crate) fn smallest_scale(bias: f64) -> f64 {
    bias.abs() / f64::from(1 << 24)
}

/// Appends the weights and the bias of an output channel, whose inputs have these `steps` over
/// and over.
fn push_channel(
    layer: &mut Layer,
    channel: &Steps,
    bias: f64,
    steps: &[(f64, f64)],
) -> Result<(), Unrepresentable> {
    let offset: f64 = channel
        .weights
        .iter()
        .zip(steps.iter().cycle())
        .map(|(&weight, &(_, zero))| f64::from(weight) * zero)
        .sum();
    let bias = (bias / channel.scale - offset).round();
    if bias.abs() > f64::from(i32::MAX) {
        let what = "a bias is too large beside its channel's weights";
        return Err(Unrepresentable::new(&layer.name, what));
    }
    layer.weights.extend(&channel.weights);
    layer.bias.push(bias as i32);
    Ok(())
}

/// Sets the multipliers nearest to `reals`, for outputs with a zero point.
fn set_multipliers(layer: &mut Layer, reals: &[f64]) -> Result<(), Unrepresentable> {
    layer.multipliers = multipliers(layer, reals, 128).ok_or_else(|| {
        Unrepresentable::new(&layer.name, "its range is too small for its weights")
    })?;
    Ok(())
}

/// The multipliers nearest to `reals`, if no sum of any channel can leave 32 bits with them, and
/// `offset` added behind; those of layers that read or make int16 have 64.
fn multipliers(layer: &Layer, reals: &[f64], offset: u32) -> Option<Vec<Multiplier>> {
    let taps = layer.weights.len() / layer.bias.len();
    let channels = layer.weights.chunks(taps).zip(&layer.bias).zip(reals);
    channels
        .map(|((weights, &bias), &real)| {
            let multiplier = Multiplier::from_real(real)?;
            if layer.record.is_wide() {
                return multiplier.is_valid_wide().then_some(multiplier);
            }
            multiplier.holds(largest_sum(weights, bias), offset).then_some(multiplier)
        })
        .collect()
}
