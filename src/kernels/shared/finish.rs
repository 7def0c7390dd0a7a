//! What kernels in assembly share that sum four columns at a time: which outputs they finish
//! themselves, and how the others are.

use core::ops::Range;
use core::ptr::null;

use zerocopy::little_endian::I32;

use crate::kernels::reference;
use crate::ops::Shortcut;
use crate::ops::add::Add;
use crate::ops::conv::{Conv, Finish, PATCH_COLUMNS};
use crate::quant::{Clamp, Multiplier};

/// The parameters of a convolution whose every output the assembly can finish.
pub(in crate::kernels) struct Finisher<'c> {
    /// Behind the requantization: twice the zero point and a half, or a join's bits.
    pub(in crate::kernels) last: i32,
    /// The middle of a join's table, or null.
    pub(in crate::kernels) table: *const I32,
    mantissas: &'c [I32],
    shifts: &'c [i8],
    shortcut: Option<(&'c [i8], usize)>,
}

impl<'c> Finisher<'c> {
    /// `None` where anything is out of the ordinary: an activation that cuts what fits into int8,
    /// a factor of a half or more without a join, or next to nothing, a shortcut with other
    /// channels, a file that lies where its words are not aligned.
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
            Finish::Join { .. } => Multiplier::MAX_SHIFT,
            Finish::Stream(_) => return None,
        };
        if !ordinary || !conv.shifts.iter().all(|shift| (-22..=largest).contains(shift)) {
            return None;
        }
        let (mantissas, shifts) = (conv.mantissas, conv.shifts);
        match (conv.finish, *shortcut) {
            (Finish::Requantize { zero_point }, _) => {
                // And one half, for the rounding, as it goes through the shift.
                let last = 2 * zero_point + 1;
                Some(Self { last, table: null(), mantissas, shifts, shortcut: None })
            }
            (Finish::Join { table, bits }, shortcut) => {
                let middle = middle(table).filter(|_| aligned(table))?;
                let shortcut = match shortcut {
                    Shortcut::InPlace => None,
                    Shortcut::Row { row, channels: theirs, stride, before: 0, .. }
                        if theirs == channels =>
                    {
                        Some((row, stride))
                    }
                    Shortcut::Row { .. } => return None,
                };
                Some(Self { last: bits as i32, table: middle, mantissas, shifts, shortcut })
            }
            (Finish::Stream(_), _) => None,
        }
    }

    /// Where outputs and shortcut of a group of channels are at output column `first`, and what the
    /// group's sums are requantized by; `None` if there are fewer columns or channels of any.
    pub(in crate::kernels) fn places(
        &self,
        first: usize,
        columns: usize,
        group: &Range<usize>,
        channels: usize,
        row: &mut [i8],
    ) -> Option<Places> {
        let o = group.start;
        let pixels = row.get_mut(first * channels..(first + columns) * channels)?;
        if o >= channels {
            return None;
        }
        let mantissas = self.mantissas.get(group.clone())?.as_ptr();
        let shifts = self.shifts.get(group.clone())?.as_ptr();
        // In place the shortcut is read where outputs are written: one pointer is for both.
        let output = pixels.as_mut_ptr().wrapping_add(o);
        let Some((row, stride)) = self.shortcut else {
            let (shortcut, shortcut_stride) = (output.cast_const(), channels);
            return Some(Places { mantissas, shifts, output, shortcut, shortcut_stride });
        };
        let (from, stride) = (first * stride * channels, stride * channels);
        let row = row.get(from..from + columns.saturating_sub(1) * stride + channels)?;
        let shortcut = row.as_ptr().wrapping_add(o);
        Some(Places { mantissas, shifts, output, shortcut, shortcut_stride: stride })
    }
}

/// What [`Finisher::places`] finds: each is good for the channels of the group at all of the columns.
pub(in crate::kernels) struct Places {
    /// Mantissas of the group's multipliers, aligned to words.
    pub(in crate::kernels) mantissas: *const I32,
    /// Their shifts.
    pub(in crate::kernels) shifts: *const i8,
    /// Where outputs are written, a column as far from the one before as there are channels.
    pub(in crate::kernels) output: *mut i8,
    /// Where the shortcut is read.
    pub(in crate::kernels) shortcut: *const i8,
    /// How far a column of it is from the one before.
    pub(in crate::kernels) shortcut_stride: usize,
}

/// The middle of a join's table, of which 128 words to both sides are good; `None` if it has not as
/// many.
pub(in crate::kernels) fn middle(table: &[I32]) -> Option<*const I32> {
    // Made of the whole table, as assembly walks it to both sides.
    (table.len() == 256).then(|| table.as_ptr().wrapping_add(128))
}

/// What the assembly of a sum takes.
///
/// [`of`](Self::of) makes no others than those that assembly may be called with.
#[repr(C)]
pub(in crate::kernels) struct AddArgs {
    /// The middle of the input's table: words can be loaded from it, 128 to both sides; likewise
    /// from `theirs`, that of the shortcut's.
    pub(in crate::kernels) mine: *const I32,
    pub(in crate::kernels) theirs: *const I32,
    pub(in crate::kernels) mantissa: i32,
    /// What is added before the shift.
    pub(in crate::kernels) before: i32,
    /// The shift to the right, from 1 to 22.
    pub(in crate::kernels) right: u32,
    /// One at least.
    pub(in crate::kernels) length: usize,
    /// `length` bytes can be read; it may be the output.
    pub(in crate::kernels) shortcut: *const i8,
    /// `length` bytes can be read.
    pub(in crate::kernels) input: *const i8,
    /// `length` bytes can be written.
    pub(in crate::kernels) output: *mut i8,
}

impl AddArgs {
    /// `None` where anything is out of the ordinary, as with [`Finisher`]. They are good until one of
    /// the rows is used again.
    pub(in crate::kernels) fn of(
        add: &Add<'_>,
        input: &[i8],
        shortcut: &Shortcut<'_>,
        output: &mut [i8],
    ) -> Option<Self> {
        let (channels, length) = (usize::from(add.shape.channels), output.len());
        let shift = add.multiplier.shift;
        // In place the shortcut is read where outputs are written: one pointer is for both.
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
            // The zero point goes through the shift.
            before: (1 << (right - 1)) + (add.zero_point << right),
            right,
            length,
            shortcut,
            input: input.as_ptr(),
            output,
        })
    }
}

/// Assembly that adds two rows: the input, the output, and the rest.
///
/// It may be called if [`AddArgs::of`] made the arguments, input and output are theirs, and no row
/// was used since.
pub(in crate::kernels) type AddBytes =
    unsafe extern "C" fn(input: *const i8, output: *mut i8, args: &AddArgs);

/// One row of a sum, by assembly where that can: see [`Backend::add`](crate::kernels::Backend::add).
pub(in crate::kernels) fn add(
    add_bytes: AddBytes,
    add: &Add<'_>,
    input: &[i8],
    shortcut: &Shortcut<'_>,
    output: &mut [i8],
) {
    match AddArgs::of(add, input, shortcut, output) {
        // SAFETY: `AddArgs::of` just made the arguments: input and output are theirs.
        Some(args) => unsafe { add_bytes(args.input, args.output, &args) },
        None => reference::add(add, input, shortcut, output),
    }
}

/// Whether words lie where any core can load them.
pub(in crate::kernels) fn aligned(words: &[I32]) -> bool {
    words.as_ptr().addr().is_multiple_of(align_of::<u32>())
}

/// Writes the outputs of channel `o` at up to four columns from `first` on into their row.
pub(in crate::kernels) fn finish(
    conv: &Conv<'_>,
    shortcut: &Shortcut<'_>,
    first: usize,
    o: usize,
    acc: [i32; PATCH_COLUMNS],
    row: &mut [i8],
) {
    let mut channel = conv.channel(o);
    // It is in the sums.
    channel.bias = 0;
    conv.finish(&channel, &acc, shortcut, first, row);
}
