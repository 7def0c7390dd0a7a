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
    __m512i, _mm512_dpbusd_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_sub_epi32,
};

use super::{Four, Lanes, Vectors, Walk, with_features};

/// The backend for x86-64 with AVX-512 VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni(());

cpufeatures::new!(avx512, "avx512f", "avx512bw", "avx512vl");

impl Avx512Vnni {
    /// The backend, if this core has the instructions, and the system allows their use.
    pub fn detect() -> Option<Self> {
        // Intel's manual, CPUID: leaf 7, ECX, bit 11. `avx512` has already read leaf 7.
        let vnni = || core::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 11) != 0;
        (avx512::get() && vnni()).then_some(Self(()))
    }
}

with_features!(Avx512Vnni, AVX512_VNNI, "avx512f,avx512bw,avx512vl,avx512vnni");

impl Vectors for Avx512Vnni {
    type Value = u8;

    #[inline(always)]
    fn value(activation: i8) -> u8 {
        activation as u8 ^ 0x80
    }

    #[inline(always)]
    fn correction(self, weights: &[Four]) -> Lanes {
        // SAFETY: `self` is the proof that the core has AVX-512 VNNI.
        unsafe { correction(weights) }
    }

    #[inline(always)]
    fn multiply(self, weights: &[Four], values: &[[u8; 4]], walk: Walk, sums: &mut [Lanes]) {
        let (eights, rest) = sums.as_chunks_mut::<8>();
        let (pairs, rest) = rest.as_chunks_mut::<2>();
        let mut column = 0;
        for eight in eights {
            // SAFETY: as before.
            unsafe { multiply(weights, &values[column..], walk, eight) }
            column += 8 * walk.column;
        }
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

/// See [`Vectors::correction`].
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn correction(weights: &[Four]) -> Lanes {
    let mut acc = _mm512_setzero_si512();
    for weights in weights {
        // The unsigned value 128.
        acc = _mm512_dpbusd_epi32(acc, _mm512_set1_epi8(i8::MIN), vector(weights));
    }
    zerocopy::transmute!(_mm512_sub_epi32(_mm512_setzero_si512(), acc))
}

/// See [`Vectors::multiply`].
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply<const N: usize>(
    weights: &[Four],
    values: &[[u8; 4]],
    walk: Walk,
    sums: &mut [Lanes; N],
) {
    let mut acc = [_mm512_setzero_si512(); N];
    for (acc, sums) in acc.iter_mut().zip(&*sums) {
        *acc = zerocopy::transmute!(*sums);
    }
    for (row, weights) in weights.chunks_exact(walk.run).enumerate() {
        let mut columns = [&values[..0]; N];
        for (n, column) in columns.iter_mut().enumerate() {
            *column = &values[row * walk.row + n * walk.column..][..weights.len()];
        }
        for (i, weights) in weights.iter().enumerate() {
            let weights = vector(weights);
            for (acc, column) in acc.iter_mut().zip(columns) {
                let values = _mm512_set1_epi32(i32::from_le_bytes(column[i]));
                *acc = _mm512_dpbusd_epi32(*acc, values, weights);
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        *sums = zerocopy::transmute!(acc);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(weights: &Four) -> __m512i {
    zerocopy::transmute!(*weights)
}
