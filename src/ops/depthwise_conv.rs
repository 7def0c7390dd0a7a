//! Depthwise convolution: each output channel reads one input channel.
//!
//! ```text
//! m = output channels / input channels
//! acc = bias[o] + Σ weight[ky, kx, o] · input[y·s + ky − top, x·s + kx − left, o / m]
//!
//! output[y, x, o] = clamp(zero_point + requantize(acc, multiplier[o]))
//! ```
//!
//! Padding and bias are those of a [convolution](super::conv). The arithmetic is that of TFLite's
//! 8-bit `DEPTHWISE_CONV_2D`. The weights of all channels for one kernel position are consecutive,
//! like the channels of a pixel:
//!
//! ```text
//! kernel row 0:  column 0: channels 0 1 2 …   column 1: channels 0 1 2 …
//! kernel row 1:  …
//! ```
//!
//! Source of the networks: Howard et al. 2017, "MobileNets", section 3.1.

use zerocopy::little_endian::I32;

use super::conv::check::{bound_with, check_numbers};
use super::conv::{Numbers, Padding, channel_multiplier};
use super::weights::in_range;
use super::{Rows, Window, check_window, int8, weights_section};
use crate::error::Fault;
use crate::format::{LayerRecord, Packing};
use crate::model::Model;
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, requantize};
use crate::shape::Shape;

/// A depthwise convolution, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct DepthwiseConv<'m> {
    /// How it walks over the input.
    pub window: Window,
    /// Weights of kernel rows × kernel columns × output channels.
    pub weights: &'m [i8],
    /// An int32 for each output channel.
    pub bias: &'m [I32],
    /// Q31 mantissas of the multipliers, one for each output channel.
    pub mantissas: &'m [I32],
    /// Shifts of the multipliers, one for each output channel.
    pub shifts: &'m [i8],
    /// The values outside of the input.
    pub padding: Padding<'m>,
    /// Zero point of the output.
    pub zero_point: i32,
    /// Range of the output.
    pub clamp: Clamp,
}

/// Number of bytes of the weights.
pub(super) fn weight_bytes(layer: &LayerRecord) -> usize {
    let [rows, columns] = layer.kernel.map(usize::from);
    rows * columns * usize::from(layer.channels.get())
}

impl<'m> DepthwiseConv<'m> {
    /// The convolution of a checked record.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let window = Window::of(model, layer);
        // Empty if the weights are behind a driver.
        let weights = model.bytes(layer.weights.get(), weight_bytes(layer));
        let Numbers { bias, mantissas, shifts, padding } = Numbers::of(model, layer);
        Self {
            window,
            weights: int8(weights.unwrap_or(&[])),
            bias,
            mantissas,
            shifts,
            padding,
            zero_point: i32::from(layer.zero_point),
            clamp: layer.clamp(),
        }
    }

    /// Number of output channels that read one input channel.
    #[inline]
    pub fn outputs_an_input(&self) -> usize {
        let inputs = usize::from(self.window.input.channels).max(1);
        (usize::from(self.window.output.channels) / inputs).max(1)
    }

    /// Bias of output channel `o`.
    #[inline(always)]
    pub fn bias(&self, o: usize) -> i32 {
        proved!(self.bias.get(o)).map_or(0, |bias| bias.get())
    }

    /// Weight of output channel `o` in kernel row `ky` and kernel column `kx`.
    #[inline(always)]
    pub fn weight(&self, o: usize, ky: usize, kx: usize) -> i8 {
        let channels = usize::from(self.window.output.channels);
        let at = (ky * self.window.kernel[1] + kx) * channels + o;
        proved!(self.weights.get(at)).copied().unwrap_or(0)
    }

    /// Multiplier of output channel `o`.
    #[inline(always)]
    pub fn multiplier(&self, o: usize) -> Multiplier {
        channel_multiplier(self.mantissas, self.shifts, o)
    }

    /// The output for a sum of channel `o`.
    #[inline(always)]
    pub fn output(&self, acc: i32, o: usize) -> i8 {
        self.clamp.apply(self.zero_point + requantize(acc, self.multiplier(o)))
    }

    /// The value of input channel `i` under kernel column `kx` of output column `x`.
    #[inline(always)]
    pub fn value(&self, row: &[i8], x: usize, kx: usize, i: usize) -> i8 {
        let (window, inputs) = (&self.window, usize::from(self.window.input.channels));
        let column = (x * window.stride[1] + kx).checked_sub(window.pad_left);
        column
            .filter(|&column| column < usize::from(window.input.columns))
            .and_then(|column| row.get(column * inputs + i).copied())
            .unwrap_or(self.padding.at(i))
    }

    /// The sum of the products of output channel `o` on padding: rows of padding, and kernel
    /// columns outside of `on_input`.
    pub fn padding(&self, rows: &Rows<'_>, on_input: &core::ops::Range<usize>, o: usize) -> i32 {
        let value = i32::from(self.padding.at(o / self.outputs_an_input()));
        let mut weights = 0;
        for (ky, row) in rows.iter().take(self.window.kernel[0]).enumerate() {
            for kx in 0..self.window.kernel[1] {
                if row.is_empty() || !on_input.contains(&kx) {
                    weights += i32::from(self.weight(o, ky, kx));
                }
            }
        }
        weights * value
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    check_window(model, layer)?;
    let input: Shape = model.input_of(layer).shape();
    if !layer.channels.get().is_multiple_of(input.channels) {
        return Err(Fault::Shape);
    }
    if layer.packing != Packing::Ohwi as u8 {
        return Err(Fault::UnknownPacking(layer.packing));
    }
    weights_section(model, layer.weights, weight_bytes(layer))?;
    check_numbers(model, layer)?;
    if model.is_windowed() { Ok(()) } else { check_channels(&DepthwiseConv::new(model, layer)) }
}

/// Checks multipliers and sums.
pub(super) fn check_channels(conv: &DepthwiseConv<'_>) -> Result<(), Fault> {
    let [rows, columns] = conv.window.kernel;
    if !in_range(conv.weights) {
        return Err(Fault::Weight);
    }
    for channel in 0..conv.window.output.channels {
        let o = usize::from(channel);
        let multiplier = conv.multiplier(o);
        if !multiplier.is_valid() {
            return Err(Fault::Quantization);
        }
        let taps = (0..rows).flat_map(|ky| (0..columns).map(move |kx| (ky, kx)));
        let bound = taps.fold(conv.bias(o).unsigned_abs(), |bound, (ky, kx)| {
            bound_with(bound, conv.weight(o, ky, kx))
        });
        if bound >= 1 << 31 || !multiplier.holds(bound, 128) {
            return Err(Fault::Accumulator { channel });
        }
    }
    Ok(())
}
