//! Convolutions of few columns with AVX-512 VNNI: sums along the weights of an output channel.
//!
//! ```text
//! for each 64 weights of two output channels:         w = w0 w1 w2 w3 … w63      as they lie in the file
//!     for each of up to eight columns:
//!         v = v0 v1 v2 v3 … v63                       the input under them
//!         acc += w0·v0 + w1·v1 + w2·v2 + w3·v3   w4·v4 + …
//! then for each column:
//!     sum = the sixteen parts of acc, for sixteen output channels together
//! ```
//!
//! The other loop has a channel in each lane, so it transposes weights before it multiplies. That costs
//! about 1.6 instructions a weight, and adding the parts here about 60 for each column.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_set1_epi8, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_sub_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::avx512_vnni::Avx512Vnni;
use super::finish::Block;
use super::{LANES, Lanes, Room, fill, with_count};
use crate::format::Packing;
use crate::ops::conv::Conv;
use crate::ops::{Rows, Shortcut, Window};

/// Number of columns of a block.
const COLUMNS: usize = 8;
/// Number of weights in a vector.
const VECTOR: usize = 64;
/// Number of values of the input under a block.
const WINDOW: usize = 16 * 1024;
/// Number of weights of an output channel for each column from which on this loop is used: chosen by
/// timing whole networks on a Zen 4.
const WEIGHTS_A_COLUMN: usize = 80;

/// How a block's weights lie over its values.
#[derive(Clone, Copy)]
struct Walk {
    /// Number of kernel rows.
    rows: usize,
    /// Number of weights of a kernel row.
    run: usize,
    /// Distance from the values under a kernel row to those under the next.
    row: usize,
    /// Distance from the values under a column to those under the next.
    column: usize,
}

/// Computes a row, if this is faster than with transposed weights. Otherwise it returns `false`.
///
/// It is not inlined, because its arrays would be on the stack of the other loop, too.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn conv(
    backend: Avx512Vnni,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    output: &mut [i8],
) -> bool {
    let Window { input, output: made, kernel: [kernel_rows, kernel_columns], stride, .. } =
        conv.window;
    let (inputs, channels) = (usize::from(input.channels), usize::from(made.channels));
    let all = usize::from(made.columns);
    let columns = all.min(COLUMNS);
    let pixels = (columns - 1) * stride[1] + kernel_columns;
    let row = pixels * inputs;
    let taps = conv.taps();
    if conv.packing != Packing::Ohwi
        || !inputs.is_multiple_of(4)
        || taps < WEIGHTS_A_COLUMN * all
        || kernel_rows * row + VECTOR > WINDOW
    {
        return false;
    }
    let mut room = Room::<_, { WINDOW / 4 }>::new();
    // Vectors may reach beyond the last value.
    let values = room.zeros((kernel_rows * row + VECTOR) / 4);
    for x in (0..all).step_by(columns) {
        let columns = columns.min(all - x);
        for (row, values) in rows.iter().zip(values.chunks_mut(row / 4)).take(kernel_rows) {
            fill::<Avx512Vnni>(conv, row, x, &(0..inputs), values);
        }
        let walk = Walk {
            rows: kernel_rows,
            run: kernel_columns * inputs,
            row,
            column: stride[1] * inputs,
        };
        for o in (0..channels).step_by(LANES) {
            let weights = &conv.weights[o * taps..channels.min(o + LANES) * taps];
            let mut parts = [[_mm512_setzero_si512(); LANES]; COLUMNS];
            for (two, weights) in weights.chunks(2 * taps).enumerate() {
                let values = values.as_flattened();
                let second = weights.get(taps..).filter(|second| !second.is_empty());
                let pair = [&weights[..taps], second.unwrap_or(weights)];
                with_count!(columns, N => {
                    let sums = products::<N>(pair, values, walk);
                    for (parts, [first, second]) in parts.iter_mut().zip(sums) {
                        parts[2 * two] = first;
                        parts[2 * two + 1] = second;
                    }
                });
            }
            let mut sums = [[0; LANES]; COLUMNS];
            for (sums, parts) in sums.iter_mut().zip(&parts).take(columns) {
                *sums = added(parts);
            }
            let block = Block::new(conv, o, &[0; LANES]);
            block.finish(backend, conv, &sums[..columns], shortcut, x, output);
        }
    }
    true
}

/// The parts of the sums of two output channels at adjacent columns; `values` begins under the first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn products<const N: usize>(weights: [&[i8]; 2], values: &[u8], walk: Walk) -> [[__m512i; 2]; N] {
    let Walk { rows, run, row, column } = walk;
    assert!(weights.iter().all(|weights| weights.len() >= rows * run));
    assert!(values.len() >= (rows - 1) * row + (N - 1) * column + run + VECTOR);
    // Values are unsigned: activations + 128.
    let unsigned = _mm512_set1_epi8(i8::MIN);
    let mut too_much = [_mm512_setzero_si512(); 2];
    let mut acc = [[_mm512_setzero_si512(); 2]; N];
    for ky in 0..rows {
        for start in (0..run).step_by(VECTOR) {
            let there = u64::MAX >> (VECTOR - (run - start).min(VECTOR));
            let pair = weights.map(|weights| {
                let weights = weights.as_ptr().wrapping_add(ky * run + start);
                // SAFETY: only the bytes of `there` are read, which end with the kernel row, and
                // all rows are in `weights`, by the assertion.
                unsafe { _mm512_maskz_loadu_epi8(there, weights) }
            });
            for (too_much, weights) in too_much.iter_mut().zip(pair) {
                *too_much = _mm512_dpbusd_epi32(*too_much, unsigned, weights);
            }
            for (n, acc) in acc.iter_mut().enumerate() {
                let values = values.as_ptr().wrapping_add(ky * row + n * column + start);
                // SAFETY: a vector that begins in the last run of the last column ends in
                // `values`, by the assertion.
                let values = unsafe { _mm512_loadu_si512(values.cast()) };
                for (acc, weights) in acc.iter_mut().zip(pair) {
                    *acc = _mm512_dpbusd_epi32(*acc, values, weights);
                }
            }
        }
    }
    for acc in &mut acc {
        for (acc, too_much) in acc.iter_mut().zip(too_much) {
            *acc = _mm512_sub_epi32(*acc, too_much);
        }
    }
    acc
}

/// The sum of the lanes of each vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn added(parts: &[__m512i; LANES]) -> Lanes {
    // In each quarter of 128 bits: two sums of two lanes, for two vectors.
    let mut twos = [_mm512_setzero_si512(); 8];
    for (sum, pair) in twos.iter_mut().zip(parts.as_chunks::<2>().0) {
        let [a, b] = *pair;
        *sum = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    // In each quarter: the sum of its four lanes, for four vectors.
    let mut fours = [_mm512_setzero_si512(); 4];
    for (sum, pair) in fours.iter_mut().zip(twos.as_chunks::<2>().0) {
        let [a, b] = *pair;
        *sum = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    // Quarters 0 and 1, and 2 and 3, of two such vectors; then of all.
    let [a, b, c, d] = fours;
    zerocopy::transmute!(quarters(quarters(a, b), quarters(c, d)))
}

/// The sums of quarters 0 and 1, and of 2 and 3, of `a` and of `b`.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters(a: __m512i, b: __m512i) -> __m512i {
    let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
    let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
    _mm512_add_epi32(even, odd)
}
