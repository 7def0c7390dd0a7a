//! Convolutions whose weights have four bits: unpacked to bytes, a group of output channels at a
//! time, and multiplied by the kernel for these.
//!
//! ```text
//! for each group of output channels:
//!     weights = unpack(weights of the group)         four operations for four weights
//!     row = what a join adds to, at these channels
//!     row = conv(weights, row)                       the backend's own
//!     output[column, channels of the group] = row[column]
//! ```
//!
//! So each weight is unpacked once for a row of the output, whatever the backend, and there is no
//! other arithmetic than that of weights in bytes.

use crate::format::{Packing, unpack_halves};
use crate::kernels::Backend;
use crate::ops::conv::scratch::unpacked_parts;
use crate::ops::conv::{Conv, Finish};
use crate::ops::{Rows, Shortcut, Window, int8_mut};
use crate::proved::proved;
use crate::shape::Shape;

/// One output row; see [`Backend::conv`]. `unpacked` is what the weights are unpacked to, which
/// the backend runs.
pub(in crate::kernels) fn conv<B: Backend>(
    backend: &B,
    unpacked: Packing,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    let channels = usize::from(conv.window.output.channels);
    let columns = usize::from(conv.window.output.columns);
    let kernel = conv.kernel_taps();
    let group = conv.packing.group(kernel).min(channels).max(1);
    let [weight_bytes, row_bytes] = unpacked_parts(conv.packing, &conv.window, group);
    // `Model::parse` checked that the scratch memory is this large.
    let Some((weights, scratch)) = proved!(scratch.split_at_mut_checked(weight_bytes)) else {
        return;
    };
    let Some((row, scratch)) = proved!(scratch.split_at_mut_checked(row_bytes)) else { return };
    let (weights, row) = (int8_mut(weights), int8_mut(row));
    let mut first = 0;
    while first < channels {
        let count = group.min(channels - first).max(1);
        unpack_halves(conv.packing.of_group(conv.weights, first, kernel), weights);
        let part = |all: usize| first..(first + count).min(all);
        let part = Conv {
            window: Window {
                output: Shape { channels: count as u16, ..conv.window.output },
                ..conv.window
            },
            packing: unpacked,
            weights: proved!(weights.get(..unpacked.bytes(count, kernel))).unwrap_or(&[]),
            bias: proved!(conv.bias.get(part(conv.bias.len()))).unwrap_or(&[]),
            mantissas: proved!(conv.mantissas.get(part(conv.mantissas.len()))).unwrap_or(&[]),
            shifts: proved!(conv.shifts.get(part(conv.shifts.len()))).unwrap_or(&[]),
            ..*conv
        };
        let alone = count == channels;
        // Where a column's channels of the group are in the output, and in the row.
        let at = |x: usize| {
            let start = x * channels + first;
            (start..start + count, x * count..(x + 1) * count)
        };
        if !alone && matches!(conv.finish, Finish::Join { .. }) {
            for x in 0..columns {
                let (here, place) = at(x);
                let here = proved!(output.get(here)).unwrap_or(&[]).iter();
                let place = proved!(row.get_mut(place)).unwrap_or_default();
                for (c, (here, place)) in (first..).zip(here.zip(place)) {
                    *place = shortcut.at(x, c, *here);
                }
            }
        }
        let length = count * columns;
        let (shortcut, target) = match alone {
            true => (shortcut, &mut *output),
            false => (&Shortcut::InPlace, proved!(row.get_mut(..length)).unwrap_or_default()),
        };
        backend.conv(&part, rows, shortcut, scratch, target);
        if !alone {
            for x in 0..columns {
                let (place, values) = at(x);
                let values = proved!(row.get(values)).unwrap_or(&[]);
                let place = proved!(output.get_mut(place)).unwrap_or_default();
                place.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
        }
        first += count;
    }
}
