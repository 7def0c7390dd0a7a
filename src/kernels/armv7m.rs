//! Cores of Armv7-M without DSP instructions: Cortex-M3, and M33 where it has none.
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
//! Instructions a multiply-accumulate: 8 for 4, which is 2, and a loop of 2 for 16; 14 for 16
//! with Winograd, which is 0.88.

#![allow(unsafe_code)]

use core::arch::naked_asm;

use super::portable;
use super::winograd::{POSITIONS, Sums, Tiles, Values, Weights};
use super::winograd_2d::{self as squares, Span, SquareTiles};
use super::{thumb2, winograd_2d};
use crate::ops::Outputs;
use crate::ops::conv::TILE_POSITIONS;

/// The backend for Armv7-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv7m;

portable::with_assembly!(Armv7m, "armv7m");

impl SquareTiles for Armv7m {
    fn transform(&self, pixels: &[i8], inputs: usize, values: &mut [squares::Values]) {
        thumb2::transform(pixels, inputs, values);
    }

    fn multiply(
        &self,
        values: &[squares::Values],
        weights: &[squares::Weights],
        sums: &mut squares::Sums,
    ) {
        let pairs = values.len() / TILE_POSITIONS;
        if pairs > 0 && weights.len() >= values.len() {
            // SAFETY: of each position there are `pairs` values, and as many weights.
            unsafe { multiply_square(values.as_ptr(), weights.as_ptr(), pairs, sums) }
        }
    }

    fn finish(&self, span: &Span<'_>, sums: &squares::Sums, o: usize, outputs: &mut Outputs<'_>) {
        let ordinary = thumb2::is_ordinary(span.conv, o);
        match squares::Args::of(span, o, outputs).filter(|_| ordinary) {
            // SAFETY: `Args::of` says what all pointers are good for.
            Some(mut args) => unsafe { finish_square(&mut args, sums) },
            None => winograd_2d::finish(span, sums, o, outputs),
        }
    }
}

thumb2::finish_square!(
    finish_square,
    "",
    "smull r9, \\acc, \\acc, r10\n add \\acc, \\acc, r9, lsr #31"
);

impl Tiles for Armv7m {
    fn multiply(&self, values: &[Values], weights: &[Weights], sums: &mut Sums) {
        if !values.is_empty() && weights.len() >= POSITIONS * values.len() {
            // SAFETY: there is a step, and weights for so many at each position.
            unsafe { multiply(values.as_ptr(), weights.as_ptr(), values.len(), sums) }
        }
    }
}

/// ```text
/// r2 r3 weights   r4 r5 values   r6 where those of r2 end   r7 … r10 sums, column by column
/// r11 r12 a weight of each   lr  a value
/// ```
///
/// # Safety
///
/// The square's pointers are good for its length, and that is not zero.
#[unsafe(naked)]
unsafe extern "C" fn add_products(square: &portable::Square<'_>, sums: &mut [i32; 4]) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "ldm r0, {{r2-r6}}",
        "ldm r1, {{r7-r10}}",
        // The first round begins in its middle, so that those after it are whole.
        "rsb r12, r6, #0",
        "and r12, r12, #3",
        "adr.w lr, 2f",
        "add r6, r6, r2",
        "add lr, lr, r12, lsl #5",
        "orr lr, lr, #1", // Thumb
        "bx lr",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb.w r11, [r2], #1",
        "ldrsb.w r12, [r3], #1",
        "ldrsb.w lr, [r4], #1",
        "mla r7, r11, lr, r7",
        "mla r8, r12, lr, r8",
        "ldrsb.w lr, [r5], #1",
        "mla r9, r11, lr, r9",
        "mla r10, r12, lr, r10",
        ".endr",
        "cmp r2, r6",
        "bne 2b",
        "stm r1, {{r7-r10}}",
        "pop {{r4-r11, pc}}",
    )
}

/// ```text
/// r0 values   r1 weights   r2 where those of this position end   r3 a weight
/// r4 … r11 sums, channel by channel   r12 lr  values of two tiles
/// [sp] from where the values end to where the next position's begin
/// [sp, 4] bytes of a position's weights   [sp, 8] sums   [sp, 12] where they end
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
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        "lsl r2, r2, #4",
        "add r4, r2, r2, lsl #1",
        "sub r4, r4, #8",
        "add r12, r3, #192",
        "strd r4, r2, [sp]",
        "strd r3, r12, [sp, #8]",
        // The next position.
        "2:",
        "ldr r2, [sp, #4]",
        "mov r4, #0",
        "mov r5, r4",
        "mov r6, r4",
        "mov r7, r4",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        "add r2, r2, r1",
        "3:",
        "ldrsh r12, [r0, #2]",
        "ldrsh lr, [r0, #6]",
        "ldrsh r3, [r1, #2]",
        "mla r4, r12, r3, r4",
        "mla r5, lr, r3, r5",
        "ldrsh r3, [r1, #6]",
        "mla r6, r12, r3, r6",
        "mla r7, lr, r3, r7",
        "ldrsh r3, [r1, #10]",
        "mla r8, r12, r3, r8",
        "mla r9, lr, r3, r9",
        "ldrsh r3, [r1, #14]",
        "mla r10, r12, r3, r10",
        "mla r11, lr, r3, r11",
        "ldrsh lr, [r0, #4]",
        "ldrsh r12, [r0], #48",
        "ldrsh r3, [r1, #4]",
        "mla r6, r12, r3, r6",
        "mla r7, lr, r3, r7",
        "ldrsh r3, [r1, #8]",
        "mla r8, r12, r3, r8",
        "mla r9, lr, r3, r9",
        "ldrsh r3, [r1, #12]",
        "mla r10, r12, r3, r10",
        "mla r11, lr, r3, r11",
        "ldrsh r3, [r1], #16",
        "mla r4, r12, r3, r4",
        "mla r5, lr, r3, r5",
        "cmp r1, r2",
        "bne 3b",
        "ldr r2, [sp]",
        "ldrd r3, r12, [sp, #8]",
        "sub r0, r0, r2",
        "stm r3!, {{r4-r11}}",
        "str r3, [sp, #8]",
        "cmp r3, r12",
        "bne 2b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
    )
}

/// ```text
/// r0 values   r1 weights   r2 where values of this position end   r3 a weight
/// r4 … r11 sums, channel by channel   r12 lr  values of two tiles
/// [sp] bytes of a position's values   [sp, 4] sums   [sp, 8] where they end
/// ```
///
/// # Safety
///
/// `pairs` is not zero. At each of 36 positions there are so many values, and weights.
#[unsafe(naked)]
unsafe extern "C" fn multiply_square(
    values: *const squares::Values,
    weights: *const squares::Weights,
    pairs: usize,
    sums: *mut squares::Sums,
) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, sp, #12",
        "lsl r2, r2, #3",
        "add r12, r3, #36 * 32",
        "strd r2, r3, [sp]",
        "str r12, [sp, #8]",
        // The next position.
        "2:",
        "ldr r2, [sp]",
        ".irp acc, r4, r5, r6, r7, r8, r9, r10, r11",
        "mov \\acc, #0",
        ".endr",
        "add r2, r2, r0",
        "3:",
        "ldrsh r12, [r0, #2]",
        "ldrsh lr, [r0, #6]",
        "ldrsh r3, [r1, #2]",
        "mla r4, r12, r3, r4",
        "mla r5, lr, r3, r5",
        "ldrsh r3, [r1, #6]",
        "mla r6, r12, r3, r6",
        "mla r7, lr, r3, r7",
        "ldrsh r3, [r1, #10]",
        "mla r8, r12, r3, r8",
        "mla r9, lr, r3, r9",
        "ldrsh r3, [r1, #14]",
        "mla r10, r12, r3, r10",
        "mla r11, lr, r3, r11",
        "ldrsh lr, [r0, #4]",
        "ldrsh r12, [r0], #8",
        "ldrsh r3, [r1, #4]",
        "mla r6, r12, r3, r6",
        "mla r7, lr, r3, r7",
        "ldrsh r3, [r1, #8]",
        "mla r8, r12, r3, r8",
        "mla r9, lr, r3, r9",
        "ldrsh r3, [r1, #12]",
        "mla r10, r12, r3, r10",
        "mla r11, lr, r3, r11",
        "ldrsh r3, [r1], #16",
        "mla r4, r12, r3, r4",
        "mla r5, lr, r3, r5",
        "cmp r0, r2",
        "bne 3b",
        "ldrd r3, r12, [sp, #4]",
        "stm r3!, {{r4-r11}}",
        "str r3, [sp, #4]",
        "cmp r3, r12",
        "bne 2b",
        "add sp, sp, #12",
        "pop {{r4-r11, pc}}",
    )
}
