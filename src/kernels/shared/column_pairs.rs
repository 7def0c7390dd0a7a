//! Convolutions for cores whose multiplication gives 32 bits: one product serves two columns. For
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
//! The sum of two products of int8 is at most 2¹⁵, and more than −2¹⁵. The multiple of 2¹⁶ nearest
//! to *p* is therefore exactly the upper column's part, and nothing is lost. The bits of *sum*
//! above the 32nd are lost, but they are also lost in 2¹⁶ *high*.
//!
//! The values, not the weights, hold two columns in a word. A value in the patch serves all output
//! channels, and weights stay one byte each, as in the file.
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

/// Assembly that writes the values of two columns `a` and `b` into a patch, to a position in each
/// of its [`Taps`].
///
/// It may be called if `pairs` is not zero, `2 * pairs` bytes can be read at `a` and at `b`, and
/// `pairs` [`Columns`] can be written: the first at `patch`, and each of the others one [`Taps`]
/// further on.
pub(in crate::kernels) type Widen =
    unsafe extern "C" fn(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize);

/// Makes the outputs of the first columns of a row, with the scratch memory of the layer, and returns
/// the number of these columns.
pub(in crate::kernels) type FirstColumns = fn(
    conv: &Conv<'_>,
    kernel: &Kernel,
    finisher: &Finisher<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) -> usize;

/// The assembly of a backend.
pub(in crate::kernels) trait ColumnPairs {
    /// Writes columns into a patch.
    const WIDEN: Widen;

    /// Adds the products of a chunk of taps for a group of output channels, and makes outputs from
    /// the sums, or keeps them. It may be called if each field of the arguments is as [`Args`]
    /// specifies.
    const BLOCKS: unsafe extern "C" fn(&mut Args);

    /// Adds two rows.
    const ADD: AddBytes;

    /// Another way to make the outputs of the first columns of a row, if there is one.
    const FIRST_COLUMNS: Option<FirstColumns> = None;

    /// The sums of four columns, from what `BLOCKS` keeps for a channel.
    fn sums(kept: [i32; PATCH_COLUMNS]) -> [i32; PATCH_COLUMNS];
}

/// The arguments of the assembly: a patch, and output channels one by one.
///
/// The assembly relies on the comment of each field. It advances `weights`, `bias`, `mantissas`,
/// `shifts`, `output`, `shortcut` and `kept`, and counts `channels` down.
#[repr(C)]
pub(in crate::kernels) struct Args {
    /// `pairs` [`Taps`] can be read.
    pub(in crate::kernels) patch: *const Taps,
    /// Each group of eight channels, or of the remaining ones, has [`EIGHT`] · 2 · `pairs` bytes
    /// here. `skip` bytes lie between the end of a group and the next group.
    pub(in crate::kernels) weights: *const i8,
    /// At least one.
    pub(in crate::kernels) pairs: usize,
    /// Aligned to words, one for each channel.
    pub(in crate::kernels) bias: *const I32,
    /// Unless `parts` has [`KEEP`], aligned to words, one for each channel. The same holds for
    /// `shifts`, with a byte for each channel.
    pub(in crate::kernels) mantissas: *const I32,
    pub(in crate::kernels) shifts: *const i8,
    /// Unless `parts` has [`KEEP`], a byte for each channel can be written at each of four columns,
    /// `stride` bytes apart.
    pub(in crate::kernels) output: *mut i8,
    pub(in crate::kernels) stride: usize,
    /// At least one.
    pub(in crate::kernels) channels: usize,
    /// Applied after the requantization: twice the zero point plus one, the bits of a join, or an
    /// offset.
    pub(in crate::kernels) last: i32,
    /// Null, a pointer aligned to words with 128 readable words on either side, or `STREAM16`. With
    /// `STREAM16`, what is specified for outputs and shortcuts also holds `lower` and
    /// `shortcut_lower` bytes further on.
    pub(in crate::kernels) table: *const I32,
    /// With a table, a byte for each channel can be read at each of four columns, `shortcut_stride`
    /// bytes apart. It may be the output.
    pub(in crate::kernels) shortcut: *const i8,
    pub(in crate::kernels) shortcut_stride: usize,
    /// If `parts` is not zero, one for each channel can be read and written.
    pub(in crate::kernels) kept: *mut [i32; PATCH_COLUMNS],
    /// Distance in bytes from the end of one group's weights to the next group.
    pub(in crate::kernels) skip: usize,
    /// [`CONTINUE`] and [`KEEP`].
    pub(in crate::kernels) parts: usize,
    /// Number of pairs of taps in all chunks.
    pub(in crate::kernels) all_pairs: usize,
    /// The factor of the shortcut in a 16-bit stream.
    pub(in crate::kernels) factor: i32,
    pub(in crate::kernels) lower: usize,
    pub(in crate::kernels) shortcut_lower: usize,
}

/// Sums start with the kept ones, not with the bias.
const CONTINUE: usize = 1;
/// Sums are kept, not made into outputs.
const KEEP: usize = 2;

/// One output row; see [`Backend::conv`](crate::kernels::Backend::conv).
pub(in crate::kernels) fn conv<P: ColumnPairs>(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    // As the instruction set's `align` requires.
    if !proved!(aligned(conv.bias)) {
        return;
    }
    let finisher = Finisher::of(conv, shortcut);
    let kernel = Kernel::of(conv);
    let first = match (P::FIRST_COLUMNS, &finisher) {
        (Some(make), Some(finisher)) => {
            make(conv, &kernel, finisher, rows, shortcut, scratch, output)
        }
        _ => 0,
    };
    if first < usize::from(conv.window.output.columns) {
        let finisher = finisher.as_ref();
        from_column::<P>(conv, &kernel, finisher, rows, shortcut, scratch, first, output);
    }
}

/// The outputs from column `first` on. Assembly can finish them if there is `ordinary`. It is not
/// inlined, so that its frame does not add to that of the first columns.
#[inline(never)]
#[allow(clippy::too_many_arguments)]
fn from_column<P: ColumnPairs>(
    conv: &Conv<'_>,
    kernel: &Kernel,
    ordinary: Option<&Finisher<'_>>,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    mut first: usize,
    output: &mut [i8],
) {
    let columns = usize::from(conv.window.output.columns);
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
    let one_chunk = taps <= CHUNK_TAPS;
    while first < columns {
        let finisher = ordinary.filter(|_| columns - first >= PATCH_COLUMNS);
        let together = if one_chunk && finisher.is_some() { channels } else { kept.len().max(1) };
        let mut group = 0..channels.min(together);
        while group.start < group.end {
            let mut chunk = 0..taps.min(CHUNK_TAPS);
            while chunk.start < chunk.end {
                if group.start == 0 || !one_chunk {
                    fill::<P>(conv, kernel, rows, first, &chunk, patch, edges);
                }
                let last = if chunk.end == taps { finisher } else { None };
                multiply::<P>(conv, taps, first, &group, &chunk, patch, kept, last, output);
                chunk = chunk.end..taps.min(chunk.end + CHUNK_TAPS);
            }
            if finisher.is_none() {
                for (o, kept) in group.clone().zip(kept.iter()) {
                    finish::finish(conv, shortcut, first, o, &P::sums(*kept), output);
                }
            }
            group = group.end..channels.min(group.end + together);
        }
        first += PATCH_COLUMNS;
    }
}

/// Writes the values of the `taps` under the kernel into a patch, at four output columns from
/// `first` on. Columns after the last one repeat the last.
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
        // The part of the taps in this kernel row.
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

/// Writes the values of two columns into a patch, to position `pair` of its [`Taps`]. Each column
/// has a value for each tap.
#[inline(always)]
fn widen<P: ColumnPairs>([a, b]: [&[i8]; 2], patch: &mut [Taps], pair: usize) {
    let pairs = patch.len();
    let whole = |column: &[i8]| column.len() >= 2 * pairs;
    if proved!(pairs > 0 && pair < PATCH_COLUMNS / 2 && whole(a) && whole(b)) {
        let place = patch.as_mut_ptr().cast::<Columns>().wrapping_add(pair);
        // SAFETY: both columns have `pairs` pairs of values. The patch has `pairs` pairs of taps,
        // at least one, and `place` points to these columns in the first.
        unsafe { (P::WIDEN)(a.as_ptr(), b.as_ptr(), place, pairs) }
    }
}

/// The `part` of the values under a kernel row at column `x`: directly in the row, or in `edge`
/// with padding.
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

/// Adds the products of a chunk of taps for a group of output channels. With `finisher` it is the
/// last chunk, and the sums become outputs.
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
    // SAFETY: `there` says that the patch has all pairs, that the weights are there for all groups
    // of eight, that the bias has a word for each channel, and, if sums are kept, that `kept` has
    // an entry for each channel. Both counts are not zero. `conv` has checked that biases are
    // aligned. Without `KEEP` there is `finisher`: `Finisher::of` has checked that mantissas are
    // aligned, and that the table is aligned or is `STREAM16`. `Finisher::places` has found
    // mantissas, shifts, outputs and shortcut for the whole group, at four columns.
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
