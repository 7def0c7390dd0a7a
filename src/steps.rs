//! The rows that a step of a layer reads and makes: what the schedule and the checks need to know
//! about a layer's record.

use core::ops::Range;

use crate::format::LayerRecord;
use crate::graph::Graph;

/// Largest number of kernel rows and columns.
pub const MAX_KERNEL: usize = 16;

/// Number of output rows that `steps` steps have made.
#[inline]
pub(crate) fn rows_made(layer: &LayerRecord, steps: u16) -> u16 {
    if steps >= layer.steps.get() {
        return layer.rows.get();
    }
    steps.wrapping_mul(u16::from(layer.step_rows))
}

/// The input rows that step `step` reads, if the input has `rows` rows. Kernel rows on padding are
/// left out; the range is empty if the kernel lies entirely on padding.
#[inline]
pub(crate) fn rows_read(layer: &LayerRecord, step: u16, rows: u16) -> Range<u16> {
    let top = u32::from(step) * u32::from(layer.step_stride);
    let on_input =
        |row: u32| row.saturating_sub(u32::from(layer.pads[0])).min(u32::from(rows)) as u16;
    on_input(top)..on_input(top + u32::from(layer.step_span))
}

/// Number of kernel rows of step `step` that lie on the padding above the input.
#[inline]
pub(crate) fn rows_above(layer: &LayerRecord, step: u16) -> usize {
    usize::from(layer.pads[0]).saturating_sub(usize::from(step) * usize::from(layer.step_stride))
}

/// The row of the shortcut that is used for row `y` of the output.
#[inline]
pub(crate) fn shortcut_row(layer: &LayerRecord, y: u16) -> u16 {
    y.saturating_mul(u16::from(layer.shortcut_stride))
}

/// The rows of the shortcut that step `step` reads, including skipped rows between them.
#[inline]
pub(crate) fn shortcut_rows(layer: &LayerRecord, step: u16) -> Range<u16> {
    let end = rows_made(layer, step + 1);
    shortcut_row(layer, rows_made(layer, step))
        ..shortcut_row(layer, end.saturating_sub(1)).saturating_add(1)
}

/// The first row of tensor `of`, which has the record `record`, that the layer's steps from `step`
/// on read; `u16::MAX` if they read none.
#[inline(never)]
pub(crate) fn first_needed(layer: &LayerRecord, step: u16, of: usize, record: &LayerRecord) -> u16 {
    if step >= layer.steps.get() {
        return u16::MAX;
    }
    let mut first = u16::MAX;
    if usize::from(layer.input.get()) == of {
        first = rows_read(layer, step, record.rows.get()).start;
    }
    if layer.shortcut() == Some(of) {
        first = first.min(shortcut_row(layer, rows_made(layer, step)));
    }
    first
}

/// Whether rows of the layer's output can take the place of its shortcut's rows.
///
/// They can if each output value depends on the shortcut only through the value at the same
/// position.
#[inline(never)]
pub fn can_update(graph: &Graph<'_>, layer: &LayerRecord) -> bool {
    layer.shortcut().is_some_and(|shortcut| {
        graph.layer(shortcut).shape() == layer.shape()
            && graph.layer(shortcut).is_int16() == layer.is_int16()
            && graph.layer(shortcut).is_stream16() == layer.is_stream16()
            && layer.shortcut_stride == 1
            && layer.input != layer.shortcut
    })
}
