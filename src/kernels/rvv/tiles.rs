//! Winograd's convolution in two dimensions, with a lane for each output channel.
//!
//! ```text
//! for each two tiles of four rows by four columns:
//!     values[position 0 … 35][tile] = Bᵀ · the six rows by six columns under it · B
//!     for each 32 output channels:
//!         for each position, for each two input channels:
//!             sums[position][tile] += values a, b · weights a, b       values are scalars
//!         output[tile] = finish(Aᵀ · sums · A)
//! ```
//!
//! The matrices are those of [`winograd`](crate::kernels), and the result is also 24² times the
//! sum. For 32 input and 32 output channels, four rows by 16 columns take 13,100 instructions for
//! the products, 2,200 to transform values, and 5,600 to make outputs from sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use zerocopy::little_endian::I32;

use super::tile_outputs::finish;
use super::tile_values::transform;
use super::{Finish, Place, fill};
use crate::format::TILE_ROWS;
use crate::kernels::shared::assembly::assert_length;
use crate::kernels::shared::winograd;
use crate::ops::conv::{
    Conv, TILE_COLUMNS, TILE_LANES, TILE_POSITIONS, TILE_WORDS, TILES, TILES_ROWS, TILES_SPAN,
    UNDER_TILES,
};
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts, int8_mut};
use crate::proved::proved;

/// Number of bytes of a tile's sums at a position.
pub(super) const SUMS: usize = 4 * TILE_LANES;
/// Numbers of bytes of the sums of all tiles at a position, and at a row of positions.
pub(super) const POSITION: usize = TILES * SUMS;
pub(super) const POSITIONS_ROW: usize = TILES_ROWS * POSITION;
/// Number of pairs of input channels in a round of the innermost loop.
const ROUND: usize = 8;
/// Number of bytes of the code for a pair.
const PAIR_BYTES: usize = 4 * (2 + 4 * TILES);
/// Factor of the bias, which is added to the sum at the position that each output counts 16 times,
/// because outputs are 24² times too large.
const BIAS: i32 = 24 * 24 / 16;

/// The arguments of the assembly for the products.
#[repr(C)]
struct Products {
    /// Address of the values at the first position, and distances from one tile's and from one
    /// position's values to the next. The first round may start in its middle; the address is then
    /// lower by the part that is left out.
    values: *const i8,
    tile: usize,
    position: usize,
    /// Address of the weights of the first channel, and distance from two input channels to the
    /// next two.
    weights: *const i8,
    pair: usize,
    rounds: usize,
    /// Where the first round starts: the number of bytes of code that it leaves out.
    entry: usize,
    bias: *const I32,
    lanes: usize,
    sums: *mut i8,
}

/// The arguments of the assembly that makes outputs from sums.
#[repr(C)]
pub(super) struct Tile {
    /// For the first channel, and for all rows.
    pub(super) finish: Finish,
    /// A pointer for each row.
    pub(super) outputs: [*mut i8; TILE_ROWS],
    pub(super) shortcuts: [*const i8; TILE_ROWS],
    pub(super) shortcut_steps: [usize; TILE_ROWS],
    pub(super) rows: usize,
    /// The first column, and the number of columns.
    pub(super) column: usize,
    pub(super) columns: usize,
    /// The first channel, and the number of channels.
    pub(super) channel: usize,
    pub(super) channels: usize,
    /// Address that the sums of the layer's first channel would have, and distances from there to two
    /// shifts, and from one of these to the other.
    pub(super) sums: *mut i8,
    pub(super) shifts: usize,
    pub(super) vector: usize,
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
    let twos = inputs.next_multiple_of(2);
    // `Model::parse` checked that the scratch memory is this large.
    let scratch = int8_mut(scratch).split_at_mut_checked(4 * TILE_LANES * TILE_WORDS);
    let Some((sums, scratch)) = proved!(scratch) else { return };
    let scratch = scratch.split_at_mut_checked(2 * TILE_POSITIONS * TILES * twos);
    let Some((values, pixels)) = proved!(scratch) else { return };
    let Some(pixels) = proved!(pixels.get_mut(..UNDER_TILES * twos)) else { return };
    let (sums, values) = (sums.as_mut_ptr(), values.as_mut_ptr());
    let pairs = twos / 2;
    let left_out = pairs.next_multiple_of(ROUND) - pairs;
    let mut tile = Tile {
        finish: Finish::of(conv, Place::of(conv, &Shortcut::InPlace, &mut [])),
        outputs: [core::ptr::null_mut(); TILE_ROWS],
        shortcuts: [core::ptr::null(); TILE_ROWS],
        shortcut_steps: [0; TILE_ROWS],
        rows: 0,
        column: 0,
        columns: 0,
        channel: 0,
        channels: 0,
        sums,
        shifts: TILE_POSITIONS * POSITION,
        vector: SUMS,
    };
    let beside = (tile.shortcuts.as_mut_slice(), tile.shortcut_steps.as_mut_slice());
    tile.rows = tile.finish.place(conv, outputs, shortcuts, &mut tile.outputs, beside);
    if !proved!(tile.rows > 0) {
        return;
    }
    let mut products = Products {
        values: values.cast_const().wrapping_sub(4 * left_out),
        tile: 2 * twos,
        position: 2 * TILES * twos,
        weights: conv.weights.as_ptr(),
        pair: 4 * channels,
        rounds: pairs.div_ceil(ROUND),
        entry: PAIR_BYTES * left_out,
        bias: conv.bias.as_ptr(),
        lanes: 0,
        sums,
    };
    for x in (0..columns).step_by(TILES * TILE_COLUMNS) {
        let begin = x.checked_sub(window.pad_left).map(|column| column * inputs);
        let mut under = [core::ptr::null(); TILES_ROWS];
        let lines = pixels.chunks_exact_mut((TILES_SPAN * twos).max(1));
        // If a step makes fewer rows, there are fewer rows under it; the others are padding.
        let rows = rows.iter().copied().chain(core::iter::repeat(&[][..]));
        for ((under, row), line) in under.iter_mut().zip(rows).zip(lines) {
            let on_row = begin.filter(|_| inputs == twos);
            let on_row = on_row.and_then(|begin| row.get(begin..begin + line.len()));
            *under = match on_row {
                Some(pixels) => pixels.as_ptr(),
                None if inputs == twos => {
                    fill(conv, row, x, line);
                    line.as_ptr()
                }
                None => {
                    winograd::fill(conv, row, x, twos, line);
                    line.as_ptr()
                }
            };
        }
        // SAFETY: each of these rows has ten pixels of `twos` channels, and `values` has room for
        // that number of int16 for each position and tile.
        unsafe { transform(&under, twos, values) }
        for o in (0..channels).step_by(TILE_LANES) {
            products.lanes = (channels - o).min(TILE_LANES);
            products.weights = conv.weights.as_ptr().wrapping_add(4 * o);
            products.bias = conv.bias.as_ptr().wrapping_add(o);
            // SAFETY: values are transformed. `weights` has two int16 for each position, pair of
            // input channels, and channel from `o` on, and `bias` has a word for each. `sums` has
            // room for the sums of `TILE_LANES` channels. The code that is left out is part of a
            // round.
            unsafe { multiply(&products) }
            (tile.channel, tile.channels) = (o, products.lanes);
            (tile.column, tile.columns) = (x, (columns - x).min(TILES * TILE_COLUMNS));
            // The assembly counts channels from the layer's first.
            tile.sums = sums.wrapping_sub(4 * o);
            // SAFETY: there are sums, mantissas and shifts of `tile.channels` channels, and room
            // for two shifts for each channel. Each of the `rows` outputs has `tile.columns`
            // columns from `x` on, with `tile.channels` channels from `o` on; so do the shortcuts.
            // The table of a join has 128 words on either side.
            unsafe { finish(&tile) }
        }
    }
}

/// The sums of products at all positions.
///
/// ```text
/// a0 arguments   a1 a2 values of the tiles   a3 weights   a4 from pair to pair   a5 values at the
/// next position   a6 where the first round begins   a7 rounds left   t0 t1 values   t2 sums
/// t3 positions left   t4 rounds   t5 from position to position   t6 from tile to tile
/// v0 … v3 v4 … v7 weights   v8 … v15 v16 … v23 sums
/// ```
///
/// # Safety
///
/// See [`conv`].
#[unsafe(naked)]
unsafe extern "C" fn multiply(products: &Products) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        ".option norvc",
        "lw t0, {lanes}(a0)",
        "vsetvli zero, t0, e16, m4, ta, ma",
        "lw a5, {values}(a0)",
        "lw t6, {tile}(a0)",
        "lw t5, {position}(a0)",
        "lw a3, {weights}(a0)",
        "lw a4, {pair}(a0)",
        "lw t4, {rounds}(a0)",
        "lw t0, {entry}(a0)",
        "lla a6, 3f",
        "add a6, a6, t0",
        "lw t2, {sums}(a0)",
        "li t3, {positions}",
        "1:",
        "vwsub.vv v8, v0, v0", // zero
        "vwsub.vv v16, v0, v0",
        // The bias is added to the sums in row 1 and column 1.
        "li t0, {positions} - 7",
        "bne t3, t0, 2f",
        "lw t0, {bias}(a0)",
        "li t1, {factor}",
        "vsetvli zero, zero, e32, m8, ta, ma",
        "vle32.v v8, (t0)",
        "vmul.vx v8, v8, t1",
        "vmv.v.v v16, v8",
        "vsetvli zero, zero, e16, m4, ta, ma",
        "2:",
        "mv a1, a5",
        "add a2, a5, t6",
        "add a5, a5, t5",
        "mv a7, t4",
        "jr a6",
        "3:",
        ".irp at, 0, 4, 8, 12, 16, 20, 24, 28",
        "vlseg2e16.v v0, (a3)",
        "add a3, a3, a4",
        "lh t0, \\at(a1)",
        "lh t1, \\at(a2)",
        "vwmacc.vx v8, t0, v0",
        "vwmacc.vx v16, t1, v0",
        "lh t0, \\at + 2(a1)",
        "lh t1, \\at + 2(a2)",
        "vwmacc.vx v8, t0, v4",
        "vwmacc.vx v16, t1, v4",
        ".endr",
        assert_length!("3b", "{round} * {bytes}"),
        "addi a7, a7, -1",
        "addi a1, a1, 32",
        "addi a2, a2, 32",
        "bnez a7, 3b",
        "vse32.v v8, (t2)",
        "addi t2, t2, {sum}",
        "vse32.v v16, (t2)",
        "addi t2, t2, {sum}",
        "addi t3, t3, -1",
        "bnez t3, 1b",
        "ret",
        ".option pop",
        values = const offset_of!(Products, values),
        tile = const offset_of!(Products, tile),
        position = const offset_of!(Products, position),
        weights = const offset_of!(Products, weights),
        pair = const offset_of!(Products, pair),
        rounds = const offset_of!(Products, rounds),
        entry = const offset_of!(Products, entry),
        bias = const offset_of!(Products, bias),
        lanes = const offset_of!(Products, lanes),
        sums = const offset_of!(Products, sums),
        round = const ROUND,
        bytes = const PAIR_BYTES,
        positions = const TILE_POSITIONS,
        factor = const BIAS,
        sum = const SUMS,
    )
}
