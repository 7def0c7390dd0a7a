//! Blocked kernels in safe Rust, for any core.
//!
//! ```text
//! for each block of output channels:
//!     for each block of columns whose kernel lies on the input alike:
//!         acc[channel][column] = bias[channel] + padding[channel]
//!         for each kernel row on the input:
//!             for each weight under it (kernel columns × input channels are consecutive):
//!                 acc[channel][column] += weight[channel] · input[column]
//!         output[column, channel] = finish(acc)
//! ```
//!
//! The products with padding depend on the channel and on the part of the kernel that lies on
//! padding. They are summed once for a run of columns, not for each column.

use zerocopy::FromZeros;

use super::shared::narrow;
use super::shared::winograd::{self, Span, Sums, Tiles};
use super::{Backend, Isa};
use crate::format::Packing;
use crate::ops::conv::{Channel, Conv};
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::max_pool::MaxPool;
use crate::ops::multiply::Multiply;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};
use crate::proved::proved;
use crate::quant::Requantizer;

/// Whether the core has vectors that the compiler uses, as hosts do.
const WIDE: bool = cfg!(target_pointer_width = "64");
/// Number of output channels of a block, limited by the registers that hold the sums.
const CHANNELS: usize = if WIDE { 4 } else { 2 };
/// Number of columns of a block.
const COLUMNS: usize = if WIDE { 4 } else { 2 };

/// The backend that runs anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Portable;

impl Backend for Portable {
    const ISA: &'static Isa = &Isa::PORTABLE;

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
        let channels = conv.window.output.channels as usize;
        let mut o = 0;
        while o + CHANNELS <= channels {
            channel_block::<CHANNELS>(conv, rows, shortcut, output, o);
            o += CHANNELS;
        }
        while o < channels {
            channel_block::<1>(conv, rows, shortcut, output, o);
            o += 1;
        }
    }

    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        winograd::conv(self, conv, rows, shortcuts, scratch, outputs);
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        max_pool(pool, rows, output, larger);
    }
}

/// One output row of a max-pool, see [`Backend::max_pool`], one pixel of the input at a time.
/// `larger` replaces each value of the first slice by the larger of two.
pub(super) fn max_pool(
    pool: &MaxPool,
    rows: &Rows<'_>,
    output: &mut [i8],
    larger: impl Fn(&mut [i8], &[i8]),
) {
    let window = &pool.window;
    let channels = usize::from(window.output.channels).max(1);
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let (columns, first) = window.columns_on_input(x);
        let under = first * channels..(first + columns.len()) * channels;
        pixel.fill(i8::MIN);
        for row in rows.iter().take(window.kernel[0]) {
            let values = row.get(under.clone()).unwrap_or(&[]);
            values.chunks_exact(channels).for_each(|values| larger(pixel, values));
        }
        pixel.iter_mut().for_each(|value| *value = pool.clamp.apply(i32::from(*value)));
    }
}

/// Number of channels of a depthwise convolution that are summed together.
const DEPTHWISE_CHANNELS: usize = if WIDE { 16 } else { 4 };

/// One output row of a depthwise convolution, see [`Backend::depthwise_conv`]: several channels of
/// a pixel at a time, whose weights and values are consecutive.
pub(super) fn depthwise_conv(conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
    if conv.outputs_an_input() > 1 {
        return super::Reference.depthwise_conv(conv, rows, output);
    }
    let channels = usize::from(conv.window.output.channels).max(1);
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let (on_input, column) = conv.window.columns_on_input(x);
        let padded = on_input.len() < conv.window.kernel[1]
            || rows.iter().take(conv.window.kernel[0]).any(|row| row.is_empty());
        for (block, outputs) in pixel.chunks_mut(DEPTHWISE_CHANNELS).enumerate() {
            let first = block * DEPTHWISE_CHANNELS;
            let mut acc = [0i32; DEPTHWISE_CHANNELS];
            for (ky, row) in rows.iter().take(conv.window.kernel[0]).enumerate() {
                if row.is_empty() {
                    continue;
                }
                for (kx, column) in on_input.clone().zip(column..) {
                    let tap = (ky * conv.window.kernel[1] + kx) * channels;
                    let weights = part(conv.weights, tap + first, outputs.len());
                    let values = part(row, column * channels + first, outputs.len());
                    for ((acc, &weight), &value) in acc.iter_mut().zip(weights).zip(values) {
                        *acc = acc.wrapping_add(i32::from(weight) * i32::from(value));
                    }
                }
            }
            for ((o, out), acc) in (first..).zip(outputs).zip(acc) {
                let padding = if padded { conv.padding(rows, &on_input, o) } else { 0 };
                *out = conv.output(acc.wrapping_add(conv.bias(o)).wrapping_add(padding), o);
            }
        }
    }
}

/// One row of a product, see [`Backend::multiply`]. Its multiplier is prepared once.
pub(super) fn product(
    multiply: &Multiply,
    input: &[i8],
    shortcut: &Shortcut<'_>,
    output: &mut [i8],
) {
    let channels = usize::from(multiply.shape.channels).max(1);
    let [a_zero, b_zero, zero_point] = multiply.zero_points;
    let requantizer = Requantizer::new(multiply.multiplier);
    let output_of = |a: i8, b: i8| {
        let product = (i32::from(a) - a_zero) * (i32::from(b) - b_zero);
        multiply.clamp.apply(zero_point + requantizer.apply(product))
    };
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let values = input.get(x * channels..).unwrap_or(&[]);
        match *shortcut {
            Shortcut::InPlace => {
                pixel.iter_mut().zip(values).for_each(|(out, &a)| *out = output_of(a, *out));
            }
            Shortcut::Row { row, stride, .. } => {
                let others = row.get(x * stride * channels..).unwrap_or(&[]);
                let pairs = values.iter().zip(others);
                pixel.iter_mut().zip(pairs).for_each(|(out, (&a, &b))| *out = output_of(a, b));
            }
        }
    }
}

/// Replaces each value by the larger of it and its counterpart, one by one.
pub(super) fn larger(values: &mut [i8], others: &[i8]) {
    for (value, other) in values.iter_mut().zip(others) {
        *value = (*value).max(*other);
    }
}

impl Tiles for Portable {
    type Ready = ();
    type SpanSums = [Sums; 1];

    fn span_sums() -> Self::SpanSums {
        // Zeroed at once: a literal would clear each position by itself.
        FromZeros::new_zeroed()
    }

    fn multiply<'s>(
        &self,
        values: &[winograd::Values],
        weights: &[winograd::Weights],
        _: usize,
        _: usize,
        place: &'s mut Self::SpanSums,
    ) -> &'s [Sums] {
        let [sums] = place;
        winograd::multiply(values, weights, sums);
        place
    }

    fn finish(
        &self,
        span: &Span<'_>,
        (): &mut (),
        sums: &Sums,
        o: usize,
        outputs: &mut winograd::TileOutputs<'_>,
    ) {
        winograd::finish(span, sums, o, outputs);
    }
}

/// Makes `N` output channels from `o` on, block of columns by block.
fn channel_block<const N: usize>(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    output: &mut [i8],
    o: usize,
) {
    let window = &conv.window;
    let columns = window.output.columns as usize;
    let channels: [_; N] = core::array::from_fn(|n| conv.channel(o + n));
    let mut x = 0;
    while x < columns {
        let (on_input, _) = window.columns_on_input(x);
        // The columns from x on for which the same part of the kernel lies on the input.
        let mut run = 1;
        while x + run < columns && window.columns_on_input(x + run).0 == on_input {
            run += 1;
        }
        let block = Block {
            conv,
            rows,
            kernel_columns: on_input.clone(),
            start: core::array::from_fn(|n| padding(conv, rows, &on_input, o + n)),
            o,
        };
        let end = x + run;
        while x + COLUMNS <= end {
            finish(conv, &channels, &block.sums::<COLUMNS>(x), shortcut, x, output);
            x += COLUMNS;
        }
        while x < end {
            finish(conv, &channels, &block.sums::<1>(x), shortcut, x, output);
            x += 1;
        }
    }
}

/// Writes the outputs of `N` channels at `M` columns from `x` on.
#[inline(always)]
fn finish<const N: usize, const M: usize>(
    conv: &Conv<'_>,
    channels: &[Channel; N],
    acc: &[[i32; N]; M],
    shortcut: &Shortcut<'_>,
    x: usize,
    output: &mut [i8],
) {
    for (n, channel) in channels.iter().enumerate() {
        conv.finish(channel, &acc.map(|acc| acc[n]), shortcut, x, output);
    }
}

/// `N` output channels, for columns at which the same part of the kernel lies on the input.
struct Block<'b, const N: usize> {
    conv: &'b Conv<'b>,
    rows: &'b Rows<'b>,
    /// The kernel columns that lie on the input.
    kernel_columns: core::ops::Range<usize>,
    /// The sums of the products with padding.
    start: [i32; N],
    /// The first output channel.
    o: usize,
}

impl<const N: usize> Block<'_, N> {
    /// The sums of `M` adjacent columns from `x` on, by column and channel.
    #[inline(always)]
    fn sums<const M: usize>(&self, x: usize) -> [[i32; N]; M] {
        let window = &self.conv.window;
        let inputs = window.input.channels as usize;
        let taps = self.conv.taps();
        let bytes = self.kernel_columns.len() * inputs;
        let (_, column) = window.columns_on_input(x);
        let mut acc = [self.start; M];
        for (ky, row) in self.rows.iter().take(window.kernel[0]).enumerate() {
            if row.is_empty() {
                continue;
            }
            let tap = (ky * window.kernel[1] + self.kernel_columns.start) * inputs;
            let weights =
                core::array::from_fn(|n| part(self.conv.weights, (self.o + n) * taps + tap, bytes));
            let values = core::array::from_fn(|m| {
                part(row, (column + m * window.stride[1]) * inputs, bytes)
            });
            multiply(weights, values, &mut acc);
        }
        acc
    }
}

/// `length` bytes from index `start` on.
#[inline(always)]
fn part(bytes: &[i8], start: usize, length: usize) -> &[i8] {
    proved!(bytes.get(start..start + length)).unwrap_or(&[])
}

/// Adds the products of `N` series of weights with `M` series of values.
///
/// The additions wrap, for speed if overflow is checked. Parsing the model has proved that no sum
/// overflows 32 bits, and the reference checks it.
#[inline(always)]
fn multiply<const N: usize, const M: usize>(
    weights: [&[i8]; N],
    values: [&[i8]; M],
    acc: &mut [[i32; N]; M],
) {
    if WIDE {
        // One sum at a time: the compiler vectorizes it, and loads cost little.
        for (acc, values) in acc.iter_mut().zip(values) {
            for (acc, weights) in acc.iter_mut().zip(weights) {
                let products =
                    weights.iter().zip(values).map(|(&w, &v)| i32::from(w) * i32::from(v));
                *acc = products.fold(*acc, i32::wrapping_add);
            }
        }
        return;
    }
    // All sums at once, so that each load serves several products.
    let length = weights.first().map_or(0, |run| run.len());
    if !proved!(weights.iter().chain(&values).all(|run| run.len() == length)) {
        return;
    }
    for i in 0..length {
        let at = |run: &[i8]| proved!(run.get(i)).map_or(0, |&number| i32::from(number));
        let (w, v) = (weights.map(at), values.map(at));
        for (acc, v) in acc.iter_mut().zip(v) {
            for (acc, w) in acc.iter_mut().zip(w) {
                *acc = acc.wrapping_add(w * v);
            }
        }
    }
}

/// The sum of the products of output channel `o`'s weights on padding.
fn padding(conv: &Conv<'_>, rows: &Rows<'_>, on_input: &core::ops::Range<usize>, o: usize) -> i32 {
    let window = &conv.window;
    let inputs = window.input.channels as usize;
    let taps = [window.kernel[0], window.kernel[1] * inputs];
    let mut sum = 0;
    for (ky, row) in rows.iter().take(window.kernel[0]).enumerate() {
        for kx in 0..window.kernel[1] {
            if row.is_empty() || !on_input.contains(&kx) {
                for i in 0..inputs {
                    let tap = kx * inputs + i;
                    let weight = Packing::Ohwi.weight(conv.weights, o, ky, tap, taps);
                    sum += i32::from(weight) * i32::from(conv.padding.at(i));
                }
            }
        }
    }
    sum
}
