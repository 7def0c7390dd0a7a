//! Convolutions with a lane for each output column: see [the backend](super).
//!
//! ```text
//! vectors[kernel row][two input channels][column] = values, int16      taken apart
//! for each three output channels:
//!     sums[0 … 2] = bias
//!     for each kernel row and column, for each two input channels:
//!         values a, b = vectors, from that column on
//!         sums[0 … 2] += weights a[0 … 2] · values a          weights are scalars
//!         sums[0 … 2] += weights b[0 … 2] · values b
//!     output[0 … 2] = finish(sums)
//! ```
//!
//! If the number of input channels is odd, there are vectors for all values under a kernel row.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ptr::null;

use super::stream16::{finish_stream16, to_stream16};
use super::{Finish, fill, pad};
use crate::kernels::shared::assembly::assert_length;
use crate::ops::Rows;
use crate::ops::conv::{Conv, Strip};
use crate::proved::proved;

/// Number of pairs of values in a round of the innermost loop.
const ROUND: usize = 8;

/// Number of bytes of the code for a pair, with `channels` channels.
const fn pair_bytes(channels: usize) -> usize {
    4 * (3 + 4 * channels)
}

/// The arguments of the assembly.
#[repr(C)]
struct Args {
    finish: Finish,
    /// Number of columns.
    lanes: usize,
    /// Address of the vectors of the first kernel row.
    values: *const i8,
    /// Distance in bytes from one column's values to the next, and from one vector to the next.
    lane: usize,
    vector: usize,
    /// Number of bytes of consecutive vectors, and how many times a kernel row reads them, each
    /// time one column further on.
    span: usize,
    times: usize,
    /// Distance from the end of the last of these to the next kernel row.
    next: usize,
    /// Number of kernel rows.
    rows: usize,
    /// Where the first round of a span starts: the number of bytes of code that it leaves out.
    entry: usize,
    /// Address of the weights of the first channel, and distance in bytes from two of them to the
    /// next two.
    weights: *const i8,
    pair: usize,
    /// Number of groups of channels. A call computes the channels of a group at once.
    blocks: usize,
}

/// One output row; see [`Backend::conv`](crate::kernels::Backend::conv).
pub(super) fn conv(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    strip: &Strip,
    finish: Finish,
    scratch: &mut [i8],
) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let channels = usize::from(window.output.channels);
    let columns = usize::from(window.output.columns);
    let [kernel_rows, kernel_columns] = window.kernel;
    let stride = window.stride[1];
    let plane = strip.plane();
    // `Model::parse` checked that the scratch memory is this large.
    let Some((planes, line)) = proved!(scratch.split_at_mut_checked(kernel_rows * plane)) else {
        return;
    };
    let Some(line) = proved!(line.get_mut(..strip.line)) else { return };
    let twos = inputs.is_multiple_of(2);
    let vector = 4 * strip.vector_columns;
    let span = strip.vectors * vector;
    let times = if twos { kernel_columns } else { 1 };
    let left_out = strip.vectors.next_multiple_of(ROUND) - strip.vectors;
    let mut args = Args {
        finish,
        lanes: 0,
        values: null(),
        lane: if twos { 4 * stride } else { 4 },
        vector,
        span,
        times,
        next: plane.wrapping_sub(4 * times),
        rows: kernel_rows,
        entry: 0,
        weights: conv.weights.as_ptr(),
        pair: 2 * channels,
        blocks: 0,
    };
    for x in (0..columns).step_by(strip.columns.max(1)) {
        args.lanes = (columns - x).min(strip.columns);
        let rows = rows.iter().zip(planes.chunks_exact_mut(plane.max(1)));
        if twos {
            if let Some(pixel) = proved!(line.get_mut(..inputs)) {
                pad(conv, pixel);
                let under = (args.lanes - 1) * stride + kernel_columns;
                rows.for_each(|(row, plane)| {
                    spread(conv, row, x * stride, under, pixel, vector, plane);
                });
            }
        } else {
            for (row, plane) in rows {
                fill(conv, row, x * stride, line);
                let vectors = strip.vectors;
                // SAFETY: `strip.line` has the values under the kernel at all columns, and one
                // more. The plane has a vector of all columns for each pair of values.
                unsafe {
                    gather(
                        line.as_ptr(),
                        stride * inputs,
                        args.lanes,
                        vectors,
                        plane.as_mut_ptr(),
                        vector,
                    );
                }
            }
        }
        args.values = planes.as_ptr();
        let blocks = channels / Strip::SUMS;
        if blocks > 0 {
            args.finish = finish.at(x, 0);
            args.weights = conv.weights.as_ptr();
            args.blocks = blocks;
            args.entry = pair_bytes(Strip::SUMS) * left_out;
            // SAFETY: for each kernel row its vectors are filled, with `lanes` columns `lane` bytes
            // apart, and with one more column for each further column of the kernel. Weights, bias,
            // mantissas and shifts have entries for all channels. Outputs and shortcuts have
            // `lanes` columns from `x` on. The table of a join has 128 words on either side.
            // `is_sound` and `Finish` have checked this. The code that is left out is part of a
            // round.
            unsafe { three(&args) }
        }
        let o = blocks * Strip::SUMS;
        let (run, bytes): (unsafe extern "C" fn(&Args), _) = match channels - o {
            0 => continue,
            1 => (one, pair_bytes(1)),
            _ => (two, pair_bytes(2)),
        };
        args.finish = finish.at(x, o);
        args.weights = conv.weights.as_ptr().wrapping_add(2 * o);
        args.blocks = 1;
        args.entry = bytes * left_out;
        // SAFETY: as before, for the last channels.
        unsafe { run(&args) }
    }
}

/// Fills the vectors of a kernel row with the columns from `first` on, where the columns of padding
/// before the row are counted. `pixel` is a pixel of padding.
fn spread(
    conv: &Conv<'_>,
    row: &[i8],
    first: usize,
    under: usize,
    pixel: &[i8],
    vector: usize,
    plane: &mut [i8],
) {
    let (inputs, vectors) = (pixel.len().max(1), pixel.len() / 2);
    let before = conv.window.pad_left.saturating_sub(first).min(under);
    let from = first.saturating_sub(conv.window.pad_left);
    let row = row.get(from * inputs..).unwrap_or(&[]);
    let there = (row.len() / inputs).min(under - before);
    let after = under - before - there;
    let whole = vectors > 0 && plane.len() >= vectors * vector && vector >= 4 * under;
    if !proved!(whole) {
        return;
    }
    let at = |column: usize, plane: &mut [i8]| plane.as_mut_ptr().wrapping_add(4 * column);
    if before > 0 {
        // SAFETY: as was just checked, `plane` has `vectors` vectors of `under` columns, and
        // `before` is not larger.
        unsafe { repeat(pixel.as_ptr(), vectors, at(0, plane), vector, before) }
    }
    if there > 0 {
        // SAFETY: as before, and the row has `there` columns of `inputs` values.
        unsafe { gather(row.as_ptr(), inputs, there, vectors, at(before, plane), vector) }
    }
    if after > 0 {
        // SAFETY: as for the first call.
        unsafe { repeat(pixel.as_ptr(), vectors, at(before + there, plane), vector, after) }
    }
}

/// Separates values: the first two of each column go into one vector, the next two into the next.
///
/// ```text
/// a0 values   a1 from column to column   a2 columns left   a3 vectors   a4 the first
/// a5 from vector to vector   t0 columns of a round   t1 values   t2 vector   t3 vectors left
/// v0 … v7 values   v8 … v23 they as int16
/// ```
///
/// # Safety
///
/// `columns` and `vectors` are not zero. Each column has two values for each vector. Each vector
/// has room for `columns` words.
#[unsafe(naked)]
unsafe extern "C" fn gather(
    values: *const i8,
    step: usize,
    columns: usize,
    vectors: usize,
    first: *mut i8,
    vector: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "1:",
        "vsetvli t0, a2, e16, m4, ta, ma",
        "mv t1, a0",
        "mv t2, a4",
        "addi t3, a3, -2",
        "bltz t3, 3f",
        "2:",
        "vlsseg4e8.v v0, (t1), a1",
        "vsext.vf2 v8, v0",
        "vsext.vf2 v12, v2",
        "vsext.vf2 v16, v4",
        "vsext.vf2 v20, v6",
        "vsseg2e16.v v8, (t2)",
        "add t2, t2, a5",
        "vsseg2e16.v v16, (t2)",
        "add t2, t2, a5",
        "addi t1, t1, 4",
        "addi t3, t3, -2",
        "bgez t3, 2b",
        "3:",
        "andi t3, t3, 1",
        "beqz t3, 4f",
        "vlsseg2e8.v v0, (t1), a1",
        "vsext.vf2 v8, v0",
        "vsext.vf2 v12, v2",
        "vsseg2e16.v v8, (t2)",
        "4:",
        "sub a2, a2, t0",
        "mul t1, t0, a1",
        "add a0, a0, t1",
        "slli t0, t0, 2",
        "add a4, a4, t0",
        "bnez a2, 1b",
        "ret",
        ".option pop",
    )
}

/// Writes the same pixel at several columns.
///
/// ```text
/// a0 values   a1 vectors left   a2 the next of these   a3 from vector to vector   a4 columns
/// t0 values of a round   t1 vectors of a round   t2 column   t3 columns left
/// v0 … v3 values   v8 … v15 they as int16
/// ```
///
/// # Safety
///
/// There is at least one column and one vector. Two values can be read for each vector, and a word
/// can be written for each column of each vector.
#[unsafe(naked)]
unsafe extern "C" fn repeat(
    values: *const i8,
    vectors: usize,
    first: *mut i8,
    vector: usize,
    columns: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "1:",
        "vsetvli t1, a1, e32, m8, ta, ma",
        "slli t0, t1, 1",
        "vsetvli zero, t0, e16, m8, ta, ma",
        "vle8.v v0, (a0)",
        "vsext.vf2 v8, v0",
        "vsetvli zero, t1, e32, m8, ta, ma",
        "mv t2, a2",
        "mv t3, a4",
        "2:",
        "vsse32.v v8, (t2), a3",
        "addi t2, t2, 4",
        "addi t3, t3, -1",
        "bnez t3, 2b",
        "add a0, a0, t0",
        "sub a1, a1, t1",
        "mul t1, t1, a3",
        "add a2, a2, t1",
        "bnez a1, 1b",
        "ret",
        ".option pop",
    )
}

/// Sums and finishes blocks of channels. Each channel has an index, a scalar and sums.
///
/// ```text
/// while summing:   a0 arguments   a1 vectors   a2 weights   a3 from two weights to the next
///                  a4 from column to column   a5 from vector to vector   a6 where the first round
///                  begins   a7 where the span ends   t0 … t2 a weight of each channel   t3 the
///                  span's bytes   t4 from its end to the next   t5 spans left   t6 kernel rows left
///                  v0 … v3 v4 … v7 values   v8 … v15 v16 … v23 v24 … v31 sums
/// while finishing: a1 shifts   a2 mantissas   t0 … t3 parameters
///                  v0 … v7 shortcuts; v0 which are negative
/// s0 blocks left   s1 channels done
/// ```
///
/// # Safety
///
/// See [`conv`].
macro_rules! channels {
    ($name:ident: $($o:literal $weight:literal $sums:literal),+) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: &Args) {
            naked_asm!(
                ".option push",
                ".option arch, +m, +v",
                ".option norvc",
                "addi sp, sp, -16",
                "sw s0, 0(sp)",
                "sw s1, 4(sp)",
                "csrwi vxrm, 0", // halves are rounded up
                "lw t0, {lanes}(a0)",
                "vsetvli zero, t0, e32, m8, ta, ma",
                "lw s0, {blocks}(a0)",
                "li s1, 0",
                // The next channels.
                "6:",
                "lw t0, {bias}(a0)",
                "slli t1, s1, 2",
                "add t0, t0, t1",
                $(concat!("lw t1, 4 * ", $o, "(t0)\n", "vmv.v.x ", $sums, ", t1"),)+
                "vsetvli zero, zero, e16, m4, ta, ma",
                "lw a1, {values}(a0)",
                "lw a2, {weights}(a0)",
                "add a2, a2, s1",
                "add a2, a2, s1",
                "lw a3, {pair}(a0)",
                "lw a4, {lane}(a0)",
                "lw a5, {vector}(a0)",
                "lw t0, {entry}(a0)",
                "lla a6, 3f",
                "add a6, a6, t0",
                "lw t3, {span}(a0)",
                "li t4, 4",
                "sub t4, t4, t3",
                "lw t6, {rows}(a0)",
                // The next kernel row.
                "1:",
                "lw t5, {times}(a0)",
                "2:",
                "add a7, a1, t3",
                "jr a6",
                "3:",
                ".rept 8",
                "vlsseg2e16.v v0, (a1), a4",
                "add a1, a1, a5",
                $(concat!("lb ", $weight, ", 2 * ", $o, "(a2)"),)+
                $(concat!("vwmacc.vx ", $sums, ", ", $weight, ", v0"),)+
                $(concat!("lb ", $weight, ", 2 * ", $o, " + 1(a2)"),)+
                $(concat!("vwmacc.vx ", $sums, ", ", $weight, ", v4"),)+
                "add a2, a2, a3",
                ".endr",
                assert_length!("3b", "{round} * {bytes}"),
                "bne a1, a7, 3b",
                "add a1, a1, t4",
                "addi t5, t5, -1",
                "bnez t5, 2b",
                "lw t5, {next}(a0)",
                "add a1, a1, t5",
                "addi t6, t6, -1",
                "bnez t6, 1b",
                // Lanes that are masked out keep their values.
                "vsetvli zero, zero, e32, m8, ta, mu",
                "lw a1, {shifts}(a0)",
                "lw a2, {mantissas}(a0)",
                "slli t0, s1, 2",
                "add a1, a1, s1",
                "add a2, a2, t0",
                $(concat!(
                    "lb t0, ", $o, "(a1)\n",
                    "lw t1, 4 * ", $o, "(a2)\n",
                    "srai t2, t0, 31\n",
                    "neg t3, t0\n",
                    "and t3, t3, t2\n",
                    "add t0, t0, t3\n",
                    "vsll.vx ", $sums, ", ", $sums, ", t0\n",
                    "vsmul.vx ", $sums, ", ", $sums, ", t1\n",
                    // Half away from zero: one is subtracted from negative values, if there is a
                    // shift to the right.
                    "vmslt.vx v0, ", $sums, ", zero\n",
                    "vadd.vx ", $sums, ", ", $sums, ", t2, v0.t\n",
                    "vssra.vx ", $sums, ", ", $sums, ", t3",
                ),)+
                "lw t0, {table}(a0)",
                "lw t1, {last}(a0)",
                "bnez t0, 4f",
                $(concat!("vadd.vx ", $sums, ", ", $sums, ", t1"),)+
                "j 5f",
                // The join.
                "4:",
                to_stream16!("t0"),
                "lw t2, {shortcut}(a0)",
                "lw t3, {shortcut_step}(a0)",
                "add t2, t2, s1",
                $(concat!(
                    "vlse8.v v6, (t2), t3\n",
                    "vsext.vf4 v0, v6\n",
                    "vsll.vi v0, v0, 2\n",
                    "vluxei32.v v0, (t0), v0\n",
                    "vadd.vv ", $sums, ", ", $sums, ", v0\n",
                    "vsra.vx ", $sums, ", ", $sums, ", t1\n",
                    "addi t2, t2, 1",
                ),)+
                "5:",
                "lw t0, {min}(a0)",
                "lw t1, {max}(a0)",
                "lw t2, {output}(a0)",
                "lw t3, {output_step}(a0)",
                "add t2, t2, s1",
                "vsetvli zero, zero, e16, m4, ta, ma",
                $(concat!("vnclip.wi ", $sums, ", ", $sums, ", 0"),)+
                "vsetvli zero, zero, e8, m2, ta, ma",
                $(concat!(
                    "vnclip.wi ", $sums, ", ", $sums, ", 0\n",
                    "vmax.vx ", $sums, ", ", $sums, ", t0\n",
                    "vmin.vx ", $sums, ", ", $sums, ", t1\n",
                    "vsse8.v ", $sums, ", (t2), t3\n",
                    "addi t2, t2, 1",
                ),)+
                "11:",
                "vsetvli zero, zero, e32, m8, ta, ma",
                $(concat!("addi s1, s1, 1 // ", $sums),)+
                "addi s0, s0, -1",
                "bnez s0, 6b",
                "lw s0, 0(sp)",
                "lw s1, 4(sp)",
                "addi sp, sp, 16",
                "ret",
                finish_stream16!(
                    $($sums),+;
                    shortcut: "lw t2, {shortcut}(a0)\n add t2, t2, s1",
                    output: "lw t2, {output}(a0)\n add t2, t2, s1",
                    next: "addi t2, t2, 1\n addi t5, t5, 1",
                    load: "vlse8.v", store: "vsse8.v", stride: ", t3"
                ),
                ".option pop",
                round = const ROUND,
                bytes = const pair_bytes([$($o),+].len()),
                blocks = const offset_of!(Args, blocks),
                lanes = const offset_of!(Args, lanes),
                values = const offset_of!(Args, values),
                lane = const offset_of!(Args, lane),
                vector = const offset_of!(Args, vector),
                span = const offset_of!(Args, span),
                times = const offset_of!(Args, times),
                next = const offset_of!(Args, next),
                rows = const offset_of!(Args, rows),
                entry = const offset_of!(Args, entry),
                weights = const offset_of!(Args, weights),
                pair = const offset_of!(Args, pair),
                bias = const offset_of!(Args, finish) + offset_of!(Finish, bias),
                mantissas = const offset_of!(Args, finish) + offset_of!(Finish, mantissas),
                shifts = const offset_of!(Args, finish) + offset_of!(Finish, shifts),
                table = const offset_of!(Args, finish) + offset_of!(Finish, table),
                last = const offset_of!(Args, finish) + offset_of!(Finish, last),
                min = const offset_of!(Args, finish) + offset_of!(Finish, min),
                max = const offset_of!(Args, finish) + offset_of!(Finish, max),
                output = const offset_of!(Args, finish) + offset_of!(Finish, output),
                output_step = const offset_of!(Args, finish) + offset_of!(Finish, output_step),
                shortcut = const offset_of!(Args, finish) + offset_of!(Finish, shortcut),
                shortcut_step = const offset_of!(Args, finish) + offset_of!(Finish, shortcut_step),
                factor = const offset_of!(Args, finish) + offset_of!(Finish, factor),
                lower = const offset_of!(Args, finish) + offset_of!(Finish, lower),
                shortcut_lower = const offset_of!(Args, finish) + offset_of!(Finish, shortcut_lower),
            )
        }
    };
}

channels!(one: "0" "t0" "v8");
channels!(two: "0" "t0" "v8", "1" "t1" "v16");
channels!(three: "0" "t0" "v8", "1" "t1" "v16", "2" "t2" "v24");
