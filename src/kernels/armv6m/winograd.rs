//! Winograd's convolution: its products, and the outputs made from their sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::stream16::{stream16_rows, to_stream16};
use super::transform::{transform_kernels, transform_tiles};
use super::{Armv6m, requantize, saturate};
use crate::kernels::shared::assembly::consecutive;
use crate::kernels::shared::winograd::{self, NINTH, Sums, Values, Weights};

winograd::winograd_tiles!(
    Armv6m, winograd::is_ordinary,
    transform: transform_tiles, weights: transform_kernels,
    multiply: multiply_tiles, finish: |args, sums| finish_tiles(args, sums, NINTH)
);

/// Adds the products of two int16 in `r6` and `r7` with the weights of two of four channels. With
/// `$sum` as `mov`, the first product sets the sum.
macro_rules! two_channels {
    ($sum:literal $a:literal $b:literal) => {
        concat!(
            "ldm r1!, {{r4, r5}}
            sxth r3, r4
            muls r3, r6, r3
            asrs r4, r4, #16
            muls r4, r7, r4
            ",
            $sum,
            " ",
            $a,
            ", r3
            add ",
            $a,
            ", r4
            sxth r3, r5
            muls r3, r6, r3
            asrs r5, r5, #16
            muls r5, r7, r5
            ",
            $sum,
            " ",
            $b,
            ", r3
            add ",
            $b,
            ", r5
            "
        )
    };
}

/// All channels, and two input channels whose values are `$at` bytes after `r0`.
macro_rules! two_inputs {
    ($sum:literal $($at:literal)+) => {
        concat!(
            "ldr r7, [r0, #",
            $($at,)+
            "]
            sxth r6, r7
            asrs r7, r7, #16
            ",
            two_channels!($sum "r8" "r9"),
            two_channels!($sum "r10" "r11"),
        )
    };
}

/// All channels at one position of the tile whose values are `$tile` bytes after those of the first
/// tile.
macro_rules! position {
    ($tile:literal) => {
        concat!(
            two_inputs!("mov" $tile),
            "b 4f
            3:
            ",
            two_inputs!("add" $tile),
            "4:
            ",
            two_inputs!("add" "8 + " $tile),
            "adds r0, #16
            cmp r1, r12
            bne 3b
            mov r3, r8
            str r3, [r2, #",
            $tile,
            "]
            mov r3, r9
            str r3, [r2, #8 + ",
            $tile,
            "]
            mov r3, r10
            str r3, [r2, #16 + ",
            $tile,
            "]
            mov r3, r11
            str r3, [r2, #24 + ",
            $tile,
            "]
            "
        )
    };
}

/// ```text
/// r0 values   r1 weights   r2 sums   r3 r4 r5 weights, products   r6 r7 values of two channels
/// r8 … r11 sums   r12 where the weights of this position end
/// [sp] bytes of a position's weights   [sp, 4] where sums end
/// ```
///
/// # Safety
///
/// `pairs` is even, and not zero. Each of the 36 positions has `pairs` values and `pairs` weights.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn multiply_tiles(
    values: *const Values,
    weights: *const Weights,
    pairs: usize,
    sums: *mut Sums,
) {
    naked_asm!(
        save_registers!(),
        "sub sp, #8",
        "lsls r4, r2, #4",
        "str r4, [sp]",
        "movs r5, #36",
        "lsls r5, r5, #5",
        "adds r5, r5, r3",
        "str r5, [sp, #4]",
        "mov r2, r3",
        // The next position.
        "2:",
        "ldr r4, [sp]",
        "adds r4, r4, r1",
        "mov r12, r4",
        position!("0"),
        // The other tile.
        "ldr r4, [sp]",
        "subs r1, r1, r4",
        "lsrs r4, r4, #1",
        "subs r0, r0, r4",
        position!("4"),
        "adds r2, #32",
        "ldr r3, [sp, #4]",
        "cmp r2, r3",
        "beq 4f",
        "b 2b",
        "4:",
        "add sp, #8",
        restore_registers!(),
    )
}

/// Aᵀ · `r1` … `r6`. The results are in `r1`, `r5`, `r3`, `r4`. The last three are too small by
/// factors of two, four and four, for which later code compensates.
macro_rules! of_six {
    () => {
        "adds r7, r2, r3
         subs r2, r2, r3
         adds r3, r4, r5
         subs r4, r4, r5
         lsls r0, r1, #1
         adds r1, r1, r0
         lsls r1, r1, #1
         adds r1, r1, r3
         lsls r0, r7, #2
         subs r1, r1, r0
         lsls r0, r2, #1
         subs r5, r4, r0
         subs r3, r3, r7
         lsls r0, r6, #1
         adds r6, r6, r0
         adds r4, r4, r6
         lsls r4, r4, #1
         subs r4, r4, r2"
    };
}

/// Keeps the sums of the second to the fourth row in `r9` … `r11`, and brings back the registers of
/// the code that makes outputs.
macro_rules! to_rows {
    () => {
        "mov r9, r5
         mov r10, r3
         mov r11, r4
         mov r3, lr
         add r4, sp, #96
         ldm r4, {{r4-r7}}"
    };
}

/// Makes an output from a sum, in `r0` unless a register is named, and writes it into row
/// `$row / 4`.
macro_rules! store_row {
    ($acc:literal, $row:literal) => {
        concat!("mov r0, ", $acc, "\n", store_row!($row),)
    };
    ($row:literal) => {
        concat!(
            requantize!(),
            saturate!(),
            "ldr r2, [sp, #116 + ",
            $row,
            "]
            strb r1, [r2, r3]
            "
        )
    };
}

/// The same for a join.
macro_rules! join_row {
    ($acc:literal, $row:literal) => {
        concat!(
            "mov r0, ",
            $acc,
            "\n",
            requantize!(),
            "ldr r1, [sp, #132 + ",
            $row,
            "]
            ldrsb r1, [r1, r3]
            lsls r1, r1, #2
            ldr r2, [sp, #148]
            ldr r1, [r2, r1]
            adds r0, r0, r1
            ldr r1, [sp, #152]
            asrs r0, r1
            ",
            saturate!(),
            "ldr r2, [sp, #116 + ",
            $row,
            "]
            strb r1, [r2, r3]
            "
        )
    };
}

consecutive!(winograd::Args: outputs [4] shortcuts [4] stride);

/// ```text
/// r1 … r6 sums   r0 r7 values   r8 sums   r1 r5 r3 r4  outputs of four rows
/// then: r8 … r11 outputs   r4 … r7 r12 as `requantize` says   r0 r1 r2 values
/// r3 lr  from a row's first output to this one
/// [sp] Aᵀ · sums, of each of four columns six rows   [sp, 96] r4 … r7
/// [sp, 112] the bias   outputs, a row each   their shortcuts   table   zero_point, or bits
/// [sp, 156] shift to the left   channel   tiles left   arguments   sums   NINTH   the next column
/// [sp, 184] stride
/// ```
///
/// # Safety
///
/// All pointers are valid as [`finish_by`](winograd::finish_by) specifies. Words are aligned.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn finish_tiles(args: &mut winograd::Args, sums: &Sums, ninth: i32) {
    naked_asm!(
        save_registers!(),
        "sub sp, #188",
        "str r0, [sp, #168]",
        "str r1, [sp, #172]",
        "str r2, [sp, #176]",
        "ldr r7, [r0, #{first}]",
        "add r6, sp, #116",
        ".rept 2",
        "ldm r0!, {{r2-r5}}",
        ".irp row, r2, r3, r4, r5",
        "adds \\row, \\row, r7",
        ".endr",
        "stm r6!, {{r2-r5}}",
        ".endr",
        "ldr r2, [r0, #{table} - {stride}]",
        "ldr r3, [r0, #{last} - {stride}]",
        "ldr r4, [r0]",
        "str r4, [sp, #184]",
        "movs r4, #0",
        "movs r5, #0",
        "stm r6!, {{r2-r5}}",
        // The next channel.
        "2:",
        "ldr r0, [sp, #168]",
        "ldr r3, [sp, #160]",
        "mov lr, r3",
        "lsls r2, r3, #2",
        "ldr r1, [r0, #{bias}]",
        "ldr r1, [r1, r2]",
        "str r1, [sp, #112]",
        "ldr r1, [r0, #{mantissas}]",
        "ldr r4, [r1, r2]",
        "sxth r5, r4",
        "subs r4, r4, r5",
        "lsrs r4, r4, #16", // up to 2¹⁵
        "ldr r1, [r0, #{shifts}]",
        "ldrsb r7, [r1, r3]",
        "rsbs r7, r7, #0",
        "movs r1, #0",
        "mvns r1, r1",
        "lsrs r1, r1, #1",
        "mov r12, r1",
        // The zero point is added before the shift. A join adds its own after it.
        "ldr r1, [sp, #148]",
        "ldr r6, [sp, #152]",
        "lsls r6, r6, #1",
        "cmp r1, #0",
        "beq 1f",
        "movs r6, #0",
        "1:",
        "adds r6, #1",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "movs r1, #0",
        "cmp r7, #0",
        "bgt 1f",
        // A factor of a half or more: there is no shift to the right, and the carry is always set.
        "rsbs r1, r7, #0",
        "movs r7, #0",
        "mvns r6, r7",
        "mov r12, r6",
        "1:",
        "str r1, [sp, #156]",
        "add r1, sp, #96",
        "stm r1!, {{r4-r7}}",
        "ldr r1, [r0, #{tiles}]",
        "str r1, [sp, #164]",
        // The next tile.
        "4:",
        "ldr r7, [sp, #172]",
        "mov r8, r7",
        ".irp at, 0, 4, 8, 12, 16, 20",
        "mov r7, r8",
        "ldr r1, [r7]",
        "ldr r2, [r7, #32]",
        "ldr r3, [r7, #64]",
        "ldr r4, [r7, #96]",
        "adds r7, #128",
        "ldr r5, [r7]",
        "ldr r6, [r7, #32]",
        "adds r7, #64",
        "mov r8, r7",
        of_six!(),
        "lsls r5, r5, #1",
        "lsls r3, r3, #2",
        "lsls r4, r4, #2",
        "str r1, [sp, #\\at]",
        "str r5, [sp, #24 + \\at]",
        "str r3, [sp, #48 + \\at]",
        "str r4, [sp, #72 + \\at]",
        ".endr",
        "mov r0, sp",
        "str r0, [sp, #180]",
        // The next column.
        "5:",
        "ldr r0, [sp, #180]",
        "ldm r0!, {{r1-r6}}",
        "str r0, [sp, #180]",
        of_six!(),
        "ldr r0, [sp, #176]",
        "ldr r2, [sp, #112]",
        // The sum with the bias, from 64, 32, 16 and 16 times the sum.
        ".irp acc, r1, r5, r3, r4",
        "muls \\acc, r0, \\acc",
        ".endr",
        "asrs r1, r1, #6",
        "asrs r5, r5, #5",
        "asrs r3, r3, #4",
        "asrs r4, r4, #4",
        ".irp acc, r1, r5, r3, r4",
        "adds \\acc, \\acc, r2",
        ".endr",
        "ldr r0, [sp, #148]",
        "cmp r0, #0",
        "beq 6f",
        "b 7f",
        "6:",
        "mov r0, r1",
        to_rows!(),
        store_row!("0"),
        store_row!("r9", "4"),
        store_row!("r10", "8"),
        store_row!("r11", "12"),
        "9:",
        "ldr r1, [sp, #184]",
        "add lr, r1",
        "ldr r1, [sp, #180]",
        "add r2, sp, #96",
        "cmp r1, r2",
        "beq 1f",
        "b 5b",
        "1:",
        "ldr r7, [sp, #172]",
        "adds r7, #4",
        "str r7, [sp, #172]",
        "ldr r1, [sp, #164]",
        "subs r1, #1",
        "str r1, [sp, #164]",
        "beq 1f",
        "b 4b",
        // Back to the first tile, and on to the next channel.
        "1:",
        "ldr r0, [sp, #168]",
        "ldr r1, [r0, #{tiles}]",
        "lsls r1, r1, #2",
        "subs r7, r7, r1",
        "adds r7, #8",
        "str r7, [sp, #172]",
        "ldr r3, [sp, #160]",
        "adds r3, #1",
        "str r3, [sp, #160]",
        "ldr r1, [r0, #{channels}]",
        "cmp r3, r1",
        "beq 1f",
        "b 2b",
        "1:",
        "add sp, #188",
        restore_registers!(),
        // A join. Only its factors can have a shift to the left.
        "7:",
        "ldr r6, [sp, #156]",
        ".irp acc, r1, r5, r3, r4",
        "lsls \\acc, r6",
        ".endr",
        "mov r8, r1",
        to_rows!(),
        to_stream16!("" "r0"),
        join_row!("r8", "0"),
        join_row!("r9", "4"),
        join_row!("r10", "8"),
        join_row!("r11", "12"),
        "b 9b",
        stream16_rows!(),
        table = const offset_of!(winograd::Args, table),
        stride = const offset_of!(winograd::Args, stride),
        last = const offset_of!(winograd::Args, last),
        bias = const offset_of!(winograd::Args, bias),
        mantissas = const offset_of!(winograd::Args, mantissas),
        shifts = const offset_of!(winograd::Args, shifts),
        tiles = const offset_of!(winograd::Args, tiles),
        first = const offset_of!(winograd::Args, first),
        channels = const offset_of!(winograd::Args, channels),
        factor = const offset_of!(winograd::Args, factor),
        lower = const offset_of!(winograd::Args, lower),
        shortcut_lower = const offset_of!(winograd::Args, shortcut_lower),
    )
}
