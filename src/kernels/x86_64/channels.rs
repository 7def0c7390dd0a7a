//! Operators that compute each channel by itself, with a lane for each of 16 channels.
//!
//! The functions have loops instead of closures, because code that is not inlined would be compiled
//! without the vector instructions.

use zerocopy::little_endian::I32;

use super::finish::{from, integers, sum, write};
use super::{LANES, Lanes, Vectors};
use crate::kernels::portable;
use crate::ops::Rows;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::quant::{Clamp, Requantizers};

/// How the sums of 16 channels become outputs.
struct Finish {
    requantizers: Requantizers<LANES>,
    zero_point: i32,
    clamp: Clamp,
}

impl Finish {
    /// For the channels from `first` on.
    #[inline(always)]
    fn new(
        (mantissas, shifts): (&[I32], &[i8]),
        first: usize,
        zero_point: i32,
        clamp: Clamp,
    ) -> Self {
        let mantissas = integers(&from(mantissas, first));
        let requantizers = Requantizers::new(mantissas, from(shifts, first));
        Self { requantizers, zero_point, clamp }
    }

    /// Writes the outputs for sums.
    #[inline(always)]
    fn write<V: Vectors>(&self, vectors: V, sums: &Lanes, places: &mut [i8]) {
        let values = vectors.requantize(&self.requantizers, sums);
        let values = sum(&values, &[self.zero_point; LANES]);
        write(&vectors.clamp(&values, self.clamp), places);
    }
}

/// Adds the products of 16 weights and values.
#[inline(always)]
fn add_products(acc: &mut Lanes, weights: &[i8; LANES], values: &[i8; LANES]) {
    for ((acc, weight), value) in acc.iter_mut().zip(weights).zip(values) {
        *acc = acc.wrapping_add(i32::from(*weight) * i32::from(*value));
    }
}

/// See [`Backend::depthwise_conv`](crate::kernels::Backend::depthwise_conv).
#[inline(always)]
pub(super) fn depthwise_conv<V: Vectors>(
    vectors: V,
    conv: &DepthwiseConv<'_>,
    rows: &Rows<'_>,
    output: &mut [i8],
) {
    if conv.outputs_an_input() > 1 {
        return portable::depthwise_conv(conv, rows, output);
    }
    let window = &conv.window;
    let channels = usize::from(window.output.channels);
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        let finish = Finish::new((conv.mantissas, conv.shifts), first, conv.zero_point, conv.clamp);
        // The sums before the first product, and for which part of the kernel on the input they are.
        let (mut start, mut start_for) = ([0; LANES], None);
        for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
            let (on_input, column) = window.columns_on_input(x);
            if start_for.as_ref() != Some(&on_input) {
                for (start, o) in start.iter_mut().zip(first..first + count) {
                    *start = conv.bias(o).wrapping_add(conv.padding(rows, &on_input, o));
                }
            }
            let mut acc = start;
            for (ky, row) in rows.iter().take(window.kernel[0]).enumerate() {
                if row.is_empty() {
                    continue;
                }
                for (kx, column) in on_input.clone().zip(column..) {
                    let tap = ky * window.kernel[1] + kx;
                    let weights = from(conv.weights, tap * channels + first);
                    let values = from(row, column * channels + first);
                    add_products(&mut acc, &weights, &values);
                }
            }
            finish.write(vectors, &acc, &mut pixel[first..first + count]);
            start_for = Some(on_input);
        }
    }
}

/// See [`Backend::batch_norm`](crate::kernels::Backend::batch_norm).
#[inline(always)]
pub(super) fn batch_norm<V: Vectors>(
    vectors: V,
    norm: &BatchNorm<'_>,
    input: &[i8],
    output: &mut [i8],
) {
    let channels = usize::from(norm.shape.channels);
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        let finish = Finish::new((norm.mantissas, norm.shifts), first, norm.zero_point, norm.clamp);
        let (bias, weights) = (integers(&from(norm.bias, first)), from(norm.weights, first));
        let pixels = output.chunks_exact_mut(channels).zip(input.chunks_exact(channels));
        for (pixel, values) in pixels {
            let mut acc = bias;
            add_products(&mut acc, &weights, &from(values, first));
            finish.write(vectors, &acc, &mut pixel[first..first + count]);
        }
    }
}
