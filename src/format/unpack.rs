//! Runs of weights from their packings, for kernels that want another order.

use super::Packing;
use super::packing::{SIDE_BY_SIDE, int16, pairs_index, transformed_index, wide_pairs_index};
use super::tiles::Tiles;

/// How one of three weights comes from the six that they were transformed into: the sum of some,
/// times their signs, is a multiple of it.
struct Recovery {
    /// Position, sign.
    terms: &'static [(usize, i16)],
    /// The multiple, divided by a power of two: its inverse modulo 2¹⁶.
    inverse: i16,
    /// That power.
    bits: u32,
}

/// The inverse of 3 modulo 2¹⁶.
const THIRD: i16 = 0xaaab_u16 as i16;

/// From [`TRANSFORM`](super::TRANSFORM): 6, 8 and 24 times the weights.
const OF_ROW: [Recovery; 3] = [
    Recovery { terms: &[(0, 1)], inverse: THIRD, bits: 1 },
    Recovery { terms: &[(2, 1), (1, -1)], inverse: 1, bits: 3 },
    Recovery { terms: &[(5, 1)], inverse: THIRD, bits: 3 },
];

/// From [`TILE_TRANSFORM`](super::TILE_TRANSFORM): once, twice and once the weights.
const OF_TILE: [Recovery; 3] = [
    Recovery { terms: &[(0, 1)], inverse: 1, bits: 0 },
    Recovery { terms: &[(1, 1), (2, -1)], inverse: 1, bits: 1 },
    Recovery { terms: &[(5, 1)], inverse: 1, bits: 0 },
];

/// Where nothing was transformed.
const AS_IT_IS: Recovery = Recovery { terms: &[(0, 1)], inverse: 1, bits: 0 };

impl Packing {
    /// As many weights as `weights` has room for, from number `tap` on, of kernel row `ky` of
    /// output channel `channel`: what [`weight`](Self::weight) gives one by one.
    #[inline]
    pub fn unpack(
        self,
        packed: &[i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel @ [rows, row]: [usize; 2],
        weights: &mut [i8],
    ) {
        let from = |start: usize| packed.get(start..).unwrap_or(&[]);
        match self {
            Self::Ohwi => {
                let run = from((channel * rows + ky) * row + tap);
                weights.iter_mut().zip(run).for_each(|(place, weight)| *place = *weight);
            }
            Self::Pairs if tap.is_multiple_of(4) => {
                let run = from(pairs_index(channel & !1, ky, tap, kernel));
                match channel & 1 {
                    0 => fours(run, weights, |&[w0, _, w2, _, w1, _, w3, _]| [w0, w1, w2, w3]),
                    _ => fours(run, weights, |&[_, w0, _, w2, _, w1, _, w3]| [w0, w1, w2, w3]),
                }
            }
            Self::WidePairs if tap.is_multiple_of(4) => {
                let run = from(wide_pairs_index(channel & !1, ky, tap, kernel));
                match channel & 1 {
                    0 => fours(run, weights, |w: &[i8; 16]| [w[0], w[8], w[2], w[10]]),
                    _ => fours(run, weights, |w: &[i8; 16]| [w[4], w[12], w[6], w[14]]),
                }
            }
            Self::Winograd | Self::Winograd2d if (tap % (row / 3).max(1)).is_multiple_of(4) => {
                let inputs = (row / 3).max(1);
                let (mut tap, mut weights) = (tap, weights);
                while !weights.is_empty() {
                    let (kx, input) = (tap / inputs, tap % inputs);
                    let length = weights.len().min(inputs - input);
                    let (run, rest) = weights.split_at_mut(length);
                    if self == Self::Winograd {
                        let at =
                            |[_, x]: [usize; 2]| transformed_index(x, channel, ky, input, kernel);
                        // Two input channels of four output channels.
                        let step = 4 * SIDE_BY_SIDE;
                        recover(packed, [&AS_IT_IS, recovery(&OF_ROW, kx)], at, step, run);
                    } else {
                        let tiles = Tiles::new(packed, inputs);
                        let at = |position| tiles.index(position, channel, input);
                        let recoveries = [recovery(&OF_TILE, ky), recovery(&OF_TILE, kx)];
                        recover(packed, recoveries, at, tiles.pair(), run);
                    }
                    (tap, weights) = (tap + length, rest);
                }
            }
            _ => {
                for (weight, tap) in weights.iter_mut().zip(tap..) {
                    *weight = self.weight(packed, channel, ky, tap, kernel);
                }
            }
        }
    }
}

/// Four weights of each `N` bytes.
#[inline(always)]
fn fours<const N: usize>(packed: &[i8], weights: &mut [i8], four: impl Fn(&[i8; N]) -> [i8; 4]) {
    let (packed, _) = packed.as_chunks::<N>();
    for (weights, packed) in weights.chunks_mut(4).zip(packed) {
        weights.iter_mut().zip(four(packed)).for_each(|(place, weight)| *place = weight);
    }
}

fn recovery(of: &'static [Recovery; 3], k: usize) -> &'static Recovery {
    of.get(k).unwrap_or(&AS_IT_IS)
}

/// Weights of consecutive input channels, from how they come in a kernel's column and row. `at` is
/// where a position's is for the first, and two input channels take `step` bytes.
#[inline(always)]
fn recover(
    packed: &[i8],
    [column, row]: [&Recovery; 2],
    at: impl Fn([usize; 2]) -> usize,
    step: usize,
    weights: &mut [i8],
) {
    for (i, weights) in weights.chunks_mut(4).enumerate() {
        let mut sums = [0_i16; 4];
        for &(y, sign_of_row) in column.terms {
            for &(x, sign) in row.terms {
                let first = at([y, x]) + 2 * i * step;
                for (sum, at) in sums.iter_mut().zip([0, step, 2, step + 2]) {
                    let value = packed.get(first + at..first + at + 2).map_or(0, int16);
                    *sum = sum.wrapping_add(value.wrapping_mul(sign * sign_of_row));
                }
            }
        }
        for (weight, sum) in weights.iter_mut().zip(sums) {
            let multiple = sum.wrapping_mul(column.inverse).wrapping_mul(row.inverse);
            *weight = (multiple >> (column.bits + row.bits)) as i8;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn runs_are_the_weights_one_by_one() {
        let (channels, rows, columns) = (6, 3, 3);
        for packing in Packing::ALL {
            for inputs in [1, 3, 4, 8, 21] {
                let kernel = [rows, columns * inputs];
                let mut packed = vec![0; packing.bytes(channels, kernel)];
                let every = || (0..channels).flat_map(|o| (0..rows).map(move |ky| (o, ky)));
                let weight = |o, ky, tap| ((o * 31 + ky * 77 + tap * 53) % 255) as i16 - 127;
                for (o, ky) in every() {
                    for tap in 0..kernel[1] {
                        packing.put(&mut packed, o, ky, tap, kernel, weight(o, ky, tap) as i8);
                    }
                }
                for (o, ky) in every() {
                    for tap in 0..kernel[1] {
                        for length in 0..=kernel[1] - tap {
                            let mut run = vec![0; length];
                            packing.unpack(&packed, o, ky, tap, kernel, &mut run);
                            for (weight_of_run, tap) in run.into_iter().zip(tap..) {
                                assert_eq!(
                                    i16::from(weight_of_run),
                                    weight(o, ky, tap),
                                    "{packing:?}, {inputs} inputs: channel {o}, row {ky}, {tap}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
