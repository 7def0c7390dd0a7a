//! Some output channels of a convolution: a convolution by itself, whose outputs are gathered beside,
//! and put where they belong.
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

/// The convolution of some output channels, whose weights are these.
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

/// Copies what a join of these channels adds to into `row`, where that is in its place.
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

/// Puts the outputs of these channels in `row`, at that number of columns, where they belong.
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

/// Copies what the outputs of these channels are added to into `row`, where that is in its place.
#[inline(never)]
pub(crate) fn take(
    conv: &Conv<'_>,
    channels: &Range<usize>,
    shortcut: &Shortcut<'_>,
    output: &[i8],
    row: &mut [i8],
) {
    match conv.finish {
        // A row that the output does not have is empty.
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

/// Puts the outputs of these channels in `row` where they belong.
#[inline(never)]
pub(crate) fn put(conv: &Conv<'_>, channels: &Range<usize>, row: &[i8], output: &mut [i8]) {
    // Of a stream in 16 bits there are two rows of bytes.
    let rows = if matches!(conv.finish, Finish::Stream(_)) { 2 } else { 1 };
    let columns =
        if output.is_empty() { 0 } else { rows * usize::from(conv.window.output.columns) };
    scatter(conv, channels, columns, row, output);
}
