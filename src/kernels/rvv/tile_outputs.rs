//! Makes outputs from the sums of [tiles](super::tiles).

use core::arch::naked_asm;
use core::mem::offset_of;

use super::Finish;
use super::stream16::to_stream16;
use super::tall_outputs::THIRD;
use super::tiles::{POSITION, POSITIONS_ROW, SUMS, Tile};
use crate::kernels::shared::assembly::if_stream16;
use crate::kernels::shared::winograd::NINTH;

/// Aᵀ of six vectors at `t1`, `$step` bytes apart. The results are in v24, v16, v20, v8. v4, v12
/// and a7 are overwritten.
macro_rules! of_six {
    ($add:literal $step:literal) => {
        concat!(
            $add,
            " a7, t1, ",
            $step,
            "\n",
            "vle32.v v4, (a7)\n",
            $add,
            " a7, a7, ",
            $step,
            "\n",
            "vle32.v v8, (a7)\n",
            $add,
            " a7, a7, ",
            $step,
            "\n",
            "vadd.vv v12, v4, v8\n",
            "vsub.vv v4, v4, v8\n",
            "vsll.vi v12, v12, 2\n",
            "vsll.vi v4, v4, 2\n",
            "vle32.v v8, (a7)\n",
            $add,
            " a7, a7, ",
            $step,
            "\n",
            "vle32.v v16, (a7)\n",
            $add,
            " a7, a7, ",
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

/// Makes values of a 16-bit stream for several rows: `t6` is the offset, and `a7` the factor, or
/// 128.
macro_rules! stream16 {
    ($($place:literal $sums:literal),+) => {
        if_stream16!({
            concat!("10:
             lw a7, {factor}(a0)
             lw s4, {rows}(a0)
             slli s4, s4, 2
             add s4, s4, a0
             mv t2, a0
             .irp v, v24, v16, v20, v8
             beq t2, s4, 12f
             lw s5, {shortcut_steps}(t2)
             lw s6, {shortcuts}(t2)
             mul s5, s5, a5
             add s6, s6, a3
             add s6, s6, s5
             lw s5, {shortcut_lower}(a0)
             add s5, s5, s6
             vsetvli zero, zero, e16, m2, ta, ma
             vle8.v v4, (s6)
             vle8.v v5, (s5)
             vsext.vf2 v6, v4
             vsll.vi v6, v6, 8
             vzext.vf2 v4, v5
             vadd.vv v6, v6, v4
             vwmul.vx v12, v6, a7
             vsetvli zero, zero, e32, m4, ta, ma
             vsra.vi v12, v12, 10
             vadd.vv \\v, \\v, v12
             vadd.vx \\v, \\v, t6
             vsra.vi \\v, \\v, 4
             addi t2, t2, 4
             .endr
             12:
             vsetvli zero, zero, e16, m2, ta, ma
             lw t2, {min}(a0)
             lw s4, {max}(a0)
             li a7, 128
             .irp v, v24, v16, v20, v8
             vnclip.wi \\v, \\v, 0
             vmax.vx \\v, \\v, t2
             vmin.vx \\v, \\v, s4
             vadd.vx \\v, \\v, a7
             .endr
             vsetvli zero, zero, e8, m1, ta, ma
             lw a7, {rows}(a0)
             lw s4, {lower}(a0)
            ",
            $(
                "lw t2, {outputs} + ", $place, "(a0)
                 add t2, t2, s2
                 add s5, t2, s4
                 vnsrl.wi v4, ", $sums, ", 0
                 vse8.v v4, (s5)
                 vnsrl.wi ", $sums, ", ", $sums, ", 8
                 vse8.v ", $sums, ", (t2)
                 addi a7, a7, -1
                 beqz a7, 13f
                ",
            )+
            "13:
             j 8b")
        } else {
            // Operands that are not used must be named.
            "# {factor} {lower} {shortcut_lower}"
        })
    };
}

/// Begins the next channels: sets their number, `t0`, loads mantissas, and stores two shifts behind
/// the sums. `t2` is four times the first channel.
macro_rules! channels {
    () => {
        "vsetvli t0, a2, e32, m4, ta, ma
         lw t1, {shifts}(a0)
         add t1, t1, a3
         vle8.v v7, (t1)
         vsext.vf4 v4, v7
         slli t2, a3, 2
         lw t1, {sums}(a0)
         lw a6, {shifts_at}(a0)
         add t1, t1, a6
         add t1, t1, t2
         vmax.vx v8, v4, zero
         vse32.v v8, (t1)
         add t1, t1, s7
         vrsub.vi v4, v4, 0
         vmax.vx v4, v4, zero
         vse32.v v4, (t1)
         lw t1, {mantissas}(a0)
         add t1, t1, t2
         vle32.v v28, (t1)"
    };
}

/// Makes outputs of a column from the sums at `t1`, which are `$step` bytes apart. Aᵀ of these, times
/// the number in `t5`, are two to the power of `$bits` times the sums.
macro_rules! column {
    ($add:literal $step:literal, $bits:literal) => {
        concat!(
            of_six!($add $step),
            "lw a7, {sums}(a0)
             lw t2, {shifts_at}(a0)
             add a7, a7, t2
             slli t2, a3, 2
             add a7, a7, t2
             vle32.v v4, (a7)
             add a7, a7, s7
             vle32.v v12, (a7)
             .irp v, v24, v16, v20, v8
             vmul.vx \\v, \\v, t5
             vsra.vi \\v, \\v, ",
            $bits,
            "
             vsll.vv \\v, \\v, v4
             vsmul.vv \\v, \\v, v28\n",
            // Half away from zero: one is subtracted from negative values, if there is a shift to
            // the right.
            "vsrl.vi v0, \\v, 31
             vmin.vv v0, v0, v12
             vsub.vv \\v, \\v, v0
             vssra.vv \\v, \\v, v12
             .endr
             lw a7, {table}(a0)
             bnez a7, 6f
             .irp v, v24, v16, v20, v8
             vadd.vx \\v, \\v, t6
             .endr
             j 7f\n",
            // The join.
            "6:\n",
            to_stream16!("a7"),
            "\n
             lw s4, {rows}(a0)
             slli s4, s4, 2
             add s4, s4, a0
             mv t2, a0
             .irp v, v24, v16, v20, v8
             beq t2, s4, 7f
             lw s5, {shortcut_steps}(t2)
             lw s6, {shortcuts}(t2)
             mul s5, s5, a5
             add s6, s6, a3
             add s6, s6, s5
             vle8.v v7, (s6)
             vsext.vf4 v12, v7
             vsll.vi v12, v12, 2
             vluxei32.v v12, (a7), v12
             vadd.vv \\v, \\v, v12
             vsra.vx \\v, \\v, t6
             addi t2, t2, 4
             .endr
             7:
             vsetvli zero, zero, e16, m2, ta, ma
             .irp v, v24, v16, v20, v8
             vnclip.wi \\v, \\v, 0
             .endr
             vsetvli zero, zero, e8, m1, ta, ma
             lw t2, {min}(a0)
             lw a7, {max}(a0)
             .irp v, v24, v16, v20, v8
             vnclip.wi \\v, \\v, 0
             vmax.vx \\v, \\v, t2
             vmin.vx \\v, \\v, a7
             .endr
             lw a7, {rows}(a0)
             .irp row, 0, 1, 2, 3
             lw t2, {outputs} + 4 * \\row(a0)
             add t2, t2, s2
             .if \\row == 0
             vse8.v v24, (t2)
             .elseif \\row == 1
             vse8.v v16, (t2)
             .elseif \\row == 2
             vse8.v v20, (t2)
             .else
             vse8.v v8, (t2)
             .endif
             addi a7, a7, -1
             beqz a7, 8f
             .endr
             8:
             vsetvli zero, zero, e32, m4, ta, ma
             lw t2, {output_step}(a0)
             add s2, s2, t2
             addi a5, a5, 1
             addi a4, a4, -1"
        )
    };
}

/// Makes outputs from sums.
///
/// ```text
/// a0 arguments   a1 the tile's sums   a2 channels left   a3 channels done   a4 columns left in
/// the tile   a5 column   a6 sums of the channels   t0 channels of a round   t1 sums
/// t3 6   t4 24   t5 the inverse of 9   t6 extra bits, or zero point
/// s0 columns left   s1 from an output's row to the tile's first column   s2 to the output
/// s3 the tile's first column   s4 where shortcuts end   s5 s6 shortcut
/// s7 from a tile's sums to the next's   a7 t2 rows left, parameters, addresses
/// v0 … v3 which are negative   v24 v16 v20 v8 outputs of the rows
/// v28 mantissas   v4 … v7 v12 … v15
/// ```
///
/// # Safety
///
/// See [`conv`].
#[unsafe(naked)]
pub(super) unsafe extern "C" fn finish(tile: &Tile) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "addi sp, sp, -48",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8",
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
        "li s7, {sum}",
        "lw t6, {last}(a0)",
        // The next tile.
        "1:",
        "lw a2, {channels}(a0)",
        "lw a3, {channel}(a0)",
        // The next channels.
        "2:",
        channels!(),
        // Along each row of positions.
        "add a6, a1, t2",
        "mv t1, a6",
        "li t2, 6",
        "3:",
        of_six!("addi" "{position}"),
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
        column!("addi" "{positions_row}", "6"),
        "addi t1, t1, {position}",
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
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 48",
        "ret",
        stream16!("0" "v24", "4" "v16", "8" "v20", "12" "v8"),
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
        factor = const offset_of!(Tile, finish) + offset_of!(Finish, factor),
        lower = const offset_of!(Tile, finish) + offset_of!(Finish, lower),
        shortcut_lower = const offset_of!(Tile, finish) + offset_of!(Finish, shortcut_lower),
        shifts_at = const offset_of!(Tile, shifts),
        position = const POSITION,
        positions_row = const POSITIONS_ROW,
        sum = const SUMS,
        ninth = const NINTH,
    )
}

/// Makes outputs from the sums of [eight rows](super::tall_channels): at each column there are those
/// of all positions.
///
/// ```text
/// a0 arguments   a1 sums   a2 channels left   a3 channels done   a4 columns left   a5 column
/// s1 from an output's row to the first column   s2 to the output   s7 from position to position
/// s8 from column to column of the sums   t5 the inverse of 3
/// ```
///
/// The other registers are those of [`finish`].
///
/// # Safety
///
/// See [`conv`](super::tall_channels::conv).
#[unsafe(naked)]
pub(super) unsafe extern "C" fn finish_columns(tile: &Tile) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        "addi sp, sp, -48",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8",
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
        "li t5, {third}",
        "lw s7, {vector}(a0)",
        "slli s8, s7, 2",
        "add s8, s8, s7",
        "add s8, s8, s7",
        "lw t6, {last}(a0)",
        "lw a2, {channels}(a0)",
        "lw a3, {channel}(a0)",
        // The next channels.
        "2:",
        channels!(),
        "add t1, a1, t2",
        "add s2, s1, a3",
        "mv a4, s0",
        "mv a5, s3",
        "5:",
        column!("add" "s7", "3"),
        "add t1, t1, s8",
        "bnez a4, 5b",
        "add a3, a3, t0",
        "sub a2, a2, t0",
        "bnez a2, 2b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 48",
        "ret",
        stream16!("0" "v24", "4" "v16", "8" "v20", "12" "v8"),
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
        factor = const offset_of!(Tile, finish) + offset_of!(Finish, factor),
        lower = const offset_of!(Tile, finish) + offset_of!(Finish, lower),
        shortcut_lower = const offset_of!(Tile, finish) + offset_of!(Finish, shortcut_lower),
        shifts_at = const offset_of!(Tile, shifts),
        vector = const offset_of!(Tile, vector),
        third = const THIRD,
    )
}
