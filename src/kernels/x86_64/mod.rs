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
//! Winograd's convolutions, and all are multiplied in the same way. Unpacking costs little if
//! the weights are multiplied at many columns. Those of `ohwi` are only transposed, in registers.
//! All memory is on the stack; scratch memory is not used.
//!
//! The instruction sets differ in the innermost loop (`Vectors`), for 16 channels and four inputs.
//! The figures are instructions for each multiply-accumulate (MAC):
//!
//! | backend | columns | loop | a MAC | as compiled |
//! |---|---:|---|---:|---:|
//! | [`Avx2`] | 2 | 4 `VPMOVSXBW`, 2 broadcasts, 8 `VPMADDWD`, 8 `VPADDD` | 0.17 | 28, which is 0.22 |
//! | [`Avx512Vnni`] | 8 | 1 load, 8 broadcasts, 8 `VPDPBUSD` | 0.03 | 22, which is 0.04 |
//!
//! With [`Avx512Vnni`], this loop takes a third of the time of ResNet-8, finishing outputs a fifth, and
//! unpacking weights a seventh. It has another loop for maps of few columns and many channels, in `dots.rs`.

#![allow(unsafe_code)]

mod avx2;
mod avx512_vnni;
mod dots;
mod finish;

use core::mem::MaybeUninit;
use core::ops::Range;

pub use avx2::Avx2;
pub use avx512_vnni::Avx512Vnni;
use zerocopy::little_endian::I32;

use self::finish::{Block, operands, sum, write};
use super::{Backend, Reference};
use crate::format::Packing;
use crate::ops::add::Add;
use crate::ops::conv::Conv;
use crate::ops::max_pool::MaxPool;
use crate::ops::{Rows, Shortcut, Window};
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, Requantizers};

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

/// Room for values that are not set yet.
#[repr(align(64))]
struct Room<T, const N: usize>([MaybeUninit<T>; N]);

impl<T: Copy + Default, const N: usize> Room<T, N> {
    #[inline(always)]
    fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; N])
    }

    /// The first `count` places, all set to zero.
    #[inline(always)]
    fn zeros(&mut self, count: usize) -> &mut [T] {
        let places = &mut self.0[..count];
        places.fill(MaybeUninit::new(T::default()));
        // SAFETY: `fill` has set all of `places`.
        unsafe { places.assume_init_mut() }
    }
}

/// The values that an instruction set multiplies, and how it does.
trait Vectors: Copy {
    /// An activation in the form in which it is multiplied.
    type Value: Copy + Default;

    /// Converts an activation.
    fn value(activation: i8) -> Self::Value;

    /// Computes a row in another way, if the instruction set has one that is faster. Otherwise it returns
    /// `false`.
    #[inline(always)]
    fn conv_otherwise(self, _: &Conv<'_>, _: &Rows<'_>, _: &Shortcut<'_>, _: &mut [i8]) -> bool {
        false
    }

    /// The correction for sums of products with these weights, because values are not activations.
    fn correction(self, weights: &[Four]) -> Lanes;

    /// The table's numbers for bytes, of which the least is the first.
    fn terms(self, table: &[I32; 256], bytes: [i8; LANES]) -> Lanes;

    /// Values clamped to a range.
    fn clamp(self, values: &Lanes, to: Clamp) -> [i8; LANES];

    /// What [`Requantizers::apply`] gives.
    fn requantize(self, by: &Requantizers<LANES>, values: &Lanes) -> Lanes;

    /// Weights of some output channels as they are multiplied. Each channel has a run of weights, which
    /// begins `step` bytes after the one before; `runs` is the number of runs, and the length of each. What
    /// is missing to 16 channels, and to a multiple of four weights, is zero.
    fn transpose(self, weights: &[i8], step: usize, runs: [usize; 2], fours: &mut [Four]);

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
    if let ([output], [shortcut]) = (&mut *outputs, shortcuts)
        && vectors.conv_otherwise(conv, rows, shortcut, output)
    {
        return;
    }
    let made = outputs.iter().take_while(|output| !output.is_empty()).count().max(1);
    let under = kernel_rows + (made - 1) * stride[0];
    // The number of input channels of a block is limited by the room for their weights, then the
    // number of columns by the room for the values under them.
    let at_once = inputs.next_multiple_of(4).min(TAPS / (kernel_rows * kernel_columns) / 4 * 4);
    let fit = (WINDOW / (under * at_once)).saturating_sub(kernel_columns) / stride[1] + 1;
    let columns = fit.min(COLUMNS / made).min(usize::from(output.columns));

    // Only what is used is set to zero, because the steps of small layers are short.
    let fours = at_once.min(inputs).div_ceil(4);
    let pixels = (columns - 1) * stride[1] + kernel_columns;
    let mut for_values = Room::<_, { WINDOW / 4 }>::new();
    let values = for_values.zeros(under * pixels * fours);
    let mut for_weights = Room::<_, { TAPS / 4 }>::new();
    let weights = for_weights.zeros(kernel_rows * kernel_columns * fours);
    let mut for_sums = Room::<_, COLUMNS>::new();
    for x in (0..usize::from(output.columns)).step_by(columns) {
        let columns = columns.min(usize::from(output.columns) - x);
        let pixels = (columns - 1) * stride[1] + kernel_columns;
        let mut filled = usize::MAX;
        for o in (0..channels).step_by(LANES) {
            let sums = for_sums.zeros(made * columns);
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
                let weights = &mut weights[..kernel_rows * walk.run];
                unpack(vectors, conv, o, &input, weights);
                correction = sum(&correction, &vectors.correction(weights));
                for (row, sums) in sums.chunks_mut(columns).take(made).enumerate() {
                    let values = &values[row * stride[0] * walk.row..];
                    vectors.multiply(weights, values, walk, sums);
                }
            }
            let block = Block::new(conv, o, &correction);
            for ((sums, output), shortcut) in sums.chunks(columns).zip(&mut *outputs).zip(shortcuts)
            {
                block.finish(vectors, conv, sums, shortcut, x, output);
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
fn unpack<V: Vectors>(
    vectors: V,
    conv: &Conv<'_>,
    o: usize,
    channels: &Range<usize>,
    weights: &mut [Four],
) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let kernel = [window.kernel[0], window.kernel[1] * inputs];
    // A whole kernel row is one series, if all its weights are needed and each pixel ends at a
    // multiple of four.
    let whole = channels.len() == inputs && inputs.is_multiple_of(4);
    let (runs, length) = if whole { (1, kernel[1]) } else { (window.kernel[1], channels.len()) };
    let outputs = o..usize::from(window.output.channels).min(o + LANES);
    if conv.packing == Packing::Ohwi {
        // The weights of an output channel are consecutive, those of all kernel rows.
        let step = kernel[0] * kernel[1];
        let length = if whole { step } else { length };
        for (run, fours) in weights.chunks_exact_mut(length.div_ceil(4)).enumerate() {
            let first = o * step + run * inputs + channels.start;
            vectors.transpose(&conv.weights[first..], step, [outputs.len(), length], fours);
        }
        return;
    }
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
fn add<V: Vectors>(
    vectors: V,
    add: &Add<'_>,
    input: &[i8],
    shortcut: &Shortcut<'_>,
    output: &mut [i8],
) {
    let channels = usize::from(add.shape.channels);
    let Multiplier { mantissa, shift } = add.multiplier;
    let requantizers = Requantizers::new([mantissa.to_bits(); LANES], [shift; LANES]);
    let Some([of_input, of_shortcut]) = proved!(tables(add.table)) else { return };
    let pixels = output.chunks_exact_mut(channels).zip(input.chunks_exact(channels));
    for (x, (pixel, inputs)) in pixels.enumerate() {
        let blocks = pixel.chunks_mut(LANES).zip(inputs.chunks(LANES));
        for (block, (pixel, inputs)) in blocks.enumerate() {
            let inputs = vectors.terms(of_input, operands(&Shortcut::InPlace, x, 0, inputs));
            let shortcuts = operands(shortcut, x, block * LANES, pixel);
            let shortcuts = vectors.terms(of_shortcut, shortcuts);
            let values = vectors.requantize(&requantizers, &sum(&inputs, &shortcuts));
            let values = sum(&values, &[add.zero_point; LANES]);
            write(&vectors.clamp(&values, add.clamp), pixel);
        }
    }
}

/// The table of an addition's input and that of its shortcut.
#[inline(always)]
fn tables(table: &[I32]) -> Option<[&[I32; 256]; 2]> {
    let (of_input, of_shortcut) = table.split_first_chunk()?;
    Some([of_input, of_shortcut.first_chunk()?])
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

/// An expression with the constant `$N`, which has the value of `$count`: 1 to 8.
macro_rules! with_count {
    ($count:expr, $N:ident => $do:expr) => {
        with_count!($count, $N => $do; 1 2 3 4 5 6 7 8)
    };
    ($count:expr, $N:ident => $do:expr; $($n:literal)*) => {
        match $count {
            $($n => {
                const $N: usize = $n;
                $do
            })*
            _ => {}
        }
    };
}
use with_count;

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
                unsafe { compiled::add(*self, add, input, shortcut, output) }
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
                backend: super::$backend,
                add: &Add<'_>,
                input: &[i8],
                shortcut: &Shortcut<'_>,
                output: &mut [i8],
            ) {
                loops::add(backend, add, input, shortcut, output);
            }

            #[target_feature(enable = $features)]
            pub(super) fn max_pool(pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
                loops::max_pool(pool, rows, output);
            }
        }
    };
}
use with_features;
