//! Cores with RISC-V's vector instructions, V 1.0, and registers of at least 128 bits.
//!
//! `vsetvli` returns their length.
//!
//! ```text
//! for each three columns, for as many channels as there are lanes:
//!     sums[0 … 2] = bias                                    a lane a channel
//!     for each kernel row, for each two of its weights:
//!         weights a, b = load, widen                        two lanes a channel, taken apart
//!         sums[0 … 2] += values a[0 … 2] · weights a        values are scalars
//!         sums[0 … 2] += values b[0 … 2] · weights b
//!     output[0 … 2] = finish(sums)
//! ```
//!
//! There are as many lanes as eight registers hold int32: 32, with 128 bits. Three such sums and
//! two vectors of weights as int16 take all 32 registers. Two weights take 16 instructions for
//! three columns: a load and its address, two to widen them, six scalars, six `vwmacc`. That is
//! 0.083 for each multiply-accumulate (MAC). Alternatives, at 128 bits:
//!
//! | lanes | sums | two weights | a MAC |
//! |---|---|---:|---:|
//! | 32 channels | three columns | 16 | 0.083 |
//! | 32 channels, int8: `vwmul`, `vwmacc`, `vwadd` and the changes of width | three columns | 19 | 0.099 |
//! | 16 channels | six columns | 28 | 0.146 |
//! | 64 channels, int8 | one column | 10 | 0.078 |
//! | 32 columns | three channels | 15 | 0.078 |
//!
//! The first loop is used for 32 channels, or for 64 in two passes; the last for layers with fewer
//! channels than columns. Its vectors are values, widened to int16 and separated once for each row,
//! and its scalars are the weights. Int8 with 64 lanes would be as fast for 64 channels, but it
//! needs two changes of width, and another loop. [`Strip`] chooses.
//!
//! Winograd's F(4 × 4, 3 × 3) with [`Packing::HwioTiles`] takes a quarter of the products, and its
//! weights are int16 already: 10 instructions for two of them at two tiles. With 16 channels, half
//! of the lanes are idle, and longer vectors do not help. Winograd's F(4, 3) along columns with
//! [`Packing::HwioTall`] takes half of the products, and has 64 lanes for 32 columns of eight rows,
//! whatever the number of channels: 14 instructions for two weights of three channels. Layers with
//! few columns have a lane for each channel instead.
//!
//! Instructions for each multiply-accumulate, counted on ResNet-8 including all the code of its
//! steps, for 3×3 kernels of 16, 32 and 64 channels at stride 1: 0.127, 0.116 and 0.100; with tiles
//! 0.101 and 0.048 for 16 and 32; along columns 0.068 for 16 and 0.062 for 64. With vectors of 256 bits,
//! the latter are 0.043 and 0.033.
//!
//! Finishing sums takes 17 instructions for a vector, with a join 22. `vsmul` is the doubling high
//! product with halves rounded up. `vssra` also shifts with halves rounded up. To round them away
//! from zero, one is subtracted from negative sums before.
//!
//! [`Packing::HwioTall`]: crate::format::Packing::HwioTall
//! [`Packing::HwioTiles`]: crate::format::Packing::HwioTiles
#![allow(unsafe_code)]

mod channels;
mod columns;
mod depthwise;
mod elements;
mod stream16;
mod tall;
mod tall_channels;
mod tall_outputs;
mod tall_values;
mod tile_outputs;
mod tile_values;
mod tiles;

use core::arch::naked_asm;
use core::ptr::null;

use zerocopy::little_endian::I32;

use super::shared::{self, narrow};
use super::{Backend, Isa};
use crate::format::Packing;
use crate::ops::add::Add;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::{self, Conv, Padding, Strip};
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::max_pool::MaxPool;
use crate::ops::stream16::{distance, in_reach};
use crate::ops::{MAX_KERNEL, Outputs, Rows, Shortcut, Shortcuts, int8_mut};
use crate::proved::proved;

/// The backend for vector instructions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rvv;

impl Backend for Rvv {
    const ISA: &'static Isa = &Isa::RVV;

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
        let window = &conv.window;
        let whole = output.len() == conv.output_bytes();
        if !proved!(whole && is_sound(conv, rows)) {
            return;
        }
        let finish = Finish::of(conv, Place::of(conv, shortcut, output));
        let strip = Strip::of(window);
        let scratch = int8_mut(scratch);
        match strip.lanes {
            true => columns::conv(conv, rows, &strip, finish, scratch),
            false => channels::conv(conv, rows, &strip, finish, scratch),
        }
    }

    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        if proved!(is_sound(conv, rows)) {
            match conv.packing {
                Packing::HwioTall => tall::conv(conv, rows, shortcuts, scratch, outputs),
                _ => tiles::conv(conv, rows, shortcuts, scratch, outputs),
            }
        }
    }

    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        elements::add(add, input, shortcut, output);
    }

    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        elements::max_pool(pool, rows, output);
    }

    fn sum_row(&self, first: bool, row: &[i8], sums: &mut [i32]) {
        elements::sum_row(first, row, sums);
    }

    fn depthwise_conv(&self, conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
        // SAFETY: the assembly requires only what [`Args`](shared::depthwise::Args) specifies.
        unsafe { shared::depthwise::conv::<1>(depthwise::conv, conv, rows, output) }
    }

    fn batch_norm(&self, norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
        elements::batch_norm(norm, input, output);
    }
}

/// Whether everything that `parse` has checked is there, and words are aligned.
fn is_sound(conv: &Conv<'_>, rows: &Rows<'_>) -> bool {
    let window = &conv.window;
    let channels = usize::from(window.output.channels);
    let taps = window.kernel[1] * usize::from(window.input.channels);
    let aligned = |words: &[I32]| words.as_ptr().addr().is_multiple_of(4);
    let table = match conv.finish {
        conv::Finish::Requantize { .. } | conv::Finish::Stream(_) => true,
        conv::Finish::Join { table, .. } => aligned(table) && table.len() == 256,
    };
    channels > 0
        && taps > 0
        && (1..=MAX_KERNEL).contains(&window.kernel[0])
        && rows.len() >= window.kernel[0]
        && conv.packing.fits(window.kernel, window.stride)
        && conv.weights.len() == conv.packing.bytes(channels, [window.kernel[0], taps])
        && conv.weights.as_ptr().addr().is_multiple_of(2)
        && conv.bias.len() == channels
        && conv.mantissas.len() == channels
        && conv.shifts.len() == channels
        && aligned(conv.bias)
        && aligned(conv.mantissas)
        && table
}

/// How sums become outputs, and the positions of these outputs, for the channels and columns that
/// the assembly computes at a time.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Finish {
    bias: *const I32,
    mantissas: *const I32,
    shifts: *const i8,
    /// The middle of the table of a join, null, or [`STREAM16`].
    table: *const I32,
    /// The extra bits of a join, the zero point, or the offset of a 16-bit stream.
    last: i32,
    /// Range of the output; for a 16-bit stream, that of its values.
    min: i32,
    max: i32,
    output: *mut i8,
    /// Distance from one column of the output to the next.
    output_step: usize,
    shortcut: *const i8,
    /// Distance from one column of the shortcut to the next.
    shortcut_step: usize,
    /// For a 16-bit stream: the factor of the shortcuts, and the distances from outputs and
    /// shortcuts to their lower bytes.
    factor: i32,
    lower: usize,
    shortcut_lower: usize,
}

/// Stands in place of a join's table if the outputs are a 16-bit stream.
const STREAM16: *const I32 = core::ptr::without_provenance(1);

/// The positions of a row's outputs, and of its shortcut.
struct Place {
    output: *mut i8,
    shortcut: *const i8,
    /// Distance from one column of the shortcut to the next.
    shortcut_step: usize,
    /// For a 16-bit stream: distances from outputs and shortcuts to their lower bytes.
    lower: usize,
    shortcut_lower: usize,
}

impl Place {
    /// For the first channel and column. The output has all columns.
    fn of(conv: &Conv<'_>, shortcut: &Shortcut<'_>, output: &mut [i8]) -> Self {
        let step = usize::from(conv.window.output.channels).max(1);
        match conv.finish {
            conv::Finish::Requantize { .. } => Self::in_place(step, 0, output),
            conv::Finish::Join { .. } => Self::of_join(conv, shortcut, output),
            conv::Finish::Stream(stream) => {
                let lower = output.len() / 2;
                // With a factor of zero any operand will do.
                let shortcut = match stream.factor {
                    0 => Shortcut::InPlace,
                    _ => in_reach(conv, shortcut, output),
                };
                let here = Self::in_place(step, lower, output);
                match shortcut {
                    Shortcut::InPlace => here,
                    Shortcut::Row { row, lower, stride, .. } => Self {
                        shortcut: row.as_ptr(),
                        shortcut_step: stride * step,
                        shortcut_lower: distance(row, lower),
                        ..here
                    },
                }
            }
        }
    }

    /// For a shortcut that is where the outputs are, or none.
    fn in_place(step: usize, lower: usize, output: &mut [i8]) -> Self {
        let output = output.as_mut_ptr();
        let shortcut = output.cast_const();
        Self { output, shortcut, shortcut_step: step, lower, shortcut_lower: lower }
    }

    /// For a join.
    fn of_join(conv: &Conv<'_>, shortcut: &Shortcut<'_>, output: &mut [i8]) -> Self {
        let channels = usize::from(conv.window.output.channels).max(1);
        let columns = usize::from(conv.window.output.columns);
        if let Shortcut::Row { row, channels: theirs, stride, before, zero, .. } = *shortcut {
            let reach = columns.saturating_sub(1) * stride * channels + channels;
            if theirs == channels && before == 0 && row.len() >= reach {
                return Self {
                    shortcut: row.as_ptr(),
                    shortcut_step: stride * channels,
                    ..Self::in_place(channels, 0, output)
                };
            }
            // The shortcut is copied into the output, and updated there.
            for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
                pixel.fill(zero);
                let there = proved!(row.get(x * stride * theirs..)).unwrap_or(&[]);
                let places = pixel.iter_mut().skip(before).take(theirs);
                places.zip(there).for_each(|(place, value)| *place = *value);
            }
        }
        Self::in_place(channels, 0, output)
    }
}

impl Finish {
    /// Sets the places of a step's outputs, and beside each that of its shortcut and the distance
    /// from column to column there. Returns the number of rows, which come before empty ones.
    fn place(
        &mut self,
        conv: &Conv<'_>,
        outputs: &mut [&mut [i8]],
        shortcuts: &[Shortcut<'_>],
        places: &mut [*mut i8],
        beside: (&mut [*const i8], &mut [usize]),
    ) -> usize {
        let mut made = 0;
        let places = places.iter_mut().zip(beside.0).zip(beside.1);
        for (((place, beside), step), (output, shortcut)) in
            places.zip(outputs.iter_mut().zip(shortcuts))
        {
            if output.len() == conv.output_bytes() {
                let at = Place::of(conv, shortcut, output);
                (*place, *beside, *step) = (at.output, at.shortcut, at.shortcut_step);
                self.lower = at.lower;
                self.shortcut_lower = at.shortcut_lower;
                made += 1;
            }
        }
        made
    }

    /// For the first channel and column of a row.
    fn of(conv: &Conv<'_>, place: Place) -> Self {
        let [min, max] = [conv.clamp.min, conv.clamp.max].map(i32::from);
        let (table, last, factor, [min, max]) = match conv.finish {
            conv::Finish::Requantize { zero_point } => (null(), zero_point, 0, [min, max]),
            conv::Finish::Join { table, bits } => {
                (table.as_ptr().wrapping_add(128), bits as i32, 0, [min, max])
            }
            conv::Finish::Stream(stream) => {
                (STREAM16, stream.offset, stream.factor, [256 * min, 256 * max + 127])
            }
        };
        let Place { output, shortcut, shortcut_step, lower, shortcut_lower } = place;
        Self {
            bias: conv.bias.as_ptr(),
            mantissas: conv.mantissas.as_ptr(),
            shifts: conv.shifts.as_ptr(),
            table,
            last,
            min,
            max,
            output,
            output_step: usize::from(conv.window.output.channels).max(1),
            shortcut,
            shortcut_step,
            factor,
            lower,
            shortcut_lower,
        }
    }

    /// For column `x` and channel `o`.
    fn at(&self, x: usize, o: usize) -> Self {
        Self {
            bias: self.bias.wrapping_add(o),
            mantissas: self.mantissas.wrapping_add(o),
            shifts: self.shifts.wrapping_add(o),
            output: self.output.wrapping_add(x * self.output_step + o),
            shortcut: self.shortcut.wrapping_add(x * self.shortcut_step + o),
            ..*self
        }
    }
}

/// Fills `line` with the columns of a row from `first` on, where the columns of padding before the
/// row are counted. A row of padding is empty.
fn fill(conv: &Conv<'_>, row: &[i8], first: usize, line: &mut [i8]) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let row = row.get(first.saturating_sub(window.pad_left) * inputs..).unwrap_or(&[]);
    let before = match row.is_empty() {
        true => line.len(),
        false => (window.pad_left.saturating_sub(first) * inputs).min(line.len()),
    };
    let there = row.len().min(line.len() - before);
    let after = line.len() - before - there;
    match conv.padding {
        // SAFETY: the line has as many bytes, and the row has `there`. They do not overlap, because
        // one is borrowed mutably.
        Padding::Same(value) => unsafe {
            lay(line.as_mut_ptr(), value, before, row.as_ptr(), there, after);
        },
        Padding::PerChannel(_) => {
            let (edge, rest) = proved!(line.split_at_mut_checked(before)).unwrap_or_default();
            let (inside, rest) = proved!(rest.split_at_mut_checked(there)).unwrap_or_default();
            pad(conv, edge);
            if inside.len() == there {
                // SAFETY: as before.
                unsafe { lay(inside.as_mut_ptr(), 0, 0, row.as_ptr(), there, 0) }
            }
            pad(conv, rest);
        }
    }
}

/// Fills pixels with padding.
fn pad(conv: &Conv<'_>, pixels: &mut [i8]) {
    match conv.padding {
        // SAFETY: the slice has `pixels.len()` bytes.
        Padding::Same(value) => unsafe {
            lay(pixels.as_mut_ptr(), value, pixels.len(), null(), 0, 0);
        },
        Padding::PerChannel(values) => {
            for pixel in pixels.chunks_mut(values.len().max(1)) {
                pixel.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
        }
    }
}

/// Writes padding, values, and padding.
///
/// ```text
/// a0 to   a1 padding   a2 bytes of padding before   a3 values   a4 bytes of these   a5 bytes of
/// padding after   t0 bytes of a round   v0 … v7 values   v8 … v15 padding
/// ```
///
/// # Safety
///
/// `there` bytes can be read at `values`, and the sum of the three numbers written at `to`.
#[unsafe(naked)]
unsafe extern "C" fn lay(
    to: *mut i8,
    padding: i8,
    before: usize,
    values: *const i8,
    there: usize,
    after: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "vsetvli t0, zero, e8, m8, ta, ma",
        "vmv.v.x v8, a1",
        "beqz a2, 2f",
        "1:",
        "vsetvli t0, a2, e8, m8, ta, ma",
        "vse8.v v8, (a0)",
        "add a0, a0, t0",
        "sub a2, a2, t0",
        "bnez a2, 1b",
        "2:",
        "beqz a4, 4f",
        "3:",
        "vsetvli t0, a4, e8, m8, ta, ma",
        "vle8.v v0, (a3)",
        "vse8.v v0, (a0)",
        "add a0, a0, t0",
        "add a3, a3, t0",
        "sub a4, a4, t0",
        "bnez a4, 3b",
        "4:",
        "beqz a5, 6f",
        "5:",
        "vsetvli t0, a5, e8, m8, ta, ma",
        "vse8.v v8, (a0)",
        "add a0, a0, t0",
        "sub a5, a5, t0",
        "bnez a5, 5b",
        "6:",
        "ret",
        ".option pop",
    )
}
