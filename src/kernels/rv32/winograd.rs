//! Winograd's convolution: the outputs made from sums of products.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::products::{multiply_tiles, multiply_two_spans};
use super::transform::{transform_kernels, transform_tiles};
use super::{Rv32, clamp, requantize_left};
use crate::kernels::shared::assembly::if_stream16;
use crate::kernels::shared::winograd::{self, NINTH};

winograd::winograd_tiles!(
    Rv32, winograd::are_shifts_small,
    transform: transform_tiles, weights: transform_kernels,
    multiply: multiply_tiles, two_spans: multiply_two_spans, finish: finish_tiles
);

/// Aᵀ · `t0` … `t5`. The results are in `t0`, `t4`, `t2`, `t3`. The last three are too small by
/// factors of two, four and four, for which later code compensates.
macro_rules! of_six {
    () => {
        "add t6, t1, t2
         sub t1, t1, t2
         add t2, t3, t4
         sub t3, t3, t4
         mul t0, t0, s1
         add t0, t0, t2
         slli t4, t6, 2
         sub t0, t0, t4
         slli t4, t1, 1
         sub t4, t3, t4
         sub t2, t2, t6
         mul t5, t5, s1
         slli t3, t3, 1
         add t3, t3, t5
         sub t3, t3, t1"
    };
}

/// Requantizes 16 times a sum, with a shift to the right. The high word of its product with the
/// mantissa is eight times the high product that is rounded first.
macro_rules! requantize_16 {
    () => {
        ".irp acc, t0, t4, t2, t3
         srai t1, \\acc, 31
         mulh \\acc, \\acc, s4
         add \\acc, \\acc, s6
         srai \\acc, \\acc, 3
         add \\acc, \\acc, t1
         sra \\acc, \\acc, s5
         .endr"
    };
}

/// Jumps to the code for a 16-bit stream, if `s8` marks one in place of a table.
macro_rules! to_stream16 {
    () => {
        if_stream16!({
            "andi t1, s8, 1\n bnez t1, 11f"
        } else {
            ""
        })
    };
}

/// Makes values of a 16-bit stream for four rows, and writes their lower bytes: `s7` is the offset,
/// `t5` the distance from a row's first output to this one.
macro_rules! stream16 {
    () => {
        if_stream16!({
            concat!(
                "11:\n",
                stream16_row!("t0", "0"),
                stream16_row!("t4", "4"),
                stream16_row!("t2", "8"),
                stream16_row!("t3", "12"),
                clamp!(),
                "
                 lw t5, {lower}(a0)
                 .irp acc, t0, t4, t2, t3
                 addi \\acc, \\acc, 128
                 .endr
                 add t1, a2, t5
                 sb t0, 0(t1)
                 add t1, a3, t5
                 sb t4, 0(t1)
                 add t1, a4, t5
                 sb t2, 0(t1)
                 add t1, a5, t5
                 sb t3, 0(t1)
                 .irp acc, t0, t4, t2, t3
                 srai \\acc, \\acc, 8
                 .endr
                 j 12b",
            )
        } else {
            // Operands that are not used must be named.
            "# {factor} {lower} {shortcut_lower}"
        })
    };
}

/// One row of these.
#[cfg(feature = "stream16")]
macro_rules! stream16_row {
    ($acc:literal, $row:literal) => {
        concat!(
            "lw t1, {shortcuts} + ",
            $row,
            "(a0)
             lw t6, {shortcut_lower}(a0)
             add t1, t1, t5
             add t6, t6, t1
             lb t1, 0(t1)
             lbu t6, 0(t6)
             slli t1, t1, 8
             add t1, t1, t6
             lw t6, {factor}(a0)
             add ",
            $acc,
            ", ",
            $acc,
            ", s7
             mul t1, t1, t6
             srai t1, t1, 10
             add ",
            $acc,
            ", ",
            $acc,
            ", t1
             srai ",
            $acc,
            ", ",
            $acc,
            ", 4
            ",
        )
    };
}

/// ```text
/// a0 arguments   a1 sums   a2 … a5 outputs   a6 stack   a7 tiles left   ra  channels left
/// s1 6   s2 NINTH by the factor of a column   s3 16 times the bias   s4 mantissa   s5 shift to the
/// right, or to the left where s6 is zero   s6 what is added to eight times the product
/// s7 zero_point, or a join's bits   s8 table, or null
/// s9 s10 range   s11 stride   t0 t4 t2 t3 outputs of four rows
/// [sp] Aᵀ · sums: four columns of each of six rows
/// ```
///
/// # Safety
///
/// All pointers are valid as [`winograd::finish_by`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn finish_tiles(args: &mut winograd::Args, sums: &winograd::Sums) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        // Adds the table's value for the shortcut's byte to a sum, and rounds.
        ".macro join_row acc, shortcut",
        "lw t1, \\shortcut(a0)",
        "add t1, t1, t5",
        "lb t1, 0(t1)",
        "slli t1, t1, 2",
        "add t1, t1, s8",
        "lw t1, 0(t1)",
        "add \\acc, \\acc, t1",
        "sra \\acc, \\acc, s7",
        ".endm",
        "addi sp, sp, -176",
        "sw ra, 112(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 116 + 4 * \\at(sp)",
        ".endr",
        // The factors that `of_six` has left out of a column.
        "li t0, {ninth}",
        "slli t1, t0, 1",
        "slli t2, t0, 2",
        "sw t0, 96(sp)",
        "sw t1, 100(sp)",
        "sw t2, 104(sp)",
        "sw t2, 108(sp)",
        "li s1, 6",
        "lw a2, {outputs}(a0)",
        "lw a3, {outputs} + 4(a0)",
        "lw a4, {outputs} + 8(a0)",
        "lw a5, {outputs} + 12(a0)",
        "lw t0, {first}(a0)",
        ".irp row, a2, a3, a4, a5",
        "add \\row, \\row, t0",
        ".endr",
        "lw s11, {stride}(a0)",
        "lw s7, {last}(a0)",
        "lw s8, {table}(a0)",
        "lw s9, {clamp}(a0)",
        "lw s10, {clamp} + 4(a0)",
        "lw ra, {channels}(a0)",
        // The next channel.
        "2:",
        "lw t0, {bias}(a0)",
        "lw t1, {mantissas}(a0)",
        "lw t2, {shifts}(a0)",
        "lw s3, 0(t0)",
        "lw s4, 0(t1)",
        "lb s5, 0(t2)",
        "addi t0, t0, 4",
        "addi t1, t1, 4",
        "addi t2, t2, 1",
        "sw t0, {bias}(a0)",
        "sw t1, {mantissas}(a0)",
        "sw t2, {shifts}(a0)",
        "slli s3, s3, 4",
        "li s6, 0",
        "bgez s5, 3f",
        "neg s5, s5",
        // Eight times a half before the shift, and a half that rounds the product. The zero point
        // is added before the shift. A join adds its own after it.
        "li t0, 1",
        "bnez s8, 7f",
        "slli t1, s7, 1",
        "add t0, t0, t1",
        "7:",
        "slli t0, t0, 2",
        "sll s6, t0, s5",
        "addi s6, s6, 4",
        "3:",
        "lw a7, {tiles}(a0)",
        // The next tile.
        "4:",
        ".irp y, 0, 1, 2, 3, 4, 5",
        ".irp x, 0, 1, 2, 3, 4, 5",
        "lw t\\x, 192 * \\y + 32 * \\x(a1)",
        ".endr",
        of_six!(),
        "sw t0, 16 * \\y(sp)",
        "sw t4, 16 * \\y + 4(sp)",
        "sw t2, 16 * \\y + 8(sp)",
        "sw t3, 16 * \\y + 12(sp)",
        ".endr",
        "mv a6, sp",
        // The next column.
        "5:",
        ".irp y, 0, 1, 2, 3, 4, 5",
        "lw t\\y, 16 * \\y(a6)",
        ".endr",
        of_six!(),
        "lw s2, 96(a6)",
        // 16 times the sum with the bias, from 64, 32, 16 and 16 times the sum.
        ".irp acc, t0, t4, t2, t3",
        "mul \\acc, \\acc, s2",
        ".endr",
        "srai t0, t0, 2",
        "srai t4, t4, 1",
        ".irp acc, t0, t4, t2, t3",
        "add \\acc, \\acc, s3",
        ".endr",
        "bnez s8, 8f",
        requantize_16!(),
        "9:",
        clamp!(),
        "12:",
        "sb t0, 0(a2)",
        "sb t4, 0(a3)",
        "sb t2, 0(a4)",
        "sb t3, 0(a5)",
        ".irp row, a2, a3, a4, a5",
        "add \\row, \\row, s11",
        ".endr",
        "addi a6, a6, 4",
        "addi t1, sp, 16",
        "bne a6, t1, 5b",
        "addi a1, a1, 4",
        "addi a7, a7, -1",
        "bnez a7, 4b",
        // Back to the first tile, and on to the next channel.
        "lw t0, {tiles}(a0)",
        "slli t0, t0, 2",
        "sub a1, a1, t0",
        "addi a1, a1, 8",
        "mul t0, t0, s11",
        "addi t0, t0, -1",
        ".irp row, a2, a3, a4, a5",
        "sub \\row, \\row, t0",
        ".endr",
        "addi ra, ra, -1",
        "bnez ra, 2b",
        "lw ra, 112(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 116 + 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 176",
        "ret",
        // A join. Only its factors can have a shift to the left.
        "8:",
        "beqz s6, 6f",
        requantize_16!(),
        "j 7f",
        "6:",
        ".irp acc, t0, t4, t2, t3",
        "srai \\acc, \\acc, 3",
        ".endr",
        requantize_left!(),
        "7:",
        "lw t5, {outputs}(a0)",
        "sub t5, a2, t5", // distance from a row's first output to this one
        to_stream16!(),
        "join_row t0, {shortcuts}",
        "join_row t4, {shortcuts} + 4",
        "join_row t2, {shortcuts} + 8",
        "join_row t3, {shortcuts} + 12",
        "j 9b",
        stream16!(),
        ".purgem join_row",
        ".option pop",
        ninth = const NINTH,
        outputs = const offset_of!(winograd::Args, outputs),
        stride = const offset_of!(winograd::Args, stride),
        last = const offset_of!(winograd::Args, last),
        table = const offset_of!(winograd::Args, table),
        clamp = const offset_of!(winograd::Args, clamp),
        first = const offset_of!(winograd::Args, first),
        channels = const offset_of!(winograd::Args, channels),
        bias = const offset_of!(winograd::Args, bias),
        mantissas = const offset_of!(winograd::Args, mantissas),
        shifts = const offset_of!(winograd::Args, shifts),
        tiles = const offset_of!(winograd::Args, tiles),
        shortcuts = const offset_of!(winograd::Args, shortcuts),
        factor = const offset_of!(winograd::Args, factor),
        lower = const offset_of!(winograd::Args, lower),
        shortcut_lower = const offset_of!(winograd::Args, shortcut_lower),
    )
}
