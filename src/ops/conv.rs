//! Convolution, fully connected, and the join that ends a residual block.
//!
//! ```text
//! acc = bias[o] + Σ weight[o, ky, kx, i] · input[y·s + ky − top, x·s + kx − left, i]
//!
//! output[y, x, o] = clamp(zero_point + requantize(acc, multiplier[o]))
//!
//! join:  sum = requantize(acc, multiplier[o]) + table[shortcut[y, x, o] + 128]
//! output[y, x, o] = clamp(sum >> join_bits)
//! ```
//!
//! Outside of the input there is its zero point, or a padding value of the input channel.
//! The bias contains `-zero_point · Σ weight`.
//!
//! The plain form is that of TFLite's 8-bit quantization specification, with the double
//! rounding of [`requantize`]. The join ends a residual block with
//! one rounding: accumulator and shortcut are both brought to the output's scale with
//! `join_bits` extra bits; the table, a function of the shortcut's byte, also contains the
//! zero point and one half, so that the shift (an arithmetic one) rounds half up.

use fixed::types::I1F31;
use zerocopy::little_endian::I32;

use super::{Shortcut, Window, int8, part, words};
use crate::error::{Fault, Part};
use crate::format::{
    EIGHT, LayerRecord, Packing, SIDE_BY_SIDE, TILE_ROWS, TILE_TRANSFORM, VECTOR, VECTOR_CHANNELS,
};
use crate::model::Model;
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, Requantizer, requantize};
use crate::shape::Shape;

/// Largest number of extra bits of a join.
pub const MAX_JOIN_BITS: u8 = 16;

/// A convolution, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Conv<'m> {
    /// How it walks over the input.
    pub window: Window,
    /// Order of the weights.
    pub packing: Packing,
    /// Weights of output channels × kernel rows × kernel columns × input channels, packed so.
    pub weights: &'m [i8],
    /// An int32 an output channel.
    pub bias: &'m [I32],
    /// Q31 mantissas of the multipliers, one an output channel.
    pub mantissas: &'m [I32],
    /// Shifts of the multipliers, one an output channel.
    pub shifts: &'m [i8],
    /// What lies outside of the input.
    pub padding: Padding<'m>,
    /// How a sum becomes an output.
    pub finish: Finish<'m>,
    /// Range of the output.
    pub clamp: Clamp,
}

/// What a convolution sees outside of its input.
#[derive(Debug, Clone, Copy)]
pub enum Padding<'m> {
    /// The zero point of the input.
    Same(i8),
    /// A value an input channel.
    PerChannel(&'m [i8]),
}

impl Padding<'_> {
    /// The value of input channel `i`.
    #[inline(always)]
    pub fn at(&self, i: usize) -> i8 {
        match *self {
            Self::Same(value) => value,
            Self::PerChannel(values) => proved!(values.get(i)).copied().unwrap_or(0),
        }
    }
}

/// How a sum becomes an output.
#[derive(Debug, Clone, Copy)]
pub enum Finish<'m> {
    /// Requantized, plus the zero point.
    Requantize {
        /// Zero point of the output.
        zero_point: i32,
    },
    /// Added to the shortcut's value from a table of 256 int32.
    Join {
        /// By the shortcut's byte + 128.
        table: &'m [I32],
        /// Extra fractional bits of the sum.
        bits: u32,
    },
}

impl<'m> Conv<'m> {
    /// The convolution of a record that was checked.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let window = Window::of(model, layer);
        let channels = window.output.channels as usize;
        let bytes = |offset: u32, bytes: usize| proved!(model.bytes(offset, bytes)).unwrap_or(&[]);
        let padding = match layer.padding_values.get() {
            0 => Padding::Same(model.input_of(layer).zero_point),
            offset => Padding::PerChannel(int8(bytes(offset, window.input.channels as usize))),
        };
        let finish = match layer.shortcut() {
            None => Finish::Requantize { zero_point: i32::from(layer.zero_point) },
            Some(_) => Finish::Join {
                table: words(bytes(layer.table.get(), 1024)),
                bits: u32::from(layer.join_bits),
            },
        };
        Self {
            window,
            packing: layer.packing(),
            // Parsing compares their number last.
            weights: int8(
                model.bytes(layer.weights.get(), layer.weight_bytes.get() as usize).unwrap_or(&[]),
            ),
            bias: words(bytes(layer.bias.get(), 4 * channels)),
            mantissas: words(bytes(layer.mantissas.get(), 4 * channels)),
            shifts: int8(bytes(layer.shifts.get(), channels)),
            padding,
            finish,
            clamp: layer.clamp(),
        }
    }

    /// Weights an output channel.
    #[inline(always)]
    pub fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1] * self.window.input.channels as usize
    }

    /// Weights of a kernel row with what the packing adds.
    pub fn packed_row(&self) -> usize {
        packed_row(self.packing, kernel_taps(&self.window)[1])
    }

    /// Rows of the kernel, and weights in each.
    pub(crate) fn kernel_taps(&self) -> [usize; 2] {
        kernel_taps(&self.window)
    }

    /// Weights an output channel with what the packing adds.
    pub fn packed_taps(&self) -> usize {
        self.window.kernel[0] * self.packed_row()
    }

    /// Bytes of scratch memory.
    pub fn scratch_bytes(&self) -> usize {
        scratch_for(self.packing, &self.window) as usize
    }

    /// Weight `tap` of kernel row `ky` of output channel `o`: kernel columns × input channels.
    #[inline(always)]
    pub fn weight(&self, o: usize, ky: usize, tap: usize) -> i8 {
        self.packing.weight(self.weights, o, ky, tap, kernel_taps(&self.window))
    }

    /// Bias of output channel `o`.
    #[inline(always)]
    pub fn bias(&self, o: usize) -> i32 {
        proved!(self.bias.get(o)).map_or(0, |bias| bias.get())
    }

    /// Multiplier of output channel `o`.
    #[inline(always)]
    pub fn multiplier(&self, o: usize) -> Multiplier {
        channel_multiplier(self.mantissas, self.shifts, o)
    }

    /// The output for sum `acc` at column `x` and channel `o`, where `multiplier` is the
    /// channel's and `here` is what lies at the output's place.
    #[inline(always)]
    pub fn output(
        &self,
        acc: i32,
        multiplier: Multiplier,
        shortcut: &Shortcut<'_>,
        x: usize,
        o: usize,
        here: i8,
    ) -> i8 {
        self.of_value(requantize(acc, multiplier), shortcut, x, o, here)
    }

    /// The output for a requantized sum.
    #[inline(always)]
    fn of_value(&self, value: i32, shortcut: &Shortcut<'_>, x: usize, o: usize, here: i8) -> i8 {
        self.clamp.apply(match self.finish {
            Finish::Requantize { zero_point } => value + zero_point,
            Finish::Join { table, bits } => {
                let byte = (shortcut.at(x, o, here) as u8) ^ 0x80;
                (value + proved!(table.get(usize::from(byte))).map_or(0, |t| t.get())) >> bits
            }
        })
    }
}

/// How the sums of an output channel become outputs.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// The channel's number.
    pub o: usize,
    /// What is added to its sums.
    pub bias: i32,
    requantizer: Requantizer,
}

impl Conv<'_> {
    /// Output channel `o`, made ready for many sums.
    #[inline(always)]
    pub fn channel(&self, o: usize) -> Channel {
        Channel { o, bias: self.bias(o), requantizer: Requantizer::new(self.multiplier(o)) }
    }

    /// Writes the outputs for the sums of a channel, its bias not yet in them, at columns from
    /// `x` on; `pixels` begins with the first of them. Not inlined: several kernels come here, most
    /// with what is out of the ordinary.
    #[inline(never)]
    pub fn finish(
        &self,
        channel: &Channel,
        sums: &[i32],
        shortcut: &Shortcut<'_>,
        x: usize,
        pixels: &mut [i8],
    ) {
        let channels = usize::from(self.window.output.channels).max(1);
        let outputs = pixels.iter_mut().skip(channel.o).step_by(channels);
        for ((x, out), &sum) in (x..).zip(outputs).zip(sums) {
            let value = channel.requantizer.apply(channel.bias.wrapping_add(sum));
            *out = self.of_value(value, shortcut, x, channel.o, *out);
        }
    }
}

/// Multiplier of channel `c`, of a mantissa and a shift each.
#[inline(always)]
pub(crate) fn channel_multiplier(mantissas: &[I32], shifts: &[i8], c: usize) -> Multiplier {
    Multiplier {
        mantissa: I1F31::from_bits(proved!(mantissas.get(c)).map_or(0, |mantissa| mantissa.get())),
        shift: proved!(shifts.get(c)).copied().unwrap_or(0),
    }
}

/// Bytes of the packed weights.
pub(super) fn weight_bytes(window: &Window, packing: Packing) -> usize {
    packing.bytes(window.output.channels as usize, kernel_taps(window))
}

/// Rows of the kernel, and weights in each.
fn kernel_taps(window: &Window) -> [usize; 2] {
    [window.kernel[0], window.kernel[1] * usize::from(window.input.channels)]
}

/// Scratch memory of a convolution, in bytes.
pub(super) fn scratch_bytes(layer: &LayerRecord, input: Shape) -> u64 {
    scratch_for(layer.packing(), &Window::over(input, layer))
}

/// Weights of a kernel row with what the packing adds to those that there are.
fn packed_row(packing: Packing, row: usize) -> usize {
    match packing {
        Packing::Pairs | Packing::WidePairs => row.next_multiple_of(4),
        Packing::Eights => row.next_multiple_of(2),
        _ => row,
    }
}

/// Columns of the output that kernels for [`Packing::Pairs`], [`Packing::Vectors`] and
/// [`Packing::Eights`] compute at a time.
pub const PATCH_COLUMNS: usize = 4;
/// Weights of an output channel that they multiply at a time.
pub const CHUNK_TAPS: usize = 144;
/// Output channels that they keep sums of.
pub const GROUP_CHANNELS: usize = 64;

/// Output channels that kernels for [`Packing::Eights`] keep sums of, with `taps` weights each: if
/// not all weights are multiplied at a time half of them, within limits: whole eights.
#[inline(always)]
pub(crate) fn kept_channels(taps: usize, channels: usize) -> usize {
    let half = (channels / 2).next_multiple_of(EIGHT).clamp(GROUP_CHANNELS / 2, GROUP_CHANNELS);
    channels.min(if taps > CHUNK_TAPS { half } else { EIGHT })
}

/// Columns of the output in a tile of [`Packing::Winograd`].
pub const TILE_COLUMNS: usize = 4;
/// Tiles that kernels for these compute at a time.
pub const TILES: usize = 2;
/// Columns of the input under these tiles.
pub const TILES_SPAN: usize = TILES * TILE_COLUMNS + 2;
/// Output channels whose sums kernels for [`Packing::HwioTiles`] keep in scratch memory.
pub const TILE_LANES: usize = 32;
/// Words that they keep for each: the sums at all positions, and two shifts.
pub const TILE_WORDS: usize = TILE_POSITIONS * TILES + 2;
/// Rows of the input under the tiles of [`Packing::Winograd`].
pub const TILES_ROWS: usize = TILE_ROWS + 2;
/// Values that a tile of it is transformed into.
pub const TILE_POSITIONS: usize = TILE_TRANSFORM.len() * TILE_TRANSFORM.len();
/// Pixels of the input under its tiles.
pub const UNDER_TILES: usize = TILES_ROWS * TILES_SPAN;

/// What kernels for [`Packing::Hwio`] compute at a time.
#[derive(Debug, Clone, Copy)]
pub struct Strip {
    /// Columns of the output.
    pub columns: usize,
    /// Whether each of them has a lane of a vector. Else each channel of the output has.
    pub lanes: bool,
    /// Columns of the input under them.
    pub under: usize,
    /// Bytes of a row of these, and of one more value, as the kernels take them by twos.
    pub line: usize,
    /// With a lane a column: vectors for a kernel row, each of two values at all columns, and
    /// columns of such a vector. Where channels of the input come by twos, they are of these, and
    /// serve all kernel columns; else of all that is under the kernel.
    pub vectors: usize,
    /// See above.
    pub vector_columns: usize,
}

impl Strip {
    /// Lanes that it is made for, those of 128-bit vectors; others do as well.
    pub const LANES: usize = 32;
    /// Sums that a lane has in registers: as many columns where lanes are channels, as many
    /// channels where they are columns.
    pub const SUMS: usize = 3;

    /// That of a convolution: with lanes for what fills them better.
    pub fn of(window: &Window) -> Self {
        let [columns, channels] = [window.output.columns, window.output.channels].map(usize::from);
        let lanes =
            channels * columns.div_ceil(Self::LANES) < columns * channels.div_ceil(Self::LANES);
        let columns = columns.min(if lanes { Self::LANES } else { Self::SUMS });
        let under = columns.saturating_sub(1) * window.stride[1] + window.kernel[1];
        let inputs = usize::from(window.input.channels);
        let (vectors, vector_columns) = match inputs % 2 {
            0 => (inputs / 2, under),
            _ => ((window.kernel[1] * inputs).div_ceil(2), columns),
        };
        Self { columns, lanes, under, line: under * inputs + 1, vectors, vector_columns }
    }

    /// Bytes of the vectors for a kernel row: values are int16.
    pub fn plane(&self) -> usize {
        4 * self.vectors * self.vector_columns
    }
}

/// In 64 bits: there is no window whose scratch memory has a larger number of bytes. What is computed
/// in `usize` stays below 2³² for every window.
fn scratch_for(packing: Packing, window: &Window) -> u64 {
    let channels = usize::from(window.output.channels);
    let [rows, row] = kernel_taps(window);
    if let Some(unpacked) = packing.unpacked() {
        // A group's weights in bytes, its outputs if there are others beside them, and what its
        // own convolution asks for: the last group has fewer channels.
        let group = packing.group([rows, row]).min(channels);
        let part = |channels: usize| {
            let channels = channels as u16;
            let output = Shape { channels, ..window.output };
            scratch_for(unpacked, &Window { output, ..*window })
        };
        let rest = channels.checked_rem(group).unwrap_or(0);
        let parts = unpacked_parts(packing, window, group);
        return parts[0] as u64 + parts[1] as u64 + part(group).max(part(rest));
    }
    let bytes = match packing {
        Packing::Ohwi => 0,
        // The values under the kernel as int16, and a sum for each channel, at some columns.
        Packing::Pairs | Packing::WidePairs => {
            let taps = rows * packed_row(packing, row);
            let sums = channels.next_multiple_of(2).min(GROUP_CHANNELS);
            PATCH_COLUMNS * (2 * taps.clamp(4, CHUNK_TAPS) + 4 * sums)
        }
        // The values under the kernel, two columns a word, sums in the same form, and what of a
        // kernel row lies on padding, at two columns.
        Packing::Eights => {
            let row = packed_row(packing, row);
            let sums = kept_channels(rows * row, channels);
            let patch = PATCH_COLUMNS * 2 * (rows * row).clamp(2, CHUNK_TAPS);
            patch + 4 * PATCH_COLUMNS * sums + 2 * row.min(CHUNK_TAPS)
        }
        // The vectors of all kernel rows and a line, or a line of each.
        Packing::Hwio => {
            let strip = Strip::of(window);
            let (rows, line) = (rows as u64, strip.line as u64);
            return match strip.lanes {
                true => rows * strip.plane() as u64 + line,
                false => rows * line,
            };
        }
        // Likewise, and sums.
        Packing::HwioTiles => {
            let inputs = (row / 3).next_multiple_of(2);
            4 * TILE_LANES * TILE_WORDS + 2 * TILE_POSITIONS * TILES * inputs + UNDER_TILES * inputs
        }
        // The transformed values as int16, and what lies under the tiles.
        Packing::Winograd => {
            let inputs = (row / 3).next_multiple_of(4);
            2 * TILE_POSITIONS * TILES * inputs + UNDER_TILES * inputs
        }
        // The transformed values of all columns, what lies under two tiles, and the transformed
        // weights of four channels.
        Packing::WinogradInt8 => {
            let inputs = (row / 3).next_multiple_of(4);
            let spans = usize::from(window.output.columns).div_ceil(TILES * TILE_COLUMNS);
            let transformed = 2 * TILE_POSITIONS * (spans * TILES + SIDE_BY_SIDE);
            return (transformed + UNDER_TILES) as u64 * inputs as u64;
        }
        // Unpacked above.
        Packing::Ohwi4
        | Packing::Pairs4
        | Packing::Eights4
        | Packing::Vectors4
        | Packing::Hwio4 => 0,
        // The values under the kernel at some columns, as many of padding as under a row of it,
        // and a sum for each channel there.
        Packing::Vectors => {
            let sums = channels.next_multiple_of(4).min(VECTOR_CHANNELS);
            let step = window.stride[1] * usize::from(window.input.channels);
            let span = (PATCH_COLUMNS - 1) * step + row.next_multiple_of(VECTOR);
            PATCH_COLUMNS * 4 * sums + (1 + rows) * span.next_multiple_of(VECTOR)
        }
    };
    bytes as u64
}

/// Bytes of scratch memory for a group of output channels whose weights have four bits: for these
/// in bytes, and for its outputs. Both are aligned as the arena is.
pub(crate) fn unpacked_parts(packing: Packing, window: &Window, group: usize) -> [usize; 2] {
    let align = |bytes: usize| bytes.next_multiple_of(crate::ARENA_ALIGN);
    let kernel = kernel_taps(window);
    let weights = packing.unpacked().map_or(0, |unpacked| unpacked.bytes(group, kernel));
    let alone = group == usize::from(window.output.channels);
    let outputs = if alone { 0 } else { group * usize::from(window.output.columns) };
    [align(weights), align(outputs)]
}

/// Bytes that a packing makes of a weight, at most.
const LARGEST_WEIGHT: u64 = 8;

/// What the sums of a channel must stay below in magnitude, for kernels of that packing.
pub const fn sum_bound(packing: Packing) -> u32 {
    match packing {
        // Kernels have 64 times a sum in 32 bits.
        Packing::Winograd | Packing::WinogradInt8 | Packing::HwioTiles => 1 << 25,
        _ => 1 << 31,
    }
}

/// Checks the window, and that the parts of the file that the layer names are there.
#[inline]
pub(super) fn check_parts(
    model: &Model<'_>,
    layer: &LayerRecord,
) -> Result<(Window, Packing), Fault> {
    super::check_window(model, layer)?;
    let packing =
        Packing::from_number(layer.packing).ok_or(Fault::UnknownPacking(layer.packing))?;
    let window = Window::of(model, layer);
    if !packing.fits(window.kernel, window.stride) {
        return Err(Fault::Packing(packing));
    }
    // At most 8 · 8 · 8 · 65536 · 65536: only a 32-bit address can be too small for it.
    if u32::try_from(
        LARGEST_WEIGHT
            * window.kernel[0] as u64
            * window.kernel[1] as u64
            * u64::from(window.input.channels).next_multiple_of(4)
            * u64::from(window.output.channels).next_multiple_of(4),
    )
    .is_err()
    {
        return Err(Fault::OutOfBounds(Part::Weights));
    }
    let channels = usize::from(window.output.channels);
    let align = crate::format::WEIGHTS_ALIGN;
    let weights = weight_bytes(&window, layer.packing());
    part(model, Part::Weights, layer.weights, weights, align)?;
    part(model, Part::Bias, layer.bias, 4 * channels, 4)?;
    part(model, Part::Multipliers, layer.mantissas, 4 * channels, 4)?;
    part(model, Part::Multipliers, layer.shifts, channels, 1)?;
    if layer.padding_values.get() != 0 {
        let inputs = usize::from(window.input.channels);
        part(model, Part::PaddingValues, layer.padding_values, inputs, 1)?;
    }
    Ok((window, packing))
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let (window, packing) = check_parts(model, layer)?;
    // What is added behind the requantization, at most.
    let mut offset = 128;
    if layer.shortcut().is_some() {
        if layer.join_bits > MAX_JOIN_BITS {
            return Err(Fault::Quantization);
        }
        let table = part(model, Part::ShortcutTable, layer.table, 1024, 4)?;
        offset = largest(words(table));
    }
    let conv = Conv::new(model, layer);
    let kernel = kernel_taps(&window);
    for channel in 0..window.output.channels {
        let o = usize::from(channel);
        let multiplier = conv.multiplier(o);
        if !multiplier.is_valid() {
            return Err(Fault::Quantization);
        }
        if !packing.is_sound(conv.weights, o, kernel) {
            return Err(Fault::Transform { channel });
        }
        let holds = |bound| bound < sum_bound(packing) && multiplier.holds(bound, offset);
        // What any weights can add is nearly always little enough: then they need not be read.
        if !holds(bound_of_any(&conv, o)) && !holds(accumulator_bound(&conv, o)) {
            return Err(Fault::Accumulator { channel });
        }
    }
    Ok(())
}

/// The largest magnitude of a table's words.
pub(super) fn largest(table: &[I32]) -> u32 {
    table.iter().map(|term| term.get().unsigned_abs()).max().unwrap_or(0)
}

/// What [`accumulator_bound`] is at most, whatever the weights are.
fn bound_of_any(conv: &Conv<'_>, o: usize) -> u32 {
    let taps: usize = kernel_taps(&conv.window).into_iter().product();
    let products = (taps as u32).saturating_mul(bound_with(0, i8::MIN));
    conv.bias(o).unsigned_abs().saturating_add(products)
}

/// Largest magnitude that the sum of output channel `o` can have, at any moment of summing.
fn accumulator_bound(conv: &Conv<'_>, o: usize) -> u32 {
    let [rows, row] = kernel_taps(&conv.window);
    let mut bound = conv.bias(o).unsigned_abs();
    for ky in 0..rows {
        for tap in 0..row {
            bound = bound_with(bound, conv.weight(o, ky, tap));
        }
    }
    bound
}

/// Largest magnitude of a sum, `bound` so far, with one more product: of `weight` and any int8. It
/// begins with the magnitude of the bias.
pub fn bound_with(bound: u32, weight: i8) -> u32 {
    bound.saturating_add(128 * u32::from(weight.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_kept_of_whole_eights() {
        for taps in [1, CHUNK_TAPS, CHUNK_TAPS + 1] {
            for channels in 1..300 {
                let kept = kept_channels(taps, channels);
                let whole = kept == channels || kept.is_multiple_of(EIGHT);
                assert!(whole && kept <= GROUP_CHANNELS, "{kept} of {channels}");
            }
        }
    }
}
