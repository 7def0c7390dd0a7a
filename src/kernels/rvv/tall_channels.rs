//! Winograd's convolution along columns, F(4, 3), with a lane for each output channel: for layers with
//! more channels than [columns](super::tall).
//!
//! ```text
//! for each four rows, for each eight columns:
//!     values[position 0 … 5] = Bᵀ · the six rows under them                  in the order of a row
//!     for each 64 output channels:
//!         sums[column][position] = bias
//!         for each 32 weights of a kernel row:
//!             weights[position] = G · the three rows of weights
//!             for each position, for each three columns:
//!                 sums[0 … 2][position] += values a[0 … 2], b[0 … 2] · weights a, b
//!         outputs[four rows] = finish(Aᵀ · sums)
//! ```
//!
//! Values are scalars. Two weights take 14 instructions for three columns, as long as they are
//! transformed; loading and storing sums takes another 17 for each 32 weights.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ptr::{null, null_mut};

use zerocopy::little_endian::I32;

use super::tall::BIAS;
use super::tall_values::{lines, weights};
use super::tile_outputs::finish_columns;
use super::tiles::Tile;
use super::{Finish, Place, fill};
use crate::format::TILE_ROWS;
use crate::kernels::shared::assembly::assert_length;
use crate::ops::conv::{Conv, TILES_ROWS, TallBlock, TallStrip};
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts, int8_mut};
use crate::proved::proved;

/// Number of bytes of the code for a pair, with `columns` columns.
const fn pair_bytes(columns: usize) -> usize {
    4 * (2 + 4 * columns)
}

/// The arguments of the assembly for the products.
#[repr(C)]
struct Products {
    lanes: usize,
    columns: usize,
    /// Address of the values of the first column at the first position, and distances from one
    /// position to the next, and from one column to the next. If there are fewer pairs, the first
    /// ones are left out; the address is then lower by their part.
    values: *const i8,
    position: usize,
    step: usize,
    /// The transformed weights, and the distance from one position to the next.
    weights: *const i8,
    position_weights: usize,
    /// The sums of the first column, and the distance from one position to the next, which is also
    /// that from two weights of all channels to the next two.
    sums: *mut i8,
    vector: usize,
    /// The number of bytes of code that are left out, with one, two and three columns.
    entries: [usize; 3],
}

/// The rows of a step; see [`Backend::conv_rows`](crate::kernels::Backend::conv_rows).
pub(super) fn conv(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &Shortcuts<'_>,
    scratch: &mut [u8],
    outputs: &mut Outputs<'_>,
) {
    let block = TallBlock::of(&conv.window);
    // `Model::parse` checked that the scratch memory is this large.
    let scratch = int8_mut(scratch).split_at_mut_checked(block.values());
    let Some((values, rest)) = proved!(scratch) else { return };
    let kept = block.weights() + block.sums() + 2 * block.vector();
    if !proved!(rest.len() >= kept && rest.len() >= TILES_ROWS * block.line) {
        return;
    }
    let (outputs, _) = outputs.as_chunks_mut::<TILE_ROWS>();
    let (shortcuts, _) = shortcuts.as_chunks::<TILE_ROWS>();
    for (number, (outputs, shortcuts)) in outputs.iter_mut().zip(shortcuts).enumerate() {
        let rows = rows.get(number * TILE_ROWS..).unwrap_or(&[]);
        let mut tile = Tile {
            finish: Finish::of(conv, Place::of(conv, &Shortcut::InPlace, &mut [])),
            outputs: [null_mut(); TILE_ROWS],
            shortcuts: [null(); TILE_ROWS],
            shortcut_steps: [0; TILE_ROWS],
            rows: 0,
            column: 0,
            columns: 0,
            channel: 0,
            channels: 0,
            sums: null_mut(),
            shifts: block.sums(),
            vector: block.vector(),
        };
        let beside = (tile.shortcuts.as_mut_slice(), tile.shortcut_steps.as_mut_slice());
        tile.rows = tile.finish.place(conv, outputs, shortcuts, &mut tile.outputs, beside);
        if tile.rows > 0 {
            row_of_tiles(conv, rows, &block, &mut tile, values, rest);
        }
    }
}

/// Makes up to four rows.
fn row_of_tiles(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    block: &TallBlock,
    tile: &mut Tile,
    values: &mut [i8],
    rest: &mut [i8],
) {
    let window = &conv.window;
    let [inputs, channels] = [window.input.channels, window.output.channels].map(usize::from);
    let columns = usize::from(window.output.columns);
    let pairs = (3 * inputs).div_ceil(2);
    let (pitch, vector) = (2 * channels, block.vector());
    for x in (0..columns).step_by(TallBlock::COLUMNS) {
        // Rows under those that the step does not make are missing: what is computed of them is not
        // used.
        let places = rest.chunks_exact_mut(block.line.max(1)).take(TILES_ROWS);
        for (row, line) in rows.iter().zip(places) {
            fill(conv, row, x, line);
        }
        // SAFETY: `rest` has six lines, and `values` room for an int16 for each of their values.
        unsafe { lines(rest.as_ptr(), block.line, values.as_mut_ptr()) }
        (tile.column, tile.columns) = (x, (columns - x).min(TallBlock::COLUMNS));
        let place = rest.as_mut_ptr();
        let mut products = Products {
            lanes: 0,
            columns: tile.columns,
            values: null(),
            position: 2 * block.line,
            step: 2 * inputs,
            weights: place,
            position_weights: block.pairs * vector,
            sums: place.wrapping_add(block.weights()),
            vector,
            entries: [0; 3],
        };
        for first in (0..channels).step_by(TallBlock::CHANNELS) {
            products.lanes = (channels - first).min(TallBlock::CHANNELS);
            let bias = conv.bias.as_ptr().wrapping_add(first);
            // SAFETY: there are as many biases, and room for the sums of as many channels at these
            // columns.
            unsafe { begin(bias, products.lanes, products.sums, tile.columns, vector) }
            for done in (0..pairs).step_by(TallBlock::PAIRS) {
                let these = (pairs - done).min(TallBlock::PAIRS);
                let from = conv.weights.as_ptr().wrapping_add(done * pitch + 2 * first);
                let (row, position) = (pairs * pitch, products.position_weights);
                // SAFETY: each of three kernel rows has two weights for each of these pairs and
                // channels. There is room for these pairs at all positions.
                unsafe {
                    let counts = [these, products.lanes];
                    weights(from, [row, pitch], counts, place, [position, vector]);
                }
                let left_out = TallBlock::PAIRS - these;
                products.values = values.as_ptr().wrapping_add(4 * done).wrapping_sub(4 * left_out);
                products.entries = [1, 2, 3].map(|columns| pair_bytes(columns) * left_out);
                // SAFETY: at each position there are two weights of each channel for these pairs,
                // and as many values for each column: the last one's are followed by another value.
                // There are sums of these channels at all columns. The code that is left out is that
                // of earlier pairs.
                unsafe { multiply(&products) }
            }
            (tile.channel, tile.channels) = (first, products.lanes);
            // The assembly counts channels from the layer's first.
            tile.sums = products.sums.wrapping_sub(4 * first);
            // SAFETY: there are sums, mantissas and shifts of `tile.channels` channels, and room for
            // two shifts for each channel. Each of the `rows` outputs has `tile.columns` columns
            // from `x` on, with `tile.channels` channels from `first` on; so do the shortcuts. The
            // table of a join has 128 words on either side.
            unsafe { finish_columns(tile) }
        }
    }
}

/// The sums without products: those at position 1 have the bias.
///
/// ```text
/// a0 bias   a1 lanes left   a2 sums   a3 columns   a4 from position to position   t0 lanes of a round
/// t1 columns left   t2 sums   t3 the factor of the bias
/// v0 … v7 zero   v8 … v15 bias
/// ```
///
/// # Safety
///
/// There is a word of bias for each lane, at least one of these, and room for the sums of at least
/// one column.
#[unsafe(naked)]
unsafe extern "C" fn begin(
    bias: *const I32,
    lanes: usize,
    sums: *mut i8,
    columns: usize,
    vector: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "li t3, {factor}",
        "1:",
        "vsetvli t0, a1, e32, m8, ta, ma",
        "vmv.v.i v0, 0",
        "vle32.v v8, (a0)",
        "vmul.vx v8, v8, t3",
        "mv t1, a3",
        "mv t2, a2",
        "2:",
        ".irp v, v0, v8, v0, v0, v0, v0",
        "vse32.v \\v, (t2)",
        "add t2, t2, a4",
        ".endr",
        "addi t1, t1, -1",
        "bnez t1, 2b",
        "slli t1, t0, 2",
        "add a0, a0, t1",
        "add a2, a2, t1",
        "sub a1, a1, t0",
        "bnez a1, 1b",
        "ret",
        ".option pop",
        factor = const BIAS,
    )
}

/// Adds products of up to three columns to their sums. `$entry` is where the code for pairs begins;
/// each column has a pointer, a scalar and sums.
macro_rules! columns {
    (
        $entry:literal, $label:literal, $code:literal, $bytes:literal:
        $($pointer:literal $value:literal $sums:literal),+
    ) => {
        concat!(
            "mv t4, a7\n",
            $("vle32.v ", $sums, ", (t4)\n add t4, t4, s10\n",)+
            "mv t5, a4\n",
            "jr ", $entry, "\n",
            $label, "\n",
            ".irp at, 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60\n",
            "vlseg2e16.v v0, (t5)\n",
            "add t5, t5, s9\n",
            $("lh ", $value, ", \\at(", $pointer, ")\n",)+
            $("vwmacc.vx ", $sums, ", ", $value, ", v0\n",)+
            $("lh ", $value, ", \\at + 2(", $pointer, ")\n",)+
            $("vwmacc.vx ", $sums, ", ", $value, ", v4\n",)+
            ".endr\n",
            assert_length!($code, $bytes), "\n",
            $("vse32.v ", $sums, ", (a7)\n add a7, a7, s10\n",)+
        )
    };
}

/// Adds products to the sums.
///
/// ```text
/// a0 arguments   a1 a2 a3 values of the columns   a4 weights at the position   a5 from column to
/// column   a6 columns left   a7 sums   t0 t1 t2 a value of each column   t3 positions left
/// t4 sums   t5 weights   t6 from position to position of the weights
/// s0 lanes left   s1 weights of these lanes   s2 sums of these lanes   s3 lanes of a round
/// s4 values at the position   s5 sums at the position   s6 s7 s8 where the code begins, with one, two
/// and three columns   s9 from vector to vector   s10 from column to column of the sums
/// v0 … v3 v4 … v7 weights   v8 … v15 v16 … v23 v24 … v31 sums
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
        "addi sp, sp, -48",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "lw s0, {lanes}(a0)",
        "lw s1, {weights}(a0)",
        "lw s2, {sums}(a0)",
        "lw a5, {step}(a0)",
        "lw t6, {position_weights}(a0)",
        "lw s9, {vector}(a0)",
        "slli s10, s9, 2",
        "add s10, s10, s9",
        "add s10, s10, s9",
        "lla s6, 11f",
        "lw t0, {entries}(a0)",
        "add s6, s6, t0",
        "lla s7, 12f",
        "lw t0, {entries} + 4(a0)",
        "add s7, s7, t0",
        "lla s8, 13f",
        "lw t0, {entries} + 8(a0)",
        "add s8, s8, t0",
        // The next lanes.
        "1:",
        "vsetvli s3, s0, e16, m4, ta, ma",
        "mv a4, s1",
        "mv s5, s2",
        "lw s4, {values}(a0)",
        "li t3, {positions}",
        // The next position.
        "2:",
        "mv a1, s4",
        "mv a7, s5",
        "lw a6, {columns}(a0)",
        // The next columns.
        "3:",
        "add a2, a1, a5",
        "addi a6, a6, -2",
        "bltz a6, 4f",
        "beqz a6, 5f",
        "add a3, a2, a5",
        columns!(
            "s8", "13:", "13b", "{pairs} * {three}":
            "a1" "t0" "v8", "a2" "t1" "v16", "a3" "t2" "v24"
        ),
        "add a1, a3, a5",
        "addi a6, a6, -1",
        "bnez a6, 3b",
        "j 6f",
        "4:",
        columns!("s6", "11:", "11b", "{pairs} * {one}": "a1" "t0" "v8"),
        "j 6f",
        "5:",
        columns!("s7", "12:", "12b", "{pairs} * {two}": "a1" "t0" "v8", "a2" "t1" "v16"),
        "6:",
        "lw t0, {position}(a0)",
        "add s4, s4, t0",
        "add a4, a4, t6",
        "add s5, s5, s9",
        "addi t3, t3, -1",
        "bnez t3, 2b",
        "slli t0, s3, 2",
        "add s1, s1, t0",
        "add s2, s2, t0",
        "sub s0, s0, s3",
        "bnez s0, 1b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 48",
        "ret",
        ".option pop",
        lanes = const offset_of!(Products, lanes),
        columns = const offset_of!(Products, columns),
        values = const offset_of!(Products, values),
        position = const offset_of!(Products, position),
        step = const offset_of!(Products, step),
        weights = const offset_of!(Products, weights),
        sums = const offset_of!(Products, sums),
        entries = const offset_of!(Products, entries),
        positions = const TallStrip::POSITIONS,
        pairs = const TallBlock::PAIRS,
        vector = const offset_of!(Products, vector),
        position_weights = const offset_of!(Products, position_weights),
        one = const pair_bytes(1),
        two = const pair_bytes(2),
        three = const pair_bytes(3),
    )
}
