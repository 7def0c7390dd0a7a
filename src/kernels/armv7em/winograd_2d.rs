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
        thumb2::weights(kernels, weights);
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
        let ordinary = squares::is_ordinary(span.conv, o);
        match squares::Args::of(span, o, outputs).filter(|_| ordinary) {
            // SAFETY: `Args::of` says what all pointers are good for.
            Some(mut args) => unsafe { finish(&mut args, sums) },
            None => squares::finish(span, sums, o, outputs),
        }
    }
}

products!(multiply of winograd_2d, "8", "mov r2, #0", "36 * 32");

thumb2::finish_square!(finish, ".cpu cortex-m33", "smmulr \\acc, \\acc, r10");
