//! Winograd's convolution in two dimensions, F(4 × 4, 3 × 3): exact, and a quarter of the products.
//! For kernels of three rows by three columns at stride 1: of weights in [`Packing::Winograd`], or
//! in [`Packing::WinogradInt8`], which are transformed on the fly, once for the rows of a step.
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
//! 2016, section 4.3, in columns and in rows. Of *G*, each row is made whole and smallest, so that
//! transformed weights stay below 49 · 127; *Aᵀ* makes up for it:
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
//! All is whole, so nothing is rounded: what comes out is 24² times the sum. It may wrap. Times
//! the inverse of 9 modulo 2³² it is 64 times the sum, and that fits into 32 bits: a model whose
//! sums are larger is refused ([`sum_bound`](crate::ops::conv::sum_bound)).
//!
//! [`Packing::Winograd`]: crate::format::Packing::Winograd
//! [`Packing::WinogradInt8`]: crate::format::Packing::WinogradInt8

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
use core::ptr::{null, null_mut};

use zerocopy::little_endian::I16;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
use zerocopy::little_endian::I32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
use super::quick::aligned;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
use super::quick::middle;
use crate::format::{Packing, SIDE_BY_SIDE, TILE_KERNEL, TILE_ROWS};
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
use crate::ops::Shortcut;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
use crate::ops::conv::Finish;
use crate::ops::conv::{
    Conv, Padding, TILE_COLUMNS, TILE_POSITIONS, TILES, TILES_ROWS, TILES_SPAN, UNDER_TILES,
};
use crate::ops::{Outputs, Rows, Shortcuts, int8_mut};
use crate::proved::proved;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
use crate::quant::Clamp;

/// Rows and columns under a tile.
const SIDE: usize = TILES_ROWS;
/// Output channels that are side by side.
pub(super) const CHANNELS: usize = SIDE_BY_SIDE;
/// Columns of the output that are computed at once.
const SPAN: usize = TILES * TILE_COLUMNS;
/// Weights of a kernel.
pub(super) const KERNEL: usize = TILE_KERNEL;
/// The inverse of 9 modulo 2³².
pub(super) const NINTH: i32 = 0x38e3_8e39;

/// Two input channels, transformed, at a position: of each tile.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub(super) struct Values([[i16; 2]; TILES]);

/// The weights for them of four output channels, transformed, at that position.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Weights([[I16; 2]; CHANNELS]);

/// The sums at all positions.
pub(super) type Sums = [[[i32; TILES]; CHANNELS]; TILE_POSITIONS];

/// What takes the time of it. The default is safe Rust.
pub(super) trait Tiles {
    /// Transforms what lies under the tiles: `pixels` are six rows of ten columns of `inputs`
    /// channels, a multiple of four. `values` has all of a position, then of the next.
    fn transform(&self, pixels: &[i8], inputs: usize, values: &mut [Values]) {
        transform(pixels, inputs, values);
    }

    /// Transforms the kernels of four channels, of [`Packing::WinogradInt8`], to `weights`, which
    /// have all of a position, then of the next.
    fn weights(&self, kernels: &[[i8; KERNEL]], weights: &mut [Weights]) {
        transform_kernels(kernels, weights);
    }

    /// The sums of products for four channels. `values` and `weights` have all of a position, then
    /// of the next.
    fn multiply(&self, values: &[Values], weights: &[Weights], sums: &mut Sums) {
        multiply(values, weights, sums);
    }

    /// Writes the outputs of the span from the sums of four channels from `o` on.
    fn finish(&self, span: &Span<'_>, sums: &Sums, o: usize, outputs: &mut Outputs<'_>) {
        finish(span, sums, o, outputs);
    }
}

/// Where outputs go: those of two tiles, from column `x` on.
pub(super) struct Span<'s> {
    pub(super) conv: &'s Conv<'s>,
    pub(super) shortcuts: &'s Shortcuts<'s>,
    pub(super) x: usize,
}

/// The rows of a step; see [`Backend::conv_rows`](super::Backend::conv_rows).
///
/// Not inlined, as its sums take much of a stack, which other layers need not have.
#[inline(never)]
pub(super) fn conv(
    tiles: &impl Tiles,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &Shortcuts<'_>,
    scratch: &mut [u8],
    outputs: &mut Outputs<'_>,
) {
    let inputs = usize::from(conv.window.input.channels).next_multiple_of(4).max(4);
    let columns = usize::from(conv.window.output.columns);
    let groups = usize::from(conv.window.output.channels).div_ceil(CHANNELS);
    let on_the_fly = conv.packing == Packing::WinogradInt8;
    // Weights that are transformed serve all columns, those in flash two tiles.
    let spans = if on_the_fly { columns.div_ceil(SPAN) } else { 1 };
    // That there is so much was checked when the model was.
    let each = TILE_POSITIONS * (inputs / 2);
    let bytes = spans * each * size_of::<Values>();
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
    let mut sums = [[[0; TILES]; CHANNELS]; TILE_POSITIONS];
    for first in (0..columns).step_by((spans * SPAN).max(SPAN)) {
        let there = || (first..columns).step_by(SPAN);
        for (x, values) in there().zip(values.chunks_exact_mut(each)) {
            let mut rest = &mut *pixels;
            for row in rows.iter().take(TILES_ROWS) {
                let Some((under, others)) = proved!(rest.split_at_mut_checked(TILES_SPAN * inputs))
                else {
                    break;
                };
                fill(conv, row, x, inputs, under);
                rest = others;
            }
            tiles.transform(pixels, inputs, values);
        }
        for group in 0..groups {
            let weights = if on_the_fly {
                let kernels_each = inputs * CHANNELS;
                let kernels = kernels.get(group * kernels_each..(group + 1) * kernels_each);
                tiles.weights(proved!(kernels).unwrap_or(&[]), transformed);
                &*transformed
            } else {
                proved!(weights.get(group * each..(group + 1) * each)).unwrap_or(&[])
            };
            for (x, values) in there().zip(values.chunks_exact(each)) {
                tiles.multiply(values, weights, &mut sums);
                let span = Span { conv, shortcuts, x };
                tiles.finish(&span, &sums, CHANNELS * group, outputs);
            }
        }
    }
}

/// The part of a row under the tiles from output column `x` on, with padding around.
pub(super) fn fill(conv: &Conv<'_>, row: &[i8], x: usize, fours: usize, under: &mut [i8]) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels).max(1);
    let left = window.pad_left.saturating_sub(x).min(TILES_SPAN);
    let first = (x + left).saturating_sub(window.pad_left);
    let row = row.get(first * inputs..).unwrap_or(&[]);
    let there = (row.len() / inputs).min(TILES_SPAN - left);
    let Some((before, rest)) = proved!(under.split_at_mut_checked(left * fours)) else { return };
    let Some((inside, after)) = proved!(rest.split_at_mut_checked(there * fours)) else { return };
    for pixels in [before, after].into_iter().filter(|pixels| !pixels.is_empty()) {
        match conv.padding {
            Padding::Same(value) => pixels.fill(value),
            Padding::PerChannel(values) => {
                for pixel in pixels.chunks_exact_mut(fours.max(1)) {
                    pixel.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
                }
            }
        }
    }
    let Some(row) = proved!(row.get(..there * inputs)) else { return };
    if inputs == fours && row.len() == inside.len() {
        inside.copy_from_slice(row);
        return;
    }
    let mut rest = row;
    for pixel in inside.chunks_exact_mut(fours.max(1)) {
        let Some((values, others)) = proved!(rest.split_at_checked(inputs)) else { return };
        pixel.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
        rest = others;
    }
}

/// What assembly takes that makes outputs of four rows from sums.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
#[repr(C)]
pub(super) struct Args {
    /// A row each, and its shortcut.
    pub(in crate::kernels) outputs: [*mut i8; TILE_ROWS],
    pub(in crate::kernels) shortcuts: [*const i8; TILE_ROWS],
    /// Of both.
    pub(in crate::kernels) stride: usize,
    pub(in crate::kernels) bias: *const I32,
    pub(in crate::kernels) mantissas: *const I32,
    pub(in crate::kernels) shifts: *const i8,
    /// The zero point, or a join's bits.
    pub(in crate::kernels) last: i32,
    /// The middle of a join's table, or null.
    pub(in crate::kernels) table: *const I32,
    /// Range of the output.
    pub(in crate::kernels) clamp: [i32; 2],
    pub(in crate::kernels) channels: usize,
    pub(in crate::kernels) tiles: usize,
}

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
impl Args {
    /// For up to four channels from `o` on; `None` where a factor is one or more without a join.
    /// The outputs are nowhere yet.
    fn of(Span { conv, x, .. }: &Span<'_>, o: usize) -> Option<Self> {
        let columns = usize::from(conv.window.output.columns).saturating_sub(*x).max(1);
        let stride = usize::from(conv.window.output.channels);
        let channels = CHANNELS.min(stride.checked_sub(o).filter(|left| *left > 0)?);
        let shifts = conv.shifts.get(o..o + channels)?;
        let (last, table) = match conv.finish {
            Finish::Requantize { zero_point } => {
                if shifts.iter().any(|&shift| shift >= 0) {
                    return None;
                }
                (zero_point, null())
            }
            Finish::Join { table, bits } => (bits as i32, middle(table)?),
        };
        Some(Self {
            outputs: [null_mut(); TILE_ROWS],
            shortcuts: [null(); TILE_ROWS],
            stride,
            bias: conv.bias.get(o..o + channels)?.as_ptr(),
            mantissas: conv.mantissas.get(o..o + channels)?.as_ptr(),
            shifts: shifts.as_ptr(),
            last,
            table,
            clamp: [i32::from(conv.clamp.min), i32::from(conv.clamp.max)],
            channels,
            tiles: TILES.min(columns.div_ceil(TILE_COLUMNS)),
        })
    }

    /// Lets the outputs go where they belong, from channel `o` on; `None` where a row or a column of
    /// the tiles is none of the output, or a shortcut has other columns or channels.
    fn on_rows(&mut self, span: &Span<'_>, o: usize, outputs: &mut Outputs<'_>) -> Option<()> {
        let Span { shortcuts, x, .. } = *span;
        let (start, end) = (x * self.stride + o, (x + self.tiles * TILE_COLUMNS) * self.stride);
        let places = self.outputs.iter_mut().zip(&mut self.shortcuts);
        for ((place, there), (output, shortcut)) in places.zip(outputs.iter_mut().zip(shortcuts)) {
            *place = output.get_mut(start..end)?.as_mut_ptr();
            *there = match *shortcut {
                Shortcut::Row { row, channels: theirs, stride: 1, before: 0, .. }
                    if theirs == self.stride && !self.table.is_null() =>
                {
                    row.get(start..end)?.as_ptr()
                }
                Shortcut::Row { .. } if !self.table.is_null() => return None,
                _ => *place,
            };
        }
        Some(())
    }

    /// Lets them go into a block, and take their shortcuts from there.
    fn on_block(&mut self, block: &mut Block) {
        self.stride = CHANNELS;
        let places = self.outputs.iter_mut().zip(&mut self.shortcuts);
        for ((place, there), row) in places.zip(block) {
            *place = row.as_flattened_mut().as_mut_ptr();
            *there = *place;
        }
    }
}

/// The outputs of a span for four channels: rows, columns, channels.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
type Block = [[[i8; CHANNELS]; SPAN]; TILE_ROWS];

/// See [`Tiles::finish`]: by assembly, `quick`. At the ends of the output, where some of the
/// tiles' rows or columns are none of it, that goes into a block, and what there is, out of it.
///
/// All pointers that `quick` gets are good for what the numbers beside them say: a bias, mantissa
/// and shift for each channel; at the outputs and at their shortcuts the columns of all tiles, in
/// each of four rows; around the middle of a table 128 words to both sides.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
#[inline(always)]
pub(super) fn finish_by(
    span: &Span<'_>,
    sums: &Sums,
    o: usize,
    outputs: &mut Outputs<'_>,
    quick: impl Fn(&mut Args),
) {
    let Some(mut args) = Args::of(span, o) else { return finish(span, sums, o, outputs) };
    if args.on_rows(span, o, outputs).is_some() {
        return quick(&mut args);
    }
    let mut block = Block::default();
    if !args.table.is_null() {
        exchange(span, o, outputs, &mut block, Exchange::Shortcuts);
    }
    args.on_block(&mut block);
    quick(&mut args);
    exchange(span, o, outputs, &mut block, Exchange::Outputs);
}

/// What a block is filled with, or gives.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
#[derive(Clone, Copy)]
enum Exchange {
    Shortcuts,
    Outputs,
}

/// Moves what there is of four channels from `o` on: shortcuts into a block, or outputs out of it.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
#[inline(never)]
fn exchange(
    span: &Span<'_>,
    o: usize,
    outputs: &mut Outputs<'_>,
    block: &mut Block,
    what: Exchange,
) {
    let channels = usize::from(span.conv.window.output.channels).max(1);
    for ((output, shortcut), row) in outputs.iter_mut().zip(span.shortcuts).zip(block) {
        let pixels = output.chunks_exact_mut(channels).skip(span.x);
        for ((x, pixel), values) in (span.x..).zip(pixels).zip(row) {
            let places = proved!(pixel.get_mut(o..)).unwrap_or_default().iter_mut().zip(values);
            match what {
                Exchange::Shortcuts => {
                    for (o, (output, value)) in (o..).zip(places) {
                        *value = shortcut.at(x, o, *output);
                    }
                }
                Exchange::Outputs => places.for_each(|(output, value)| *output = *value),
            }
        }
    }
}

/// Whether the outputs of four channels from `o` on are of the whole range of int8, and of factors
/// that the zero point can go through, and the file lies where its words are aligned.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
pub(super) fn is_ordinary(conv: &Conv<'_>, o: usize) -> bool {
    let shifts = proved!(conv.shifts.get(o..)).unwrap_or(&[]);
    let table = match conv.finish {
        Finish::Join { table, .. } => aligned(table),
        Finish::Requantize { .. } => true,
    };
    conv.clamp == Clamp::FULL
        && shifts.iter().take(CHANNELS).all(|&shift| shift >= -22)
        && aligned(conv.bias)
        && aligned(conv.mantissas)
        && table
}

/// [`Tiles`] of a backend by its assembly: functions that transform what lies under the tiles,
/// and kernels, if it has one, that sum products, and that make outputs of the sums, where
/// `$ordinary` says that it can.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
macro_rules! winograd_tiles {
    (
        $backend:ident, $ordinary:expr,
        transform: $transform:path $(, weights: $weights:path)?,
        multiply: $multiply:path, finish: $finish:expr
    ) => {
        impl $crate::kernels::winograd::Tiles for $backend {
            fn transform(
                &self,
                pixels: &[i8],
                inputs: usize,
                values: &mut [$crate::kernels::winograd::Values],
            ) {
                use $crate::ops::conv::{TILE_POSITIONS, UNDER_TILES};
                let there = pixels.len() >= UNDER_TILES * inputs
                    && values.len() >= TILE_POSITIONS * inputs / 2
                    && pixels.as_ptr().addr().is_multiple_of(4);
                if $crate::proved::proved!(there && inputs > 0 && inputs.is_multiple_of(4)) {
                    // SAFETY: `inputs` is a multiple of four and not zero; so many bytes for each
                    // pixel under the tiles can be read, a word at a time, and values for each two
                    // be written, as was just checked.
                    unsafe { $transform(pixels.as_ptr(), values.as_mut_ptr(), inputs) }
                }
            }

            $(
                fn weights(
                    &self,
                    kernels: &[[i8; $crate::kernels::winograd::KERNEL]],
                    weights: &mut [$crate::kernels::winograd::Weights],
                ) {
                    let pairs = weights.len() / $crate::ops::conv::TILE_POSITIONS;
                    let aligned = weights.as_ptr().addr().is_multiple_of(align_of::<u32>());
                    if $crate::proved::proved!(pairs > 0 && aligned && kernels.len() >= 8 * pairs) {
                        // SAFETY: there are eight kernels for each of `pairs` weights at a position,
                        // and these are where words can be stored.
                        unsafe { $weights(kernels.as_ptr(), weights.as_mut_ptr(), pairs) }
                    }
                }
            )?

            fn multiply(
                &self,
                values: &[$crate::kernels::winograd::Values],
                weights: &[$crate::kernels::winograd::Weights],
                sums: &mut $crate::kernels::winograd::Sums,
            ) {
                let pairs = values.len() / $crate::ops::conv::TILE_POSITIONS;
                let there = weights.len() >= values.len()
                    && weights.as_ptr().addr().is_multiple_of(align_of::<u32>());
                if $crate::proved::proved!(there && pairs > 0 && pairs.is_multiple_of(2)) {
                    // SAFETY: of each position there are `pairs` values, an even number and not
                    // zero, and as many weights, all where words can be loaded.
                    unsafe { $multiply(values.as_ptr(), weights.as_ptr(), pairs, sums) }
                }
            }

            fn finish(
                &self,
                span: &$crate::kernels::winograd::Span<'_>,
                sums: &$crate::kernels::winograd::Sums,
                o: usize,
                outputs: &mut $crate::ops::Outputs<'_>,
            ) {
                if !$ordinary(span.conv, o) {
                    return $crate::kernels::winograd::finish(span, sums, o, outputs);
                }
                $crate::kernels::winograd::finish_by(span, sums, o, outputs, |args| {
                    // SAFETY: `finish_by` says what all pointers are good for; where this core
                    // cannot load words that are not aligned, `$ordinary` found that they are.
                    unsafe { $finish(args, sums) }
                });
            }
        }
    };
}

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
pub(super) use winograd_tiles;

/// Bᵀ · six values.
#[inline(always)]
fn under_tile([a, b, c, d, e, f]: [i32; SIDE]) -> [i32; SIDE] {
    let (even, odd) = (e - c, d - b);
    let (outer, inner) = (e - 4 * c, d - 4 * b);
    [
        4 * (a - c) + even,
        outer + inner,
        outer - inner,
        even + 2 * odd,
        even - 2 * odd,
        f - d - 4 * odd,
    ]
}

/// See [`Tiles::transform`].
fn transform(pixels: &[i8], inputs: usize, values: &mut [Values]) {
    let pairs = (inputs / 2).max(1);
    for tile in 0..TILES {
        for input in 0..inputs {
            let at = |row: usize, column: usize| {
                let pixel = row * TILES_SPAN + tile * TILE_COLUMNS + column;
                proved!(pixels.get(pixel * inputs + input)).map_or(0, |&value| i32::from(value))
            };
            let rows: [[i32; SIDE]; SIDE] = core::array::from_fn(|row| {
                under_tile(core::array::from_fn(|column| at(row, column)))
            });
            let (pair, lane) = (input / 4 * 2 + input % 2, input % 4 / 2);
            let mut positions = values.iter_mut().skip(pair).step_by(pairs);
            let mut columns: [[i32; SIDE]; SIDE] = [[0; SIDE]; SIDE];
            for (x, column) in columns.iter_mut().enumerate() {
                *column = under_tile(rows.map(|row| row[x]));
            }
            for y in 0..SIDE {
                for column in &columns {
                    if let Some(Values(place)) = positions.next() {
                        place[tile][lane] = column[y] as i16;
                    }
                }
            }
        }
    }
}

/// Three weights along, transformed.
#[inline(always)]
fn of_three([a, b, c]: [i16; 3]) -> [i16; SIDE] {
    let (outer, wide) = (a + c, a + 4 * c);
    [a, outer + b, outer - b, wide + 2 * b, wide - 2 * b, c]
}

/// See [`Tiles::weights`].
fn transform_kernels(kernels: &[[i8; KERNEL]], weights: &mut [Weights]) {
    // Kernels are in the order of the weights at a position.
    let weights: &mut [I16] = zerocopy::transmute_mut!(weights);
    for (k, kernel) in kernels.iter().enumerate() {
        let mut positions = weights.iter_mut().skip(k).step_by(kernels.len().max(1));
        let row = |at: usize| {
            let weight = |x| proved!(kernel.get(at + x)).map_or(0, |&weight| i16::from(weight));
            of_three([weight(0), weight(1), weight(2)])
        };
        let [first, second, third] = [row(0), row(3), row(6)];
        let mut columns = [[0; SIDE]; SIDE];
        for (x, column) in columns.iter_mut().enumerate() {
            *column = of_three([first[x], second[x], third[x]]);
        }
        for y in 0..SIDE {
            for (column, place) in columns.iter().zip(&mut positions) {
                place.set(column[y]);
            }
        }
    }
}

/// See [`Tiles::multiply`].
fn multiply(values: &[Values], weights: &[Weights], sums: &mut Sums) {
    let pairs = (values.len() / TILE_POSITIONS).max(1);
    let positions = values.chunks_exact(pairs).zip(weights.chunks_exact(pairs));
    for (sums, (values, weights)) in sums.iter_mut().zip(positions) {
        let mut acc = [[0_i32; TILES]; CHANNELS];
        for (Values(values), Weights(weights)) in values.iter().zip(weights) {
            for lane in 0..2 {
                for (acc, weight) in acc.iter_mut().zip(weights) {
                    let weight = i32::from(weight[lane].get());
                    for (acc, value) in acc.iter_mut().zip(values) {
                        *acc = acc.wrapping_add(weight * i32::from(value[lane]));
                    }
                }
            }
        }
        *sums = acc;
    }
}

/// See [`Tiles::finish`]. Not inlined, as where assembly finishes it is seldom called, and
/// its frame is no part of the others then.
#[inline(never)]
pub(super) fn finish(span: &Span<'_>, sums: &Sums, o: usize, outputs: &mut Outputs<'_>) {
    let conv = span.conv;
    let channels = usize::from(conv.window.output.channels).max(1);
    for channel in 0..CHANNELS.min(channels.saturating_sub(o)) {
        let ready = conv.channel(o + channel);
        for tile in 0..TILES {
            let of = |sums: &[[i32; TILES]; CHANNELS]| {
                proved!(sums.get(channel).and_then(|sums| sums.get(tile))).copied().unwrap_or(0)
            };
            let rows = of_tile(&sums.each_ref().map(of));
            let x = span.x + tile * TILE_COLUMNS;
            for ((output, shortcut), row) in outputs.iter_mut().zip(span.shortcuts).zip(&rows) {
                let pixels = output.get_mut(x * channels..).unwrap_or_default();
                conv.finish(&ready, row, shortcut, x, pixels);
            }
        }
    }
}

/// Aᵀ · six sums.
#[inline(never)]
fn of_six([first, a, b, c, d, last]: [i32; SIDE]) -> [i32; TILE_ROWS] {
    let (plus, minus) = (a.wrapping_add(b) << 2, a.wrapping_sub(b) << 2);
    let (outer_plus, outer_minus) = (c.wrapping_add(d), c.wrapping_sub(d) << 1);
    [
        first.wrapping_mul(6).wrapping_add(outer_plus).wrapping_sub(plus),
        outer_minus.wrapping_sub(minus),
        (outer_plus << 2).wrapping_sub(plus),
        (outer_minus << 2).wrapping_sub(minus).wrapping_add(last.wrapping_mul(24)),
    ]
}

/// The rows of a tile, from its sums at all positions.
fn of_tile(sums: &[i32; TILE_POSITIONS]) -> [[i32; TILE_COLUMNS]; TILE_ROWS] {
    let (rows, _) = sums.as_chunks::<SIDE>();
    let mut along = [[0; TILE_COLUMNS]; SIDE];
    for (along, row) in along.iter_mut().zip(rows) {
        *along = of_six(*row);
    }
    let mut tile = [[0; TILE_COLUMNS]; TILE_ROWS];
    for x in 0..TILE_COLUMNS {
        for (row, sum) in tile.iter_mut().zip(of_six(along.map(|along| along[x]))) {
            row[x] = sum.wrapping_mul(NINTH) >> 6;
        }
    }
    tile
}
