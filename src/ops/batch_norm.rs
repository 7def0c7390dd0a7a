//! A batch norm that could not be folded into a convolution, such as those of pre-activation
//! ResNets that follow an add: a factor and an offset for each channel.
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

use super::conv::check::{bound_with, check_numbers};
use super::conv::{Numbers, channel_multiplier};
use super::{int8, section};
use crate::error::{Fault, Section};
use crate::format::{LayerRecord, Packing};
use crate::model::Model;
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, requantize};
use crate::shape::Shape;

/// A batch norm, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm<'m> {
    /// Shape of the input and of the output.
    pub shape: Shape,
    /// A weight for each channel.
    pub weights: &'m [i8],
    /// An int32 for each channel.
    pub bias: &'m [I32],
    /// Q31 mantissas of the multipliers, one for each channel.
    pub mantissas: &'m [I32],
    /// Shifts of the multipliers, one for each channel.
    pub shifts: &'m [i8],
    /// Zero point of the output.
    pub zero_point: i32,
    /// Range of the output.
    pub clamp: Clamp,
}

impl<'m> BatchNorm<'m> {
    /// The batch norm of a checked record.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let shape = layer.shape();
        let weights = proved!(model.bytes(layer.weights.get(), shape.channels.into()));
        let Numbers { bias, mantissas, shifts, .. } = Numbers::of(model, layer);
        Self {
            shape,
            weights: int8(weights.unwrap_or(&[])),
            bias,
            mantissas,
            shifts,
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
        let weight = i32::from(proved!(self.weights.get(c)).copied().unwrap_or(0));
        let bias = proved!(self.bias.get(c)).map_or(0, |bias| bias.get());
        let acc = bias + weight * i32::from(input);
        self.clamp.apply(self.zero_point + requantize(acc, self.multiplier(c)))
    }
}

/// Checks that the parts to which the record refers are in the file.
pub(super) fn check_parts(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    if layer.packing != Packing::Ohwi as u8 {
        return Err(Fault::UnknownPacking(layer.packing));
    }
    let channels = usize::from(layer.channels.get());
    let align = crate::format::WEIGHTS_ALIGN;
    section(model, Section::Weights, layer.weights, channels, align)?;
    check_numbers(model, layer)
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    if model.input_of(layer).shape() != layer.shape() {
        return Err(Fault::Shape);
    }
    check_parts(model, layer)?;
    let norm = BatchNorm::new(model, layer);
    for channel in 0..layer.channels.get() {
        let c = usize::from(channel);
        let multiplier = norm.multiplier(c);
        if !multiplier.is_valid() {
            return Err(Fault::Quantization);
        }
        let bias = proved!(norm.bias.get(c)).map_or(0, |bias| bias.get().unsigned_abs());
        if !multiplier
            .holds(bound_with(bias, proved!(norm.weights.get(c)).copied().unwrap_or(0)), 128)
        {
            return Err(Fault::Accumulator { channel });
        }
    }
    Ok(())
}
