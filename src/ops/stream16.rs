//! A residual stream in 16 bits, of which everything that multiplies reads eight.
//!
//! A row of such a tensor is two rows of bytes, one after the other: what the numbers are in int8,
//! and what rounding them to it took away.
//!
//! ```text
//! place   │ upper, int8: columns × channels │ lower, uint8: columns × channels │
//!
//! u = 256 · upper + lower                       the number, from −2¹⁵ to 2¹⁵ − 1
//! real = scale / 256 · (u − 128 − 256 · zero point)
//! ```
//!
//! So `upper` is the number rounded to int8, half up, with the tensor's scale and zero point: a layer
//! that reads int8 reads the upper row as it is, and nothing has to be made for it. What reads
//! both rows is a layer that makes such a tensor, of its shortcut, and an average pool.
//!
//! A convolution makes it, with or without a shortcut:
//!
//! ```text
//! sum = requantize(acc, multiplier[o]) + ((u of the shortcut · factor) >> 10) + offset
//! s = clamp(sum >> 4)                                        from 256 · min to 256 · max + 127
//! u = s + 128
//! ```
//!
//! `acc` is that of any [convolution](super::conv). What is added has twelve fractional bits, of
//! which eight are kept: that is the one rounding of a residual block. A shortcut in int8 has
//! `lower` = 128, and where there is none, *u* is that of zero. `factor` is 2¹⁴ · the shortcut's
//! scale / the output's, or 0 without a shortcut; `offset` has zero points and one half.
//!
//! Scores, too, can be such a tensor, with a zero point of 0: s with a scale of `scale / 256`.
//!
//! In the record `factor` is the mantissa of multiplier 0, `offset` that of multiplier 1, and
//! `join_bits` is 12.

use crate::error::Fault;
use crate::feature::Feature;
use crate::format::{LayerRecord, NONE, Operator};
use crate::model::Model;
use crate::quant::Clamp;

/// Fractional bits of what is added, beside int8.
pub const FRACTION: u8 = 12;
/// Of these, bits that a number has no room for.
pub const DROPPED: u32 = FRACTION as u32 - 8;
/// Fractional bits of a term that are dropped before it is added.
pub const TERM_SHIFT: u32 = 10;
/// Largest factor.
pub const MAX_FACTOR: i32 = i16::MAX as i32;
/// What a number's lower byte is where it is exact in int8.
pub const EXACT: i32 = 128;

/// How sums become numbers of the stream.
///
/// There is none in a build without the feature `stream16`.
#[derive(Debug, Clone, Copy)]
pub struct Stream16 {
    /// What the shortcut is multiplied by; 0 without one.
    pub factor: i32,
    /// What is added to that.
    pub offset: i32,
    #[cfg(not(feature = "stream16"))]
    _none: core::convert::Infallible,
}

impl Stream16 {
    /// With such a factor and offset; `None` in a build without the feature.
    #[cfg(feature = "stream16")]
    pub const fn new(factor: i32, offset: i32) -> Option<Self> {
        Some(Self { factor, offset })
    }

    /// With such a factor and offset; `None` in a build without the feature.
    #[cfg(not(feature = "stream16"))]
    pub const fn new(_: i32, _: i32) -> Option<Self> {
        None
    }

    /// Of a layer that makes such a tensor.
    #[cfg(feature = "stream16")]
    pub(crate) fn of(layer: &LayerRecord) -> Option<Self> {
        let [factor, offset, _] = layer.multiplier_mantissas.map(|word| word.get());
        layer.is_stream16().then_some(Self { factor, offset })
    }

    /// There is no such layer.
    #[cfg(not(feature = "stream16"))]
    #[inline(always)]
    pub(crate) fn of(_: &LayerRecord) -> Option<Self> {
        None
    }

    /// The number `u` for a requantized sum, where the shortcut's is `shortcut`.
    #[inline(always)]
    pub fn number(&self, value: i32, shortcut: i32, clamp: Clamp) -> i32 {
        let term = (shortcut * self.factor) >> TERM_SHIFT;
        let s = (value + term + self.offset) >> DROPPED;
        s.max(256 * i32::from(clamp.min)).min(256 * i32::from(clamp.max) + 127) + EXACT
    }

    /// Whether it is one that kernels can compute with: product and offset, before the shift, stay within
    /// 32 bits.
    pub fn is_valid(&self) -> bool {
        let end = |u: i16| {
            let product = i64::from(self.factor) * i64::from(u);
            i32::try_from(product + (i64::from(self.offset) << TERM_SHIFT)).is_ok()
        };
        (0..=MAX_FACTOR).contains(&self.factor) && end(i16::MIN) && end(i16::MAX)
    }

    /// Bound of what is added behind the requantization, in whatever order.
    pub fn largest_term(&self) -> u32 {
        let term = self.factor.unsigned_abs() << (15 - TERM_SHIFT);
        term.saturating_add(self.offset.unsigned_abs())
    }
}

/// The bytes of a number: upper, lower.
#[inline(always)]
pub fn bytes(u: i32) -> [i8; 2] {
    [(u >> 8) as i8, u as i8]
}

/// The number of two bytes.
#[inline(always)]
pub fn number([upper, lower]: [i8; 2]) -> i32 {
    i32::from(upper) << 8 | i32::from(lower as u8)
}

/// The two rows that a row consists of.
#[inline(always)]
pub fn halves(row: &[i8]) -> (&[i8], &[i8]) {
    row.split_at_checked(row.len() / 2).unwrap_or((row, &[]))
}

/// The numbers of a row whose zero point is 0, each with that of zero taken off: scores.
pub fn scores(row: &[i8]) -> impl Iterator<Item = i16> + Clone + '_ {
    let (upper, lower) = halves(row);
    upper.iter().zip(lower).map(|(&upper, &lower)| (number([upper, lower]) - EXACT) as i16)
}

/// The bytes of a row of such scores.
pub fn row_of_scores(scores: impl Iterator<Item = i16> + Clone) -> impl Iterator<Item = u8> {
    let bytes = |half: usize| move |score: i16| bytes(i32::from(score) + EXACT)[half] as u8;
    scores.clone().map(bytes(0)).chain(scores.map(bytes(1)))
}

/// Where the number in place of column and channel `index` is in a row that is written.
#[inline(always)]
pub(crate) fn at(row: &[i8], index: usize) -> i32 {
    let byte = |index: usize| row.get(index).copied().unwrap_or(0);
    number([byte(index), byte(row.len() / 2 + index)])
}

/// Writes it.
#[inline(always)]
pub(crate) fn put(row: &mut [i8], index: usize, u: i32) {
    let half = row.len() / 2;
    let [upper, lower] = bytes(u);
    row.get_mut(index).into_iter().for_each(|byte| *byte = upper);
    row.get_mut(half + index).into_iter().for_each(|byte| *byte = lower);
}

/// How far `lower` lies behind `row`, both of one place in the arena; assembly reads it so.
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

/// The shortcut of a convolution that makes such a tensor, with all of the output's channels and both
/// bytes: one that has not is copied to where the output goes.
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

/// Adds a row to `sums`, one a channel; the first row sets them.
pub(crate) fn sum_row(first: bool, row: &[i8], sums: &mut [i32]) {
    if first {
        sums.fill(0);
    }
    let (upper, lower) = halves(row);
    let channels = sums.len().max(1);
    // Not zipped: how many there are of two at a time is a division, which could be by zero.
    let mut lowers = lower.chunks_exact(channels);
    for upper in upper.chunks_exact(channels) {
        let Some(lower) = lowers.next() else { return };
        for ((sum, &upper), &lower) in sums.iter_mut().zip(upper).zip(lower) {
            *sum = sum.wrapping_add(number([upper, lower]));
        }
    }
}

/// Checks that the layer may make such a tensor.
pub(super) fn check(layer: &LayerRecord) -> Result<(), Fault> {
    if !layer.is_stream16() {
        return Ok(());
    }
    let makes = layer.operator() == Operator::Conv && !layer.has_int16();
    let in_bytes = layer.packing().unpacked().is_none();
    // Scores have no other zero, and lie in one row.
    let scores = layer.zero_point == 0 && layer.rows.get() == 1;
    let in_bytes = in_bytes && (layer.last_reader.get() != NONE || scores);
    #[cfg(feature = "stream16")]
    if !makes || !in_bytes {
        return Err(Fault::Stream16);
    }
    let shifts = layer.multiplier_shifts == [0; 3] && layer.join_bits == FRACTION;
    let _ = (makes, in_bytes);
    if shifts { Ok(()) } else { Err(Fault::Quantization) }
}

/// Bound of what is added behind the requantization of a layer that makes such a tensor; its fault if
/// that is out of range.
pub(super) fn offset(stream: &Stream16, layer: &LayerRecord) -> Result<u32, Fault> {
    let alone = layer.shortcut().is_none() && stream.factor != 0;
    if stream.is_valid() && !alone { Ok(stream.largest_term()) } else { Err(Fault::Quantization) }
}

/// The model's layers read both rows of such an input, and no others do.
pub(crate) fn reads_both(model: &Model<'_>, layer: &LayerRecord) -> bool {
    Feature::Stream16.is_on()
        && layer.operator() == Operator::AveragePool
        && !layer.has_int16()
        && model.input_of(layer).is_stream16()
}
