//! Adds rows and columns around the input that repeat some of its own, as PyTorch's
//! `ReflectionPad2d` and `ReplicationPad2d` do.
//!
//! ```text
//! output[y, x, c] = input[inside(y − top, rows), inside(x − left, columns), c]
//!
//! inside(i, n), mirrored:   −i where i < 0, 2 (n − 1) − i where i ≥ n, else i
//! inside(i, n), of edges:    0 where i < 0,     n − 1     where i ≥ n, else i
//! ```
//!
//! Input and output have the same scale. The record's parameter has three bytes: 0 for a mirror or
//! 1 for edges, *top*, and *bottom*; pads 1 and 3 are *left* and *right*. The kernel rows and the
//! other pads are those of the [rows that a step may read](rows_under), because a step at the lower
//! border reads a row far above it.

use super::{Rows, Window};
use crate::error::Fault;
use crate::format::LayerRecord;
use crate::model::Model;
use crate::proved::proved;
use crate::steps::MAX_KERNEL;

/// A border, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Border {
    /// Shapes of input and output.
    pub window: Window,
    /// Whether it mirrors the input; otherwise it repeats the edges.
    pub mirrored: bool,
    /// Number of rows above the input.
    pub top: usize,
    /// Number of columns to its left.
    pub left: usize,
    /// Number of rows under a step before the row with the output's index.
    above: usize,
}

/// The rows that a step may read: the number of rows before the one with the output's index, and
/// the number of rows in all. The last mirrored row is above the output row by twice the height of
/// the border, and the first is below it by the height of the top border.
pub const fn rows_under(top: u8, bottom: u8) -> [u8; 2] {
    let above = top.saturating_add(bottom.saturating_mul(2));
    [above, above.saturating_add(top).saturating_add(1)]
}

/// The index inside the input for index `i` of the output, which begins `before` outside.
fn inside(i: usize, before: usize, length: usize, mirrored: bool) -> usize {
    let last = length.saturating_sub(1);
    match i.checked_sub(before) {
        Some(i) if i <= last => i,
        Some(i) if mirrored => (2 * last).saturating_sub(i),
        Some(_) => last,
        None if mirrored => before - i,
        None => 0,
    }
}

/// The three bytes of the parameter; `None` if it has a fourth or an unknown mode.
fn parts(layer: &LayerRecord) -> Option<[u8; 3]> {
    let [mode, top, bottom, rest] = layer.parameter.get().to_le_bytes();
    (rest == 0 && mode <= 1).then_some([mode, top, bottom])
}

impl Border {
    /// The border of a checked record.
    pub(crate) fn new(model: &Model<'_>, layer: &LayerRecord) -> Self {
        let [mode, top, bottom] = parts(layer).unwrap_or_default();
        Self {
            window: Window::of(model, layer),
            mirrored: mode == 0,
            top: top.into(),
            left: layer.pads[1].into(),
            above: rows_under(top, bottom)[0].into(),
        }
    }

    /// Output row `y`, from the rows under it.
    pub fn run(&self, y: u16, rows: &Rows<'_>, output: &mut [i8]) {
        let input = self.window.input;
        let (y, channels) = (usize::from(y), usize::from(input.channels).max(1));
        let from = inside(y, self.top, input.rows.into(), self.mirrored);
        let row = proved!(rows.get((from + self.above).wrapping_sub(y))).copied().unwrap_or(&[]);
        for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
            let column = inside(x, self.left, input.columns.into(), self.mirrored);
            let values = row.get(column * channels..).unwrap_or(&[]);
            pixel.iter_mut().zip(values).for_each(|(out, &value)| *out = value);
        }
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let input = model.input_of(layer);
    let [_, top, bottom] = parts(layer).ok_or(Fault::Shape)?;
    let [above, rows] = rows_under(top, bottom);
    let [_, left, below, right] = layer.pads;
    if usize::from(rows) > MAX_KERNEL || layer.kernel != [rows, 1] {
        return Err(Fault::Kernel);
    }
    let sum = |length: u16, before: u8, after: u8| {
        u32::from(length) + u32::from(before) + u32::from(after)
    };
    // A mirrored border has fewer rows and columns than the input.
    let fits = |length: u16, before: u8, after: u8| u16::from(before.max(after)) < length;
    if layer.stride != [1, 1]
        || layer.pads[0] != above
        || u32::from(below) + u32::from(above) + 1
            != u32::from(top) + u32::from(bottom) + u32::from(rows)
        || u32::from(layer.rows.get()) != sum(input.rows.get(), top, bottom)
        || u32::from(layer.columns.get()) != sum(input.columns.get(), left, right)
        || !fits(input.rows.get(), top, bottom)
        || !fits(input.columns.get(), left, right)
        || layer.channels != input.channels
    {
        return Err(Fault::Shape);
    }
    if input.zero_point != layer.zero_point || input.scale.get() != layer.scale.get() {
        return Err(Fault::Quantization);
    }
    Ok(())
}
