//! The transforms of values and kernels for Winograd's convolution: see
//! [`winograd`](crate::kernels::shared).

use core::arch::naked_asm;

use crate::kernels::shared::winograd::{self, KERNEL};

/// Two channels go through the transform in one register, as its low and its high half. The
/// transform is linear, so the only interaction is a borrow from the high half if the low half is
/// negative. It is corrected at the end. Bytes enter as unsigned values, 128 larger. This offset
/// cancels at all positions but the second of the second row, where it contributes 36 · 128.
///
/// ```text
/// a0 pixels   a1 values   a2 inputs   s0 0x80808080   s1 0x00ff00ff   s2 bytes of a row of pixels
/// s3 bytes of a position   s4 where pixels end   s5 0x8000   s6 the same at that one position
/// columns:  a3 pixels   a4 a5 stack, and its end   t0 … t5  s7 … s11 ra  two channels each
/// rows:     a4 stack   s7 … s11 ra  positions   t0 … t5 values   a3 s5, or s6
/// [sp] columns that are transformed: of each of six rows two times ten columns
/// ```
///
/// # Safety
///
/// `inputs` is a multiple of four, and not zero. `pixels`, a multiple of four, has six rows of ten
/// columns of `inputs` bytes. Each position has room for the values of all pairs of inputs.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn transform_tiles(
    pixels: *const i8,
    values: *mut winograd::Values,
    inputs: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        // Bᵀ · six registers with two values in each. `d` and `e` keep their values. The results
        // are in `a`, `t2`, `c`, `b`, `t0`, `t3`.
        ".macro under_tile a, b, c, d, e, f, t0, t1, t2, t3",
        "sub \\t0, \\e, \\c", // even
        "sub \\t1, \\d, \\b", // odd
        "sub \\a, \\a, \\c",
        "slli \\a, \\a, 2",
        "add \\a, \\a, \\t0",
        "slli \\c, \\c, 2",
        "sub \\c, \\e, \\c", // outer
        "slli \\b, \\b, 2",
        "sub \\b, \\d, \\b", // inner
        "sub \\t3, \\f, \\d",
        "slli \\t1, \\t1, 1",
        "slli \\t2, \\t1, 1",
        "sub \\t3, \\t3, \\t2",
        "add \\t2, \\c, \\b",
        "sub \\c, \\c, \\b",
        "add \\b, \\t0, \\t1",
        "sub \\t0, \\t0, \\t1",
        ".endm",
        // Writes the results of `under_tile` to the six positions of a row, `at` bytes after their
        // pointers. Each is two int16, and the low one has borrowed from the high one.
        ".macro store_positions a, b, c, d, e, f, at",
        "add \\a, \\a, s5",
        "add \\b, \\b, a3",
        ".irp value, \\c, \\d, \\e, \\f",
        "add \\value, \\value, s5",
        ".endr",
        ".irp value, \\a, \\b, \\c, \\d, \\e, \\f",
        "xor \\value, \\value, s5",
        ".endr",
        "sw \\a, \\at(s7)",
        "sw \\b, \\at(s8)",
        "sw \\c, \\at(s9)",
        "sw \\d, \\at(s10)",
        "sw \\e, \\at(s11)",
        "sw \\f, \\at(ra)",
        ".endm",
        "addi sp, sp, -544",
        "sw ra, 480(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 484 + 4 * \\at(sp)",
        ".endr",
        "li s0, 0x80808080",
        "li s1, 0x00ff00ff",
        "li t0, 10",
        "mul s2, a2, t0",
        "slli s3, a2, 2",
        "add s4, a0, a2",
        "li s5, 0x8000",
        "li s6, 0x8000 - 36 * 128 * 0x10001",
        // The next four channels.
        "2:",
        "mv a3, a0",
        "mv a4, sp",
        "addi a5, sp, 40",
        // The next column.
        "3:",
        "mv a6, a3",
        ".irp value, t0, t1, t2, t3, t4",
        "lw \\value, 0(a6)",
        "add a6, a6, s2",
        ".endr",
        "lw t5, 0(a6)",
        ".irp value, t0, t1, t2, t3, t4, t5",
        "xor \\value, \\value, s0",
        ".endr",
        "and s7, t0, s1",
        "and s8, t1, s1",
        "and s9, t2, s1",
        "and s10, t3, s1",
        "and s11, t4, s1",
        "and ra, t5, s1",
        ".irp value, t0, t1, t2, t3, t4, t5",
        "srli \\value, \\value, 8",
        "and \\value, \\value, s1",
        ".endr",
        "add a3, a3, a2",
        "under_tile s7, s8, s9, s10, s11, ra, a6, a7, t6, ra",
        "sw s7, 0(a4)",
        "sw t6, 80(a4)",
        "sw s9, 160(a4)",
        "sw s8, 240(a4)",
        "sw a6, 320(a4)",
        "sw ra, 400(a4)",
        "under_tile t0, t1, t2, t3, t4, t5, a6, a7, t6, t5",
        "sw t0, 40(a4)",
        "sw t6, 120(a4)",
        "sw t2, 200(a4)",
        "sw t1, 280(a4)",
        "sw a6, 360(a4)",
        "sw t5, 440(a4)",
        "addi a4, a4, 4",
        "bne a4, a5, 3b",
        // Positions of the first row.
        "mv s7, a1",
        "add s8, s7, s3",
        "add s9, s8, s3",
        "add s10, s9, s3",
        "add s11, s10, s3",
        "add ra, s11, s3",
        "mv a4, sp",
        // The next row.
        "4:",
        "mv a3, s5",
        "addi a5, sp, 80",
        "bne a4, a5, 5f",
        "mv a3, s6",
        "5:",
        ".irp at, 0, 1, 2, 3, 4, 5",
        "lw t\\at, 4 * \\at(a4)",
        ".endr",
        "under_tile t0, t1, t2, t3, t4, t5, a5, a6, a7, t6",
        "store_positions t0, a7, t2, t1, a5, t6, 0",
        ".irp at, 0, 1, 2, 3",
        "lw t\\at, 24 + 4 * \\at(a4)",
        ".endr",
        "under_tile t4, t5, t0, t1, t2, t3, a5, a6, a7, t6",
        "store_positions t4, a7, t0, t5, a5, t6, 4",
        ".irp at, 0, 1, 2, 3, 4, 5",
        "lw t\\at, 40 + 4 * \\at(a4)",
        ".endr",
        "under_tile t0, t1, t2, t3, t4, t5, a5, a6, a7, t6",
        "store_positions t0, a7, t2, t1, a5, t6, 8",
        ".irp at, 0, 1, 2, 3",
        "lw t\\at, 64 + 4 * \\at(a4)",
        ".endr",
        "under_tile t4, t5, t0, t1, t2, t3, a5, a6, a7, t6",
        "store_positions t4, a7, t0, t5, a5, t6, 12",
        "addi a4, a4, 80",
        "slli t0, s3, 2",
        "slli t1, s3, 1",
        "add t0, t0, t1",
        ".irp position, s7, s8, s9, s10, s11, ra",
        "add \\position, \\position, t0",
        ".endr",
        "addi a5, sp, 480",
        "bne a4, a5, 4b",
        "addi a0, a0, 4",
        "addi a1, a1, 16",
        "bne a0, s4, 2b",
        "lw ra, 480(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 484 + 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 544",
        "ret",
        ".purgem under_tile",
        ".purgem store_positions",
        ".option pop",
    )
}

/// Two kernels go through the transform in one register, as values do: see [`transform_tiles`].
///
/// ```text
/// a0 kernels   a1 weights   a2 where those of a position end   a3 bytes of a position   a4 0x8000
/// s0 … s5  s6 … s11  a5 a6 a7 t0 t1 t2  columns, of six rows   t3 … t6 three of a row   ra  a position
/// ```
///
/// # Safety
///
/// `pairs` is not zero. There are eight kernels for each pair, and room for `pairs` weights at each
/// position.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn transform_kernels(
    kernels: *const [i8; KERNEL],
    weights: *mut winograd::Weights,
    pairs: usize,
) {
    naked_asm!(
        // G · three registers with two weights in each. The results are in `a`, `t0`, `t1`, `b`,
        // `t2`, `c`.
        ".macro of_three a, b, c, t0, t1, t2, t3",
        "add \\t0, \\a, \\c",
        "sub \\t1, \\t0, \\b",
        "add \\t0, \\t0, \\b",
        "slli \\t3, \\c, 2",
        "add \\t3, \\a, \\t3",
        "slli \\b, \\b, 1",
        "sub \\t2, \\t3, \\b",
        "add \\b, \\t3, \\b",
        ".endm",
        // Loads a column of two kernels, with three weights each, into three registers.
        ".macro kernel_column column, a, b, c",
        "lb \\a, \\column(a0)",
        "lb t3, 9 + \\column(a0)",
        "lb \\b, 3 + \\column(a0)",
        "lb t4, 12 + \\column(a0)",
        "lb \\c, 6 + \\column(a0)",
        "lb t5, 15 + \\column(a0)",
        "slli t3, t3, 16",
        "slli t4, t4, 16",
        "slli t5, t5, 16",
        "add \\a, \\a, t3",
        "add \\b, \\b, t4",
        "add \\c, \\c, t5",
        ".endm",
        // Transforms a row of two kernels to six positions. Each is two int16, and the low one has
        // borrowed from the high one.
        ".macro kernel_row a, b, c",
        // The first weight has the factor one in all positions but the last, and the last position
        // is the third weight.
        "add \\a, \\a, a4",
        "of_three \\a, \\b, \\c, t3, t4, t5, t6",
        "add \\c, \\c, a4",
        ".irp value, \\a, t3, t4, \\b, t5, \\c",
        "xor \\value, \\value, a4",
        "sw \\value, 0(ra)",
        "add ra, ra, a3",
        ".endr",
        ".endm",
        "addi sp, sp, -64",
        "sw ra, 0(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 4 + 4 * \\at(sp)",
        ".endr",
        "slli a3, a2, 4",
        "add a2, a1, a3",
        "lui a4, 8",
        // The next two kernels.
        "2:",
        "mv ra, a1",
        "kernel_column 0, s0, s3, s5",
        "of_three s0, s3, s5, s1, s2, s4, t3",
        "kernel_column 1, s6, s9, s11",
        "of_three s6, s9, s11, s7, s8, s10, t3",
        "kernel_column 2, a5, t0, t2",
        "of_three a5, t0, t2, a6, a7, t1, t3",
        "kernel_row s0, s6, a5",
        "kernel_row s1, s7, a6",
        "kernel_row s2, s8, a7",
        "kernel_row s3, s9, t0",
        "kernel_row s4, s10, t1",
        "kernel_row s5, s11, t2",
        "addi a0, a0, 18",
        "addi a1, a1, 4",
        "bne a1, a2, 2b",
        "lw ra, 0(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 + 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 64",
        "ret",
        ".purgem of_three",
        ".purgem kernel_column",
        ".purgem kernel_row",
    )
}
