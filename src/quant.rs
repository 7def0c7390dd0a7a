//! The arithmetic between integers and the real numbers that they stand for.
//!
//! ```text
//! real = scale · (q − zero_point)          q: int8, one scale and zero point a tensor
//! real = scale · q                         q: int16
//! ```
//!
//! Source: the TensorFlow Lite 8-bit quantization specification, with 16x8 for int16, and
//! gemmlowp's `fixedpoint.h` for the roundings; [`requantize_int16`] is our own. All of it is exact
//! and the same on every machine.

use crate::proved::proved;
use fixed::types::I1F31;

/// Scale and zero point of a tensor: `real = scale · (q − zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Quantization {
    /// Difference of the reals of two consecutive integers; positive and finite.
    pub scale: f32,
    /// The integer that stands for zero, in -128…127.
    pub zero_point: i8,
}

impl Quantization {
    /// The real number that `q` stands for; `q` is int8 or int16.
    ///
    /// ```
    /// let quantization = brooklet::quant::Quantization { scale: 0.5, zero_point: -128 };
    /// assert_eq!(quantization.dequantize(-126_i8), 1.0);
    /// ```
    pub fn dequantize(self, q: impl Into<i32>) -> f32 {
        self.scale * (q.into() - i32::from(self.zero_point)) as f32
    }
}

/// A positive real factor, `mantissa · 2^shift`, with the mantissa in [½, 1), or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Multiplier {
    /// Q31 mantissa.
    pub mantissa: I1F31,
    /// Exponent of two; a positive shift goes to the left, before the product.
    pub shift: i8,
}

impl Multiplier {
    /// Largest shift to the left.
    pub const MAX_SHIFT: i8 = 30;
    /// Largest shift to the right.
    pub const MIN_SHIFT: i8 = -31;
    /// Largest shift to the left of 64-bit sums.
    pub const MAX_INT16_SHIFT: i8 = 15;

    /// The multiplier nearest to `real`, as TFLite's `QuantizeMultiplier` finds it: a 31-bit
    /// mantissa, with halves rounded away from zero. Below 2⁻³² it is zero. A `real` that is
    /// negative, not finite, or at least 2³⁰ gives `None`.
    ///
    /// ```
    /// use brooklet::quant::Multiplier;
    ///
    /// let half = Multiplier::from_real(0.5).unwrap();
    /// assert_eq!((half.mantissa.to_num::<f64>(), half.shift), (0.5, 0));
    /// assert_eq!(Multiplier::from_real(-1.0), None);
    /// ```
    pub fn from_real(real: f64) -> Option<Self> {
        if !(0.0..1_073_741_824.0).contains(&real) {
            return None;
        }
        // A double is 1.fraction · 2^(exponent − 1023); with a mantissa in [½, 1) the exponent is
        // one more.
        let bits = real.to_bits();
        let exponent = (bits >> 52) as i32 - 1022;
        if exponent < i32::from(Self::MIN_SHIFT) {
            return Some(Self { mantissa: I1F31::ZERO, shift: 0 });
        }
        let significand = (bits & ((1 << 52) - 1)) | (1 << 52);
        // From 53 bits to 31: 22 are dropped, with halves rounded up.
        let mantissa = (significand + (1 << 21)) >> 22;
        let (mantissa, shift) =
            if mantissa == 1 << 31 { (1 << 30, exponent + 1) } else { (mantissa, exponent) };
        (shift <= i32::from(Self::MAX_SHIFT))
            .then(|| Self { mantissa: I1F31::from_bits(mantissa as i32), shift: shift as i8 })
    }

    /// Whether mantissa and shift are in range.
    pub fn is_valid(self) -> bool {
        let bits = self.mantissa.to_bits();
        (bits == 0 || bits >= 1 << 30) && (Self::MIN_SHIFT..=Self::MAX_SHIFT).contains(&self.shift)
    }

    /// Whether [`requantize_int16`] can use it.
    pub fn is_valid_int16(self) -> bool {
        self.is_valid() && self.shift <= Self::MAX_INT16_SHIFT
    }

    /// Whether every value of at most `bound` in magnitude can be requantized within 32 bits.
    pub fn takes(self, bound: u32) -> bool {
        self.is_valid() && self.takes_of_any_mantissa(bound)
    }

    /// Whether [`requantize`] can use it for every value of at most `bound` in magnitude. The
    /// mantissa may be less than ½.
    pub(crate) fn takes_of_any_mantissa(self, bound: u32) -> bool {
        (Self::MIN_SHIFT..=Self::MAX_SHIFT).contains(&self.shift)
            && self.mantissa.to_bits() >= 0
            && bound <= (i32::MAX as u32) >> self.shift.max(0)
    }

    /// Whether every sum of at most `bound` in magnitude can be requantized, and `offset` added,
    /// within 32 bits. Kernels may take the high word of twice the sum.
    pub fn holds(self, bound: u32, offset: u32) -> bool {
        if !self.takes(bound.saturating_mul(2)) {
            return false;
        }
        let shifted = u64::from(bound << self.shift.max(0));
        let product = (shifted * u64::from(self.mantissa.to_bits().unsigned_abs())) >> 31;
        let value = product as u32 >> (-self.shift).max(0);
        value.saturating_add(2).saturating_add(offset) <= i32::MAX as u32
    }
}

/// Whether all shifts are in a range of up to 128 numbers, four at a time, because this is checked
/// for each row.
#[cfg(any(test, feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
#[inline(never)]
pub(crate) fn are_within(shifts: &[i8], range: core::ops::RangeInclusive<i8>) -> bool {
    const ONES: u32 = 0x0101_0101;
    const SIGNS: u32 = 0x8080_8080;
    let least = range.start().wrapping_neg().cast_unsigned();
    let width = range.end().wrapping_sub(*range.start()).cast_unsigned();
    let up = ONES * u32::from(127 - width.min(127));
    // Adds to the low seven bits of each byte, so that no carry leaves it.
    let add =
        |bytes: u32, other: u32| ((bytes & !SIGNS) + (other & !SIGNS)) ^ ((bytes ^ other) & SIGNS);
    let is_within = |four: [i8; 4]| {
        let above = add(u32::from_le_bytes(four.map(i8::cast_unsigned)), ONES * u32::from(least));
        (above | ((above & !SIGNS) + up)) & SIGNS == 0
    };
    let (fours, rest) = shifts.as_chunks::<4>();
    fours.iter().all(|four| is_within(*four)) && rest.iter().all(|shift| is_within([*shift; 4]))
}

/// `value · multiplier`, rounded twice: the high product with halves up, the right shift with
/// halves away from zero (TFLite's `MultiplyByQuantizedMultiplier` with double rounding).
///
/// ```
/// use brooklet::quant::{Multiplier, requantize};
///
/// let quarter = Multiplier::from_real(0.25).unwrap();
/// assert_eq!((requantize(1_000, quarter), requantize(10, quarter)), (250, 3));
/// ```
#[inline]
pub fn requantize(value: i32, multiplier: Multiplier) -> i32 {
    let left = multiplier.shift.max(0) as u32;
    let right = (-multiplier.shift).max(0) as u32;
    rounding_shift_right(high_mul(value.wrapping_shl(left), multiplier.mantissa.to_bits()), right)
}

/// `value · multiplier`, rounded once, with halves up.
///
/// It is used for the sums of layers that read or make int16.
///
/// For any value below 2⁴⁶ in magnitude and any [valid](Multiplier::is_valid_int16) multiplier the
/// result is exact, and below 2⁶¹. TFLite's `MultiplyByQuantizedMultiplier` for int64 first rounds
/// the mantissa to 16 bits; this function keeps all 31.
#[inline]
pub fn requantize_int16(value: i64, multiplier: Multiplier) -> i64 {
    let mantissa = i64::from(multiplier.mantissa.to_bits());
    // The product has up to 77 bits. Its lower part is rounded to the unit of the upper part, 2¹⁶.
    // The bits that this drops do not affect the result, which drops at least as many bits.
    let (high, low) = (value >> 16, value & 0xffff);
    let shift = (i32::from(Multiplier::MAX_INT16_SHIFT) - i32::from(multiplier.shift)) as u32;
    let half = 1i64.wrapping_shl(shift + 15);
    (high * mantissa + ((low * mantissa + half) >> 16)).wrapping_shr(shift)
}

/// [`requantize`] prepared for many values with the same multiplier.
///
/// The multiplier must [take](Multiplier::takes) twice each value.
#[derive(Debug, Clone, Copy)]
pub struct Requantizer {
    left: u32,
    mantissa: i32,
    right: u32,
    half: i32,
    /// All ones if there is something to round.
    rounds: i32,
}

impl Requantizer {
    /// For a multiplier.
    #[inline(always)]
    pub fn new(multiplier: Multiplier) -> Self {
        let right = (-multiplier.shift).max(0) as u32;
        Self {
            left: multiplier.shift.max(0) as u32,
            mantissa: multiplier.mantissa.to_bits(),
            right,
            half: (1u32.wrapping_shl(right) >> 1) as i32,
            rounds: -i32::from(right > 0),
        }
    }

    /// What [`requantize`] gives.
    #[inline(always)]
    pub fn apply(&self, value: i32) -> i32 {
        let product = i64::from(value.wrapping_shl(self.left)) * i64::from(self.mantissa);
        let high = (product.wrapping_add(1 << 30) >> 31) as i32;
        // Half away from zero: for values below zero, one less than half is added.
        let below_zero = (high >> 31) & self.rounds;
        high.wrapping_add(self.half).wrapping_add(below_zero).wrapping_shr(self.right)
    }
}

/// [`Requantizer`]s of `N` multipliers, for vectors of `N` values.
#[derive(Debug, Clone, Copy)]
pub struct Requantizers<const N: usize> {
    pub(crate) left: [u32; N],
    pub(crate) mantissa: [i32; N],
    pub(crate) right: [u32; N],
    pub(crate) half: [i32; N],
    pub(crate) rounds: [i32; N],
}

impl<const N: usize> Requantizers<N> {
    /// One multiplier for each value: Q31 mantissas, and shifts.
    #[inline(always)]
    pub fn new(mantissa: [i32; N], shifts: [i8; N]) -> Self {
        let mut each = Self { left: [0; N], mantissa, right: [0; N], half: [0; N], rounds: [0; N] };
        for (n, &shift) in shifts.iter().enumerate() {
            let one = Requantizer::new(Multiplier { mantissa: I1F31::ZERO, shift });
            each.left[n] = one.left;
            each.right[n] = one.right;
            each.half[n] = one.half;
            each.rounds[n] = one.rounds;
        }
        each
    }

    /// What [`requantize`] gives for each value.
    #[inline(always)]
    pub fn apply(&self, values: &[i32; N]) -> [i32; N] {
        let mut requantized = *values;
        for (n, value) in requantized.iter_mut().enumerate() {
            let one = Requantizer {
                left: self.left[n],
                mantissa: self.mantissa[n],
                right: self.right[n],
                half: self.half[n],
                rounds: self.rounds[n],
            };
            *value = one.apply(*value);
        }
        requantized
    }
}

/// `a · b / 2³¹`, with halves rounded up.
///
/// The one product that leaves the range saturates (gemmlowp's
/// `SaturatingRoundingDoublingHighMul`).
#[inline]
pub fn high_mul(a: i32, b: i32) -> i32 {
    let product = i64::from(a) * i64::from(b);
    let rounded = (product + (1 << 30)) >> 31;
    if rounded > i64::from(i32::MAX) { i32::MAX } else { rounded as i32 }
}

/// `value / 2^bits`, rounded half away from zero (gemmlowp's `RoundingDivideByPOT`);
/// `bits` in 0…31.
#[inline]
pub fn rounding_shift_right(value: i32, bits: u32) -> i32 {
    let mask = (1u32.wrapping_shl(bits)).wrapping_sub(1) as i32;
    let threshold = (mask >> 1) + i32::from(value < 0);
    value.wrapping_shr(bits) + i32::from((value & mask) > threshold)
}

/// `value / divisor`, rounded half away from zero.
#[inline]
pub fn rounding_divide(value: i32, divisor: u32) -> i32 {
    let divisor = divisor.clamp(1, i32::MAX as u32) as i32;
    let half = if value > 0 { divisor / 2 } else { -(divisor / 2) };
    // The division cannot fail: the divisor is at least one.
    proved!((value + half).checked_div(divisor)).unwrap_or(0)
}

/// The range of an activation, in integers of the output: [min, max] within int8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Clamp {
    /// Smallest output.
    pub min: i8,
    /// Largest output.
    pub max: i8,
}

impl Clamp {
    /// All of int8.
    pub const FULL: Self = Self { min: i8::MIN, max: i8::MAX };

    /// The same range in int16, where each int8 step is 256 int16 steps.
    ///
    /// All 256 of the last step are in the range.
    pub const fn int16(self) -> [i16; 2] {
        [self.min as i16 * 256, self.max as i16 * 256 + 255]
    }

    /// `value` within the range.
    #[inline(always)]
    pub fn apply(self, value: i32) -> i8 {
        value.max(i32::from(self.min)).min(i32::from(self.max)) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiplier(real: f64) -> (i32, i8) {
        let m = Multiplier::from_real(real).unwrap();
        (m.mantissa.to_bits(), m.shift)
    }

    #[test]
    fn shifts_are_within_ranges() {
        for range in [-128..=-1, -31..=-1, -22..=-1, -22..=30, -20..=30, 0..=0, 3..=127, -64..=63] {
            // Neighbours in the range, in front and behind, and a rest after four.
            for (place, shift) in (0..7).flat_map(|place| (-128..=127).map(move |s| (place, s))) {
                let mut shifts = [*range.start(); 7];
                shifts[2..5].fill(*range.end());
                shifts[place] = shift;
                let all = range.contains(&shift);
                assert_eq!(are_within(&shifts, range.clone()), all, "{shift} {range:?}");
            }
            assert!(are_within(&[], range));
        }
    }

    /// A sequence of integers whose upper bits are sufficiently random.
    fn noise(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state
        }
    }

    #[test]
    fn made_ready_is_the_same() {
        let mut next = noise(1);
        let mut next = || (next() >> 32) as u32;
        for shift in -31..=20_i8 {
            for round in 0..2000 {
                let bits = match round % 4 {
                    0 => 1 << 30,
                    1 => i32::MAX,
                    _ => (next() >> 2 | 1 << 30) as i32,
                };
                let multiplier = Multiplier { mantissa: I1F31::from_bits(bits), shift };
                let limit = i32::MAX >> (1 + shift.max(0));
                let value = match round % 5 {
                    0 => limit,
                    1 => -limit,
                    2 => next() as i32 % 64,
                    _ => next() as i32 % limit.max(1),
                };
                let value = value.clamp(-limit, limit);
                let ready = Requantizer::new(multiplier).apply(value);
                assert_eq!(ready, requantize(value, multiplier), "{value} {multiplier:?}");
                let many = Requantizers::new([bits, 0], [shift, 0]);
                assert_eq!(many.apply(&[value, value]), [ready, 0]);
            }
        }
    }

    #[test]
    fn int16_sums_are_rounded_once() {
        let mut next = noise(7);
        for shift in Multiplier::MIN_SHIFT..=Multiplier::MAX_INT16_SHIFT {
            for round in 0..2000 {
                let bits = match round % 4 {
                    0 => 1 << 30,
                    1 => i32::MAX,
                    _ => (next() >> 34 | 1 << 30) as i32,
                };
                let multiplier = Multiplier { mantissa: I1F31::from_bits(bits), shift };
                let largest = (1i64 << 46) - 1;
                let value = match round % 5 {
                    0 => largest,
                    1 => -largest,
                    2 => (next() >> 48) as i64 - (1 << 15),
                    _ => (next() >> 17) as i64 - (1 << 46),
                };
                let value = value.clamp(-largest, largest);
                let divisor = 31 - i32::from(shift);
                let exact =
                    (i128::from(value) * i128::from(bits) + (1 << (divisor - 1))) >> divisor;
                assert_eq!(i128::from(requantize_int16(value, multiplier)), exact);
            }
        }
        let nothing = Multiplier { mantissa: I1F31::ZERO, shift: 0 };
        assert_eq!(requantize_int16(-(1 << 45), nothing), 0);
        assert_eq!(Clamp::FULL.int16(), [i16::MIN, i16::MAX]);
    }

    #[test]
    fn multipliers_round_to_31_bits() {
        assert_eq!(multiplier(0.5), (1 << 30, 0));
        assert_eq!(multiplier(1.0), (1 << 30, 1));
        assert_eq!(multiplier(0.75), (3 << 29, 0));
        // Just below one: the mantissa rounds up to 2³¹ and moves into the shift.
        assert_eq!(multiplier(1.0 - 1e-12), (1 << 30, 1));
        assert_eq!(multiplier(0.0), (0, 0));
        assert_eq!(multiplier(1e-12), (0, 0));
        assert_eq!(Multiplier::from_real(-0.1), None);
        assert_eq!(Multiplier::from_real(f64::NAN), None);
        assert_eq!(Multiplier::from_real(2e9), None);
    }

    #[test]
    fn high_product_rounds_halves_up() {
        assert_eq!(high_mul(1, 1 << 30), 1);
        assert_eq!(high_mul(-1, 1 << 30), 0);
        assert_eq!(high_mul(-3, 1 << 30), -1);
        assert_eq!(high_mul(i32::MIN, i32::MIN), i32::MAX);
    }

    #[test]
    fn shift_rounds_halves_away_from_zero() {
        assert_eq!(rounding_shift_right(5, 1), 3);
        assert_eq!(rounding_shift_right(-5, 1), -3);
        assert_eq!(rounding_shift_right(-5, 2), -1);
        assert_eq!(rounding_shift_right(-6, 2), -2);
        assert_eq!(rounding_shift_right(i32::MIN, 31), -1);
        assert_eq!(rounding_shift_right(7, 0), 7);
    }

    #[test]
    fn division_rounds_halves_away_from_zero() {
        assert_eq!(rounding_divide(32, 64), 1);
        assert_eq!(rounding_divide(-32, 64), -1);
        assert_eq!(rounding_divide(31, 64), 0);
        assert_eq!(rounding_divide(-95, 64), -1);
        assert_eq!(rounding_divide(3, 2), 2);
    }
}
