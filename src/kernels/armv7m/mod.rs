//! Cores of Armv7-M without DSP instructions: Cortex-M3, and those M33 that have none.
//!
//! The loops of `shared::column_pairs` and of `shared::winograd`, with assembly inside.
//!
//! ```text
//! two columns in a product, for each two taps:          Winograd, at one position:
//!     for each two columns:                                 for each input channel:
//!         p = patch · weight + patch' · weight' + 32767         for each of four output channels:
//!         high += p / 2¹⁶                                            acc[two tiles] += weight · values
//!         sum += p
//! ```
//!
//! Instructions: 11 for 8 multiply-accumulates, and a loop of 3 for 128: 1.40 for each. Measured
//! for ResNet-8, including the code around the loops and the finishing of outputs: 1.55 to 1.84 for
//! kernels of three rows by three columns, fewer with more channels. Finishing takes 8.5 for each
//! output, and 11 for each channel; the patch takes 3.6 for each word. Winograd takes 28 for 16
//! products, which stand for four multiply-accumulates each, and half a loop of 2: 0.45; measured
//! 0.63 to 0.81 in all.
//!
//! `SMLAL` could sum two columns that are 2²⁴ apart in one product, without separating them after
//! each pair: 0.88 instructions for each multiply-accumulate. But it takes a Cortex-M3 four to
//! seven cycles, whereas `MLA` takes two (its Technical Reference Manual, instruction set summary):
//! fewer instructions would take longer.

#![allow(unsafe_code)]

mod conv;
mod elements;
mod winograd;

use super::shared::column_pairs::{self, AddBytes, Args, ColumnPairs, Widen};

/// The backend for Armv7-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv7m;

column_pairs::backend!(Armv7m, ARMV7M);

impl ColumnPairs for Armv7m {
    const WIDEN: Widen = conv::widen;
    const BLOCKS: unsafe extern "C" fn(&mut Args) = conv::blocks;
    const ADD: AddBytes = elements::add_bytes;

    fn sums([high, sum, other_high, other_sum]: [i32; 4]) -> [i32; 4] {
        let low = |sum: i32, high: i32| sum.wrapping_sub(high << 16);
        [low(sum, high), high, low(other_sum, other_high), other_high]
    }
}
