//! Mean over a window, as in the shortcuts of ResNet-D (He et al. 2019, "Bag of Tricks", section
//! 4.2).
//!
//! ```text
//! sum = Σ input[y·s + ky − top, x·s + kx − left, c]          over what lies on the input, n pixels
//!
//! without a divisor:  output = clamp(sum / n)                half away from zero
//! with divisor d:     output = clamp((sum + (d − n) · zero_point) / d)
//! ```
//!
//! The first form is TFLite's `AVERAGE_POOL_2D`. The second counts padding as zeros, as PyTorch's
//! average pool does by default (`count_include_pad`). Input and output have the same scale.

use super::{Window, check_window};
use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::quant::{Clamp, rounding_divide};

/// Largest divisor: the number of pixels under the largest kernel.
const MAX_DIVISOR: u32 = (crate::steps::MAX_KERNEL * crate::steps::MAX_KERNEL) as u32;

/// An average over a window, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct WindowAverage {
    /// How it walks over the input; input and output have the same number of channels.
    pub window: Window,
    /// The divisor of the sums, with padding counted as zeros; 0 if it is the number of pixels on
    /// the input.
    pub divisor: u32,
    /// Zero point of input and output.
    pub zero_point: i32,
    /// Range of the output.
    pub clamp: Clamp,
}

impl WindowAverage {
    /// The average of a checked record.
    pub(crate) fn new(model: &Model<'_>, layer: &LayerRecord) -> Self {
        Self {
            window: Window::of(model, layer),
            divisor: u32::try_from(layer.parameter.get()).unwrap_or(0),
            zero_point: i32::from(layer.zero_point),
            clamp: layer.clamp(),
        }
    }

    /// The mean, from the sum of `pixels` pixels on the input.
    #[inline(always)]
    pub fn output(&self, sum: i32, pixels: u32) -> i8 {
        self.clamp.apply(match self.divisor {
            0 => rounding_divide(sum, pixels),
            divisor => {
                let zeros = divisor as i32 - pixels as i32;
                rounding_divide(sum + zeros * self.zero_point, divisor)
            }
        })
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let input = model.input_of(layer);
    if input.channels != layer.channels {
        return Err(Fault::Shape);
    }
    if input.zero_point != layer.zero_point
        || input.scale.get() != layer.scale.get()
        || !u32::try_from(layer.parameter.get()).is_ok_and(|divisor| divisor <= MAX_DIVISOR)
    {
        return Err(Fault::Quantization);
    }
    check_window(model, layer)
}
