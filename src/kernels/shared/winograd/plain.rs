//! Winograd's convolution in safe Rust.

use zerocopy::little_endian::I16;

#[cfg(doc)]
use super::Tiles;
use super::{CHANNELS, KERNEL, NINTH, SIDE, Span, Sums, TileOutputs, Values, Weights};
use crate::format::TILE_ROWS;
use crate::ops::conv::{TILE_COLUMNS, TILE_POSITIONS, TILES, TILES_SPAN};
use crate::proved::proved;

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
pub(super) fn transform(pixels: &[i8], inputs: usize, values: &mut [Values]) {
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

/// Three weights, transformed.
#[inline(always)]
fn of_three([a, b, c]: [i16; 3]) -> [i16; SIDE] {
    let (near, far) = (a + c, a + 4 * c);
    [a, near + b, near - b, far + 2 * b, far - 2 * b, c]
}

/// See [`Tiles::weights`].
pub(super) fn transform_kernels(kernels: &[[i8; KERNEL]], weights: &mut [Weights]) {
    // Kernels have the order of the weights at a position.
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
pub(in crate::kernels) fn multiply(values: &[Values], weights: &[Weights], sums: &mut Sums) {
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

/// See [`Tiles::finish`]. It is not inlined: with assembly it is seldom called, and its frame stays
/// out of its callers'.
#[inline(never)]
pub(in crate::kernels) fn finish(
    span: &Span<'_>,
    sums: &Sums,
    o: usize,
    outputs: &mut TileOutputs<'_>,
) {
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
                conv.finish(&ready, row, shortcut, x, output);
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
