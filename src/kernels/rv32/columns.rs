//! Convolutions with eight columns in five words.
//!
//! ```text
//! for each eight columns of the output:
//!     sums[channel][column] = bias
//!     for each 32 taps:
//!         patch[tap] = the values under the kernel at the columns, as five words
//!         for each four output channels:                                          in assembly
//!             words = Σ patch[tap] · weight[tap]
//!             sums[channels] += the eight sums that the words determine
//!     output[columns] = finish(sums)                                              in assembly
//! ```
//!
//! The patch is on the stack. It takes more room than the patch of four columns, for which the
//! scratch memory has room. The sums are there instead.

use core::mem::MaybeUninit;
use core::ops::Range;

use zerocopy::FromBytes;

use super::eight_columns::{self as assembly, COLUMNS, Outputs, Products, Sums, TAPS, Words};
use crate::format::EIGHT;
use crate::kernels::shared::finish::{self, Finisher};
use crate::kernels::shared::patch::{Kernel, fill_edge, numbers};
use crate::ops::conv::Conv;
use crate::ops::{Rows, Shortcut, int8_mut};
use crate::proved::proved;

/// Fewer columns than these are left to the loop for four columns.
const FEWEST: usize = COLUMNS / 2 + 1;

/// Number of channels whose sums the assembly computes at once.
const CHANNELS: usize = 4;

/// The values of the columns at some taps, which only the assembly reads and writes.
type Patch = [MaybeUninit<Words>; TAPS];

/// Makes the outputs of the first columns of a row, up to eight at a time, and returns their number.
/// It is not inlined, so that only these columns take the stack for a patch.
#[inline(never)]
pub(super) fn conv(
    conv: &Conv<'_>,
    kernel: &Kernel,
    finisher: &Finisher<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) -> usize {
    let columns = usize::from(conv.window.output.columns);
    let channels = usize::from(conv.window.output.channels);
    let taps = conv.packed_taps();
    // The edges come last: part of a kernel row for each column on padding.
    let on_padding = kernel.inside.start + columns.saturating_sub(kernel.inside.end);
    let edges = kernel.packed.min(TAPS) * on_padding.clamp(1, COLUMNS);
    let sums = scratch.len().saturating_sub(edges) / size_of::<Sums>();
    let split = <[Sums]>::mut_from_prefix_with_elems(scratch, sums);
    let Ok((sums, edges)) = proved!(split) else { return 0 };
    let edges = int8_mut(edges);
    // All channels, or a multiple of eight.
    let all = channels.next_multiple_of(CHANNELS) <= sums.len();
    let together = if all { channels } else { sums.len() / EIGHT * EIGHT };
    if together == 0 {
        return 0;
    }
    let mut patch = [MaybeUninit::uninit(); TAPS];
    let mut first = 0;
    while first + FEWEST <= columns {
        let mut group = 0..channels.min(together);
        while group.start < group.end {
            let count = numbers(&group);
            let sums = proved!(sums.get_mut(..count.next_multiple_of(CHANNELS)));
            let Some(sums) = sums else { return first };
            begin(conv, &group, sums);
            let mut chunk = 0..taps.min(TAPS);
            while chunk.start < chunk.end {
                // A patch with all taps serves all groups.
                if group.start == 0 || taps > TAPS {
                    fill(conv, kernel, rows, first, &chunk, &mut patch, edges);
                }
                multiply(conv, taps, &group, &chunk, &patch, sums);
                chunk = chunk.end..taps.min(chunk.end + TAPS);
            }
            if first + COLUMNS <= columns {
                finish(finisher, first, &group, channels, sums, output);
            } else {
                for (o, sums) in group.clone().zip(sums.iter()) {
                    finish::finish(conv, shortcut, first, o, sums, output);
                }
            }
            group = group.end..channels.min(group.end + together);
        }
        first = columns.min(first + COLUMNS);
    }
    first
}

/// Sets the sums of a group of output channels to their biases.
fn begin(conv: &Conv<'_>, group: &Range<usize>, sums: &mut [Sums]) {
    let bias = proved!(conv.bias.get(group.clone())).unwrap_or(&[]);
    if proved!(!bias.is_empty() && sums.len() >= bias.len()) {
        let Range { start, end } = bias.as_ptr_range();
        // SAFETY: there is at least one bias, and sums for each. `Finisher::of`, without which there
        // are no eight columns, has checked that biases are aligned.
        unsafe { assembly::begin(start, end, sums.as_mut_ptr()) }
    }
}

/// Writes the values of the `taps` under the kernel into a patch, at eight output columns from
/// `first` on. Columns after the last one repeat another.
fn fill(
    conv: &Conv<'_>,
    kernel: &Kernel,
    rows: &Rows<'_>,
    first: usize,
    taps: &Range<usize>,
    patch: &mut Patch,
    edges: &mut [i8],
) {
    let mut row_start = 0;
    for row in rows.iter().take(conv.window.kernel[0]) {
        // The part of the taps in this kernel row.
        let from = taps.start.max(row_start);
        let to = taps.end.min(row_start + kernel.packed);
        if from < to {
            let start = from - row_start;
            let there = patch.get_mut(from - taps.start..to - taps.start);
            let Some(patch) = proved!(there) else { return };
            fill_part(conv, kernel, row, first, start, patch, edges);
        }
        row_start += kernel.packed;
    }
}

/// The same for the part of a kernel row from value `start` on, as many values as `patch` has
/// places.
#[inline(always)]
fn fill_part(
    conv: &Conv<'_>,
    kernel: &Kernel,
    row: &[i8],
    first: usize,
    start: usize,
    patch: &mut [MaybeUninit<Words>],
    edges: &mut [i8],
) {
    let taps = patch.len();
    let at = (first * kernel.step).wrapping_sub(kernel.pad).wrapping_add(start);
    let all = kernel.inside.start <= first && first + COLUMNS <= kernel.inside.end;
    let end = at.wrapping_add((COLUMNS - 1) * kernel.step + taps);
    match row.get(at..end) {
        Some(values) if all && taps >= 2 => {
            let (values, patch) = (values.as_ptr(), patch.as_mut_ptr().cast());
            // SAFETY: the values are those from the first column to the end of the last, which has
            // `taps` of them. The patch has as many places: whole pairs, at least one, because
            // kernel rows in `eights` and chunks of them have an even number of taps.
            unsafe { assembly::widen(values, kernel.step, patch, taps / 2, None) }
        }
        _ => fill_edges(conv, kernel, row, first, start, patch, edges),
    }
}

/// The same for columns of which some lie on padding. The values at these are written to `edges`.
#[inline(never)]
fn fill_edges(
    conv: &Conv<'_>,
    kernel: &Kernel,
    row: &[i8],
    first: usize,
    start: usize,
    patch: &mut [MaybeUninit<Words>],
    edges: &mut [i8],
) {
    let taps = patch.len();
    let last = usize::from(conv.window.output.columns);
    let mut columns = [row.as_ptr(); COLUMNS];
    let mut edges = edges.chunks_exact_mut(taps.max(1));
    let mut at = (first * kernel.step).wrapping_sub(kernel.pad).wrapping_add(start);
    let mut place = row.as_ptr();
    for (x, column) in (first..).zip(&mut columns) {
        let inside = kernel.inside.contains(&x) && !row.is_empty();
        let values = if inside { row.get(at..at.wrapping_add(taps)) } else { None };
        at = at.wrapping_add(kernel.step);
        // In a row of padding, all columns are the same.
        let repeats = x >= last || (row.is_empty() && x > first);
        if let Some(values) = values {
            place = values.as_ptr();
        } else if !repeats {
            let Some(edge) = proved!(edges.next()) else { return };
            fill_edge(conv, row, x, start, edge);
            place = edge.as_ptr();
        }
        *column = place;
    }
    if proved!(taps >= 2) {
        let patch = patch.as_mut_ptr().cast();
        // SAFETY: each pointer is that of a slice of `taps` values: the first column is one of the
        // output, and the others have a slice of their own or that of the one before. The patch has
        // as many places, at least one pair.
        unsafe { assembly::widen(row.as_ptr(), 0, patch, taps / 2, Some(&columns)) }
    }
}

/// Adds the products of a chunk of taps to the sums of a group of output channels.
#[inline(never)]
fn multiply(
    conv: &Conv<'_>,
    taps: usize,
    group: &Range<usize>,
    chunk: &Range<usize>,
    patch: &Patch,
    sums: &mut [Sums],
) {
    let weights =
        proved!(conv.weights.get(group.start * taps + EIGHT * chunk.start..)).unwrap_or(&[]);
    let count = numbers(chunk);
    let eights = sums.len().div_ceil(EIGHT).saturating_sub(1);
    let there = count >= 2
        && count.is_multiple_of(2)
        && count <= TAPS
        && !sums.is_empty()
        && sums.len().is_multiple_of(CHANNELS)
        && weights.len() >= EIGHT * (eights * taps + count);
    if !proved!(there) {
        return;
    }
    let Range { start, end } = sums.as_mut_ptr_range();
    let mut args = Products {
        patch: patch.as_ptr().cast(),
        weights: weights.as_ptr(),
        taps: count,
        sums: start,
        end,
        next: EIGHT * taps,
    };
    // SAFETY: `there` says that the number of taps is even, at least two and at most that of the
    // patch, that sums are those of a multiple of four channels and at least four, and that weights
    // are there for each eight of them, `EIGHT * taps` bytes apart. `fill` has written as many taps
    // of the patch.
    unsafe { assembly::multiply(&mut args) }
}

/// Makes outputs from the sums of a group of output channels.
#[inline(never)]
fn finish(
    finisher: &Finisher<'_>,
    first: usize,
    group: &Range<usize>,
    channels: usize,
    sums: &[Sums],
    output: &mut [i8],
) {
    let places = finisher.places(first, COLUMNS, group, channels, output);
    let Some(places) = proved!(places) else { return };
    let sums = proved!(sums.get(..numbers(group))).unwrap_or(&[]);
    if !proved!(!sums.is_empty()) {
        return;
    }
    let Range { start, end } = sums.as_ptr_range();
    let args = Outputs {
        sums: start,
        end,
        mantissas: places.mantissas,
        shifts: places.shifts,
        output: places.output,
        stride: channels,
        last: finisher.last,
        table: finisher.table,
        shortcut: places.shortcut,
        shortcut_stride: places.shortcut_stride,
        factor: finisher.factor,
        lower: places.lower,
        shortcut_lower: places.shortcut_lower,
    };
    // SAFETY: the group has at least one channel, and sums for each. `Finisher::of` has checked that
    // mantissas are aligned, and that the table is aligned or is `STREAM16`. `Finisher::places` has
    // found mantissas, shifts, outputs and shortcut for the whole group, at eight columns.
    unsafe { assembly::finish(&args) }
}
