//! Output channels whose sums are too large for kernels.
//!
//! A kernel takes the high word of twice a sum. TensorFlow's converter writes channels whose sums
//! leave no bit for that: if all weights are nearly zero and an activation never fires, the bias
//! has a magnitude of up to 2³⁰, at a scale near 10⁻⁸. Such a channel computes a constant, or one
//! of two neighbouring values, and there are smaller numbers that give the same outputs for every
//! input.

use brooklet::format::Packing;
use brooklet::ops::conv::check::sum_bound;
use brooklet::quant::{Clamp, Multiplier, requantize};
use brooklet_plan::program::largest_sum;
use fixed::types::I1F31;

/// The numbers with which an output channel computes outputs from inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Its weights.
    pub weights: Vec<i8>,
    /// The bias, with the input's zero point absorbed.
    pub bias: i32,
    /// The multiplier of its sums.
    pub multiplier: Multiplier,
}

/// The error for a channel that has no such numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    /// The largest magnitude that its sum can reach.
    pub sum: i64,
}

/// The smallest and the largest sum of any int8 inputs.
fn sums(weights: &[i8], bias: i64) -> [i64; 2] {
    let end = |from: i64, to: i64| -> i64 {
        weights.iter().map(|&w| (from * i64::from(w)).min(to * i64::from(w))).sum()
    };
    [bias + end(-128, 127), bias - end(128, -127)]
}

/// A channel with numbers that kernels can use: the given ones, or others that give the same
/// outputs.
///
/// An output is `zero_point` plus a requantized sum, within `clamp`.
///
/// # Errors
///
/// [`TooLarge`] if the sum can exceed 32 bits, or is too large and takes many values.
pub(crate) fn channel(
    weights: &[i8],
    bias: i64,
    multiplier: Multiplier,
    zero_point: i8,
    clamp: Clamp,
) -> Result<Channel, TooLarge> {
    let [smallest, largest] = sums(weights, bias);
    let sum = if -smallest > largest { smallest } else { largest };
    let too_large = TooLarge { sum };
    let within = |sum: i64| i32::try_from(sum).map_err(|_| too_large);
    let (low, high, bias) = (within(smallest)?, within(largest)?, within(bias)?);
    let weights = weights.to_vec();
    let bound = largest_sum(&weights, bias);
    let holds = bound < sum_bound(Packing::Ohwi) && multiplier.holds(bound, 128);
    let as_it_is = Channel { weights, bias, multiplier };
    // Winograd's kernels can use this sum, too.
    if holds && bound < sum_bound(Packing::Winograd) {
        return Ok(as_it_is);
    }
    // Engines differ in what they compute if a sum is shifted left beyond 32 bits.
    let left = multiplier.shift.clamp(0, 31);
    if within(smallest << left).is_err() || within(largest << left).is_err() {
        return if holds { Ok(as_it_is) } else { Err(too_large) };
    }
    let zero_point = i32::from(zero_point);
    let value =
        |sum: i32| i32::from(clamp.apply(requantize(sum, multiplier) + zero_point)) - zero_point;
    let (first, last) = (value(low), value(high));
    if first == last {
        let one = Multiplier { mantissa: I1F31::from_bits(1 << 30), shift: 1 };
        let weights = vec![0; as_it_is.weights.len()];
        return Ok(Channel { weights, bias: first, multiplier: one });
    }
    if holds {
        return Ok(as_it_is);
    }
    let found = (last == first + 1).then(|| two_values(&as_it_is, [low, high], value)).flatten();
    found.ok_or(too_large)
}

/// A channel that takes two values, the second from a certain sum on: the same values with a power
/// of two as multiplier, so small that no sum gives a third value.
fn two_values(
    channel: &Channel,
    [low, high]: [i32; 2],
    value: impl Fn(i32) -> i32,
) -> Option<Channel> {
    let last = value(high);
    let from = |low: i32, high: i32, reaches: &dyn Fn(i32) -> bool| {
        let (mut low, mut high) = (i64::from(low), i64::from(high));
        while low < high {
            let middle = (low + high).div_euclid(2);
            match reaches(middle as i32) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        low
    };
    let threshold = from(low, high, &|sum| value(sum) >= last);
    let bits = 64 - (2 * (i64::from(high) - i64::from(low) + 1)).leading_zeros();
    let multiplier =
        Multiplier { mantissa: I1F31::from_bits(1 << 30), shift: 1 - i8::try_from(bits).ok()? };
    let there = from(i32::MIN, i32::MAX, &|sum| requantize(sum, multiplier) >= last);
    let moved = |sum: i64| i32::try_from(sum - threshold + there).ok();
    let bias = moved(channel.bias.into())?;
    let ends = [moved(low.into())?, moved(high.into())?].map(|sum| requantize(sum, multiplier));
    let bound = largest_sum(&channel.weights, bias);
    (ends == [last - 1, last] && multiplier.is_valid() && multiplier.holds(bound, 128))
        .then(|| Channel { weights: channel.weights.clone(), bias, multiplier })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the outputs of the smallest and the largest sum, and of many in between, are
    /// those of the original channel, and that kernels can use the new one.
    fn is_the_same(weights: &[i8], bias: i32, real: f64, zero_point: i8, clamp: Clamp) -> Channel {
        let multiplier = Multiplier::from_real(real).unwrap();
        let channel = channel(weights, bias.into(), multiplier, zero_point, clamp).unwrap();
        let bound = largest_sum(&channel.weights, channel.bias);
        assert!(channel.multiplier.holds(bound, 128), "{channel:?}");
        let output = |weights: &[i8], bias: i32, multiplier, inputs: &dyn Fn(usize) -> i8| {
            let products = weights.iter().enumerate();
            let sum = products.fold(bias, |sum, (i, &w)| sum + i32::from(w) * i32::from(inputs(i)));
            clamp.apply(requantize(sum, multiplier) + i32::from(zero_point))
        };
        for round in 0..2000usize {
            let inputs = |i: usize| match round {
                0 => {
                    if weights[i] < 0 {
                        127
                    } else {
                        -128
                    }
                }
                1 => {
                    if weights[i] < 0 {
                        -128
                    } else {
                        127
                    }
                }
                _ => (((i + 1) * round * 2_654_435_761usize) >> 13) as i8,
            };
            let before = output(weights, bias, multiplier, &inputs);
            let now = output(&channel.weights, channel.bias, channel.multiplier, &inputs);
            assert_eq!(before, now, "{weights:?} {bias} {real} {zero_point} round {round}");
        }
        channel
    }

    #[test]
    fn dead_channels_are_constants() {
        let relu = Clamp { min: -100, max: 127 };
        for clamp in [Clamp::FULL, relu] {
            for bias in [1 << 30, -(1 << 30), i32::MAX, -i32::MAX, (1 << 30) + 1] {
                for real in [1e-8, 3.3e-8, 0.9, 1e-12] {
                    let channel = is_the_same(&[0; 9], bias, real, -100, clamp);
                    assert!(channel.bias.abs() <= 255, "{channel:?}");
                }
            }
        }
        // These weights are nearly zero.
        let channel = is_the_same(&[3, -2, 1], -(1 << 30), 1e-8, -128, Clamp::FULL);
        assert_eq!(channel.weights, [0; 3]);
    }

    #[test]
    fn channels_of_two_values_step_where_they_did() {
        let mut stepped = 0;
        for value in [-90, -1, 0, 1, 35, 100] {
            for off in -400..400 {
                // Sums close to where the value changes.
                let real = 35.5 / f64::from(1 << 30);
                let bias = ((f64::from(value) + 0.5) / real) as i64 + off * 7;
                let Ok(bias) = i32::try_from(bias) else { continue };
                let channel = is_the_same(&[5, -3, 7, 1], bias, real, 3, Clamp::FULL);
                stepped += usize::from(channel.bias != bias && channel.weights != [0; 4]);
            }
        }
        assert!(stepped > 100, "{stepped}");
    }

    #[test]
    fn sums_beyond_32_bits_are_named() {
        let multiplier = Multiplier::from_real(1e-8).unwrap();
        let channel = |weights: &[i8], bias| channel(weights, bias, multiplier, 0, Clamp::FULL);
        let limit = i64::from(i32::MAX);
        assert_eq!(channel(&[1, 1], limit - 253), Err(TooLarge { sum: limit + 1 }));
        assert!(channel(&[1, 1], limit - 254).is_ok());
        assert_eq!(channel(&[2], -limit - 1), Err(TooLarge { sum: -limit - 257 }));
    }
}
