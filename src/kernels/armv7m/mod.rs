//! Cores of Armv7-M without DSP instructions: Cortex-M3, and M33 where it has none.
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
//! Instructions: 11 for 8 multiply-accumulates, and a loop of 3 for 128: 1.40 each. Measured for
//! ResNet-8, with all that is around them and the outputs made: 1.55 to 1.84 of three rows by three
//! columns, the fewer the more channels there are. To finish an output 8.5, and 11 for what a channel
//! needs; for the patch 3.6 a word. Of Winograd 28 for 16 products, which stand for four
//! multiply-accumulates each, and half a loop of 2: 0.45; measured 0.63 to 0.81 in all.
//!
//! `SMLAL` would sum two columns that are 2²⁴ apart in one product, with nothing to take apart
//! behind each pair: 0.88 instructions for a multiply-accumulate. But it takes a Cortex-M3 four to
//! seven cycles, where `MLA` takes two (its Technical Reference Manual, instruction set summary): there
//! would be fewer instructions, which take longer.

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
