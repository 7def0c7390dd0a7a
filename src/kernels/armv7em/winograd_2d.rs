//! Winograd's convolution in two dimensions with DSP instructions: `SMLAD` multiplies two input
//! channels at once. Instructions: 11 for 16 products, which is 64 multiply-accumulates.

use super::super::thumb2;
use super::super::winograd_2d::{self as squares, Span, SquareTiles};
use super::Armv7em;
use super::winograd::products;
use crate::ops::Outputs;
use crate::ops::conv::TILE_POSITIONS;

impl SquareTiles for Armv7em {
    fn transform(&self, pixels: &[i8], inputs: usize, values: &mut [squares::Values]) {
        thumb2::transform(pixels, inputs, values);
    }

    fn weights(&self, kernels: &[[i8; squares::KERNEL]], weights: &mut [squares::Weights]) {
        transform_kernels(kernels, weights);
    }

    fn multiply(
        &self,
        values: &[squares::Values],
        weights: &[squares::Weights],
        sums: &mut squares::Sums,
    ) {
        let pairs = values.len() / TILE_POSITIONS;
        if pairs > 1 && weights.len() >= values.len() {
            // SAFETY: of each position there are `pairs` values, and as many weights.
            unsafe { multiply(values.as_ptr(), weights.as_ptr(), pairs, sums) }
        }
    }

    fn finish(&self, span: &Span<'_>, sums: &squares::Sums, o: usize, outputs: &mut Outputs<'_>) {
        if !squares::is_ordinary(span.conv, o) {
            return squares::finish(span, sums, o, outputs);
        }
        squares::finish_by(span, sums, o, outputs, |args| {
            // SAFETY: `finish_by` says what all pointers are good for.
            unsafe { finish(args, sums) }
        });
    }
}

products!(multiply of winograd_2d, "8", "mov r2, #0", "36 * 32");

thumb2::transform_kernels!(
    transform_kernels,
    transform_kernels_two,
    ".cpu cortex-m33",
    "pkhbt r4, r4, r7, lsl #16
     pkhbt r5, r5, r8, lsl #16
     pkhbt r6, r6, r9, lsl #16",
    "sadd16 r8, r4, r6
     sadd16 r7, r8, r5
     ssub16 r8, r8, r5
     sadd16 r10, r6, r6
     sadd16 r10, r10, r10
     sadd16 r10, r4, r10
     sadd16 r5, r5, r5
     sadd16 r9, r10, r5
     ssub16 r10, r10, r5",
    ""
);

thumb2::finish_square!(finish, ".cpu cortex-m33", "smmulr \\acc, \\acc, r10");
