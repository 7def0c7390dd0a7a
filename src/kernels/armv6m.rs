//! Cores of Armv6-M: Cortex-M0, M0+.
//!
//! The loops of [`portable`], but for the innermost: compilers do not keep its
//! sums in registers, of which only eight take part in most instructions.
//!
//! ```text
//! two channels a, b at two columns:
//!     for each weight under the kernel row:
//!         acc[a, b][0] += weights of a, b · value of 0
//!         acc[a, b][1] += weights of a, b · value of 1
//! ```
//!
//! Instructions: 16 for 4 multiply-accumulates.

#![allow(unsafe_code)]

use core::arch::naked_asm;

use super::portable;
use super::winograd::Tiles;
use super::winograd_2d::SquareTiles;

/// The backend for Armv6-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv6m;

portable::with_assembly!(Armv6m, "armv6m");

impl SquareTiles for Armv6m {}

impl Tiles for Armv6m {}

/// ```text
/// r0 r1 where weights end   r2 r3 where values end   r4 from there to the next, below zero
/// r5 r6 a weight of each, and products   r7 a value   r8 … r11 sums, column by column
/// ```
///
/// # Safety
///
/// The square's pointers are good for its length, and that is not zero.
#[unsafe(naked)]
unsafe extern "C" fn add_products(square: &portable::Square<'_>, sums: &mut [i32; 4]) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r1, r4-r7}}",
        "ldm r1!, {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "ldm r0!, {{r1-r3, r5}}", // weights, weights, values, values
        "ldr r4, [r0]",
        "adds r0, r1, r4",
        "adds r1, r2, r4",
        "adds r2, r3, r4",
        "adds r3, r5, r4",
        "rsbs r4, r4, #0",
        "2:",
        "ldrsb r5, [r0, r4]",
        "ldrsb r6, [r1, r4]",
        "ldrsb r7, [r2, r4]",
        "muls r5, r7, r5",
        "muls r6, r7, r6",
        "add r8, r5",
        "add r9, r6",
        "ldrsb r5, [r0, r4]",
        "ldrsb r6, [r1, r4]",
        "ldrsb r7, [r3, r4]",
        "muls r5, r7, r5",
        "muls r6, r7, r6",
        "add r10, r5",
        "add r11, r6",
        "adds r4, r4, #1",
        "bne 2b",
        "pop {{r0}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "stm r0!, {{r4-r7}}",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
    )
}
