//! Operations on single elements or channels.

use core::arch::naked_asm;
use core::mem::offset_of;

use zerocopy::little_endian::I32;

use crate::kernels::reference;
use crate::ops::add::Add;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::max_pool::MaxPool;
use crate::ops::{Rows, Shortcut};
use crate::quant::Clamp;

/// The arguments of the assembly of an add besides its rows.
#[repr(C)]
struct AddArgs {
    /// The middles of the tables.
    mine: *const I32,
    theirs: *const I32,
    mantissa: i32,
    left: u32,
    right: u32,
    /// Added to negative products: -1 if there is a shift to the right.
    below_zero: i32,
    zero_point: i32,
    min: i32,
    max: i32,
}

/// See [`Backend::add`](crate::kernels::Backend::add).
pub(super) fn add(add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
    let length = output.len();
    // If the shortcut is in place, it is read where outputs are written: one pointer is used for
    // both.
    let place = output.as_mut_ptr();
    let other = match *shortcut {
        Shortcut::InPlace => Some(place.cast_const()),
        Shortcut::Row { row, channels, stride: 1, before: 0, .. }
            if channels == usize::from(add.shape.channels) && row.len() == length =>
        {
            Some(row.as_ptr())
        }
        Shortcut::Row { .. } => None,
    };
    let ([mine, theirs], Some(other)) = (add.table.as_chunks::<256>().0, other) else {
        return reference::add(add, input, shortcut, output);
    };
    if input.len() != length || length == 0 || !add.table.as_ptr().addr().is_multiple_of(4) {
        return reference::add(add, input, shortcut, output);
    }
    let shift = i32::from(add.multiplier.shift);
    let args = AddArgs {
        mine: mine.as_ptr().wrapping_add(128),
        theirs: theirs.as_ptr().wrapping_add(128),
        mantissa: add.multiplier.mantissa.to_bits(),
        left: shift.max(0) as u32,
        right: (-shift).max(0) as u32,
        below_zero: shift >> 31,
        zero_point: add.zero_point,
        min: add.clamp.min.into(),
        max: add.clamp.max.into(),
    };
    // SAFETY: `length` bytes, at least one, can be read at `input` and `other`, and written at
    // `output`; `other` may be the same address. The tables have 128 words on either side, and are
    // aligned to words.
    unsafe { add_bytes(input.as_ptr(), other, place, length, &args) }
}

/// 27 instructions for as many elements as eight vectors hold words.
///
/// ```text
/// a0 input   a1 shortcut   a2 output   a3 bytes left   a4 arguments   t0 bytes of a round
/// a5 a6 middles of the tables   a7 mantissa   t1 left   t2 right   t3 below zero   t4 zero point
/// t5 t6 range   v8 … v15 v16 … v23 v24 … v31  words   v0 which are negative
/// ```
///
/// # Safety
///
/// `length` is not zero, and each row has `length` bytes. The tables are aligned, with 128 words on
/// either side of their middles.
#[unsafe(naked)]
unsafe extern "C" fn add_bytes(
    input: *const i8,
    shortcut: *const i8,
    output: *mut i8,
    length: usize,
    args: &AddArgs,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "csrwi vxrm, 0", // halves are rounded up
        "lw a5, {mine}(a4)",
        "lw a6, {theirs}(a4)",
        "lw a7, {mantissa}(a4)",
        "lw t1, {left}(a4)",
        "lw t2, {right}(a4)",
        "lw t3, {below_zero}(a4)",
        "lw t4, {zero_point}(a4)",
        "lw t5, {min}(a4)",
        "lw t6, {max}(a4)",
        // Lanes that are masked out keep their values.
        "1:",
        "vsetvli t0, a3, e32, m8, ta, mu",
        "vle8.v v14, (a0)",
        "vsext.vf4 v8, v14",
        "vsll.vi v8, v8, 2",
        "vluxei32.v v16, (a5), v8",
        "vle8.v v14, (a1)",
        "vsext.vf4 v8, v14",
        "vsll.vi v8, v8, 2",
        "vluxei32.v v24, (a6), v8",
        "vadd.vv v8, v16, v24",
        "vsll.vx v8, v8, t1",
        "vsmul.vx v8, v8, a7",
        "vmslt.vx v0, v8, zero",
        "vadd.vx v8, v8, t3, v0.t",
        "vssra.vx v8, v8, t2",
        "vadd.vx v8, v8, t4",
        "vmax.vx v8, v8, t5",
        "vmin.vx v8, v8, t6",
        "vsetvli zero, zero, e16, m4, ta, ma",
        "vncvt.x.x.w v8, v8",
        "vsetvli zero, zero, e8, m2, ta, ma",
        "vncvt.x.x.w v8, v8",
        "vse8.v v8, (a2)",
        "add a0, a0, t0",
        "add a1, a1, t0",
        "add a2, a2, t0",
        "sub a3, a3, t0",
        "bnez a3, 1b",
        "ret",
        ".option pop",
        mine = const offset_of!(AddArgs, mine),
        theirs = const offset_of!(AddArgs, theirs),
        mantissa = const offset_of!(AddArgs, mantissa),
        left = const offset_of!(AddArgs, left),
        right = const offset_of!(AddArgs, right),
        below_zero = const offset_of!(AddArgs, below_zero),
        zero_point = const offset_of!(AddArgs, zero_point),
        min = const offset_of!(AddArgs, min),
        max = const offset_of!(AddArgs, max),
    )
}

/// The arguments of the assembly of a batch norm besides its rows.
#[repr(C)]
struct NormArgs {
    weights: *const i8,
    bias: *const I32,
    mantissas: *const I32,
    shifts: *const i8,
    channels: usize,
    pixels: usize,
    zero_point: i32,
    min: i32,
    max: i32,
}

/// Loads the multipliers of as many channels as four vectors hold words. Register `$args` points to
/// the arguments, `t5` is the number of channels done, and `t6` is four times that. The results are
/// the mantissas in v12, the shifts to the right in v16, the shifts to the left in v20, and a mask
/// of shifts to the right in v1. v28 and `t1` are overwritten.
macro_rules! multipliers {
    ($args:literal) => {
        concat!(
            "lw t1, {mantissas}(",
            $args,
            ")
             add t1, t1, t6
             vle32.v v12, (t1)
             lw t1, {shifts}(",
            $args,
            ")
             add t1, t1, t5
             vle8.v v28, (t1)
             vsext.vf4 v16, v28
             vmax.vx v20, v16, zero
             vmslt.vx v1, v16, zero
             vrsub.vi v16, v16, 0
             vmax.vx v16, v16, zero"
        )
    };
}

/// Requantizes the words in v24 by these [`multipliers`], adds the zero point in `t2`, clamps them
/// to the range from `t3` to `t4`, and writes them to `a7`. v0 is overwritten. Lanes that are masked out
/// must keep their values (`mu`).
macro_rules! requantize {
    () => {
        "vsll.vv v24, v24, v20
         vsmul.vv v24, v24, v12
         vmslt.vx v0, v24, zero
         vmand.mm v0, v0, v1
         vadd.vi v24, v24, -1, v0.t
         vssra.vv v24, v24, v16
         vadd.vx v24, v24, t2
         vmax.vx v24, v24, t3
         vmin.vx v24, v24, t4
         vsetvli zero, zero, e16, m2, ta, ma
         vncvt.x.x.w v24, v24
         vsetvli zero, zero, e8, m1, ta, ma
         vncvt.x.x.w v24, v24
         vse8.v v24, (a7)
         vsetvli zero, zero, e32, m4, ta, mu"
    };
}

/// See [`Backend::batch_norm`](crate::kernels::Backend::batch_norm).
pub(super) fn batch_norm(norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
    let channels = usize::from(norm.shape.channels);
    let pixels = usize::from(norm.shape.columns);
    let whole = channels > 0
        && pixels > 0
        && input.len() == pixels * channels
        && output.len() == pixels * channels
        && norm.weights.len() == channels
        && norm.shifts.len() == channels
        && norm.bias.len() == channels
        && norm.mantissas.len() == channels
        && norm.bias.as_ptr().addr().is_multiple_of(4)
        && norm.mantissas.as_ptr().addr().is_multiple_of(4);
    if !whole {
        return reference::batch_norm(norm, input, output);
    }
    let args = NormArgs {
        weights: norm.weights.as_ptr(),
        bias: norm.bias.as_ptr(),
        mantissas: norm.mantissas.as_ptr(),
        shifts: norm.shifts.as_ptr(),
        channels,
        pixels,
        zero_point: norm.zero_point,
        min: norm.clamp.min.into(),
        max: norm.clamp.max.into(),
    };
    // SAFETY: as was just checked, rows and parameters have the sizes in the fields beside them,
    // and words are aligned.
    unsafe { normalize(input.as_ptr(), output.as_mut_ptr(), &args) }
}

/// 22 instructions for a pixel and as many channels as four vectors hold words.
///
/// ```text
/// a0 input   a1 output   a2 arguments   a3 channels left   a4 channels   a5 pixels left
/// a6 a7 the pixel's input and output   t0 channels of a round   t1 parameters   t2 zero point
/// t3 t4 range   v0 which are negative   v1 which are shifted to the right   v4 bias   v8 weights
/// v12 mantissas   v16 shifts to the right   v20 to the left   v24 words   v28 bytes
/// ```
///
/// # Safety
///
/// The rows have the channels and pixels that `args` counts, at least one of each. Words are
/// aligned.
#[unsafe(naked)]
unsafe extern "C" fn normalize(input: *const i8, output: *mut i8, args: &NormArgs) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "csrwi vxrm, 0", // halves are rounded up
        "lw a4, {channels}(a2)",
        "lw t2, {zero_point}(a2)",
        "lw t3, {min}(a2)",
        "lw t4, {max}(a2)",
        "mv a3, a4",
        // The next channels.
        "1:",
        "vsetvli t0, a3, e32, m4, ta, mu",
        "sub t5, a4, a3",
        "slli t6, t5, 2",
        "lw t1, {weights}(a2)",
        "add t1, t1, t5",
        "vle8.v v28, (t1)",
        "vsext.vf4 v8, v28",
        "lw t1, {bias}(a2)",
        "add t1, t1, t6",
        "vle32.v v4, (t1)",
        multipliers!("a2"),
        "add a6, a0, t5",
        "add a7, a1, t5",
        "lw a5, {pixels}(a2)",
        "2:",
        "vle8.v v28, (a6)",
        "vsext.vf4 v24, v28",
        "vmul.vv v24, v24, v8",
        "vadd.vv v24, v24, v4",
        requantize!(),
        "add a6, a6, a4",
        "add a7, a7, a4",
        "addi a5, a5, -1",
        "bnez a5, 2b",
        "sub a3, a3, t0",
        "bnez a3, 1b",
        "ret",
        ".option pop",
        weights = const offset_of!(NormArgs, weights),
        bias = const offset_of!(NormArgs, bias),
        mantissas = const offset_of!(NormArgs, mantissas),
        shifts = const offset_of!(NormArgs, shifts),
        channels = const offset_of!(NormArgs, channels),
        pixels = const offset_of!(NormArgs, pixels),
        zero_point = const offset_of!(NormArgs, zero_point),
        min = const offset_of!(NormArgs, min),
        max = const offset_of!(NormArgs, max),
    )
}

/// See [`Backend::max_pool`](crate::kernels::Backend::max_pool).
pub(super) fn max_pool(pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
    let window = &pool.window;
    let channels = usize::from(window.output.channels).max(1);
    let Clamp { min, max } = pool.clamp;
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let (columns, first) = window.columns_on_input(x);
        let columns = columns.end.saturating_sub(columns.start);
        // Starts with the smallest output, not with the smallest value, so that the result is
        // clamped at once.
        pixel.fill(min);
        for row in rows.iter().take(window.kernel[0]) {
            let under = row.get(first * channels..(first + columns) * channels);
            if let Some(under) = under.filter(|under| !under.is_empty()) {
                // SAFETY: `under` has `columns` columns of `channels` channels, and is not empty.
                // The pixel has `channels` channels, and does not overlap, because it is borrowed
                // mutably.
                unsafe {
                    raise(under.as_ptr(), columns, channels, pixel.as_mut_ptr(), max.into());
                }
            }
        }
    }
}

/// Takes maxima, limited to `max`.
///
/// ```text
/// a0 values   a1 columns   a2 channels   a3 maxima   a4 max   a5 channels left
/// t0 channels of a round   t1 columns left   t2 values   v0 … v7 maxima   v8 … v15 values
/// ```
///
/// # Safety
///
/// `columns` and `channels` are not zero, and `values` has a byte for each channel of each column.
#[unsafe(naked)]
unsafe extern "C" fn raise(
    values: *const i8,
    columns: usize,
    channels: usize,
    maxima: *mut i8,
    max: i32,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "mv a5, a2",
        "1:",
        "vsetvli t0, a5, e8, m8, ta, ma",
        "vle8.v v0, (a3)",
        "mv t1, a1",
        "mv t2, a0",
        "2:",
        "vle8.v v8, (t2)",
        "vmax.vv v0, v0, v8",
        "add t2, t2, a2",
        "addi t1, t1, -1",
        "bnez t1, 2b",
        "vmin.vx v0, v0, a4",
        "vse8.v v0, (a3)",
        "add a0, a0, t0",
        "add a3, a3, t0",
        "sub a5, a5, t0",
        "bnez a5, 1b",
        "ret",
        ".option pop",
    )
}

/// See [`Backend::sum_row`](crate::kernels::Backend::sum_row).
pub(super) fn sum_row(first: bool, row: &[i8], sums: &mut [i32]) {
    let channels = sums.len();
    if first {
        sums.fill(0);
    }
    let columns = row.len().checked_div(channels).unwrap_or(0);
    if columns > 0 {
        // SAFETY: the row has `columns` columns of `channels` channels, and neither is zero.
        unsafe { sum(row.as_ptr(), columns, channels, sums.as_mut_ptr()) }
    }
}

/// ```text
/// a0 values   a1 columns   a2 channels   a3 sums   a4 channels left
/// t0 channels of a round   t1 columns left   t2 values   v0 … v7 sums   v8 … v15 values
/// ```
///
/// # Safety
///
/// `columns` and `channels` are not zero, and `values` has a byte for each channel of each column.
#[unsafe(naked)]
unsafe extern "C" fn sum(values: *const i8, columns: usize, channels: usize, sums: *mut i32) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "mv a4, a2",
        "1:",
        "vsetvli t0, a4, e32, m8, ta, ma",
        "vle32.v v0, (a3)",
        "mv t1, a1",
        "mv t2, a0",
        "2:",
        "vle8.v v14, (t2)",
        "vsext.vf4 v8, v14",
        "vadd.vv v0, v0, v8",
        "add t2, t2, a2",
        "addi t1, t1, -1",
        "bnez t1, 2b",
        "vse32.v v0, (a3)",
        "add a0, a0, t0",
        "slli t1, t0, 2",
        "add a3, a3, t1",
        "sub a4, a4, t0",
        "bnez a4, 1b",
        "ret",
        ".option pop",
    )
}

pub(super) use {multipliers, requantize};
