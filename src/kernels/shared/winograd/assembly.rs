//! Winograd's convolution by assembly: what it takes, and where its outputs go.

use core::ptr::{null, null_mut};

use zerocopy::little_endian::I32;

use super::{CHANNELS, SPAN, Span, Sums, finish};
use crate::feature::Feature;
use crate::format::TILE_ROWS;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
use crate::kernels::shared::finish::aligned;
use crate::kernels::shared::finish::{STREAM16, middle};
use crate::ops::conv::{Conv, Finish, TILE_COLUMNS, TILES};
use crate::ops::{Outputs, Shortcut, stream16};
use crate::proved::proved;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
use crate::quant::Clamp;

/// What assembly takes that makes outputs of four rows from sums.
#[repr(C)]
pub(in crate::kernels) struct Args {
    /// A row each, and its shortcut.
    pub(in crate::kernels) outputs: [*mut i8; TILE_ROWS],
    pub(in crate::kernels) shortcuts: [*const i8; TILE_ROWS],
    /// Of both.
    pub(in crate::kernels) stride: usize,
    pub(in crate::kernels) bias: *const I32,
    pub(in crate::kernels) mantissas: *const I32,
    pub(in crate::kernels) shifts: *const i8,
    /// The zero point, a join's bits, or the offset of a stream in 16 bits.
    pub(in crate::kernels) last: i32,
    /// The middle of a join's table, null, or [`STREAM16`].
    pub(in crate::kernels) table: *const I32,
    /// Range of the output; of a stream in 16 bits that of its numbers.
    pub(in crate::kernels) clamp: [i32; 2],
    pub(in crate::kernels) channels: usize,
    pub(in crate::kernels) tiles: usize,
    /// Of a stream in 16 bits: what shortcuts are multiplied by, and how far behind outputs and
    /// shortcuts the lower bytes are.
    pub(in crate::kernels) factor: i32,
    pub(in crate::kernels) lower: usize,
    pub(in crate::kernels) shortcut_lower: usize,
}

impl Args {
    /// For a span, without channels, whose outputs are nowhere yet; `None` if a join's table is none.
    fn of(Span { conv, x, .. }: &Span<'_>) -> Option<Self> {
        let columns = usize::from(conv.window.output.columns).saturating_sub(*x).max(1);
        let [min, max] = [i32::from(conv.clamp.min), i32::from(conv.clamp.max)];
        let (mut clamp, mut factor) = ([min, max], 0);
        let (last, table) = match conv.finish {
            Finish::Requantize { zero_point } => (zero_point, null()),
            Finish::Join { table, bits } => (bits as i32, middle(table)?),
            Finish::Stream(stream) => {
                (clamp, factor) = ([256 * min, 256 * max + 127], stream.factor);
                (stream.offset, STREAM16)
            }
        };
        Some(Self {
            outputs: [null_mut(); TILE_ROWS],
            shortcuts: [null(); TILE_ROWS],
            stride: usize::from(conv.window.output.channels),
            bias: null(),
            mantissas: null(),
            shifts: null(),
            last,
            table,
            clamp,
            channels: 0,
            tiles: TILES.min(columns.div_ceil(TILE_COLUMNS)),
            factor,
            lower: 0,
            shortcut_lower: 0,
        })
    }

    /// The numbers of up to four channels from `o` on; `None` where a factor is one or more without a
    /// join.
    fn channels(&mut self, conv: &Conv<'_>, o: usize) -> Option<()> {
        let left = conv.bias.len().checked_sub(o).filter(|left| *left > 0)?;
        let channels = CHANNELS.min(left);
        let shifts = conv.shifts.get(o..o + channels)?;
        if matches!(conv.finish, Finish::Requantize { .. }) && largest(shifts) >= 0 {
            return None;
        }
        self.channels = channels;
        self.bias = conv.bias.get(o..o + channels)?.as_ptr();
        self.mantissas = conv.mantissas.get(o..o + channels)?.as_ptr();
        self.shifts = shifts.as_ptr();
        Some(())
    }

    /// Lets the outputs go where they belong, from the first channel on; `None` where a row or a column
    /// of the tiles is none of the output, or a shortcut has other columns or channels, or not both bytes.
    fn on_rows(&mut self, span: &Span<'_>, outputs: &mut Outputs<'_>) -> Option<()> {
        let Span { shortcuts, x, .. } = *span;
        let (start, end) = (x * self.stride, (x + self.tiles * TILE_COLUMNS) * self.stride);
        let both = self.is_stream16();
        let places = self.outputs.iter_mut().zip(&mut self.shortcuts);
        for ((place, there), (output, shortcut)) in places.zip(outputs.iter_mut().zip(shortcuts)) {
            let bytes = if both { output.len() / 2 } else { output.len() };
            if end > bytes {
                return None;
            }
            *place = output.as_mut_ptr().wrapping_add(start);
            self.lower = bytes;
            self.shortcut_lower = bytes;
            *there = match *shortcut {
                // What is multiplied by zero may be anything.
                _ if both && self.factor == 0 => *place,
                Shortcut::Row { row, lower, channels: theirs, stride: 1, before: 0, .. }
                    if theirs == self.stride
                        && !self.table.is_null()
                        && (!both || lower.len() == row.len()) =>
                {
                    self.shortcut_lower = stream16::distance(row, lower);
                    row.get(start..end)?.as_ptr()
                }
                Shortcut::Row { .. } if !self.table.is_null() => return None,
                _ => *place,
            };
        }
        Some(())
    }

    /// Moves on by this number of channels.
    fn advance(&mut self, channels: usize) {
        for (place, there) in self.outputs.iter_mut().zip(&mut self.shortcuts) {
            *place = place.wrapping_add(channels);
            *there = there.wrapping_add(channels);
        }
    }

    /// Lets them go into a block, and take their shortcuts from there.
    fn on_block(&mut self, block: &mut Block) {
        self.stride = CHANNELS;
        let bytes = block.as_flattened_mut().as_flattened_mut().as_flattened_mut().as_mut_ptr();
        let places = self.outputs.iter_mut().zip(&mut self.shortcuts);
        for (row, (place, there)) in places.enumerate() {
            *place = bytes.wrapping_add(row * SPAN * CHANNELS);
            *there = *place;
        }
        self.lower = TILE_ROWS * SPAN * CHANNELS;
        self.shortcut_lower = self.lower;
    }

    /// Whether the outputs are a stream in 16 bits.
    fn is_stream16(&self) -> bool {
        Feature::Stream16.is_on() && self.table == STREAM16
    }
}

/// Bytes that an output may have.
const BYTES: usize = if Feature::Stream16.is_on() { 2 } else { 1 };

/// The outputs of a span for four channels: rows, columns, channels. Of a stream in 16 bits the upper
/// bytes, and then the lower.
type Block = [[[[i8; CHANNELS]; SPAN]; TILE_ROWS]; BYTES];

/// What is ready for four channels of a span after the other, as long as their outputs are where they
/// belong, and no output is written but through it.
#[derive(Default)]
pub(in crate::kernels) struct Ready {
    /// From channel `o` of the span at column `x` on.
    args: Option<Args>,
    x: usize,
    o: usize,
}

/// See [`Tiles::finish`]: by assembly, `assembly`. At the ends of the output, where some of the
/// tiles' rows or columns are none of it, that goes into a block, and what there is, out of it.
///
/// All pointers that `assembly` gets are good for what the numbers beside them say: a bias, mantissa
/// and shift for each channel; at the outputs and at their shortcuts the columns of all tiles, in
/// each of four rows; around the middle of a table 128 words to both sides.
#[inline(always)]
pub(in crate::kernels) fn finish_by(
    span: &Span<'_>,
    ready: &mut Ready,
    sums: &Sums,
    o: usize,
    outputs: &mut Outputs<'_>,
    assembly: impl Fn(&mut Args),
) {
    if let (Some(args), true) = (&mut ready.args, ready.x == span.x && ready.o <= o) {
        args.advance(o - ready.o);
        ready.o = o;
    } else {
        let args = Args::of(span);
        let on_rows = |mut args: Args| {
            args.on_rows(span, outputs)?;
            args.advance(o);
            Some(args)
        };
        *ready = Ready { args: args.and_then(on_rows), x: span.x, o };
    }
    if let Some(args) = &mut ready.args
        && args.channels(span.conv, o).is_some()
    {
        return assembly(args);
    }
    *ready = Ready::default();
    into_block(span, sums, o, outputs, assembly);
}

/// The same by way of a block; or without assembly, where that cannot. Not inlined, so that layers
/// which need no block have none on their stack.
#[inline(never)]
fn into_block(
    span: &Span<'_>,
    sums: &Sums,
    o: usize,
    outputs: &mut Outputs<'_>,
    assembly: impl Fn(&mut Args),
) {
    let args = Args::of(span);
    let Some(mut args) = args.and_then(|mut args| args.channels(span.conv, o).map(|()| args))
    else {
        return finish(span, sums, o, outputs);
    };
    let mut block = Block::default();
    if !args.table.is_null() {
        exchange(span, o, outputs, &mut block, Exchange::Shortcuts);
    }
    args.on_block(&mut block);
    assembly(&mut args);
    exchange(span, o, outputs, &mut block, Exchange::Outputs);
}

/// What a block is filled with, or gives.
#[derive(Clone, Copy)]
enum Exchange {
    Shortcuts,
    Outputs,
}

/// Moves what there is of four channels from `o` on: shortcuts into a block, or outputs out of it.
#[inline(never)]
fn exchange(
    span: &Span<'_>,
    o: usize,
    outputs: &mut Outputs<'_>,
    block: &mut Block,
    what: Exchange,
) {
    let channels = usize::from(span.conv.window.output.channels).max(1);
    if let (Finish::Stream(_), [upper, .., lower]) = (span.conv.finish, &mut block[..]) {
        return exchange_numbers(span, o, outputs, [upper, lower], what);
    }
    let Some(block) = block.first_mut() else { return };
    for ((output, shortcut), row) in outputs.iter_mut().zip(span.shortcuts).zip(block) {
        let pixels = output.chunks_exact_mut(channels).skip(span.x);
        for ((x, pixel), values) in (span.x..).zip(pixels).zip(row) {
            let places = proved!(pixel.get_mut(o..)).unwrap_or_default().iter_mut().zip(values);
            match what {
                Exchange::Shortcuts => {
                    for (o, (output, value)) in (o..).zip(places) {
                        *value = shortcut.at(x, o, *output);
                    }
                }
                Exchange::Outputs => places.for_each(|(output, value)| *output = *value),
            }
        }
    }
}

/// A row of a block for each row of the tiles.
type Half = [[[i8; CHANNELS]; SPAN]; TILE_ROWS];

/// The same of numbers of a stream in 16 bits.
fn exchange_numbers(
    span: &Span<'_>,
    o: usize,
    outputs: &mut Outputs<'_>,
    [upper, lower]: [&mut Half; 2],
    what: Exchange,
) {
    let channels = usize::from(span.conv.window.output.channels);
    let columns = usize::from(span.conv.window.output.columns);
    let count = CHANNELS.min(channels.saturating_sub(o));
    let there = span.x..columns.min(span.x + SPAN);
    let rows = outputs.iter_mut().zip(span.shortcuts).zip(upper.iter_mut().zip(lower));
    for ((output, shortcut), (upper, lower)) in rows {
        let (uppers, lowers) = output.split_at_mut_checked(output.len() / 2).unwrap_or_default();
        for (x, (upper, lower)) in there.clone().zip(upper.iter_mut().zip(lower)) {
            let from = x * channels + o;
            let place = from..from + count;
            let (Some(above), Some(below)) = (uppers.get_mut(place.clone()), lowers.get_mut(place))
            else {
                break;
            };
            match (what, *shortcut) {
                (Exchange::Outputs, _) => {
                    copy(above, upper);
                    copy(below, lower);
                }
                (_, Shortcut::InPlace) => {
                    copy(upper, above);
                    copy(lower, below);
                }
                (_, Shortcut::Row { channels: theirs, before, zero, .. })
                    if o + count <= before || o >= before + theirs =>
                {
                    *upper = [zero; CHANNELS];
                    *lower = [stream16::EXACT as i8; CHANNELS];
                }
                (_, Shortcut::Row { .. }) => {
                    for (c, (upper, lower)) in (o..).zip(upper.iter_mut().zip(lower)) {
                        [*upper, *lower] = stream16::bytes(shortcut.number_at(x, c, 0));
                    }
                }
            }
        }
    }
}

/// Copies up to four bytes, as many as both have.
#[inline(always)]
fn copy(to: &mut [i8], from: &[i8]) {
    match (<&mut [i8; CHANNELS]>::try_from(&mut *to), <&[i8; CHANNELS]>::try_from(from)) {
        (Ok(to), Ok(from)) => *to = *from,
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

/// The largest shift of up to four channels.
#[inline(always)]
fn largest(shifts: &[i8]) -> i8 {
    match *shifts {
        [a, b, c, d, ..] => a.max(b).max(c.max(d)),
        _ => shifts.iter().copied().fold(i8::MIN, i8::max),
    }
}

/// The smallest.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
#[inline(always)]
fn smallest(shifts: &[i8]) -> i8 {
    match *shifts {
        [a, b, c, d, ..] => a.min(b).min(c.min(d)),
        _ => shifts.iter().copied().fold(i8::MAX, i8::min),
    }
}

/// Whether the outputs of four channels from `o` on are of the whole range of int8, and of factors
/// that the zero point can go through, and the file lies where its words are aligned.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
pub(in crate::kernels) fn is_ordinary(conv: &Conv<'_>, o: usize) -> bool {
    let shifts = proved!(conv.shifts.get(o..)).unwrap_or(&[]);
    let table = match conv.finish {
        Finish::Join { table, .. } => aligned(table),
        Finish::Requantize { .. } | Finish::Stream(_) => true,
    };
    conv.clamp == Clamp::FULL
        && smallest(shifts) >= -22
        && aligned(conv.bias)
        && aligned(conv.mantissas)
        && table
}

/// [`Tiles`] of a backend by its assembly: functions that transform what lies under the tiles,
/// and kernels, if it has one, that sum products, and that make outputs of the sums, where
/// `$ordinary` says that it can.
macro_rules! winograd_tiles {
    (
        $backend:ident, $ordinary:expr,
        transform: $transform:path $(, weights: $weights:path)?,
        multiply: $multiply:path, finish: $finish:expr
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
                    // SAFETY: as was just checked, `inputs` is a multiple of four and not zero, each
                    // pixel under the tiles has `inputs` bytes, a multiple of a word, and `values`
                    // has room for each two of them.
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
                        // SAFETY: there are eight kernels for each of `pairs` weights at a position,
                        // and these are where words can be stored.
                        unsafe { $weights(kernels.as_ptr(), weights.as_mut_ptr(), pairs) }
                    }
                }
            )?

            fn multiply(
                &self,
                values: &[$crate::kernels::shared::winograd::Values],
                weights: &[$crate::kernels::shared::winograd::Weights],
                sums: &mut $crate::kernels::shared::winograd::Sums,
            ) {
                let pairs = values.len() / $crate::ops::conv::TILE_POSITIONS;
                let there = weights.len() >= values.len()
                    && weights.as_ptr().addr().is_multiple_of(align_of::<u32>());
                if $crate::proved::proved!(there && pairs > 0 && pairs.is_multiple_of(2)) {
                    // SAFETY: of each position there are `pairs` values, an even number and not
                    // zero, and as many weights, all where words can be loaded.
                    unsafe { $multiply(values.as_ptr(), weights.as_ptr(), pairs, sums) }
                }
            }

            type Ready = $crate::kernels::shared::winograd::Ready;

            fn finish(
                &self,
                span: &$crate::kernels::shared::winograd::Span<'_>,
                ready: &mut Self::Ready,
                sums: &$crate::kernels::shared::winograd::Sums,
                o: usize,
                outputs: &mut $crate::ops::Outputs<'_>,
            ) {
                if !$ordinary(span.conv, o) {
                    *ready = Self::Ready::default();
                    return $crate::kernels::shared::winograd::finish(span, sums, o, outputs);
                }
                $crate::kernels::shared::winograd::finish_by(span, ready, sums, o, outputs, |args| {
                    // SAFETY: `finish_by` says what all pointers are good for; where this core
                    // cannot load words that are not aligned, `$ordinary` found that they are.
                    unsafe { $finish(args, sums) }
                });
            }
        }
    };
}

pub(in crate::kernels) use winograd_tiles;
