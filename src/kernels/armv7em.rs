//! Cores with the DSP instructions of Armv7E-M: Cortex-M4, M7, M55, and M33 where it has them.
//!
//! ```text
//! for each four columns of the output:
//!     patch[tap pair][column] = the values under the kernel there, two int16 a word
//!     for each two output channels a, b:                              in assembly
//!         acc[a, b][column] = bias
//!         for each tap pair:
//!             acc[a][column] += patch[tap pair][column] · weights of a
//!             acc[b][column] += patch[tap pair][column] · weights of b
//!         output[column, a and b] = finish(acc)
//! ```
//!
//! `SXTB16` widens bytes 0 and 2 of a word, rotated bytes 1 and 3: so values are widened as they
//! enter the patch, and [`Packing::Pairs`] has weights in the order that comes out. `SMLAD` adds
//! two products, `SMMULR` is the high word of a product, rounded: a requantization but for its
//! last shift.
//!
//! Instructions: for a tap pair, which is 16 multiply-accumulates, 13 and the loop's half: 0.84
//! each; of [`Packing::WidePairs`] 11: 0.71. To finish an output 10, behind a join 15. For the
//! patch 1.1 a value. Measured for ResNet-8, outputs included: 0.95, and 0.85; with all that is
//! around them 0.93 to 1.14 for 3×3 kernels, the fewer the more channels there are.
//!
//! The targets of Armv8-M do not tell whether a core has these instructions. So the assembly
//! names one that does, and uses of it what Armv7E-M has too.

#![allow(unsafe_code)]

mod winograd;

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ops::Range;
use core::ptr::{null, null_mut};

use zerocopy::FromBytes;
use zerocopy::little_endian::I32;

use super::quick::{AddArgs, Quick, fill_edge, finish, numbers};
use super::shared::assembly::{assert_length, consecutive};
use super::{Backend, Isa, nibbles, portable, reference};
use crate::format::Packing;
use crate::ops::add::Add;
use crate::ops::conv::{CHUNK_TAPS, Conv, GROUP_CHANNELS, PATCH_COLUMNS, Padding};
use crate::ops::max_pool::MaxPool;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};
use crate::proved::proved;

/// The backend for DSP instructions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv7em;

impl Backend for Armv7em {
    const ISA: &'static Isa = &Isa::ARMV7EM;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        if let Some(unpacked) = conv.packing.unpacked() {
            return nibbles::conv(self, unpacked, conv, rows, shortcut, scratch, output);
        }
        let channels = usize::from(conv.window.output.channels).max(1);
        let taps = conv.packed_taps();
        let chunk_taps = taps.clamp(4, CHUNK_TAPS);
        // That there is so much was checked when the model was.
        let scratch = scratch.split_at_mut_checked(2 * PATCH_COLUMNS * chunk_taps);
        let Some((patch, acc)) = proved!(scratch) else { return };
        let patch = proved!(<[Columns]>::mut_from_bytes(patch)).unwrap_or_default();
        let acc = proved!(<[Sums]>::mut_from_bytes(acc)).unwrap_or_default();
        let ordinary = Quick::of(conv, shortcut).filter(|_| channels.is_multiple_of(2));
        let kernel = Kernel::of(conv);
        let mut edge = [0; CHUNK_TAPS];
        let length = PATCH_COLUMNS * channels;
        let mut first = 0;
        for pixels in output.chunks_mut(length) {
            let whole = pixels.len() == length;
            let columns = if whole { PATCH_COLUMNS } else { pixels.len() / channels };
            let quick = if whole { ordinary.as_ref() } else { None };
            let mut group = 0..channels.min(GROUP_CHANNELS);
            while group.start < group.end {
                let mut chunk = 0..taps.min(CHUNK_TAPS);
                while chunk.start < chunk.end {
                    fill(conv, &kernel, rows, first, columns, &chunk, patch, &mut edge);
                    let last = if chunk.end == taps { quick } else { None };
                    multiply(conv, taps, first, &group, &chunk, patch, acc, last, pixels);
                    chunk = chunk.end..taps.min(chunk.end + CHUNK_TAPS);
                }
                if quick.is_none() {
                    for (o, acc) in group.clone().zip(acc.as_flattened()) {
                        finish(conv, shortcut, first, o, *acc, pixels);
                    }
                }
                group = group.end..channels.min(group.end + GROUP_CHANNELS);
            }
            first += PATCH_COLUMNS;
        }
    }

    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        super::winograd::conv(self, conv, rows, shortcuts, scratch, outputs);
    }

    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        match AddArgs::of(add, input, shortcut, output) {
            // SAFETY: `AddArgs::of` just made the arguments: input and output are theirs.
            Some(args) => unsafe { add_bytes(args.input, args.output, &args) },
            None => reference::add(add, input, shortcut, output),
        }
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        portable::max_pool(pool, rows, output, |values, others| {
            let fours = values.len().min(others.len()) / 4;
            if fours > 0 {
                // SAFETY: so many fours can be read of both, and of the first be written.
                unsafe { larger_bytes(values.as_mut_ptr(), others.as_ptr(), fours) }
            }
            let values = proved!(values.get_mut(4 * fours..)).unwrap_or_default();
            portable::larger(values, proved!(others.get(4 * fours..)).unwrap_or(&[]));
        });
    }
}

/// Leaves the larger of values in the place of the first: seven instructions for four.
///
/// ```text
/// r0 values   r1 others   r2 fours left   r3 r12 four each   r4 differences
/// ```
///
/// # Safety
///
/// `fours` is not zero. Four times as many bytes can be read at both, and be written at `values`.
#[unsafe(naked)]
unsafe extern "C" fn larger_bytes(values: *mut i8, others: *const i8, fours: usize) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4, lr}}",
        "2:",
        "ldr r3, [r0]",
        "ldr r12, [r1], #4",
        // Flags say of each byte whether the difference is zero or more.
        "ssub8 r4, r3, r12",
        "sel r3, r3, r12",
        "str r3, [r0], #4",
        "subs r2, r2, #1",
        "bne 2b",
        "pop {{r4, pc}}",
    )
}

/// 12 instructions an element, and half of one for the loop.
///
/// ```text
/// r0 input   r1 shortcut   r2 output   r3 bytes left, by rounds of four   r4 r5 middles of the tables
/// r6 mantissa   r7 what is added before the shift   r8 shift   r12 lr  an element
/// ```
///
/// # Safety
///
/// [`AddArgs::of`] made the arguments; input and output are theirs, and were not used since.
#[unsafe(naked)]
unsafe extern "C" fn add_bytes(input: *const i8, output: *mut i8, args: &AddArgs) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r8, lr}}",
        "mov r3, r2",
        "mov r2, r1",
        "ldm r3!, {{r4-r8, r12}}",
        "ldr r1, [r3]",
        // The first round begins in its middle, so that those after it are whole.
        "rsb r3, r12, #0",
        "and r3, r3, #3",
        "adr.w lr, 2f",
        "add r3, r3, r3, lsl #1",
        "add lr, lr, r3, lsl #4", // 48 bytes an element
        "orr lr, lr, #1",         // Thumb
        "add r3, r12, #3",
        "bic r3, r3, #3",
        "bx lr",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb.w r12, [r0], #1",
        "ldrsb.w lr, [r1], #1",
        "ldr.w r12, [r4, r12, lsl #2]",
        "ldr.w lr, [r5, lr, lsl #2]",
        "add.w r12, r12, lr",
        "lsl.w r12, r12, #1",
        "smmulr r12, r12, r6",
        "add.w lr, r12, r7",
        "add.w r12, lr, r12, asr #31",
        "asr.w r12, r12, r8",
        "ssat r12, #8, r12",
        "strb.w r12, [r2], #1",
        ".endr",
        assert_length!("2b", "4 * 48"),
        "subs r3, r3, #4",
        "bne 2b",
        "pop {{r4-r8, pc}}",
    )
}

/// Two values, one after the other under the kernel, for each column of a patch.
type Columns = [u32; PATCH_COLUMNS];

/// The sums of two channels, each at the columns of a patch.
type Sums = [[i32; PATCH_COLUMNS]; 2];

/// How a kernel lies on the rows.
struct Kernel {
    /// Values under a kernel row, with those of no weight that are packed with them.
    packed: usize,
    /// Values from one output column to the next, and columns of padding in values.
    step: usize,
    pad: usize,
    /// Output columns at which kernel rows, as packed, lie on the row whole.
    inside: Range<usize>,
    /// Two values of padding, where it is the same for all channels. What fills the weights up to
    /// fours is zero, so that any value may meet it.
    zeros: Option<u32>,
}

impl Kernel {
    fn of(conv: &Conv<'_>) -> Self {
        let window = &conv.window;
        let inputs = usize::from(window.input.channels).max(1);
        let (stride, pad) = (window.stride[1].max(1), window.pad_left);
        let packed = (window.kernel[1] * inputs).next_multiple_of(4);
        let room = (usize::from(window.input.columns) * inputs).checked_sub(packed);
        let end = room.map_or(0, |room| (room / inputs + pad) / stride + 1);
        let inside = pad.div_ceil(stride)..end;
        let zeros = match conv.padding {
            Padding::Same(zero) => Some(u32::from(zero as i16 as u16) * 0x1_0001),
            Padding::PerChannel(_) => None,
        };
        Self { packed, step: stride * inputs, pad: pad * inputs, inside, zeros }
    }
}

/// Writes the values of the `taps` under the kernel into a patch, at up to four output columns
/// from `first` on. In `edge` there is room for those of a column.
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
    // Of the patch's columns those that lie inside, and where the first of them begins.
    let (last, inside) = (first + columns, &kernel.inside);
    let begin = inside.start.max(first).min(last) - first;
    let end = inside.end.max(first + begin).min(last) - first;
    let left = ((first + begin) * kernel.step).saturating_sub(kernel.pad);
    let mut row_start = 0;
    for (row, _) in rows.iter().zip(0..conv.window.kernel[0]) {
        // The part of this kernel row.
        let from = taps.start.max(row_start);
        let to = taps.end.min(row_start + kernel.packed);
        if from < to {
            let part = from - row_start..to - row_start;
            let Some(patch) = proved!(patch.get_mut((from - taps.start) / 2..)) else { return };
            if let (true, Some(zeros)) = (row.is_empty(), kernel.zeros) {
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
                for column in (0..begin).chain(end..columns) {
                    // On padding, or where the row ends.
                    let edge = proved!(edge.get_mut(..numbers(&part))).unwrap_or_default();
                    fill_edge(conv, row, first + column, part.start, edge);
                    widen(edge, column, 1, 0, edge.len() / 4, patch);
                }
            }
        }
        row_start += kernel.packed;
    }
}

/// Writes runs of `words` · 4 values into columns of the patch from `column` on, each `step`
/// values behind the one before.
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
    // SAFETY: for each of the columns so many words can be read, `step` bytes apart, and two
    // tap pairs for each word be written, as was just checked.
    unsafe { widen_columns(values.as_ptr(), target, words, step, columns) }
}

/// ```text
/// r0 values   r1 target   r2 words   r3 step   r4 columns left
/// r5 r12 values of two columns   r6 their target   r7 words left   r8 … r10 lr  words and halves
/// ```
///
/// # Safety
///
/// There is at least one word and one column. `words` words can be read at `values`, `step` bytes
/// further on and so on, and two words for each be written at `target`, `target + 4` …, for
/// the next column from `target + 1` on.
#[unsafe(naked)]
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
        "strd r8, r9, [r6, #\\at]",
        "strd lr, r10, [r6, #\\at + 16]",
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
        "5:",
        "ldr r8, [r0], #4",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "str r8, [r1, #16]",
        "str r12, [r1], #32",
        "subs r2, r2, #1",
        "bne 5b",
        "6:",
        "pop {{r4-r10, pc}}",
    )
}

/// What the assembly takes: a patch, and output channels two by two.
///
/// Assembly relies on what is said of each field. It moves `weights`, `bias`, `mantissas`, `shifts`,
/// `output`, `shortcut` and `acc` on, and counts `left` down.
#[repr(C)]
struct Args {
    /// `pairs` can be read.
    patch: *const Columns,
    /// For each two channels four weights for each of `pairs`, aligned to words if they are int16;
    /// and `skip` bytes further on those of the next two.
    weights: *const i8,
    /// One at least.
    pairs: usize,
    /// Aligned to words, two for each of `left`, unless `parts` has [`CONTINUE`].
    bias: *const I32,
    /// Unless `parts` has [`KEEP`], aligned to words, two for each of `left`; likewise `shifts`, a
    /// byte each.
    mantissas: *const I32,
    shifts: *const i8,
    /// Unless `parts` has [`KEEP`], two bytes for each of `left` can be written, at four columns that
    /// are `stride` bytes apart.
    output: *mut i8,
    stride: usize,
    /// Pairs of channels, one at least.
    left: usize,
    /// Behind the requantization: twice what is added, or by how much is shifted.
    last: i32,
    /// Null, or aligned to words, 128 of which can be read to both sides.
    table: *const I32,
    /// With a table, two bytes for each of `left` can be read, at four columns that are
    /// `shortcut_stride` bytes apart. It may be the output.
    shortcut: *const i8,
    shortcut_stride: usize,
    /// Where sums are kept from one chunk of taps to the next: if `parts` is not zero, one for each
    /// of `left` can be read and written.
    acc: *mut Sums,
    /// From the weights of this chunk for two channels to those for the next two.
    skip: usize,
    /// [`CONTINUE`] and [`KEEP`].
    parts: usize,
    /// Whether weights are int16.
    wide: usize,
}

consecutive!(Args: patch weights);
consecutive!(Args: mantissas shifts);
consecutive!(Args: output stride);
consecutive!(Args: last table);
consecutive!(AddArgs: mine theirs mantissa before right length shortcut);

/// Sums begin with what is kept, and not with the bias.
const CONTINUE: usize = 1;
/// Sums are kept, and not made outputs.
const KEEP: usize = 2;

/// Adds the products of a chunk of taps for a group of output channels. With `quick` they are
/// the last, and become outputs.
#[allow(clippy::too_many_arguments)]
fn multiply(
    conv: &Conv<'_>,
    taps: usize,
    first: usize,
    group: &Range<usize>,
    chunk: &Range<usize>,
    patch: &[Columns],
    acc: &mut [Sums],
    quick: Option<&Quick<'_>>,
    pixels: &mut [i8],
) {
    let channels = usize::from(conv.window.output.channels);
    let left = numbers(group).div_ceil(2);
    let pairs = numbers(chunk) / 2;
    let wide = usize::from(conv.packing == Packing::WidePairs);
    let width = 1 + wide;
    let start = 2 * width * (group.start / 2 * taps + chunk.start);
    let weights = proved!(conv.weights.get(start..)).unwrap_or(&[]);
    let bias = proved!(conv.bias.get(group.start..)).unwrap_or(&[]);
    let there = pairs > 0
        && left > 0
        && patch.len() >= pairs
        && acc.len() >= left
        && weights.len() >= width * (2 * (left - 1) * taps + 4 * pairs)
        && bias.len() >= numbers(group);
    if !proved!(there) {
        return;
    }
    let first_chunk = if chunk.start > 0 { CONTINUE } else { 0 };
    let mut args = Args {
        patch: patch.as_ptr(),
        weights: weights.as_ptr(),
        pairs,
        bias: bias.as_ptr(),
        mantissas: null(),
        shifts: null(),
        output: null_mut(),
        stride: channels,
        left: numbers(group) / 2,
        last: 0,
        table: null(),
        shortcut: null(),
        shortcut_stride: 0,
        acc: acc.as_mut_ptr(),
        skip: width * (2 * taps - 4 * pairs),
        parts: first_chunk | KEEP,
        wide,
    };
    if let Some(quick) = quick {
        let Some((mantissas, shifts)) =
            proved!(conv.mantissas.get(group.clone()).zip(conv.shifts.get(group.clone())))
        else {
            return;
        };
        let places = quick.places(first, PATCH_COLUMNS, group.start, channels, pixels);
        let Some(places) = proved!(places) else { return };
        args.mantissas = mantissas.as_ptr();
        args.shifts = shifts.as_ptr();
        args.output = places.output;
        args.last = quick.last;
        args.table = quick.table;
        (args.shortcut, args.shortcut_stride) = (places.shortcut, places.shortcut_stride);
        args.parts = first_chunk;
    }
    if args.left > 0 {
        // SAFETY: `patch` has so many tap pairs, `weights` four bytes for each and each pair of
        // channels, `skip` bytes further on each time, `bias` the group's, `acc` the sums of each
        // pair of channels, as was just checked; `left` counts whole pairs, of which there is one
        // at least. With `quick` also mantissas and shifts are there, which `Quick::of` found
        // aligned, as the table, which reaches 128 words to both sides of its middle; and
        // `Quick::places` found outputs and shortcut for the group at four columns.
        unsafe { blocks(&mut args) }
    }
    // One channel is left over: it has weights beside it that are zero.
    if !numbers(group).is_multiple_of(2) && args.parts & KEEP != 0 {
        let last = proved!(bias.get(numbers(group) - 1)).copied().unwrap_or_default();
        let bias = [last, I32::ZERO];
        args.bias = bias.as_ptr();
        args.left = 1;
        // SAFETY: as before, for the last pair of `left`, with a bias for each.
        unsafe { blocks(&mut args) }
    }
}

/// Requantizes the sums of a channel, in four registers, with a shift to the right: `r2` is the
/// mantissa, `r12` the shift, `lr` twice what is added before it.
macro_rules! requantize_four {
    ($($acc:literal)*) => {
        concat!($(
            "lsl ", $acc, ", ", $acc, ", #1\n",
            "smmulr ", $acc, ", ", $acc, ", r2\n",
            "add r3, ", $acc, ", lr, asr #1\n",
            // Half away from zero.
            "add ", $acc, ", r3, ", $acc, ", asr #31\n",
            "asr ", $acc, ", ", $acc, ", r12\n",
        )*)
    };
}

/// The same for shifts to the left, of which `r12` is one more.
macro_rules! scale_four {
    ($($acc:literal)*) => {
        concat!($(
            "lsl ", $acc, ", ", $acc, ", r12\n",
            "smmulr ", $acc, ", ", $acc, ", r2\n",
        )*)
    };
}

/// Adds a shortcut's value from the table: `r1` is the shortcut, `r2` the table, `r12` the bits.
macro_rules! join_one {
    ($acc:literal, $place:literal) => {
        concat!(
            "ldrsb r3, ",
            $place,
            "\n",
            "ldr r3, [r2, r3, lsl #2]\n",
            "add ",
            $acc,
            ", ",
            $acc,
            ", r3\n",
            "asr ",
            $acc,
            ", ",
            $acc,
            ", r12\n",
        )
    };
}

/// Finishes a channel, from its sums in four registers.
macro_rules! finish_channel {
    ($o:literal $a:literal $b:literal $c:literal $d:literal $join:literal $store:literal) => {
        concat!(
            "ldrd r1, r3, [r0, #{mantissas}]\n",
            "ldr r2, [r1, #4 * ", $o, "]\n",
            "ldrsb r12, [r3, #", $o, "]\n",
            "ldrd r3, r1, [r0, #{last}]\n",
            "rsb r12, r12, #0\n",
            "cbnz r1, ", $join, "f\n",
            // The zero point goes through the shift.
            "lsl lr, r3, r12\n",
            requantize_four!($a $b $c $d),
            "b ", $store, "f\n",
            $join, ":\n",
            "cmp r12, #0\n",
            "ble 11f\n",
            "mov lr, #1\n",
            "lsl lr, lr, r12\n",
            requantize_four!($a $b $c $d),
            "b 12f\n",
            // A factor of a half or more: with a join's extra bits the usual one.
            "11:\n",
            "rsb r12, r12, #1\n",
            scale_four!($a $b $c $d),
            "12:\n",
            "mov r2, r1\n",
            "ldr r1, [r0, #{shortcut}]\n",
            "ldr r12, [r0, #{last}]\n",
            "ldr lr, [r0, #{shortcut_stride}]\n",
            "add r1, r1, #", $o, "\n",
            join_one!($a, "[r1]"),
            join_one!($b, "[r1, lr]"),
            "add r1, r1, lr, lsl #1\n",
            join_one!($c, "[r1]"),
            join_one!($d, "[r1, lr]"),
            $store, ":\n",
            "ssat ", $a, ", #8, ", $a, "\n",
            "ssat ", $b, ", #8, ", $b, "\n",
            "ssat ", $c, ", #8, ", $c, "\n",
            "ssat ", $d, ", #8, ", $d, "\n",
            "ldrd r1, r2, [r0, #{output}]\n",
            "strb ", $a, ", [r1, #", $o, "]!\n",
            "strb ", $b, ", [r1, r2]\n",
            "add r3, r1, r2, lsl #1\n",
            "strb ", $c, ", [r3]\n",
            "strb ", $d, ", [r3, r2]\n",
        )
    };
}

/// Adds the products of sixteen tap pairs; `$load` puts the weights of *a* for one into `r2`, and
/// those of *b* into `r3`.
macro_rules! sixteen_pairs {
    ($($load:literal)+) => {
        concat!(
            ".rept 16\n",
            $($load, "\n",)+
            "ldrd r12, lr, [r0], #8
             smlad r4, r12, r2, r4
             smlad r8, r12, r3, r8
             smlad r5, lr, r2, r5
             smlad r9, lr, r3, r9
             ldrd r12, lr, [r0], #8
             smlad r6, r12, r2, r6
             smlad r10, r12, r3, r10
             smlad r7, lr, r2, r7
             smlad r11, lr, r3, r11
             .endr",
        )
    };
}

/// Sums and finishes pairs of channels.
///
/// ```text
/// while summing:   r0 patch   r1 weights   r2 weights of a   r3 weights of b
///                  r4 … r7  acc[a][0 … 3]   r8 … r11  acc[b][0 … 3]
///                  r12 lr  values of two columns
/// while finishing: r0 arguments   r1 r2 r3 r12 lr as the macros above say
/// [sp] arguments   [sp, 4] rounds of sixteen tap pairs that are left
/// [sp, 8] where the first round begins   [sp, 12] rounds
/// ```
///
/// # Safety
///
/// Each field of the arguments is what [`Args`] says of it.
#[unsafe(naked)]
unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #16",
        "str r0, [sp]",
        // The first round begins in its middle, so that those after it are whole.
        "ldr r1, [r0, #{pairs}]",
        "ldr r4, [r0, #{wide}]",
        "rsb r2, r1, #0",
        "and r2, r2, #15",
        "add r1, r1, #15",
        "lsr r1, r1, #4",
        "adr.w r3, 3f",
        "mov r12, #{int8_pair}",
        "cbz r4, 1f",
        "adr.w r3, 5f",
        "mov r12, #{int16_pair}",
        "1:",
        "mla r2, r2, r12, r3",
        "orr r2, r2, #1", // Thumb
        "strd r2, r1, [sp, #8]",
        // The next two channels.
        "2:",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #31",
        "bne 1f",
        "ldr r1, [r0, #{bias}]",
        "ldr r4, [r1], #4",
        "ldr r8, [r1], #4",
        "str r1, [r0, #{bias}]",
        "mov r5, r4",
        "mov r6, r4",
        "mov r7, r4",
        "mov r9, r8",
        "mov r10, r8",
        "mov r11, r8",
        "b 4f",
        "1:",
        "ldr r1, [r0, #{acc}]",
        "ldm r1, {{r4-r11}}",
        "4:",
        "ldrd r2, r3, [sp, #8]",
        "str r3, [sp, #4]",
        "ldrd r0, r1, [r0, #{patch}]",
        "bx r2",
        // Weights as int8.
        ".p2align 2",
        "3:",
        sixteen_pairs!("ldr.w r3, [r1], #4" "sxtb16 r2, r3" "sxtb16 r3, r3, ror #8"),
        assert_length!("3b", "16 * {int8_pair}"),
        "ldr r2, [sp, #4]",
        "subs r2, r2, #1",
        "str r2, [sp, #4]",
        "bne.w 3b",
        "b.w 6f",
        // As int16.
        ".p2align 2",
        "5:",
        sixteen_pairs!("ldrd r2, r3, [r1], #8"),
        assert_length!("5b", "16 * {int16_pair}"),
        "ldr r2, [sp, #4]",
        "subs r2, r2, #1",
        "str r2, [sp, #4]",
        "bne.w 5b",
        "6:",
        "ldr r0, [sp]",
        "ldr r3, [r0, #{parts}]",
        "ldr r2, [r0, #{skip}]",
        "add r1, r1, r2",
        "str r1, [r0, #{weights}]",
        "cbz r3, 4f",
        "ldr r2, [r0, #{acc}]",
        "add r1, r2, #32",
        "str r1, [r0, #{acc}]",
        "lsls r3, r3, #30",
        "bpl 4f",
        "stm r2, {{r4-r11}}",
        "b 9f",
        "4:",
        finish_channel!("0" "r4" "r5" "r6" "r7" "5" "6"),
        finish_channel!("1" "r8" "r9" "r10" "r11" "7" "8"),
        "ldrd r1, r2, [r0, #{mantissas}]",
        "add r1, r1, #8",
        "add r2, r2, #2",
        "strd r1, r2, [r0, #{mantissas}]",
        "ldr r1, [r0, #{output}]",
        "ldr r2, [r0, #{shortcut}]",
        "add r1, r1, #2",
        "add r2, r2, #2",
        "str r1, [r0, #{output}]",
        "str r2, [r0, #{shortcut}]",
        "9:",
        "ldr r1, [r0, #{left}]",
        "subs r1, r1, #1",
        "str r1, [r0, #{left}]",
        "bne.w 2b",
        "add sp, sp, #16",
        "pop {{r4-r11, pc}}",
        int8_pair = const 13 * 4,
        int16_pair = const 11 * 4,
        pairs = const offset_of!(Args, pairs),
        wide = const offset_of!(Args, wide),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        acc = const offset_of!(Args, acc),
        patch = const offset_of!(Args, patch),
        skip = const offset_of!(Args, skip),
        weights = const offset_of!(Args, weights),
        mantissas = const offset_of!(Args, mantissas),
        output = const offset_of!(Args, output),
        shortcut = const offset_of!(Args, shortcut),
        left = const offset_of!(Args, left),
        last = const offset_of!(Args, last),
        shortcut_stride = const offset_of!(Args, shortcut_stride),
    )
}
