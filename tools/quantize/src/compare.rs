//! Compares a float network with its model, layer by layer.
//!
//! The layers are compared in the float engine, with the model's weights dequantized and each
//! output rounded to its levels. The model's answers are computed by the core.

use std::collections::HashMap;

use ndarray::{Array4, ArrayView4};
use schemars::JsonSchema;
use serde::Serialize;

use crate::channels::absorption::Shifts;
use crate::channels::equalize::Factors;
use crate::data::{Dataset, Preprocess};
use crate::error::{EngineError, QuantizeError, Unrepresentable};
use crate::forward::{BATCH, FloatModel, Maps, squared_error};
use crate::fuse::{Fused, Unit};
use crate::network::{BatchNorm, Network, NodeId, Op};
use crate::program::{Layer, Program};
use crate::ranges::Range;
use crate::weights::rounding::QuantizedChannel;
use crate::weights::{Affine, Weights, input_scales};

/// Number of bars in a histogram.
pub const BARS: usize = 64;

/// A layer, in float and as it was quantized.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LayerLoss {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Bits of each number of its output: 8 or 16.
    pub activation_bits: u32,
    /// The layers that it reads: its input, and a shortcut if it has one.
    pub reads: Vec<usize>,
    /// Signal to quantization noise of its output in the quantized network, in dB.
    pub sqnr_db: Option<f64>,
    /// Cosine of the angle between its output and the float network's.
    pub cosine: Option<f64>,
    /// Share of its outputs that are clipped at the ends of its range.
    pub saturation: f64,
    /// The range of reals that its output can represent.
    pub range: Range,
    /// Signal to noise of the logits with only this layer quantized, in dB.
    pub alone_db: Option<f64>,
    /// Its share of the sum of all layers' errors, each layer quantized alone.
    pub share: f64,
    /// The part of its error that its weights cause.
    ///
    /// The rest comes from rounding its output, and from reading only the upper bits of a stream in
    /// 16 bits.
    pub weights_part: f64,
    /// Bits of its weights.
    pub weight_bits: Option<u32>,
    /// Histogram of the values of its float output.
    #[serde(skip)]
    pub values: Bars,
    /// Histogram of its weights, in 64 groups of values.
    #[serde(skip)]
    pub weights: Option<[u64; BARS]>,
}

impl LayerLoss {
    /// Its kind, and whether it makes int16.
    pub fn shown_kind(&self) -> String {
        let int16 = if self.activation_bits == 16 { ", int16" } else { "" };
        format!("{}{int16}", self.kind)
    }
}

/// A histogram.
#[derive(Debug, Clone)]
pub struct Bars {
    /// From the smallest to the largest value.
    pub extremes: Range,
    /// Number of values in each part.
    pub counts: [u64; BARS],
}

/// Sums over images that a layer's figures come from.
#[derive(Default)]
struct Sums {
    float: f64,
    quantized: f64,
    product: f64,
    error: f64,
    clipped: u64,
    count: u64,
    alone: f64,
    rounding: f64,
}

/// Compares the layers of a network and of its model on the first `images` of a data set; calls
/// `done` after each layer of each batch.
///
/// # Errors
///
/// [`QuantizeError`], also if the model was not made from this network.
pub fn layers(
    network: &Network,
    program: &Program,
    preprocess: &Preprocess,
    data: &Dataset,
    images: usize,
    mut done: impl FnMut(),
) -> Result<Vec<LayerLoss>, QuantizeError> {
    let fused = as_lowered(network, program)?;
    // Without a table the pixels are exact.
    let rounds_input = program.layers[0].table.is_some();
    let preprocess = (!rounds_input).then_some(preprocess);
    let changed = dequantized(network, &fused, program, preprocess);
    // The channels of the float network are shifted and scaled as the model's are, as otherwise the
    // layers' outputs could not be compared.
    let factors = Factors::of_model(network, &changed);
    let largest = |unit: usize| Affine::of(&program.layers[unit]).range().max;
    let shifts = Shifts::of_model(network, &fused, &changed, &factors, largest);
    let alike = factors.apply(&shifts.apply(network));
    let mut sides = SideBySide {
        program,
        float: FloatModel::new(&alike)?,
        model: FloatModel::new(&changed)?,
        logits: network.logits(),
        last_readers: fused.last_readers(),
        sums: fused.units.iter().map(|_| Sums::default()).collect(),
        values: vec![None; fused.units.len()],
        signal: 0.0,
        fused: &fused,
    };
    for start in (0..images).step_by(BATCH) {
        let batch = data.batch(start..images.min(start + BATCH))?;
        sides.add(batch.view(), rounds_input, &mut done)?;
    }
    Ok(sides.losses())
}

/// The network's units, divided as in the model.
fn as_lowered<'n>(network: &'n Network, program: &Program) -> Result<Fused<'n>, Unrepresentable> {
    let joined = Fused::new(network)?;
    let Some(layer) = differs(network, &joined, program) else { return Ok(joined) };
    let apart = Fused::without_joins(network)?;
    match differs(network, &apart, program) {
        None => Ok(apart),
        Some(_) => Err(Unrepresentable::new(&layer, "the model's layers are not this network's")),
    }
}

/// The float network and the model, which run side by side.
struct SideBySide<'n> {
    fused: &'n Fused<'n>,
    program: &'n Program,
    float: FloatModel,
    /// The float network with the model's weights.
    model: FloatModel,
    logits: NodeId,
    last_readers: Vec<usize>,
    /// The sums of each unit.
    sums: Vec<Sums>,
    values: Vec<Option<Bars>>,
    /// Sum of the squares of the logits.
    signal: f64,
}

impl SideBySide<'_> {
    /// Adds a batch of images.
    fn add(
        &mut self,
        batch: ArrayView4<'_, f32>,
        rounds_input: bool,
        done: &mut impl FnMut(),
    ) -> Result<(), EngineError> {
        let fused = self.fused;
        let maps = self.float.maps(batch, fused)?;
        self.signal += maps.logits().iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        // The quantized network's maps that later units still read.
        let mut pixels = maps.of(0).to_owned();
        if rounds_input {
            let input = Affine::of(&self.program.layers[0]);
            pixels.mapv_inplace(|value| input.round(value));
            let wrong = self.float.output(&[(0, pixels.view())], self.logits)?;
            let error = squared_error(wrong.view(), maps.logits());
            self.sums[0].alone += error;
            self.sums[0].rounding += error;
        }
        let mut live: HashMap<usize, Array4<f32>> = HashMap::from([(0, pixels)]);
        for (index, unit) in fused.units.iter().enumerate().skip(1) {
            self.add_alone(index, unit, &maps)?;
            let reads = reads(unit);
            let input = self.as_read(unit, live[&unit.input].view());
            let given = |&read: &usize| match &input {
                Some(input) if read == unit.input => (fused.units[read].output, input.view()),
                _ => (fused.units[read].output, live[&read].view()),
            };
            let given: Vec<_> = reads.iter().map(given).collect();
            let mut quantized = self.model.output(&given, unit.output)?;
            let affine = Affine::of(&self.program.layers[index]);
            self.sums[index].add(&mut quantized, maps.of(index), &affine);
            let values = &mut self.values[index];
            values.get_or_insert_with(|| Bars::of(&maps.of(index))).add(&maps.of(index));
            live.insert(index, quantized);
            live.retain(|&unit, _| self.last_readers[unit] > index);
            done();
        }
        Ok(())
    }

    /// Adds the error of a unit that is quantized alone.
    fn add_alone(&mut self, index: usize, unit: &Unit, maps: &Maps<'_>) -> Result<(), EngineError> {
        if self.last_readers[index] == 0 && unit.output != self.logits {
            return Ok(());
        }
        let affine = Affine::of(&self.program.layers[index]);
        let node = |read: usize| self.fused.units[read].output;
        let input = self.as_read(unit, maps.of(unit.input));
        let given = |read: usize| match &input {
            Some(input) if read == unit.input => (node(read), input.view()),
            _ => (node(read), maps.of(read)),
        };
        let given: Vec<_> = reads(unit).into_iter().map(given).collect();
        let alone = self.model.output(&given, unit.output)?.mapv(|value| affine.round(value));
        let alone = self.error(index, unit, maps, alone.view())?;
        let rounded = match input {
            Some(_) => self.float.output(&given, unit.output)?.mapv(|value| affine.round(value)),
            None => maps.of(index).mapv(|value| affine.round(value)),
        };
        let rounding = self.error(index, unit, maps, rounded.view())?;
        self.sums[index].alone += alone;
        self.sums[index].rounding += rounding;
        Ok(())
    }

    /// The input as a unit sees it that reads only the upper bits of a stream in 16 bits.
    fn as_read(&self, unit: &Unit, input: ArrayView4<'_, f32>) -> Option<Array4<f32>> {
        let read = Affine::of(&self.program.layers[unit.input]).read();
        read.filter(|_| !self.fused.reads_both(unit)).map(|read| input.mapv(read))
    }

    /// The squared error of the logits if only this unit has this output.
    fn error(
        &self,
        index: usize,
        unit: &Unit,
        maps: &Maps<'_>,
        output: ArrayView4<'_, f32>,
    ) -> Result<f64, EngineError> {
        if unit.output == self.logits {
            return Ok(squared_error(output, maps.logits()));
        }
        let mut given = vec![(unit.output, output)];
        let others = (0..index).filter(|&other| self.last_readers[other] > index);
        given.extend(others.map(|other| (self.fused.units[other].output, maps.of(other))));
        Ok(squared_error(self.float.output(&given, self.logits)?.view(), maps.logits()))
    }

    /// The loss of each layer.
    fn losses(&self) -> Vec<LayerLoss> {
        let all: f64 = self.sums.iter().map(|sum| sum.alone).sum();
        let loss = |(index, unit): (usize, &Unit)| {
            let (sum, quantized) = (&self.sums[index], &self.program.layers[index]);
            let has_weights = !quantized.weights.is_empty();
            LayerLoss {
                name: quantized.name.clone(),
                kind: brooklet_plan::records::kind(&quantized.record),
                activation_bits: match &quantized.record {
                    record if record.is_int16() || record.is_stream16() => 16,
                    _ => 8,
                },
                reads: reads(unit),
                sqnr_db: decibels(sum.float, sum.error),
                cosine: Some(sum.product / (sum.float * sum.quantized).sqrt())
                    .filter(|c| c.is_finite()),
                saturation: ratio(sum.clipped as f64, sum.count as f64),
                range: Affine::of(quantized).range(),
                alone_db: decibels(self.signal, sum.alone),
                share: ratio(sum.alone, all),
                weights_part: (1.0 - ratio(sum.rounding, sum.alone)).clamp(0.0, 1.0),
                weight_bits: has_weights.then(|| quantized.record.packing().bits()),
                values: self.values[index].clone().unwrap_or_default(),
                weights: has_weights.then(|| {
                    let mut counts = [0; BARS];
                    for &weight in &quantized.weights {
                        counts[(i32::from(weight) + 128) as usize * BARS / 256] += 1;
                    }
                    counts
                }),
            }
        };
        self.fused.units.iter().enumerate().map(loss).collect()
    }
}

impl Sums {
    /// Rounds an output of the quantized network, and adds its error against the float network's.
    fn add(&mut self, quantized: &mut Array4<f32>, float: ArrayView4<'_, f32>, affine: &Affine) {
        for (value, &right) in quantized.iter_mut().zip(float) {
            let rounded = affine.round(*value);
            self.clipped += u64::from((rounded - *value).abs() > 0.75 * affine.scale());
            *value = rounded;
            let (right, value) = (f64::from(right), f64::from(rounded));
            self.float += right * right;
            self.quantized += value * value;
            self.product += right * value;
            self.error += (right - value).powi(2);
        }
        self.count += quantized.len() as u64;
    }
}

/// `a / b`, or 0 if `b` is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// The first layer that does not match the network, if any.
fn differs(network: &Network, fused: &Fused<'_>, program: &Program) -> Option<String> {
    let same = |(unit, layer): &(&Unit, &Layer)| {
        let [rows, columns, channels] = network.nodes[unit.output].shape;
        let shape = layer.record.shape();
        let found = [shape.rows, shape.columns, shape.channels].map(usize::from);
        network.nodes[unit.node].name == layer.name && found == [rows, columns, channels]
    };
    let mut layers = fused.units.iter().zip(&program.layers);
    match layers.find(|pair| !same(pair)) {
        Some((_, layer)) => Some(layer.name.clone()),
        None if fused.units.len() == program.layers.len() => None,
        None => program.layers.last().map(|layer| layer.name.clone()),
    }
}

/// The units that a unit reads, each once.
pub(crate) fn reads(unit: &Unit) -> Vec<usize> {
    let shortcut = unit.shortcut.map(|(shortcut, _)| shortcut);
    let shortcut = shortcut.filter(|&shortcut| shortcut != unit.input);
    [unit.input].into_iter().chain(shortcut).collect()
}

/// Signal to noise in dB; `None` if there is no noise or no signal.
fn decibels(signal: f64, noise: f64) -> Option<f64> {
    Some(10.0 * (signal / noise).log10()).filter(|db| db.is_finite())
}

/// The float network with the model's weights; `pixels` gives the reals of pixels, if the input's
/// scale does not.
pub(crate) fn dequantized(
    network: &Network,
    fused: &Fused<'_>,
    program: &Program,
    pixels: Option<&Preprocess>,
) -> Network {
    let mut network = network.clone();
    for (unit, layer) in fused.units.iter().zip(&program.layers) {
        let input = &program.layers[unit.input];
        let pixels = pixels.filter(|_| unit.input == 0);
        let op = &mut network.nodes[unit.node].op;
        match op {
            Op::Conv(conv) => {
                let input_scales = input_scales(conv.weights.dim().3, input, pixels);
                *conv = weights(layer, &input_scales).dequantize(conv, &input_scales);
            }
            Op::BatchNorm(norm) => {
                let input_scales = input_scales(norm.scale.len(), input, pixels);
                *norm = batch_norm(layer, &input_scales);
            }
            _ => {}
        }
    }
    network
}

/// The weights of a model's convolution, whose inputs have these `input_scales`.
fn weights(layer: &Layer, input_scales: &[(f64, f64)]) -> Weights {
    let (mut channels, mut biases) = (Vec::new(), Vec::new());
    for (channel, bias) in channels_of(layer) {
        let zeros = channel.weights.iter().zip(input_scales.iter().cycle());
        let offset: f64 = zeros.map(|(&weight, &(_, zero))| f64::from(weight) * zero).sum();
        biases.push((bias + offset) * channel.scale);
        channels.push(channel);
    }
    Weights { channels, bias: biases }
}

/// A model's batch norm, each of whose channels has one of these `input_scales`.
fn batch_norm(layer: &Layer, input_scales: &[(f64, f64)]) -> BatchNorm {
    let (mut scale, mut shift) = (Vec::new(), Vec::new());
    for ((channel, bias), &(input, zero)) in channels_of(layer).zip(input_scales) {
        let weight = f64::from(channel.weights[0]);
        scale.push((weight * channel.scale / input) as f32);
        shift.push(((bias + weight * zero) * channel.scale) as f32);
    }
    let channels = scale.len();
    BatchNorm { scale, shift, mean: vec![0.0; channels], var: vec![1.0; channels], eps: 0.0 }
}

/// The weights of each output channel of a layer, and its bias as a multiple of their scale.
fn channels_of(layer: &Layer) -> impl Iterator<Item = (QuantizedChannel, f64)> + '_ {
    let taps = layer.weights.len() / layer.bias.len().max(1);
    // The multipliers bring the sums to the output's scale; those of a join have more bits.
    let unit = f64::from(layer.record.scale.get()) / f64::from(1u32 << layer.record.join_bits);
    let channels = layer.weights.chunks(taps.max(1)).zip(&layer.multipliers).zip(&layer.bias);
    channels.map(move |((weights, multiplier), &bias)| {
        let mantissa = f64::from(multiplier.mantissa.to_bits()) / f64::from(1u32 << 31);
        let scale = mantissa * f64::from(multiplier.shift).exp2() * unit;
        (QuantizedChannel { scale, weights: weights.to_vec() }, bias.into())
    })
}

impl Default for Bars {
    fn default() -> Self {
        Self { extremes: Range::default(), counts: [0; BARS] }
    }
}

impl Bars {
    /// An empty histogram, for values in the range of these and a little beyond.
    fn of(values: &ArrayView4<'_, f32>) -> Self {
        let (min, max) =
            values.iter().fold((0f32, 0f32), |(min, max), &v| (min.min(v), max.max(v)));
        Self { extremes: Range { min: 1.1 * min, max: 1.1 * max }, counts: [0; BARS] }
    }

    fn add(&mut self, values: &ArrayView4<'_, f32>) {
        let Range { min, max } = self.extremes;
        let bars = BARS as f32 / (max - min).max(f32::MIN_POSITIVE);
        // Zeros are exact, and would dwarf the other bars.
        for value in values.iter().filter(|value| **value != 0.0) {
            self.counts[(((value - min) * bars) as usize).min(BARS - 1)] += 1;
        }
    }
}
