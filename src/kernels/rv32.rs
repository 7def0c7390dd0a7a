//! RISC-V cores of 32 bits with multiplication: RV32IM and more.
//!
//! ```text
//! two columns in a product, four channels, for each two taps:
//!     for each channel, each two columns:
//!         p = values of a · weight of a + values of b · weight of b + 0x8000
//!         sum += p
//!         high += p >> 16
//! Winograd, at one position, for each input channel:
//!     for each of four output channels:
//!         acc[two tiles] += weight · values
//! ```
//!
//! Instructions a multiply-accumulate: 68 for 32 and the loop's, which is 2.2; 44 for 16 products
//! of Winograd, which stand for four multiply-accumulates each: 0.73.
//! Measured for all of ResNet-8: 2.73, and 1.56 where its 3×3 kernels at stride 1 are Winograd's.

#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::mem::offset_of;

use super::lanes::{self, Args, Columns, Lanes};
use super::winograd::{self, KERNEL, NINTH};

/// The backend for RV32IM.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rv32;

lanes::backend!(Rv32, RV32);

impl Lanes for Rv32 {
    #[inline(always)]
    unsafe fn widen(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize) {
        // SAFETY: the same is asked of whoever calls this.
        unsafe { widen(a, b, patch, pairs) }
    }

    #[inline(always)]
    unsafe fn blocks(args: &mut Args) {
        // SAFETY: the same is asked of whoever calls this.
        unsafe { blocks(args) }
    }

    fn sums([high, sum, other_high, other_sum]: [i32; 4]) -> [i32; 4] {
        let low = |sum: i32, high: i32| sum.wrapping_sub(high << 16);
        [low(sum, high), high, low(other_sum, other_high), other_high]
    }
}

winograd::winograd_tiles!(
    Rv32, |_, _| true,
    transform: transform_tiles, weights: transform_kernels,
    multiply: multiply_tiles, finish: finish_tiles
);

/// ```text
/// a0 a1 columns   a2 patch   a3 pairs left   t0 … t3 values of two taps
/// ```
///
/// # Safety
///
/// `pairs` is not zero. Twice as many bytes can be read at `a` and `b`, and at `patch` two words be
/// written, so many times, 16 bytes further on each time.
#[unsafe(naked)]
unsafe extern "C" fn widen(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize) {
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

/// Requantizes sums, each twice what it is, with a shift to the right.
macro_rules! requantize_right {
    () => {
        ".irp acc, t0, t4, t2, t3
         mul t1, \\acc, s4
         mulh \\acc, \\acc, s4
         srli t1, t1, 31
         add \\acc, \\acc, t1
         srai t1, \\acc, 31
         add \\acc, \\acc, s6
         add \\acc, \\acc, t1
         sra \\acc, \\acc, s5
         .endr"
    };
}

/// The same with a shift to the left, or none.
macro_rules! requantize_left {
    () => {
        ".irp acc, t0, t4, t2, t3
         sll \\acc, \\acc, s5
         mul t1, \\acc, s4
         mulh \\acc, \\acc, s4
         srli t1, t1, 31
         add \\acc, \\acc, t1
         .endr"
    };
}

/// Cuts outputs to the range from `s9` to `s10`.
macro_rules! clamp {
    () => {
        ".irp acc, t0, t4, t2, t3
         bge \\acc, s9, 1f
         mv \\acc, s9
         1:
         bge s10, \\acc, 1f
         mv \\acc, s10
         1:
         .endr"
    };
}

/// Two columns' products with the weights of channel `$channel`, added to their sums.
macro_rules! channel {
    ($channel:literal, $high:literal $sum:literal $other_high:literal $other_sum:literal) => {
        concat!(
            "lb t0, ",
            $channel,
            "(a1)\n",
            "lb t1, 8 + ",
            $channel,
            "(a1)\n",
            "mul t2, t3, t0\n",
            "mul a0, t4, t1\n",
            "add t2, t2, a4\n",
            "add t2, t2, a0\n",
            "add ",
            $sum,
            ", ",
            $sum,
            ", t2\n",
            "srai t2, t2, 16\n",
            "add ",
            $high,
            ", ",
            $high,
            ", t2\n",
            "mul t0, t5, t0\n",
            "mul t1, t6, t1\n",
            "add t0, t0, a4\n",
            "add t0, t0, t1\n",
            "add ",
            $other_sum,
            ", ",
            $other_sum,
            ", t0\n",
            "srai t0, t0, 16\n",
            "add ",
            $other_high,
            ", ",
            $other_high,
            ", t0\n",
        )
    };
}

/// Four channels at a time, of which the last may be fewer: what they have of weights is zero then,
/// and nothing else is made of them.
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
/// Each field of the arguments is what [`Args`] says of it.
#[unsafe(naked)]
unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        "addi sp, sp, -128",
        "sw ra, 72(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 76 + 4 * \\at(sp)",
        ".endr",
        "sw a0, 64(sp)",
        "sw zero, 68(sp)",
        // The next four channels: what their sums begin with.
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
        "slli t2, t2, 15", // what is added to round is taken back here
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
        // Their products.
        "6:",
        "lw a2, {patch}(a0)",
        "lw a1, {weights}(a0)",
        "lw a3, {pairs}(a0)",
        "slli a3, a3, 4",
        "add a3, a3, a2",
        "lui a4, 8",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "lw a5, 48(sp)",
        "lw a6, 52(sp)",
        "lw a7, 56(sp)",
        "lw ra, 60(sp)",
        "7:",
        "lw t3, 0(a2)",
        "lw t4, 4(a2)",
        "lw t5, 8(a2)",
        "lw t6, 12(a2)",
        channel!("0", "s0" "s1" "s2" "s3"),
        channel!("1", "s4" "s5" "s6" "s7"),
        channel!("2", "s8" "s9" "s10" "s11"),
        channel!("3", "a5" "a6" "a7" "ra"),
        "addi a2, a2, 16",
        "addi a1, a1, 16",
        "bne a2, a3, 7b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "sw a5, 48(sp)",
        "sw a6, 52(sp)",
        "sw a7, 56(sp)",
        "sw ra, 60(sp)",
        // How many there are.
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
        // They are kept.
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
        // They become outputs.
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
        "mv t1, s7", // the zero point goes through the shift
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
        "mv t5, s8",
        ".irp acc, t0, t4, t2, t3",
        "lb t1, 0(t5)",
        "add t5, t5, s11",
        "slli t1, t1, 2",
        "add t1, t1, s3",
        "lw t1, 0(t1)",
        "add \\acc, \\acc, t1",
        "sra \\acc, \\acc, s7",
        ".endr",
        "j 10b",
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
    )
}

/// Bᵀ · six registers, two values in each: `a`, `b`, `c`, `d`, `e`, `f`, of which `d` and `e` stay.
/// Comes out in `a`, `t2`, `c`, `b`, `t0`, `t3`.
macro_rules! under_tile {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal,
     $t0:literal $t1:literal $t2:literal $t3:literal) => {
        concat!(
            "sub ", $t0, ", ", $e, ", ", $c, "\n", // even
            "sub ", $t1, ", ", $d, ", ", $b, "\n", // odd
            "sub ", $a, ", ", $a, ", ", $c, "\n", "slli ", $a, ", ", $a, ", 2\n", "add ", $a, ", ",
            $a, ", ", $t0, "\n", "slli ", $c, ", ", $c, ", 2\n", "sub ", $c, ", ", $e, ", ", $c,
            "\n", // outer
            "slli ", $b, ", ", $b, ", 2\n", "sub ", $b, ", ", $d, ", ", $b, "\n", // inner
            "sub ", $t3, ", ", $f, ", ", $d, "\n", "slli ", $t1, ", ", $t1, ", 1\n", "slli ", $t2,
            ", ", $t1, ", 1\n", "sub ", $t3, ", ", $t3, ", ", $t2, "\n", "add ", $t2, ", ", $c,
            ", ", $b, "\n", "sub ", $c, ", ", $c, ", ", $b, "\n", "add ", $b, ", ", $t0, ", ", $t1,
            "\n", "sub ", $t0, ", ", $t0, ", ", $t1, "\n",
        )
    };
}

/// Writes what [`under_tile`] gives to the six positions of a row, `$at` bytes behind their
/// pointers: two int16 each, of which the low one has borrowed from the high one.
macro_rules! store_positions {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal, $at:literal) => {
        concat!(
            "add ",
            $a,
            ", ",
            $a,
            ", s5\n",
            "add ",
            $b,
            ", ",
            $b,
            ", a3\n",
            ".irp value, ",
            $c,
            ", ",
            $d,
            ", ",
            $e,
            ", ",
            $f,
            "\n",
            "add \\value, \\value, s5\n",
            ".endr\n",
            ".irp value, ",
            $a,
            ", ",
            $b,
            ", ",
            $c,
            ", ",
            $d,
            ", ",
            $e,
            ", ",
            $f,
            "\n",
            "xor \\value, \\value, s5\n",
            ".endr\n",
            "sw ",
            $a,
            ", ",
            $at,
            "(s7)\n",
            "sw ",
            $b,
            ", ",
            $at,
            "(s8)\n",
            "sw ",
            $c,
            ", ",
            $at,
            "(s9)\n",
            "sw ",
            $d,
            ", ",
            $at,
            "(s10)\n",
            "sw ",
            $e,
            ", ",
            $at,
            "(s11)\n",
            "sw ",
            $f,
            ", ",
            $at,
            "(ra)\n",
        )
    };
}

/// Two channels go through the transform in one register, low and high half: it is linear, so the
/// high one only borrows where the low one is below zero, and that is made good at the end. Bytes
/// come as 128 more, which leaves all positions as they are but the second of the second row:
/// there it makes 36 · 128.
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
/// `inputs` is a multiple of four, and not zero. Six rows of ten columns of so many bytes can be
/// read at `pixels`, a multiple of four; at each position values for each two inputs be written.
#[unsafe(naked)]
unsafe extern "C" fn transform_tiles(
    pixels: *const i8,
    values: *mut winograd::Values,
    inputs: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
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
        under_tile!("s7" "s8" "s9" "s10" "s11" "ra", "a6" "a7" "t6" "ra"),
        "sw s7, 0(a4)",
        "sw t6, 80(a4)",
        "sw s9, 160(a4)",
        "sw s8, 240(a4)",
        "sw a6, 320(a4)",
        "sw ra, 400(a4)",
        under_tile!("t0" "t1" "t2" "t3" "t4" "t5", "a6" "a7" "t6" "t5"),
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
        under_tile!("t0" "t1" "t2" "t3" "t4" "t5", "a5" "a6" "a7" "t6"),
        store_positions!("t0" "a7" "t2" "t1" "a5" "t6", "0"),
        ".irp at, 0, 1, 2, 3",
        "lw t\\at, 24 + 4 * \\at(a4)",
        ".endr",
        under_tile!("t4" "t5" "t0" "t1" "t2" "t3", "a5" "a6" "a7" "t6"),
        store_positions!("t4" "a7" "t0" "t5" "a5" "t6", "4"),
        ".irp at, 0, 1, 2, 3, 4, 5",
        "lw t\\at, 40 + 4 * \\at(a4)",
        ".endr",
        under_tile!("t0" "t1" "t2" "t3" "t4" "t5", "a5" "a6" "a7" "t6"),
        store_positions!("t0" "a7" "t2" "t1" "a5" "t6", "8"),
        ".irp at, 0, 1, 2, 3",
        "lw t\\at, 64 + 4 * \\at(a4)",
        ".endr",
        under_tile!("t4" "t5" "t0" "t1" "t2" "t3", "a5" "a6" "a7" "t6"),
        store_positions!("t4" "a7" "t0" "t5" "a5" "t6", "12"),
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
        ".option pop",
    )
}

/// G · three registers, `a`, `b`, `c`, two weights in each. Comes out in `a`, `t0`, `t1`, `b`, `t2`, `c`.
macro_rules! of_three {
    ($a:literal $b:literal $c:literal, $t0:literal $t1:literal $t2:literal $t3:literal) => {
        concat!(
            "add ", $t0, ", ", $a, ", ", $c, "\n", "sub ", $t1, ", ", $t0, ", ", $b, "\n", "add ",
            $t0, ", ", $t0, ", ", $b, "\n", "slli ", $t3, ", ", $c, ", 2\n", "add ", $t3, ", ", $a,
            ", ", $t3, "\n", "slli ", $b, ", ", $b, ", 1\n", "sub ", $t2, ", ", $t3, ", ", $b,
            "\n", "add ", $b, ", ", $t3, ", ", $b, "\n",
        )
    };
}

/// A column of two kernels, of three weights each, to three registers.
macro_rules! kernel_column {
    ($column:literal, $a:literal $b:literal $c:literal) => {
        concat!(
            "lb ",
            $a,
            ", ",
            $column,
            "(a0)\n",
            "lb t3, 9 + ",
            $column,
            "(a0)\n",
            "lb ",
            $b,
            ", 3 + ",
            $column,
            "(a0)\n",
            "lb t4, 12 + ",
            $column,
            "(a0)\n",
            "lb ",
            $c,
            ", 6 + ",
            $column,
            "(a0)\n",
            "lb t5, 15 + ",
            $column,
            "(a0)\n",
            "slli t3, t3, 16\n",
            "slli t4, t4, 16\n",
            "slli t5, t5, 16\n",
            "add ",
            $a,
            ", ",
            $a,
            ", t3\n",
            "add ",
            $b,
            ", ",
            $b,
            ", t4\n",
            "add ",
            $c,
            ", ",
            $c,
            ", t5\n",
        )
    };
}

/// A row of two kernels, transformed to six positions: two int16 each, of which the low one has
/// borrowed from the high one.
macro_rules! kernel_row {
    ($a:literal $b:literal $c:literal) => {
        concat!(
            of_three!($a $b $c, "t3" "t4" "t5" "t6"),
            ".irp value, ", $a, ", t3, t4, ", $b, ", t5, ", $c, "\n",
            "add \\value, \\value, a4\n",
            "xor \\value, \\value, a4\n",
            "sw \\value, 0(ra)\n",
            "add ra, ra, a3\n",
            ".endr\n",
        )
    };
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
/// `pairs` is not zero. There are eight kernels for each, and so many weights at each position.
#[unsafe(naked)]
unsafe extern "C" fn transform_kernels(
    kernels: *const [i8; KERNEL],
    weights: *mut winograd::Weights,
    pairs: usize,
) {
    naked_asm!(
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
        kernel_column!("0", "s0" "s3" "s5"),
        of_three!("s0" "s3" "s5", "s1" "s2" "s4" "t3"),
        kernel_column!("1", "s6" "s9" "s11"),
        of_three!("s6" "s9" "s11", "s7" "s8" "s10" "t3"),
        kernel_column!("2", "a5" "t0" "t2"),
        of_three!("a5" "t0" "t2", "a6" "a7" "t1" "t3"),
        kernel_row!("s0" "s6" "a5"),
        kernel_row!("s1" "s7" "a6"),
        kernel_row!("s2" "s8" "a7"),
        kernel_row!("s3" "s9" "t0"),
        kernel_row!("s4" "s10" "t1"),
        kernel_row!("s5" "s11" "t2"),
        "addi a0, a0, 18",
        "addi a1, a1, 4",
        "bne a1, a2, 2b",
        "lw ra, 0(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 + 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 64",
        "ret",
    )
}

/// ```text
/// a0 values   a1 weights   a2 bytes of a position's values   a3 sums   a4 where they end
/// a5 where values of this position end   a6 a7 values   t3 … t6 weights and products
/// t1 t2 s0 … s5 sums, channel by channel
/// ```
///
/// # Safety
///
/// `pairs` is not zero. At each of 36 positions there are so many values, and weights.
#[unsafe(naked)]
unsafe extern "C" fn multiply_tiles(
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
        "slli a2, a2, 3",
        "addi a4, a3, 36 * 32",
        // The next position.
        "2:",
        "add a5, a0, a2",
        ".irp acc, t1, t2, s0, s1, s2, s3, s4, s5",
        "li \\acc, 0",
        ".endr",
        "3:",
        ".irp lane, 0, 2",
        "lh a6, 0 + \\lane(a0)",
        "lh a7, 4 + \\lane(a0)",
        "lh t3, 0 + \\lane(a1)",
        "lh t4, 4 + \\lane(a1)",
        "lh t5, 8 + \\lane(a1)",
        "mul t6, t3, a6",
        "mul t3, t3, a7",
        "add t1, t1, t6",
        "add t2, t2, t3",
        "lh t3, 12 + \\lane(a1)",
        "mul t6, t4, a6",
        "mul t4, t4, a7",
        "add s0, s0, t6",
        "add s1, s1, t4",
        "mul t6, t5, a6",
        "mul t5, t5, a7",
        "add s2, s2, t6",
        "add s3, s3, t5",
        "mul a6, t3, a6",
        "mul a7, t3, a7",
        "add s4, s4, a6",
        "add s5, s5, a7",
        ".endr",
        "addi a0, a0, 8",
        "addi a1, a1, 16",
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
        ".option pop",
    )
}

/// Aᵀ · `t0` … `t5`. Comes out in `t0`, `t4`, `t2`, `t3`.
macro_rules! of_six {
    () => {
        "add t6, t1, t2
         slli t6, t6, 2
         sub t1, t1, t2
         slli t1, t1, 2
         add t2, t3, t4
         sub t3, t3, t4
         slli t3, t3, 1
         mul t0, t0, s1
         add t0, t0, t2
         sub t0, t0, t6
         sub t4, t3, t1
         slli t2, t2, 2
         sub t2, t2, t6
         slli t3, t3, 2
         sub t3, t3, t1
         mul t5, t5, s2
         add t3, t3, t5"
    };
}

/// Adds to a sum what a join's table has for the shortcut's byte, and rounds.
macro_rules! join_row {
    ($acc:literal, $shortcut:literal) => {
        concat!(
            "lw t1, ",
            $shortcut,
            "(a0)\n",
            "add t1, t1, t5\n",
            "lb t1, 0(t1)\n",
            "slli t1, t1, 2\n",
            "add t1, t1, s8\n",
            "lw t1, 0(t1)\n",
            "add ",
            $acc,
            ", ",
            $acc,
            ", t1\n",
            "sra ",
            $acc,
            ", ",
            $acc,
            ", s7\n",
        )
    };
}

/// ```text
/// a0 arguments   a1 sums   a2 … a5 outputs   a6 stack   a7 tiles left   ra  channels left
/// s0 NINTH   s1 6   s2 24   s3 64 times the bias   s4 mantissa   s5 shift to the right, or to the
/// left where s6 is zero   s6 a half before that   s7 zero_point, or a join's bits   s8 table, or null
/// s9 s10 range   s11 stride   t0 t4 t2 t3 outputs of four rows
/// [sp] Aᵀ · sums: four columns of each of six rows
/// ```
///
/// # Safety
///
/// The pointers are good for what the numbers beside them say: see [`winograd::finish_by`].
#[unsafe(naked)]
unsafe extern "C" fn finish_tiles(args: &mut winograd::Args, sums: &winograd::Sums) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        "addi sp, sp, -160",
        "sw ra, 96(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 100 + 4 * \\at(sp)",
        ".endr",
        "li s0, {ninth}",
        "li s1, 6",
        "li s2, 24",
        "lw a2, {outputs}(a0)",
        "lw a3, {outputs} + 4(a0)",
        "lw a4, {outputs} + 8(a0)",
        "lw a5, {outputs} + 12(a0)",
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
        "slli s3, s3, 6",
        "li s6, 0",
        "bgez s5, 3f",
        "neg s5, s5",
        "li s6, 1",
        "addi t0, s5, -1",
        "sll s6, s6, t0",
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
        // Twice the sum with the bias.
        ".irp acc, t0, t4, t2, t3",
        "mul \\acc, \\acc, s0",
        "add \\acc, \\acc, s3",
        "srai \\acc, \\acc, 5",
        ".endr",
        "beqz s6, 6f",
        requantize_right!(),
        "7:",
        "bnez s8, 8f",
        ".irp acc, t0, t4, t2, t3",
        "add \\acc, \\acc, s7",
        ".endr",
        "9:",
        clamp!(),
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
        // Back to the first tile, one channel on.
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
        "lw ra, 96(sp)",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 100 + 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 160",
        "ret",
        // A factor of one or more.
        "6:",
        requantize_left!(),
        "j 7b",
        // A join.
        "8:",
        "lw t5, {outputs}(a0)",
        "sub t5, a2, t5", // from a row's first output to this one
        join_row!("t0", "{shortcuts}"),
        join_row!("t4", "{shortcuts} + 4"),
        join_row!("t2", "{shortcuts} + 8"),
        join_row!("t3", "{shortcuts} + 12"),
        "j 9b",
        ".option pop",
        ninth = const NINTH,
        outputs = const offset_of!(winograd::Args, outputs),
        stride = const offset_of!(winograd::Args, stride),
        last = const offset_of!(winograd::Args, last),
        table = const offset_of!(winograd::Args, table),
        clamp = const offset_of!(winograd::Args, clamp),
        channels = const offset_of!(winograd::Args, channels),
        bias = const offset_of!(winograd::Args, bias),
        mantissas = const offset_of!(winograd::Args, mantissas),
        shifts = const offset_of!(winograd::Args, shifts),
        tiles = const offset_of!(winograd::Args, tiles),
        shortcuts = const offset_of!(winograd::Args, shortcuts),
    )
}
