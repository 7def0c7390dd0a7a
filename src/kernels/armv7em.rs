//! Cores with the DSP instructions of Armv7E-M: Cortex-M4, M7, and M33 where it has them.
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
//! each. To finish an output 10, behind a join 14. For the patch 1.4 a value.

#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::ptr::{null, null_mut};

use zerocopy::little_endian::I32;
use zerocopy::{FromBytes, IntoBytes};

use super::{Backend, Reference};
use crate::format::Packing;
use crate::ops::conv::{Conv, Finish, PATCH_COLUMNS, Padding};
use crate::ops::{Rows, Shortcut};
use crate::quant::Clamp;

/// The backend for Armv7E-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv7em;

impl Backend for Armv7em {
    const NAME: &'static str = "armv7em";

    fn runs(&self, packing: Packing) -> bool {
        packing == Packing::Pairs
    }

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        let window = &conv.window;
        let channels = usize::from(window.output.channels).max(1);
        let pairs = conv.taps().next_multiple_of(4) / 2;
        let patch = <[Columns]>::mut_from_bytes(scratch).unwrap_or_default();
        let Some(patch) = patch.get_mut(..pairs.max(1)) else {
            return Reference.conv(conv, rows, shortcut, &mut [], output);
        };
        let quick = Quick::of(conv, shortcut);
        for (block, pixels) in output.chunks_mut(PATCH_COLUMNS * channels).enumerate() {
            let first = block * PATCH_COLUMNS;
            for column in 0..(pixels.len() / channels).min(PATCH_COLUMNS) {
                fill(conv, rows, first + column, column, patch);
            }
            let whole = pixels.len() == PATCH_COLUMNS * channels;
            if let (true, Some(quick)) = (whole, &quick)
                && quick.run(conv, patch, first, pixels)
            {
                continue;
            }
            for o in (0..channels).step_by(2) {
                let acc = sums(conv, patch, o);
                for (o, acc) in (o..channels).zip(acc) {
                    finish(conv, shortcut, first, o, acc, pixels);
                }
            }
        }
    }
}

/// Two values, one after the other under the kernel, for each column of a patch.
type Columns = [u32; PATCH_COLUMNS];

/// Writes the values under the kernel at output column `x` into column `column` of the patch.
fn fill(conv: &Conv<'_>, rows: &Rows<'_>, x: usize, column: usize, patch: &mut [Columns]) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let (on_input, first) = window.columns_on_input(x);
    let Padding::Same(zero) = conv.padding else {
        return fill_bytes(conv, rows, x, column, patch);
    };
    if !inputs.is_multiple_of(4) {
        return fill_bytes(conv, rows, x, column, patch);
    }
    let zeros = u32::from(zero as i16 as u16) * 0x1_0001;
    let pad = |patch: &mut [Columns]| {
        for columns in patch {
            if let Some(value) = columns.get_mut(column) {
                *value = zeros;
            }
        }
    };
    let length = window.kernel[1] * inputs / 2;
    let (from, to) = (on_input.start * inputs / 2, on_input.end * inputs / 2);
    for (row, patch) in rows.iter().zip(patch.chunks_exact_mut(length.max(1))) {
        let values = row.get(first * inputs..(first + on_input.len()) * inputs).unwrap_or(&[]);
        let words = values.as_chunks::<4>().0;
        let (Some(run), Some(_)) = (patch.get_mut(from..to), words.first()) else {
            pad(patch);
            continue;
        };
        widen(words, column, run);
        pad(patch.get_mut(..from).unwrap_or_default());
        pad(patch.get_mut(to..).unwrap_or_default());
    }
}

/// Writes a run of values into a column of the patch.
#[inline(always)]
fn widen(words: &[[i8; 4]], column: usize, patch: &mut [Columns]) {
    if column >= PATCH_COLUMNS || patch.len() < 2 * words.len() || words.is_empty() {
        return;
    }
    let target = patch.as_mut_ptr().cast::<u32>().wrapping_add(column);
    // SAFETY: `widen_words` reads so many words, at any address, and writes every fourth word
    // from `target` on, two for each of them: those are column `column` of so many tap pairs,
    // which the patch has, as was just checked.
    unsafe { widen_words(words.as_ptr(), target, words.len()) }
}

/// ```text
/// r0 words   r1 target   r2 words left   r3 r12 the word and its halves
/// ```
///
/// # Safety
///
/// There is at least one word. `words` can be read, and `target`, `target + 4`, … be written,
/// two for each word.
#[unsafe(naked)]
unsafe extern "C" fn widen_words(words: *const [i8; 4], target: *mut u32, count: usize) {
    naked_asm!(
        "subs r2, r2, #4",
        "blo 3f",
        "2:",
        ".irp at, 0, 32, 64, 96",
        "ldr r3, [r0], #4",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "str r12, [r1, #\\at]",
        "str r3, [r1, #\\at + 16]",
        ".endr",
        "add r1, r1, #128",
        "subs r2, r2, #4",
        "bhs 2b",
        "3:",
        "adds r2, r2, #4",
        "beq 5f",
        "4:",
        "ldr r3, [r0], #4",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "str r3, [r1, #16]",
        "str r12, [r1], #32",
        "subs r2, r2, #1",
        "bne 4b",
        "5:",
        "bx lr",
    )
}

/// The same as [`fill`], value by value, for any number of channels and any padding.
fn fill_bytes(conv: &Conv<'_>, rows: &Rows<'_>, x: usize, column: usize, patch: &mut [Columns]) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let (on_input, first) = window.columns_on_input(x);
    let halves = <[u16]>::mut_from_bytes(patch.as_mut_bytes()).unwrap_or_default();
    // Taps 0 and 2 of four are in one word, 1 and 3 in the next.
    let mut put = |tap: usize, value: i8| {
        let at = (tap & !3) * 4 + (tap & 1) * 8 + column * 2 + (tap >> 1 & 1);
        if let Some(half) = halves.get_mut(at) {
            *half = value as i16 as u16;
        }
    };
    let mut tap = 0;
    for row in rows.iter().take(window.kernel[0]) {
        let values = row.get(first * inputs..(first + on_input.len()) * inputs).unwrap_or(&[]);
        let from = tap + on_input.start * inputs;
        let end = tap + window.kernel[1] * inputs;
        if values.len() < end - tap {
            for (at, i) in (tap..end).zip((0..inputs).cycle()) {
                put(at, conv.padding.at(i));
            }
        }
        for (at, &value) in (from..).zip(values) {
            put(at, value);
        }
        tap = end;
    }
    while !tap.is_multiple_of(4) {
        put(tap, 0);
        tap += 1;
    }
}

/// What the assembly takes: a patch, and output channels two by two.
///
/// ```text
///  0 patch      4 weights       8 tap pairs    12 bias        16 mantissas   20 shifts
/// 24 output    28 its stride   32 pairs of channels that are left
/// 36 zero_point, or a join's bits   40 the middle of a join's table, or null
/// 44 shortcut  48 its stride   52 acc
/// ```
#[repr(C)]
struct Args {
    patch: *const Columns,
    weights: *const i8,
    pairs: usize,
    bias: *const I32,
    mantissas: *const I32,
    shifts: *const i8,
    output: *mut i8,
    stride: usize,
    left: usize,
    /// Behind the requantization: what is added, or by how much is shifted.
    last: i32,
    table: *const I32,
    shortcut: *const i8,
    shortcut_stride: usize,
    /// Where the sums of one pair of channels go; null where outputs are wanted.
    acc: *mut [[i32; PATCH_COLUMNS]; 2],
}

/// The sums of output channels `o` and `o + 1` at the columns of the patch.
fn sums(conv: &Conv<'_>, patch: &[Columns], o: usize) -> [[i32; PATCH_COLUMNS]; 2] {
    let mut acc = [[0; PATCH_COLUMNS]; 2];
    let bias = [I32::new(conv.bias(o)), I32::new(conv.bias(o + 1))];
    let Some(weights) = conv.weights.get(2 * patch.len() * o..) else { return acc };
    if patch.is_empty() || weights.len() < 4 * patch.len() {
        return acc;
    }
    let mut args = Args {
        patch: patch.as_ptr(),
        weights: weights.as_ptr(),
        pairs: patch.len(),
        bias: bias.as_ptr(),
        mantissas: null(),
        shifts: null(),
        output: null_mut(),
        stride: 0,
        left: 1,
        last: 0,
        table: null(),
        shortcut: null(),
        shortcut_stride: 0,
        acc: &mut acc,
    };
    // SAFETY: there are so many tap pairs in the patch, and four bytes of weights for each, as
    // was just checked; two biases; and with `acc` set the rest is not used.
    unsafe { blocks(&mut args) }
    acc
}

/// The parameters of a convolution whose every output the assembly can finish.
struct Quick<'c> {
    last: i32,
    table: *const I32,
    shortcut: Option<(&'c [i8], usize)>,
}

impl<'c> Quick<'c> {
    /// `None` where one channel is left over, or anything is out of the ordinary: an activation
    /// that cuts what fits into int8, a factor of a half or more or next to nothing, a shortcut
    /// with other channels.
    fn of(conv: &'c Conv<'_>, shortcut: &Shortcut<'c>) -> Option<Self> {
        let channels = usize::from(conv.window.output.channels);
        let ordinary = channels.is_multiple_of(2)
            && channels > 0
            && conv.clamp == Clamp::FULL
            && conv.bias.len() == channels
            && conv.mantissas.len() == channels
            && conv.shifts.len() == channels
            && conv.shifts.iter().all(|shift| (-16..0).contains(shift));
        if !ordinary {
            return None;
        }
        match (conv.finish, *shortcut) {
            (Finish::Requantize { zero_point }, _) => {
                Some(Self { last: zero_point, table: null(), shortcut: None })
            }
            (Finish::Join { table, bits }, shortcut) => {
                let middle = table.get(128).filter(|_| table.len() == 256)?;
                let shortcut = match shortcut {
                    Shortcut::InPlace => None,
                    Shortcut::Row { row, channels: theirs, stride, before: 0, .. }
                        if theirs == channels =>
                    {
                        Some((row, stride))
                    }
                    Shortcut::Row { .. } => return None,
                };
                Some(Self { last: bits as i32, table: middle, shortcut })
            }
        }
    }

    /// Computes the outputs at four columns, `first` and those after it. Returns false if it
    /// does not find what it needs.
    fn run(&self, conv: &Conv<'_>, patch: &[Columns], first: usize, pixels: &mut [i8]) -> bool {
        let channels = usize::from(conv.window.output.channels);
        let output = pixels.as_mut_ptr();
        let (shortcut, shortcut_stride) = match self.shortcut {
            None => (output.cast_const(), channels),
            Some((row, stride)) => {
                let stride = stride * channels;
                let from = first * stride;
                match row.get(from..from + (PATCH_COLUMNS - 1) * stride + channels) {
                    Some(row) => (row.as_ptr(), stride),
                    None => return false,
                }
            }
        };
        if pixels.len() != PATCH_COLUMNS * channels
            || patch.is_empty()
            || conv.weights.len() < 2 * patch.len() * channels
        {
            return false;
        }
        let mut args = Args {
            patch: patch.as_ptr(),
            weights: conv.weights.as_ptr(),
            pairs: patch.len(),
            bias: conv.bias.as_ptr(),
            mantissas: conv.mantissas.as_ptr(),
            shifts: conv.shifts.as_ptr(),
            output,
            stride: channels,
            left: channels / 2,
            last: self.last,
            table: self.table,
            shortcut,
            shortcut_stride,
            acc: null_mut(),
        };
        // SAFETY: `patch` has so many tap pairs and `weights` four bytes for each and each pair
        // of channels; bias, mantissas and shifts are there for each channel, an even number
        // above zero (`Quick::of`). Outputs go to the four columns of `pixels`, which are all of
        // it. Behind a join the table reaches 128 words to both sides of its middle
        // (`Quick::of`), and the shortcut has its four columns: in `row` as was just checked, or
        // where the output goes.
        unsafe { blocks(&mut args) }
        true
    }
}

/// Requantizes the sums of a channel, in four registers, with an `ssat` or without: `r2` is the
/// mantissa, `r12` the shift, `lr` what is added before it.
macro_rules! requantize_four {
    ($($acc:literal)*) => {
        concat!($(
            "lsl ", $acc, ", ", $acc, ", #1\n",
            "smmulr ", $acc, ", ", $acc, ", r2\n",
            "add r3, ", $acc, ", lr\n",
            // Half away from zero.
            "add ", $acc, ", r3, ", $acc, ", asr #31\n",
            "asr ", $acc, ", ", $acc, ", r12\n",
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
    ($a:literal $b:literal $c:literal $d:literal $join:literal $store:literal) => {
        concat!(
            "ldr r1, [r0, #16]\n",
            "ldr r2, [r1], #4\n",
            "str r1, [r0, #16]\n",
            "ldr r1, [r0, #20]\n",
            "ldrsb r12, [r1], #1\n",
            "str r1, [r0, #20]\n",
            "rsb r12, r12, #0\n",
            "mov lr, #1\n",
            "lsl lr, lr, r12\n",
            "lsr lr, lr, #1\n",
            "ldr r1, [r0, #40]\n",
            "ldr r3, [r0, #36]\n",
            "cmp r1, #0\n",
            "bne ", $join, "f\n",
            // The zero point goes through the shift.
            "lsl r3, r3, r12\n",
            "add lr, lr, r3\n",
            requantize_four!($a $b $c $d),
            "b ", $store, "f\n",
            $join, ":\n",
            requantize_four!($a $b $c $d),
            "mov r2, r1\n",
            "ldr r1, [r0, #44]\n",
            "ldr r12, [r0, #36]\n",
            "ldr lr, [r0, #48]\n",
            join_one!($a, "[r1]"),
            join_one!($b, "[r1, lr]"),
            "add r3, r1, #1\n",
            "str r3, [r0, #44]\n",
            "add r1, r1, lr, lsl #1\n",
            join_one!($c, "[r1]"),
            join_one!($d, "[r1, lr]"),
            $store, ":\n",
            "ssat ", $a, ", #8, ", $a, "\n",
            "ssat ", $b, ", #8, ", $b, "\n",
            "ssat ", $c, ", #8, ", $c, "\n",
            "ssat ", $d, ", #8, ", $d, "\n",
            "ldrd r1, r2, [r0, #24]\n",
            "strb ", $a, ", [r1]\n",
            "strb ", $b, ", [r1, r2]\n",
            "add r3, r1, r2, lsl #1\n",
            "strb ", $c, ", [r3]\n",
            "strb ", $d, ", [r3, r2]\n",
            "add r1, r1, #1\n",
            "str r1, [r0, #24]\n",
        )
    };
}

/// ```text
/// while summing:   r0 patch   r1 weights   r2 weights of a   r3 weights of b
///                  r4 … r7  acc[a][0 … 3]   r8 … r11  acc[b][0 … 3]
///                  r12 lr  values of two columns
/// while finishing: r0 arguments   r1 r2 r3 r12 lr as the macros above say
/// [sp] arguments   [sp, 4] rounds of eight tap pairs that are left
/// [sp, 8] where the first round begins   [sp, 12] rounds
/// ```
///
/// # Safety
///
/// The pointers are good for what the numbers beside them say: see [`Quick::run`] and [`sums`].
#[unsafe(naked)]
unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, sp, #16",
        "str r0, [sp]",
        // The first round begins in its middle, so that those after it are whole.
        "ldr r1, [r0, #8]",
        "rsb r2, r1, #0",
        "and r2, r2, #7",
        "add r1, r1, #7",
        "lsr r1, r1, #3",
        "adr.w r3, 3f",
        "mov r12, #{pair_bytes}",
        "mla r2, r2, r12, r3",
        "orr r2, r2, #1", // Thumb
        "strd r2, r1, [sp, #8]",
        // The next two channels.
        "2:",
        "ldr r1, [r0, #12]",
        "ldr r4, [r1]",
        "ldr r8, [r1, #4]",
        "add r1, r1, #8",
        "str r1, [r0, #12]",
        "mov r5, r4",
        "mov r6, r4",
        "mov r7, r4",
        "mov r9, r8",
        "mov r10, r8",
        "mov r11, r8",
        "ldrd r2, r3, [sp, #8]",
        "str r3, [sp, #4]",
        "ldrd r0, r1, [r0]",
        "bx r2",
        ".p2align 2",
        "3:",
        ".rept 8",
        "ldr.w r3, [r1], #4",
        "sxtb16 r2, r3",
        "sxtb16 r3, r3, ror #8",
        "ldrd r12, lr, [r0], #8",
        "smlad r4, r12, r2, r4",
        "smlad r8, r12, r3, r8",
        "smlad r5, lr, r2, r5",
        "smlad r9, lr, r3, r9",
        "ldrd r12, lr, [r0], #8",
        "smlad r6, r12, r2, r6",
        "smlad r10, r12, r3, r10",
        "smlad r7, lr, r2, r7",
        "smlad r11, lr, r3, r11",
        ".endr",
        "ldr r2, [sp, #4]",
        "subs r2, r2, #1",
        "str r2, [sp, #4]",
        "bne.w 3b",
        "ldr r0, [sp]",
        "str r1, [r0, #4]",
        "ldr r2, [r0, #52]",
        "cbz r2, 4f",
        "stm r2, {{r4-r11}}",
        "b.w 9f",
        "4:",
        finish_channel!("r4" "r5" "r6" "r7" "5" "6"),
        finish_channel!("r8" "r9" "r10" "r11" "7" "8"),
        "ldr r1, [r0, #32]",
        "subs r1, r1, #1",
        "str r1, [r0, #32]",
        "bne.w 2b",
        "9:",
        "add sp, sp, #16",
        "pop {{r4-r11, pc}}",
        pair_bytes = const 13 * 4,
    )
}

/// Writes the outputs of channel `o` at up to four columns from `first` on.
fn finish(
    conv: &Conv<'_>,
    shortcut: &Shortcut<'_>,
    first: usize,
    o: usize,
    acc: [i32; PATCH_COLUMNS],
    pixels: &mut [i8],
) {
    let channels = usize::from(conv.window.output.channels).max(1);
    let multiplier = conv.multiplier(o);
    let outputs = pixels.iter_mut().skip(o).step_by(channels);
    for (x, (out, acc)) in (first..).zip(outputs.zip(acc)) {
        *out = conv.output(acc, multiplier, shortcut, x, o, *out);
    }
}
