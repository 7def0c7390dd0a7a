//! A residual 16-bit stream, whose upper bytes are the int8 values that multiplying layers read.
//!
//! A row of such a tensor is two rows of bytes, one after the other: the values rounded to int8,
//! and the bits that the rounding dropped.
//!
//! ```text
//! place   │ upper, int8: columns × channels │ lower, uint8: columns × channels │
//!
//! u = 256 · upper + lower                       the number, from −2¹⁵ to 2¹⁵ − 1
//! real = scale / 256 · (u − 128 − 256 · zero point)
//! ```
//!
//! `upper` is the value rounded to int8, half up, with the tensor's scale and zero point. A layer
//! that reads int8 therefore reads the upper row unchanged. Two kinds of layers read both rows: a
//! layer that makes a 16-bit stream reads those of its shortcut, and an average pool those of its
//! input.
//!
//! A convolution makes a 16-bit stream, with or without a shortcut:
//!
//! ```text
//! sum = requantize(acc, multiplier[o]) + ((u of the shortcut · factor) >> 10) + offset
//! s = clamp(sum >> 4)                                        from 256 · min to 256 · max + 127
//! u = s + 128
//! ```
//!
//! `acc` is that of any [convolution](super::conv). The terms have twelve fractional bits, and
//! eight of these are kept: this is the only rounding in a residual block. A shortcut in int8 has
//! `lower` = 128; without a shortcut, *u* is that of zero. `factor` is 2¹⁴ · the shortcut's scale /
//! the output's, or 0 without a shortcut. `offset` contains the zero points and one half.
//!
//! Scores can also be such a tensor, with a zero point of 0. They are then s, with a scale of
//! `scale / 256`.
//!
//! In the record, `factor` is the mantissa of multiplier 0, `offset` the mantissa of multiplier 1,
//! and `join_bits` is 12.

use crate::error::Fault;
use crate::feature::Feature;
use crate::format::{LayerRecord, NONE, Operator};
use crate::model::Model;
use crate::quant::Clamp;

/// Number of fractional bits of the terms.
pub const FRACTION: u8 = 12;
/// Number of these bits that are dropped from the sum.
pub const DROPPED: u32 = FRACTION as u32 - 8;
/// Number of fractional bits that are dropped from the shortcut's term before it is added.
pub const TERM_SHIFT: u32 = 10;
/// Largest factor.
pub const MAX_FACTOR: i32 = i16::MAX as i32;
/// The lower byte of a value that int8 represents exactly.
pub const EXACT: i32 = 128;

/// How sums become values of a 16-bit stream.
///
/// Without the feature `stream16` the type has no values.
#[derive(Debug, Clone, Copy)]
pub struct Stream16 {
    /// The factor of the shortcut; 0 if there is none.
    pub factor: i32,
    /// Added to the product.
    pub offset: i32,
    #[cfg(not(feature = "stream16"))]
    _none: core::convert::Infallible,
}

impl Stream16 {
    /// Makes one from a factor and an offset; `None` in a build without the feature.
    #[cfg(feature = "stream16")]
    pub const fn new(factor: i32, offset: i32) -> Option<Self> {
        Some(Self { factor, offset })
    }

    /// Makes one from a factor and an offset; `None` in a build without the feature.
    #[cfg(not(feature = "stream16"))]
    pub const fn new(_: i32, _: i32) -> Option<Self> {
        None
    }

    /// That of a layer, if it makes a 16-bit stream.
    #[cfg(feature = "stream16")]
    pub(crate) fn of(layer: &LayerRecord) -> Option<Self> {
        let [factor, offset, _] = layer.multiplier_mantissas.map(|word| word.get());
        layer.is_stream16().then_some(Self { factor, offset })
    }

    /// Always `None`: this build has no such layer.
    #[cfg(not(feature = "stream16"))]
    #[inline(always)]
    pub(crate) fn of(_: &LayerRecord) -> Option<Self> {
        None
    }

    /// The value `u` for the requantized sum `value`, where the shortcut's is `shortcut`.
    #[inline(always)]
    pub fn number(&self, value: i32, shortcut: i32, clamp: Clamp) -> i32 {
        let term = (shortcut * self.factor) >> TERM_SHIFT;
        let s = (value + term + self.offset) >> DROPPED;
        s.max(256 * i32::from(clamp.min)).min(256 * i32::from(clamp.max) + 127) + EXACT
    }

    /// Whether kernels can compute with it: the sum of product and offset must fit into 32 bits
    /// before the shift.
    pub fn is_valid(&self) -> bool {
        let end = |u: i16| {
            let product = i64::from(self.factor) * i64::from(u);
            i32::try_from(product + (i64::from(self.offset) << TERM_SHIFT)).is_ok()
        };
        (0..=MAX_FACTOR).contains(&self.factor) && end(i16::MIN) && end(i16::MAX)
    }

    /// Bound of what is added after the requantization, in any order.
    pub fn largest_term(&self) -> u32 {
        let term = self.factor.unsigned_abs() << (15 - TERM_SHIFT);
        term.saturating_add(self.offset.unsigned_abs())
    }
}

/// The upper and the lower byte of a value.
#[inline(always)]
pub fn bytes(u: i32) -> [i8; 2] {
    [(u >> 8) as i8, u as i8]
}

/// The value with these two bytes.
#[inline(always)]
pub fn number([upper, lower]: [i8; 2]) -> i32 {
    i32::from(upper) << 8 | i32::from(lower as u8)
}

/// The upper and the lower row of a row.
#[inline(always)]
pub fn halves(row: &[i8]) -> (&[i8], &[i8]) {
    row.split_at_checked(row.len() / 2).unwrap_or((row, &[]))
}

/// The values of a row whose zero point is 0, relative to that of zero: scores.
pub fn scores(row: &[i8]) -> impl Iterator<Item = i16> + Clone + '_ {
    let (upper, lower) = halves(row);
    upper.iter().zip(lower).map(|(&upper, &lower)| (number([upper, lower]) - EXACT) as i16)
}

/// The bytes of a row of such scores.
pub fn row_of_scores(scores: impl Iterator<Item = i16> + Clone) -> impl Iterator<Item = u8> {
    let bytes = |half: usize| move |score: i16| bytes(i32::from(score) + EXACT)[half] as u8;
    scores.clone().map(bytes(0)).chain(scores.map(bytes(1)))
}

/// The value at `index` (column and channel) of a row that is being written.
#[inline(always)]
pub(crate) fn at(row: &[i8], index: usize) -> i32 {
    let byte = |index: usize| row.get(index).copied().unwrap_or(0);
    number([byte(index), byte(row.len() / 2 + index)])
}

/// Writes the value at `index`.
#[inline(always)]
pub(crate) fn put(row: &mut [i8], index: usize, u: i32) {
    let half = row.len() / 2;
    let [upper, lower] = bytes(u);
    row.get_mut(index).into_iter().for_each(|byte| *byte = upper);
    row.get_mut(half + index).into_iter().for_each(|byte| *byte = lower);
}

/// The distance in bytes from `row` to `lower`, both in the same arena, for assembly.
#[cfg(any(
    feature = "armv6m",
    feature = "armv7m",
    feature = "armv7em",
    feature = "rv32",
    feature = "helium",
    feature = "rvv"
))]
pub(crate) fn distance(row: &[i8], lower: &[i8]) -> usize {
    if !Feature::Stream16.is_on() {
        return 0;
    }
    lower.as_ptr().expose_provenance().wrapping_sub(row.as_ptr().addr())
}

/// A shortcut that vector kernels can read directly: with all channels of the output and with both
/// bytes. Any other shortcut is copied to the output's position.
#[cfg(any(feature = "helium", feature = "rvv"))]
pub(crate) fn in_reach<'s>(
    conv: &super::conv::Conv<'_>,
    shortcut: &super::Shortcut<'s>,
    output: &mut [i8],
) -> super::Shortcut<'s> {
    use super::Shortcut;
    let shape = conv.window.output;
    let [columns, outputs] = [shape.columns, shape.channels].map(usize::from);
    match *shortcut {
        Shortcut::Row { row, lower, channels, stride, before: 0, .. }
            if channels == outputs
                && row.len() >= columns.saturating_sub(1) * stride * channels + channels
                && lower.len() == row.len() => {}
        Shortcut::Row { .. } => {
            for x in 0..columns {
                for o in 0..outputs {
                    put(output, x * outputs + o, shortcut.number_at(x, o, 0));
                }
            }
            return Shortcut::InPlace;
        }
        Shortcut::InPlace => {}
    }
    *shortcut
}

/// Adds a row to `sums`, one for each channel; the first row sets them.
pub(crate) fn sum_row(first: bool, row: &[i8], sums: &mut [i32]) {
    if first {
        sums.fill(0);
    }
    let (upper, lower) = halves(row);
    let channels = sums.len().max(1);
    // Not zipped: zipping two `ChunksExact` computes the number of chunks with a division, which
    // could be by zero.
    let mut lowers = lower.chunks_exact(channels);
    for upper in upper.chunks_exact(channels) {
        let Some(lower) = lowers.next() else { return };
        for ((sum, &upper), &lower) in sums.iter_mut().zip(upper).zip(lower) {
            *sum = sum.wrapping_add(number([upper, lower]));
        }
    }
}

/// Checks that the layer may make a 16-bit stream.
pub(super) fn check(layer: &LayerRecord) -> Result<(), Fault> {
    if !layer.is_stream16() {
        return Ok(());
    }
    let makes = layer.operator() == Operator::Conv && !layer.has_int16();
    let in_bytes = layer.packing().unpacked().is_none();
    // Scores must have the zero point 0.
    let in_bytes = in_bytes && (layer.last_reader.get() != NONE || layer.zero_point == 0);
    #[cfg(feature = "stream16")]
    if !makes || !in_bytes {
        return Err(Fault::Stream16);
    }
    let shifts = layer.multiplier_shifts == [0; 3] && layer.join_bits == FRACTION;
    let _ = (makes, in_bytes);
    if shifts { Ok(()) } else { Err(Fault::Quantization) }
}

/// Bound of what is added after the requantization by a layer that makes a 16-bit stream; a fault
/// if it is out of range.
pub(super) fn offset(stream: &Stream16, layer: &LayerRecord) -> Result<u32, Fault> {
    let alone = layer.shortcut().is_none() && stream.factor != 0;
    if stream.is_valid() && !alone { Ok(stream.largest_term()) } else { Err(Fault::Quantization) }
}

/// Whether the layer reads both rows of its input.
pub(crate) fn reads_both(model: &Model<'_>, layer: &LayerRecord) -> bool {
    Feature::Stream16.is_on()
        && layer.operator() == Operator::AveragePool
        && !layer.has_int16()
        && model.input_of(layer).is_stream16()
}
