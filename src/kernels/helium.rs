//! Cores with vector instructions of Armv8.1-M (Helium, MVE): Cortex-M55, M85.
//!
//! ```text
//! for each 64 output channels, for each four columns of the output:          in assembly
//!     for each kernel row, for each 16 values under it:
//!         for each two of the channels a, b:
//!             sums[a, b][column] += 16 values under the column · 16 weights of a, b
//!     for each four of the channels:
//!         output[column, channels] = finish(bias + sums)
//! ```
//!
//! `VMLADAVA` adds 16 products to a register of the core: there are eight for it, the even ones.
//! The values stay in vector registers while the weights of all channels go by, so it is the
//! sums that come from memory and go back: eight of them take one `LDM` and one `STM`. Kernels of
//! three columns at stride 1 see six pixels from four columns, and so have three weights
//! for each pair of channels in a go.
//!
//! Kernels read rows where they lie. A span of four columns that reaches into padding, or
//! less than a vector from the end of its row, is copied into scratch memory first.
//!
//! Instructions: for 16 products at four columns and two channels, 12.5 for 8 · 16
//! multiply-accumulates, 0.098 each; with three kernel columns at a time 32.5 for 24 · 16, 0.085.
//! To finish an output 1.9, behind a join 2.8.

#![allow(unsafe_code)]

mod finish;
mod rows;
mod sums;

use core::arch::naked_asm;
use core::ops::Range;
use core::ptr::{null, null_mut};

use zerocopy::FromBytes;
use zerocopy::little_endian::I32;

use super::Backend;
use crate::format::{Packing, VECTOR, VECTOR_CHANNELS};
use crate::ops::add::Add;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::{Conv, Finish, PATCH_COLUMNS, Padding};
use crate::ops::max_pool::MaxPool;
use crate::ops::{MAX_KERNEL, Rows, Shortcut, int8_mut};
use finish::Finisher;
use sums::ROUND;

/// The backend for vector instructions of Armv8.1-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Helium;

impl Backend for Helium {
    const NAME: &'static str = "helium";

    fn runs(&self, packing: Packing) -> bool {
        packing == Packing::Vectors
    }

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        let channels = usize::from(conv.window.output.channels);
        let shortcut = in_reach(conv, shortcut, output);
        let Some(mut row) = Row::new(conv, rows, &shortcut, scratch, output) else { return };
        let mut start = 0;
        while start < channels {
            row.channels(start..channels.min(start + VECTOR_CHANNELS));
            start += VECTOR_CHANNELS;
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

    fn batch_norm(&self, norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
        rows::batch_norm(norm, input, output);
    }
}

/// The shortcut, with all of the output's channels: one that has fewer, or ends early, is copied
/// to where the output goes.
fn in_reach<'s>(conv: &Conv<'_>, shortcut: &Shortcut<'s>, output: &mut [i8]) -> Shortcut<'s> {
    let (Finish::Join { .. }, Shortcut::Row { row, channels, stride, before, zero }) =
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
        let theirs = row.get(x * stride * channels..).unwrap_or_default();
        let ours = pixel.get_mut(before..).unwrap_or_default();
        for (out, &value) in ours.iter_mut().zip(theirs).take(channels) {
            *out = value;
        }
    }
    Shortcut::InPlace
}

/// What the assembly takes, and moves on from four columns to the next.
#[repr(C)]
struct Args {
    /// Makes outputs of the sums.
    finish: unsafe extern "C" fn(),
    /// Fours of columns that are left.
    left: usize,
    /// Columns of each that there are.
    count: usize,
    /// Where kernel rows begin, and how many there are.
    rows: *const *const i8,
    kernel_rows: usize,
    /// Where in them the values of the first column begin.
    at: usize,
    /// From the values of a column to those of the next.
    step: usize,
    /// Vectors of values of a kernel row; of three kernel columns at a time those of a pixel.
    vectors: usize,
    weights: *const i8,
    /// Pairs of channels that are missing to whole rounds of the loops.
    skip: usize,
    /// Where the sums end.
    end: *mut i32,
    /// From the outputs of a column to those of the next.
    pixel_bytes: usize,
    /// Where the shortcuts of the first column are, and how far it is to those of the next.
    shortcut: *const i8,
    shortcut_step: usize,
    // What follows is the assembly's: where values of each column begin, and outputs of the
    // columns and of four channels.
    columns: [usize; PATCH_COLUMNS],
    places: [[u16; 8]; 2],
    // What follows is in the order in which it goes into registers.
    sums: *mut i32,
    bias: *const I32,
    mantissas: *const I32,
    shifts: *const i8,
    shortcuts: [*const i8; PATCH_COLUMNS],
    output: *mut i8,
    /// The output's zero point, or bits by which a join shifts, below zero.
    last: i32,
    /// The middle of the join's table.
    table: *const I32,
    min: i32,
    max: i32,
    channels: usize,
}

/// Where rows under a kernel begin.
type Begins = [*const i8; MAX_KERNEL];

/// A row of the output in the making.
struct Row<'r> {
    conv: &'r Conv<'r>,
    shortcut: &'r Shortcut<'r>,
    /// Where the rows under the kernel begin; null if on padding.
    begins: Begins,
    sums: &'r mut [i32],
    /// Copies of what is under the kernel at four columns, of so many bytes for each row.
    spans: &'r mut [i8],
    span: usize,
    output: &'r mut [i8],
    finisher: Option<Finisher<'r>>,
    /// Bytes of values under a kernel row, with those of no weight.
    packed: usize,
    /// Bytes from the values of an output column to those of the next.
    step: usize,
    /// Where fours of columns begin whose values are read where they lie.
    inside: Range<usize>,
}

impl<'r> Row<'r> {
    /// `None` if anything has not the size that it must have.
    fn new(
        conv: &'r Conv<'r>,
        rows: &'r Rows<'r>,
        shortcut: &'r Shortcut<'r>,
        scratch: &'r mut [u8],
        output: &'r mut [i8],
    ) -> Option<Self> {
        let window = &conv.window;
        let [inputs, channels] = [window.input, window.output].map(|s| usize::from(s.channels));
        let [input_columns, columns] =
            [window.input, window.output].map(|s| usize::from(s.columns));
        let [kernel_rows, kernel_columns] = window.kernel;
        let packed = (kernel_columns * inputs).next_multiple_of(VECTOR);
        let (step, pad) = (window.stride[1] * inputs, window.pad_left * inputs);
        let row_bytes = input_columns * inputs;
        let sums = PATCH_COLUMNS * channels.next_multiple_of(4).min(VECTOR_CHANNELS);
        let (sums, spans) = scratch.split_at_mut_checked(4 * sums)?;
        let span = ((PATCH_COLUMNS - 1) * step + packed).next_multiple_of(VECTOR);
        let there = conv.weights.len() >= kernel_rows * packed * channels.next_multiple_of(2)
            && conv.bias.len() == channels
            && conv.mantissas.len() == channels
            && conv.shifts.len() == channels
            && output.len() == columns * channels
            && spans.len() >= kernel_rows * span
            && (1..=MAX_KERNEL).contains(&kernel_rows)
            && packed > 0
            && channels > 0;
        if !there {
            return None;
        }
        let finisher = Finisher::of(conv, shortcut);
        let mut begins = [null(); MAX_KERNEL];
        let mut all_there = true;
        for (begin, row) in begins.iter_mut().zip(rows).take(kernel_rows) {
            if row.len() == row_bytes {
                *begin = row.as_ptr();
            } else {
                all_there = false;
            }
        }
        // The first column whose values reach beyond the row. None is read where it lies if some
        // of the rows are padding, or sums are not finished by the assembly.
        let end = match (row_bytes + pad).checked_sub(packed) {
            Some(last) if all_there && finisher.is_some() => {
                (last.checked_div(step)? + 1).min(columns)
            }
            _ => 0,
        };
        let start = pad.div_ceil(step.max(1)).next_multiple_of(PATCH_COLUMNS);
        let whole = end.saturating_sub(start) / PATCH_COLUMNS * PATCH_COLUMNS;
        Some(Self {
            conv,
            shortcut,
            begins,
            sums: <[i32]>::mut_from_bytes(sums).ok()?,
            spans: int8_mut(spans),
            span,
            output,
            finisher,
            packed,
            step,
            inside: start..start + whole,
        })
    }

    /// Computes a group of channels that are packed side by side.
    fn channels(&mut self, group: Range<usize>) {
        let conv = self.conv;
        let window = &conv.window;
        let [columns, channels] = [window.output.columns, window.output.channels].map(usize::from);
        let inputs = usize::from(window.input.channels);
        let pad = window.pad_left * inputs;
        let beside = numbers(&group).next_multiple_of(2);
        let sums = self.sums.as_mut_ptr();
        let begin = group.start * window.kernel[0] * self.packed;
        let first = self.spans.as_mut_ptr();
        let spans: Begins =
            core::array::from_fn(|ky| first.wrapping_add(ky * self.span).cast_const());
        let three = window.kernel[1] == 3 && window.stride[1] == 1 && inputs.is_multiple_of(VECTOR);
        let mut args = Args {
            finish: finish::keep,
            left: 0,
            count: 0,
            rows: self.begins.as_ptr(),
            kernel_rows: window.kernel[0],
            at: 0,
            step: self.step,
            vectors: 0,
            weights: conv.weights.as_ptr().wrapping_add(begin),
            skip: (beside / 2).wrapping_neg() % ROUND,
            end: sums.wrapping_add(PATCH_COLUMNS * beside),
            pixel_bytes: channels,
            shortcut: null(),
            shortcut_step: 0,
            columns: [0; PATCH_COLUMNS],
            places: [[0; 8]; 2],
            sums,
            bias: conv.bias.as_ptr().wrapping_add(group.start),
            mantissas: conv.mantissas.as_ptr().wrapping_add(group.start),
            shifts: conv.shifts.as_ptr().wrapping_add(group.start),
            shortcuts: [null(); PATCH_COLUMNS],
            output: null_mut(),
            last: 0,
            table: null(),
            min: conv.clamp.min.into(),
            max: conv.clamp.max.into(),
            channels: numbers(&group),
        };
        if let Some(finisher) = &self.finisher {
            finisher.set(&mut args);
        }
        let mut x = 0;
        while x < columns {
            let inside = x == self.inside.start && !self.inside.is_empty();
            args.count = (columns - x).min(PATCH_COLUMNS);
            args.output = self.output.as_mut_ptr().wrapping_add(x * channels + group.start);
            if let Some(finisher) = &self.finisher {
                let output = args.output.cast_const();
                (args.shortcut, args.shortcut_step) =
                    finisher.shortcut(x, group.start, output, channels);
            }
            let end = if inside {
                args.left = numbers(&self.inside) / PATCH_COLUMNS;
                args.rows = self.begins.as_ptr();
                args.at = x * self.step - pad.min(x * self.step);
                self.inside.end
            } else {
                self.fill(first, x, args.count);
                args.left = 1;
                args.rows = spans.as_ptr();
                args.at = 0;
                x + args.count
            };
            // SAFETY: `new` and `in_reach` found weights, biases, mantissas and shifts of all
            // channels, sums of a group's, the output's columns, and the shortcut's at all of
            // these. A table is all there and aligned, or there is no assembly for it, and `count`
            // of four columns are within the output. Rows are those of the picture, with all four
            // columns on them where `inside` says so, or spans that were just filled, with room for
            // four columns. Three kernel columns of whole vectors are a kernel row.
            unsafe {
                if three && args.count == PATCH_COLUMNS {
                    args.vectors = inputs / VECTOR;
                    sums::three(&mut args);
                } else {
                    args.vectors = self.packed / VECTOR;
                    sums::one(&mut args);
                }
            }
            if self.finisher.is_none() {
                self.finish(x, args.count, &group);
            }
            x = end;
        }
    }

    /// Copies the values under the kernel at `count` columns from `x` on into the spans, which begin
    /// at `spans`.
    fn fill(&mut self, spans: *mut i8, x: usize, count: usize) {
        let window = &self.conv.window;
        let inputs = usize::from(window.input.channels);
        let pixels = (count - 1) * window.stride[1] + window.kernel[1];
        // The pixels that lie on the row.
        let left = x * window.stride[1];
        let start = window.pad_left.saturating_sub(left).min(pixels);
        let end = (usize::from(window.input.columns) + window.pad_left).saturating_sub(left);
        let end = end.min(pixels).max(start);
        let first = (left + start).saturating_sub(window.pad_left);
        let value = match self.conv.padding {
            Padding::Same(value) => value,
            Padding::PerChannel(_) => 0,
        };
        let args = FillArgs {
            rows: self.begins.as_ptr(),
            kernel_rows: window.kernel[0],
            to: spans,
            span: self.span,
            before: start * inputs,
            from: first * inputs,
            inside: (end - start) * inputs,
            after: (pixels - end) * inputs,
            value: value.into(),
        };
        // SAFETY: there are so many rows, at least one, null or of the input's columns; those of
        // the span that are on it lie between its start and its end. Each span has room for
        // `count` columns, which are four at most.
        unsafe { fill_spans(&args) }
        if let Padding::PerChannel(values) = self.conv.padding {
            let spans = self.spans.chunks_exact_mut(self.span.max(1));
            for (row, span) in self.begins.iter().zip(spans).take(window.kernel[0]) {
                let (start, end) = if row.is_null() { (pixels, pixels) } else { (start, end) };
                for outside in [0..start, end..pixels] {
                    let span = span.get_mut(outside.start * inputs..outside.end * inputs);
                    for pixel in span.unwrap_or_default().chunks_exact_mut(inputs.max(1)) {
                        for (to, &value) in pixel.iter_mut().zip(values) {
                            *to = value;
                        }
                    }
                }
            }
        }
    }

    /// Makes outputs of the sums where the assembly cannot.
    fn finish(&mut self, x: usize, count: usize, group: &Range<usize>) {
        let conv = self.conv;
        let channels = usize::from(conv.window.output.channels).max(1);
        let pixels = self.output.chunks_exact_mut(channels).enumerate().skip(x).take(count);
        for (column, (x, pixel)) in pixels.enumerate() {
            let sums = self.sums.iter().skip(column).step_by(PATCH_COLUMNS);
            let outputs = pixel.iter_mut().skip(group.start);
            for ((o, out), &sum) in group.clone().zip(outputs).zip(sums) {
                let acc = conv.bias(o).wrapping_add(sum);
                *out = conv.output(acc, conv.multiplier(o), self.shortcut, x, o, *out);
            }
        }
    }
}

/// Numbers in a range: `Range::len` has an assertion that the compiler does not always see
/// through.
#[inline(always)]
fn numbers(range: &Range<usize>) -> usize {
    range.end.saturating_sub(range.start)
}

/// What [`fill_spans`] takes.
#[repr(C)]
struct FillArgs {
    rows: *const *const i8,
    kernel_rows: usize,
    to: *mut i8,
    span: usize,
    before: usize,
    from: usize,
    inside: usize,
    after: usize,
    value: i32,
}

/// Fills a span for each kernel row: `before` bytes of `value`, `inside` bytes of the row,
/// `after` bytes of `value`; all of `value` where there is no row.
///
/// ```text
/// r0 rows   r1 how many   r2 span   r3 its bytes   r4 before   r5 from   r6 inside   r7 after
/// r8 to   r9 row   r10 length   lr bytes left   q0 value
/// ```
///
/// # Safety
///
/// There is at least one row. `from` + `inside` bytes can be read at each that is not null, and
/// `before` + `inside` + `after` bytes be written at `to` and each `span` bytes further.
#[unsafe(naked)]
unsafe extern "C" fn fill_spans(args: &FillArgs) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r10, lr}}",
        "ldm r0, {{r0-r8}}",
        "vdup.8 q0, r8",
        "2:",
        "ldr r9, [r0], #4",
        "mov r8, r2",
        "mov r10, r4",
        "cmp r9, #0",
        "itt eq",
        "addeq r10, r10, r6",
        "addeq r10, r10, r7",
        "wlstp.8 lr, r10, 4f",
        "3:",
        "vstrb.8 q0, [r8], #16",
        "letp lr, 3b",
        "4:",
        "cmp r9, #0",
        "beq 9f",
        "add r8, r2, r4",
        "add r9, r9, r5",
        "wlstp.8 lr, r6, 6f",
        "5:",
        "vldrb.u8 q1, [r9], #16",
        "vstrb.8 q1, [r8], #16",
        "letp lr, 5b",
        "6:",
        "add r8, r2, r4",
        "add r8, r8, r6",
        "wlstp.8 lr, r7, 9f",
        "7:",
        "vstrb.8 q0, [r8], #16",
        "letp lr, 7b",
        "9:",
        "add r2, r2, r3",
        "subs r1, r1, #1",
        "bne 2b",
        "pop {{r4-r10, pc}}",
    )
}
