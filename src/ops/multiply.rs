//! The product of two tensors, in TFLite's arithmetic: element by element, as in gates, or by one
//! value for each channel, as in squeeze-and-excite (Hu et al. 2018, "Squeeze-and-Excitation
//! Networks", section 3).
//!
//! ```text
//! product = (input − its zero point) · (shortcut − its zero point)
//! output = clamp(zero_point + requantize(product, multiplier))
//! ```
//!
//! The multiplier is the product of the operands' scales divided by the output's scale. Source:
//! TFLite's `MUL` for int8. With one value for each channel, the shortcut has one pixel and stride
//! 0.

use super::Shortcut;
use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::quant::{Clamp, Multiplier, requantize};
use crate::shape::Shape;

/// Largest magnitude of a product.
const LARGEST: u32 = 255 * 255;

/// A product, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Multiply {
    /// Shape of the input and of the output.
    pub shape: Shape,
    /// Zero points of the input, of the shortcut, and of the output.
    pub zero_points: [i32; 3],
    /// Multiplier of the product.
    pub multiplier: Multiplier,
    /// Range of the output.
    pub clamp: Clamp,
}

impl Multiply {
    /// The product of a checked record.
    pub(crate) fn new(model: &Model<'_>, layer: &LayerRecord) -> Self {
        let shortcut = model.layer(layer.shortcut().unwrap_or(0));
        let zero_points = [model.input_of(layer), shortcut, layer];
        Self {
            shape: layer.shape(),
            zero_points: zero_points.map(|of| i32::from(of.zero_point)),
            multiplier: layer.multiplier(0),
            clamp: layer.clamp(),
        }
    }

    /// The product of `input` and the shortcut at column `x` and channel `c`.
    ///
    /// `here` is the value at the output's position.
    #[inline(always)]
    pub fn output(&self, input: i8, shortcut: &Shortcut<'_>, x: usize, c: usize, here: i8) -> i8 {
        let [a, b, zero_point] = self.zero_points;
        let product = (i32::from(input) - a) * (i32::from(shortcut.at(x, c, here)) - b);
        self.clamp.apply(zero_point + requantize(product, self.multiplier))
    }
}

/// Whether the shortcut is one pixel by which the whole output is multiplied.
pub(super) fn is_of_one_pixel(layer: &LayerRecord, shortcut: Shape) -> bool {
    layer.shortcut_stride == 0
        && (shortcut.rows, shortcut.columns) == (1, 1)
        && shortcut.channels == layer.channels.get()
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let Some(shortcut) = layer.shortcut() else { return Err(Fault::Operands) };
    let (input, shortcut) = (model.input_of(layer).shape(), model.layer(shortcut).shape());
    let alike = layer.shortcut_stride == 1 && shortcut == layer.shape();
    if input != layer.shape() || !(alike || is_of_one_pixel(layer, shortcut)) {
        return Err(Fault::Shape);
    }
    let multiplier = layer.multiplier(0);
    match multiplier.is_valid() && multiplier.holds(LARGEST, 128) {
        true => Ok(()),
        false => Err(Fault::Quantization),
    }
}
