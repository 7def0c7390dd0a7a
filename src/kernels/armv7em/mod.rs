//! Cores with the DSP instructions of Armv7E-M: Cortex-M4, M7, M55, and those M33 that have them.
//!
//! ```text
//! for each four columns of the output:
//!     patch[tap pair][column] = the values under the kernel there, two int16 a word
//!     for each two output channels a, b:                              in assembly
//!         acc[a, b][column] = bias
//!         for each tap pair:
//!             acc[a][column] += patch[tap pair][column] · weights of a
//!             acc[b][column] += patch[tap pair][column] · weights of b
//!         output[column, a and b] = finish(acc)
//! ```
//!
//! `SXTB16` widens bytes 0 and 2 of a word, or bytes 1 and 3 with a rotation. Values are therefore
//! widened when they enter the patch, and [`Packing::Pairs`] stores weights in the order in which
//! they come out. `SMLAD` adds two products. `SMMULR` is the high word of a product, rounded: a
//! requantization without its last shift.
//!
//! Instructions: 13 and half of the loop for a tap pair, which is 16 multiply-accumulates: 0.84 for
//! each; with [`Packing::WidePairs`] 12: 0.77. Finishing an output takes 8, with a join 14. The
//! patch takes 1.3 for each value. Measured for ResNet-8, including outputs: 0.94, and 0.88.
//! Including all surrounding code: 0.93 to 1.14 for 3×3 kernels, fewer with more channels.
//!
//! The targets of Armv8-M do not say whether a core has these instructions. The assembly therefore
//! names a core that has them, and uses only those that Armv7E-M also has.
//!
//! [`Packing::Pairs`]: crate::format::Packing::Pairs
//! [`Packing::WidePairs`]: crate::format::Packing::WidePairs

#![allow(unsafe_code)]

mod blocks;
mod conv;
mod depthwise;
mod elements;
mod stream16;
mod winograd;

use super::shared::{self, finish, narrow, winograd as squares};
use super::{Backend, Isa, portable};
use crate::ops::add::Add;
use crate::ops::conv::Conv;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::max_pool::MaxPool;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};

/// The backend for DSP instructions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv7em;

impl Backend for Armv7em {
    const ISA: &'static Isa = &Isa::ARMV7EM;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        if let Some(unpacked) = conv.packing.unpacked() {
            return narrow::conv(self, unpacked, conv, rows, shortcut, scratch, output);
        }
        conv::conv(conv, rows, shortcut, scratch, output);
    }

    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        squares::conv(self, conv, rows, shortcuts, scratch, outputs);
    }

    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        finish::add(elements::add_bytes, add, input, shortcut, output);
    }

    fn depthwise_conv(&self, conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
        // SAFETY: the assembly requires only what [`Args`](shared::depthwise::Args) specifies, and
        // a multiple of four channels.
        unsafe { shared::depthwise::conv::<4>(depthwise::conv, conv, rows, output) }
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        portable::max_pool(pool, rows, output, elements::larger);
    }
}
