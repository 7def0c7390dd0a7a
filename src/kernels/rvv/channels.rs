//! Convolutions with a lane for each output channel: see [the backend](super).

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};

use super::stream16::{finish_stream16, to_stream16};
use super::{Finish, fill};
use crate::kernels::shared::assembly::assert_length;
use crate::ops::conv::{Conv, Strip};
use crate::ops::{MAX_KERNEL, Rows};
use crate::proved::proved;

/// Number of pairs of weights in a round of the innermost loop.
const ROUND: usize = 16;

/// Number of bytes of the code for a pair, with `columns` columns.
const fn pair_bytes(columns: usize) -> usize {
    4 * (4 + 4 * columns)
}

/// The arguments of the assembly.
#[repr(C)]
struct Args {
    /// Addresses of the values under each kernel row at the first column of the next block. The
    /// first round may start in its middle; the addresses are then lower by the part that is left
    /// out.
    values: [MaybeUninit<*const i8>; MAX_KERNEL],
    /// Distance from one block to the next.
    advance: [MaybeUninit<usize>; MAX_KERNEL],
    /// For the first channel, at that column.
    finish: Finish,
    channels: usize,
    weights: *const i8,
    /// Distance in bytes from two weights of a channel to its next two.
    pair: usize,
    /// Distance from one column's values to the next.
    step: usize,
    /// Number of bytes of `values` that are used.
    rows: usize,
    /// Number of rounds for a kernel row.
    rounds: usize,
    /// Where the first round starts: the number of bytes of code that it leaves out.
    entry: usize,
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
    let pairs = (window.kernel[1] * inputs).div_ceil(2);
    let left_out = pairs.next_multiple_of(ROUND) - pairs;
    let (step, pad) = (window.stride[1] * inputs, window.pad_left * inputs);
    let length = usize::from(window.input.columns) * inputs;
    // `Model::parse` checked that the scratch memory is this large.
    let Some(scratch) = proved!(scratch.get_mut(..window.kernel[0] * strip.line)) else { return };
    let mut args = Args {
        values: [const { MaybeUninit::uninit() }; MAX_KERNEL],
        advance: [const { MaybeUninit::uninit() }; MAX_KERNEL],
        finish,
        channels,
        weights: conv.weights.as_ptr(),
        pair: 2 * channels,
        step,
        rows: 4 * window.kernel[0],
        rounds: pairs.div_ceil(ROUND),
        entry: 0,
        blocks: 1,
    };
    let mut x = 0;
    while x < columns {
        let block = (columns - x).min(Strip::SUMS);
        let reach = (block - 1) * step + 2 * pairs;
        // The blocks from here on whose values lie entirely on the rows.
        let begin = (x * step).checked_sub(pad);
        let room = begin.and_then(|begin| length.checked_sub(begin + reach));
        let blocks = room.and_then(|room| room.checked_div(Strip::SUMS * step));
        let blocks = blocks.map_or(0, |more| (more + 1).min((columns - x) / block));
        let far = begin.unwrap_or(0) + blocks.saturating_sub(1) * Strip::SUMS * step + reach;
        let lines = scratch.chunks_exact_mut(strip.line.max(1));
        let values = args.values.iter_mut().zip(&mut args.advance).zip(rows).zip(lines);
        for (((values, advance), row), line) in values {
            let on_row = begin.filter(|_| blocks > 0 && row.len() >= far);
            let start = match on_row.and_then(|begin| row.get(begin..)) {
                Some(values) => {
                    advance.write(Strip::SUMS * step);
                    values.as_ptr()
                }
                None => {
                    // A row of padding is the same for all columns.
                    if !row.is_empty() || x == 0 {
                        fill(conv, row, x * window.stride[1], line);
                    }
                    advance.write(0);
                    line.as_ptr()
                }
            };
            values.write(start.wrapping_sub(2 * left_out));
        }
        let (run, bytes): (unsafe extern "C" fn(&mut Args), _) = match block {
            1 => (one, pair_bytes(1)),
            2 => (two, pair_bytes(2)),
            _ => (three, pair_bytes(3)),
        };
        args.entry = bytes * left_out;
        args.finish.output = finish.output.wrapping_add(x * finish.output_step);
        args.finish.shortcut = finish.shortcut.wrapping_add(x * finish.shortcut_step);
        args.blocks = blocks.max(1);
        // SAFETY: each kernel row has `reach` values from the first column on for each block. As
        // was just checked, they are in the row, or in the line of scratch memory, which has that
        // length. Weights, bias, mantissas and shifts have entries for all channels. Outputs and
        // shortcuts have `block` columns for each block from `x` on. The table of a join has 128
        // words on either side. `is_sound` and `Finish` have checked this. The code that is left
        // out is part of a round.
        unsafe { run(&mut args) }
        x += block * blocks.max(1);
    }
}

/// Sums and finishes blocks of columns. Each column has a pointer, a scalar and sums.
///
/// ```text
/// while summing:   a0 arguments   a1 … a3 values of the columns   a4 weights   a5 from two
///                  weights to the next   a6 rounds left   a7 where the first begins
///                  t0 … t2 a value of each column   t3 the next kernel row   t4 where they end
///                  t5 from column to column   t6 rounds
///                  v0 … v3 v4 … v7 weights   v8 … v15 v16 … v23 v24 … v31 sums
/// while finishing: t0 … t3 parameters   v0 … v7 parameters; v0 which are negative   v1 which are
///                  shifted to the right
/// s0 blocks left   s1 channels left   s2 channels done   s3 output   s4 shortcut
/// ```
///
/// # Safety
///
/// See [`conv`].
macro_rules! block {
    ($name:ident: $($pointer:literal $value:literal $sums:literal),+) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: &mut Args) {
            naked_asm!(
                ".option push",
                ".option arch, +m, +v",
                ".option norvc",
                "addi sp, sp, -32",
                ".irp at, 0, 1, 2, 3, 4",
                "sw s\\at, 4 * \\at(sp)",
                ".endr",
                "csrwi vxrm, 0", // halves are rounded up
                "lw s0, {blocks}(a0)",
                "lw s3, {output}(a0)",
                "lw s4, {shortcut}(a0)",
                // The next block.
                "6:",
                "lw s1, {channels}(a0)",
                "li s2, 0",
                // The next channels of the block.
                "7:",
                "vsetvli zero, s1, e32, m8, ta, ma",
                "lw t0, {bias}(a0)",
                "slli t1, s2, 2",
                "add t0, t0, t1",
                $(concat!("vle32.v ", $sums, ", (t0)"),)+
                "vsetvli zero, zero, e16, m4, ta, ma",
                "lw a4, {weights}(a0)",
                "add a4, a4, s2",
                "add a4, a4, s2",
                "lw a5, {pair}(a0)",
                "lw t5, {step}(a0)",
                "lw t6, {rounds}(a0)",
                "lw t4, {rows}(a0)",
                "add t4, t4, a0",
                "lw t0, {entry}(a0)",
                "lla a7, 3f",
                "add a7, a7, t0",
                "mv t3, a0",
                // The next kernel row.
                "2:",
                "lw a1, 0(t3)",
                "addi t3, t3, 4",
                "add a2, a1, t5",
                "add a3, a2, t5",
                "mv a6, t6",
                "jr a7",
                "3:",
                ".irp at, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30",
                "vlseg2e8.v v4, (a4)",
                "add a4, a4, a5",
                "vsext.vf2 v0, v4",
                "vsext.vf2 v4, v6",
                $(concat!("lb ", $value, ", \\at(", $pointer, ")"),)+
                $(concat!("vwmacc.vx ", $sums, ", ", $value, ", v0"),)+
                $(concat!("lb ", $value, ", \\at + 1(", $pointer, ")"),)+
                $(concat!("vwmacc.vx ", $sums, ", ", $value, ", v4"),)+
                ".endr",
                assert_length!("3b", "{round} * {bytes}"),
                "addi a6, a6, -1",
                $(concat!("addi ", $pointer, ", ", $pointer, ", 32"),)+
                "bnez a6, 3b",
                "bne t3, t4, 2b",
                // The shift to the left, and the product. Lanes that are masked out keep their values.
                "vsetvli zero, zero, e32, m8, ta, mu",
                "lw t0, {shifts}(a0)",
                "lw t1, {mantissas}(a0)",
                "slli t2, s2, 2",
                "add t0, t0, s2",
                "add t1, t1, t2",
                "vle8.v v6, (t0)",
                "vsext.vf4 v0, v6",
                "vmax.vx v0, v0, zero",
                $(concat!("vsll.vv ", $sums, ", ", $sums, ", v0"),)+
                "vle32.v v0, (t1)",
                $(concat!("vsmul.vv ", $sums, ", ", $sums, ", v0"),)+
                // Half away from zero: one is subtracted from negative values, if there is a shift
                // to the right.
                "vle8.v v6, (t0)",
                "vsext.vf4 v0, v6",
                "vmslt.vx v0, v0, zero",
                "vmmv.m v1, v0",
                $(concat!(
                    "vmslt.vx v0, ", $sums, ", zero\n",
                    "vmand.mm v0, v0, v1\n",
                    "vadd.vi ", $sums, ", ", $sums, ", -1, v0.t",
                ),)+
                "vle8.v v6, (t0)",
                "vsext.vf4 v0, v6",
                "vrsub.vi v0, v0, 0",
                "vmax.vx v0, v0, zero",
                $(concat!("vssra.vv ", $sums, ", ", $sums, ", v0"),)+
                "lw t0, {table}(a0)",
                "lw t1, {last}(a0)",
                "bnez t0, 4f",
                $(concat!("vadd.vx ", $sums, ", ", $sums, ", t1"),)+
                "j 5f",
                // The join.
                "4:",
                to_stream16!("t0"),
                "add t2, s4, s2",
                "lw t3, {shortcut_step}(a0)",
                $(concat!(
                    "vle8.v v6, (t2)\n",
                    "vsext.vf4 v0, v6\n",
                    "vsll.vi v0, v0, 2\n",
                    "vluxei32.v v0, (t0), v0\n",
                    "vadd.vv ", $sums, ", ", $sums, ", v0\n",
                    "vsra.vx ", $sums, ", ", $sums, ", t1\n",
                    "add t2, t2, t3",
                ),)+
                "5:",
                "lw t0, {min}(a0)",
                "lw t1, {max}(a0)",
                "add t2, s3, s2",
                "lw t3, {output_step}(a0)",
                "vsetvli zero, zero, e16, m4, ta, ma",
                $(concat!("vnclip.wi ", $sums, ", ", $sums, ", 0"),)+
                "vsetvli zero, zero, e8, m2, ta, ma",
                $(concat!(
                    "vnclip.wi ", $sums, ", ", $sums, ", 0\n",
                    "vmax.vx ", $sums, ", ", $sums, ", t0\n",
                    "vmin.vx ", $sums, ", ", $sums, ", t1\n",
                    "vse8.v ", $sums, ", (t2)\n",
                    "add t2, t2, t3",
                ),)+
                "11:",
                "csrr t0, vl",
                "add s2, s2, t0",
                "sub s1, s1, t0",
                "bnez s1, 7b",
                "mv t0, a0",
                "8:",
                "lw t1, 0(t0)",
                "lw t2, 4 * {max_kernel}(t0)",
                "add t1, t1, t2",
                "sw t1, 0(t0)",
                "addi t0, t0, 4",
                "bne t0, t4, 8b",
                "lw t0, {shortcut_step}(a0)",
                $(concat!("add s3, s3, t3 // ", $sums),)+
                $(concat!("add s4, s4, t0 // ", $sums),)+
                "addi s0, s0, -1",
                "bnez s0, 6b",
                ".irp at, 0, 1, 2, 3, 4",
                "lw s\\at, 4 * \\at(sp)",
                ".endr",
                "addi sp, sp, 32",
                "ret",
                finish_stream16!(
                    $($sums),+;
                    shortcut: "add t2, s4, s2",
                    output: "add t2, s3, s2",
                    next: "add t2, t2, t3\n add t5, t5, t3",
                    load: "vle8.v", store: "vse8.v", stride: ""
                ),
                ".option pop",
                max_kernel = const MAX_KERNEL,
                round = const ROUND,
                bytes = const pair_bytes([$($pointer),+].len()),
                blocks = const offset_of!(Args, blocks),
                channels = const offset_of!(Args, channels),
                weights = const offset_of!(Args, weights),
                pair = const offset_of!(Args, pair),
                step = const offset_of!(Args, step),
                rows = const offset_of!(Args, rows),
                rounds = const offset_of!(Args, rounds),
                entry = const offset_of!(Args, entry),
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

block!(one: "a1" "t0" "v8");
block!(two: "a1" "t0" "v8", "a2" "t1" "v16");
block!(three: "a1" "t0" "v8", "a2" "t1" "v16", "a3" "t2" "v24");
