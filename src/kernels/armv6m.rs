//! Cores of Armv6-M: Cortex-M0, M0+.
//!
//! The loops of [`lanes`], with assembly inside. Only eight registers take part in most
//! instructions, a product takes the place of a factor, and only loads of several words go on to
//! the next address by themselves. So:
//!
//! ```text
//! for each two taps:
//!     weight = weights[patch - …]            the pointer to the patch leads through weights, too:
//!     for each two columns:                  both go eight bytes a tap
//!         p = patch · weight - patch' · weight'
//!         sum += p
//!         high += p / 2¹⁶, and the carry: the last bit that is shifted out
//! ```
//!
//! The first of two taps is in the patch as its negative: then all is, and half of -32768 to 32512
//! is what the lower column can be, for any weight.
//!
//! Instructions: 16 for 8 multiply-accumulates, and a loop of 3 for 128: 2.02 each. To finish an
//! output 25, and 3 where it saturates. For the patch 6.75 a word.

#![allow(unsafe_code)]

use core::arch::naked_asm;

use super::lanes::{self, Args, Columns, Lanes, Taps};
use super::winograd::Tiles;
use super::winograd_2d::SquareTiles;
use crate::ops::conv::PATCH_COLUMNS;

/// The backend for Armv6-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv6m;

lanes::backend!(Armv6m, "armv6m");

impl Lanes for Armv6m {
    fn widen([a, b]: [&[i8]; 2], patch: &mut [Taps], pair: usize) {
        let pairs = patch.len();
        if pairs > 0 && pair < PATCH_COLUMNS / 2 && a.len() >= 2 * pairs && b.len() >= 2 * pairs {
            let place = patch.as_mut_ptr().cast::<Columns>().wrapping_add(pair);
            // SAFETY: both columns have so many pairs of values, and the patch so many pairs of
            // taps, one at least, of which the place of these columns is one.
            unsafe { widen(a.as_ptr(), b.as_ptr(), place, pairs) }
        }
    }

    fn blocks(args: &mut Args) {
        // SAFETY: the arguments are good for what the numbers beside them say.
        unsafe { blocks(args) }
    }

    fn sums([sum, other_sum, high, other_high]: [i32; 4]) -> [i32; 4] {
        let low = |sum: i32, high: i32| (high << 16).wrapping_sub(sum);
        let upper = |high: i32| high.wrapping_neg();
        [low(sum, high), upper(high), low(other_sum, other_high), upper(other_high)]
    }
}

impl SquareTiles for Armv6m {}

impl Tiles for Armv6m {}

/// ```text
/// r0 r1 columns   r2 patch   r3 values   r4 the next   r5 … r7 values
/// ```
///
/// # Safety
///
/// `pairs` is not zero. Twice as many bytes can be read at `a` and `b`, and at `patch` two words be
/// written, so many times, 16 bytes further on each time.
#[unsafe(naked)]
unsafe extern "C" fn widen(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        // The first round begins in its middle, so that those after it are whole.
        "rsbs r5, r3, #0",
        "movs r6, #3",
        "ands r5, r6",
        "movs r6, #13 * 2",
        "muls r5, r6, r5",
        "adr r6, 2f",
        "adds r5, r5, r6",
        "adds r5, #1", // Thumb
        "lsls r3, r3, #1",
        "movs r4, #0",
        "bx r5",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb r5, [r0, r4]",
        "ldrsb r6, [r1, r4]",
        "adds r4, #1",
        "lsls r6, r6, #16",
        "adds r5, r5, r6",
        "rsbs r5, r5, #0",
        "ldrsb r6, [r0, r4]",
        "ldrsb r7, [r1, r4]",
        "adds r4, #1",
        "lsls r7, r7, #16",
        "adds r6, r6, r7",
        "stm r2!, {{r5, r6}}",
        "adds r2, #8",
        ".endr",
        "cmp r4, r3",
        "bne 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// Requantizes a sum into `r0`. Both factors are halved with a sign, so that the products in the
/// middle add up within 32 bits: a sum is less than 2³⁰ in magnitude, a mantissa less than 2³¹.
///
/// ```text
/// sum · mantissa / 2³¹ = 2 · high · high + (high · low + low · high + low · low / 2¹⁶) / 2¹⁵
/// ```
///
/// The last bit that is shifted out rounds that. It is shifted half away from zero, and the zero
/// point goes through that shift: what is added, less one, and the carry if it is not below zero.
///
/// ```text
/// r0 r1 r2 values   r4 r5 upper and lower half of the mantissa   r6 what is added   r7 shift
/// r12 the largest that is not below zero
/// ```
macro_rules! requantize {
    ($acc:literal) => {
        concat!(
            "mov r0, ",
            $acc,
            "
            sxth r1, r0
            subs r0, r0, r1
            asrs r0, r0, #16
            movs r2, r1
            muls r2, r5, r2
            muls r1, r4, r1
            asrs r2, r2, #16
            adds r1, r1, r2
            movs r2, r0
            muls r2, r5, r2
            adds r1, r1, r2
            muls r0, r4, r0
            lsls r0, r0, #1
            asrs r1, r1, #15
            adcs r0, r1
            cmp r12, r0
            adcs r0, r6
            asrs r0, r7
            "
        )
    };
}

/// Writes `r0` as an output to `r3`, and leads that to the next column.
macro_rules! store {
    () => {
        "sxtb r1, r0
         cmp r1, r0
         beq 1f
         asrs r0, r0, #31
         movs r1, #127
         eors r1, r0
         1:
         strb r1, [r3]
         add r3, lr"
    };
}

/// Requantizes a sum, adds what a join's table had for the shortcut, and writes the output.
macro_rules! join {
    ($acc:literal, $at:literal) => {
        concat!(
            requantize!($acc),
            "ldr r1, [sp, #16 + ",
            $at,
            "]
            adds r0, r0, r1
            ldr r1, [sp, #32]
            asrs r0, r1
            ",
            store!(),
        )
    };
}

/// ```text
/// while summing:   r0 patch   r1 from there to weights   r2 r3 weights of two taps
///                  r4 r5 values of two taps   r6 r7 high   r8 r9 sum   r10 where the patch ends
/// while finishing: r0 arguments, or values   r1 r2 values   r3 channel, or output   r4 … r7 r12 as
///                  `requantize` says   r8 … r11 sums of four columns   lr stride of the output
/// [sp] arguments   where the patch ends   where the first round begins   channel
///      what a table has for four columns   a join's bits
/// ```
///
/// # Safety
///
/// The arguments' pointers are good for what the numbers beside them say.
#[unsafe(naked)]
unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "sub sp, #36",
        "str r0, [sp]",
        // The first round begins in its middle, so that those after it are whole.
        "ldr r1, [r0]",
        "ldr r2, [r0, #8]",
        "lsls r3, r2, #4",
        "adds r3, r3, r1",
        "str r3, [sp, #4]",
        "rsbs r2, r2, #0",
        "movs r3, #15",
        "ands r2, r3",
        "lsls r2, r2, #5", // 32 bytes for two taps
        "adr r3, 3f",
        "adds r2, r2, r3",
        "adds r2, #1", // Thumb
        "str r2, [sp, #8]",
        "movs r3, #0",
        // The next channel.
        "2:",
        "str r3, [sp, #12]",
        "ldr r1, [r0, #60]",
        "lsls r1, r1, #31",
        "bne 1f",
        "ldr r1, [r0, #12]",
        "lsls r2, r3, #2",
        "ldr r6, [r1, r2]",
        "rsbs r6, r6, #0",
        "lsls r1, r6, #16",
        "adds r1, r1, r6",
        "mov r8, r1",
        "mov r9, r1",
        "movs r7, r6",
        "b 4f",
        "1:",
        "ldr r1, [r0, #52]",
        "lsls r2, r3, #4",
        "adds r1, r1, r2",
        "ldm r1!, {{r2, r3, r6, r7}}",
        "mov r8, r2",
        "mov r9, r3",
        "4:",
        "ldr r2, [sp, #4]",
        "mov r10, r2",
        "ldr r2, [sp, #8]",
        "ldr r1, [r0, #4]",
        "ldr r0, [r0]",
        "subs r1, r1, r0",
        "bx r2",
        ".p2align 2",
        "3:",
        ".rept 16",
        "ldrsb r2, [r1, r0]",
        "ldm r0!, {{r4, r5}}",
        "ldrsb r3, [r1, r0]",
        "muls r4, r2, r4",
        "muls r5, r3, r5",
        "subs r4, r4, r5",
        "add r8, r4",
        "asrs r4, r4, #16",
        "adcs r6, r4",
        "ldm r0!, {{r4, r5}}",
        "muls r4, r2, r4",
        "muls r5, r3, r5",
        "subs r4, r4, r5",
        "add r9, r4",
        "asrs r4, r4, #16",
        "adcs r7, r4",
        ".endr",
        "cmp r0, r10",
        "beq 5f",
        "b 3b",
        "5:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #60]",
        "lsls r1, r1, #30",
        "bpl 6f",
        "ldr r1, [r0, #52]",
        "lsls r2, r3, #4",
        "adds r1, r1, r2",
        "mov r2, r8",
        "mov r3, r9",
        "stm r1!, {{r2, r3, r6, r7}}",
        "b 9f",
        // All are negative so far.
        "6:",
        "lsls r1, r6, #16",
        "mov r2, r8",
        "subs r1, r1, r2",
        "mov r8, r1",
        "lsls r1, r7, #16",
        "mov r2, r9",
        "subs r1, r1, r2",
        "mov r10, r1",
        "rsbs r6, r6, #0",
        "mov r9, r6",
        "rsbs r7, r7, #0",
        "mov r11, r7",
        // The channel's multiplier.
        "lsls r2, r3, #2",
        "ldr r1, [r0, #16]",
        "ldr r4, [r1, r2]",
        "sxth r5, r4",
        "subs r4, r4, r5",
        "asrs r4, r4, #16",
        "ldr r1, [r0, #20]",
        "ldrsb r7, [r1, r3]",
        "rsbs r7, r7, #0",
        "movs r1, #0",
        "mvns r1, r1",
        "lsrs r2, r1, #1",
        "mov r12, r2",
        "ldr r6, [r0, #36]",
        "ldr r2, [r0, #40]",
        "cmp r2, #0",
        "beq 6f",
        "b 7f",
        // The zero point goes through the shift.
        "6:",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "ldr r1, [r0, #28]",
        "mov lr, r1",
        "ldr r1, [r0, #24]",
        "adds r3, r3, r1",
        requantize!("r8"),
        store!(),
        requantize!("r9"),
        store!(),
        requantize!("r10"),
        store!(),
        requantize!("r11"),
        store!(),
        "b 9f",
        // A join: what the table has for the shortcut.
        "7:",
        "str r6, [sp, #32]",
        "ldr r6, [r0, #48]",
        "ldr r1, [r0, #44]",
        "adds r1, r1, r3",
        "movs r3, #0",
        ".irp at, 0, 4, 8, 12",
        "ldrsb r0, [r1, r3]",
        "lsls r0, r0, #2",
        "ldr r0, [r2, r0]",
        "str r0, [sp, #16 + \\at]",
        "adds r1, r1, r6",
        ".endr",
        "movs r6, #1",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "cmp r7, #0",
        "bgt 8f",
        // A factor of a half or more: with a join's extra bits the usual one. Then there is no
        // shift, and what is added is nothing, as the carry always comes.
        "rsbs r7, r7, #0",
        ".irp acc, r8, r9, r10, r11",
        "mov r1, \\acc",
        "lsls r1, r7",
        "mov \\acc, r1",
        ".endr",
        "movs r7, #0",
        "mvns r6, r7",
        "mov r12, r6",
        "8:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #28]",
        "mov lr, r1",
        "ldr r1, [r0, #24]",
        "adds r3, r3, r1",
        join!("r8", "0"),
        join!("r9", "4"),
        join!("r10", "8"),
        join!("r11", "12"),
        "9:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #4]",
        "adds r3, #1",
        "adds r1, #1",
        "lsls r2, r3, #29",
        "bne 1f",
        "ldr r2, [r0, #56]",
        "adds r1, r1, r2",
        "1:",
        "str r1, [r0, #4]",
        "ldr r2, [r0, #32]",
        "cmp r3, r2",
        "beq 1f",
        "b 2b",
        "1:",
        "add sp, #36",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
    )
}
