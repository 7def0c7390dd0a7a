//! How sums become outputs.
//!
//! The functions for each pixel have loops instead of closures, because code that is not inlined
//! would be compiled without the vector instructions.

use zerocopy::little_endian::I32;

use super::{LANES, Lanes, Vectors};
use crate::ops::conv::{Conv, Finish};
use crate::ops::{Shortcut, stream16};
use crate::proved::proved;
use crate::quant::Requantizers;

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
        let bias = from(conv.bias, o);
        let mantissas = from(conv.mantissas, o);
        Self {
            o,
            bias: sum(&integers(&bias), correction),
            requantizers: Requantizers::new(integers(&mantissas), from(conv.shifts, o)),
        }
    }

    /// Writes outputs at columns from `x` on.
    #[inline(always)]
    pub(super) fn finish<V: Vectors>(
        &self,
        vectors: V,
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
            let values = vectors.requantize(&self.requantizers, &sum(&self.bias, sums));
            // Each case makes an array of its own, which stays in a register.
            let values = match conv.finish {
                Finish::Requantize { zero_point } => sum(&values, &[zero_point; LANES]),
                Finish::Join { table, bits } => {
                    let Some(table) = proved!(table.first_chunk()) else { return };
                    let terms = vectors.terms(table, operands(shortcut, x, self.o, pixel));
                    shift_right(&sum(&values, &terms), bits)
                }
                Finish::Stream(stream) => {
                    let lower = &mut lower[x * channels..][o.clone()];
                    let upper = operands(shortcut, x, self.o, pixel);
                    let below = lowers(shortcut, x, self.o, lower);
                    let mut numbers = values;
                    for ((number, upper), below) in numbers.iter_mut().zip(&upper).zip(&below) {
                        let operand = stream16::number([*upper, *below]);
                        *number = stream.number(*number, operand, conv.clamp);
                    }
                    for (place, number) in lower.iter_mut().zip(&numbers) {
                        *place = *number as i8;
                    }
                    shift_right(&numbers, 8)
                }
            };
            write(&vectors.clamp(&values, conv.clamp), pixel);
        }
    }
}

/// The parameters or values of a block's channels from `o` on. Those of lanes without a channel are zero, or
/// whatever follows; what such lanes make is not written.
#[inline(always)]
pub(super) fn from<T: Copy + Default>(parameters: &[T], o: usize) -> [T; LANES] {
    let parameters = &parameters[o..];
    match parameters.first_chunk() {
        Some(parameters) => *parameters,
        None => {
            let mut padded = [T::default(); LANES];
            padded[..parameters.len()].copy_from_slice(parameters);
            padded
        }
    }
}

#[inline(always)]
pub(super) fn integers(numbers: &[I32; LANES]) -> Lanes {
    let mut integers = [0; LANES];
    for (integer, number) in integers.iter_mut().zip(numbers) {
        *integer = number.get();
    }
    integers
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

#[inline(always)]
fn shift_right(values: &Lanes, bits: u32) -> Lanes {
    let mut shifted = *values;
    for value in &mut shifted {
        *value >>= bits;
    }
    shifted
}

/// Writes the first values.
#[inline(always)]
pub(super) fn write(values: &[i8; LANES], places: &mut [i8]) {
    match <&mut [i8; LANES]>::try_from(&mut *places) {
        Ok(places) => *places = *values,
        Err(_) => {
            for (place, value) in places.iter_mut().zip(values) {
                *place = *value;
            }
        }
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
