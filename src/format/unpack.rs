//! Unpacks consecutive weights, for kernels that need another order.

use core::array::from_fn;
use core::ops::Range;

use super::tiles::TILE_KERNEL;
use super::{EIGHT, Packing, SIDE_BY_SIDE, TILE_TRANSFORM, VECTOR, VECTOR_CHANNELS};

/// How one of three weights is recovered from the six values of the transform: a sum of some of
/// them, with signs, is a multiple of the weight.
struct Recovery {
    /// Position and sign.
    terms: &'static [(usize, i16)],
    /// The factor of the multiple, as a power of two.
    bits: u32,
}

/// For [`TILE_TRANSFORM`](super::TILE_TRANSFORM): the multiples are once, twice and once the
/// weights.
const OF_TILE: [Recovery; 3] = [
    Recovery { terms: &[(0, 1)], bits: 0 },
    Recovery { terms: &[(1, 1), (2, -1)], bits: 1 },
    Recovery { terms: &[(5, 1)], bits: 0 },
];

impl Packing {
    /// Unpacks the weights `taps` of kernel row `ky` for the output channels `channels`: each
    /// element of `fours` has four weights of each channel. They are the values that
    /// [`weight`](Self::weight) returns one by one. The first channel is a multiple of eight.
    /// Missing channels and weights are zero.
    #[inline]
    pub fn unpack<const N: usize>(
        self,
        packed: &[i8],
        channels: Range<usize>,
        ky: usize,
        taps: Range<usize>,
        kernel @ [_, row]: [usize; 2],
        fours: &mut [[[i8; 4]; N]],
    ) {
        let from = |start: usize| packed.get(start..).unwrap_or(&[]);
        // If the packing is a constant, the compiler knows its layout.
        let at = |packing: Self, channel, tap| {
            packing.layout().weight(packed.len(), channel, ky, tap, kernel)
        };
        // The offset of the first channel's weights, and the distance to those of the channel `by`
        // further.
        let begin = |packing: Self, by: usize| {
            let of = |channel| at(packing, channel, taps.start);
            let first = of(channels.start);
            (first, of(channels.start + by).saturating_sub(first))
        };
        let lanes = || channels.clone().enumerate();
        if channels.len() < N {
            fours.fill([[0; 4]; N]);
        }
        let in_fours = taps.start.is_multiple_of(4) && taps.len().is_multiple_of(4);
        // Whether the weights of each four belong to four input channels, if the kernel has three
        // columns.
        let inputs = (row / 3).max(1);
        let in_column = taps.start % inputs + taps.len() <= inputs;
        let of_inputs = (taps.start % inputs).is_multiple_of(4)
            && (taps.end % inputs).is_multiple_of(4)
            && (in_column || inputs.is_multiple_of(4));
        // Whether the channels are multiples of four, without padding.
        let filled = inputs.is_multiple_of(4) && channels.len().is_multiple_of(4);
        match self {
            Self::Pairs if in_fours => {
                let (first, step) = begin(Self::Pairs, 2);
                for lane in (0..channels.len()).step_by(2) {
                    let pairs = from(first + lane / 2 * step).as_chunks().0;
                    let places = fours.iter_mut().filter_map(|four| four.get_mut(lane..lane + 2));
                    for (place, &[a0, b0, a2, b2, a1, b1, a3, b3]) in places.zip(pairs) {
                        place.copy_from_slice(&[[a0, a1, a2, a3], [b0, b1, b2, b3]]);
                    }
                }
            }
            Self::WidePairs if in_fours => {
                let (first, step) = begin(Self::WidePairs, 2);
                for lane in (0..channels.len()).step_by(2) {
                    let (pairs, _) = from(first + lane / 2 * step).as_chunks::<16>();
                    let places = fours.iter_mut().filter_map(|four| four.get_mut(lane..lane + 2));
                    for (place, w) in places.zip(pairs) {
                        let a = [w[0], w[8], w[2], w[10]];
                        place.copy_from_slice(&[a, [w[4], w[12], w[6], w[14]]]);
                    }
                }
            }
            Self::Eights if taps.len().is_multiple_of(4) => {
                for (lane, channel) in lanes().step_by(EIGHT) {
                    let run = from(at(Self::Eights, channel, taps.start));
                    let places = fours.iter_mut().filter_map(|four| four.get_mut(lane..));
                    for (places, weights) in places.zip(run.as_chunks::<{ 4 * EIGHT }>().0) {
                        for (o, place) in places.iter_mut().take(EIGHT).enumerate() {
                            let at = |i: usize| weights[i * EIGHT + o];
                            *place = [at(0), at(1), at(2), at(3)];
                        }
                    }
                }
            }
            Self::Vectors if in_fours => {
                let (first, step) = begin(Self::Vectors, VECTOR_CHANNELS);
                for (four, tap) in fours.iter_mut().zip(taps.clone().step_by(4)) {
                    // Each vector of a channel is followed by those of the other channels.
                    let vectors = tap / VECTOR - taps.start / VECTOR;
                    let start = first + (tap - taps.start) + vectors * VECTOR_BESIDE;
                    for (lane, place) in four.iter_mut().enumerate().take(channels.len()) {
                        let (four, beside) = (lane / VECTOR_CHANNELS, lane % VECTOR_CHANNELS);
                        let weights = from(start + four * step + beside * VECTOR).first_chunk();
                        if let Some(weights) = weights {
                            *place = *weights;
                        }
                    }
                }
            }
            Self::Hwio | Self::HwioTall if in_fours => {
                for (four, tap) in fours.iter_mut().zip(taps.clone().step_by(4)) {
                    let [first, second] = [tap, tap + 2]
                        .map(|tap| from(at(Self::Hwio, channels.start, tap)).as_chunks().0);
                    let pairs = first.iter().zip(second).take(channels.len());
                    for (place, (&[w0, w1], &[w2, w3])) in four.iter_mut().zip(pairs) {
                        *place = [w0, w1, w2, w3];
                    }
                }
            }
            Self::Winograd | Self::WinogradInt8 | Self::WinogradInt8Tall | Self::HwioTiles
                if of_inputs && (self != Self::HwioTiles || filled) =>
            {
                let (mut tap, mut fours) = (taps.start, fours);
                while tap < taps.end {
                    let (kx, input) = (tap / inputs, tap % inputs);
                    let length = (taps.end - tap).min(inputs - input);
                    let Some((run, rest)) = fours.split_at_mut_checked(length.div_ceil(4)) else {
                        return;
                    };
                    if self.is_winograd_int8() {
                        for (lane, channel) in lanes() {
                            gather(from(at(Self::WinogradInt8, channel, tap)), lane, run);
                        }
                        (tap, fours) = (tap + length, rest);
                        continue;
                    }
                    for (lane, channel) in lanes().step_by(SIDE_BY_SIDE) {
                        let at = |position, input| {
                            self.layout().place(packed.len(), channel, position, input, kernel)
                        };
                        // The index of the second pair of input channels.
                        let in_order = self == Self::HwioTiles;
                        let second = if in_order { input + 2 } else { input + 1 };
                        let first = at(0, input);
                        let at = Transformed {
                            first,
                            position: at(1, input) - first,
                            pair: at(0, second) - first,
                        };
                        let [Some(column), Some(row)] = [OF_TILE.get(ky), OF_TILE.get(kx)] else {
                            return;
                        };
                        let recoveries = [column, row];
                        match in_order {
                            true => recover::<_, true>(packed, at, recoveries, lane, run),
                            false => recover::<_, false>(packed, at, recoveries, lane, run),
                        }
                    }
                    (tap, fours) = (tap + length, rest);
                }
            }
            _ => {
                for (four, first) in fours.iter_mut().zip(taps.clone().step_by(4)) {
                    for ((_, channel), weights) in lanes().zip(four) {
                        *weights = from_fn(|i| match first + i {
                            tap if tap < taps.end => self.weight(packed, channel, ky, tap, kernel),
                            _ => 0,
                        });
                    }
                }
            }
        }
    }
}

/// Number of bytes of a vector of the other channels that are interleaved with one.
const VECTOR_BESIDE: usize = (VECTOR_CHANNELS - 1) * VECTOR;

/// Reads one weight of each kernel of an output channel, if kernels are stored without the
/// transform.
#[inline]
fn gather<const N: usize>(packed: &[i8], lane: usize, fours: &mut [[[i8; 4]; N]]) {
    // The kernels of two input channels of four output channels lie together.
    const PAIR: usize = 2 * SIDE_BY_SIDE * TILE_KERNEL;
    let places = fours.iter_mut().filter_map(|four| four.get_mut(lane));
    for (place, weights) in places.zip(packed.chunks(2 * PAIR)) {
        if let Some(weights) = weights.first_chunk::<{ PAIR + TILE_KERNEL + 1 }>() {
            *place = [weights[0], weights[PAIR], weights[TILE_KERNEL], weights[PAIR + TILE_KERNEL]];
        }
    }
}

/// Where transformed weights of four output channels lie, in bytes.
#[derive(Clone, Copy)]
struct Transformed {
    /// Offset of the first.
    first: usize,
    /// Distance from one position to the next.
    position: usize,
    /// Distance from two input channels to the next two.
    pair: usize,
}

/// Number of bytes of two input channels of four output channels.
const PAIR: usize = 4 * SIDE_BY_SIDE;

/// Recovers weights of four output channels and consecutive input channels from their recoveries in
/// a kernel's column and row. With `IN_ORDER`, a pair has consecutive input channels; otherwise the
/// first pair has the first and third of four.
#[inline]
fn recover<const N: usize, const IN_ORDER: bool>(
    packed: &[i8],
    at: Transformed,
    [column, row]: [&Recovery; 2],
    lane: usize,
    fours: &mut [[[i8; 4]; N]],
) {
    let bits = column.bits + row.bits;
    let mut first = at.first;
    for four in fours {
        // Two pairs of input channels; the two values of an output channel lie side by side.
        let (mut pair, mut other) = ([0; 2 * SIDE_BY_SIDE], [0; 2 * SIDE_BY_SIDE]);
        for &(y, sign_of_row) in column.terms {
            for &(x, sign) in row.terms {
                let start = first + (TILE_TRANSFORM.len() * y + x) * at.position;
                add(packed, start, sign * sign_of_row, &mut pair);
                add(packed, start + at.pair, sign * sign_of_row, &mut other);
            }
        }
        let Some(places) = four.get_mut(lane..lane + SIDE_BY_SIDE) else { return };
        for (k, place) in places.iter_mut().enumerate() {
            let ([a, b], [c, d]) =
                ([pair[2 * k], pair[2 * k + 1]], [other[2 * k], other[2 * k + 1]]);
            let sums: [i16; 4] = if IN_ORDER { [a, b, c, d] } else { [a, c, b, d] };
            for (place, sum) in place.iter_mut().zip(sums) {
                *place = (sum >> bits) as i8;
            }
        }
        first += 2 * at.pair;
    }
}

/// Adds int16 values to sums, multiplied by a sign.
#[inline]
fn add(packed: &[i8], start: usize, sign: i16, sums: &mut [i16; 2 * SIDE_BY_SIDE]) {
    let values = packed.get(start..).and_then(<[i8]>::first_chunk::<PAIR>);
    let Some(values) = values else { return };
    for (sum, value) in sums.iter_mut().zip(values.as_chunks::<2>().0) {
        let value = i16::from_le_bytes([value[0] as u8, value[1] as u8]);
        *sum = sum.wrapping_add(value.wrapping_mul(sign));
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn fours_are_the_weights_one_by_one() {
        const LANES: usize = 8;
        let (channels, rows, columns) = (20, 3, 3);
        for packing in Packing::ALL {
            for inputs in [1, 3, 4, 8, 21] {
                let kernel = [rows, columns * inputs];
                let every = || {
                    let rows = (0..channels).flat_map(|o| (0..rows).map(move |ky| (o, ky)));
                    rows.flat_map(|(o, ky)| (0..kernel[1]).map(move |tap| (o, ky, tap)))
                };
                let mut packed = vec![0; packing.bytes(channels, kernel)];
                let weight = |o, ky, tap| {
                    let weight = (((o * 31 + ky * 77 + tap * 53) % 255) as i16 - 127) as i8;
                    weight >> (8 - packing.bits())
                };
                for (o, ky, tap) in every() {
                    packing.put(&mut packed, o, ky, tap, kernel, weight(o, ky, tap));
                }
                for (o, ky, tap) in every() {
                    if o % LANES != 0 {
                        continue;
                    }
                    for end in tap..=kernel[1] {
                        let taps = tap..end;
                        let mut fours = vec![[[99; 4]; LANES]; taps.len().div_ceil(4)];
                        let lanes = o..channels.min(o + LANES);
                        packing.unpack(&packed, lanes, ky, taps, kernel, &mut fours);
                        for (i, four) in fours.iter().enumerate() {
                            for (lane, weights) in four.iter().enumerate() {
                                for (j, unpacked) in weights.iter().enumerate() {
                                    let (o, tap) = (o + lane, tap + 4 * i + j);
                                    let there = o < channels && tap < end;
                                    let expected = if there { weight(o, ky, tap) } else { 0 };
                                    let of = (packing, inputs, o, ky, tap, end);
                                    assert_eq!(*unpacked, expected, "{of:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
