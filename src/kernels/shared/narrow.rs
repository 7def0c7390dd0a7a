//! Convolutions whose weights have less than eight bits.
//!
//! The weights of one group of output channels at a time are unpacked to bytes, and multiplied by
//! the kernel for these.
//!
//! ```text
//! for each group of output channels:
//!     weights = unpack(weights of the group)         five to eight operations for four weights
//!     row = what a join adds to, at these channels
//!     row = conv(weights, row)                       the backend's own
//!     output[column, channels of the group] = row[column]
//! ```
//!
//! Each weight is thus unpacked once for each row of the output, on every backend, and the
//! arithmetic is that of weights in bytes.

use super::channels::{conv_of, gather, scatter};
use crate::format::{Packing, unpack};
use crate::kernels::Backend;
use crate::ops::conv::scratch::unpacked_parts;
use crate::ops::conv::{Conv, Finish};
use crate::ops::{Rows, Shortcut, int8_mut};
use crate::proved::proved;

/// Makes one output row; see [`Backend::conv`]. `unpacked` is the packing to which the weights are
/// unpacked, and which the backend runs. It is not inlined, so that only such layers take its stack.
#[inline(never)]
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
        let packed = conv.packing.of_group(conv.weights, first, kernel);
        unpack(conv.packing.bits(), packed, weights);
        let of_group = first..first + count;
        let weights = proved!(weights.get(..unpacked.bytes(count, kernel))).unwrap_or(&[]);
        let part = conv_of(conv, &of_group, unpacked, weights);
        let alone = count == channels;
        if !alone && matches!(conv.finish, Finish::Join { .. }) {
            gather(conv, &of_group, shortcut, output, row);
        }
        let length = count * columns;
        let (shortcut, target) = match alone {
            true => (shortcut, &mut *output),
            false => (&Shortcut::InPlace, proved!(row.get_mut(..length)).unwrap_or_default()),
        };
        backend.conv(&part, rows, shortcut, scratch, target);
        if !alone {
            scatter(conv, &of_group, columns, row, output);
        }
        first += count;
    }
}
