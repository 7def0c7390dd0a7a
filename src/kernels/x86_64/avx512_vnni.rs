//! AVX-512 VNNI: four products of bytes in each lane, with one unsigned factor.
//!
//! ```text
//! for each four input channels under the kernel:
//!     w = a0 a1 a2 a3 b0 b1 b2 b3 … p3            of sixteen output channels
//!     for each of eight columns:
//!         v = v0 v1 v2 v3 v0 v1 v2 v3 v0 …        broadcast
//!         acc += a0·v0 + a1·v1 + a2·v2 + a3·v3   b0·v0 + b1·v1 + b2·v2 + b3·v3   …
//! ```
//!
//! The values are unsigned: activations + 128. Sums are therefore too large by 128 · Σ weights,
//! which [`correction`](Vectors::correction) compensates.

use core::arch::x86_64::{
    __m512i, _mm_set1_epi8, _mm_xor_si128, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_cvtepi32_epi8, _mm512_cvtepu8_epi32, _mm512_dpbusd_epi32, _mm512_mask_add_epi32,
    _mm512_mask_blend_epi32, _mm512_maskz_loadu_epi8, _mm512_max_epi32, _mm512_min_epi32,
    _mm512_movepi32_mask, _mm512_mul_epi32, _mm512_permutex2var_epi32, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_i32x4,
    _mm512_slli_epi64, _mm512_sllv_epi32, _mm512_srav_epi32, _mm512_srli_epi64, _mm512_sub_epi32,
    _mm512_test_epi32_mask, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use zerocopy::little_endian::I32;

use super::{BLOCKS, Four, LANES, Lanes, Vectors, Walk, with_count, with_features};
use crate::quant::{Clamp, Requantizers};

/// Number of columns whose sums are in registers.
const COLUMNS: usize = 8;

/// The backend for x86-64 with AVX-512 VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni(());

cpufeatures::new!(avx512, "avx512f", "avx512bw", "avx512dq", "avx512vl");

impl Avx512Vnni {
    /// The backend, if this core has the instructions, and the system allows their use.
    pub fn detect() -> Option<Self> {
        // Intel's manual, CPUID: leaf 7, ECX, bit 11. `avx512` has already read leaf 7.
        let vnni = || core::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 11) != 0;
        (avx512::get() && vnni()).then_some(Self(()))
    }
}

with_features!(Avx512Vnni, AVX512_VNNI, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

impl Vectors for Avx512Vnni {
    type Value = u8;

    #[inline(always)]
    fn value(activation: i8) -> u8 {
        activation as u8 ^ 0x80
    }

    #[inline(always)]
    fn terms(self, table: &[I32; 256], bytes: [i8; LANES]) -> Lanes {
        // SAFETY: `self` is the proof that the core has all that `detect` asks for: AVX-512 F, BW, DQ,
        // VL and VNNI.
        unsafe { terms(table, bytes) }
    }

    #[inline(always)]
    fn clamp(self, values: &Lanes, to: Clamp) -> [i8; LANES] {
        // SAFETY: as before.
        unsafe { clamp(values, to) }
    }

    #[inline(always)]
    fn requantize(self, by: &Requantizers<LANES>, values: &Lanes) -> Lanes {
        // SAFETY: as before.
        unsafe { requantize(by, values) }
    }

    #[inline(always)]
    fn transpose(self, weights: &[i8], step: usize, runs: [usize; 2], fours: &mut [Four]) {
        // SAFETY: as before.
        unsafe { transpose(weights, step, runs, fours) }
    }

    #[inline(always)]
    fn multiply(
        self,
        weights: &[Four],
        values: &[u8],
        walk: Walk,
        sums: [&mut [Lanes]; BLOCKS],
        corrections: Option<&mut [Lanes; BLOCKS]>,
    ) {
        // SAFETY: as before.
        unsafe { multiply(weights, values, walk, sums, corrections) }
    }
}

/// See [`Vectors::multiply`].
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply(
    weights: &[Four],
    values: &[u8],
    walk: Walk,
    [first, second]: [&mut [Lanes]; BLOCKS],
    mut corrections: Option<&mut [Lanes; BLOCKS]>,
) {
    if second.is_empty() {
        for (n, sums) in first.chunks_mut(COLUMNS).enumerate() {
            let values = &values[n * COLUMNS * walk.column..];
            let corrections = corrections.take().and_then(|all| all.first_chunk_mut());
            with_count!(sums.len(), N => if let Some(sums) = sums.first_chunk_mut::<N>() {
                columns([weights], values, walk, [sums], corrections);
            });
        }
        return;
    }
    let (a, b) = weights.split_at(weights.len() / 2);
    let pairs = first.chunks_mut(COLUMNS).zip(second.chunks_mut(COLUMNS));
    for (n, (first, second)) in pairs.enumerate() {
        let values = &values[n * COLUMNS * walk.column..];
        let corrections = corrections.take();
        with_count!(first.len(), N => {
            let sums = (first.first_chunk_mut::<N>(), second.first_chunk_mut::<N>());
            if let (Some(first), Some(second)) = sums {
                columns([a, b], values, walk, [first, second], corrections);
            }
        });
    }
}

/// See [`Vectors::terms`].
#[inline]
#[target_feature(enable = "avx512f")]
fn terms(table: &[I32; 256], bytes: [i8; LANES]) -> Lanes {
    let index = _mm_xor_si128(zerocopy::transmute!(bytes), _mm_set1_epi8(i8::MIN));
    let index = _mm512_cvtepu8_epi32(index);
    // Bits 0 to 4 select one of 32 numbers, the others one of eight such parts of the table.
    let mut selected = [_mm512_setzero_si512(); 8];
    for (selected, part) in selected.iter_mut().zip(table.as_chunks::<32>().0) {
        let [first, second]: [__m512i; 2] = zerocopy::transmute!(*part);
        *selected = _mm512_permutex2var_epi32(first, index, second);
    }
    for bit in [1 << 5, 1 << 6, 1 << 7] {
        let is_set = _mm512_test_epi32_mask(index, _mm512_set1_epi32(bit));
        for part in 0..selected.len() / 2 {
            let [clear, set] = [selected[2 * part], selected[2 * part + 1]];
            selected[part] = _mm512_mask_blend_epi32(is_set, clear, set);
        }
    }
    zerocopy::transmute!(selected[0])
}

/// See [`Vectors::clamp`].
#[inline]
#[target_feature(enable = "avx512f")]
fn clamp(values: &Lanes, to: Clamp) -> [i8; LANES] {
    let [min, max] = [to.min, to.max].map(|end| _mm512_set1_epi32(end.into()));
    let values = _mm512_min_epi32(_mm512_max_epi32(zerocopy::transmute!(*values), min), max);
    zerocopy::transmute!(_mm512_cvtepi32_epi8(values))
}

/// See [`Vectors::requantize`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn requantize(by: &Requantizers<LANES>, values: &Lanes) -> Lanes {
    let values: __m512i = zerocopy::transmute!(*values);
    let values = _mm512_sllv_epi32(values, zerocopy::transmute!(by.left));
    let mantissas: __m512i = zerocopy::transmute!(by.mantissa);
    // Products of 64 bits, of the lanes with even numbers and of the others.
    let half = _mm512_set1_epi64(1 << 30);
    let even = _mm512_add_epi64(_mm512_mul_epi32(values, mantissas), half);
    let [values, mantissas] = [values, mantissas].map(|lanes| _mm512_srli_epi64::<32>(lanes));
    let odd = _mm512_add_epi64(_mm512_mul_epi32(values, mantissas), half);
    // Bits 31 to 62 of each.
    let [even, odd] = [_mm512_srli_epi64::<31>(even), _mm512_slli_epi64::<1>(odd)];
    let high = _mm512_mask_blend_epi32(0xaaaa, even, odd);
    let rounded = _mm512_add_epi32(high, zerocopy::transmute!(by.half));
    let below_zero = _mm512_movepi32_mask(high);
    let rounds = zerocopy::transmute!(by.rounds);
    let rounded = _mm512_mask_add_epi32(rounded, below_zero, rounded, rounds);
    zerocopy::transmute!(_mm512_srav_epi32(rounded, zerocopy::transmute!(by.right)))
}

/// See [`Vectors::transpose`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn transpose(weights: &[i8], step: usize, [lanes, length]: [usize; 2], fours: &mut [Four]) {
    assert!(weights.len() >= (lanes - 1) * step + length && fours.len() == length.div_ceil(4));
    for (n, fours) in fours.chunks_mut(LANES).enumerate() {
        let start = n * size_of::<Four>();
        let there = u64::MAX >> (64 - (length - start).min(64));
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (lane, row) in rows.iter_mut().enumerate() {
            if lane < lanes {
                let weights = weights.as_ptr().wrapping_add(lane * step + start);
                // SAFETY: only the bytes of `there` are read. There is at least one, because `start` is
                // less than `length` by the assertion on `fours`; and they end at
                // `lane * step + length` at the latest, which is in `weights` by the other assertion.
                *row = unsafe { _mm512_maskz_loadu_epi8(there, weights) };
            }
        }
        // Pairs of rows, then fours of rows, interleaved in each quarter of 128 bits.
        let mut pairs = rows;
        for (pair, row) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
            *pair = [_mm512_unpacklo_epi32(row[0], row[1]), _mm512_unpackhi_epi32(row[0], row[1])];
        }
        let mut quads = pairs;
        for (quad, pair) in quads.as_chunks_mut::<4>().0.iter_mut().zip(pairs.as_chunks::<4>().0) {
            *quad = [
                _mm512_unpacklo_epi64(pair[0], pair[2]),
                _mm512_unpackhi_epi64(pair[0], pair[2]),
                _mm512_unpacklo_epi64(pair[1], pair[3]),
                _mm512_unpackhi_epi64(pair[1], pair[3]),
            ];
        }
        // Quarter q of `quads[4 * r + i]` has four `4 * q + i` of rows `4 * r` to `4 * r + 3`.
        let mut columns = rows;
        for i in 0..4 {
            let [a, b] = [quads[i], quads[i + 4]];
            let [c, d] = [quads[i + 8], quads[i + 12]];
            let first = _mm512_shuffle_i32x4::<0b01_00_01_00>(a, b);
            let second = _mm512_shuffle_i32x4::<0b01_00_01_00>(c, d);
            columns[i] = _mm512_shuffle_i32x4::<0b10_00_10_00>(first, second);
            columns[i + 4] = _mm512_shuffle_i32x4::<0b11_01_11_01>(first, second);
            let first = _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b);
            let second = _mm512_shuffle_i32x4::<0b11_10_11_10>(c, d);
            columns[i + 8] = _mm512_shuffle_i32x4::<0b10_00_10_00>(first, second);
            columns[i + 12] = _mm512_shuffle_i32x4::<0b11_01_11_01>(first, second);
        }
        let columns: [Four; LANES] = zerocopy::transmute!(columns);
        match <&mut [Four; LANES]>::try_from(&mut *fours) {
            Ok(fours) => *fours = columns,
            Err(_) => {
                for (four, column) in fours.iter_mut().zip(columns) {
                    *four = column;
                }
            }
        }
    }
}

/// [`multiply`] for `N` columns and `B` blocks of output channels.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn columns<const N: usize, const B: usize>(
    weights: [&[Four]; B],
    values: &[u8],
    walk: Walk,
    sums: [&mut [Lanes; N]; B],
    corrections: Option<&mut [Lanes; B]>,
) {
    let acc = match corrections {
        None => products::<N, B, false>(weights, values, walk).0,
        Some(corrections) => {
            let (acc, too_much) = products::<N, B, true>(weights, values, walk);
            for (correction, too_much) in corrections.iter_mut().zip(too_much) {
                let before: __m512i = zerocopy::transmute!(*correction);
                *correction = zerocopy::transmute!(_mm512_sub_epi32(before, too_much));
            }
            acc
        }
    };
    for (sums, acc) in sums.into_iter().zip(acc) {
        for (sums, acc) in sums.iter_mut().zip(acc) {
            let before: __m512i = zerocopy::transmute!(*sums);
            *sums = zerocopy::transmute!(_mm512_add_epi32(before, acc));
        }
    }
}

/// The sums of products at `N` columns, of `B` blocks of output channels; with `CORRECTS` also those of the
/// weights and 128.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn products<const N: usize, const B: usize, const CORRECTS: bool>(
    weights: [&[Four]; B],
    values: &[u8],
    walk: Walk,
) -> ([[__m512i; N]; B], [__m512i; B]) {
    // The unsigned value 128.
    let unsigned = _mm512_set1_epi8(i8::MIN);
    let mut too_much = [_mm512_setzero_si512(); B];
    let mut acc = [[_mm512_setzero_si512(); N]; B];
    let rows = weights[0].len() / walk.run;
    for row in 0..rows {
        // Not mapped: closures would be compiled without the vector instructions.
        let mut runs: [&[Four]; B] = [&[]; B];
        for (run, weights) in runs.iter_mut().zip(weights) {
            *run = &weights[row * walk.run..][..walk.run];
        }
        let mut columns: [&[[u8; 4]]; N] = [&[]; N];
        for (n, column) in columns.iter_mut().enumerate() {
            let values = &values[row * walk.row + n * walk.column..][..4 * walk.run];
            *column = &values.as_chunks().0[..walk.run];
        }
        for i in 0..walk.run {
            let mut weights = [_mm512_setzero_si512(); B];
            for (weights, run) in weights.iter_mut().zip(runs) {
                *weights = vector(&run[i]);
            }
            if CORRECTS {
                for (too_much, weights) in too_much.iter_mut().zip(weights) {
                    *too_much = _mm512_dpbusd_epi32(*too_much, unsigned, weights);
                }
            }
            for (n, column) in columns.iter().enumerate() {
                let values = _mm512_set1_epi32(i32::from_le_bytes(column[i]));
                for (acc, weights) in acc.iter_mut().zip(weights) {
                    acc[n] = _mm512_dpbusd_epi32(acc[n], values, weights);
                }
            }
        }
    }
    (acc, too_much)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(weights: &Four) -> __m512i {
    zerocopy::transmute!(*weights)
}
