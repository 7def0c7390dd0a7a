//! A batch norm that no convolution takes in, as those of pre-activation ResNets that follow
//! an add: a factor and an offset a channel.
//!
//! ```text
//! acc = bias[c] + weight[c] · input[y, x, c]
//!
//! output[y, x, c] = clamp(zero_point + requantize(acc, multiplier[c]))
//! ```
//!
//! The bias contains `-weight · input's zero_point`. The arithmetic is that of TFLite's 8-bit
//! `DEPTHWISE_CONV_2D` with a kernel of 1×1. Source of the networks: He et al. 2016, "Identity
//! Mappings in Deep Residual Networks", section 4.

use zerocopy::little_endian::I32;

use super::conv::{channel_multiplier, requantized_bound};
use super::{int8, part, words};
use crate::error::{Error, Fault, Part};
use crate::format::{LayerRecord, Packing};
use crate::model::Model;
use crate::quant::{Clamp, Multiplier, requantize};
use crate::shape::Shape;

/// A batch norm, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm<'m> {
    /// Shape of the input and of the output.
    pub shape: Shape,
    /// A weight a channel.
    pub weights: &'m [i8],
    /// An int32 a channel.
    pub bias: &'m [I32],
    /// Q31 mantissas of the multipliers, one a channel.
    pub mantissas: &'m [I32],
    /// Shifts of the multipliers, one a channel.
    pub shifts: &'m [i8],
    /// Zero point of the output.
    pub zero_point: i32,
    /// Range of the output.
    pub clamp: Clamp,
}

impl<'m> BatchNorm<'m> {
    /// The batch norm of a record that was checked.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let shape = layer.shape();
        let channels = usize::from(shape.channels);
        let bytes = |offset: u32, bytes: usize| model.bytes(offset, bytes).unwrap_or(&[]);
        Self {
            shape,
            weights: int8(bytes(layer.weights.get(), channels)),
            bias: words(bytes(layer.bias.get(), 4 * channels)),
            mantissas: words(bytes(layer.mantissas.get(), 4 * channels)),
            shifts: int8(bytes(layer.shifts.get(), channels)),
            zero_point: i32::from(layer.zero_point),
            clamp: layer.clamp(),
        }
    }

    /// Multiplier of channel `c`.
    #[inline(always)]
    pub fn multiplier(&self, c: usize) -> Multiplier {
        channel_multiplier(self.mantissas, self.shifts, c)
    }

    /// The output for `input` at channel `c`.
    #[inline(always)]
    pub fn output(&self, input: i8, c: usize) -> i8 {
        let weight = i32::from(self.weights.get(c).copied().unwrap_or(0));
        let bias = self.bias.get(c).map_or(0, |bias| bias.get());
        let acc = bias + weight * i32::from(input);
        self.clamp.apply(self.zero_point + requantize(acc, self.multiplier(c)))
    }
}

/// Checks that the parts of the file that it names are there.
pub(super) fn check_parts(model: &Model<'_>, index: usize) -> Result<(), Error> {
    let layer = model.layer(index);
    let fault = |fault| Error::layer(index, fault);
    if layer.packing != Packing::Ohwi as u8 {
        return Err(fault(Fault::UnknownPacking(layer.packing)));
    }
    let channels = usize::from(layer.channels.get());
    let align = crate::format::WEIGHTS_ALIGN as u32;
    part(model, index, Part::Weights, layer.weights.get(), channels, align)?;
    part(model, index, Part::Bias, layer.bias.get(), 4 * channels, 4)?;
    part(model, index, Part::Multipliers, layer.mantissas.get(), 4 * channels, 4)?;
    part(model, index, Part::Multipliers, layer.shifts.get(), channels, 1)?;
    Ok(())
}

pub(super) fn check(model: &Model<'_>, index: usize) -> Result<(), Error> {
    let layer = model.layer(index);
    let fault = |fault| Error::layer(index, fault);
    if model.input_of(layer).shape() != layer.shape() {
        return Err(fault(Fault::Shape));
    }
    check_parts(model, index)?;
    let norm = BatchNorm::new(model, layer);
    for channel in 0..layer.channels.get() {
        let c = usize::from(channel);
        let multiplier = norm.multiplier(c);
        if !multiplier.is_valid() {
            return Err(fault(Fault::Quantization));
        }
        let weight = norm.weights.get(c).map_or(0, |weight| weight.unsigned_abs());
        let bias = norm.bias.get(c).map_or(0, |bias| i64::from(bias.get()));
        let bound = bias.abs() + 128 * i64::from(weight);
        let value = requantized_bound(bound, multiplier);
        if !multiplier.takes(2 * bound) || value + 128 > i64::from(i32::MAX) {
            return Err(fault(Fault::Accumulator { channel }));
        }
    }
    Ok(())
}
