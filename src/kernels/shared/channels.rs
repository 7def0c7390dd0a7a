//! Runs some output channels of a convolution as a convolution of its own.
//!
//! Its outputs are made in a separate row, and then copied to their positions in the output.
//!
//! ```text
//! output   │ a b c d e │ a b c d e │ …        a column: its channels
//! row          │ b c │ b c │ …                the channels of a part
//! ```

use core::ops::Range;

use crate::format::Packing;
use crate::ops::conv::{Conv, Finish};
use crate::ops::{Shortcut, Window, stream16};
use crate::proved::proved;
use crate::shape::Shape;

/// The convolution of the output channels `channels`, with their weights.
#[inline(always)]
pub(crate) fn conv_of<'c>(
    conv: &Conv<'c>,
    channels: &Range<usize>,
    packing: Packing,
    weights: &'c [i8],
) -> Conv<'c> {
    let part = |all: usize| channels.start..channels.end.min(all);
    Conv {
        window: Window {
            output: Shape { channels: channels.len() as u16, ..conv.window.output },
            ..conv.window
        },
        packing,
        weights,
        bias: proved!(conv.bias.get(part(conv.bias.len()))).unwrap_or(&[]),
        mantissas: proved!(conv.mantissas.get(part(conv.mantissas.len()))).unwrap_or(&[]),
        shifts: proved!(conv.shifts.get(part(conv.shifts.len()))).unwrap_or(&[]),
        ..*conv
    }
}

/// Copies into `row` the shortcut of a join for these channels, if the shortcut is in place.
#[inline(always)]
pub(crate) fn gather(
    conv: &Conv<'_>,
    channels: &Range<usize>,
    shortcut: &Shortcut<'_>,
    output: &[i8],
    row: &mut [i8],
) {
    let (all, count) = (usize::from(conv.window.output.channels), channels.len());
    for x in 0..usize::from(conv.window.output.columns) {
        let here = x * all + channels.start;
        let here = proved!(output.get(here..here + count)).unwrap_or(&[]).iter();
        let place = proved!(row.get_mut(x * count..(x + 1) * count)).unwrap_or_default();
        for (c, (here, place)) in (channels.start..).zip(here.zip(place)) {
            *place = shortcut.at(x, c, *here);
        }
    }
}

/// Copies the outputs of these channels from `row` to their positions in the output, for `columns`
/// columns.
#[inline(always)]
pub(crate) fn scatter(
    conv: &Conv<'_>,
    channels: &Range<usize>,
    columns: usize,
    row: &[i8],
    output: &mut [i8],
) {
    let (all, count) = (usize::from(conv.window.output.channels), channels.len());
    for x in 0..columns {
        let place = x * all + channels.start;
        let values = proved!(row.get(x * count..(x + 1) * count)).unwrap_or(&[]);
        let place = proved!(output.get_mut(place..place + count)).unwrap_or_default();
        place.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
    }
}

/// Copies into `row` the shortcut that is added to the outputs of these channels, if it is in
/// place.
#[inline(never)]
pub(crate) fn take(
    conv: &Conv<'_>,
    channels: &Range<usize>,
    shortcut: &Shortcut<'_>,
    output: &[i8],
    row: &mut [i8],
) {
    match conv.finish {
        // A row beyond the end of the output is empty.
        _ if output.is_empty() => {}
        Finish::Requantize { .. } => {}
        Finish::Join { .. } => gather(conv, channels, shortcut, output, row),
        Finish::Stream(_) => {
            let (all, count) = (usize::from(conv.window.output.channels), channels.len());
            for x in 0..usize::from(conv.window.output.columns) {
                for (i, c) in channels.clone().enumerate() {
                    let number = shortcut.number_at(x, c, stream16::at(output, x * all + c));
                    stream16::put(row, x * count + i, number);
                }
            }
        }
    }
}

/// Copies the outputs of these channels from `row` to their positions in the output.
#[inline(never)]
pub(crate) fn put(conv: &Conv<'_>, channels: &Range<usize>, row: &[i8], output: &mut [i8]) {
    // A row of a 16-bit stream is two rows of bytes.
    let rows = if matches!(conv.finish, Finish::Stream(_)) { 2 } else { 1 };
    let columns =
        if output.is_empty() { 0 } else { rows * usize::from(conv.window.output.columns) };
    scatter(conv, channels, columns, row, output);
}
