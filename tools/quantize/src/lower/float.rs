//! Lowers a float network with its activation ranges to a [`Program`].
//!
//! - Weights: symmetric int8, or fewer bits where [asked for](crate::precision::bits), with one
//!   scale per output channel that has the least squared error.
//! - Activations: int8 with one scale and zero point per tensor; or symmetric int16, where
//!   [asked for](crate::precision::int16). Layers that read or write int16 have int8 weights.
//! - The residual stream: int8, or [16 bits](brooklet::ops::stream16) of which convolutions read
//!   eight.
//! - The image: pixel − 128, which is exact. Mean and standard deviation fold into the
//!   convolutions that read it; their padding then has a value per channel.
//! - Residual blocks: the last convolution and the addition become one layer with one rounding,
//!   the [join](brooklet::ops::conv).

use brooklet::format::{Operator, Packing, flags};
use brooklet::quant::Multiplier;
use brooklet_plan::Preprocess;
use brooklet_plan::records::{set_add, set_border, set_softmax};
use zerocopy::little_endian::F32;

use super::elements::{set_average, set_concat, set_functions, set_product, table};
use super::weighted::{set_batch_norm, set_conv, set_wide_join};
use super::{operator_of_conv, set_groups, set_shortcut, set_window, shape};
use crate::error::Unrepresentable;
use crate::fuse::{Fused, Unit};
use crate::network::{Node, Op, Repeats};
use crate::program::{Layer, Program};
use crate::ranges::Ranges;
use crate::weights::{Affine, Learned, Weights, input_scales};

/// Factors by which the range of a stream in 16 bits may be widened, so that the terms that are
/// added fit.
const WIDENINGS: [f32; 4] = [1.0, 2.0, 4.0, 8.0];

impl Fused<'_> {
    /// Quantizes with these ranges and learned weights; other weights are rounded to the nearest.
    ///
    /// # Errors
    ///
    /// [`Unrepresentable`], with the layer whose range is missing, or too large or small.
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
        let unit_of = |node| self.units.iter().position(|unit| unit.output == node);
        let logits = unit_of(logits).unwrap_or(0);
        for output in self.network.outputs.iter().skip(1) {
            if let Some(layer) = unit_of(output.node).and_then(|unit| layers.get_mut(unit)) {
                layer.record.flags |= flags::OUTPUT;
            }
        }
        if self.network.sigmoid() {
            layers[logits].record.flags |= flags::SIGMOID;
        }
        Ok(Program { layers, logits, ..Program::default() })
    }

    /// The layer of a unit, after `layers`.
    pub(crate) fn layer(
        &self,
        unit: &Unit,
        layers: &[Layer],
        ranges: &Ranges,
        preprocess: &Preprocess,
        learned: &Learned,
    ) -> Result<Layer, Unrepresentable> {
        let layer = |widened| self.widened(unit, layers, ranges, widened, preprocess, learned);
        let widenings: &[f32] = if self.is_stream16(unit) { &WIDENINGS } else { &[1.0] };
        let (first, rest) = (layer(widenings[0]), &widenings[1..]);
        rest.iter()
            .fold(first, |made, &widened| made.or_else(|error| layer(widened).or(Err(error))))
    }

    /// The same, with its range widened by this factor.
    fn widened(
        &self,
        unit: &Unit,
        layers: &[Layer],
        ranges: &Ranges,
        widened: f32,
        preprocess: &Preprocess,
        learned: &Learned,
    ) -> Result<Layer, Unrepresentable> {
        let node = &self.network.nodes[unit.node];
        let output = &self.network.nodes[unit.output];
        let operator = self.operator(node)?;
        let mut layer = Layer::new(&node.name, operator, unit.input, shape(output.shape));
        let input = layers.get(unit.input);
        let wide = |of: usize| layers.get(of).is_some_and(|layer| layer.record.is_int16());
        let int16 = self.is_int16(unit);
        if int16 {
            layer.record.flags |= flags::INT16;
        }
        if self.is_stream16(unit) {
            layer.record.flags |= flags::STREAM16;
        }
        if int16 || wide(unit.input) || unit.shortcut.is_some_and(|(of, _)| wide(of)) {
            layer.record.flags |= flags::HAS_INT16;
        }
        let (scale, zero_point) = match (operator, input) {
            (Operator::Input, _) | (_, None) => (1.0, -128),
            (Operator::MaxPool | Operator::WindowAverage | Operator::Border, Some(input)) => {
                (input.record.scale.get(), input.record.zero_point)
            }
            (Operator::Softmax, _) => (1.0 / 256.0, -128),
            _ if self.is_fine(unit) && !int16 => {
                // The scale is such that the 2¹⁵ steps of int16 are 2⁷ steps of int8.
                let (scale, _) =
                    quantization(output, ranges, widened, self.told_apart(unit), true)?;
                (256.0 * scale * 32767.0 / 32639.0, 0)
            }
            _ => quantization(output, ranges, widened, self.told_apart(unit), int16)?,
        };
        layer.record.scale = F32::new(scale);
        layer.record.zero_point = zero_point;
        if unit.output != unit.node {
            set_clamp(&mut layer, &output.op);
        }
        if let Some((shortcut, subsample)) = unit.shortcut {
            set_shortcut(&mut layer, shortcut, subsample)?;
        }
        if let Some(input) = input {
            self.set_numbers(&mut layer, unit, input, layers, preprocess, learned)?;
        }
        Ok(layer)
    }

    /// Sets the numbers that the operator computes with.
    fn set_numbers(
        &self,
        layer: &mut Layer,
        unit: &Unit,
        input: &Layer,
        layers: &[Layer],
        preprocess: &Preprocess,
        learned: &Learned,
    ) -> Result<(), Unrepresentable> {
        let node = &self.network.nodes[unit.node];
        let pixels = (unit.input == 0).then_some(preprocess);
        let shortcut = unit.shortcut.map(|(shortcut, _)| &layers[shortcut]);
        match &node.op {
            Op::Conv(conv) => {
                if conv.groups > 1 && pixels.is_some() {
                    let what = "is a convolution of the image in groups: begin with one group";
                    return Err(Unrepresentable::new(&node.name, what));
                }
                set_groups(layer, conv.groups);
                let nearest;
                let weights = match learned.get(&unit.node) {
                    Some(learned) => learned,
                    None => {
                        let again = self.weights_used_again(unit, conv, layers, learned);
                        nearest = again.unwrap_or_else(|| {
                            let input_scales = input_scales(conv.weights.dim().3, input, pixels);
                            Weights::nearest(conv, &input_scales, self.bits(unit.node))
                        });
                        &nearest
                    }
                };
                if let Some(packing) = Packing::Ohwi.in_bits(self.bits(unit.node).count()) {
                    layer.record.packing = packing as u8;
                }
                set_conv(layer, conv, input, pixels, shortcut, weights)
            }
            Op::Add => set_sum(layer, input, shortcut.unwrap_or(&layers[0])),
            Op::BatchNorm(norm) => set_batch_norm(layer, norm, input, pixels),
            Op::MaxPool(window) => set_window(layer, window),
            Op::GlobalAveragePool => set_mean(layer, input),
            Op::AveragePool(pool) => set_average(layer, pool),
            Op::Border(border) => {
                // Larger pads have been refused.
                let pads = border.pads.map(|pad| pad as u8);
                set_border(layer, pads, border.repeats == Repeats::Mirrored);
                Ok(())
            }
            Op::Function(_) | Op::Relu | Op::Relu6 => {
                let function = |real| match &node.op {
                    Op::Function(function) => function.value(real),
                    Op::Relu6 => real.clamp(0.0, 6.0),
                    _ => real.max(0.0),
                };
                set_functions(layer, &[table(input, layer, function)])
            }
            Op::PRelu(slopes) => {
                let slope =
                    |real: f64, slope: f32| real.max(0.0) + real.min(0.0) * f64::from(slope);
                let tables: Vec<_> =
                    slopes.iter().map(|&of| table(input, layer, |real| slope(real, of))).collect();
                set_functions(layer, &tables)
            }
            Op::Multiply | Op::Concat => {
                let (of, shortcut) =
                    unit.shortcut.map_or((0, &layers[0]), |(of, _)| (of, &layers[of]));
                match node.op {
                    Op::Concat => set_concat(layer, input, of, shortcut),
                    _ => set_product(layer, input, of, shortcut),
                }
            }
            Op::Softmax => set_softmax(layer, input.record.scale.get()).ok_or_else(|| {
                let what = "its input's range is too large";
                Unrepresentable::of_range(&node.name, what, preprocess)
            }),
            _ => Ok(()),
        }
    }

    /// The range of a unit's output in which its readers tell values apart: a sigmoid is flat far
    /// from zero.
    fn told_apart(&self, unit: &Unit) -> [f32; 2] {
        const ANY: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
        let is_output = self.network.outputs.iter().any(|output| output.node == unit.output);
        let readers = self.network.nodes.iter().filter(|node| node.inputs.contains(&unit.output));
        let within = readers.map(|reader| match reader.op {
            Op::Function(function) => function.changes_within(),
            _ => ANY,
        });
        let both = |[a, b]: [f32; 2], [c, d]: [f32; 2]| [a.min(c), b.max(d)];
        within.reduce(both).filter(|_| !is_output).unwrap_or(ANY)
    }

    /// The core's operator for a node that begins a unit.
    fn operator(&self, node: &Node) -> Result<Operator, Unrepresentable> {
        Ok(match &node.op {
            Op::Input => Operator::Input,
            Op::Conv(conv) => {
                operator_of_conv(conv.groups, self.network.nodes[node.inputs[0]].shape[2])
            }
            Op::Function(_) | Op::PRelu(_) | Op::Relu | Op::Relu6 => Operator::Lookup,
            Op::Multiply => Operator::Multiply,
            Op::Concat => Operator::Concat,
            Op::AveragePool(_) => Operator::WindowAverage,
            Op::Border(_) => Operator::Border,
            Op::Add => Operator::Add,
            Op::MaxPool(_) => Operator::MaxPool,
            Op::GlobalAveragePool => Operator::AveragePool,
            Op::Softmax => Operator::Softmax,
            Op::BatchNorm(_) => Operator::BatchNorm,
            _ => {
                return Err(Unrepresentable::new(&node.name, "has no layer of its own"));
            }
        })
    }
}

/// Scale and zero point of an output, from its range.
fn quantization(
    output: &Node,
    ranges: &Ranges,
    widened: f32,
    [least, most]: [f32; 2],
    int16: bool,
) -> Result<(f32, i8), Unrepresentable> {
    let mut range = *ranges
        .ranges
        .get(&output.name)
        .ok_or_else(|| Unrepresentable::new(&output.name, "the ranges file has no range for it"))?;
    range.min *= widened;
    range.max *= widened;
    range.min = range.min.max(least.min(0.0));
    range.max = range.max.min(most.max(0.0));
    if int16 && matches!(output.op, Op::Relu6) {
        // The range ends where the activation clips.
        range.max = range.max.min(6.0);
    }
    let Affine { scale, zero_point, .. } = Affine::new(range, int16)
        .ok_or_else(|| Unrepresentable::new(&output.name, "its range is impossible"))?;
    Ok((scale, zero_point))
}

/// Sets the bounds to which an activation clips the output.
fn set_clamp(layer: &mut Layer, activation: &Op) {
    let (scale, zero_point) = (layer.record.scale.get(), layer.record.zero_point);
    let quantized = |real: f32| {
        (f64::from(real / scale).round() + f64::from(zero_point)).clamp(-128.0, 127.0) as i8
    };
    let Some([min, max]) = activation.bounds() else { return };
    if min > f32::MIN {
        layer.record.clamp_min = quantized(min);
    }
    if max < f32::MAX {
        layer.record.clamp_max = quantized(max);
    }
}

/// Sets the multipliers of an addition, and its table for int8.
fn set_sum(layer: &mut Layer, input: &Layer, shortcut: &Layer) -> Result<(), Unrepresentable> {
    let name = layer.name.clone();
    let apart = || Unrepresentable::new(&name, "its scales are out of proportion");
    if layer.record.has_int16() {
        let scale = layer.record.scale.get();
        let ratio = |operand: &Layer| operand.record.scale.get() / scale;
        let reals = [ratio(input).into()];
        let bits = set_wide_join(layer, ratio(shortcut).into(), &reals)?;
        let input = f64::from(ratio(input)) * f64::from(1u32 << bits);
        let multiplier = Multiplier::from_real(input).filter(|m| m.is_valid_int16());
        layer.record.set_multiplier(1, multiplier.ok_or_else(apart)?);
        return Ok(());
    }
    let operands = [input, shortcut]
        .map(|layer| (layer.record.scale.get(), i32::from(layer.record.zero_point)));
    set_add(layer, operands).ok_or_else(apart)
}

/// Sets the multiplier of a mean over the whole map.
fn set_mean(layer: &mut Layer, input: &Layer) -> Result<(), Unrepresentable> {
    let shape = input.record.shape();
    let pixels = f64::from(shape.rows) * f64::from(shape.columns);
    let output_scale = f64::from(layer.record.scale.get());
    let numbers = if input.record.is_stream16() { 256.0 } else { 1.0 };
    let real = f64::from(input.record.scale.get()) / numbers / (pixels * output_scale);
    let multiplier = Multiplier::from_real(real)
        .ok_or_else(|| Unrepresentable::new(&layer.name, "its range is too small"))?;
    layer.record.set_multiplier(0, multiplier);
    Ok(())
}
