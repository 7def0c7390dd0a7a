//! Softmax over the channels of each pixel, in fixed point.
//!
//! ```text
//! difference = (input[c] − max of input) · scale of input        in Q5.26, by multiplier 0
//! output[c] = exp(difference) / Σ exp(difference) · 256 − 128
//! ```
//!
//! Source: TFLite's int8 `SOFTMAX`, and gemmlowp's `fixedpoint.h` for `exp_on_negative_values` and
//! `one_over_one_plus_x_for_x_in_0_1`. Qm.n stands for an int32 with m integer bits and n
//! fractional bits.

use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::quant::{self, Multiplier, Quantization, requantize, rounding_shift_right};

/// The quantization of a softmax's output.
pub const PROBABILITY: Quantization = Quantization { scale: 1.0 / 256.0, zero_point: -128 };

/// A softmax, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Softmax {
    /// Multiplier from differences of the input to Q5.26.
    pub multiplier: Multiplier,
    /// Inputs whose difference is below this have no weight.
    pub diff_min: i32,
}

impl Softmax {
    pub(crate) fn new(layer: &LayerRecord) -> Self {
        Self { multiplier: layer.multiplier(0), diff_min: layer.parameter.get() }
    }

    /// Number of integer bits of a difference.
    pub const DIFFERENCE_BITS: u32 = 5;

    /// The smallest difference that stays in Q5.26 with a multiplier of this shift (gemmlowp's
    /// `CalculateInputRadius`, negated).
    pub fn smallest_difference(multiplier: Multiplier) -> i32 {
        let largest = ((1i64 << Self::DIFFERENCE_BITS) - 1) << (31 - Self::DIFFERENCE_BITS);
        -((largest >> multiplier.shift.clamp(0, 31)) as i32)
    }

    /// Softmax of one pixel; both slices have one value for each channel.
    pub fn run(&self, input: &[i8], output: &mut [i8]) {
        self.run_on(input.iter().map(|&q| i32::from(q)), output);
    }

    /// Softmax of one pixel, for int8 or int16.
    #[inline]
    pub fn run_on(&self, input: impl Iterator<Item = i32> + Clone, output: &mut [i8]) {
        let max = input.clone().max().unwrap_or(0);
        let exponentials = input.map(|q| self.exponential(q - max));
        // Q12.19 has room for 4095 exponentials.
        let sum: i32 = exponentials
            .clone()
            .flatten()
            .fold(0, |sum, e| sum.saturating_add(rounding_shift_right(e, 12)));
        let (reciprocal, bits_over_unit) = reciprocal(sum);
        for (out, exponential) in output.iter_mut().zip(exponentials) {
            *out = match exponential {
                Some(e) => {
                    let shift = (bits_over_unit + 31 - 8).clamp(0, 31) as u32;
                    let value = rounding_shift_right(high_mul(reciprocal, e), shift);
                    (value - 128).clamp(-128, 127) as i8
                }
                None => -128,
            };
        }
    }

    /// The exponential of a difference to the largest input, as Q0.31; `None` if it has no weight.
    #[inline(never)]
    fn exponential(&self, difference: i32) -> Option<i32> {
        (difference >= self.diff_min)
            .then(|| exp_of_negative::<5>(requantize(difference, self.multiplier)))
    }
}

/// [`quant::high_mul`], not inlined, because a softmax runs once for each pixel of a network's last
/// layer.
#[inline(never)]
fn high_mul(a: i32, b: i32) -> i32 {
    quant::high_mul(a, b)
}

/// 1 / `sum` for a `sum` in Q12.19 of at least one: a Q0.31 and the remaining power of two.
fn reciprocal(sum: i32) -> (i32, i32) {
    let headroom = sum.leading_zeros();
    let fraction = ((sum as u32).wrapping_shl(headroom)).wrapping_sub(1 << 31) as i32;
    (one_over_one_plus(fraction), 12 - headroom as i32)
}

/// exp(`a`) as Q0.31, for `a` ≤ 0 with `INTEGER_BITS` integer bits, up to 5: gemmlowp's
/// `exp_on_negative_values`.
pub fn exp_of_negative<const INTEGER_BITS: u32>(a: i32) -> i32 {
    const { assert!(INTEGER_BITS <= 5) };
    let quarter: i32 = 1 << (29 - INTEGER_BITS);
    // exp(−2^k) as Q0.31, for k = −2 … 4.
    const FACTORS: [i32; 7] = [1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242];
    if a == 0 {
        return i32::MAX;
    }
    // a = (a value in [−¼, 0)) − (a multiple of ¼), the latter bit by bit.
    let in_quarter = (a & (quarter - 1)) - quarter;
    let remainder = in_quarter.wrapping_sub(a);
    let mut result = exp_in_last_quarter(in_quarter << INTEGER_BITS);
    for (k, factor) in FACTORS.into_iter().enumerate() {
        if remainder & (quarter << k) != 0 {
            result = high_mul(result, factor);
        }
    }
    result
}

/// exp(`a`) as Q0.31, for `a` in [−¼, 0) in Q0.31: the series around −⅛.
fn exp_in_last_quarter(a: i32) -> i32 {
    const EXP_MINUS_EIGHTH: i32 = 1895147668;
    const THIRD: i32 = 715827883;
    let x = a + (1 << 28);
    let x2 = high_mul(x, x);
    let x3 = high_mul(x2, x);
    let x4_over_4 = rounding_shift_right(high_mul(x2, x2), 2);
    let higher = rounding_shift_right(high_mul(x4_over_4 + x3, THIRD) + x2, 1);
    EXP_MINUS_EIGHTH.saturating_add(high_mul(EXP_MINUS_EIGHTH, x + higher))
}

/// 1 / (1 + `a`) as Q0.31, for `a` in [0, 1) as Q0.31: gemmlowp's
/// `one_over_one_plus_x_for_x_in_0_1`.
pub fn one_over_one_plus(a: i32) -> i32 {
    two_over_one_plus(a).saturating_mul(2)
}

/// (1 − `a`) / (1 + `a`) as Q0.31, for `a` in [0, 1) as Q0.31: gemmlowp's
/// `one_minus_x_over_one_plus_x_for_x_in_0_1`.
pub fn one_minus_over_one_plus(a: i32) -> i32 {
    two_over_one_plus(a).wrapping_sub(1 << 29).saturating_mul(4)
}

/// 2 / (1 + `a`) as Q2.29, for `a` in [0, 1) as Q0.31: three steps of Newton's method.
#[inline]
fn two_over_one_plus(a: i32) -> i32 {
    const C48_OVER_17: i32 = 1515870810;
    const MINUS_32_OVER_17: i32 = -1010580540;
    const ONE: i32 = 1 << 29;
    // (a + 1) / 2, rounded half away from zero; both terms are positive.
    let half_denominator = ((i64::from(a) + i64::from(i32::MAX) + 1) >> 1) as i32;
    // Q2.29
    let mut x = C48_OVER_17.wrapping_add(high_mul(half_denominator, MINUS_32_OVER_17));
    for _ in 0..3 {
        let error = ONE - high_mul(half_denominator, x);
        x = x.wrapping_add(high_mul(x, error).saturating_mul(4));
    }
    x
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let input = model.input_of(layer);
    if input.shape() != layer.shape() || layer.channels.get() > 4095 {
        return Err(Fault::Shape);
    }
    let softmax = Softmax::new(layer);
    let m = softmax.multiplier;
    let steps = if input.is_int16() { 0xffff } else { 0xff };
    // A difference may reach -diff_min before it is scaled, but no more.
    let valid = softmax.diff_min <= 0
        && softmax.diff_min >= Softmax::smallest_difference(m)
        && m.is_valid()
        && m.shift >= 0
        && m.takes(softmax.diff_min.unsigned_abs().min(steps));
    if valid { Ok(()) } else { Err(Fault::Quantization) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_near_the_real_one() {
        for tenths in 0..300 {
            let real = -f64::from(tenths) / 10.0;
            let e = f64::from(exp_of_negative::<5>((real * f64::from(1 << 26)) as i32));
            let want = libm_exp(real) * 2f64.powi(31);
            assert!((e - want).abs() < 100.0 + want * 1e-6, "{real}: {e} {want}");
        }
    }

    #[test]
    fn equal_logits_share_equally() {
        let multiplier = Multiplier::from_real(0.17 * f64::from(1 << 26)).unwrap();
        let softmax = Softmax { multiplier, diff_min: Softmax::smallest_difference(multiplier) };
        let mut output = [0; 4];
        softmax.run(&[5; 4], &mut output);
        assert_eq!(output, [-64; 4]);
        softmax.run(&[-128, 127, -128, -128], &mut output);
        assert_eq!(output, [-128, 127, -128, -128]);
    }

    fn libm_exp(x: f64) -> f64 {
        extern crate std;
        x.exp()
    }
}
