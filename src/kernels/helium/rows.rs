//! Operators without weights to sum: adds, pools, batch norms.

use core::arch::naked_asm;

use zerocopy::little_endian::I32;

use crate::kernels::reference;
use crate::ops::add::Add;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::max_pool::MaxPool;
use crate::ops::{MAX_KERNEL, Rows, Shortcut};
use crate::quant::Multiplier;

/// See [`Backend::add`](crate::kernels::Backend::add).
pub(super) fn add(add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
    let (channels, length) = (usize::from(add.shape.channels), output.len());
    // If the shortcut is in place, it is read where outputs are written: one pointer is used for
    // both.
    let place = output.as_mut_ptr();
    let other = match *shortcut {
        Shortcut::InPlace => Some(place.cast_const()),
        Shortcut::Row { row, channels: theirs, stride: 1, before: 0, .. }
            if theirs == channels && row.len() == length =>
        {
            Some(row.as_ptr())
        }
        Shortcut::Row { .. } => None,
    };
    let ([mine, .., theirs], Some(other)) = (add.table.as_chunks::<256>().0, other) else {
        return reference::add(add, input, shortcut, output);
    };
    let mine: *const I32 = mine.as_ptr().wrapping_add(128);
    let theirs: *const I32 = theirs.as_ptr().wrapping_add(128);
    let ordinary = (Multiplier::MIN_SHIFT..0).contains(&add.multiplier.shift)
        && mine.addr().is_multiple_of(4)
        && input.len() == length
        && length > 0;
    if !ordinary {
        return reference::add(add, input, shortcut, output);
    }
    let args = AddArgs {
        mine,
        theirs,
        mantissa: add.multiplier.mantissa.to_bits(),
        shift: add.multiplier.shift.into(),
        zero_point: add.zero_point,
        min: add.clamp.min.into(),
        max: add.clamp.max.into(),
        length,
    };
    // SAFETY: `length` bytes, at least one, can be read at `input` and `other`, and written at
    // `output`; `other` may be the same address. There are 256 aligned words around the middle of
    // each table: the distance of the second table from the first is a multiple of words.
    unsafe { add_bytes(input.as_ptr(), other, place, &args) }
}

/// The arguments of the assembly of an add besides its rows.
#[repr(C)]
struct AddArgs {
    mine: *const I32,
    theirs: *const I32,
    mantissa: i32,
    shift: i32,
    zero_point: i32,
    min: i32,
    max: i32,
    length: usize,
}

/// 14 instructions for four elements.
///
/// ```text
/// r0 input   r1 shortcut   r2 output   r4 r5 middles of the tables   r6 mantissa   r7 shift
/// r8 zero point   r9 r10 range   lr bytes left   q0 … q3 elements   q4 q5 range
/// ```
///
/// # Safety
///
/// There is at least one byte, and each row has `length` bytes. The tables have 128 aligned words
/// on either side of their middles. The shift is negative.
#[unsafe(naked)]
unsafe extern "C" fn add_bytes(
    input: *const i8,
    shortcut: *const i8,
    output: *mut i8,
    args: &AddArgs,
) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r10, lr}}",
        "vpush {{d8-d11}}",
        "ldm r3, {{r4-r10, lr}}",
        "vdup.32 q4, r9",
        "vdup.32 q5, r10",
        "dlstp.32 lr, lr",
        "2:",
        "vldrb.s32 q0, [r0], #4",
        "vldrb.s32 q1, [r1], #4",
        "vldrw.u32 q2, [r4, q0, uxtw #2]",
        "vldrw.u32 q3, [r5, q1, uxtw #2]",
        "vadd.i32 q0, q2, q3",
        "vqrdmulh.s32 q0, q0, r6",
        // Half away from zero.
        "vshr.s32 q1, q0, #31",
        "vadd.i32 q0, q0, q1",
        "vrshl.s32 q0, r7",
        "vadd.i32 q0, q0, r8",
        "vmax.s32 q0, q0, q4",
        "vmin.s32 q0, q0, q5",
        "vstrb.32 q0, [r2], #4",
        "letp lr, 2b",
        "vpop {{d8-d11}}",
        "pop {{r4-r10, pc}}",
    )
}

/// See [`Backend::sum_row`](crate::kernels::Backend::sum_row).
pub(super) fn sum_row(first: bool, row: &[i8], sums: &mut [i32]) {
    let channels = sums.len();
    match row.len().checked_div(channels) {
        Some(columns) if columns > 0 => {
            // SAFETY: the row has `columns` columns of `channels` bytes. Neither is zero.
            unsafe { sum_columns(row.as_ptr(), columns, sums.as_mut_ptr(), channels, first) }
        }
        _ => reference::sum_row(first, row, sums),
    }
}

/// 5 instructions for four values.
///
/// ```text
/// r0 values of four channels   r1 columns   r2 sums   r3 channels   r4 a column's values
/// r6 channels left   r7 whether it is the first row   lr columns left   q0 sums   q1 values
/// ```
///
/// # Safety
///
/// There is at least one column and one channel, a byte for each at `row`, and a word for each
/// channel at `sums`.
#[unsafe(naked)]
unsafe extern "C" fn sum_columns(
    row: *const i8,
    columns: usize,
    sums: *mut i32,
    channels: usize,
    first: bool,
) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, r6, r7, lr}}",
        "ldrb r7, [sp, #16]",
        "mov r6, r3",
        "1:",
        "vctp.32 r6",
        "vmov.i32 q0, #0",
        "cbnz r7, 2f",
        "vpst",
        "vldrwt.u32 q0, [r2]",
        "2:",
        "mov r4, r0",
        "dls lr, r1",
        "3:",
        "vpst",
        "vldrbt.s32 q1, [r4]",
        "add r4, r4, r3",
        "vadd.i32 q0, q0, q1",
        "le lr, 3b",
        "vpst",
        "vstrwt.32 q0, [r2], #16",
        "add r0, r0, #4",
        "subs r6, r6, #4",
        "bgt 1b",
        "pop {{r4, r6, r7, pc}}",
    )
}

/// See [`Backend::max_pool`](crate::kernels::Backend::max_pool).
pub(super) fn max_pool(pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
    let window = &pool.window;
    let channels = usize::from(window.output.channels);
    let row_bytes = usize::from(window.input.columns) * channels;
    let mut begins = [core::ptr::null(); MAX_KERNEL];
    let mut count = 0;
    let mut complete = channels > 0;
    for row in rows.iter().take(window.kernel[0]).filter(|row| !row.is_empty()) {
        complete &= row.len() == row_bytes;
        if let Some(begin) = begins.get_mut(count) {
            *begin = row.as_ptr();
            count += 1;
        }
    }
    if !complete || count == 0 {
        return reference::max_pool(pool, rows, output);
    }
    for (x, pixel) in output.chunks_exact_mut(channels.max(1)).enumerate() {
        let (columns, first) = window.columns_on_input(x);
        let columns = columns.end.saturating_sub(columns.start);
        if columns == 0 || (first + columns) * channels > row_bytes {
            pixel.fill(pool.clamp.apply(i8::MIN.into()));
            continue;
        }
        let args = MaxArgs {
            rows: begins.as_ptr(),
            count,
            columns,
            at: first * channels,
            min: pool.clamp.min.into(),
            max: pool.clamp.max.into(),
            output: pixel.as_mut_ptr(),
            channels,
        };
        // SAFETY: there is at least one row, one column and one channel. Each row has the columns
        // from `at` on that `args` counts, and the output has the channels.
        unsafe { max_pixel(&args) }
    }
}

/// The arguments of the assembly of a max-pool.
#[repr(C)]
struct MaxArgs {
    rows: *const *const i8,
    count: usize,
    columns: usize,
    at: usize,
    min: i32,
    max: i32,
    output: *mut i8,
    channels: usize,
}

/// 5 instructions for 16 values.
///
/// ```text
/// r0 rows   r1 how many   r2 columns   r3 where the values are   r6 output   r7 channels
/// r8 rows left   r9 columns left   r10 the next row   r12 values   lr channels left
/// q0 largest   q1 values   q2 q3 range
/// ```
///
/// # Safety
///
/// There is at least one row, column and channel. Each row has the columns that `args` counts from
/// `at` on, and `output` has room for a byte for each channel.
#[unsafe(naked)]
unsafe extern "C" fn max_pixel(args: &MaxArgs) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r10, lr}}",
        "ldm r0, {{r0-r7}}",
        "vdup.8 q2, r4",
        "vdup.8 q3, r5",
        "dlstp.8 lr, r7",
        "1:",
        "vmov.i8 q0, #128",
        "mov r8, r1",
        "mov r10, r0",
        "2:",
        "ldr r12, [r10], #4",
        "mov r9, r2",
        "add r12, r12, r3",
        "3:",
        "vldrb.u8 q1, [r12]",
        "add r12, r12, r7",
        "vmax.s8 q0, q0, q1",
        "subs r9, r9, #1",
        "bne 3b",
        "subs r8, r8, #1",
        "bne 2b",
        "vmax.s8 q0, q0, q2",
        "vmin.s8 q0, q0, q3",
        "vstrb.8 q0, [r6], #16",
        "add r3, r3, #16",
        "letp lr, 1b",
        "pop {{r4-r10, pc}}",
    )
}

/// See [`Backend::batch_norm`](crate::kernels::Backend::batch_norm).
pub(super) fn batch_norm(norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
    let channels = usize::from(norm.shape.channels);
    let columns = output.len().checked_div(channels).unwrap_or(0);
    let ordinary = columns > 0
        && input.len() == output.len()
        && [norm.weights.len(), norm.shifts.len()] == [channels; 2]
        && [norm.bias.len(), norm.mantissas.len()] == [channels; 2];
    if !ordinary {
        return reference::batch_norm(norm, input, output);
    }
    let args = NormArgs {
        input: input.as_ptr(),
        output: output.as_mut_ptr(),
        weights: norm.weights.as_ptr(),
        shifts: norm.shifts.as_ptr(),
        bias: norm.bias.as_ptr(),
        mantissas: norm.mantissas.as_ptr(),
        columns,
        channels,
        zero_point: norm.zero_point,
        min: norm.clamp.min.into(),
        max: norm.clamp.max.into(),
    };
    // SAFETY: there is at least one column and one channel. Each has a byte of input and of output,
    // and each channel has a weight, a shift, a bias and a mantissa.
    unsafe { norm_columns(&args) }
}

/// The arguments of the assembly of a batch norm.
#[repr(C)]
struct NormArgs {
    input: *const i8,
    output: *mut i8,
    weights: *const i8,
    shifts: *const i8,
    bias: *const I32,
    mantissas: *const I32,
    columns: usize,
    channels: usize,
    zero_point: i32,
    min: i32,
    max: i32,
}

/// 18 instructions for four elements. Shifts to the left are applied to weights and biases.
///
/// ```text
/// r0 input   r1 output   r2 weights   r3 shifts   r4 bias   r5 mantissas   r6 columns
/// r7 channels   r8 zero point   r9 r10 range, then the first column's input and output
/// r11 channels left   lr columns left
/// q0 values, q7 rounding   q1 weights   q2 bias   q3 mantissas   q4 shifts to the right
/// q5 q6 range
/// ```
///
/// # Safety
///
/// There is at least one column and one channel. For each channel a weight, a shift, a bias and a
/// mantissa can be read. For each channel of each column a byte can be read at `input`, and one
/// written at `output`, which does not overlap it.
#[unsafe(naked)]
unsafe extern "C" fn norm_columns(args: &NormArgs) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "ldm r0, {{r0-r10}}",
        "vdup.32 q5, r9",
        "vdup.32 q6, r10",
        "mov r9, r0",
        "mov r10, r1",
        "mov r11, r7",
        // The next four channels.
        "1:",
        "vctp.32 r11",
        "vpstttt",
        "vldrbt.s32 q1, [r2], #4",
        "vldrbt.s32 q4, [r3], #4",
        "vldrbt.u8 q2, [r4], #16",
        "vldrbt.u8 q3, [r5], #16",
        "vmov.i32 q7, #0",
        "vmax.s32 q0, q4, q7",
        "vmin.s32 q4, q4, q7",
        "vshl.s32 q1, q1, q0",
        "vshl.s32 q2, q2, q0",
        "mov r0, r9",
        "mov r1, r10",
        "dls lr, r6",
        "2:",
        "vpst",
        "vldrbt.s32 q0, [r0]",
        "add r0, r0, r7",
        "vmul.i32 q0, q0, q1",
        "vadd.i32 q0, q0, q2",
        "vqrdmulh.s32 q0, q0, q3",
        // Half away from zero, if there is a shift.
        "vand q7, q0, q4",
        "vshr.s32 q7, q7, #31",
        "vadd.i32 q0, q0, q7",
        "vrshl.s32 q0, q0, q4",
        "vadd.i32 q0, q0, r8",
        "vmax.s32 q0, q0, q5",
        "vmin.s32 q0, q0, q6",
        "vpst",
        "vstrbt.32 q0, [r1]",
        "add r1, r1, r7",
        "le lr, 2b",
        "add r9, r9, #4",
        "add r10, r10, #4",
        "subs r11, r11, #4",
        "bgt 1b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}
