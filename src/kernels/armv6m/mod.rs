//! Cores of Armv6-M: Cortex-M0, M0+.
//!
//! The loops of `shared::column_pairs` and of `shared::winograd`, with assembly inside. On these
//! cores most instructions can use only eight registers, a product overwrites one of its factors,
//! and only loads of several words advance the address. So:
//!
//! ```text
//! two columns in a product, for each two taps:
//!     weight, weight' = weights[patch]     one pointer leads through both: both go eight bytes a tap
//!     for each two columns:
//!         p = patch · weight − patch' · weight'
//!         sum += p
//!         high += p / 2¹⁶, and the carry: the last bit that is shifted out
//! Winograd in two dimensions, at one position of a tile, for each two input channels:
//!     for each of four output channels:
//!         acc += weight · value + weight' · value'
//! ```
//!
//! The patch has the negative of the first of two taps, and the sums are negated as well. The part
//! that belongs to the lower column is then from −2¹⁵ to less than 2¹⁵ for any weights, and the bit
//! that is shifted out rounds exactly.
//!
//! Instructions: 16 for 8 multiply-accumulates, and a loop of 3 for 128: 2.02 for each. Measured
//! for ResNet-8, including the code around the loops and the finishing of outputs: 2.37 to 2.85 for
//! kernels of three rows by three columns, fewer with more channels. To finish an output takes 24,
//! and 3 more if it saturates; the patch takes 6.75 for each word. Winograd takes 61 for 16
//! products, which stand for four multiply-accumulates each: 0.95. It also takes 8 for each value
//! that is transformed, 165 for each kernel, and 48 to make an output from its sums. Measured, this
//! is 1.31 to 1.67 for each multiply-accumulate.

#![allow(unsafe_code)]

/// Saves the registers that a caller expects to keep on the stack: `r4` to `r11` and the link
/// register, 36 bytes.
macro_rules! save_registers {
    () => {
        "push {{r4-r7, lr}}
         mov r4, r8
         mov r5, r9
         mov r6, r10
         mov r7, r11
         push {{r4-r7}}"
    };
}

/// Restores them, and returns.
macro_rules! restore_registers {
    () => {
        "pop {{r4-r7}}
         mov r8, r4
         mov r9, r5
         mov r10, r6
         mov r11, r7
         pop {{r4-r7, pc}}"
    };
}

mod conv;
mod elements;
mod stream16;
mod transform;
mod winograd;

use super::shared::column_pairs::{self, AddBytes, Args, ColumnPairs, Widen};

/// The backend for Armv6-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv6m;

column_pairs::backend!(Armv6m, ARMV6M);

impl ColumnPairs for Armv6m {
    const WIDEN: Widen = conv::widen;
    const BLOCKS: unsafe extern "C" fn(&mut Args) = conv::blocks;
    const ADD: AddBytes = elements::add_bytes;

    fn sums([sum, other_sum, high, other_high]: [i32; 4]) -> [i32; 4] {
        let low = |sum: i32, high: i32| (high << 16).wrapping_sub(sum);
        let upper = |high: i32| high.wrapping_neg();
        [low(sum, high), upper(high), low(other_sum, other_high), upper(other_high)]
    }
}

/// Requantizes the sum in `r0`. Each factor is split into two signed halves, so that the sum of the
/// middle products fits into 32 bits: a sum is less than 2³⁰ in magnitude, and a mantissa less than
/// 2³¹.
///
/// ```text
/// sum · mantissa / 2³¹ = 2 · high · high + (high · low + low · high + low · low / 2¹⁶) / 2¹⁵
/// ```
///
/// The last bit that is shifted out rounds this product. The shift that follows rounds halves away
/// from zero. The zero point is added before this shift: `r6` is the sum of zero point and rounding
/// term minus one, and the carry adds one unless the product is negative.
///
/// ```text
/// r0 r1 r2 values   r4 r5 upper and lower half of the mantissa   r6 what is added, less one
/// r7 shift   r12 the largest that is not below zero
/// ```
macro_rules! requantize {
    () => {
        "sxth r1, r0
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
    };
}

/// Saturates `r0` to int8, into `r1`.
macro_rules! saturate {
    () => {
        "sxtb r1, r0
         cmp r1, r0
         beq 1f
         asrs r0, r0, #31
         movs r1, #127
         eors r1, r0
         1:
         "
    };
}

/// Requantizes the sum in register `$acc` into `r0`, and adds the term of its column.
macro_rules! with_term {
    ($acc:literal, $at:literal) => {
        concat!(
            "mov r0, ",
            $acc,
            "\n",
            $crate::kernels::armv6m::requantize!(),
            "ldr r1, [sp, #16 + ",
            $at,
            "]
            adds r0, r0, r1
            ",
        )
    };
}

use {requantize, saturate, with_term};
