//! Kernels for the host: blocked loops around the vector instructions of x86-64.
//!
//! ```text
//! for each block of columns, in all rows of the step:
//!     for each 16 output channels:
//!         for each block of input channels:
//!             window = the input under the columns, as the multiplier takes it, padding around
//!             weights = those of the 16 channels, four input channels together
//!             sums[row, column] += window · weights
//!         output[row, column] = finish(sums)
//! ```
//!
//! A simulator runs every packing. Each step therefore unpacks the weights, including those for
//! Winograd's convolutions, and all are multiplied in the same way. Unpacking costs little because
//! the weights are multiplied at many columns. All memory is on the stack; scratch memory is not
//! used.
//!
//! The instruction sets differ in the innermost loop (`Vectors`), for 16 channels and four inputs.
//! The figures are instructions for each multiply-accumulate (MAC):
//!
//! | backend | columns | loop | a MAC | as compiled |
//! |---|---:|---|---:|---:|
//! | [`Avx2`] | 2 | 4 `VPMOVSXBW`, 2 broadcasts, 8 `VPMADDWD`, 8 `VPADDD` | 0.17 | 28, which is 0.22 |
//! | [`Avx512Vnni`] | 8 | 1 load, 8 broadcasts, 8 `VPDPBUSD` | 0.03 | 22, which is 0.04 |
//!
//! This loop takes a quarter of the time of ResNet-8; the rest goes to unpacking weights, filling
//! windows and finishing outputs.

#![allow(unsafe_code)]

mod avx2;
mod avx512_vnni;
mod finish;

use core::ops::Range;

pub use avx2::Avx2;
pub use avx512_vnni::Avx512Vnni;

use self::finish::{Block, operands, sum, terms, write};
use super::{Backend, Reference};
use crate::ops::add::Add;
use crate::ops::conv::Conv;
use crate::ops::max_pool::MaxPool;
use crate::ops::{Rows, Shortcut, Window};
use crate::quant::Requantizers;

/// Number of output channels of a block.
const LANES: usize = 16;
/// Number of weights of an output channel in a block: nine for each of 64 inputs.
const TAPS: usize = 576;
/// Number of values of the input under a block.
const WINDOW: usize = 12 * 1024;
/// Number of columns of a block, in all rows of the step.
const COLUMNS: usize = 64;

/// A value for each output channel of a block.
type Lanes = [i32; LANES];

/// Weights of a block's output channels for four input channels.
type Four = [[i8; 4]; LANES];

/// The weights for all input channels of a block.
#[repr(align(64))]
struct Weights([Four; TAPS / 4]);

/// The values that an instruction set multiplies, and how it does.
trait Vectors: Copy {
    /// An activation in the form in which it is multiplied.
    type Value: Copy + Default;

    /// Converts an activation.
    fn value(activation: i8) -> Self::Value;

    /// The correction for sums of products with these weights, because values are not activations.
    fn correction(self, weights: &[Four]) -> Lanes;

    /// Adds the products at adjacent columns to their sums; `values` begins under the first column.
    fn multiply(
        self,
        weights: &[Four],
        values: &[[Self::Value; 4]],
        walk: Walk,
        sums: &mut [Lanes],
    );
}

/// How weights lie over values, in units of four values.
#[derive(Debug, Clone, Copy)]
struct Walk {
    /// Number of weights of a kernel row.
    run: usize,
    /// Distance from one kernel row to the next.
    row: usize,
    /// Distance from one column to the next.
    column: usize,
}

/// The rows of a step; `shortcuts` are those of `outputs`.
#[inline(always)]
fn conv<V: Vectors>(
    vectors: V,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &[Shortcut<'_>],
    outputs: &mut [&mut [i8]],
) {
    let Window { input, output, kernel: [kernel_rows, kernel_columns], stride, .. } = conv.window;
    let (inputs, channels) = (usize::from(input.channels), usize::from(output.channels));
    // A block cannot hold even four input channels of a kernel with more than 144 positions.
    if 4 * kernel_rows * kernel_columns > TAPS {
        for (r, (output, shortcut)) in outputs.iter_mut().zip(shortcuts).enumerate() {
            let under = rows.get(r * stride[0]..).unwrap_or(&[]);
            Reference.conv(conv, under, shortcut, &mut [], output);
        }
        return;
    }
    let made = outputs.iter().take_while(|output| !output.is_empty()).count().max(1);
    let under = kernel_rows + (made - 1) * stride[0];
    // The number of input channels of a block is limited by the room for their weights, then the
    // number of columns by the room for the values under them.
    let at_once = inputs.next_multiple_of(4).min(TAPS / (kernel_rows * kernel_columns) / 4 * 4);
    let room = (WINDOW / (under * at_once)).saturating_sub(kernel_columns) / stride[1] + 1;
    let columns = room.min(COLUMNS / made).min(usize::from(output.columns));

    let mut values = [[V::Value::default(); 4]; WINDOW / 4];
    let mut weights = Weights([[[0; 4]; LANES]; TAPS / 4]);
    for x in (0..usize::from(output.columns)).step_by(columns) {
        let columns = columns.min(usize::from(output.columns) - x);
        let pixels = (columns - 1) * stride[1] + kernel_columns;
        let mut filled = usize::MAX;
        for o in (0..channels).step_by(LANES) {
            let mut sums = [[0; LANES]; COLUMNS];
            let mut correction = [0; LANES];
            for input in (0..inputs).step_by(at_once) {
                let input = input..inputs.min(input + at_once);
                let fours = input.len().div_ceil(4);
                let walk = Walk {
                    run: kernel_columns * fours,
                    row: pixels * fours,
                    column: stride[1] * fours,
                };
                // If the block has all input channels, the window serves all output channels.
                if filled != input.start {
                    filled = input.start;
                    for (row, values) in rows.iter().zip(values.chunks_mut(walk.row)).take(under) {
                        fill::<V>(conv, row, x, &input, values);
                    }
                }
                let weights = &mut weights.0[..kernel_rows * walk.run];
                unpack(conv, o, &input, weights);
                correction = sum(&correction, &vectors.correction(weights));
                for (row, sums) in sums.chunks_mut(columns).take(made).enumerate() {
                    let values = &values[row * stride[0] * walk.row..];
                    vectors.multiply(weights, values, walk, sums);
                }
            }
            let block = Block::new(conv, o, &correction);
            for ((sums, output), shortcut) in sums.chunks(columns).zip(&mut *outputs).zip(shortcuts)
            {
                block.finish(conv, sums, shortcut, x, output);
            }
        }
    }
}

/// Fills a row of the window from output column `x` on with input channels `channels` of `row`, and
/// with padding.
#[inline(always)]
fn fill<V: Vectors>(
    conv: &Conv<'_>,
    row: &[i8],
    x: usize,
    channels: &Range<usize>,
    values: &mut [[V::Value; 4]],
) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let pixel = channels.len().next_multiple_of(4);
    let values = values.as_flattened_mut();
    let pixels = values.len() / pixel;
    let left = window.pad_left.saturating_sub(x * window.stride[1]).min(pixels);
    let first = x * window.stride[1] + left - window.pad_left;
    let row = row.get(first * inputs..).unwrap_or(&[]);
    let inside = (row.len() / inputs).min(pixels - left);
    let (before, rest) = values.split_at_mut(left * pixel);
    let (values, after) = rest.split_at_mut(inside * pixel);
    for padding in before.chunks_exact_mut(pixel).chain(after.chunks_exact_mut(pixel)) {
        for (place, channel) in padding.iter_mut().zip(channels.clone()) {
            *place = V::value(conv.padding.at(channel));
        }
    }
    if pixel == inputs {
        return convert::<V>(row, values);
    }
    for (values, row) in values.chunks_exact_mut(pixel).zip(row.chunks_exact(inputs)) {
        convert::<V>(&row[channels.clone()], values);
    }
}

#[inline(always)]
fn convert<V: Vectors>(activations: &[i8], values: &mut [V::Value]) {
    for (value, activation) in values.iter_mut().zip(activations) {
        *value = V::value(*activation);
    }
}

/// Unpacks the weights of the output channels from `o` on for input channels `channels`.
#[inline(always)]
fn unpack(conv: &Conv<'_>, o: usize, channels: &Range<usize>, weights: &mut [[[i8; 4]; LANES]]) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let kernel = [window.kernel[0], window.kernel[1] * inputs];
    // A whole kernel row is one series, if all its weights are needed and each pixel ends at a
    // multiple of four.
    let whole = channels.len() == inputs && inputs.is_multiple_of(4);
    let (runs, length) = if whole { (1, kernel[1]) } else { (window.kernel[1], channels.len()) };
    let outputs = o..usize::from(window.output.channels).min(o + LANES);
    let mut fours = weights.chunks_exact_mut(length.div_ceil(4));
    for ky in 0..kernel[0] {
        for (kx, fours) in (0..runs).zip(&mut fours) {
            let first = kx * inputs + channels.start;
            let taps = first..first + length;
            conv.packing.unpack(conv.weights, outputs.clone(), ky, taps, kernel, fours);
        }
    }
}

/// See [`Backend::add`](super::Backend::add).
#[inline(always)]
fn add(add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
    let channels = usize::from(add.shape.channels);
    let requantizers = Requantizers::new([add.multiplier; LANES]);
    let (of_input, of_shortcut) = add.table.split_at(add.table.len() / 2);
    let pixels = output.chunks_exact_mut(channels).zip(input.chunks_exact(channels));
    for (x, (pixel, inputs)) in pixels.enumerate() {
        let blocks = pixel.chunks_mut(LANES).zip(inputs.chunks(LANES));
        for (block, (pixel, inputs)) in blocks.enumerate() {
            let inputs = terms(of_input, &operands(&Shortcut::InPlace, x, 0, inputs));
            let shortcuts = terms(of_shortcut, &operands(shortcut, x, block * LANES, pixel));
            let values = requantizers.apply(&sum(&inputs, &shortcuts));
            write(&sum(&values, &[add.zero_point; LANES]), add.clamp, pixel);
        }
    }
}

/// See [`Backend::max_pool`](super::Backend::max_pool).
#[inline(always)]
fn max_pool(pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
    let window = &pool.window;
    let channels = usize::from(window.output.channels);
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let (columns, first) = window.columns_on_input(x);
        pixel.fill(pool.clamp.min);
        for row in rows.iter().take(window.kernel[0]).filter(|row| !row.is_empty()) {
            for column in row[first * channels..].chunks_exact(channels).take(columns.len()) {
                for (max, value) in pixel.iter_mut().zip(column) {
                    *max = (*max).max(*value);
                }
            }
        }
        for max in pixel {
            *max = (*max).min(pool.clamp.max);
        }
    }
}

/// A backend whose value is the proof that the core has `$features`, because only `detect` makes
/// it.
macro_rules! with_features {
    ($backend:ident, $isa:ident, $features:literal) => {
        impl $crate::kernels::Backend for $backend {
            const ISA: &'static $crate::kernels::Isa = &$crate::kernels::Isa::$isa;

            fn conv(
                &self,
                conv: &$crate::ops::conv::Conv<'_>,
                rows: &$crate::ops::Rows<'_>,
                shortcut: &$crate::ops::Shortcut<'_>,
                scratch: &mut [u8],
                output: &mut [i8],
            ) {
                if let Some(unpacked) = conv.packing.unpacked() {
                    return $crate::kernels::shared::narrow::conv(
                        self, unpacked, conv, rows, shortcut, scratch, output,
                    );
                }
                // SAFETY: `self` is the proof that the core has the required features.
                unsafe { compiled::conv(*self, conv, rows, &[*shortcut], &mut [output]) }
            }

            fn conv_rows(
                &self,
                conv: &$crate::ops::conv::Conv<'_>,
                rows: &$crate::ops::Rows<'_>,
                shortcuts: &$crate::ops::Shortcuts<'_>,
                _: &mut [u8],
                outputs: &mut $crate::ops::Outputs<'_>,
            ) {
                // SAFETY: as before.
                unsafe { compiled::conv(*self, conv, rows, shortcuts, outputs) }
            }

            fn add(
                &self,
                add: &$crate::ops::add::Add<'_>,
                input: &[i8],
                shortcut: &$crate::ops::Shortcut<'_>,
                output: &mut [i8],
            ) {
                // SAFETY: as before.
                unsafe { compiled::add(add, input, shortcut, output) }
            }

            fn max_pool(
                &self,
                pool: &$crate::ops::max_pool::MaxPool,
                rows: &$crate::ops::Rows<'_>,
                output: &mut [i8],
            ) {
                // SAFETY: as before.
                unsafe { compiled::max_pool(pool, rows, output) }
            }
        }

        /// The loops, compiled for these instructions.
        mod compiled {
            use $crate::kernels::x86_64 as loops;
            use $crate::ops::{Rows, Shortcut, add::Add, conv::Conv, max_pool::MaxPool};

            #[target_feature(enable = $features)]
            pub(super) fn conv(
                backend: super::$backend,
                conv: &Conv<'_>,
                rows: &Rows<'_>,
                shortcuts: &[Shortcut<'_>],
                outputs: &mut [&mut [i8]],
            ) {
                loops::conv(backend, conv, rows, shortcuts, outputs);
            }

            #[target_feature(enable = $features)]
            pub(super) fn add(
                add: &Add<'_>,
                input: &[i8],
                shortcut: &Shortcut<'_>,
                output: &mut [i8],
            ) {
                loops::add(add, input, shortcut, output);
            }

            #[target_feature(enable = $features)]
            pub(super) fn max_pool(pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
                loops::max_pool(pool, rows, output);
            }
        }
    };
}
use with_features;
