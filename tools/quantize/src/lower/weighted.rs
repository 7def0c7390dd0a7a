//! Layers with weights of float networks: convolutions, their joins, and batch norms.

use brooklet::format::flags;
use brooklet::ops::conv::MAX_JOIN_BITS;
use brooklet::ops::stream16::{self, Stream16};
use brooklet::quant::Multiplier;
use brooklet_plan::Preprocess;

use super::set_kernel;
use crate::error::Unrepresentable;
use crate::network::{BatchNorm, Conv};
use crate::program::{Layer, Table, largest_sum};
use crate::weights::rounding::{Bits, QuantizedChannel};
use crate::weights::{Weights, input_scales, smallest_scale};

/// Extra fractional bits of a join, if the accumulator has room for them.
const JOIN_BITS: u8 = 12;

/// Sets weights, biases and multipliers of a convolution, and the table of its join.
///
/// With `pixels` the input is the image, and `pixels` gives the reals of its bytes.
pub(super) fn set_conv(
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
    let input_scales = input_scales(conv.weights.dim().3, input, pixels);
    let zeros: Vec<i8> =
        input_scales.iter().map(|&(_, zero)| zero.round().clamp(-128.0, 127.0) as i8).collect();
    if zeros.iter().any(|&zero| zero != input.record.zero_point) {
        layer.padding_values = Some(zeros);
    }
    let output_scale = f64::from(layer.record.scale.get());
    let mut reals = Vec::with_capacity(conv.bias.len());
    for (channel, &bias) in weights.channels.iter().zip(&weights.bias) {
        push_channel(layer, channel, bias, &input_scales)?;
        reals.push(channel.scale / output_scale);
    }
    if layer.record.is_stream16() {
        return set_stream16(layer, &reals, shortcut);
    }
    let Some(shortcut) = shortcut else {
        return set_multipliers(layer, &reals);
    };
    if layer.record.has_int16() {
        let ratio = f64::from(shortcut.record.scale.get()) / output_scale;
        let bits = set_wide_join(layer, ratio, &reals)?;
        let reals: Vec<f64> = reals.iter().map(|real| real * f64::from(1u32 << bits)).collect();
        return set_multipliers(layer, &reals);
    }
    set_join(layer, &reals, shortcut)
}

/// Sets the multipliers of a join, from `reals` and its extra bits, and the table of its shortcut.
pub(super) fn set_join(
    layer: &mut Layer,
    reals: &[f64],
    shortcut: &Layer,
) -> Result<(), Unrepresentable> {
    let ratio = f64::from(shortcut.record.scale.get()) / f64::from(layer.record.scale.get());
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

/// Sets the multipliers of a layer that makes a stream in 16 bits, and the factor of its shortcut.
fn set_stream16(
    layer: &mut Layer,
    reals: &[f64],
    shortcut: Option<&Layer>,
) -> Result<(), Unrepresentable> {
    let unit = f64::from(1u32 << stream16::FRACTION);
    // Bits are dropped from a term before it is added, and from the sum afterwards.
    let one = stream16::DROPPED + stream16::TERM_SHIFT;
    let zero = |zero_point: i8| 256 * i32::from(zero_point);
    let real = |layer: &Layer| f64::from(layer.record.scale.get());
    let ratio = shortcut.map_or(0.0, |shortcut| real(shortcut) / real(layer));
    let factor = (ratio * f64::from(1u32 << one)).round();
    let factor = factor.min(f64::from(i16::MAX) + 1.0) as i32;
    let theirs = shortcut.map_or(0, |shortcut| {
        let u = zero(shortcut.record.zero_point) + stream16::EXACT;
        (u.wrapping_mul(factor)) >> stream16::TERM_SHIFT
    });
    let half = 1 << (stream16::DROPPED - 1);
    let offset = (zero(layer.record.zero_point) << stream16::DROPPED) - theirs + half;
    let stream = Stream16::new(factor, offset).filter(Stream16::is_valid).ok_or_else(|| {
        Unrepresentable::new(&layer.name, "its range is too small for what it adds")
    })?;
    let largest = stream.largest_term();
    let reals: Vec<f64> = reals.iter().map(|real| real * unit).collect();
    layer.multipliers = multipliers(layer, &reals, largest).ok_or_else(|| {
        Unrepresentable::new(&layer.name, "its range is too small for its weights")
    })?;
    layer.record.join_bits = stream16::FRACTION;
    layer.record.multiplier_mantissas[0].set(factor);
    layer.record.multiplier_mantissas[1].set(offset);
    Ok(())
}

/// Sets the shortcut's multiplier of a layer that reads or makes int16, and as many extra bits as
/// that multiplier and `reals`, the factors of the sum, leave room for.
pub(super) fn set_wide_join(
    layer: &mut Layer,
    shortcut: f64,
    reals: &[f64],
) -> Result<u8, Unrepresentable> {
    let multiplier = |real: f64, bits: u8| {
        let multiplier = Multiplier::from_real(real * f64::from(1u32 << bits));
        multiplier.filter(|multiplier| multiplier.is_valid_int16())
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

/// Sets weights, biases and multipliers of a batch norm, with `pixels` if it reads the image.
pub(super) fn set_batch_norm(
    layer: &mut Layer,
    norm: &BatchNorm,
    input: &Layer,
    pixels: Option<&Preprocess>,
) -> Result<(), Unrepresentable> {
    let output_scale = f64::from(layer.record.scale.get());
    let mut reals = Vec::with_capacity(norm.scale.len());
    for (channel, &scale) in input_scales(norm.scale.len(), input, pixels).iter().enumerate() {
        let (factor, offset) = norm.affine(channel);
        let factor =
            QuantizedChannel::nearest(&[factor * scale.0], smallest_scale(offset), Bits::EIGHT);
        push_channel(layer, &factor, offset, &[scale])?;
        reals.push(factor.scale / output_scale);
    }
    set_multipliers(layer, &reals)
}

/// Appends the weights and the bias of an output channel, whose inputs repeat these `input_scales`.
fn push_channel(
    layer: &mut Layer,
    channel: &QuantizedChannel,
    bias: f64,
    input_scales: &[(f64, f64)],
) -> Result<(), Unrepresentable> {
    let offset: f64 = channel
        .weights
        .iter()
        .zip(input_scales.iter().cycle())
        .map(|(&weight, &(_, zero))| f64::from(weight) * zero)
        .sum();
    let bias = (bias / channel.scale - offset).round();
    if bias.abs() > f64::from(i32::MAX) {
        let what = "a bias is too large compared with its channel's weights";
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

/// The multipliers nearest to `reals`, if with them no sum of any channel exceeds 32 bits, even
/// with `offset` added; sums of layers that read or make int16 have 64 bits.
fn multipliers(layer: &Layer, reals: &[f64], offset: u32) -> Option<Vec<Multiplier>> {
    let taps = layer.weights.len() / layer.bias.len();
    let channels = layer.weights.chunks(taps).zip(&layer.bias).zip(reals);
    channels
        .map(|((weights, &bias), &real)| {
            let multiplier = Multiplier::from_real(real)?;
            if layer.record.has_int16() {
                return multiplier.is_valid_int16().then_some(multiplier);
            }
            multiplier.holds(largest_sum(weights, bias), offset).then_some(multiplier)
        })
        .collect()
}
