//! What assembly kernels that sum four columns at a time share: which outputs they finish
//! themselves, and how the others are finished.

use core::ops::Range;
use core::ptr::null;

use zerocopy::little_endian::I32;

use crate::feature::Feature;
use crate::kernels::reference;
use crate::ops::Shortcut;
use crate::ops::add::Add;
use crate::ops::conv::{Conv, Finish};
use crate::ops::stream16::{Stream16, distance};
use crate::quant::{Clamp, Multiplier, are_within};

/// The parameters of a convolution all of whose outputs the assembly can finish.
pub(in crate::kernels) struct Finisher<'c> {
    /// Applied after the requantization: twice the zero point plus one, the bits of a join, or the
    /// offset of a 16-bit stream.
    pub(in crate::kernels) last: i32,
    /// The middle of a join's table, null, or [`STREAM16`].
    pub(in crate::kernels) table: *const I32,
    /// The factor of the shortcut in a 16-bit stream.
    pub(in crate::kernels) factor: i32,
    mantissas: &'c [I32],
    shifts: &'c [i8],
    shortcut: Option<Beside<'c>>,
}

/// A shortcut that is not at the output's position.
struct Beside<'c> {
    row: &'c [i8],
    /// The distance from a byte of the row to the lower byte of the same value, if it has two.
    lower: usize,
    stride: usize,
}

/// Stands in place of a join's table if the outputs are a 16-bit stream.
pub(in crate::kernels) const STREAM16: *const I32 = core::ptr::without_provenance(1);

impl<'c> Finisher<'c> {
    /// `None` in unusual cases: an activation with a smaller range than int8, a factor of a half or
    /// more without a join, a factor close to zero, a shortcut with other channels than the output
    /// or with fewer bytes, or a file at an address where its words are not aligned.
    pub(in crate::kernels) fn of(conv: &'c Conv<'_>, shortcut: &Shortcut<'c>) -> Option<Self> {
        let channels = usize::from(conv.window.output.channels);
        let ordinary = channels > 0
            && conv.clamp == Clamp::FULL
            && conv.bias.len() == channels
            && conv.mantissas.len() == channels
            && conv.shifts.len() == channels
            && aligned(conv.bias)
            && aligned(conv.mantissas);
        let largest = match conv.finish {
            Finish::Requantize { .. } => -1,
            Finish::Join { .. } | Finish::Stream(_) => Multiplier::MAX_SHIFT,
        };
        if !ordinary || !are_within(conv.shifts, -22..=largest) {
            return None;
        }
        let (mantissas, shifts) = (conv.mantissas, conv.shifts);
        let beside = |both: bool| match *shortcut {
            Shortcut::InPlace => Some(None),
            Shortcut::Row { row, lower, channels: theirs, stride, before: 0, .. }
                if theirs == channels && (!both || lower.len() == row.len()) =>
            {
                Some(Some(Beside { row, lower: distance(row, lower), stride }))
            }
            Shortcut::Row { .. } => None,
        };
        match conv.finish {
            Finish::Requantize { zero_point } => {
                // Includes one half for the rounding, because the zero point is added before the
                // shift.
                let last = 2 * zero_point + 1;
                Some(Self { last, table: null(), factor: 0, mantissas, shifts, shortcut: None })
            }
            Finish::Join { table, bits } => {
                let table = middle(table).filter(|_| aligned(table))?;
                let shortcut = beside(false)?;
                Some(Self { last: bits as i32, table, factor: 0, mantissas, shifts, shortcut })
            }
            Finish::Stream(Stream16 { factor, offset, .. }) => {
                // With a factor of zero any operand will do: it is read from the output's position.
                let shortcut = if factor == 0 { None } else { beside(true)? };
                Some(Self { last: offset, table: STREAM16, factor, mantissas, shifts, shortcut })
            }
        }
    }

    /// Whether the outputs are a 16-bit stream.
    pub(in crate::kernels) fn is_stream16(&self) -> bool {
        Feature::Stream16.is_on() && self.table == STREAM16
    }

    /// The positions of the outputs and shortcuts of a group of channels at output column `first`,
    /// and the multipliers of the group; `None` if any of them has too few columns or channels.
    pub(in crate::kernels) fn places(
        &self,
        first: usize,
        columns: usize,
        group: &Range<usize>,
        channels: usize,
        row: &mut [i8],
    ) -> Option<Places> {
        let o = group.start;
        // In a 16-bit stream, the distance from the upper bytes to the lower.
        let lower = if self.is_stream16() { row.len() / 2 } else { 0 };
        if row.len() < lower + (first + columns) * channels || o >= channels {
            return None;
        }
        let mantissas = self.mantissas.get(group.clone())?.as_ptr();
        let shifts = self.shifts.get(group.clone())?.as_ptr();
        // If the shortcut is in place, it is read where outputs are written: one pointer is used
        // for both.
        let output = row.as_mut_ptr().wrapping_add(first * channels + o);
        let mut places = Places {
            mantissas,
            shifts,
            output,
            lower,
            shortcut: output.cast_const(),
            shortcut_stride: channels,
            shortcut_lower: lower,
        };
        if let Some(Beside { row, lower, stride }) = self.shortcut {
            let (from, stride) = (first * stride * channels, stride * channels);
            let row = row.get(from..from + columns.saturating_sub(1) * stride + channels)?;
            places.shortcut = row.as_ptr().wrapping_add(o);
            (places.shortcut_stride, places.shortcut_lower) = (stride, lower);
        }
        Some(places)
    }
}

/// What [`Finisher::places`] finds. Each pointer is valid for the channels of the group at all of
/// the columns.
pub(in crate::kernels) struct Places {
    /// Mantissas of the group's multipliers, aligned to words.
    pub(in crate::kernels) mantissas: *const I32,
    /// Shifts of the group's multipliers.
    pub(in crate::kernels) shifts: *const i8,
    /// Where outputs are written; the distance from column to column is the number of channels.
    pub(in crate::kernels) output: *mut i8,
    /// Distance from outputs to their lower bytes, in a 16-bit stream.
    pub(in crate::kernels) lower: usize,
    /// Where the shortcut is read.
    pub(in crate::kernels) shortcut: *const i8,
    /// Distance from one column of the shortcut to the next.
    pub(in crate::kernels) shortcut_stride: usize,
    /// Distance from the shortcut to its lower bytes, in a 16-bit stream.
    pub(in crate::kernels) shortcut_lower: usize,
}

/// The middle of a join's table, with 128 valid words on either side; `None` if it does not have
/// that many.
pub(in crate::kernels) fn middle(table: &[I32]) -> Option<*const I32> {
    // Derived from the whole table, because assembly reads on both sides of it.
    (table.len() == 256).then(|| table.as_ptr().wrapping_add(128))
}

/// The arguments of the assembly for a sum.
///
/// [`of`](Self::of) makes only arguments with which the assembly may be called.
#[repr(C)]
pub(in crate::kernels) struct AddArgs {
    /// The middle of the input's table, with 128 readable words on either side. The same holds for
    /// `theirs`, the middle of the shortcut's table.
    pub(in crate::kernels) mine: *const I32,
    pub(in crate::kernels) theirs: *const I32,
    pub(in crate::kernels) mantissa: i32,
    /// Added before the shift.
    pub(in crate::kernels) before: i32,
    /// The shift to the right, from 1 to 22.
    pub(in crate::kernels) right: u32,
    /// At least one.
    pub(in crate::kernels) length: usize,
    /// `length` bytes can be read; it may be the output.
    pub(in crate::kernels) shortcut: *const i8,
    /// `length` bytes can be read.
    pub(in crate::kernels) input: *const i8,
    /// `length` bytes can be written.
    pub(in crate::kernels) output: *mut i8,
}

impl AddArgs {
    /// `None` in unusual cases, as with [`Finisher`]. The arguments are valid until one of the rows
    /// is used again.
    pub(in crate::kernels) fn of(
        add: &Add<'_>,
        input: &[i8],
        shortcut: &Shortcut<'_>,
        output: &mut [i8],
    ) -> Option<Self> {
        let (channels, length) = (usize::from(add.shape.channels), output.len());
        let shift = add.multiplier.shift;
        // If the shortcut is in place, it is read where outputs are written: one pointer is used
        // for both.
        let output = output.as_mut_ptr();
        let shortcut = match *shortcut {
            Shortcut::InPlace => output,
            Shortcut::Row { row, channels: theirs, stride: 1, before: 0, .. }
                if theirs == channels && row.len() == length =>
            {
                row.as_ptr()
            }
            Shortcut::Row { .. } => return None,
        };
        let [mine, .., theirs] = add.table.as_chunks::<256>().0 else { return None };
        let ordinary = add.clamp == Clamp::FULL && (-22..0).contains(&shift) && aligned(mine);
        if !ordinary || input.len() != length || length == 0 {
            return None;
        }
        let right = u32::from(shift.unsigned_abs());
        Some(Self {
            mine: mine.as_ptr().wrapping_add(128),
            theirs: theirs.as_ptr().wrapping_add(128),
            mantissa: add.multiplier.mantissa.to_bits(),
            // The zero point is added before the shift.
            before: (1 << (right - 1)) + (add.zero_point << right),
            right,
            length,
            shortcut,
            input: input.as_ptr(),
            output,
        })
    }
}

/// Assembly that adds two rows. It takes the input, the output, and the other arguments.
///
/// It may be called if [`AddArgs::of`] made the arguments, `input` and `output` are the ones in
/// them, and no row was used since.
pub(in crate::kernels) type AddBytes =
    unsafe extern "C" fn(input: *const i8, output: *mut i8, args: &AddArgs);

/// One row of a sum, in assembly where that is possible: see
/// [`Backend::add`](crate::kernels::Backend::add).
pub(in crate::kernels) fn add(
    add_bytes: AddBytes,
    add: &Add<'_>,
    input: &[i8],
    shortcut: &Shortcut<'_>,
    output: &mut [i8],
) {
    match AddArgs::of(add, input, shortcut, output) {
        // SAFETY: `AddArgs::of` just made the arguments, and input and output are the ones in them.
        Some(args) => unsafe { add_bytes(args.input, args.output, &args) },
        None => reference::add(add, input, shortcut, output),
    }
}

/// Whether words are aligned so that any core can load them.
pub(in crate::kernels) fn aligned(words: &[I32]) -> bool {
    words.as_ptr().addr().is_multiple_of(align_of::<u32>())
}

/// Writes the outputs of channel `o` into their row, from column `first` on: as many as there are
/// sums and columns. It is not inlined, so that several loops share it.
#[inline(never)]
pub(in crate::kernels) fn finish(
    conv: &Conv<'_>,
    shortcut: &Shortcut<'_>,
    first: usize,
    o: usize,
    sums: &[i32],
    row: &mut [i8],
) {
    let mut channel = conv.channel(o);
    // The bias is in the sums already.
    channel.bias = 0;
    conv.finish(&channel, sums, shortcut, first, row);
}
