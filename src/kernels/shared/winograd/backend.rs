//! Winograd's convolution of backends with assembly.

/// [`Tiles`](super::Tiles) of a backend with assembly: functions that transform the values under the
/// tiles, that transform kernels, if there is such a function, that sum products of one span and, if
/// there is such a function, of two, and that make outputs from the sums where `$ordinary` allows
/// it.
macro_rules! winograd_tiles {
    (@spans) => { 1 };
    (@spans $two_spans:path) => { $crate::ops::conv::SPANS };
    (
        $backend:ident, $ordinary:expr,
        transform: $transform:path $(, weights: $weights:path)?,
        multiply: $multiply:path $(, two_spans: $two:path)?, finish: $finish:expr
    ) => {
        impl $crate::kernels::shared::winograd::Tiles for $backend {
            fn transform(
                &self,
                pixels: &[i8],
                inputs: usize,
                values: &mut [$crate::kernels::shared::winograd::Values],
            ) {
                use $crate::ops::conv::{TILE_POSITIONS, UNDER_TILES};
                let there = pixels.len() >= UNDER_TILES * inputs
                    && values.len() >= TILE_POSITIONS * inputs / 2
                    && pixels.as_ptr().addr().is_multiple_of(4);
                if $crate::proved::proved!(there && inputs > 0 && inputs.is_multiple_of(4)) {
                    // SAFETY: as was just checked, `inputs` is a multiple of four and not zero,
                    // each pixel under the tiles has `inputs` bytes, which is a multiple of a word,
                    // and `values` has room for all pairs of them.
                    unsafe { $transform(pixels.as_ptr(), values.as_mut_ptr(), inputs) }
                }
            }

            $(
                fn weights(
                    &self,
                    kernels: &[[i8; $crate::kernels::shared::winograd::KERNEL]],
                    weights: &mut [$crate::kernels::shared::winograd::Weights],
                ) {
                    let pairs = weights.len() / $crate::ops::conv::TILE_POSITIONS;
                    let aligned = weights.as_ptr().addr().is_multiple_of(align_of::<u32>());
                    if $crate::proved::proved!(pairs > 0 && aligned && kernels.len() >= 8 * pairs) {
                        // SAFETY: there are eight kernels for each of `pairs` weights at a
                        // position, and the weights are aligned to words.
                        unsafe { $weights(kernels.as_ptr(), weights.as_mut_ptr(), pairs) }
                    }
                }
            )?

            const AT_ONCE: usize =
                $crate::kernels::shared::winograd::winograd_tiles!(@spans $($two)?);

            // The sums are not cleared, because that takes longer than some of the products.
            type SpanSums = [
                core::mem::MaybeUninit<$crate::kernels::shared::winograd::Sums>;
                $crate::kernels::shared::winograd::winograd_tiles!(@spans $($two)?)
            ];

            fn span_sums() -> Self::SpanSums {
                [const { core::mem::MaybeUninit::uninit() }; _]
            }

            fn multiply<'s>(
                &self,
                values: &[$crate::kernels::shared::winograd::Values],
                weights: &[$crate::kernels::shared::winograd::Weights],
                pairs: usize,
                spans: usize,
                place: &'s mut Self::SpanSums,
            ) -> &'s [$crate::kernels::shared::winograd::Sums] {
                let each = pairs * $crate::ops::conv::TILE_POSITIONS;
                let there = weights.len() >= each
                    && values.len() >= spans * each
                    && weights.as_ptr().addr().is_multiple_of(align_of::<u32>());
                if !$crate::proved::proved!(there && pairs > 0 && pairs.is_multiple_of(2)) {
                    return &[];
                }
                $(
                    if spans == $crate::ops::conv::SPANS {
                        let sums = place.as_mut_ptr().cast();
                        // SAFETY: as below, and the values and the sums of another span follow.
                        unsafe { $two(values.as_ptr(), weights.as_ptr(), pairs, sums) }
                        // SAFETY: the sums of both spans were just written.
                        return unsafe { place.assume_init_ref() };
                    }
                )?
                let [first, ..] = place;
                // SAFETY: for each position there are `pairs` values, an even number and not zero,
                // and the same number of weights, all aligned to words.
                unsafe { $multiply(values.as_ptr(), weights.as_ptr(), pairs, first.as_mut_ptr()) }
                // SAFETY: the sums of all positions were just written.
                core::slice::from_ref(unsafe { first.assume_init_ref() })
            }

            type Ready = $crate::kernels::shared::winograd::Ready;

            fn finish(
                &self,
                span: &$crate::kernels::shared::winograd::Span<'_>,
                ready: &mut Self::Ready,
                sums: &$crate::kernels::shared::winograd::Sums,
                o: usize,
                outputs: &mut $crate::kernels::shared::winograd::TileOutputs<'_>,
            ) {
                use $crate::kernels::shared::winograd::{self as tiles, CHANNELS};
                let there = ready.are_for(span, o, outputs);
                if !there && !ready.finish_all() {
                    let shifts = span.conv.shifts.get(o..).unwrap_or(&[]);
                    if !$ordinary(span.conv, shifts.get(..CHANNELS).unwrap_or(shifts)) {
                        return tiles::finish(span, sums, o, outputs);
                    }
                }
                tiles::finish_by(span, ready, there, sums, o, outputs, $ordinary, |args| {
                    // SAFETY: `finish_by` specifies for what all pointers are valid. If this core
                    // cannot load unaligned words, `$ordinary` has checked that they are aligned.
                    unsafe { $finish(args, sums) }
                });
            }
        }
    };
}

pub(in crate::kernels) use winograd_tiles;
