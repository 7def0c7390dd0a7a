//! Functions of one value in TFLite's arithmetic, as tables; and TFLite's subtraction.
//!
//! Sources: the kernels of TensorFlow Lite for Microcontrollers and of TFLite's reference, and
//! gemmlowp's `fixedpoint.h`. Where these divide scales in f32, these functions do, too: it decides
//! the last bit of a multiplier.

use brooklet::ops::add::LEFT_SHIFT;
use brooklet::ops::softmax::{exp_of_negative, one_minus_over_one_plus, one_over_one_plus};
use brooklet::quant::{Clamp, Multiplier, requantize, rounding_shift_right};

use super::elements::nearest;
use crate::network::{QuantizedConstant, QuantizedNode, TfliteFunction};
use crate::program::{Layer, Table};

/// Number of integer bits with which `LOGISTIC` and `TANH` compute.
const INTEGER_BITS: u32 = 4;

/// The tables of a function from `input` to `output`: one for all channels, or one per channel.
///
/// `None` if the scales are out of proportion.
pub(super) fn tables(
    function: &TfliteFunction,
    input: &QuantizedNode,
    output: &QuantizedNode,
    clamp: Clamp,
) -> Option<Vec<[i8; 256]>> {
    let channels = function.constant().map_or(1, |constant| constant.values.len());
    let map = Map { input, output, clamp };
    (0..channels).map(|channel| map.table(function, channel)).collect()
}

/// The input map of a function, and its output map.
struct Map<'a> {
    input: &'a QuantizedNode,
    output: &'a QuantizedNode,
    clamp: Clamp,
}

impl Map<'_> {
    fn table(&self, function: &TfliteFunction, channel: usize) -> Option<[i8; 256]> {
        let (from, to) = (self.input.scale, self.output.scale);
        match function {
            TfliteFunction::Logistic => self.sigmoid([-128, 127], |x| {
                // The value for a negative number is 1 minus that for its magnitude.
                let positive = one_over_one_plus(exp_of_negative::<INTEGER_BITS>(-x.abs()));
                let value = match x.signum() {
                    1 => positive,
                    0 => 1 << 30,
                    _ => i32::MAX - positive,
                };
                rounding_shift_right(value, 31 - 8) - 128
            }),
            TfliteFunction::Tanh => self.sigmoid([-128, 127], |x| {
                // exp(2x) has the same bits, with one more integer bit.
                let positive =
                    one_minus_over_one_plus(exp_of_negative::<{ INTEGER_BITS + 1 }>(-x.abs()));
                rounding_shift_right(x.signum() * positive, 31 - 7)
            }),
            TfliteFunction::HardSwish => self.hard_swish(),
            TfliteFunction::LeakyRelu { slope } => {
                let own = Multiplier::from_real((from / to).into())?;
                let real = f64::from(from * slope / to);
                let slope = Multiplier::from_real(real.abs())?;
                let sign = if real < 0.0 { -1 } else { 1 };
                Some(self.of(|x| match x >= 0 {
                    true => requantize(x, own),
                    false => sign * requantize(x, slope),
                }))
            }
            TfliteFunction::PRelu(slopes) => {
                let own = Multiplier::from_real(f64::from(from) / f64::from(to))?;
                let product = self.product(slopes)?;
                let slope = slopes.centred(channel);
                Some(self.of(|x| match x >= 0 {
                    true => requantize(x, own),
                    false => requantize(x * slope, product),
                }))
            }
            TfliteFunction::Relu => {
                let multiplier = Multiplier::from_real((from / to).into())?;
                Some(self.of(|x| requantize(x, multiplier).max(0)))
            }
            TfliteFunction::Relu6 => {
                let zero = self.input.zero_point;
                let six = zero.saturating_add((6.0 / from).round() as i32).min(127);
                Some(std::array::from_fn(|index| (index as i32 - 128).clamp(zero, six) as i8))
            }
            TfliteFunction::Quantize => {
                let multiplier = Multiplier::from_real(f64::from(from) / f64::from(to))?;
                Some(self.of(|x| requantize(x, multiplier)))
            }
            TfliteFunction::Multiply(constant) => {
                let (product, factor) = (self.product(constant)?, constant.centred(channel));
                Some(self.of(|x| requantize(x * factor, product)))
            }
            TfliteFunction::Add(constant) => {
                let scales = SumScales::of_add([from, constant.scale], to)?;
                let term = scales.term(1, constant.centred(channel));
                Some(self.of(|x| requantize(scales.term(0, x) + term, scales.output)))
            }
            TfliteFunction::Subtract(constant) => {
                let scales = SumScales::of_subtract([from, constant.scale], to)?;
                let term = scales.term(1, constant.centred(channel));
                Some(self.of(|x| requantize(scales.term(0, x) - term, scales.output)))
            }
            TfliteFunction::SubtractFrom(constant) => {
                let scales = SumScales::of_subtract([constant.scale, from], to)?;
                let term = scales.term(0, constant.centred(channel));
                Some(self.of(|x| requantize(term - scales.term(1, x), scales.output)))
            }
        }
    }

    /// The outputs of a function from input − zero point to output − zero point.
    fn of(&self, function: impl Fn(i32) -> i32) -> [i8; 256] {
        std::array::from_fn(|index| {
            let value = function(index as i32 - 128 - self.input.zero_point);
            self.clamp.apply(value + self.output.zero_point)
        })
    }

    /// The multiplier of a product with a constant.
    fn product(&self, constant: &QuantizedConstant) -> Option<Multiplier> {
        let [a, b] = [self.input.scale, constant.scale].map(f64::from);
        Multiplier::from_real(a * b / f64::from(self.output.scale))
    }

    /// The outputs of a function of Q4.27, which takes the values `ends` beyond the range of Q4.27.
    fn sigmoid(&self, ends: [i8; 2], function: impl Fn(i32) -> i32) -> Option<[i8; 256]> {
        let unit = f64::from(1u32 << (31 - INTEGER_BITS));
        let multiplier = Multiplier::from_real(f64::from(self.input.scale) * unit)?;
        // This is gemmlowp's `CalculateInputRadius`.
        let largest = ((1i64 << INTEGER_BITS) - 1) << (31 - INTEGER_BITS);
        let shift = i32::from(multiplier.shift);
        let radius = if shift >= 0 { largest >> shift } else { largest << -shift };
        Some(std::array::from_fn(|index| {
            let x = index as i32 - 128 - self.input.zero_point;
            if i64::from(x) <= -radius {
                ends[0]
            } else if i64::from(x) >= radius {
                ends[1]
            } else {
                function(requantize(x, multiplier)).clamp(-128, 127) as i8
            }
        }))
    }

    /// x · relu6(x + 3) / 6 in 16 bits. If the output's scale is too small for TFLM, which refuses
    /// it, the nearest bytes.
    fn hard_swish(&self) -> Option<[i8; 256]> {
        let function = |real: f64| crate::network::Function::HardSwish.value(real);
        let fine = self.input.scale * (1.0 / 128.0);
        let output = Multiplier::from_real((fine / self.output.scale).into())?;
        let reluish = Multiplier::from_real((fine / (3.0 / 32768.0)).into())?;
        if output.shift > 0 {
            let [from, to] = [self.input, self.output].map(|node| (node.scale, node.zero_point));
            return Some(nearest(from, to, function));
        }
        let [output_mantissa, reluish_mantissa] = [output, reluish].map(short);
        Some(self.of(|x| {
            let x = saturated(x << 7);
            let scaled = high_mul(x, output_mantissa);
            let left = i32::from(reluish.shift);
            let mut gate = if left > 0 { shift_left(x, left - 1) } else { x };
            gate = high_mul(gate, reluish_mantissa);
            gate = match left {
                1.. => shift_left(gate, 1),
                0 => gate,
                _ => rounding_shift_right(gate, -left as u32),
            };
            // Maps −1…1 to 0…1.
            let gate = (gate + (1 << 15)) >> 1;
            // Rounds towards zero: rounding up would make small negative values positive.
            rounding_shift_right(gate * scaled / (1 << 15), -i32::from(output.shift) as u32)
        }))
    }
}

/// The multipliers of a sum or a difference.
struct SumScales {
    inputs: [Multiplier; 2],
    output: Multiplier,
}

impl SumScales {
    /// The scales of `ADD`, which divides in double precision.
    fn of_add(inputs: [f32; 2], output: f32) -> Option<Self> {
        let twice_larger = 2.0 * f64::from(inputs[0].max(inputs[1]));
        let [a, b] = inputs.map(|scale| Multiplier::from_real(f64::from(scale) / twice_larger));
        let unit = f64::from(1u32 << LEFT_SHIFT);
        let output = Multiplier::from_real(twice_larger / (unit * f64::from(output)))?;
        Some(Self { inputs: [a?, b?], output })
    }

    /// The scales of `SUB`, which divides in single precision.
    fn of_subtract(inputs: [f32; 2], output: f32) -> Option<Self> {
        let twice_larger = 2.0 * inputs[0].max(inputs[1]);
        let [a, b] = inputs.map(|scale| Multiplier::from_real((scale / twice_larger).into()));
        let unit = (1u32 << LEFT_SHIFT) as f32;
        let output = Multiplier::from_real((twice_larger / (unit * output)).into())?;
        Some(Self { inputs: [a?, b?], output })
    }

    /// The term of an operand, from its value − its zero point.
    fn term(&self, operand: usize, value: i32) -> i32 {
        requantize(value << LEFT_SHIFT, self.inputs[operand])
    }
}

/// Sets table and multiplier of a difference of two operands, each given by scale and zero point: a
/// sum in which the second's terms are negated.
///
/// `None` if the scales are out of proportion.
pub(super) fn set_subtract(layer: &mut Layer, operands: [(f32, i32); 2]) -> Option<()> {
    let scales =
        SumScales::of_subtract(operands.map(|(scale, _)| scale), layer.record.scale.get())?;
    let terms = |operand: usize, sign: i32| {
        let (scales, zero_point) = (&scales, operands[operand].1);
        (-128..128).map(move |q| sign * scales.term(operand, q - zero_point))
    };
    layer.table = Some(Table::Terms(terms(0, 1).chain(terms(1, -1)).collect()));
    layer.record.set_multiplier(0, scales.output);
    Some(())
}

/// A multiplier's mantissa, reduced to 16 bits.
fn short(multiplier: Multiplier) -> i32 {
    let mantissa = i64::from(multiplier.mantissa.to_bits());
    i32::from(i16::try_from((mantissa + (1 << 15)) >> 16).unwrap_or(i16::MAX))
}

fn saturated(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

fn shift_left(value: i32, bits: i32) -> i32 {
    saturated(value.saturating_mul(1 << bits.min(15)))
}

/// gemmlowp's `SaturatingRoundingDoublingHighMul` for 16 bits.
fn high_mul(a: i32, b: i32) -> i32 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    saturated((product + nudge) / (1 << 15))
}
