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
//! Outside of the input, the values are its zero point, or a padding value for each input channel.
//! The bias contains `-zero_point · Σ weight`.
//!
//! Without a join, this is TFLite's 8-bit quantization specification, with the double rounding of
//! [`requantize`]. The join ends a residual block with one rounding: accumulator and shortcut are
//! both scaled to the output's scale with `join_bits` extra bits. The table maps the shortcut's
//! byte to its scaled value, and also contains the zero point and one half, so that the arithmetic
//! shift rounds half up. A join of [a 16-bit stream](super::stream16) keeps eight of these bits.

use fixed::types::I1F31;
use zerocopy::little_endian::I32;

pub mod check;
pub(crate) mod scratch;

use super::stream16::{self, Stream16};
use super::{Shortcut, Window, int8, words};
use crate::format::{LayerRecord, Packing};
use crate::model::Model;
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, Requantizer, requantize};

pub(super) use scratch::scratch_bytes;
pub use scratch::{
    CHUNK_TAPS, GROUP_CHANNELS, PATCH_COLUMNS, SPANS, Strip, TILE_COLUMNS, TILE_LANES,
    TILE_POSITIONS, TILE_WORDS, TILES, TILES_ROWS, TILES_SPAN, TallBlock, TallStrip, UNDER_TILES,
};
use scratch::{kernel_taps, packed_row, scratch_for};

/// Largest number of extra bits of a join.
pub const MAX_JOIN_BITS: u8 = 16;

/// A convolution, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Conv<'m> {
    /// How it walks over the input.
    pub window: Window,
    /// Packing of the weights.
    pub packing: Packing,
    /// Packed weights of output channels × kernel rows × kernel columns × input channels.
    pub weights: &'m [i8],
    /// An int32 for each output channel.
    pub bias: &'m [I32],
    /// Q31 mantissas of the multipliers, one for each output channel.
    pub mantissas: &'m [I32],
    /// Shifts of the multipliers, one for each output channel.
    pub shifts: &'m [i8],
    /// The values outside of the input.
    pub padding: Padding<'m>,
    /// How a sum becomes an output.
    pub finish: Finish<'m>,
    /// Range of the output.
    pub clamp: Clamp,
}

/// The values that a convolution reads outside of its input.
#[derive(Debug, Clone, Copy)]
pub enum Padding<'m> {
    /// The zero point of the input.
    Same(i8),
    /// A value for each input channel.
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
        /// Indexed by the shortcut's byte + 128.
        table: &'m [I32],
        /// Extra fractional bits of the sum.
        bits: u32,
    },
    /// Made a value of a 16-bit stream.
    Stream(Stream16),
}

/// The parameters of a layer's channels besides the weights.
pub(super) struct Numbers<'m> {
    pub(super) bias: &'m [I32],
    pub(super) mantissas: &'m [I32],
    pub(super) shifts: &'m [i8],
    pub(super) padding: Padding<'m>,
}

impl<'m> Numbers<'m> {
    /// Those of a record whose parts were checked.
    pub(super) fn of(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let (input, channels) = (model.input_of(layer), usize::from(layer.channels.get()));
        let bytes = |offset: u32, bytes: usize| proved!(model.bytes(offset, bytes)).unwrap_or(&[]);
        Self {
            bias: words(bytes(layer.bias.get(), 4 * channels)),
            mantissas: words(bytes(layer.mantissas.get(), 4 * channels)),
            shifts: int8(bytes(layer.shifts.get(), channels)),
            padding: match layer.padding_values.get() {
                0 => Padding::Same(input.zero_point),
                offset => Padding::PerChannel(int8(bytes(offset, input.channels.get().into()))),
            },
        }
    }
}

impl<'m> Conv<'m> {
    /// The convolution of a checked record.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        let window = Window::of(model, layer);
        let Numbers { bias, mantissas, shifts, padding } = Numbers::of(model, layer);
        let finish = match (Stream16::of(layer), layer.shortcut()) {
            (Some(stream), _) => Finish::Stream(stream),
            // Joins that read or make int16 have no table.
            (_, shortcut) if shortcut.is_none() || layer.has_int16() => {
                Finish::Requantize { zero_point: i32::from(layer.zero_point) }
            }
            _ => Finish::Join {
                table: words(proved!(model.bytes(layer.table.get(), 1024)).unwrap_or(&[])),
                bits: u32::from(layer.join_bits),
            },
        };
        Self {
            window,
            packing: layer.packing(),
            // `parse` checks the number of bytes last, so the weights can still be out of bounds
            // here.
            weights: int8(
                model.bytes(layer.weights.get(), layer.weight_bytes.get() as usize).unwrap_or(&[]),
            ),
            bias,
            mantissas,
            shifts,
            padding,
            finish,
            clamp: layer.clamp(),
        }
    }

    /// Number of weights of an output channel.
    #[inline(always)]
    pub fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1] * self.window.input.channels as usize
    }

    /// Number of weights of a kernel row, including the packing's padding.
    pub fn packed_row(&self) -> usize {
        packed_row(self.packing, kernel_taps(&self.window)[1])
    }

    /// Number of kernel rows, and number of weights in each.
    pub(crate) fn kernel_taps(&self) -> [usize; 2] {
        kernel_taps(&self.window)
    }

    /// Number of weights of an output channel, including the packing's padding.
    pub fn packed_taps(&self) -> usize {
        self.window.kernel[0] * self.packed_row()
    }

    /// Number of bytes of scratch memory.
    pub fn scratch_bytes(&self) -> usize {
        scratch_for(self.packing, &self.window) as usize
    }

    /// Weight `tap` of kernel row `ky` of output channel `o`; `tap` counts kernel columns × input
    /// channels.
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

    /// Writes the output for sum `acc` at column `x` and channel `o` into its row.
    ///
    /// `multiplier` is the channel's.
    #[inline(always)]
    pub fn put(
        &self,
        acc: i32,
        multiplier: Multiplier,
        shortcut: &Shortcut<'_>,
        x: usize,
        o: usize,
        row: &mut [i8],
    ) {
        let (index, value) = (self.index(x, o), requantize(acc, multiplier));
        if let Finish::Stream(stream) = self.finish {
            let operand = shortcut.number_at(x, o, stream16::at(row, index));
            stream16::put(row, index, stream.number(value, operand, self.clamp));
        } else if let Some(out) = proved!(row.get_mut(index)) {
            *out = self.of_value(value, shortcut, x, o, *out);
        }
    }

    /// The index of column `x` and channel `o` in a row.
    #[inline(always)]
    fn index(&self, x: usize, o: usize) -> usize {
        x * usize::from(self.window.output.channels) + o
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
            // These outputs have two bytes: see `put`.
            Finish::Stream(_) => 0,
        })
    }

    /// Number of bytes of a row of the output.
    #[inline(always)]
    pub fn output_bytes(&self) -> usize {
        self.row_bytes() << u32::from(matches!(self.finish, Finish::Stream(_)))
    }

    /// Number of values of a row of the output.
    ///
    /// A 16-bit stream has two bytes for each value.
    #[inline(always)]
    pub fn row_bytes(&self) -> usize {
        self.window.output.row_bytes()
    }
}

/// How the sums of one output channel become outputs.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// The channel's index.
    pub o: usize,
    /// Added to its sums.
    pub bias: i32,
    requantizer: Requantizer,
}

impl Conv<'_> {
    /// Output channel `o`, prepared for many sums.
    #[inline(always)]
    pub fn channel(&self, o: usize) -> Channel {
        Channel { o, bias: self.bias(o), requantizer: Requantizer::new(self.multiplier(o)) }
    }

    /// Writes the outputs for the sums of a channel, which do not contain its bias yet, into their
    /// row at columns from `x` on. It is not inlined because several kernels call it, most of them
    /// for exceptional cases.
    #[inline(never)]
    pub fn finish(
        &self,
        channel: &Channel,
        sums: &[i32],
        shortcut: &Shortcut<'_>,
        x: usize,
        row: &mut [i8],
    ) {
        let channels = usize::from(self.window.output.channels).max(1);
        let first = self.index(x, channel.o);
        if let Finish::Stream(stream) = self.finish {
            let end = self.row_bytes().min(row.len() / 2);
            for ((x, index), &sum) in (x..).zip((first..end).step_by(channels)).zip(sums) {
                let value = channel.requantizer.apply(channel.bias.wrapping_add(sum));
                let operand = shortcut.number_at(x, channel.o, stream16::at(row, index));
                stream16::put(row, index, stream.number(value, operand, self.clamp));
            }
            return;
        }
        let outputs = row.iter_mut().skip(first).step_by(channels);
        for ((x, out), &sum) in (x..).zip(outputs).zip(sums) {
            let value = channel.requantizer.apply(channel.bias.wrapping_add(sum));
            *out = self.of_value(value, shortcut, x, channel.o, *out);
        }
    }
}

/// Multiplier of channel `c`, from its mantissa and its shift.
#[inline(always)]
pub(crate) fn channel_multiplier(mantissas: &[I32], shifts: &[i8], c: usize) -> Multiplier {
    Multiplier {
        mantissa: I1F31::from_bits(proved!(mantissas.get(c)).map_or(0, |mantissa| mantissa.get())),
        shift: proved!(shifts.get(c)).copied().unwrap_or(0),
    }
}

/// Number of bytes of the packed weights.
pub(in crate::ops) fn weight_bytes(window: &Window, packing: Packing) -> usize {
    packing.bytes(window.output.channels as usize, kernel_taps(window))
}
