//! Winograd's convolution along columns, F(4, 3), with a lane for each column of eight rows.
//!
//! ```text
//! for each 32 columns:
//!     values[position 0 … 5][two input channels][column][row of tiles] = Bᵀ · the six rows under it
//!     for each 16 output channels:
//!         weights[position][kernel column][two input channels] = G · the three weights of a column
//!         for each three of these:
//!             for each position, for each kernel column, for each two input channels:
//!                 sums[position][0 … 2] += values a, b · weights a[0 … 2], b[0 … 2]
//!             outputs[four rows] = finish(Aᵀ · sums)
//! ```
//!
//! The matrices are those of [`winograd`](crate::kernels), and weights are scalars. Two tiles, one
//! below the other, are beside each other in a vector, so 32 columns fill 64 lanes: two vectors of
//! 128 bits or one of 256 bits, in eight registers. That is half of the products of a direct
//! convolution; a tile of four by four takes a quarter, but has a lane for each of 16 channels only.
//! For 16 input and 16 output channels, eight rows of 32 columns take 26,000 instructions for
//! products, or half of that with 256 bits, 4,100 to transform values and weights, and 4,600 to make
//! outputs from sums, or 5,600 with a join.
//!
//! The result is 24 times the sum.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ptr::{null, null_mut};

use zerocopy::little_endian::I32;

use super::tall_outputs::{Tall, finish};
use super::tall_values::{Under, values, weights};
use super::{Finish, Place, fill, tall_channels};
use crate::format::{MAX_STEP_ROWS, TILE_ROWS};
use crate::kernels::shared::assembly::assert_length;
use crate::ops::conv::{Conv, TallStrip};
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts, int8_mut};
use crate::proved::proved;

/// Number of bytes of the sums of all lanes at a position, and of those of a channel.
pub(super) const POSITION: usize = 4 * 2 * TallStrip::COLUMNS;
pub(super) const CHANNEL: usize = TallStrip::POSITIONS * POSITION;
/// Number of bytes of the transformed weights of a pair.
const PAIR: usize = 4 * TallStrip::CHANNELS;
/// Number of pairs of weights in a round of the innermost loop.
const ROUND: usize = 8;
/// Factor of the bias, which is added to the sum at the position that each output counts -4 times,
/// because outputs are 24 times too large.
pub(super) const BIAS: i32 = 24 / -4;

/// Number of bytes of the code for a pair, with `channels` channels.
const fn pair_bytes(channels: usize) -> usize {
    4 * (2 + 4 * channels)
}

/// The arguments of the assembly for the products.
#[repr(C)]
struct Products {
    /// Number of lanes, each of which has a word in a vector of values.
    lanes: usize,
    /// Address of the values at the first position, and distances from one vector to the next, and
    /// from the end of a position to the next one.
    values: *const i8,
    vector: usize,
    position: usize,
    /// Number of times that the vectors of a position are read, each time one column further on.
    times: usize,
    rounds: usize,
    /// Where the first round starts: the number of bytes of code that it leaves out, and of weights.
    entry: usize,
    before: usize,
    /// Address of the weights of the first channel.
    weights: *const i8,
    bias: *const I32,
    sums: *mut i8,
}

/// The rows of a step; see [`Backend::conv_rows`](crate::kernels::Backend::conv_rows).
pub(super) fn conv(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &Shortcuts<'_>,
    scratch: &mut [u8],
    outputs: &mut Outputs<'_>,
) {
    let window = &conv.window;
    let [inputs, channels] = [window.input.channels, window.output.channels].map(usize::from);
    let columns = usize::from(window.output.columns);
    let Some(strip) = TallStrip::of(window) else {
        return tall_channels::conv(conv, rows, shortcuts, scratch, outputs);
    };
    // `Model::parse` checked that the scratch memory is this large.
    let Some((transformed, rest)) = proved!(int8_mut(scratch).split_at_mut_checked(strip.values()))
    else {
        return;
    };
    let kept = strip.weights() + TallStrip::KEPT;
    if !proved!(rest.len() >= kept && rest.len() >= TallStrip::ROWS * strip.line) {
        return;
    }
    let mut tall = Tall {
        finish: Finish::of(conv, Place::of(conv, &Shortcut::InPlace, &mut [])),
        outputs: [null_mut(); MAX_STEP_ROWS],
        shortcuts: [null(); MAX_STEP_ROWS],
        shortcut_steps: [0; MAX_STEP_ROWS],
        columns: 0,
        channel: 0,
        channels: 0,
        sums: null(),
    };
    let beside = (tall.shortcuts.as_mut_slice(), tall.shortcut_steps.as_mut_slice());
    let made = tall.finish.place(conv, outputs, shortcuts, &mut tall.outputs, beside);
    if !proved!(made > 0) {
        return;
    }
    let (vector, pairs) = (8 * strip.vector_columns, strip.vectors * strip.times);
    let left_out = strip.vectors.next_multiple_of(ROUND) - strip.vectors;
    let mut under = Under {
        lines: null(),
        line: strip.line,
        step: inputs,
        columns: 0,
        vectors: strip.vectors,
        vector,
        position: strip.vectors * vector,
        values: transformed.as_mut_ptr(),
        tiles: made.div_ceil(TILE_ROWS),
    };
    let mut products = Products {
        lanes: 0,
        values: under.values.cast_const(),
        vector,
        position: under.position.wrapping_sub(8 * strip.times),
        times: strip.times,
        rounds: strip.vectors.div_ceil(ROUND),
        entry: 0,
        before: PAIR * left_out,
        weights: null(),
        bias: null(),
        sums: null_mut(),
    };
    for x in (0..columns).step_by(TallStrip::COLUMNS) {
        let block = (columns - x).min(TallStrip::COLUMNS);
        // Rows under those that the step does not make are missing: what is computed of them is not
        // used.
        for (row, line) in rows.iter().zip(rest.chunks_exact_mut(strip.line.max(1))) {
            fill(conv, row, x, line);
        }
        let place = rest.as_mut_ptr();
        under.lines = place;
        under.columns = strip.vector_columns - strip.columns + block;
        // SAFETY: each of ten lines has two values for each vector at each of these columns, which
        // are not more than the strip has. `transformed` has room for the vectors of all positions.
        unsafe { values(&under) }
        products.sums = place.wrapping_add(strip.weights());
        products.lanes = 2 * block;
        (tall.sums, tall.columns) = (products.sums, block);
        for first in (0..channels).step_by(TallStrip::CHANNELS) {
            let group = (channels - first).min(TallStrip::CHANNELS);
            let of_group = conv.weights.as_ptr().wrapping_add(2 * first);
            let pitch = 2 * channels;
            // SAFETY: each of three kernel rows has two weights for each pair and channel. Where the
            // lines were, there is room for all pairs at all positions.
            unsafe {
                let (rows, places) = ([pairs * pitch, pitch], [pairs * PAIR, PAIR]);
                weights(of_group, rows, [pairs, group], place, places);
            }
            for o in (0..group).step_by(TallStrip::SUMS) {
                tall.channels = (group - o).min(TallStrip::SUMS);
                tall.channel = first + o;
                products.weights = place.wrapping_add(4 * o);
                products.bias = conv.bias.as_ptr().wrapping_add(first + o);
                products.entry = pair_bytes(tall.channels) * left_out;
                let run: unsafe extern "C" fn(&Products) = match tall.channels {
                    1 => one,
                    2 => two,
                    _ => three,
                };
                // SAFETY: each position has the vectors, with a word for each lane from each of
                // `times` columns on, and the weights of these channels for each pair. `bias` has a
                // word for each channel, and there is room for the sums of three. The code that is
                // left out is part of a round.
                unsafe { run(&products) }
                // SAFETY: there are sums, mantissas and shifts of these channels. Each row that is
                // not null has the columns of the strip, with all channels; so do the shortcuts. The
                // table of a join has 128 words on either side.
                unsafe { finish(&mut tall) }
            }
        }
        tall.next(TallStrip::COLUMNS);
    }
}

/// Sums products at all positions. Each channel has an index, a scalar and sums.
///
/// ```text
/// a0 arguments   a1 vectors   a2 weights   a3 from vector to vector   a4 rounds   a5 where the first
/// begins   a6 the first vector of a kernel column   a7 rounds left   t0 … t2 a weight of each channel
/// t3 kernel columns left   t4 positions left   t5 sums   t6 weights that are left out
/// s0 lanes left   s1 values   s2 sums of these lanes   s3 lanes of a round   s4 to the next position
/// v0 … v3 v4 … v7 values   v8 … v15 v16 … v23 v24 … v31 sums
/// ```
///
/// # Safety
///
/// See [`conv`].
macro_rules! channels {
    ($name:ident: $($o:literal $weight:literal $sums:literal),+) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(products: &Products) {
            naked_asm!(
                ".option push",
                ".option arch, +m, +v",
                ".option norvc",
                "addi sp, sp, -32",
                ".irp at, 0, 1, 2, 3, 4",
                "sw s\\at, 4 * \\at(sp)",
                ".endr",
                "lw s0, {lanes}(a0)",
                "lw s1, {values}(a0)",
                "lw s2, {sums}(a0)",
                "lw s4, {position}(a0)",
                "lw a3, {vector}(a0)",
                "lw a4, {rounds}(a0)",
                "lw t6, {before}(a0)",
                "lw t0, {entry}(a0)",
                "lla a5, 3f",
                "add a5, a5, t0",
                // The next lanes.
                "6:",
                "vsetvli s3, s0, e16, m4, ta, ma",
                "lw a2, {weights}(a0)",
                "mv a6, s1",
                "mv t5, s2",
                "li t4, {positions}",
                // The next position.
                "1:",
                $(concat!("vwsub.vv ", $sums, ", v0, v0"),)+ // zero
                // The bias is added to the sums at position 1.
                "li t0, {positions} - 1",
                "bne t4, t0, 2f",
                "vsetvli zero, zero, e32, m8, ta, ma",
                "lw t0, {bias}(a0)",
                "li t1, {factor}",
                $(concat!(
                    "lw t2, 4 * ", $o, "(t0)\n",
                    "mul t2, t2, t1\n",
                    "vmv.v.x ", $sums, ", t2",
                ),)+
                "vsetvli zero, zero, e16, m4, ta, ma",
                "2:",
                "lw t3, {times}(a0)",
                // The next kernel column.
                "4:",
                "mv a1, a6",
                "sub a2, a2, t6",
                "mv a7, a4",
                "jr a5",
                "3:",
                ".irp at, 0, 1, 2, 3, 4, 5, 6, 7",
                "vlseg2e16.v v0, (a1)",
                "add a1, a1, a3",
                $(concat!("lh ", $weight, ", {pair} * \\at + 4 * ", $o, "(a2)"),)+
                $(concat!("vwmacc.vx ", $sums, ", ", $weight, ", v0"),)+
                $(concat!("lh ", $weight, ", {pair} * \\at + 4 * ", $o, " + 2(a2)"),)+
                $(concat!("vwmacc.vx ", $sums, ", ", $weight, ", v4"),)+
                ".endr",
                assert_length!("3b", "{round} * {bytes}"),
                "addi a2, a2, {round} * {pair}",
                "addi a7, a7, -1",
                "bnez a7, 3b",
                "addi a6, a6, 8",
                "addi t3, t3, -1",
                "bnez t3, 4b",
                "add a6, a6, s4",
                "mv t0, t5",
                "li t1, {channel}",
                $(concat!("vse32.v ", $sums, ", (t0)\n", "add t0, t0, t1"),)+
                "addi t5, t5, {kept}",
                "addi t4, t4, -1",
                "bnez t4, 1b",
                "slli t0, s3, 2",
                "add s1, s1, t0",
                "add s2, s2, t0",
                "sub s0, s0, s3",
                "bnez s0, 6b",
                ".irp at, 0, 1, 2, 3, 4",
                "lw s\\at, 4 * \\at(sp)",
                ".endr",
                "addi sp, sp, 32",
                "ret",
                ".option pop",
                lanes = const offset_of!(Products, lanes),
                values = const offset_of!(Products, values),
                vector = const offset_of!(Products, vector),
                position = const offset_of!(Products, position),
                times = const offset_of!(Products, times),
                rounds = const offset_of!(Products, rounds),
                entry = const offset_of!(Products, entry),
                before = const offset_of!(Products, before),
                weights = const offset_of!(Products, weights),
                bias = const offset_of!(Products, bias),
                sums = const offset_of!(Products, sums),
                round = const ROUND,
                bytes = const pair_bytes([$($o),+].len()),
                pair = const PAIR,
                positions = const TallStrip::POSITIONS,
                factor = const BIAS,
                channel = const CHANNEL,
                kept = const POSITION,
            )
        }
    };
}

channels!(one: "0" "t0" "v8");
channels!(two: "0" "t0" "v8", "1" "t1" "v16");
channels!(three: "0" "t0" "v8", "1" "t1" "v16", "2" "t2" "v24");
