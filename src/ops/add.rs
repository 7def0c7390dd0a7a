//! The sum of two tensors, in TFLite's arithmetic: two roundings before the sum, one after.
//!
//! ```text
//! a = requantize((input    − its zero point) · 2²⁰, multiplier 0)
//! b = requantize((shortcut − its zero point) · 2²⁰, multiplier 1)
//! output = clamp(zero_point + requantize(a + b, multiplier 2))
//! ```
//!
//! Both terms are at twice the larger of the two input scales. Source: TFLite's `ADD` for
//! int8 (`left_shift` = 20). Networks that brooklet quantizes itself end their blocks with
//! the [join](super::conv) instead.

use super::Shortcut;
use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::quant::{Clamp, Multiplier, requantize};
use crate::shape::Shape;

/// Bits by which both operands are shifted before they are scaled.
pub const LEFT_SHIFT: u32 = 20;

/// An add, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Add {
    /// Shape of the input and of the output.
    pub shape: Shape,
    /// Zero points: input, shortcut, output.
    pub zero_points: [i32; 3],
    /// Multipliers: input, shortcut, sum.
    pub multipliers: [Multiplier; 3],
    /// Range of the output.
    pub clamp: Clamp,
}

impl Add {
    pub(crate) fn new(model: &Model<'_>, layer: &LayerRecord) -> Self {
        let shortcut = model.layer(layer.shortcut().unwrap_or(0));
        Self {
            shape: layer.shape(),
            zero_points: [model.input_of(layer).zero_point, shortcut.zero_point, layer.zero_point]
                .map(i32::from),
            multipliers: [layer.multiplier(0), layer.multiplier(1), layer.multiplier(2)],
            clamp: layer.clamp(),
        }
    }

    /// The sum of `input` and the shortcut at column `x` and channel `c`, where `here` is what
    /// lies at the output's place.
    #[inline(always)]
    pub fn output(&self, input: i8, shortcut: &Shortcut<'_>, x: usize, c: usize, here: i8) -> i8 {
        let term = |q: i8, i: usize| {
            requantize((i32::from(q) - self.zero_points[i]) << LEFT_SHIFT, self.multipliers[i])
        };
        let sum = term(input, 0) + term(shortcut.at(x, c, here), 1);
        self.clamp.apply(requantize(sum, self.multipliers[2]) + self.zero_points[2])
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    if layer.shortcut().is_none() {
        return Err(Fault::Operands);
    }
    if model.input_of(layer).shape() != layer.shape() {
        return Err(Fault::Shape);
    }
    let add = Add::new(model, layer);
    let [input, shortcut, sum] = add.multipliers;
    // An operand is at most 255 · 2²⁰ in magnitude; scaled by at most one half, as the scale
    // of the sum is at least twice its own, it stays below 2²⁷.
    let halves = |m: Multiplier| m.is_valid() && m.shift <= 0;
    if halves(input) && halves(shortcut) && sum.takes(2 * (255 << LEFT_SHIFT)) {
        Ok(())
    } else {
        Err(Fault::Quantization)
    }
}
