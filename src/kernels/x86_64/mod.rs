//! Kernels for the host: blocked loops around the vector instructions of x86-64.
//!
//! ```text
//! for each block of columns, in all rows of the step:
//!     for each 32 output channels:
//!         for each block of input channels:
//!             window = the input under the columns, as the multiplier takes it, padding around
//!             weights = those of the 32 channels, four weights of a channel together
//!             sums[row, column] += window · weights
//!         output[row, column] = finish(sums)
//! ```
//!
//! Weights that are packed as [`Sixteens`](Packing::Sixteens) are multiplied as they lie in the file. A
//! simulator runs every other packing, too: each step then unpacks the weights, including those for
//! Winograd's convolutions, and all are multiplied in the same way. All memory is on the stack; scratch
//! memory is not used.
//!
//! The instruction sets differ in the innermost loop (`Vectors`), for four weights of each channel. The
//! figures are instructions for each multiply-accumulate (MAC):
//!
//! | backend | columns, channels | loop | a MAC | as compiled |
//! |---|---:|---|---:|---:|
//! | [`Avx2`] | 2, 16 | 4 `VPMOVSXBW`, 2 broadcasts, 8 `VPMADDWD`, 8 `VPADDD` | 0.17 | 28, which is 0.22 |
//! | [`Avx512Vnni`] | 8, 32 | 2 loads, 8 broadcasts, 16 `VPDPBUSD` | 0.013 | 37, which is 0.018 |
//!
//! With [`Avx512Vnni`], this loop takes half of the time of ResNet-20, and finishing outputs a third.

#![allow(unsafe_code)]

mod avx2;
mod avx512_vnni;
mod channels;
mod conv;
mod finish;

use core::mem::MaybeUninit;

pub use avx2::Avx2;
pub use avx512_vnni::Avx512Vnni;
use zerocopy::little_endian::I32;

use self::conv::{BLOCKS, conv};
use self::finish::{operands, sum, write};
#[cfg(doc)]
use crate::format::Packing;
use crate::ops::add::Add;
use crate::ops::max_pool::MaxPool;
use crate::ops::{Rows, Shortcut};
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, Requantizers};

/// Number of output channels of a block.
const LANES: usize = 16;

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
    /// `weights` has one or two blocks of output channels, each of which has sums of its own. Also sets the
    /// corrections for sums of products with these weights, because values are not activations.
    fn multiply(
        self,
        weights: &[Four],
        values: &[Self::Value],
        walk: Walk,
        sums: [&mut [Lanes]; BLOCKS],
        corrections: Option<&mut [Lanes; BLOCKS]>,
    );
}

/// How weights lie over values.
#[derive(Debug, Clone, Copy)]
struct Walk {
    /// Number of fours of weights of a kernel row.
    run: usize,
    /// Number of values of a pixel.
    pixel: usize,
    /// Number of values from one kernel row to the next.
    row: usize,
    /// Number of values from one column to the next.
    column: usize,
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

            fn depthwise_conv(
                &self,
                conv: &$crate::ops::depthwise_conv::DepthwiseConv<'_>,
                rows: &$crate::ops::Rows<'_>,
                output: &mut [i8],
            ) {
                // SAFETY: as before.
                unsafe { compiled::depthwise_conv(*self, conv, rows, output) }
            }

            fn batch_norm(
                &self,
                norm: &$crate::ops::batch_norm::BatchNorm<'_>,
                input: &[i8],
                output: &mut [i8],
            ) {
                // SAFETY: as before.
                unsafe { compiled::batch_norm(*self, norm, input, output) }
            }
        }

        /// The loops, compiled for these instructions.
        mod compiled {
            use $crate::kernels::x86_64 as loops;
            use $crate::ops::batch_norm::BatchNorm;
            use $crate::ops::depthwise_conv::DepthwiseConv;
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

            #[target_feature(enable = $features)]
            pub(super) fn depthwise_conv(
                backend: super::$backend,
                conv: &DepthwiseConv<'_>,
                rows: &Rows<'_>,
                output: &mut [i8],
            ) {
                loops::channels::depthwise_conv(backend, conv, rows, output);
            }

            #[target_feature(enable = $features)]
            pub(super) fn batch_norm(
                backend: super::$backend,
                norm: &BatchNorm<'_>,
                input: &[i8],
                output: &mut [i8],
            ) {
                loops::channels::batch_norm(backend, norm, input, output);
            }
        }
    };
}
use with_features;
