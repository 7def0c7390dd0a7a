//! 32-bit RISC-V cores with multiplication: RV32IM and more.
//!
//! ```text
//! eight columns in five words, four channels, for each tap:
//!     for each of the words: words[channel] += word of values · weight
//! for each 32 taps:
//!     sums[channel][columns] += the sums that the words determine
//! two columns in a product, four channels, for each two taps:
//!     for each channel, each two columns:
//!         p = values of a · weight of a + values of b · weight of b + 0x8000
//!         sum += p
//!         high += p >> 16
//! Winograd, at one position, for each input channel:
//!     for each of four output channels:
//!         acc[four tiles] += weight · values
//! ```
//!
//! Instructions for each multiply-accumulate: with eight columns 49 for 32 and a quarter of the
//! loop's, and 68 more for eight sums of 32 taps, which is 1.8; with four columns 68 for 32 and half
//! of the loop's, which is 2.2; for Winograd 40 for 16 products and a quarter of a loop's, where a
//! product stands for four multiply-accumulates: 0.64. Adding two rows takes 24 for each element.
//! Measured for all of ResNet-8: 2.36, and 1.31 if its 3×3 kernels at stride 1 use Winograd's
//! convolution.

#![allow(unsafe_code)]

mod columns;
mod conv;
mod eight_columns;
mod elements;
mod products;
mod transform;
mod winograd;

use super::shared::column_pairs::{self, AddBytes, Args, ColumnPairs, FirstColumns, Widen};

/// The backend for RV32IM.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rv32;

column_pairs::backend!(Rv32, RV32);

impl ColumnPairs for Rv32 {
    const WIDEN: Widen = conv::widen;
    const BLOCKS: unsafe extern "C" fn(&mut Args) = conv::blocks;
    const ADD: AddBytes = elements::add_bytes;

    const FIRST_COLUMNS: Option<FirstColumns> = Some(columns::conv);

    fn sums([high, sum, other_high, other_sum]: [i32; 4]) -> [i32; 4] {
        let low = |sum: i32, high: i32| sum.wrapping_sub(high << 16);
        [low(sum, high), high, low(other_sum, other_high), other_high]
    }
}

/// Requantizes sums, each of them doubled, with a shift to the right.
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

/// Adds the shortcut's values, from `s8` on and `s11` apart, as the table in `s3` has them, and removes
/// the bits in `s7`.
macro_rules! join {
    () => {
        "mv t5, s8
         .irp acc, t0, t4, t2, t3
         lb t1, 0(t5)
         add t5, t5, s11
         slli t1, t1, 2
         add t1, t1, s3
         lw t1, 0(t1)
         add \\acc, \\acc, t1
         sra \\acc, \\acc, s7
         .endr"
    };
}

/// Clamps outputs to the range from `s9` to `s10`.
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

use {clamp, join, requantize_left, requantize_right};
