//! Cores with vector instructions of Armv8.1-M (Helium, MVE): Cortex-M55, M85.
//!
//! ```text
//! for each 64 output channels:
//!     for each four columns of the output:                                   in assembly
//!         for each four of the channels, for each two of the columns:
//!             for each kernel row, for each 16 values under it:
//!                 sums[channel][column] += 16 values under the column · 16 weights of the channel
//!         for each four of the channels:
//!             output[column, channels] = finish(bias + sums)
//! ```
//!
//! `VMLADAVA` adds 16 products to one of the eight even general-purpose registers, in two cycles.
//! These eight sums, of four channels at two columns, stay in registers for the whole kernel. For
//! 16 values, two vectors of values and four of weights are loaded, each while a product is
//! computed: 14 instructions in 16 cycles for 128 multiply-accumulates, as many as the core can
//! multiply.
//!
//! Rows are read in place. The values under four columns are copied into scratch memory if some of
//! them are padding, or if the last vector reaches beyond the end of the row.
//!
//! Cycles, as estimated: 146 for 144 values of three kernel rows, 50 for 48 values, or 18 for 16 if a
//! kernel row is not a multiple of 48, and ten more for each eight sums. Finishing an output takes
//! 2.6, with a join 3.2. Including all surrounding code, ResNet-8 takes 0.20 for each
//! multiply-accumulate, of which 0.125 are products.

#![allow(unsafe_code)]

mod depthwise;
mod finish;
mod rows;
mod sums;

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::{null, null_mut};

use zerocopy::FromBytes;
use zerocopy::little_endian::I32;

use super::shared::{self, narrow};
use super::{Backend, Isa};
use crate::format::{VECTOR, VECTOR_CHANNELS};
use crate::ops::add::Add;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::scratch::{BEFORE_SUMS, vector_entries, vector_unit};
use crate::ops::conv::{Conv, Finish, GROUP_CHANNELS, PATCH_COLUMNS, Padding};
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::max_pool::MaxPool;
use crate::ops::{MAX_KERNEL, Rows, Shortcut, int8_mut, stream16};
use crate::proved::proved;
use finish::Finisher;

/// The backend for vector instructions of Armv8.1-M. The firmware must have enabled them, like the
/// floating-point unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Helium;

impl Backend for Helium {
    const ISA: &'static Isa = &Isa::HELIUM;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        if let Some(unpacked) = conv.packing.unpacked() {
            return narrow::conv(self, unpacked, conv, rows, shortcut, scratch, output);
        }
        let channels = usize::from(conv.window.output.channels);
        let shortcut = in_reach(conv, shortcut, output);
        let mut begins = [const { MaybeUninit::uninit() }; 2 * MAX_KERNEL];
        let Some(mut row) = Row::new(conv, rows, &shortcut, scratch, output, &mut begins) else {
            return;
        };
        let mut start = 0;
        while start < channels {
            row.channels(start..channels.min(start + GROUP_CHANNELS));
            start += GROUP_CHANNELS;
        }
    }

    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        rows::add(add, input, shortcut, output);
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        rows::max_pool(pool, rows, output);
    }

    fn sum_row(&self, first: bool, row: &[i8], sums: &mut [i32]) {
        rows::sum_row(first, row, sums);
    }

    fn depthwise_conv(&self, conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
        // SAFETY: the assembly requires only what [`Args`](shared::depthwise::Args) specifies.
        unsafe { shared::depthwise::conv::<1>(depthwise::conv, conv, rows, output) }
    }

    fn batch_norm(&self, norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
        rows::batch_norm(norm, input, output);
    }
}

/// The shortcut with all channels of the output. A shortcut that has fewer channels or ends early
/// is copied to the output's position.
fn in_reach<'s>(conv: &Conv<'_>, shortcut: &Shortcut<'s>, output: &mut [i8]) -> Shortcut<'s> {
    if let Finish::Stream(_) = conv.finish {
        return stream16::in_reach(conv, shortcut, output);
    }
    let (Finish::Join { .. }, Shortcut::Row { row, channels, stride, before, zero, .. }) =
        (conv.finish, *shortcut)
    else {
        return Shortcut::InPlace;
    };
    let outputs = usize::from(conv.window.output.channels);
    let columns = usize::from(conv.window.output.columns);
    let last = columns.saturating_sub(1) * stride * channels;
    if channels == outputs && before == 0 && row.len() >= last + channels {
        return *shortcut;
    }
    for (x, pixel) in output.chunks_exact_mut(outputs.max(1)).enumerate() {
        pixel.fill(zero);
        let theirs = proved!(row.get(x * stride * channels..)).unwrap_or_default();
        let ours = proved!(pixel.get_mut(before..)).unwrap_or_default();
        for (out, &value) in ours.iter_mut().zip(theirs).take(channels) {
            *out = value;
        }
    }
    Shortcut::InPlace
}

/// The arguments of the assembly, which it advances from four columns to the next.
#[repr(C)]
struct Args {
    /// Makes outputs from the sums.
    finish: unsafe extern "C" fn(),
    /// Number of groups of four columns that are left.
    left: usize,
    /// Number of columns of each group that exist.
    count: usize,
    /// Addresses of the kernel rows, null for rows of padding, and the number of kernel rows.
    rows: *const *const i8,
    kernel_rows: usize,
    /// Offset in the rows of the values of the first column; negative if on padding.
    at: isize,
    /// Largest offset of a group of columns that is read in place.
    last_at: isize,
    /// Number of bytes of a row.
    row_bytes: usize,
    /// Addresses of the copies of a group's values, by kernel row; null as in `rows`.
    spans: *const *const i8,
    /// Number of bytes of each copy, and the same number of bytes of padding.
    span_bytes: usize,
    padding: *const i8,
    /// Distance from the values of one column to those of the next.
    step: usize,
    /// Number of units of values of a kernel row, and room for their entries; see [`sums`].
    units: usize,
    entries: *mut u32,
    /// Number of bytes of a unit.
    unit_bytes: usize,
    /// Weights, and the number of bytes of those of four channels.
    weights: *const i8,
    four_bytes: usize,
    /// The sums, and the last eight of them.
    sums_at: *mut i32,
    last_sums: *mut i32,
    /// Distance from the outputs of one column to those of the next.
    pixel_bytes: usize,
    /// Address of the shortcuts of the first column, and distance to those of the next.
    shortcut: *const i8,
    shortcut_step: usize,
    // The assembly uses these fields: the addresses of the values of each column, and the offsets
    // of the outputs of the columns and of four channels.
    columns: MaybeUninit<[usize; PATCH_COLUMNS]>,
    places: MaybeUninit<[[u16; 8]; 2]>,
    // These fields have the order in which they are loaded into registers.
    sums: *mut i32,
    bias: *const I32,
    mantissas: *const I32,
    shifts: *const i8,
    shortcuts: MaybeUninit<[*const i8; PATCH_COLUMNS]>,
    output: *mut i8,
    /// The output's zero point, or the negated number of bits by which a join shifts.
    last: i32,
    /// The middle of the join's table.
    table: *const I32,
    min: i32,
    max: i32,
    channels: usize,
}

/// Addresses of the rows under a kernel, followed by those of their copies. Only as many entries
/// are written as the kernel has rows.
type Begins = [MaybeUninit<*const i8>; 2 * MAX_KERNEL];

/// An output row while it is made.
struct Row<'r> {
    conv: &'r Conv<'r>,
    shortcut: &'r Shortcut<'r>,
    /// Addresses of the rows under the kernel, and of their copies; null for rows of padding.
    begins: *const *const i8,
    spans: *const *const i8,
    /// Room for the entries of units of values.
    entries: *mut u32,
    /// Padding, with the number of bytes of a span.
    padding: *const i8,
    sums: &'r mut [i32],
    output: &'r mut [i8],
    finisher: Option<Finisher<'r>>,
    /// Number of bytes of values under a kernel row, including the packing's padding.
    packed: usize,
    /// Distance in bytes from the values of one output column to those of the next.
    step: usize,
}

impl<'r> Row<'r> {
    /// `None` if anything has a wrong size.
    #[inline(always)]
    fn new(
        conv: &'r Conv<'r>,
        rows: &Rows<'_>,
        shortcut: &'r Shortcut<'r>,
        scratch: &'r mut [u8],
        output: &'r mut [i8],
        begins: &'r mut Begins,
    ) -> Option<Self> {
        let window = &conv.window;
        let (inputs, channels): (usize, usize) =
            (window.input.channels.into(), window.output.channels.into());
        let (input_columns, columns): (usize, usize) =
            (window.input.columns.into(), window.output.columns.into());
        let [kernel_rows, kernel_columns] = window.kernel;
        let packed = (kernel_columns * inputs).next_multiple_of(VECTOR);
        let step = window.stride[1] * inputs;
        let row_bytes = input_columns * inputs;
        let sums = PATCH_COLUMNS * channels.next_multiple_of(VECTOR_CHANNELS).min(GROUP_CHANNELS);
        let (sums, rest) = proved!(scratch.split_at_mut_checked(4 * (BEFORE_SUMS + sums)))?;
        let entries = vector_entries([kernel_rows, packed]);
        let (entries, spans) = proved!(rest.split_at_mut_checked(entries))?;
        let span = ((PATCH_COLUMNS - 1) * step + packed).next_multiple_of(VECTOR);
        let (padding, spans) = proved!(int8_mut(spans).split_at_mut_checked(span))?;
        let there = conv.weights.len()
            >= kernel_rows * packed * channels.next_multiple_of(VECTOR_CHANNELS)
            && conv.bias.len() == channels
            && conv.mantissas.len() == channels
            && conv.shifts.len() == channels
            && output.len() >= columns * channels
            && spans.len() >= kernel_rows * span
            && (1..=MAX_KERNEL).contains(&kernel_rows)
            && rows.len() >= kernel_rows
            && window.pad_left < kernel_columns
            && (columns.max(1) - 1) * step < row_bytes + window.pad_left * inputs
            && packed > 0
            && channels > 0;
        if !proved!(there) {
            return None;
        }
        // Whether any of the values are padding.
        let last = columns.max(1) * step - step + kernel_columns * inputs;
        let mut padded = window.pad_left > 0 || last > row_bytes;
        let (begins, copies) = begins.split_at_mut(MAX_KERNEL);
        let mut copy = spans.as_mut_ptr().cast_const();
        let mut ky = 0;
        // There are as many rows and places for pointers.
        while ky < kernel_rows
            && let Some(row) = rows.get(ky)
            && let (Some(begin), Some(to)) = (begins.get_mut(ky), copies.get_mut(ky))
        {
            let there = row.len() == row_bytes;
            begin.write(if there { row.as_ptr() } else { null() });
            to.write(if there { copy } else { null() });
            padded |= !there;
            copy = copy.wrapping_add(span);
            ky += 1;
        }
        match conv.padding {
            Padding::Same(value) if padded => set(value, padding),
            Padding::PerChannel(values) if padded => {
                for pixel in padding.chunks_mut(inputs.max(1)) {
                    for (to, &value) in pixel.iter_mut().zip(values) {
                        *to = value;
                    }
                }
            }
            _ => {}
        }
        Some(Self {
            conv,
            shortcut,
            begins: begins.as_ptr().cast(),
            spans: copies.as_ptr().cast(),
            entries: entries.as_mut_ptr().cast(),
            padding: padding.as_ptr(),
            sums: proved!(<[i32]>::mut_from_bytes(sums)).ok()?,
            output,
            finisher: Finisher::of(conv, shortcut),
            packed,
            step,
        })
    }

    /// Computes a group of channels that are interleaved in the packing.
    #[inline(always)]
    fn channels(&mut self, group: Range<usize>) {
        let (conv, step) = (self.conv, self.step);
        let window = &conv.window;
        let (columns, channels): (usize, usize) =
            (window.output.columns.into(), window.output.channels.into());
        let inputs = usize::from(window.input.channels);
        let row_bytes = usize::from(window.input.columns) * inputs;
        let fours = numbers(&group).div_ceil(VECTOR_CHANNELS);
        let sums = self.sums.as_mut_ptr().wrapping_add(BEFORE_SUMS);
        let begin = group.start * window.kernel[0] * self.packed;
        let unit = vector_unit(self.packed);
        let mut args = Args {
            finish: finish::keep,
            left: 1,
            count: PATCH_COLUMNS,
            rows: self.begins,
            kernel_rows: window.kernel[0],
            at: 0,
            last_at: 0,
            row_bytes,
            spans: self.spans,
            span_bytes: 0,
            padding: self.padding,
            step,
            units: self.packed / unit,
            entries: self.entries,
            unit_bytes: unit,
            weights: conv.weights.as_ptr().wrapping_add(begin),
            four_bytes: VECTOR_CHANNELS * window.kernel[0] * self.packed,
            sums_at: sums,
            last_sums: sums.wrapping_add((2 * fours - 1) * PATCH_COLUMNS / 2 * VECTOR_CHANNELS),
            pixel_bytes: channels,
            shortcut: null(),
            shortcut_step: 0,
            columns: MaybeUninit::uninit(),
            places: MaybeUninit::uninit(),
            sums,
            bias: conv.bias.as_ptr().wrapping_add(group.start),
            mantissas: conv.mantissas.as_ptr().wrapping_add(group.start),
            shifts: conv.shifts.as_ptr().wrapping_add(group.start),
            shortcuts: MaybeUninit::uninit(),
            output: null_mut(),
            last: 0,
            table: null(),
            min: conv.clamp.min.into(),
            max: conv.clamp.max.into(),
            channels: numbers(&group),
        };
        if let Some(finisher) = &self.finisher {
            finisher.set(&mut args, self.output.len() / 2);
        }
        let mut x = 0;
        while x < columns {
            let fours = (columns - x) / PATCH_COLUMNS;
            args.count = if fours > 0 { PATCH_COLUMNS } else { columns - x };
            // If the assembly cannot finish the sums, they are finished below, before the next
            // columns.
            let at_once = if self.finisher.is_some() { fours.max(1) } else { 1 };
            args.left = at_once;
            args.at = (x * step) as isize - (window.pad_left * inputs) as isize;
            let more = (args.count - 1) * step;
            args.last_at = row_bytes as isize - (more + self.packed) as isize;
            args.span_bytes = more + window.kernel[1] * inputs;
            args.output = self.output.as_mut_ptr().wrapping_add(x * channels + group.start);
            if let Some(finisher) = &self.finisher {
                let output = args.output.cast_const();
                (args.shortcut, args.shortcut_step) =
                    finisher.shortcut(x, group.start, output, channels);
            }
            // SAFETY: `new` and `in_reach` have found the weights, biases, mantissas and shifts of
            // all channels, the sums of a group, the output's columns, and the shortcut's at all of
            // these. A table is complete and aligned, or there is no assembly for it. The columns
            // are within the output. Rows are null or rows of the image, and their spans and the
            // padding have room for four columns. A group of columns begins before the end of its
            // row, and at most the width of the kernel before its start. There is room for the
            // entries of all units of the kernel, after the sums. A row consists of whole units, so
            // that three kernel rows have a multiple of three.
            unsafe {
                match unit {
                    VECTOR => sums::by_one(&mut args),
                    _ if args.kernel_rows.is_multiple_of(3) => sums::by_nine(&mut args),
                    _ => sums::by_three(&mut args),
                }
            }
            if self.finisher.is_none() {
                self.finish(x, args.count, &group);
            }
            x += at_once * args.count;
        }
    }

    /// Makes outputs from the sums if the assembly cannot.
    fn finish(&mut self, x: usize, count: usize, group: &Range<usize>) {
        let conv = self.conv;
        for column in 0..count {
            for (beside, o) in group.clone().enumerate() {
                let sum = proved!(self.sums.get(place_of_sum(beside, column))).unwrap_or(&0);
                let acc = conv.bias(o).wrapping_add(*sum);
                let x = x + column;
                conv.put(acc, conv.multiplier(o), self.shortcut, x, o, self.output);
            }
        }
    }
}

/// The index of the sum of a channel of the group at one of four columns: the sums of four channels
/// at a column are together.
fn place_of_sum(channel: usize, column: usize) -> usize {
    let [four, channel] = [channel / VECTOR_CHANNELS, channel % VECTOR_CHANNELS];
    BEFORE_SUMS + VECTOR_CHANNELS * (PATCH_COLUMNS * four + column) + channel
}

/// Number of integers in a range. `Range::len` has an assertion that the compiler cannot always
/// remove.
#[inline(always)]
fn numbers(range: &Range<usize>) -> usize {
    range.end.saturating_sub(range.start)
}

/// Sets all bytes to `value`.
fn set(value: i8, to: &mut [i8]) {
    // SAFETY: the slice has `to.len()` bytes.
    unsafe { set_bytes(to.as_mut_ptr(), value.into(), to.len()) }
}

/// ```text
/// r0 to   r1 value   r2 length   lr bytes left
/// ```
///
/// # Safety
///
/// `length` bytes can be written at `to`.
#[unsafe(naked)]
unsafe extern "C" fn set_bytes(to: *mut i8, value: i32, length: usize) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "vdup.8 q0, r1",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r7, pc}}",
    )
}
