//! Transforms the values and the weights of [eight rows](super::tall).

use core::arch::naked_asm;
use core::mem::offset_of;

use super::tile_values::under_tile;
use crate::format::TILE_ROWS;

/// The arguments of the transform of values.
#[repr(C)]
pub(super) struct Under {
    /// The first of ten lines of values, and the distance from one to the next.
    pub(super) lines: *const i8,
    pub(super) line: usize,
    /// Distance from one column's values to the next.
    pub(super) step: usize,
    pub(super) columns: usize,
    /// Number of vectors at a position, and the distances from one to the next, and from one
    /// position to the next.
    pub(super) vectors: usize,
    pub(super) vector: usize,
    pub(super) position: usize,
    pub(super) values: *mut i8,
    /// Number of rows of tiles.
    pub(super) tiles: usize,
}

/// Transforms the values under the tiles along columns.
///
/// ```text
/// a0 arguments   a1 line by line   a2 column by column   a3 from position to position
/// a4 columns left   a5 values of the tiles' first row   a6 the first transformed   a7 four
/// t0 columns of a round   t1 values   t2 transformed   t3 column   t4 transformed column
/// t5 vectors left   t6 eight
/// s0 tiles left   s1 the values of a vector   s2 the vector   s3 from vector to vector
/// v0 v4 … v20 values   v24 v28
/// ```
///
/// # Safety
///
/// Each of six lines for one row of tiles, or of ten for two, has two values for each vector at
/// each column. A vector has room for four int16 for each column, at each of six positions.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn values(under: &Under) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "addi sp, sp, -16",
        ".irp at, 0, 1, 2, 3",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "lw a1, {line}(a0)",
        "lw a2, {step}(a0)",
        "lw a3, {position}(a0)",
        "lw a5, {lines}(a0)",
        "lw a6, {values}(a0)",
        "lw s0, {tiles}(a0)",
        "lw s3, {vector}(a0)",
        "li a7, 4",
        "li t6, 8",
        // The next row of tiles.
        "1:",
        "lw t5, {vectors}(a0)",
        "mv s1, a5",
        "mv s2, a6",
        // The next vector: the first value of each column, then the second.
        "2:",
        "mv t3, s1",
        "mv t4, s2",
        "lw a4, {columns}(a0)",
        "3:",
        "vsetvli t0, a4, e16, m4, ta, ma",
        ".irp second, 0, 1",
        "addi t1, t3, \\second",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vlse8.v v24, (t1), a2",
        "vsext.vf2 \\v, v24",
        "add t1, t1, a1",
        ".endr",
        under_tile!(),
        "addi t2, t4, 2 * \\second",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vsse16.v \\v, (t2), t6",
        "add t2, t2, a3",
        ".endr",
        ".endr",
        "mul t1, t0, a2",
        "add t3, t3, t1",
        "slli t1, t0, 3",
        "add t4, t4, t1",
        "sub a4, a4, t0",
        "bnez a4, 3b",
        "addi s1, s1, 2",
        "add s2, s2, s3",
        "addi t5, t5, -1",
        "bnez t5, 2b",
        "slli t1, a1, {tile_rows_log2}",
        "add a5, a5, t1",
        "addi a6, a6, 4",
        "addi s0, s0, -1",
        "bnez s0, 1b",
        ".irp at, 0, 1, 2, 3",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 16",
        "ret",
        ".option pop",
        lines = const offset_of!(Under, lines),
        line = const offset_of!(Under, line),
        step = const offset_of!(Under, step),
        columns = const offset_of!(Under, columns),
        vectors = const offset_of!(Under, vectors),
        vector = const offset_of!(Under, vector),
        position = const offset_of!(Under, position),
        values = const offset_of!(Under, values),
        tiles = const offset_of!(Under, tiles),
        tile_rows_log2 = const TILE_ROWS.ilog2(),
    )
}

/// Transforms the weights of pairs of a kernel row for `channels` of the layer's channels: `first` is
/// the first weight. There are `pitch` bytes from pair to pair, `row` bytes from kernel row to kernel
/// row, and `vector` and `position` bytes from pair to pair and from position to position of the
/// transformed weights.
///
/// # Safety
///
/// There is at least one pair, and one channel. Each of three kernel rows has two weights for each pair
/// and channel, and `transformed` has room for as many int16 at each of six positions.
pub(super) unsafe fn weights(
    first: *const i8,
    [row, pitch]: [usize; 2],
    [pairs, channels]: [usize; 2],
    transformed: *mut i8,
    [position, vector]: [usize; 2],
) {
    // Where pairs lie one after the other, they are as many channels of one pair.
    let (pairs, weights) = match pitch == 2 * channels && vector == 2 * pitch {
        true => (1, pairs * pitch),
        false => (pairs, 2 * channels),
    };
    // SAFETY: as the caller has promised.
    unsafe { transform(first, row, pitch, pairs, transformed, position, weights, vector) }
}

/// Transforms weights along columns.
///
/// ```text
/// a0 weights   a1 from kernel row to kernel row   a2 from pair to pair   a3 pairs left
/// a4 transformed   a5 from position to position   a6 weights of a pair   a7 from pair to pair of the
/// transformed   t0 t2 weights   t1 t3 transformed   t4 weights left   t5 weights of a round
/// v0 v4 v8 weights   v12 … v31
/// ```
///
/// # Safety
///
/// There is at least one pair, and one weight. Each of three kernel rows has `weights` bytes for each
/// pair, and `transformed` has room for as many int16 for each pair at each of six positions.
#[unsafe(naked)]
#[allow(clippy::too_many_arguments)]
unsafe extern "C" fn transform(
    first: *const i8,
    row: usize,
    pair: usize,
    pairs: usize,
    transformed: *mut i8,
    position: usize,
    weights: usize,
    vector: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "1:",
        "mv t2, a0",
        "mv t3, a4",
        "mv t4, a6",
        "2:",
        "vsetvli t5, t4, e16, m4, ta, ma",
        "vle8.v v24, (t2)",
        "vsext.vf2 v0, v24",
        "add t0, t2, a1",
        "vle8.v v24, (t0)",
        "vsext.vf2 v4, v24",
        "add t0, t0, a1",
        "vle8.v v24, (t0)",
        "vsext.vf2 v8, v24",
        "vadd.vv v16, v0, v8",
        "vadd.vv v12, v16, v4",
        "vsub.vv v16, v16, v4",
        "vsll.vi v24, v8, 2",
        "vadd.vv v24, v24, v0",
        "vadd.vv v4, v4, v4",
        "vadd.vv v20, v24, v4",
        "vsub.vv v24, v24, v4",
        "mv t1, t3",
        ".irp v, v0, v12, v16, v20, v24",
        "vse16.v \\v, (t1)",
        "add t1, t1, a5",
        ".endr",
        "vse16.v v8, (t1)",
        "add t2, t2, t5",
        "slli t1, t5, 1",
        "add t3, t3, t1",
        "sub t4, t4, t5",
        "bnez t4, 2b",
        "add a0, a0, a2",
        "add a4, a4, a7",
        "addi a3, a3, -1",
        "bnez a3, 1b",
        "ret",
        ".option pop",
    )
}

/// Transforms the values of six lines along columns, as they lie.
///
/// ```text
/// a0 lines   a1 from line to line   a2 transformed   a3 values left   a4 from position to position
/// a7 four   t0 values of a round   t1 line   t2 position   v0 v4 … v20 values   v24 v28
/// ```
///
/// # Safety
///
/// There are six lines of `line` values, at least one. `transformed` has room for as many int16 at
/// each of six positions.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn lines(first: *const i8, line: usize, transformed: *mut i8) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "li a7, 4",
        "mv a3, a1",
        "slli a4, a1, 1",
        "1:",
        "vsetvli t0, a3, e16, m4, ta, ma",
        "mv t1, a0",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vle8.v v24, (t1)",
        "vsext.vf2 \\v, v24",
        "add t1, t1, a1",
        ".endr",
        under_tile!(),
        "mv t2, a2",
        ".irp v, v0, v4, v8, v12, v16, v20",
        "vse16.v \\v, (t2)",
        "add t2, t2, a4",
        ".endr",
        "add a0, a0, t0",
        "slli t1, t0, 1",
        "add a2, a2, t1",
        "sub a3, a3, t0",
        "bnez a3, 1b",
        "ret",
        ".option pop",
    )
}
