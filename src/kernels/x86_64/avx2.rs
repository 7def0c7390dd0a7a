//! AVX2: products of int16.
//!
//! ```text
//! for each four input channels under the kernel:
//!     for each four output channels a b c d:
//!         w = a0 a1 a2 a3 b0 b1 b2 b3 c0 …        widened from int8
//!         for each of two columns:
//!             v = v0 v1 v2 v3 v0 v1 v2 v3 v0 …    broadcast
//!             acc += a0·v0 + a1·v1   a2·v2 + a3·v3   b0·v0 + b1·v1   …
//! ```
//!
//! The two sums of a channel are added at the end. Registers hold eight vectors of sums, two of
//! values and one of weights.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16,
    _mm256_permute2x128_si256, _mm256_permute4x64_epi64, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use zerocopy::little_endian::I32;

use super::{BLOCKS, Four, LANES, Lanes, Vectors, Walk, with_features};
use crate::quant::{Clamp, Requantizers};

/// Number of output channels whose weights are transposed together.
const EIGHT: usize = 8;

/// The backend for x86-64 with AVX2.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

cpufeatures::new!(avx2, "avx2");

impl Avx2 {
    /// The backend, if this core has the instructions.
    pub fn detect() -> Option<Self> {
        avx2::get().then_some(Self(()))
    }
}

with_features!(Avx2, AVX2, "avx2");

impl Vectors for Avx2 {
    type Value = i16;

    #[inline(always)]
    fn value(activation: i8) -> i16 {
        activation.into()
    }

    #[inline(always)]
    fn terms(self, table: &[I32; 256], bytes: [i8; LANES]) -> Lanes {
        let mut terms = [0; LANES];
        for (term, byte) in terms.iter_mut().zip(bytes) {
            *term = table[usize::from(byte as u8 ^ 0x80)].get();
        }
        terms
    }

    #[inline(always)]
    fn clamp(self, values: &Lanes, to: Clamp) -> [i8; LANES] {
        let mut clamped = [0; LANES];
        for (place, value) in clamped.iter_mut().zip(values) {
            *place = to.apply(*value);
        }
        clamped
    }

    #[inline(always)]
    fn requantize(self, by: &Requantizers<LANES>, values: &Lanes) -> Lanes {
        by.apply(values)
    }

    #[inline(always)]
    fn transpose(self, weights: &[i8], step: usize, runs: [usize; 2], fours: &mut [Four]) {
        // SAFETY: `self` is the proof that the core has AVX2.
        unsafe { transpose(weights, step, runs, fours) }
    }

    #[inline(always)]
    fn multiply(
        self,
        weights: &[Four],
        values: &[i16],
        walk: Walk,
        sums: [&mut [Lanes]; BLOCKS],
        _: Option<&mut [Lanes; BLOCKS]>,
    ) {
        let block = if sums[1].is_empty() { weights.len() } else { weights.len() / BLOCKS };
        for (sums, weights) in sums.into_iter().zip(weights.chunks(block)) {
            let (pairs, rest) = sums.as_chunks_mut::<2>();
            let mut column = 0;
            for pair in pairs {
                // SAFETY: as before.
                unsafe { multiply(weights, &values[column..], walk, pair) }
                column += 2 * walk.column;
            }
            for one in rest.as_chunks_mut::<1>().0 {
                // SAFETY: as before.
                unsafe { multiply(weights, &values[column..], walk, one) }
            }
        }
    }
}

/// See [`Vectors::transpose`].
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(weights: &[i8], step: usize, [lanes, length]: [usize; 2], fours: &mut [Four]) {
    for (n, fours) in fours.chunks_mut(EIGHT).enumerate() {
        let start = n * size_of::<[[i8; 4]; EIGHT]>();
        let bytes = (length - start).min(4 * EIGHT);
        for half in 0..LANES / EIGHT {
            let mut rows = [_mm256_setzero_si256(); EIGHT];
            for (lane, row) in rows.iter_mut().enumerate() {
                let lane = half * EIGHT + lane;
                if lane < lanes {
                    let weights = &weights[lane * step + start..][..bytes];
                    let mut padded = [0; 4 * EIGHT];
                    let whole: Result<&[i8; 4 * EIGHT], _> = weights.try_into();
                    *row = match whole {
                        Ok(whole) => zerocopy::transmute!(*whole),
                        Err(_) => {
                            padded[..bytes].copy_from_slice(weights);
                            zerocopy::transmute!(padded)
                        }
                    };
                }
            }
            // Pairs of rows, then fours of rows, interleaved in each half of 128 bits.
            let mut pairs = rows;
            for (pair, row) in pairs.as_chunks_mut().0.iter_mut().zip(rows.as_chunks::<2>().0) {
                *pair =
                    [_mm256_unpacklo_epi32(row[0], row[1]), _mm256_unpackhi_epi32(row[0], row[1])];
            }
            let mut quads = pairs;
            for (quad, pair) in quads.as_chunks_mut().0.iter_mut().zip(pairs.as_chunks::<4>().0) {
                *quad = [
                    _mm256_unpacklo_epi64(pair[0], pair[2]),
                    _mm256_unpackhi_epi64(pair[0], pair[2]),
                    _mm256_unpacklo_epi64(pair[1], pair[3]),
                    _mm256_unpackhi_epi64(pair[1], pair[3]),
                ];
            }
            // Half h of `quads[4 * r + i]` has four `4 * h + i` of rows `4 * r` to `4 * r + 3`.
            let mut columns = rows;
            for i in 0..4 {
                columns[i] = _mm256_permute2x128_si256::<0x20>(quads[i], quads[i + 4]);
                columns[i + 4] = _mm256_permute2x128_si256::<0x31>(quads[i], quads[i + 4]);
            }
            for (four, column) in fours.iter_mut().zip(columns) {
                let column: [[i8; 4]; EIGHT] = zerocopy::transmute!(column);
                four[half * EIGHT..][..EIGHT].copy_from_slice(&column);
            }
        }
    }
}

/// See [`Vectors::multiply`].
#[inline]
#[target_feature(enable = "avx2")]
fn multiply<const N: usize>(weights: &[Four], values: &[i16], walk: Walk, sums: &mut [Lanes; N]) {
    let mut acc = [[_mm256_setzero_si256(); 4]; N];
    for (row, weights) in weights.chunks_exact(walk.run).enumerate() {
        let mut columns: [&[[i16; 4]]; N] = [&[]; N];
        for (n, column) in columns.iter_mut().enumerate() {
            let values = &values[row * walk.row + n * walk.column..][..4 * weights.len()];
            *column = &values.as_chunks().0[..weights.len()];
        }
        for (i, weights) in weights.iter().enumerate() {
            let mut values = [_mm256_setzero_si256(); N];
            for (values, column) in values.iter_mut().zip(columns) {
                *values = broadcast(column[i]);
            }
            let (fours, _) = weights.as_chunks::<4>();
            for (quarter, four) in fours.iter().enumerate() {
                let weights = widen(four);
                for (acc, values) in acc.iter_mut().zip(values) {
                    let products = _mm256_madd_epi16(weights, values);
                    acc[quarter] = _mm256_add_epi32(acc[quarter], products);
                }
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        let (eights, _) = sums.as_chunks_mut::<8>();
        for (sums, halves) in eights.iter_mut().zip(acc.as_chunks::<2>().0) {
            // Channels 0 1 4 5, 2 3 6 7 of eight.
            let added = _mm256_hadd_epi32(halves[0], halves[1]);
            let added = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
            let added: [i32; 8] = zerocopy::transmute!(added);
            for (sum, more) in sums.iter_mut().zip(added) {
                *sum = sum.wrapping_add(more);
            }
        }
    }
}

/// Four values in each 64 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(values: [i16; 4]) -> __m256i {
    _mm256_set1_epi64x(zerocopy::transmute!(values))
}

/// Four weights of each of four channels, as int16.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(weights: &[[i8; 4]; 4]) -> __m256i {
    _mm256_cvtepi8_epi16(zerocopy::transmute!(*weights))
}
