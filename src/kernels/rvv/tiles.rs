//! Winograd's convolution in two dimensions, with a lane an output channel.
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
//! The matrices are those of [`winograd`](crate::kernels), and so is what comes out: 24² times
//! the sum. For 32 channels of each kind, four rows by 16 columns take 13,100 instructions for the
//! products, 2,200 to transform values, and 5,600 to make outputs of sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use zerocopy::little_endian::I32;

use super::{Finish, fill};
use crate::format::TILE_ROWS;
use crate::kernels::shared::assembly::assert_length;
use crate::kernels::winograd::{self, NINTH};
use crate::ops::conv::{
    Conv, TILE_COLUMNS, TILE_LANES, TILE_POSITIONS, TILE_WORDS, TILES, TILES_ROWS, TILES_SPAN,
    UNDER_TILES,
};
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts, int8_mut};
use crate::proved::proved;

/// Bytes of a tile's sums at a position.
const SUMS: usize = 4 * TILE_LANES;
/// Bytes of the sums of all tiles at a position, and at a row of positions.
const POSITION: usize = TILES * SUMS;
const POSITIONS_ROW: usize = TILES_ROWS * POSITION;
/// Pairs of input channels in a round of the innermost loop.
const ROUND: usize = 8;
/// Bytes of the code for a pair.
const PAIR_BYTES: usize = 4 * (2 + 4 * TILES);
/// What the bias is multiplied by to be a part of the sum at the position that each output takes
/// 16 times: outputs come out 24² times.
const BIAS: i32 = 24 * 24 / 16;

/// What the assembly takes for the products.
#[repr(C)]
struct Products {
    /// The values at the first position, and from one tile's and from one position's to the next.
    /// The first round may begin in its middle, so they begin before those.
    values: *const i8,
    tile: usize,
    position: usize,
    /// The weights of the first channel, and from two input channels to the next two.
    weights: *const i8,
    pair: usize,
    rounds: usize,
    /// Where the first round begins: bytes of code that it leaves out.
    entry: usize,
    bias: *const I32,
    lanes: usize,
    sums: *mut i8,
}

/// What the assembly takes to make outputs of sums.
#[repr(C)]
struct Tile {
    /// Of the first channel, for all rows.
    finish: Finish,
    /// Of each row.
    outputs: [*mut i8; TILE_ROWS],
    shortcuts: [*const i8; TILE_ROWS],
    shortcut_steps: [usize; TILE_ROWS],
    rows: usize,
    /// The first column, and how many.
    column: usize,
    columns: usize,
    /// Likewise channels.
    channel: usize,
    channels: usize,
    /// Where sums of the first channel of all would be.
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
    let twos = inputs.next_multiple_of(2);
    // That there is so much was checked when the model was.
    let scratch = int8_mut(scratch).split_at_mut_checked(4 * TILE_LANES * TILE_WORDS);
    let Some((sums, scratch)) = proved!(scratch) else { return };
    let scratch = scratch.split_at_mut_checked(2 * TILE_POSITIONS * TILES * twos);
    let Some((values, pixels)) = proved!(scratch) else { return };
    let Some(pixels) = proved!(pixels.get_mut(..UNDER_TILES * twos)) else { return };
    let (sums, values) = (sums.as_mut_ptr(), values.as_mut_ptr());
    let pairs = twos / 2;
    let left_out = pairs.next_multiple_of(ROUND) - pairs;
    let mut tile = Tile {
        finish: Finish::of(conv, &Shortcut::InPlace, &mut []),
        outputs: [core::ptr::null_mut(); TILE_ROWS],
        shortcuts: [core::ptr::null(); TILE_ROWS],
        shortcut_steps: [0; TILE_ROWS],
        rows: 0,
        column: 0,
        columns: 0,
        channel: 0,
        channels: 0,
        sums,
    };
    let places = tile.outputs.iter_mut().zip(&mut tile.shortcuts).zip(&mut tile.shortcut_steps);
    for (((place, beside), step), (output, shortcut)) in
        places.zip(outputs.iter_mut().zip(shortcuts))
    {
        if output.len() == columns * channels {
            let finish = Finish::of(conv, shortcut, output);
            (*place, *beside, *step) = (finish.output, finish.shortcut, finish.shortcut_step);
            tile.rows += 1;
        }
    }
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
        // SAFETY: at each of these rows there are ten pixels of `twos` channels, in `values` as
        // many int16 for each position and tile.
        unsafe { transform(&under, twos, values) }
        for o in (0..channels).step_by(TILE_LANES) {
            products.lanes = (channels - o).min(TILE_LANES);
            products.weights = conv.weights.as_ptr().wrapping_add(4 * o);
            products.bias = conv.bias.as_ptr().wrapping_add(o);
            // SAFETY: values are transformed, `weights` has two int16 for each position, pair of
            // input channels and channel from `o` on, `bias` a word. `sums` has room for the sums of
            // `TILE_LANES` channels. Code that is left out is a part of a round.
            unsafe { multiply(&products) }
            (tile.channel, tile.channels) = (o, products.lanes);
            (tile.column, tile.columns) = (x, (columns - x).min(TILES * TILE_COLUMNS));
            // The assembly counts channels from the first of all.
            tile.sums = sums.wrapping_sub(4 * o);
            // SAFETY: the sums are there, and room for two shifts a channel; mantissas and shifts of
            // so many channels, too. Each of `rows` outputs has so many columns from `x` on of so
            // many channels from `o` on; shortcuts likewise, and the table of a join reaches 128
            // words to both sides.
            unsafe { finish(&tile) }
        }
    }
}

/// Bᵀ of the six vectors v0, v4 … v20, in their places: a7 is four, v24 and v28 are lost.
macro_rules! under_tile {
    () => {
        "vsub.vv v24, v16, v8
        vsub.vv v28, v12, v4
        vsub.vv v0, v0, v8
        vsll.vi v0, v0, 2
        vadd.vv v0, v0, v24
        vnmsac.vx v16, a7, v8
        vsub.vv v20, v20, v12
        vnmsac.vx v20, a7, v28
        vnmsac.vx v12, a7, v4
        vadd.vv v4, v16, v12
        vsub.vv v8, v16, v12
        vadd.vv v28, v28, v28
        vadd.vv v12, v24, v28
        vsub.vv v16, v24, v28"
    };
}

/// Transforms what lies under the tiles: along the rows, then along the columns, in place.
///
/// ```text
/// a0 rows   a1 channels   a2 the tile's values   a3 tiles left   a4 from the rows to the tile's
/// pixels   a5 channels left   a6 from one row of positions to the next   a7 four
/// t0 channels of a round   t1 row, columns left   t2 where the rows end   t3 values of a row or
/// column   t4 from one position to the next   t5 pixel, value   v0 v4 … v20 values   v24 v28
/// ```
///
/// # Safety
///
/// Ten pixels can be read at each of the six rows, and int16 be written for each tile and position;
/// there is a channel at least.
#[unsafe(naked)]
unsafe extern "C" fn transform(rows: &[*const i8; TILES_ROWS], channels: usize, values: *mut i8) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "li a3, {tiles}",
        "li a4, 0",
        "li a7, 4",
        "slli t4, a1, 2",
        "slli a6, t4, 1",
        "slli t0, t4, 2",
        "add a6, a6, t0",
        // The next tile.
        "1:",
        "mv a5, a1",
        // The next channels.
        "2:",
        "vsetvli t0, a5, e16, m4, ta, ma",
        "mv t1, a0",
        "addi t2, a0, 24",
        "mv t3, a2",
        // Along a row.
        "3:",
        "lw t5, 0(t1)",
        "addi t1, t1, 4",
        "add t5, t5, a4",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vle8.v v24, (t5)",
        "vsext.vf2 \\v, v24",
        "add t5, t5, a1",
        ".endr",
        under_tile!(),
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vse16.v \\v, (t3)",
        "add t3, t3, t4",
        ".endr",
        "bne t1, t2, 3b",
        // Along a column.
        "mv t3, a2",
        "li t1, 6",
        "4:",
        "mv t5, t3",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vle16.v \\v, (t5)",
        "add t5, t5, a6",
        ".endr",
        under_tile!(),
        "mv t5, t3",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vse16.v \\v, (t5)",
        "add t5, t5, a6",
        ".endr",
        "add t3, t3, t4",
        "addi t1, t1, -1",
        "bnez t1, 4b",
        "add a4, a4, t0",
        "slli t1, t0, 1",
        "add a2, a2, t1",
        "sub a5, a5, t0",
        "bnez a5, 2b",
        // Four columns further on.
        "slli t1, a1, 1",
        "add t1, t1, a1",
        "add a4, a4, t1",
        "addi a3, a3, -1",
        "bnez a3, 1b",
        "ret",
        ".option pop",
        tiles = const TILES,
    )
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
        // The bias is a part of the sums in row 1 and column 1.
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

/// Aᵀ of six vectors at `t1`, `$step` bytes apart: into v24, v16, v20, v8. v4 and v12 are lost,
/// a7 too.
macro_rules! of_six {
    ($step:literal) => {
        concat!(
            "addi a7, t1, ",
            $step,
            "\n",
            "vle32.v v4, (a7)\n",
            "addi a7, a7, ",
            $step,
            "\n",
            "vle32.v v8, (a7)\n",
            "addi a7, a7, ",
            $step,
            "\n",
            "vadd.vv v12, v4, v8\n",
            "vsub.vv v4, v4, v8\n",
            "vsll.vi v12, v12, 2\n",
            "vsll.vi v4, v4, 2\n",
            "vle32.v v8, (a7)\n",
            "addi a7, a7, ",
            $step,
            "\n",
            "vle32.v v16, (a7)\n",
            "addi a7, a7, ",
            $step,
            "\n",
            "vadd.vv v20, v8, v16\n",
            "vsub.vv v8, v8, v16\n",
            "vadd.vv v8, v8, v8\n",
            "vle32.v v16, (t1)\n",
            "vsub.vv v24, v20, v12\n",
            "vmacc.vx v24, t3, v16\n",
            "vsll.vi v20, v20, 2\n",
            "vsub.vv v20, v20, v12\n",
            "vsub.vv v16, v8, v4\n",
            "vsll.vi v8, v8, 2\n",
            "vsub.vv v8, v8, v4\n",
            "vle32.v v12, (a7)\n",
            "vmacc.vx v8, t4, v12\n",
        )
    };
}

/// Makes outputs of sums.
///
/// ```text
/// a0 arguments   a1 the tile's sums   a2 channels left   a3 channels done   a4 columns left in
/// the tile   a5 column   a6 sums of the channels   t0 channels of a round   t1 sums
/// t3 6   t4 24   t5 the inverse of 9   t6 extra bits, or zero point
/// s0 columns left   s1 from an output's row to the tile's first column   s2 to the output
/// s3 the tile's first column   s4 where shortcuts end   s5 s6 shortcut
/// a7 t2 rows left, parameters, addresses
/// v0 which are negative   v1 which are shifted to the right   v24 v16 v20 v8 outputs of the rows
/// v28 mantissas   v4 … v7 v12 … v15
/// ```
///
/// # Safety
///
/// See [`conv`].
#[unsafe(naked)]
unsafe extern "C" fn finish(tile: &Tile) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "addi sp, sp, -32",
        ".irp at, 0, 1, 2, 3, 4, 5, 6",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "csrwi vxrm, 0", // halves are rounded up
        "lw a1, {sums}(a0)",
        "lw s0, {columns}(a0)",
        "lw s3, {column}(a0)",
        "lw s1, {output_step}(a0)",
        "mul s1, s1, s3",
        "li t3, 6",
        "li t4, 24",
        "li t5, {ninth}",
        "lw t6, {last}(a0)",
        // The next tile.
        "1:",
        "lw a2, {channels}(a0)",
        "lw a3, {channel}(a0)",
        // The next channels.
        "2:",
        "vsetvli t0, a2, e32, m4, ta, ma",
        "lw t1, {shifts}(a0)",
        "add t1, t1, a3",
        "vle8.v v7, (t1)",
        "vsext.vf4 v4, v7",
        "vmslt.vx v1, v4, zero",
        "slli t2, a3, 2",
        "lw t1, {sums}(a0)",
        "li a6, {shifts_at}",
        "add t1, t1, a6",
        "add t1, t1, t2",
        "vmax.vx v8, v4, zero",
        "vse32.v v8, (t1)",
        "addi t1, t1, {sum}",
        "vrsub.vi v4, v4, 0",
        "vmax.vx v4, v4, zero",
        "vse32.v v4, (t1)",
        "lw t1, {mantissas}(a0)",
        "add t1, t1, t2",
        "vle32.v v28, (t1)",
        // Along each row of positions.
        "add a6, a1, t2",
        "mv t1, a6",
        "li t2, 6",
        "3:",
        of_six!("{position}"),
        "mv a7, t1",
        "vse32.v v24, (a7)",
        "addi a7, a7, {position}",
        "vse32.v v16, (a7)",
        "addi a7, a7, {position}",
        "vse32.v v20, (a7)",
        "addi a7, a7, {position}",
        "vse32.v v8, (a7)",
        "addi t1, t1, {positions_row}",
        "addi t2, t2, -1",
        "bnez t2, 3b",
        // Along each column.
        "mv t1, a6",
        "add s2, s1, a3",
        "li a4, 4",
        "blt a4, s0, 4f",
        "mv a4, s0",
        "4:",
        "mv a5, s3",
        "5:",
        of_six!("{positions_row}"),
        "lw a7, {sums}(a0)",
        "li t2, {shifts_at}",
        "add a7, a7, t2",
        "slli t2, a3, 2",
        "add a7, a7, t2",
        "vle32.v v4, (a7)",
        "addi a7, a7, {sum}",
        "vle32.v v12, (a7)",
        ".irp v, v24, v16, v20, v8",
        "vmul.vx \\v, \\v, t5",
        "vsra.vi \\v, \\v, 6",
        "vsll.vv \\v, \\v, v4",
        "vsmul.vv \\v, \\v, v28",
        // Half away from zero: one less below it, where there is a shift to the right.
        "vmslt.vx v0, \\v, zero",
        "vmand.mm v0, v0, v1",
        "vadd.vi \\v, \\v, -1, v0.t",
        "vssra.vv \\v, \\v, v12",
        ".endr",
        "lw a7, {table}(a0)",
        "bnez a7, 6f",
        ".irp v, v24, v16, v20, v8",
        "vadd.vx \\v, \\v, t6",
        ".endr",
        "j 7f",
        // The join.
        "6:",
        "lw s4, {rows}(a0)",
        "slli s4, s4, 2",
        "add s4, s4, a0",
        "mv t2, a0",
        ".irp v, v24, v16, v20, v8",
        "beq t2, s4, 7f",
        "lw s5, {shortcut_steps}(t2)",
        "lw s6, {shortcuts}(t2)",
        "mul s5, s5, a5",
        "add s6, s6, a3",
        "add s6, s6, s5",
        "vle8.v v7, (s6)",
        "vsext.vf4 v12, v7",
        "vsll.vi v12, v12, 2",
        "vluxei32.v v12, (a7), v12",
        "vadd.vv \\v, \\v, v12",
        "vsra.vx \\v, \\v, t6",
        "addi t2, t2, 4",
        ".endr",
        "7:",
        "vsetvli zero, zero, e16, m2, ta, ma",
        ".irp v, v24, v16, v20, v8",
        "vnclip.wi \\v, \\v, 0",
        ".endr",
        "vsetvli zero, zero, e8, m1, ta, ma",
        "lw t2, {min}(a0)",
        "lw a7, {max}(a0)",
        ".irp v, v24, v16, v20, v8",
        "vnclip.wi \\v, \\v, 0",
        "vmax.vx \\v, \\v, t2",
        "vmin.vx \\v, \\v, a7",
        ".endr",
        "lw a7, {rows}(a0)",
        ".irp row, 0, 1, 2, 3",
        "lw t2, {outputs} + 4 * \\row(a0)",
        "add t2, t2, s2",
        ".if \\row == 0",
        "vse8.v v24, (t2)",
        ".elseif \\row == 1",
        "vse8.v v16, (t2)",
        ".elseif \\row == 2",
        "vse8.v v20, (t2)",
        ".else",
        "vse8.v v8, (t2)",
        ".endif",
        "addi a7, a7, -1",
        "beqz a7, 8f",
        ".endr",
        "8:",
        "vsetvli zero, zero, e32, m4, ta, ma",
        "addi t1, t1, {position}",
        "lw t2, {output_step}(a0)",
        "add s2, s2, t2",
        "addi a5, a5, 1",
        "addi a4, a4, -1",
        "bnez a4, 5b",
        "add a3, a3, t0",
        "sub a2, a2, t0",
        "bnez a2, 2b",
        "addi a1, a1, {sum}",
        "lw t2, {output_step}(a0)",
        "slli t2, t2, 2",
        "add s1, s1, t2",
        "addi s3, s3, 4",
        "addi s0, s0, -4",
        "bgtz s0, 1b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 32",
        "ret",
        ".option pop",
        channel = const offset_of!(Tile, channel),
        channels = const offset_of!(Tile, channels),
        column = const offset_of!(Tile, column),
        rows = const offset_of!(Tile, rows),
        columns = const offset_of!(Tile, columns),
        sums = const offset_of!(Tile, sums),
        outputs = const offset_of!(Tile, outputs),
        shortcuts = const offset_of!(Tile, shortcuts),
        shortcut_steps = const offset_of!(Tile, shortcut_steps),
        mantissas = const offset_of!(Tile, finish) + offset_of!(Finish, mantissas),
        shifts = const offset_of!(Tile, finish) + offset_of!(Finish, shifts),
        table = const offset_of!(Tile, finish) + offset_of!(Finish, table),
        last = const offset_of!(Tile, finish) + offset_of!(Finish, last),
        min = const offset_of!(Tile, finish) + offset_of!(Finish, min),
        max = const offset_of!(Tile, finish) + offset_of!(Finish, max),
        output_step = const offset_of!(Tile, finish) + offset_of!(Finish, output_step),
        shifts_at = const TILE_POSITIONS * POSITION,
        position = const POSITION,
        positions_row = const POSITIONS_ROW,
        sum = const SUMS,
        ninth = const NINTH,
    )
}
