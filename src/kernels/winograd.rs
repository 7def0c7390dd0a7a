//! Winograd's convolution in one dimension, F(4, 3), along the row: exact, and half as many
//! products. For kernels of three columns at stride 1, of weights in [`Packing::Winograd`].
//!
//! ```text
//! for each two tiles of four columns:
//!     for each kernel row and input channel:
//!         values[position 0 … 5] = Bᵀ · the six columns under the tile
//!     for each four output channels:
//!         for each position:
//!             sums[position] = Σ values[position] · weights[position]
//!         output[tile] = finish(bias + Aᵀ · sums)
//! ```
//!
//! The transforms are those of Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks*, 2016, section 4.3:
//!
//! ```text
//!      ⎡ 4   0  −5   0   1   0 ⎤                                    ⎡ 1   1   1   1   1   0 ⎤
//!      ⎢ 0  −4  −4   1   1   0 ⎥        ⎡  6   0   0 ⎤              ⎢ 0   1  −1   2  −2   0 ⎥
//! Bᵀ = ⎢ 0   4  −4  −1   1   0 ⎥        ⎢ −4  −4  −4 ⎥         Aᵀ = ⎢ 0   1   1   4   4   0 ⎥
//!      ⎢ 0  −2  −1   2   1   0 ⎥  24G = ⎢ −4   4  −4 ⎥              ⎣ 0   1  −1   8  −8   1 ⎦
//!      ⎢ 0   2  −1  −2   1   0 ⎥        ⎢  1   2   4 ⎥
//!      ⎣ 0   4   0  −5   0   1 ⎦        ⎢  1  −2   4 ⎥
//!                                       ⎣  0   0  24 ⎦
//! ```
//!
//! All is whole, so nothing is rounded: what comes out is 24 times the sum. It may wrap. Times
//! the inverse of 3 modulo 2³² it is 8 times the sum, and that fits into 32 bits: a model whose
//! sums are larger is refused ([`WINOGRAD_BOUND`](crate::ops::conv::WINOGRAD_BOUND)).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Backend, Reference};
use crate::format::TRANSFORM;
use crate::ops::conv::{Conv, Padding, TILE_COLUMNS, TILES};
use crate::ops::{Rows, Shortcut};

/// Positions of a tile that is transformed.
pub(super) const POSITIONS: usize = TRANSFORM.len();
/// Columns that are under the tiles, but for one on each side.
pub(super) const INSIDE: usize = TILES * TILE_COLUMNS;
/// Output channels that are side by side.
pub(super) const CHANNELS: usize = 4;
/// The inverse of 3 modulo 2³².
pub(super) const THIRD: i32 = 0xaaaa_aaab_u32 as i32;

/// Two input channels of a kernel row, transformed, at each position and of each tile.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub(super) struct Values([[[i16; 2]; TILES]; POSITIONS]);

/// The weights for them of each output channel, transformed, at one position.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub(super) struct Weights([[i16; 2]; CHANNELS]);

/// The sums at all positions.
pub(super) type Sums = [[[i32; TILES]; CHANNELS]; POSITIONS];

/// What takes the time of it. The default is safe Rust.
pub(super) trait Tiles {
    /// Transforms the columns under the tiles.
    fn transform(&self, columns: &Columns<'_>, values: &mut [Values]) {
        transform(columns, values);
    }

    /// The sums of products for four channels. `weights` has all of a position, then of the next.
    fn multiply(&self, values: &[Values], weights: &[Weights], sums: &mut Sums) {
        multiply(values, weights, sums);
    }

    /// Computes outputs at up to eight columns, `pixels`, from `x` on: those of the first
    /// channels. Returns how many; the others remain.
    fn quick(&self, _: &Span<'_>, _: &[Weights], _x: usize, _pixels: &mut [i8]) -> usize {
        0
    }
}

/// The columns of a row under the tiles, each of so many channels, a multiple of four.
pub(super) struct Columns<'c> {
    pub(super) inputs: usize,
    /// The first column.
    pub(super) before: &'c [i8],
    /// Eight.
    pub(super) inside: &'c [i8],
    /// The last.
    pub(super) after: &'c [i8],
}

/// What there is to compute outputs from.
pub(super) struct Span<'s> {
    pub(super) conv: &'s Conv<'s>,
    pub(super) shortcut: &'s Shortcut<'s>,
    pub(super) values: &'s [Values],
}

/// One output row; see [`Backend::conv_winograd`].
///
/// Not inlined, so that other layers need not have its frame on the stack.
#[inline(never)]
pub(super) fn conv(
    tiles: &impl Tiles,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    let inputs = usize::from(conv.window.input.channels).next_multiple_of(4);
    let channels = usize::from(conv.window.output.channels).max(1);
    let kernel_rows = conv.window.kernel[0];
    let steps = inputs / 2;
    // A file may lie where its int16 are not aligned.
    let Ok(weights) = <[Weights]>::ref_from_bytes(conv.weights.as_bytes()) else {
        return Reference.conv(conv, rows, shortcut, scratch, output);
    };
    // That there is so much was checked when the model was.
    let bytes = kernel_rows * steps * size_of::<Values>();
    let Some((values, edge)) = scratch.split_at_mut_checked(bytes) else { return };
    let values = <[Values]>::mut_from_bytes(values).unwrap_or_default();
    let edge = <[i8]>::mut_from_bytes(edge).unwrap_or_default();
    let Some((padding, edge)) = edge.split_at_mut_checked(inputs) else { return };
    match conv.padding {
        Padding::Same(value) => padding.fill(value),
        Padding::PerChannel(values) => {
            padding.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
        }
    }
    let mut first = 0;
    for pixels in output.chunks_mut(TILES * TILE_COLUMNS * channels) {
        let on_row = OnRow::of(conv, first);
        for (row, values) in rows.iter().zip(values.chunks_exact_mut(steps.max(1))) {
            let columns = columns(conv, on_row.as_ref(), row, first, padding, edge);
            tiles.transform(&columns, values);
        }
        let span = Span { conv, shortcut, values };
        let quick = tiles.quick(&span, weights, first, pixels);
        let groups = weights.chunks_exact((POSITIONS * values.len()).max(1)).enumerate();
        for (group, weights) in groups.skip(quick / CHANNELS) {
            let mut sums = Sums::default();
            tiles.multiply(span.values, weights, &mut sums);
            for (tile, pixels) in pixels.chunks_mut(TILE_COLUMNS * channels).enumerate() {
                let x = first + tile * TILE_COLUMNS;
                span.finish(&sums, tile, CHANNELS * group, x, pixels);
            }
        }
        first += TILES * TILE_COLUMNS;
    }
}

/// Where the columns under the tiles lie in a row that has all but the first or the last.
struct OnRow {
    before: Option<usize>,
    inside: usize,
    after: usize,
}

impl OnRow {
    /// Of the tiles from output column `first` on; `None` where channels are no fours, as those
    /// of a row are then.
    fn of(conv: &Conv<'_>, first: usize) -> Option<Self> {
        let inputs = usize::from(conv.window.input.channels);
        let inside = (first + 1).checked_sub(conv.window.pad_left)? * inputs;
        let after = inside + INSIDE * inputs;
        let all = usize::from(conv.window.input.columns) * inputs;
        let there = inputs.is_multiple_of(4) && after <= all;
        there.then_some(Self { before: inside.checked_sub(inputs), inside, after })
    }
}

/// The columns under the tiles from output column `first` on: those of the row, where it has
/// them, else a copy.
fn columns<'s>(
    conv: &Conv<'_>,
    on_row: Option<&OnRow>,
    row: &'s [i8],
    first: usize,
    padding: &'s [i8],
    edge: &'s mut [i8],
) -> Columns<'s> {
    let (inputs, fours) = (usize::from(conv.window.input.channels).max(1), padding.len().max(1));
    if let Some(OnRow { before, inside, after }) = on_row
        && let Some(inside) = row.get(*inside..*after)
    {
        let before = before.and_then(|before| row.get(before..before + inputs));
        let after = row.get(*after..*after + inputs);
        let (before, after) = (before.unwrap_or(padding), after.unwrap_or(padding));
        return Columns { inputs, before, inside, after };
    }
    // Padding, what is on the row, padding.
    let left = conv.window.pad_left.saturating_sub(first).min(INSIDE + 2);
    let from = (first + left).saturating_sub(conv.window.pad_left) * inputs;
    let row = row.get(from..).unwrap_or(&[]);
    let on_row = (row.len() / inputs).min(INSIDE + 2 - left);
    if let Some((before, edge)) = edge.split_at_mut_checked(left * fours)
        && let Some((inside, after)) = edge.split_at_mut_checked(on_row * fours)
    {
        for pixel in before.chunks_exact_mut(fours).chain(after.chunks_exact_mut(fours)) {
            pixel.iter_mut().zip(padding).for_each(|(value, padding)| *value = *padding);
        }
        if inputs == 3 {
            // A fourth value meets weights of zero.
            let mut row = row;
            for pixel in inside.as_chunks_mut::<4>().0 {
                *pixel = match (row.first_chunk(), row.first_chunk()) {
                    (Some(four), _) => *four,
                    (_, Some(&[r, g, b])) => [r, g, b, 0],
                    _ => break,
                };
                row = row.get(3..).unwrap_or(&[]);
            }
        } else {
            let pixels = inside.chunks_exact_mut(fours);
            for (pixel, values) in pixels.zip(row.chunks_exact(inputs)) {
                pixel.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
        }
    }
    let (before, edge) = edge.split_at_checked(fours).unwrap_or_default();
    let (inside, after) = edge.split_at_checked(INSIDE * fours).unwrap_or_default();
    Columns { inputs: fours, before, inside, after }
}

/// See [`Tiles::transform`].
fn transform(columns: &Columns<'_>, values: &mut [Values]) {
    let Columns { inputs, before, inside, after } = *columns;
    for (four, values) in values.chunks_exact_mut(2).enumerate() {
        for lane in 0..4 {
            let i = 4 * four + lane;
            let under: [i32; INSIDE + 2] = core::array::from_fn(|column| {
                let value = match column {
                    0 => before.get(i),
                    column if column <= INSIDE => inside.get((column - 1) * inputs + i),
                    _ => after.get(i),
                };
                value.map_or(0, |&value| i32::from(value))
            });
            let Values(places) = &mut values[lane % 2];
            for tile in 0..TILES {
                let [a, b, c, d, e, f] = core::array::from_fn(|k| under[tile * TILE_COLUMNS + k]);
                let (even, odd) = (e - c, d - b);
                let (outer, inner) = (e - 4 * c, d - 4 * b);
                let transformed = [
                    4 * (a - c) + even,
                    outer + inner,
                    outer - inner,
                    even + 2 * odd,
                    even - 2 * odd,
                    f - d - 4 * odd,
                ];
                for (place, value) in places.iter_mut().zip(transformed) {
                    place[tile][lane / 2] = value as i16;
                }
            }
        }
    }
}

/// See [`Tiles::multiply`].
fn multiply(values: &[Values], weights: &[Weights], sums: &mut Sums) {
    let positions = weights.chunks_exact(values.len().max(1));
    for ((position, sums), weights) in sums.iter_mut().enumerate().zip(positions) {
        let mut acc = [[0_i32; TILES]; CHANNELS];
        for (Values(values), Weights(weights)) in values.iter().zip(weights) {
            let values = values[position];
            for lane in 0..2 {
                for (acc, weight) in acc.iter_mut().zip(weights) {
                    let weight = i32::from(i16::from_le(weight[lane]));
                    for (acc, value) in acc.iter_mut().zip(values) {
                        *acc = acc.wrapping_add(weight * i32::from(value[lane]));
                    }
                }
            }
        }
        *sums = acc;
    }
}

impl Span<'_> {
    /// Writes the outputs of four channels from `o` on at the columns of a tile, from `x` on.
    fn finish(&self, sums: &Sums, tile: usize, o: usize, x: usize, pixels: &mut [i8]) {
        let channels = usize::from(self.conv.window.output.channels).max(1);
        for channel in 0..CHANNELS.min(channels.saturating_sub(o)) {
            let o = o + channel;
            let sums = sums.map(|sums| {
                sums.get(channel).and_then(|sums| sums.get(tile)).copied().unwrap_or(0)
            });
            let channel = self.conv.channel(o);
            self.conv.finish(&channel, &of_tile(sums), self.shortcut, x, pixels);
        }
    }
}

/// The columns of a tile, from its sums at all positions.
fn of_tile(sums: [i32; POSITIONS]) -> [i32; TILE_COLUMNS] {
    let [first, a, b, c, d, last] = sums;
    let (plus, minus) = (a.wrapping_add(b), a.wrapping_sub(b));
    let (outer_plus, outer_minus) = (c.wrapping_add(d), c.wrapping_sub(d));
    let columns = [
        first.wrapping_add(plus).wrapping_add(outer_plus),
        minus.wrapping_add(outer_minus << 1),
        plus.wrapping_add(outer_plus << 2),
        minus.wrapping_add(outer_minus << 3).wrapping_add(last),
    ];
    columns.map(|sum| sum.wrapping_mul(THIRD) >> 3)
}
