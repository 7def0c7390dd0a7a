//! Convolutions for cores whose multiplication gives 32 bits: two columns in one product. For
//! weights in [`Packing::Eights`].
//!
//! ```text
//! for each four columns of the output:
//!     patch[tap] = the values x, y under the kernel at two columns, as x + 2¹⁶ y; and at the others
//!     for each output channel:                                                    in assembly
//!         for each two taps, and each two columns:
//!             p = patch[tap] · weight[tap] + patch[tap + 1] · weight[tap + 1]
//!             high += p / 2¹⁶, to the nearest
//!             sum += p
//!         acc[two columns] = bias + sum − 2¹⁶ high, bias + high
//!         output[columns] = finish(acc)
//! ```
//!
//! Two products of int8 are at most 2¹⁵ together, and more than −2¹⁵: so the nearest multiple of
//! 2¹⁶ to *p* is exactly what belongs to the upper column, and nothing is lost. What *sum* has above
//! 32 bits is gone, but so it is in 2¹⁶ *high*.
//!
//! The two columns are in the values and not in the weights, because a value in the patch serves
//! all output channels, and weights stay as they are in the file: a byte each.
//!
//! [`Packing::Eights`]: crate::format::Packing::Eights

use core::ops::Range;
use core::ptr::{null, null_mut};

use zerocopy::FromBytes;
use zerocopy::little_endian::I32;

use super::finish::{self, Finisher, aligned};
use super::patch::{Kernel, fill_edge, numbers};
use crate::format::EIGHT;
use crate::ops::conv::scratch::kept_channels;
use crate::ops::conv::{CHUNK_TAPS, Conv, PATCH_COLUMNS};
use crate::ops::{Rows, Shortcut, int8_mut};
use crate::proved::proved;

/// The values of two columns at two taps.
pub(in crate::kernels) type Columns = [u32; 2];

/// Two taps of a patch.
pub(in crate::kernels) type Taps = [Columns; PATCH_COLUMNS / 2];

/// Assembly that writes the values of two columns `a` and `b` into a patch, to a place of each of
/// its [`Taps`].
///
/// It may be called if `pairs` is not zero, `2 * pairs` bytes can be read at `a` and at `b`, and at
/// `patch` one [`Columns`] can be written, `pairs` times in all, [`Taps`] further on each time.
pub(in crate::kernels) type Widen =
    unsafe extern "C" fn(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize);

/// The assembly of a backend.
pub(in crate::kernels) trait ColumnPairs {
    /// Writes columns into a patch.
    const WIDEN: Widen;

    /// Adds the products of a chunk of taps for a group of output channels, and makes outputs of
    /// the sums, or keeps them. It may be called if each field of the arguments is what [`Args`] says
    /// of it.
    const BLOCKS: unsafe extern "C" fn(&mut Args);

    /// Adds two rows.
    const ADD: AddBytes;

    /// The sums of four columns, from what `BLOCKS` keeps of a channel.
    fn sums(kept: [i32; PATCH_COLUMNS]) -> [i32; PATCH_COLUMNS];
}

/// What the assembly takes: a patch, and output channels one by one.
///
/// Assembly relies on what is said of each field. It moves `weights`, `bias`, `mantissas`, `shifts`,
/// `output`, `shortcut` and `kept` on, and counts `channels` down.
#[repr(C)]
pub(in crate::kernels) struct Args {
    /// `pairs` [`Taps`] can be read.
    pub(in crate::kernels) patch: *const Taps,
    /// Each group of eight channels, or of those that are left, has [`EIGHT`] · 2 · `pairs` bytes
    /// here. `skip` bytes lie between a group's end and the next group.
    pub(in crate::kernels) weights: *const i8,
    /// One at least.
    pub(in crate::kernels) pairs: usize,
    /// Aligned to words, one for each channel.
    pub(in crate::kernels) bias: *const I32,
    /// Unless `parts` has [`KEEP`], aligned to words, one for each channel; likewise `shifts`, a
    /// byte each.
    pub(in crate::kernels) mantissas: *const I32,
    pub(in crate::kernels) shifts: *const i8,
    /// Unless `parts` has [`KEEP`], a byte for each channel can be written, at four columns that are
    /// `stride` bytes apart.
    pub(in crate::kernels) output: *mut i8,
    pub(in crate::kernels) stride: usize,
    /// One at least.
    pub(in crate::kernels) channels: usize,
    /// Behind the requantization: twice the zero point and a half, a join's bits, or an offset.
    pub(in crate::kernels) last: i32,
    /// Null, or aligned to words, 128 of which can be read to both sides, or `STREAM16`: then what
    /// is said of outputs and shortcuts holds likewise `lower` and `shortcut_lower` bytes further on.
    pub(in crate::kernels) table: *const I32,
    /// With a table, a byte for each channel can be read, at four columns that are `shortcut_stride`
    /// bytes apart. It may be the output.
    pub(in crate::kernels) shortcut: *const i8,
    pub(in crate::kernels) shortcut_stride: usize,
    /// If `parts` is not zero, one for each channel can be read and written.
    pub(in crate::kernels) kept: *mut [i32; PATCH_COLUMNS],
    /// From the weights of a channel, and one, to those of the next eight.
    pub(in crate::kernels) skip: usize,
    /// [`CONTINUE`] and [`KEEP`].
    pub(in crate::kernels) parts: usize,
    /// Pairs of taps in all chunks.
    pub(in crate::kernels) all_pairs: usize,
    /// Of a stream in 16 bits: what the shortcut is multiplied by.
    pub(in crate::kernels) factor: i32,
    pub(in crate::kernels) lower: usize,
    pub(in crate::kernels) shortcut_lower: usize,
}

/// Sums begin with what is kept, and not with the bias.
const CONTINUE: usize = 1;
/// Sums are kept, and not made outputs.
const KEEP: usize = 2;

/// One output row; see [`Backend::conv`](crate::kernels::Backend::conv).
pub(in crate::kernels) fn conv<P: ColumnPairs>(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    // As the instruction set's `align` asks for.
    if !proved!(aligned(conv.bias)) {
        return;
    }
    let channels = usize::from(conv.window.output.channels).max(1);
    let taps = conv.packed_taps();
    // `Model::parse` checked that the scratch memory is this large.
    let patch_bytes = 2 * PATCH_COLUMNS * taps.clamp(2, CHUNK_TAPS);
    let kept_bytes = 4 * PATCH_COLUMNS * kept_channels(taps, channels);
    let Some((patch, scratch)) = proved!(scratch.split_at_mut_checked(patch_bytes)) else { return };
    let Some((kept, edges)) = proved!(scratch.split_at_mut_checked(kept_bytes)) else { return };
    let patch = proved!(<[Taps]>::mut_from_bytes(patch)).unwrap_or_default();
    let kept = proved!(<[[i32; PATCH_COLUMNS]]>::mut_from_bytes(kept)).unwrap_or_default();
    let edges = int8_mut(edges);
    let ordinary = Finisher::of(conv, shortcut);
    let kernel = Kernel::of(conv);
    let one_chunk = taps <= CHUNK_TAPS;
    let columns = usize::from(conv.window.output.columns);
    let mut first = 0;
    while first < columns {
        let finisher = ordinary.as_ref().filter(|_| columns - first >= PATCH_COLUMNS);
        let together = if one_chunk && finisher.is_some() { channels } else { kept.len().max(1) };
        let mut group = 0..channels.min(together);
        while group.start < group.end {
            let mut chunk = 0..taps.min(CHUNK_TAPS);
            while chunk.start < chunk.end {
                if group.start == 0 || !one_chunk {
                    fill::<P>(conv, &kernel, rows, first, &chunk, patch, edges);
                }
                let last = if chunk.end == taps { finisher } else { None };
                multiply::<P>(conv, taps, first, &group, &chunk, patch, kept, last, output);
                chunk = chunk.end..taps.min(chunk.end + CHUNK_TAPS);
            }
            if finisher.is_none() {
                for (o, kept) in group.clone().zip(kept.iter()) {
                    finish::finish(conv, shortcut, first, o, P::sums(*kept), output);
                }
            }
            group = group.end..channels.min(group.end + together);
        }
        first += PATCH_COLUMNS;
    }
}

/// Writes the values of the `taps` under the kernel into a patch, at four output columns from
/// `first` on; in place of those behind the last there is the last.
fn fill<P: ColumnPairs>(
    conv: &Conv<'_>,
    kernel: &Kernel,
    rows: &Rows<'_>,
    first: usize,
    taps: &Range<usize>,
    patch: &mut [Taps],
    edges: &mut [i8],
) {
    let last = usize::from(conv.window.output.columns).saturating_sub(1);
    let mut row_start = 0;
    for row in rows.iter().take(conv.window.kernel[0]) {
        // The part of this kernel row.
        let from = taps.start.max(row_start);
        let to = taps.end.min(row_start + kernel.packed);
        if from < to {
            let part = from - row_start..to - row_start;
            let places = (from - taps.start) / 2..(to - taps.start) / 2;
            let Some(patch) = proved!(patch.get_mut(places)) else { return };
            let Some((edge, other_edge)) = proved!(edges.split_at_mut_checked(to - from)) else {
                return;
            };
            for pair in 0..PATCH_COLUMNS / 2 {
                let x = (first + 2 * pair).min(last);
                let a = values(conv, kernel, row, x, &part, edge);
                let b = values(conv, kernel, row, (x + 1).min(last), &part, other_edge);
                widen::<P>([a, b], patch, pair);
            }
        }
        row_start += kernel.packed;
    }
}

/// Writes the values of two columns into a patch: to place `pair` of its [`Taps`]. The columns have
/// as many values as these have taps.
#[inline(always)]
fn widen<P: ColumnPairs>([a, b]: [&[i8]; 2], patch: &mut [Taps], pair: usize) {
    let pairs = patch.len();
    let whole = |column: &[i8]| column.len() >= 2 * pairs;
    if proved!(pairs > 0 && pair < PATCH_COLUMNS / 2 && whole(a) && whole(b)) {
        let place = patch.as_mut_ptr().cast::<Columns>().wrapping_add(pair);
        // SAFETY: both columns have `pairs` pairs of values, and the patch `pairs` pairs of taps, one
        // at least, of which the place of these columns is one.
        unsafe { (P::WIDEN)(a.as_ptr(), b.as_ptr(), place, pairs) }
    }
}

/// The `part` of what lies under a kernel row at column `x`: on the row, or in `edge` with what lies
/// on padding.
#[inline(always)]
fn values<'v>(
    conv: &Conv<'_>,
    kernel: &Kernel,
    row: &'v [i8],
    x: usize,
    part: &Range<usize>,
    edge: &'v mut [i8],
) -> &'v [i8] {
    if kernel.inside.contains(&x) {
        let start = (x * kernel.step).wrapping_sub(kernel.pad);
        if let Some(values) = row.get(start + part.start..start + part.end) {
            return values;
        }
    }
    fill_edge(conv, row, x, part.start, edge);
    edge
}

/// Adds the products of a chunk of taps for a group of output channels. With `finisher` they are
/// the last, and become outputs.
#[allow(clippy::too_many_arguments)]
fn multiply<P: ColumnPairs>(
    conv: &Conv<'_>,
    taps: usize,
    first: usize,
    group: &Range<usize>,
    chunk: &Range<usize>,
    patch: &[Taps],
    kept: &mut [[i32; PATCH_COLUMNS]],
    finisher: Option<&Finisher<'_>>,
    output: &mut [i8],
) {
    let stride = usize::from(conv.window.output.channels);
    let channels = numbers(group);
    let pairs = numbers(chunk) / 2;
    let weights =
        proved!(conv.weights.get(group.start * taps + EIGHT * chunk.start..)).unwrap_or(&[]);
    let bias = proved!(conv.bias.get(group.start..)).unwrap_or(&[]);
    let eights = channels.div_ceil(EIGHT).saturating_sub(1);
    let first_part = if chunk.start > 0 { CONTINUE } else { 0 };
    let last_part = if finisher.is_some() { 0 } else { KEEP };
    let parts = first_part | last_part;
    let there = pairs > 0
        && channels > 0
        && patch.len() >= pairs
        && (kept.len() >= channels || parts == 0)
        && weights.len() >= EIGHT * (eights * taps + 2 * pairs)
        && bias.len() >= channels;
    if !proved!(there) {
        return;
    }
    let mut args = Args {
        patch: patch.as_ptr(),
        weights: weights.as_ptr(),
        pairs,
        bias: bias.as_ptr(),
        mantissas: null(),
        shifts: null(),
        output: null_mut(),
        stride,
        channels,
        last: 0,
        table: null(),
        shortcut: null(),
        shortcut_stride: 0,
        kept: kept.as_mut_ptr(),
        skip: EIGHT * (taps - 1),
        parts,
        all_pairs: taps / 2,
        factor: 0,
        lower: 0,
        shortcut_lower: 0,
    };
    if let Some(finisher) = finisher {
        let places = finisher.places(first, PATCH_COLUMNS, group, stride, output);
        let Some(places) = proved!(places) else { return };
        (args.last, args.table) = (finisher.last, finisher.table);
        (args.mantissas, args.shifts) = (places.mantissas, places.shifts);
        args.output = places.output;
        (args.shortcut, args.shortcut_stride) = (places.shortcut, places.shortcut_stride);
        (args.factor, args.lower) = (finisher.factor, places.lower);
        args.shortcut_lower = places.shortcut_lower;
    }
    // SAFETY: `there` says that the patch has all pairs, the weights those of all eights, the
    // bias and, if sums are kept, what is kept one for each channel; both counts are not zero. That
    // biases are aligned, `conv` asked. Without `KEEP` there is `finisher`: `Finisher::of` found that
    // mantissas are aligned, and the table is or is `STREAM16`, and `Finisher::places` found mantissas, shifts, outputs and
    // shortcut for the whole group, at four columns.
    unsafe { (P::BLOCKS)(&mut args) }
}

/// A backend with these loops and those of [`winograd`](super::winograd).
macro_rules! backend {
    ($backend:ident, $isa:ident) => {
        impl $crate::kernels::Backend for $backend {
            const ISA: &'static $crate::kernels::Isa = &$crate::kernels::Isa::$isa;

            fn conv(
                &self,
                conv: &$crate::ops::conv::Conv<'_>,
                rows: &$crate::ops::Rows<'_>,
                shortcut: &$crate::ops::Shortcut<'_>,
                scratch: &mut [u8],
                output: &mut [i8],
            ) {
                if let Some(unpacked) = conv.packing.unpacked() {
                    $crate::kernels::shared::narrow::conv(
                        self, unpacked, conv, rows, shortcut, scratch, output,
                    );
                } else {
                    $crate::kernels::shared::column_pairs::conv::<Self>(
                        conv, rows, shortcut, scratch, output,
                    );
                }
            }

            fn conv_rows(
                &self,
                conv: &$crate::ops::conv::Conv<'_>,
                rows: &$crate::ops::Rows<'_>,
                shortcuts: &$crate::ops::Shortcuts<'_>,
                scratch: &mut [u8],
                outputs: &mut $crate::ops::Outputs<'_>,
            ) {
                $crate::kernels::shared::winograd::conv(
                    self, conv, rows, shortcuts, scratch, outputs,
                );
            }

            fn add(
                &self,
                add: &$crate::ops::add::Add<'_>,
                input: &[i8],
                shortcut: &$crate::ops::Shortcut<'_>,
                output: &mut [i8],
            ) {
                let add_bytes = <Self as $crate::kernels::shared::column_pairs::ColumnPairs>::ADD;
                $crate::kernels::shared::finish::add(add_bytes, add, input, shortcut, output);
            }

            fn max_pool(
                &self,
                pool: &$crate::ops::max_pool::MaxPool,
                rows: &$crate::ops::Rows<'_>,
                output: &mut [i8],
            ) {
                use $crate::kernels::portable::{larger, max_pool};
                max_pool(pool, rows, output, larger);
            }
        }
    };
}

pub(in crate::kernels) use super::finish::AddBytes;
pub(in crate::kernels) use backend;
