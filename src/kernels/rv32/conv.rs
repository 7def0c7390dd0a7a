//! Convolutions with two columns in one product: see [`column_pairs`](crate::kernels::shared).

use core::arch::naked_asm;
use core::mem::offset_of;

use super::{clamp, join, requantize_left, requantize_right};
use crate::kernels::shared::assembly::if_stream16;
use crate::kernels::shared::column_pairs::{Args, Columns};

/// ```text
/// a0 a1 columns   a2 patch   a3 pairs left   t0 … t3 values of two taps
/// ```
///
/// # Safety
///
/// `pairs` is not zero. `a` and `b` each have two bytes for each pair. `patch` has room for two
/// words for each pair, 16 bytes from one pair to the next.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn widen(
    a: *const i8,
    b: *const i8,
    patch: *mut Columns,
    pairs: usize,
) {
    naked_asm!(
        "andi t4, a3, 3",
        "srli a3, a3, 2",
        "beqz a3, 3f",
        "2:",
        ".irp at, 0, 1, 2, 3",
        "lb t0, 2 * \\at(a0)",
        "lb t1, 2 * \\at(a1)",
        "lb t2, 2 * \\at + 1(a0)",
        "lb t3, 2 * \\at + 1(a1)",
        "slli t1, t1, 16",
        "slli t3, t3, 16",
        "add t0, t0, t1",
        "add t2, t2, t3",
        "sw t0, 16 * \\at(a2)",
        "sw t2, 16 * \\at + 4(a2)",
        ".endr",
        "addi a0, a0, 8",
        "addi a1, a1, 8",
        "addi a2, a2, 64",
        "addi a3, a3, -1",
        "bnez a3, 2b",
        "3:",
        "beqz t4, 5f",
        "4:",
        "lb t0, 0(a0)",
        "lb t1, 0(a1)",
        "lb t2, 1(a0)",
        "lb t3, 1(a1)",
        "slli t1, t1, 16",
        "slli t3, t3, 16",
        "add t0, t0, t1",
        "add t2, t2, t3",
        "sw t0, 0(a2)",
        "sw t2, 4(a2)",
        "addi a0, a0, 2",
        "addi a1, a1, 2",
        "addi a2, a2, 16",
        "addi t4, t4, -1",
        "bnez t4, 4b",
        "5:",
        "ret",
    )
}

/// Jumps to the code for a 16-bit stream, if `s3` marks one in place of a table.
macro_rules! to_stream16 {
    () => {
        if_stream16!({
            "andi t1, s3, 1\n bnez t1, 11f"
        } else {
            ""
        })
    };
}

/// Finishes a channel of a 16-bit stream, except for writing the upper bytes: `s7` is the offset.
macro_rules! stream16 {
    () => {
        if_stream16!({
            "11:
             lw a1, {factor}(a0)
             lw a2, {shortcut_lower}(a0)
             lw a5, {lower}(a0)
             li a6, -32768
             li a7, 32639
             mv t5, s8
             add a2, a2, s8
             add a5, a5, s1
             .irp acc, t0, t4, t2, t3
             lb t1, 0(t5)
             lbu t6, 0(a2)
             add t5, t5, s11
             add a2, a2, s11
             slli t1, t1, 8
             add t1, t1, t6
             mul t1, t1, a1
             add \\acc, \\acc, s7
             srai t1, t1, 10
             add \\acc, \\acc, t1
             srai \\acc, \\acc, 4
             bge \\acc, a6, 1f
             mv \\acc, a6
             1:
             bge a7, \\acc, 1f
             mv \\acc, a7
             1:
             addi \\acc, \\acc, 128
             sb \\acc, 0(a5)
             add a5, a5, s2
             srai \\acc, \\acc, 8
             .endr
             j 12b"
        } else {
            // Operands that are not used must be named.
            "# {factor} {lower} {shortcut_lower}"
        })
    };
}

/// Four channels at a time. The last four may be fewer: the weights of the missing channels are
/// zero, and their sums are not used.
///
/// ```text
/// while summing:   a1 weights   a2 patch   a3 where it ends   a4 0x8000   t3 … t6 patch
///                  s0 … s11 a5 a6 a7 ra  high and sum of columns 1 and 0, and of 3 and 2, channel by
///                  channel   t0 t1 weights of two taps   t2 a0  products
/// around it:       a0 arguments   a1 channels left   a2 of these now   a3 sums   a4 where they end
/// while finishing: s0 channel   s1 output   s2 its stride   s3 table, or null   s4 mantissa   s5 shift
///                  s6 what is added before it   s7 a join's bits   s8 shortcut   s9 s10 range
///                  s11 its stride   t0 t4 t2 t3 four columns
/// [sp] sums   [sp, 64] arguments   [sp, 68] channel   [sp, 72] what was saved
/// ```
///
/// # Safety
///
/// Each field of the arguments is as [`Args`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        // Adds the products of two columns with the weights of a channel to their sums.
        ".macro channel channel, high, sum, other_high, other_sum",
        "lb t0, \\channel(a1)",
        "lb t1, 8 + \\channel(a1)",
        "mul t2, t3, t0",
        "mul a0, t4, t1",
        "add t2, t2, a4",
        "add t2, t2, a0",
        "add \\sum, \\sum, t2",
        "srai t2, t2, 16",
        "add \\high, \\high, t2",
        "mul t0, t5, t0",
        "mul t1, t6, t1",
        "add t0, t0, a4",
        "add t0, t0, t1",
        "add \\other_sum, \\other_sum, t0",
        "srai t0, t0, 16",
        "add \\other_high, \\other_high, t0",
        ".endm",
        // Two taps of four channels, at byte offset `at` from the pointers.
        ".macro taps at",
        "lw t3, \\at(a2)",
        "lw t4, 4 + \\at(a2)",
        "lw t5, 8 + \\at(a2)",
        "lw t6, 12 + \\at(a2)",
        "channel \\at, s0, s1, s2, s3",
        "channel 1 + \\at, s4, s5, s6, s7",
        "channel 2 + \\at, s8, s9, s10, s11",
        "channel 3 + \\at, a5, a6, a7, ra",
        ".endm",
        // The start values of the sums of a channel: `t1` points to biases, `t2` is what is subtracted.
        ".macro start_values at, high, sum, other_high, other_sum",
        "lw \\high, \\at(t1)",
        "slli t3, \\high, 16",
        "add t3, t3, \\high",
        "sub \\sum, t3, t2",
        "mv \\other_high, \\high",
        "mv \\other_sum, \\sum",
        ".endm",
        // The pointers of the products of four channels; `t0` is one if the number of pairs is odd.
        ".macro products_of",
        "lw a2, {patch}(a0)",
        "lw a1, {weights}(a0)",
        "lw a3, {pairs}(a0)",
        "andi t0, a3, 1",
        "slli a3, a3, 4",
        "add a3, a3, a2",
        "lui a4, 8",
        ".endm",
        "addi sp, sp, -128",
        "sw ra, 72(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 76 + 4 * \\at(sp)",
        ".endr",
        "sw a0, 64(sp)",
        "sw zero, 68(sp)",
        // The next four channels: the start values of their sums.
        "2:",
        "lw t0, 68(sp)",
        "lw a1, {channels}(a0)",
        "sub a1, a1, t0",
        "li a2, 4",
        "bge a1, a2, 3f",
        "mv a2, a1",
        "3:",
        "mv a3, sp",
        "slli a2, a2, 4",
        "add a4, a3, a2",
        "lw t1, {parts}(a0)",
        "andi t1, t1, 1",
        "bnez t1, 5f",
        "lw t1, {bias}(a0)",
        "slli t2, t0, 2",
        "add t1, t1, t2",
        "lw t2, {all_pairs}(a0)",
        "slli t2, t2, 15", // subtracts the rounding terms of all pairs
        "li t3, 64",
        "bne a2, t3, 4f",
        // Of four channels, directly in the registers.
        "start_values 0, s0, s1, s2, s3",
        "start_values 4, s4, s5, s6, s7",
        "start_values 8, s8, s9, s10, s11",
        "start_values 12, a5, a6, a7, ra",
        "products_of",
        "j 14f",
        "4:",
        "lw t3, 0(t1)",
        "addi t1, t1, 4",
        "slli t4, t3, 16",
        "add t4, t4, t3",
        "sub t4, t4, t2",
        "sw t3, 0(a3)",
        "sw t4, 4(a3)",
        "sw t3, 8(a3)",
        "sw t4, 12(a3)",
        "addi a3, a3, 16",
        "bne a3, a4, 4b",
        "j 6f",
        "5:",
        "lw t1, {kept}(a0)",
        "slli t2, t0, 4",
        "add t1, t1, t2",
        "4:",
        "lw t2, 0(t1)",
        "addi t1, t1, 4",
        "sw t2, 0(a3)",
        "addi a3, a3, 4",
        "bne a3, a4, 4b",
        // The products of the four channels.
        "6:",
        "products_of",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "lw a5, 48(sp)",
        "lw a6, 52(sp)",
        "lw a7, 56(sp)",
        "lw ra, 60(sp)",
        "14:",
        // With an odd number of pairs, the first is the second of a round.
        "beqz t0, 7f",
        "addi a2, a2, -16",
        "addi a1, a1, -16",
        "j 13f",
        "7:",
        "taps 0",
        "13:",
        "taps 16",
        "addi a2, a2, 32",
        "addi a1, a1, 32",
        "bne a2, a3, 7b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "sw a5, 48(sp)",
        "sw a6, 52(sp)",
        "sw a7, 56(sp)",
        "sw ra, 60(sp)",
        // The number of channels.
        "lw a0, 64(sp)",
        "lw s0, 68(sp)",
        "lw a1, {channels}(a0)",
        "sub a1, a1, s0",
        "li a2, 4",
        "bge a1, a2, 3f",
        "mv a2, a1",
        "3:",
        "slli a2, a2, 4",
        "mv a3, sp",
        "add a4, a3, a2",
        "lw t1, {parts}(a0)",
        "andi t1, t1, 2",
        "beqz t1, 8f",
        // The sums are kept.
        "lw t1, {kept}(a0)",
        "slli t2, s0, 4",
        "add t1, t1, t2",
        "4:",
        "lw t2, 0(a3)",
        "addi a3, a3, 4",
        "sw t2, 0(t1)",
        "addi t1, t1, 4",
        "bne a3, a4, 4b",
        "j 9f",
        // The sums become outputs.
        "8:",
        "lw s1, {output}(a0)",
        "lw s2, {stride}(a0)",
        "lw s3, {table}(a0)",
        "lw s7, {last}(a0)",
        "lw s8, {shortcut}(a0)",
        "li s9, -128",
        "li s10, 127",
        "lw s11, {shortcut_stride}(a0)",
        "add s1, s1, s0",
        "add s8, s8, s0",
        // The next channel.
        "4:",
        "lw t0, {mantissas}(a0)",
        "lw t1, {shifts}(a0)",
        "slli t2, s0, 2",
        "add t0, t0, t2",
        "add t1, t1, s0",
        "lw s4, 0(t0)",
        "lb s5, 0(t1)",
        "lw t4, 0(a3)",
        "lw t0, 4(a3)",
        "lw t3, 8(a3)",
        "lw t2, 12(a3)",
        "slli t1, t4, 16",
        "sub t0, t0, t1",
        "slli t1, t3, 16",
        "sub t2, t2, t1",
        ".irp acc, t0, t4, t2, t3",
        "slli \\acc, \\acc, 1",
        ".endr",
        "bgez s5, 5f",
        "neg s5, s5",
        "mv t1, s7", // the zero point is added before the shift
        "beqz s3, 3f",
        "li t1, 1",
        "3:",
        "sll s6, t1, s5",
        "srai s6, s6, 1",
        requantize_right!(),
        "6:",
        "bnez s3, 7f",
        "10:",
        clamp!(),
        "12:",
        "sb t0, 0(s1)",
        "add t1, s1, s2",
        "sb t4, 0(t1)",
        "add t1, t1, s2",
        "sb t2, 0(t1)",
        "add t1, t1, s2",
        "sb t3, 0(t1)",
        "addi s0, s0, 1",
        "addi s1, s1, 1",
        "addi s8, s8, 1",
        "addi a3, a3, 16",
        "bne a3, a4, 4b",
        // On to the next channels.
        "9:",
        "lw t0, 68(sp)",
        "lw t1, {weights}(a0)",
        "lw t2, {channels}(a0)",
        "addi t0, t0, 4",
        "addi t1, t1, 4",
        "andi t3, t0, 7",
        "bnez t3, 3f",
        "lw t3, {skip}(a0)",
        "add t1, t1, t3",
        "3:",
        "sw t0, 68(sp)",
        "sw t1, {weights}(a0)",
        "blt t0, t2, 2b",
        "lw ra, 72(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 76 + 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 128",
        "ret",
        // A factor of one or more.
        "5:",
        requantize_left!(),
        "j 6b",
        // A join.
        "7:",
        to_stream16!(),
        join!(),
        "j 10b",
        stream16!(),
        ".purgem taps",
        ".purgem channel",
        ".purgem start_values",
        ".purgem products_of",
        ".option pop",
        channels = const offset_of!(Args, channels),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        all_pairs = const offset_of!(Args, all_pairs),
        kept = const offset_of!(Args, kept),
        patch = const offset_of!(Args, patch),
        weights = const offset_of!(Args, weights),
        pairs = const offset_of!(Args, pairs),
        output = const offset_of!(Args, output),
        stride = const offset_of!(Args, stride),
        table = const offset_of!(Args, table),
        last = const offset_of!(Args, last),
        shortcut = const offset_of!(Args, shortcut),
        shortcut_stride = const offset_of!(Args, shortcut_stride),
        mantissas = const offset_of!(Args, mantissas),
        shifts = const offset_of!(Args, shifts),
        skip = const offset_of!(Args, skip),
        factor = const offset_of!(Args, factor),
        lower = const offset_of!(Args, lower),
        shortcut_lower = const offset_of!(Args, shortcut_lower),
    )
}

pub(super) use {stream16, to_stream16};
