//! Winograd's convolution in assembly: its arguments, and the positions of its outputs.

use core::ptr::{null, null_mut};

use zerocopy::little_endian::I32;

use super::{CHANNELS, SPAN, Span, Sums, TileOutputs, finish};
use crate::feature::Feature;
use crate::format::TILE_ROWS;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
use crate::kernels::shared::finish::aligned;
use crate::kernels::shared::finish::{STREAM16, middle};
use crate::ops::conv::{Conv, Finish, TILE_COLUMNS, TILES};
use crate::ops::{Shortcut, stream16};
use crate::proved::proved;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
use crate::quant::Clamp;
use crate::quant::{Multiplier, are_within};

/// The arguments of assembly that makes outputs of four rows from sums.
#[repr(C)]
pub(in crate::kernels) struct Args {
    /// A pointer for each row, and one for its shortcut.
    pub(in crate::kernels) outputs: [*mut i8; TILE_ROWS],
    pub(in crate::kernels) shortcuts: [*const i8; TILE_ROWS],
    /// The stride of both.
    pub(in crate::kernels) stride: usize,
    pub(in crate::kernels) bias: *const I32,
    pub(in crate::kernels) mantissas: *const I32,
    pub(in crate::kernels) shifts: *const i8,
    /// The zero point, the bits of a join, or the offset of a 16-bit stream.
    pub(in crate::kernels) last: i32,
    /// The middle of a join's table, null, or [`STREAM16`].
    pub(in crate::kernels) table: *const I32,
    /// Range of the output; for a 16-bit stream, that of its values.
    pub(in crate::kernels) clamp: [i32; 2],
    /// The first channel, counted from where the rows point, and the number of channels.
    pub(in crate::kernels) first: usize,
    pub(in crate::kernels) channels: usize,
    pub(in crate::kernels) tiles: usize,
    /// For a 16-bit stream: the factor of the shortcuts, and the distances from outputs and
    /// shortcuts to their lower bytes.
    pub(in crate::kernels) factor: i32,
    pub(in crate::kernels) lower: usize,
    pub(in crate::kernels) shortcut_lower: usize,
}

impl Args {
    /// For a layer, without channels and without positions of outputs; `None` if the table of a join
    /// has a wrong size. It is inlined, because the arguments would be copied otherwise.
    #[inline(always)]
    fn of(conv: &Conv<'_>) -> Option<Self> {
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
            first: 0,
            channels: 0,
            tiles: 0,
            factor,
            lower: 0,
            shortcut_lower: 0,
        })
    }

    /// Sets the parameters of up to four channels from `o` on; `None` if a factor is one or more
    /// without a join.
    fn channels(&mut self, conv: &Conv<'_>, o: usize) -> Option<()> {
        let channels = CHANNELS.min(conv.bias.len().checked_sub(o).filter(|left| *left > 0)?);
        let shifts = conv.shifts.get(o..o + channels)?;
        if conv.mantissas.len() < o + channels || !are_below_one(conv, shifts) {
            return None;
        }
        self.set_channels(conv, o);
        Some(())
    }

    /// The same without checks.
    fn set_channels(&mut self, conv: &Conv<'_>, o: usize) {
        self.channels = CHANNELS.min(conv.bias.len().saturating_sub(o));
        self.bias = conv.bias.as_ptr().wrapping_add(o);
        self.mantissas = conv.mantissas.as_ptr().wrapping_add(o);
        self.shifts = conv.shifts.as_ptr().wrapping_add(o);
    }

    /// Sets the number of tiles of a span.
    fn tiles(&mut self, span: &Span<'_>) {
        let columns = usize::from(span.conv.window.output.columns).saturating_sub(span.x).max(1);
        self.tiles = TILES.min(columns.div_ceil(TILE_COLUMNS));
    }

    /// Sets the outputs to their positions in the rows, from the first channel on. `None` if a row
    /// or a column of the tiles lies outside of the output, or if a shortcut has other columns or
    /// channels, or lacks its lower bytes.
    fn on_rows(&mut self, span: &Span<'_>, outputs: &mut TileOutputs<'_>) -> Option<()> {
        let Span { shortcuts, x, .. } = *span;
        self.tiles(span);
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
                // With a factor of zero any operand will do.
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

    /// Sets the outputs to positions in a block, which also holds their shortcuts.
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

    /// Whether the outputs are a 16-bit stream.
    fn is_stream16(&self) -> bool {
        Feature::Stream16.is_on() && self.table == STREAM16
    }
}

/// Largest number of bytes of an output.
const BYTES: usize = if Feature::Stream16.is_on() { 2 } else { 1 };

/// The outputs of a span for four channels: rows, columns, channels. A 16-bit stream has the upper
/// bytes first, and then the lower.
type Block = [[[[i8; CHANNELS]; SPAN]; TILE_ROWS]; BYTES];

/// The arguments for the channels of a span. They stay valid while outputs are written directly
/// into their rows, and only through them.
#[derive(Default)]
pub(in crate::kernels) struct Ready {
    /// Made once for the rows of a step.
    args: Option<Args>,
    /// Whether assembly can finish all channels of the layer.
    all: bool,
    /// Whether the arguments have positions: those of the span at column `x` of the tiles whose
    /// first row is at address `row`.
    placed: bool,
    x: usize,
    row: usize,
}

impl Ready {
    /// Whether the arguments are there for the channels of a span from `o` on, and assembly can
    /// finish all channels.
    #[inline(always)]
    pub(in crate::kernels) fn are_for(
        &self,
        span: &Span<'_>,
        o: usize,
        outputs: &TileOutputs<'_>,
    ) -> bool {
        let here = self.x == span.x && self.row == outputs[0].as_ptr().addr();
        here && self.all && self.placed && o < span.conv.bias.len()
    }

    /// Whether assembly can finish all channels, as far as is known.
    #[inline(always)]
    pub(in crate::kernels) fn finish_all(&self) -> bool {
        self.all
    }

    /// Makes the arguments for the channels of a span from `o` on.
    #[inline(never)]
    fn make(
        &mut self,
        span: &Span<'_>,
        o: usize,
        outputs: &mut TileOutputs<'_>,
        ordinary: impl Fn(&Conv<'_>, &[i8]) -> bool,
    ) {
        let conv = span.conv;
        if self.args.is_none() {
            let channels = conv.bias.len();
            self.args = Args::of(conv);
            self.all = conv.mantissas.len() >= channels
                && conv.shifts.len() >= channels
                && are_below_one(conv, conv.shifts)
                && ordinary(conv, conv.shifts);
        }
        (self.x, self.row) = (span.x, outputs[0].as_ptr().addr());
        let all = self.all && o < conv.bias.len();
        self.placed = self.args.as_mut().is_some_and(|args| {
            args.on_rows(span, outputs).is_some() && (all || args.channels(conv, o).is_some())
        });
    }
}

/// See [`Tiles::finish`]; runs `assembly`. At the ends of the output, where some rows or columns of
/// the tiles lie outside of it, the assembly writes into a block, and the outputs that exist are
/// copied from there. `there` says whether `ready` has the arguments. `ordinary` says whether
/// assembly can finish channels with these shifts; for those from `o` on it is true.
///
/// All pointers that `assembly` gets are valid: a bias, mantissa and shift for each channel;
/// outputs and shortcuts for the columns of all tiles, in each of four rows; and 128 words on
/// either side of the middle of a table.
#[inline(always)]
pub(in crate::kernels) fn finish_by(
    span: &Span<'_>,
    ready: &mut Ready,
    there: bool,
    sums: &Sums,
    o: usize,
    outputs: &mut TileOutputs<'_>,
    ordinary: impl Fn(&Conv<'_>, &[i8]) -> bool,
    assembly: impl Fn(&mut Args),
) {
    let conv = span.conv;
    if !there {
        ready.make(span, o, outputs, ordinary);
    }
    match &mut ready.args {
        Some(args) if ready.placed => {
            args.first = o;
            args.set_channels(conv, o);
            assembly(args);
        }
        _ => into_block(span, sums, o, outputs, assembly),
    }
}

/// The same through a block, or without assembly if that is not possible. It is not inlined, so
/// that layers that need no block have none on their stack.
#[inline(never)]
fn into_block(
    span: &Span<'_>,
    sums: &Sums,
    o: usize,
    outputs: &mut TileOutputs<'_>,
    assembly: impl Fn(&mut Args),
) {
    let args = Args::of(span.conv);
    let Some(mut args) = args.and_then(|mut args| args.channels(span.conv, o).map(|()| args))
    else {
        return finish(span, sums, o, outputs);
    };
    let mut block = Block::default();
    if !args.table.is_null() {
        exchange(span, o, outputs, &mut block, Exchange::Shortcuts);
    }
    args.tiles(span);
    args.on_block(&mut block);
    assembly(&mut args);
    exchange(span, o, outputs, &mut block, Exchange::Outputs);
}

/// What is copied between a block and the rows.
#[derive(Clone, Copy)]
enum Exchange {
    Shortcuts,
    Outputs,
}

/// Copies the values of four channels from `o` on that exist: shortcuts into a block, or outputs
/// out of it.
#[inline(never)]
fn exchange(
    span: &Span<'_>,
    o: usize,
    outputs: &mut TileOutputs<'_>,
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

/// The same for values of a 16-bit stream.
fn exchange_numbers(
    span: &Span<'_>,
    o: usize,
    outputs: &mut TileOutputs<'_>,
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

/// Copies up to four bytes, limited by both lengths.
#[inline(always)]
fn copy(to: &mut [i8], from: &[i8]) {
    match (<&mut [i8; CHANNELS]>::try_from(&mut *to), <&[i8; CHANNELS]>::try_from(from)) {
        (Ok(to), Ok(from)) => *to = *from,
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

/// Whether all factors with these shifts are less than one, unless there is a join.
#[inline(always)]
fn are_below_one(conv: &Conv<'_>, shifts: &[i8]) -> bool {
    !matches!(conv.finish, Finish::Requantize { .. })
        || are_within(shifts, Multiplier::MIN_SHIFT..=-1)
}

/// Whether outputs of channels with these shifts have the whole range of int8 and factors that
/// allow the zero point to be added before the shift, and the words of the file are aligned.
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em"))]
pub(in crate::kernels) fn is_ordinary(conv: &Conv<'_>, shifts: &[i8]) -> bool {
    let table = match conv.finish {
        Finish::Join { table, .. } => aligned(table),
        Finish::Requantize { .. } | Finish::Stream(_) => true,
    };
    conv.clamp == Clamp::FULL
        && are_within(shifts, -22..=Multiplier::MAX_SHIFT)
        && aligned(conv.bias)
        && aligned(conv.mantissas)
        && table
}

/// Whether eight times what is added before these shifts fits into 32 bits.
#[cfg(feature = "rv32")]
pub(in crate::kernels) fn are_shifts_small(_: &Conv<'_>, shifts: &[i8]) -> bool {
    are_within(shifts, -20..=Multiplier::MAX_SHIFT)
}
