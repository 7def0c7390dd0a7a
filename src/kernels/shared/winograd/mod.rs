//! Winograd's convolution in two dimensions, F(4 × 4, 3 × 3). It is exact, and needs a quarter of
//! the products. For kernels of three rows by three columns at stride 1, with weights in
//! [`Packing::Winograd`], or in [`Packing::WinogradInt8`], which are transformed while the layer
//! runs, once for the rows of a step. A step of [`Packing::WinogradInt8Tall`] makes two rows of
//! tiles.
//!
//! ```text
//! for each two tiles of four rows by four columns:
//!     for each input channel:
//!         values[position 0 … 35] = Bᵀ · the six rows by six columns under the tile · B
//!     for each four output channels:
//!         for each position:
//!             sums[position] = Σ values[position] · weights[position]
//!         output[tile] = finish(bias + Aᵀ · sums · A)
//! ```
//!
//! The transforms are those of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*,
//! 2016, section 4.3, along columns and along rows. Each row of *G* is multiplied by the smallest
//! factor that makes it integers, so that transformed weights stay below 49 · 127. *Aᵀ* compensates
//! for these factors:
//!
//! ```text
//!      ⎡ 4   0  −5   0   1   0 ⎤       ⎡ 1   0   0 ⎤
//!      ⎢ 0  −4  −4   1   1   0 ⎥       ⎢ 1   1   1 ⎥       ⎡ 6  −4  −4   1   1   0 ⎤
//! Bᵀ = ⎢ 0   4  −4  −1   1   0 ⎥   G = ⎢ 1  −1   1 ⎥  Aᵀ = ⎢ 0  −4   4   2  −2   0 ⎥
//!      ⎢ 0  −2  −1   2   1   0 ⎥       ⎢ 1   2   4 ⎥       ⎢ 0  −4  −4   4   4   0 ⎥
//!      ⎢ 0   2  −1  −2   1   0 ⎥       ⎢ 1  −2   4 ⎥       ⎣ 0  −4   4   8  −8  24 ⎦
//!      ⎣ 0   4   0  −5   0   1 ⎦       ⎣ 0   0   1 ⎦
//! ```
//!
//! All values are integers, so nothing is rounded: the result is 24² times the sum. It may wrap.
//! Multiplied by the inverse of 9 modulo 2³², it is 64 times the sum, which fits into 32 bits: a
//! model whose sums are larger is refused ([`sum_bound`](crate::ops::conv::check::sum_bound)).
//!
//! [`Packing::Winograd`]: crate::format::Packing::Winograd
//! [`Packing::WinogradInt8`]: crate::format::Packing::WinogradInt8
//! [`Packing::WinogradInt8Tall`]: crate::format::Packing::WinogradInt8Tall

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
mod assembly;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
mod backend;
mod plain;

use zerocopy::little_endian::I16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::{SIDE_BY_SIDE, TILE_KERNEL, TILE_ROWS};
use crate::ops::conv::{
    Conv, Padding, SPANS, TILE_COLUMNS, TILE_POSITIONS, TILES, TILES_ROWS, TILES_SPAN, UNDER_TILES,
};
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts, int8_mut};
use crate::proved::proved;

#[cfg(feature = "rv32")]
pub(in crate::kernels) use assembly::are_shifts_small;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
pub(in crate::kernels) use assembly::is_ordinary;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
pub(in crate::kernels) use assembly::{Args, Ready, finish_by};
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
pub(in crate::kernels) use backend::winograd_tiles;
pub(in crate::kernels) use plain::{finish, multiply};

/// Number of rows and columns under a tile.
const SIDE: usize = TILES_ROWS;
/// Number of output channels that are interleaved.
pub(in crate::kernels) const CHANNELS: usize = SIDE_BY_SIDE;

/// Number of output columns that are computed at once.
const SPAN: usize = TILES * TILE_COLUMNS;

/// Number of weights of a kernel.
pub(in crate::kernels) const KERNEL: usize = TILE_KERNEL;

/// The inverse of 9 modulo 2³².
pub(in crate::kernels) const NINTH: i32 = 0x38e3_8e39;

/// The transformed values of two input channels at one position, for each tile.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub(in crate::kernels) struct Values([[i16; 2]; TILES]);

/// The transformed weights of four output channels for these input channels, at the same position.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(in crate::kernels) struct Weights([[I16; 2]; CHANNELS]);

/// The sums at all positions.
pub(in crate::kernels) type Sums = [[[i32; TILES]; CHANNELS]; TILE_POSITIONS];

/// The time-consuming parts. The defaults are safe Rust.
pub(in crate::kernels) trait Tiles {
    /// What [`finish`](Self::finish) keeps from four channels of a span to the next four.
    type Ready: Default;

    /// Number of spans that are multiplied at once, up to [`SPANS`].
    const AT_ONCE: usize = 1;

    /// Memory for the sums of as many spans.
    type SpanSums;

    /// Memory for sums.
    fn span_sums() -> Self::SpanSums;

    /// Transforms the values under the tiles. `pixels` are six rows of ten columns of `inputs`
    /// channels, a multiple of four. `values` has all values of one position, then those of the
    /// next.
    fn transform(&self, pixels: &[i8], inputs: usize, values: &mut [Values]) {
        plain::transform(pixels, inputs, values);
    }

    /// Transforms the kernels of four channels from [`Packing::WinogradInt8`] to `weights`, which
    /// has all weights of one position, then those of the next.
    fn weights(&self, kernels: &[[i8; KERNEL]], weights: &mut [Weights]) {
        plain::transform_kernels(kernels, weights);
    }

    /// The sums of products for four channels, of up to [`AT_ONCE`](Self::AT_ONCE) spans. `weights`,
    /// and the values of each span, have `pairs` entries for one position, then those for the next.
    /// `place` is where the sums are written.
    fn multiply<'s>(
        &self,
        values: &[Values],
        weights: &[Weights],
        pairs: usize,
        spans: usize,
        place: &'s mut Self::SpanSums,
    ) -> &'s [Sums];

    /// Writes the outputs of the span from the sums of four channels from `o` on.
    fn finish(
        &self,
        span: &Span<'_>,
        ready: &mut Self::Ready,
        sums: &Sums,
        o: usize,
        outputs: &mut TileOutputs<'_>,
    );
}

/// The output rows of a tile.
pub(in crate::kernels) type TileOutputs<'o> = [&'o mut [i8]; TILE_ROWS];

/// The positions of outputs: those of two tiles, from column `x` on.
pub(in crate::kernels) struct Span<'s> {
    pub(in crate::kernels) conv: &'s Conv<'s>,
    pub(in crate::kernels) shortcuts: &'s [Shortcut<'s>; TILE_ROWS],
    pub(in crate::kernels) x: usize,
}

/// The rows of a step; see [`Backend::conv_rows`](crate::kernels::Backend::conv_rows).
///
/// Not inlined, because its sums take much stack, which other layers do not need.
#[inline(never)]
pub(in crate::kernels) fn conv<T: Tiles>(
    tiles: &T,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &Shortcuts<'_>,
    scratch: &mut [u8],
    outputs: &mut Outputs<'_>,
) {
    let inputs = usize::from(conv.window.input.channels).next_multiple_of(4).max(4);
    let columns = usize::from(conv.window.output.columns);
    let groups = usize::from(conv.window.output.channels).div_ceil(CHANNELS);
    let on_the_fly = conv.packing.is_winograd_int8();
    let rows_of_tiles = conv.packing.rows_a_step() / TILE_ROWS;
    let all_spans = columns.div_ceil(SPAN);
    // Weights transformed at run time serve all columns.
    let spans = if on_the_fly { all_spans } else { all_spans.min(SPANS) };
    // `Model::parse` checked that the scratch memory is this large.
    let pairs = inputs / 2;
    let each = TILE_POSITIONS * pairs;
    let bytes = rows_of_tiles * spans * each * size_of::<Values>();
    let Some((values, rest)) = proved!(scratch.split_at_mut_checked(bytes)) else { return };
    let Some((pixels, rest)) = proved!(rest.split_at_mut_checked(UNDER_TILES * inputs)) else {
        return;
    };
    let values = proved!(<[Values]>::mut_from_bytes(values)).unwrap_or_default();
    let pixels = int8_mut(pixels);
    let transformed = proved!(<[Weights]>::mut_from_bytes(rest)).unwrap_or_default();
    let (kernels, _) = conv.weights.as_chunks::<KERNEL>();
    let weights = match on_the_fly {
        true => &[],
        false => proved!(<[Weights]>::ref_from_bytes(conv.weights.as_bytes())).unwrap_or_default(),
    };
    let (outputs, _) = outputs.as_chunks_mut();
    let (shortcuts, _) = shortcuts.as_chunks();
    // The last step may make fewer rows.
    let rows_made = outputs.iter().take_while(|rows: &&TileOutputs<'_>| !rows[0].is_empty());
    let rows_made = rows_made.take(rows_of_tiles).count();
    let mut place = T::span_sums();
    // For one span after the other. With up to two spans each keeps its own.
    let (mut even, mut odd) = (T::Ready::default(), T::Ready::default());
    let mut ready = [&mut even, &mut odd];
    for first in (0..columns).step_by((spans * SPAN).max(SPAN)) {
        // The last spans may be fewer, but only if there is one row of tiles.
        let there = || (first..columns).step_by(SPAN).take(spans);
        let mut rest = &mut *values;
        for y in (0..rows_made * TILE_ROWS).step_by(TILE_ROWS) {
            for x in there() {
                let these = proved!(core::mem::take(&mut rest).split_at_mut_checked(each));
                let Some((values, others)) = these else { break };
                rest = others;
                let span = Under::of(conv, x, inputs);
                let mut rest = &mut *pixels;
                for row in rows.iter().skip(y).take(TILES_ROWS) {
                    let under = proved!(rest.split_at_mut_checked(TILES_SPAN * inputs));
                    let Some((under, others)) = under else { break };
                    span.fill(conv, row, under);
                    rest = others;
                }
                tiles.transform(pixels, inputs, values);
            }
        }
        let all = rows_made * (columns - first).div_ceil(SPAN).min(spans);
        for group in 0..groups {
            let weights = if on_the_fly {
                let kernels_each = inputs * CHANNELS;
                let kernels = kernels.get(group * kernels_each..(group + 1) * kernels_each);
                tiles.weights(proved!(kernels).unwrap_or(&[]), transformed);
                &*transformed
            } else {
                proved!(weights.get(group * each..(group + 1) * each)).unwrap_or(&[])
            };
            let mut rest = &*values;
            let mut done = 0;
            let mut sums: &[Sums] = &[];
            for (outputs, shortcuts) in outputs.iter_mut().zip(shortcuts).take(rows_made) {
                for x in there() {
                    let at = done % T::AT_ONCE;
                    if at == 0 {
                        let count = T::AT_ONCE.min(all - done);
                        let these = proved!(rest.split_at_checked(count * each));
                        let Some((values, others)) = these else { break };
                        rest = others;
                        sums = tiles.multiply(values, weights, pairs, count, &mut place);
                    }
                    let span = Span { conv, shortcuts, x };
                    if let (Some(sums), Some(ready)) =
                        (proved!(sums.get(at)), ready.get_mut(done % 2))
                    {
                        tiles.finish(&span, ready, sums, CHANNELS * group, outputs);
                    }
                    done += 1;
                }
            }
        }
    }
}

/// Pixels of three channels, padded with a fourth whose weights are zero. It is not inlined, so
/// that the loop has enough registers.
#[inline(never)]
fn colours(row: &[i8], pixels: &mut [i8]) {
    let (pixels, _) = pixels.as_chunks_mut::<4>();
    for (pixel, &[r, g, b]) in pixels.iter_mut().zip(row.as_chunks::<3>().0) {
        *pixel = [r, g, b, 0];
    }
}

/// Copies values. With eight words at a time it takes a third of the instructions of `memcpy`.
#[inline(never)]
fn copy(to: &mut [i8], from: &[i8]) {
    if let Ok(from) = <[[u32; 4]]>::ref_from_bytes(from.as_bytes())
        && let Ok(to) = <[[u32; 4]]>::mut_from_bytes(to.as_mut_bytes())
    {
        // Word by word: otherwise the compiler makes it a call of `memcpy`.
        let copy_four = |to: &mut [u32; 4], from: &[u32; 4]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        };
        let (twos, last) = to.as_chunks_mut::<2>();
        let (from_twos, from_last) = from.as_chunks::<2>();
        for ([a, b], [from_a, from_b]) in twos.iter_mut().zip(from_twos) {
            copy_four(a, from_a);
            copy_four(b, from_b);
        }
        if let ([to], [from]) = (last, from_last) {
            copy_four(to, from);
        }
    } else if to.len() == from.len() {
        to.copy_from_slice(from);
    }
}

/// The part of a row under the tiles from output column `x` on, with padding around it.
#[cfg(feature = "rvv")]
pub(in crate::kernels) fn fill(
    conv: &Conv<'_>,
    row: &[i8],
    x: usize,
    fours: usize,
    under: &mut [i8],
) {
    Under::of(conv, x, fours).fill(conv, row, under);
}

/// The columns under the tiles of a span: padding, columns of a row, padding.
struct Under {
    /// Number of channels of a row, and of a column under the tiles.
    inputs: usize,
    fours: usize,
    /// Number of columns of padding before those of the row.
    left: usize,
    /// The first column of the row, and the number of columns from there.
    first: usize,
    there: usize,
}

impl Under {
    /// For the tiles from output column `x` on.
    fn of(conv: &Conv<'_>, x: usize, fours: usize) -> Self {
        let window = &conv.window;
        let inputs = usize::from(window.input.channels).max(1);
        let left = window.pad_left.saturating_sub(x).min(TILES_SPAN);
        let first = (x + left).saturating_sub(window.pad_left);
        let columns = usize::from(window.input.columns).saturating_sub(first);
        Self { inputs, fours, left, first, there: columns.min(TILES_SPAN - left) }
    }

    /// Fills the columns from a row. A row of padding has no columns.
    fn fill(&self, conv: &Conv<'_>, row: &[i8], under: &mut [i8]) {
        let Self { inputs, fours, left, first, there } = *self;
        if row.is_empty() {
            return pad(conv, under, fours);
        }
        let Some((before, rest)) = proved!(under.split_at_mut_checked(left * fours)) else {
            return;
        };
        let Some((inside, after)) = proved!(rest.split_at_mut_checked(there * fours)) else {
            return;
        };
        if left > 0 {
            pad(conv, before, fours);
        }
        if !after.is_empty() {
            pad(conv, after, fours);
        }
        let from = first * inputs;
        let Some(row) = proved!(row.get(from..from + there * inputs)) else { return };
        if inputs == fours && row.len() == inside.len() {
            return copy(inside, row);
        }
        if let (3, 4) = (inputs, fours) {
            return colours(row, inside);
        }
        let mut rest = row;
        for pixel in inside.chunks_exact_mut(fours.max(1)) {
            let Some((values, others)) = proved!(rest.split_at_checked(inputs)) else { return };
            pixel.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            rest = others;
        }
    }
}

/// Fills columns with padding.
#[inline(never)]
fn pad(conv: &Conv<'_>, pixels: &mut [i8], fours: usize) {
    match conv.padding {
        Padding::Same(value) => pixels.fill(value),
        Padding::PerChannel(values) => {
            for pixel in pixels.chunks_exact_mut(fours.max(1)) {
                pixel.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
        }
    }
}
