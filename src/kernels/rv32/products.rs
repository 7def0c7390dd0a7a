//! The products of Winograd's convolution.

use core::arch::naked_asm;

use crate::kernels::shared::winograd;

/// ```text
/// a0 values   a1 weights   t0 bytes of a position's values   a3 sums   a4 where they end
/// a5 where values of this position end   a6 a7 values   t3 … t6 weights   a2 a product
/// t1 t2 s0 … s5 sums, channel by channel
/// ```
///
/// # Safety
///
/// `pairs` is even, and not zero. Each of the 36 positions has `pairs` values and `pairs` weights.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn multiply_tiles(
    values: *const winograd::Values,
    weights: *const winograd::Weights,
    pairs: usize,
    sums: *mut winograd::Sums,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        "addi sp, sp, -32",
        ".irp at, 0, 1, 2, 3, 4, 5",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "slli t0, a2, 3",
        "addi a4, a3, 36 * 32",
        ".macro lane values, weights, first",
        "lh a6, \\values(a0)",
        "lh a7, 4 + \\values(a0)",
        "lh t3, \\weights(a1)",
        "lh t4, 4 + \\weights(a1)",
        "lh t5, 8 + \\weights(a1)",
        "lh t6, 12 + \\weights(a1)",
        ".ifnb \\first",
        "mul t1, t3, a6",
        "mul t2, t3, a7",
        "mul s0, t4, a6",
        "mul s1, t4, a7",
        "mul s2, t5, a6",
        "mul s3, t5, a7",
        "mul s4, t6, a6",
        "mul s5, t6, a7",
        ".else",
        "mul a2, t3, a6",
        "mul t3, t3, a7",
        "add t1, t1, a2",
        "add t2, t2, t3",
        "mul a2, t4, a6",
        "mul t4, t4, a7",
        "add s0, s0, a2",
        "add s1, s1, t4",
        "mul a2, t5, a6",
        "mul t5, t5, a7",
        "add s2, s2, a2",
        "add s3, s3, t5",
        "mul a6, t6, a6",
        "mul a7, t6, a7",
        "add s4, s4, a6",
        "add s5, s5, a7",
        ".endif",
        ".endm",
        // The next position. Its first products set the sums.
        "2:",
        "add a5, a0, t0",
        "lane 0, 0, first",
        "j 4f",
        // Four input channels.
        "3:",
        "lane 0, 0",
        "4:",
        "lane 2, 2",
        "lane 8, 16",
        "lane 10, 18",
        "addi a0, a0, 16",
        "addi a1, a1, 32",
        "bne a0, a5, 3b",
        "sw t1, 0(a3)",
        "sw t2, 4(a3)",
        ".irp at, 0, 1, 2, 3, 4, 5",
        "sw s\\at, 8 + 4 * \\at(a3)",
        ".endr",
        "addi a3, a3, 32",
        "bne a3, a4, 2b",
        ".irp at, 0, 1, 2, 3, 4, 5",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 32",
        "ret",
        ".purgem lane",
        ".option pop",
    )
}

/// The same for two spans: each weight that is loaded serves four tiles.
///
/// ```text
/// a0 a5 values of the spans   a1 weights   a2 where those of this position end   a3 sums
/// t2 … t5 values   t6 a4  a weight and a product, in turn   ra  a product
/// s0 … s11 a6 a7 t0 t1  sums, channel by channel
/// [sp, 52] bytes of a position's weights   [sp, 56] where sums of the first span end
/// ```
///
/// # Safety
///
/// As for one span. Values and sums of the other span follow those of the first.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn multiply_two_spans(
    values: *const winograd::Values,
    weights: *const winograd::Weights,
    pairs: usize,
    sums: *mut winograd::Sums,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        // Adds the products of four values with the weight in `w` to four sums, or sets these, and
        // loads the weight at `next` into `p`.
        ".macro four_tiles first, w, p, next, a, b, c, d",
        ".ifnb \\first",
        "mul \\a, \\w, t2",
        "mul \\b, \\w, t3",
        "mul \\c, \\w, t4",
        "mul \\d, \\w, t5",
        ".ifnb \\next",
        "lh \\p, \\next(a1)",
        ".endif",
        ".else",
        "mul ra, \\w, t2",
        "mul \\p, \\w, t3",
        "add \\a, \\a, ra",
        "add \\b, \\b, \\p",
        "mul ra, \\w, t4",
        "mul \\w, \\w, t5",
        ".ifnb \\next",
        "lh \\p, \\next(a1)",
        ".endif",
        "add \\c, \\c, ra",
        "add \\d, \\d, \\w",
        ".endif",
        ".endm",
        ".macro input_channel values, weights, first",
        "lh t6, \\weights(a1)",
        "lh t2, \\values(a0)",
        "lh t3, 4 + \\values(a0)",
        "lh t4, \\values(a5)",
        "lh t5, 4 + \\values(a5)",
        "four_tiles \\first, t6, a4, 4 + \\weights, s0, s1, s2, s3",
        "four_tiles \\first, a4, t6, 8 + \\weights, s4, s5, s6, s7",
        "four_tiles \\first, t6, a4, 12 + \\weights, s8, s9, s10, s11",
        "four_tiles \\first, a4, t6, , a6, a7, t0, t1",
        ".endm",
        "addi sp, sp, -64",
        "sw ra, 48(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "slli t0, a2, 4",
        "sw t0, 52(sp)",
        "addi t1, a3, 36 * 32",
        "sw t1, 56(sp)",
        // 36 positions of eight bytes for each pair.
        "li a5, 36 * 8",
        "mul a5, a5, a2",
        "add a5, a5, a0",
        // The next position. Its first products set the sums.
        "2:",
        "lw a2, 52(sp)",
        "add a2, a2, a1",
        "input_channel 0, 0, first",
        "j 4f",
        // Four input channels.
        "3:",
        "input_channel 0, 0",
        "4:",
        "input_channel 2, 2",
        "input_channel 8, 16",
        "input_channel 10, 18",
        "addi a0, a0, 16",
        "addi a5, a5, 16",
        "addi a1, a1, 32",
        "bne a1, a2, 3b",
        "sw s0, 0(a3)",
        "sw s1, 4(a3)",
        "sw s4, 8(a3)",
        "sw s5, 12(a3)",
        "sw s8, 16(a3)",
        "sw s9, 20(a3)",
        "sw a6, 24(a3)",
        "sw a7, 28(a3)",
        "sw s2, 36 * 32(a3)",
        "sw s3, 36 * 32 + 4(a3)",
        "sw s6, 36 * 32 + 8(a3)",
        "sw s7, 36 * 32 + 12(a3)",
        "sw s10, 36 * 32 + 16(a3)",
        "sw s11, 36 * 32 + 20(a3)",
        "sw t0, 36 * 32 + 24(a3)",
        "sw t1, 36 * 32 + 28(a3)",
        "addi a3, a3, 32",
        "lw a4, 56(sp)",
        "bne a3, a4, 2b",
        "lw ra, 48(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 64",
        "ret",
        ".purgem four_tiles",
        ".purgem input_channel",
        ".option pop",
    )
}
