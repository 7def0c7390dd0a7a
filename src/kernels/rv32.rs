//! RISC-V cores of 32 bits with multiplication: RV32IM and more.
//!
//! The loops of [`portable`], but for the innermost: compilers do not keep its
//! sums in registers.
//!
//! ```text
//! two channels a, b at two columns:                     Winograd, at one position:
//!     for each weight under the kernel row:                 for each input channel:
//!         acc[a, b][0] += weights of a, b · value of 0          for each of four output channels:
//!         acc[a, b][1] += weights of a, b · value of 1              acc[two tiles] += weight · values
//! ```
//!
//! Instructions a multiply-accumulate: 12 for 4, which is 3, and a loop of 5 for 16; 22 for 16
//! with Winograd, which is 1.38.

#![allow(unsafe_code)]

use core::arch::naked_asm;

use super::portable;
use super::winograd::{POSITIONS, Sums, Tiles, Values, Weights};
use super::winograd_2d::SquareTiles;

/// The backend for RV32IM.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rv32;

portable::with_assembly!(Rv32, "rv32");

impl SquareTiles for Rv32 {}

impl Tiles for Rv32 {
    fn multiply(&self, values: &[Values], weights: &[Weights], sums: &mut Sums) {
        if !values.is_empty() && weights.len() >= POSITIONS * values.len() {
            // SAFETY: there is a step, and weights for so many at each position.
            unsafe { multiply(values.as_ptr(), weights.as_ptr(), values.len(), sums) }
        }
    }
}

/// ```text
/// a2 a3 weights   a4 a5 values   a6 where those of a2 end   t0 t1 t2 t3 sums, column by column
/// a7 t4 a weight of each   t5 t6 a value and a product
/// ```
///
/// # Safety
///
/// The square's pointers are good for its length, and that is not zero.
#[unsafe(naked)]
unsafe extern "C" fn add_products(square: &portable::Square<'_>, sums: &mut [i32; 4]) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        ".option norvc", // all instructions of one length: the jump counts them
        "lw a2, 0(a0)",
        "lw a3, 4(a0)",
        "lw a4, 8(a0)",
        "lw a5, 12(a0)",
        "lw a6, 16(a0)",
        "lw t0, 0(a1)",
        "lw t1, 4(a1)",
        "lw t2, 8(a1)",
        "lw t3, 12(a1)",
        // The first round begins in its middle, so that those after it are whole.
        "neg a7, a6",
        "andi a7, a7, 3",
        "add a6, a6, a2",
        "sub a2, a2, a7",
        "sub a3, a3, a7",
        "sub a4, a4, a7",
        "sub a5, a5, a7",
        "slli t4, a7, 4",
        "slli t5, a7, 5",
        "add t4, t4, t5", // 48 bytes a weight
        "la t6, 2f",
        "add t6, t6, t4",
        "jr t6",
        "2:",
        ".irp at, 0, 1, 2, 3",
        "lb a7, \\at(a2)",
        "lb t4, \\at(a3)",
        "lb t5, \\at(a4)",
        "mul t6, a7, t5",
        "mul t5, t4, t5",
        "add t0, t0, t6",
        "add t1, t1, t5",
        "lb t5, \\at(a5)",
        "mul a7, a7, t5",
        "mul t4, t4, t5",
        "add t2, t2, a7",
        "add t3, t3, t4",
        ".endr",
        "addi a2, a2, 4",
        "addi a3, a3, 4",
        "addi a4, a4, 4",
        "addi a5, a5, 4",
        "bne a2, a6, 2b",
        "sw t0, 0(a1)",
        "sw t1, 4(a1)",
        "sw t2, 8(a1)",
        "sw t3, 12(a1)",
        "ret",
        ".option pop",
    )
}

/// ```text
/// a0 values   a1 weights   a2 where those of this position end   a3 sums   a4 where they end
/// t0 bytes of a position's weights   t1 t2 s1 … s6 sums, channel by channel
/// t3 … t6 weights   a6 a7 values of two tiles   a5 a product   s0 from where the values end to
/// where the next position's begin
/// ```
///
/// # Safety
///
/// There is at least one step, and so many values; of weights there are six times as many.
#[unsafe(naked)]
unsafe extern "C" fn multiply(
    values: *const Values,
    weights: *const Weights,
    steps: usize,
    sums: *mut Sums,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        "addi sp, sp, -32",
        ".irp at, 0, 1, 2, 3, 4, 5, 6",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "slli t0, a2, 4",
        "slli s0, a2, 5",
        "add s0, s0, t0",
        "addi s0, s0, -8",
        "addi a4, a3, 192",
        // The next position.
        "2:",
        "add a2, a1, t0",
        ".irp acc, t1, t2, s1, s2, s3, s4, s5, s6",
        "li \\acc, 0",
        ".endr",
        "3:",
        ".irp lane, 0, 2",
        "lh a6, 0 + \\lane(a0)",
        "lh a7, 4 + \\lane(a0)",
        "lh t3, 0 + \\lane(a1)",
        "lh t4, 4 + \\lane(a1)",
        "lh t5, 8 + \\lane(a1)",
        "lh t6, 12 + \\lane(a1)",
        "mul a5, t3, a6",
        "mul t3, t3, a7",
        "add t1, t1, a5",
        "add t2, t2, t3",
        "mul a5, t4, a6",
        "mul t4, t4, a7",
        "add s1, s1, a5",
        "add s2, s2, t4",
        "mul a5, t5, a6",
        "mul t5, t5, a7",
        "add s3, s3, a5",
        "add s4, s4, t5",
        "mul a5, t6, a6",
        "mul t6, t6, a7",
        "add s5, s5, a5",
        "add s6, s6, t6",
        ".endr",
        "addi a0, a0, 48",
        "addi a1, a1, 16",
        "bne a1, a2, 3b",
        "sw t1, 0(a3)",
        "sw t2, 4(a3)",
        "sw s1, 8(a3)",
        "sw s2, 12(a3)",
        "sw s3, 16(a3)",
        "sw s4, 20(a3)",
        "sw s5, 24(a3)",
        "sw s6, 28(a3)",
        "sub a0, a0, s0",
        "addi a3, a3, 32",
        "bne a3, a4, 2b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 32",
        "ret",
        ".option pop",
    )
}
