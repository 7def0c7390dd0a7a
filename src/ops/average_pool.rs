//! Mean over all rows and columns. Rows are summed as they arrive, so none has to be kept.
//!
//! ```text
//! sum = Σ input[y, x, c]                                            over n pixels
//!
//! without a multiplier:  output[c] = clamp(sum / n)                 half away from zero
//! with one:              output[c] = clamp(zero_point + requantize(sum − n · input's, m))
//! ```
//!
//! The first form is TFLite's `AVERAGE_POOL_2D` (input and output have the same scale). The second,
//! with m = input scale / (n · output scale), gives the mean a scale of its own, because a mean has
//! a smaller range than the values. It is also TFLite's `MEAN`, which divides the mantissa of input
//! scale / output scale by n; that mantissa may be less than ½.
//!
//! The values of [a 16-bit stream](super::stream16) are summed in 16 bits, and there is always a
//! multiplier. The input's scale is then 1/256 of the record's, and its zero point is 128 + 256 ·
//! the record's.

use super::{Window, stream16};
use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::quant::{Clamp, Multiplier, requantize, rounding_divide};

/// An average pool, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct AveragePool {
    /// Shapes of input and output; the kernel is the whole input.
    pub window: Window,
    /// Zero points of the input and of the output.
    pub zero_points: [i32; 2],
    /// The multiplier, if the output has a scale of its own.
    pub multiplier: Option<Multiplier>,
    /// Range of the output.
    pub clamp: Clamp,
}

impl AveragePool {
    pub(crate) fn new(model: &Model<'_>, layer: &LayerRecord) -> Self {
        let multiplier = layer.multiplier(0);
        Self {
            window: Window::of(model, layer),
            zero_points: [zero_of(model.input_of(layer)), i32::from(layer.zero_point)],
            multiplier: (multiplier.mantissa.to_bits() != 0).then_some(multiplier),
            clamp: layer.clamp(),
        }
    }

    /// Number of pixels of which the mean is taken.
    #[inline(always)]
    pub fn pixels(&self) -> u32 {
        u32::from(self.window.input.rows) * u32::from(self.window.input.columns)
    }

    /// The mean from its sum.
    #[inline(always)]
    pub fn output(&self, sum: i32) -> i8 {
        self.clamp.apply(match self.multiplier {
            None => rounding_divide(sum, self.pixels()),
            Some(multiplier) => {
                let centred = sum - self.pixels() as i32 * self.zero_points[0];
                requantize(centred, multiplier) + self.zero_points[1]
            }
        })
    }
}

/// The integer that stands for zero.
fn zero_of(input: &LayerRecord) -> i32 {
    let zero_point = i32::from(input.zero_point);
    if input.is_stream16() { 256 * zero_point + stream16::EXACT } else { zero_point }
}

pub(super) fn check_shape(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let one = layer.rows.get() == 1 && layer.columns.get() == 1;
    let fits = one && layer.channels == model.input_of(layer).channels;
    if fits { Ok(()) } else { Err(Fault::Shape) }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    check_shape(model, layer)?;
    let input = model.input_of(layer);
    let pool = AveragePool::new(model, layer);
    // Sums and centred sums are at most 255 for each pixel in magnitude, or 65,535 with a 16-bit
    // stream.
    let largest = if input.is_stream16() { 0xffff } else { 0xff };
    let bound = pool.pixels().saturating_mul(largest);
    let valid = match pool.multiplier {
        None if input.is_stream16() => false,
        None => {
            layer.multiplier(0).shift == 0
                && bound <= i32::MAX as u32 / 2
                && input.zero_point == layer.zero_point
                && input.scale.get() == layer.scale.get()
        }
        // Adding the zero point must fit into 32 bits, too.
        Some(multiplier) => multiplier.takes_of_any_mantissa(bound.saturating_add(128)),
    };
    if valid { Ok(()) } else { Err(Fault::Quantization) }
}
