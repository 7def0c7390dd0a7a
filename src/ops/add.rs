//! The sum of two tensors, in TFLite's arithmetic: two roundings before the sum, one after.
//!
//! ```text
//! sum = table[input + 128] + table[256 + shortcut + 128]
//! output = clamp(zero_point + requantize(sum, multiplier))
//! ```
//!
//! The table has the value that TFLite computes for each element. It depends only on the element's
//! byte: `requantize((byte − zero point) · 2²⁰, scale / (2 · the larger scale))`. The multiplier is
//! twice the larger scale / (2²⁰ · the output's). Source: TFLite's `ADD` for int8 (`left_shift` =
//! 20). Networks that brooklet quantizes itself end their blocks with the [join](super::conv)
//! instead.

use zerocopy::little_endian::I32;

use super::conv::check::largest;
use super::{Shortcut, section, words};
use crate::error::{Fault, Section};
use crate::format::LayerRecord;
use crate::model::Model;
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, requantize};
use crate::shape::Shape;

/// Number of bits by which both operands are shifted before they are scaled.
pub const LEFT_SHIFT: u32 = 20;

/// Number of bytes of the table.
pub(crate) const TABLE_BYTES: usize = 2 * 4 * 256;

/// An add, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Add<'m> {
    /// Shape of the input and of the output.
    pub shape: Shape,
    /// The first 256 entries are indexed by the input's byte + 128, the others by the shortcut's.
    pub table: &'m [I32],
    /// Multiplier of the sum.
    pub multiplier: Multiplier,
    /// Zero point of the output.
    pub zero_point: i32,
    /// Range of the output.
    pub clamp: Clamp,
}

impl<'m> Add<'m> {
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        Self {
            shape: layer.shape(),
            table: words(proved!(model.bytes(layer.table.get(), TABLE_BYTES)).unwrap_or(&[])),
            multiplier: layer.multiplier(0),
            zero_point: i32::from(layer.zero_point),
            clamp: layer.clamp(),
        }
    }

    /// The sum of `input` and the shortcut at column `x` and channel `c`.
    ///
    /// `here` is the value at the output's position.
    #[inline(always)]
    pub fn output(&self, input: i8, shortcut: &Shortcut<'_>, x: usize, c: usize, here: i8) -> i8 {
        let term = |q: i8, first: usize| {
            let index = first + usize::from((q as u8) ^ 0x80);
            proved!(self.table.get(index)).map_or(0, |term| term.get())
        };
        let sum = term(input, 0) + term(shortcut.at(x, c, here), 256);
        self.clamp.apply(requantize(sum, self.multiplier) + self.zero_point)
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    if layer.shortcut().is_none() {
        return Err(Fault::Operands);
    }
    if model.input_of(layer).shape() != layer.shape() {
        return Err(Fault::Shape);
    }
    section(model, Section::ShortcutTable, layer.table, TABLE_BYTES, 4)?;
    let add = Add::new(model, layer);
    let bound = add.table.chunks(256).map(largest).fold(0, u32::saturating_add);
    // Kernels may take the high word of twice the sum. Adding the zero point must fit into 32 bits.
    if add.multiplier.takes(bound.saturating_mul(2).saturating_add(256)) {
        Ok(())
    } else {
        Err(Fault::Quantization)
    }
}
