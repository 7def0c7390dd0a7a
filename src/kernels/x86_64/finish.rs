//! How sums become outputs.
//!
//! The functions for each pixel have loops instead of closures, because code that is not inlined
//! would be compiled without the vector instructions.

use core::array::from_fn;

use zerocopy::little_endian::I32;

use super::{LANES, Lanes};
use crate::ops::conv::{Conv, Finish};
use crate::ops::{Shortcut, stream16};
use crate::quant::{Clamp, Requantizers};

/// How the sums of a block's output channels become outputs.
pub(super) struct Block {
    /// The first channel.
    o: usize,
    bias: Lanes,
    requantizers: Requantizers<LANES>,
}

impl Block {
    #[inline(always)]
    pub(super) fn new(conv: &Conv<'_>, o: usize, correction: &Lanes) -> Self {
        // Lanes without a channel make values that are not written.
        let last = usize::from(conv.window.output.channels) - 1;
        Self {
            o,
            bias: sum(&from_fn(|lane| conv.bias(last.min(o + lane))), correction),
            requantizers: Requantizers::new(from_fn(|lane| conv.multiplier(last.min(o + lane)))),
        }
    }

    /// Writes outputs at columns from `x` on.
    #[inline(always)]
    pub(super) fn finish(
        &self,
        conv: &Conv<'_>,
        sums: &[Lanes],
        shortcut: &Shortcut<'_>,
        x: usize,
        output: &mut [i8],
    ) {
        let channels = usize::from(conv.window.output.channels);
        let o = self.o..channels.min(self.o + LANES);
        let (output, lower) = output.split_at_mut(conv.row_bytes().min(output.len()));
        let pixels = output.chunks_exact_mut(channels).enumerate().skip(x);
        for (sums, (x, pixel)) in sums.iter().zip(pixels) {
            let pixel = &mut pixel[o.clone()];
            let mut values = self.requantizers.apply(&sum(&self.bias, sums));
            match conv.finish {
                Finish::Requantize { zero_point } => values = sum(&values, &[zero_point; LANES]),
                Finish::Join { table, bits } => {
                    let terms = terms(table, &operands(shortcut, x, self.o, pixel));
                    values = sum(&values, &terms);
                    for value in &mut values {
                        *value >>= bits;
                    }
                }
                Finish::Stream(stream) => {
                    let lower = &mut lower[x * channels..][o.clone()];
                    let upper = operands(shortcut, x, self.o, pixel);
                    let below = lowers(shortcut, x, self.o, lower);
                    for ((value, upper), below) in values.iter_mut().zip(&upper).zip(&below) {
                        let operand = stream16::number([*upper, *below]);
                        *value = stream.number(*value, operand, conv.clamp);
                    }
                    for (place, value) in lower.iter_mut().zip(&values) {
                        *place = *value as i8;
                    }
                    for value in &mut values {
                        *value >>= 8;
                    }
                }
            }
            write(&values, conv.clamp, pixel);
        }
    }
}

/// Adds sums, which may wrap.
#[inline(always)]
pub(super) fn sum(a: &Lanes, b: &Lanes) -> Lanes {
    let mut sums = *a;
    for (sum, b) in sums.iter_mut().zip(b) {
        *sum = sum.wrapping_add(*b);
    }
    sums
}

/// Writes the first values, clamped to a range.
#[inline(always)]
pub(super) fn write(values: &Lanes, clamp: Clamp, places: &mut [i8]) {
    let mut bytes = [0; LANES];
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = clamp.apply(*value);
    }
    match <&mut [i8; LANES]>::try_from(&mut *places) {
        Ok(places) => *places = bytes,
        Err(_) => places.copy_from_slice(&bytes[..places.len()]),
    }
}

/// The shortcut at column `x` and channels from `o` on. `here` holds the values at the output's
/// position.
#[inline(always)]
pub(super) fn operands(shortcut: &Shortcut<'_>, x: usize, o: usize, here: &[i8]) -> [i8; LANES] {
    let mut operands = [0; LANES];
    let row = match *shortcut {
        Shortcut::InPlace => here,
        Shortcut::Row { row, channels, stride, before: 0, .. } if o + here.len() <= channels => {
            &row[x * stride * channels + o..][..here.len()]
        }
        Shortcut::Row { .. } => {
            for (lane, operand) in operands.iter_mut().enumerate() {
                *operand = shortcut.at(x, o + lane, 0);
            }
            return operands;
        }
    };
    match row.try_into() {
        Ok(row) => operands = row,
        Err(_) => operands[..row.len()].copy_from_slice(row),
    }
    operands
}

/// The same for the lower bytes of a 16-bit stream.
#[inline(always)]
fn lowers(shortcut: &Shortcut<'_>, x: usize, o: usize, here: &[i8]) -> [i8; LANES] {
    match *shortcut {
        Shortcut::Row { lower: [], .. } => [stream16::EXACT as i8; LANES],
        Shortcut::Row { lower, channels, stride, before, .. } => {
            let zero = stream16::EXACT as i8;
            let row = Shortcut::Row { row: lower, lower: &[], channels, stride, before, zero };
            operands(&row, x, o, here)
        }
        Shortcut::InPlace => operands(shortcut, x, o, here),
    }
}

/// The table's values for bytes.
#[inline(always)]
pub(super) fn terms(table: &[I32], bytes: &[i8; LANES]) -> Lanes {
    let mut terms = [0; LANES];
    if let Ok(table) = <&[I32; 256]>::try_from(table) {
        for (term, byte) in terms.iter_mut().zip(bytes) {
            *term = table[usize::from(*byte as u8 ^ 0x80)].get();
        }
    }
    terms
}
