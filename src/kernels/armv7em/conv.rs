//! Convolutions: patches of four columns, and their products in assembly.

use core::arch::naked_asm;
use core::ops::Range;
use core::ptr::{null, null_mut};

use zerocopy::FromBytes;
use zerocopy::little_endian::I32;

use super::blocks::{Args, CONTINUE, Columns, JOIN, KEEP, Sums, blocks};
use crate::format::Packing;
use crate::kernels::shared::finish::{Finisher, finish};
use crate::kernels::shared::patch::{Kernel, fill_edge, numbers};
use crate::ops::conv::{CHUNK_TAPS, Conv, GROUP_CHANNELS, PATCH_COLUMNS, Padding};
use crate::ops::{Rows, Shortcut};
use crate::proved::proved;

/// One output row; see [`Backend::conv`](crate::kernels::Backend::conv).
pub(super) fn conv(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    let channels = usize::from(conv.window.output.channels).max(1);
    let taps = conv.packed_taps();
    let chunk_taps = taps.clamp(4, CHUNK_TAPS);
    // `Model::parse` checked that the scratch memory is this large.
    let scratch = scratch.split_at_mut_checked(2 * PATCH_COLUMNS * chunk_taps);
    let Some((patch, acc)) = proved!(scratch) else { return };
    let patch = proved!(<[Columns]>::mut_from_bytes(patch)).unwrap_or_default();
    let acc = proved!(<[Sums]>::mut_from_bytes(acc)).unwrap_or_default();
    let ordinary = Finisher::of(conv, shortcut).filter(|_| channels.is_multiple_of(2));
    let kernel = Kernel::of(conv);
    let mut edge = [0; CHUNK_TAPS];
    let all = usize::from(conv.window.output.columns);
    let mut first = 0;
    while first < all {
        let columns = PATCH_COLUMNS.min(all - first);
        let whole = columns == PATCH_COLUMNS;
        let finisher = if whole { ordinary.as_ref() } else { None };
        let mut group = 0..channels.min(GROUP_CHANNELS);
        while group.start < group.end {
            let mut chunk = 0..taps.min(CHUNK_TAPS);
            while chunk.start < chunk.end {
                fill(conv, &kernel, rows, first, columns, &chunk, patch, &mut edge);
                let last = if chunk.end == taps { finisher } else { None };
                multiply(conv, taps, first, &group, &chunk, patch, acc, last, output);
                chunk = chunk.end..taps.min(chunk.end + CHUNK_TAPS);
            }
            if finisher.is_none() {
                for (o, acc) in group.clone().zip(acc.as_flattened()) {
                    finish(conv, shortcut, first, o, acc, output);
                }
            }
            group = group.end..channels.min(group.end + GROUP_CHANNELS);
        }
        first += PATCH_COLUMNS;
    }
}

/// Writes the values of the `taps` under the kernel into a patch, at up to four output columns from
/// `first` on. `edge` has room for the values of one column.
#[allow(clippy::too_many_arguments)]
fn fill(
    conv: &Conv<'_>,
    kernel: &Kernel,
    rows: &Rows<'_>,
    first: usize,
    columns: usize,
    taps: &Range<usize>,
    patch: &mut [Columns],
    edge: &mut [i8],
) {
    // The columns of the patch that lie inside, and the position at which the first of them begins.
    let (last, inside) = (first + columns, &kernel.inside);
    let begin = inside.start.max(first).min(last) - first;
    let end = inside.end.max(first + begin).min(last) - first;
    let left = ((first + begin) * kernel.step).saturating_sub(kernel.pad);
    let mut row_start = 0;
    for (row, _) in rows.iter().zip(0..conv.window.kernel[0]) {
        // The part of the taps in this kernel row.
        let from = taps.start.max(row_start);
        let to = taps.end.min(row_start + kernel.packed);
        if from < to {
            let part = from - row_start..to - row_start;
            let Some(patch) = proved!(patch.get_mut((from - taps.start) / 2..)) else { return };
            if let (true, Padding::Same(zero)) = (row.is_empty(), conv.padding) {
                // Padding weights are zero, so that any value may be multiplied by them.
                let zeros = u32::from(zero as i16 as u16) * 0x1_0001;
                proved!(patch.get_mut(..(to - from) / 2))
                    .unwrap_or_default()
                    .fill([zeros; PATCH_COLUMNS]);
            } else {
                let (mut begin, mut end) = (begin, end);
                match row.get(left + part.start..) {
                    Some(values) if !row.is_empty() => {
                        widen(values, begin, end - begin, kernel.step, (to - from) / 4, patch);
                    }
                    _ => (begin, end) = (columns, columns),
                }
                if begin > 0 || end < columns {
                    let outside = [0..begin, end..columns];
                    fill_edges(conv, row, first, outside, &part, patch, edge);
                }
            }
        }
        row_start += kernel.packed;
    }
}

/// Writes the values of part of a kernel row into a patch, at the columns where it lies on padding or
/// at the end of the row. It is not inlined, because most patches have none.
#[inline(never)]
fn fill_edges(
    conv: &Conv<'_>,
    row: &[i8],
    first: usize,
    columns: [Range<usize>; 2],
    part: &Range<usize>,
    patch: &mut [Columns],
    edge: &mut [i8],
) {
    for column in columns.into_iter().flatten() {
        let edge = proved!(edge.get_mut(..numbers(part))).unwrap_or_default();
        fill_edge(conv, row, first + column, part.start, edge);
        widen(edge, column, 1, 0, edge.len() / 4, patch);
    }
}

/// Writes `words` · 4 values into each column of the patch from `column` on. The values of
/// consecutive columns are `step` values apart.
#[inline(always)]
fn widen(
    values: &[i8],
    column: usize,
    columns: usize,
    step: usize,
    words: usize,
    patch: &mut [Columns],
) {
    let there = columns > 0
        && words > 0
        && column + columns <= PATCH_COLUMNS
        && patch.len() >= 2 * words
        && values.len() >= (columns - 1) * step + 4 * words;
    if !there {
        return;
    }
    let target = patch.as_mut_ptr().cast::<u32>().wrapping_add(column);
    // SAFETY: as was just checked, `values` has `words` words for each of the columns, which are
    // `step` bytes apart, and `patch` has room for two tap pairs for each word.
    unsafe { widen_columns(values.as_ptr(), target, words, step, columns) }
}

/// ```text
/// r0 values   r1 target   r2 words   r3 step   r4 columns left
/// r5 r12 values of two columns   r6 their target   r7 words left   r8 … r10 lr  words and halves
/// ```
///
/// # Safety
///
/// There is at least one word and one column. For each column, `words` words can be read, at
/// `values` for the first and `step` bytes further on for each of the others. For each word of a
/// column, two words can be written, at `target` for the first column and one word further on for
/// each of the others.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn widen_columns(
    values: *const i8,
    target: *mut u32,
    words: usize,
    step: usize,
    columns: usize,
) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r10, lr}}",
        "ldr r4, [sp, #32]",
        "subs r4, r4, #2",
        "blo 4f",
        // Two columns.
        "1:",
        "mov r5, r0",
        "mov r6, r1",
        "mov r7, r2",
        "add r12, r0, r3",
        "lsrs r7, r7, #2",
        "beq 3f",
        "2:",
        ".irp at, 0, 32, 64, 96",
        "ldr r8, [r5], #4",
        "ldr r10, [r12], #4",
        "sxtb16 lr, r8, ror #8",
        "sxtb16 r8, r8",
        "sxtb16 r9, r10",
        "sxtb16 r10, r10, ror #8",
        // Two single stores take a cycle less than one of two words.
        "str r8, [r6, #\\at]",
        "str r9, [r6, #\\at + 4]",
        "str lr, [r6, #\\at + 16]",
        "str r10, [r6, #\\at + 20]",
        ".endr",
        "add r6, r6, #128",
        "subs r7, r7, #1",
        "bne 2b",
        "3:",
        "ands r7, r2, #3",
        "beq 8f",
        "7:",
        "ldr r8, [r5], #4",
        "ldr r10, [r12], #4",
        "sxtb16 lr, r8, ror #8",
        "sxtb16 r8, r8",
        "sxtb16 r9, r10",
        "sxtb16 r10, r10, ror #8",
        "strd r8, r9, [r6], #16",
        "strd lr, r10, [r6], #16",
        "subs r7, r7, #1",
        "bne 7b",
        "8:",
        "add r0, r0, r3, lsl #1",
        "add r1, r1, #8",
        "subs r4, r4, #2",
        "bhs 1b",
        "4:",
        "adds r4, r4, #2",
        "beq 6f",
        // The last of an odd number.
        "lsrs r2, r2, #1",
        "bcc 5f",
        "ldr r8, [r0], #4",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "str r8, [r1, #16]",
        "str r12, [r1], #32",
        "beq 6f",
        "5:",
        "ldr r8, [r0], #4",
        "ldr r10, [r0], #4",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r9, r10",
        "sxtb16 r10, r10, ror #8",
        "str r8, [r1, #16]",
        "str r10, [r1, #48]",
        "str r9, [r1, #32]",
        "str r12, [r1], #64",
        "subs r2, r2, #1",
        "bne 5b",
        "6:",
        "pop {{r4-r10, pc}}",
    )
}

/// Adds the products of a chunk of taps for a group of output channels. With `finisher` it is the
/// last chunk, and the sums become outputs.
#[allow(clippy::too_many_arguments)]
fn multiply(
    conv: &Conv<'_>,
    taps: usize,
    first: usize,
    group: &Range<usize>,
    chunk: &Range<usize>,
    patch: &[Columns],
    acc: &mut [Sums],
    finisher: Option<&Finisher<'_>>,
    output: &mut [i8],
) {
    let channels = usize::from(conv.window.output.channels);
    let left = numbers(group).div_ceil(2);
    let pairs = numbers(chunk) / 2;
    let int16 = usize::from(conv.packing == Packing::WidePairs);
    let width = 1 + int16;
    let start = 2 * width * (group.start / 2 * taps + chunk.start);
    let weights = proved!(conv.weights.get(start..)).unwrap_or(&[]);
    let bias = proved!(conv.bias.get(group.start..)).unwrap_or(&[]);
    let there = pairs > 0
        && pairs.is_multiple_of(2)
        && left > 0
        && patch.len() >= pairs
        && acc.len() >= left
        && weights.len() >= width * (2 * (left - 1) * taps + 4 * pairs)
        && bias.len() >= numbers(group);
    if !proved!(there) {
        return;
    }
    let (first_chunk, with_bias) = if chunk.start > 0 { (CONTINUE, 0) } else { (0, 1) };
    let mut args = Args {
        patch: patch.as_ptr(),
        weights: weights.as_ptr(),
        pairs,
        bias: bias.as_ptr(),
        mantissas: null(),
        shifts: null(),
        output: null_mut(),
        stride: channels,
        left: 2 * (numbers(group) / 2) + with_bias,
        last: 0,
        table: null(),
        shortcut: null(),
        shortcut_stride: 0,
        acc: acc.as_mut_ptr(),
        skip: width * (2 * taps - 4 * pairs),
        parts: first_chunk | KEEP,
        int16,
        factor: 0,
        lower: 0,
        shortcut_lower: 0,
    };
    if let Some(finisher) = finisher {
        let places = finisher.places(first, PATCH_COLUMNS, group, channels, output);
        let Some(places) = proved!(places) else { return };
        (args.last, args.table) = (finisher.last, finisher.table);
        (args.mantissas, args.shifts) = (places.mantissas, places.shifts);
        args.output = places.output;
        (args.shortcut, args.shortcut_stride) = (places.shortcut, places.shortcut_stride);
        (args.factor, args.lower) = (finisher.factor, places.lower);
        args.shortcut_lower = places.shortcut_lower;
        args.parts = first_chunk | if finisher.table.is_null() { 0 } else { JOIN };
    }
    if args.left > 1 {
        // SAFETY: as was just checked, `patch` has the tap pairs that `args` counts, an even number,
        // `weights` has four bytes for each of them and each pair of channels, `skip` bytes apart
        // from one pair of channels to the next, `bias` has a word for each channel of the group,
        // and `acc` the sums of each pair of channels. `left` counts whole pairs, and is not zero. With a
        // `finisher`, `Finisher::of` has checked that mantissas and the table are aligned, and that
        // the table has 128 words on either side of its middle, or is `STREAM16`.
        // `Finisher::places` has found mantissas, shifts, outputs and shortcut for the group, at
        // four columns.
        unsafe { blocks(&mut args) }
    }
    // One channel is left. The packing pads it with a second one, whose weights are zero.
    if !numbers(group).is_multiple_of(2) && args.parts & KEEP != 0 {
        let last = proved!(bias.get(numbers(group) - 1)).copied().unwrap_or_default();
        let bias = [last, I32::ZERO];
        args.bias = bias.as_ptr();
        args.left = 2 + with_bias;
        // SAFETY: as before, for the last pair of `left`, with a bias for each.
        unsafe { blocks(&mut args) }
    }
}
