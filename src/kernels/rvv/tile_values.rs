//! Transforms the values under [tiles](super::tiles).

use core::arch::naked_asm;

use crate::ops::conv::{TILES, TILES_ROWS};

/// Bᵀ of the six vectors v0, v4 … v20, in place: a7 is four; v24 and v28 are overwritten.
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

/// Transforms the values under the tiles: along the rows, then along the columns, in place.
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
/// Ten pixels can be read at each of the six rows, and an int16 written for each channel, tile and
/// position. There is at least one channel.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn transform(
    rows: &[*const i8; TILES_ROWS],
    channels: usize,
    values: *mut i8,
) {
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

pub(super) use under_tile;
