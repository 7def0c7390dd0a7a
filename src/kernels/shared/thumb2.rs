//! What cores of Armv7-M share, with and without DSP instructions: the transforms of Winograd's
//! convolution in two dimensions.
//!
//! Two channels go through the transform of values in one register, as its low and its high half.
//! The transform is linear, so the only interaction is a borrow from the high half if the low half
//! is negative. It is corrected when the values are stored. Bytes enter as unsigned values, 128
//! larger. This offset cancels at all positions but the second, where it contributes −6 · 128 in
//! each column.
//!
//! Instructions: 169 for the 36 values of a tile and channel; 22 to make an output from its sums.

pub(in crate::kernels) mod stream16;

use core::arch::naked_asm;

use super::assembly::consecutive;
use super::winograd::{Args, Values};

/// Bᵀ · a column of six pixels, for two of four channels: from `r4` … `r9`, to `$pair` bytes after
/// `r1`.
macro_rules! column {
    ($pair:literal) => {
        concat!(
            "and r10, r8, #0x00ff00ff\n",
            "and r11, r6, #0x00ff00ff\n",
            "sub r12, r10, r11\n",         // even
            "sub r10, r10, r11, lsl #2\n", // outer
            "and r3, r4, #0x00ff00ff\n",
            "sub r3, r3, r11\n",
            "add r3, r12, r3, lsl #2\n",
            "str r3, [r1, #",
            $pair,
            "]\n",
            "and r11, r7, #0x00ff00ff\n",
            "and r3, r5, #0x00ff00ff\n",
            "sub lr, r11, r3\n",         // odd
            "sub r3, r11, r3, lsl #2\n", // inner
            "add r10, r10, r3\n",
            "sub r3, r10, r3, lsl #1\n",
            "add r10, r10, #0x03000300\n",
            "str r10, [r1, #80 + ",
            $pair,
            "]\n",
            "str r3, [r1, #160 + ",
            $pair,
            "]\n",
            "add r3, r12, lr, lsl #1\n",
            "sub r12, r12, lr, lsl #1\n",
            "str r3, [r1, #240 + ",
            $pair,
            "]\n",
            "str r12, [r1, #320 + ",
            $pair,
            "]\n",
            "and r10, r9, #0x00ff00ff\n",
            "sub r10, r10, r11\n",
            "sub r10, r10, lr, lsl #2\n",
            "str r10, [r1, #400 + ",
            $pair,
            "]\n",
        )
    };
}

/// ```text
/// columns:  r0 pixels   r1 stack   r2 inputs   r4 … r9 pixels of six rows   r3 r10 … lr  two channels
/// rows:     r0 r2 the first and the fourth position   r1 bytes of a position   r3 stack
///           r4 … r9 values of six columns   r10 … lr  two channels
/// [sp] columns that are transformed: of each of six rows two times ten columns
/// [sp, 480] pixels   [sp, 484] values   [sp, 488] inputs   [sp, 492] where pixels end
/// ```
///
/// # Safety
///
/// `inputs` is a multiple of four, and not zero. `pixels` has six rows of ten columns of `inputs`
/// bytes. Each position has room for the values of all pairs of inputs.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(in crate::kernels) unsafe extern "C" fn transform_tiles(
    pixels: *const i8,
    values: *mut Values,
    inputs: usize,
) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, sp, #500",
        "add r3, r0, r2",
        "strd r0, r1, [sp, #480]",
        "strd r2, r3, [sp, #488]",
        // The next four channels.
        "2:",
        "mov r1, sp",
        // The next column.
        "3:",
        "add r3, r2, r2, lsl #2",
        "lsl r3, r3, #1",
        "ldr r4, [r0]",
        "ldr r5, [r0, r3]",
        "ldr r6, [r0, r3, lsl #1]",
        "ldr r8, [r0, r3, lsl #2]",
        "add r12, r0, r3",
        "ldr r7, [r12, r3, lsl #1]",
        "ldr r9, [r12, r3, lsl #2]",
        "add r0, r0, r2",
        ".irp pixel, r4, r5, r6, r7, r8, r9",
        "eor \\pixel, \\pixel, #0x80808080",
        ".endr",
        column!("0"),
        ".irp pixel, r4, r5, r6, r7, r8, r9",
        "lsr \\pixel, \\pixel, #8",
        ".endr",
        column!("40"),
        "add r1, r1, #4",
        "add r3, sp, #40",
        "cmp r1, r3",
        "bne.w 3b",
        "ldr r0, [sp, #484]",
        "lsl r1, r2, #2",
        "add r2, r1, r1, lsl #1",
        "add r2, r2, r0",
        "mov r3, sp",
        // The next row.
        "4:",
        // From the first tile of two channels to their second, and on to the first of two others.
        ".irp step, 16, 24, 16, 24",
        "ldm r3, {{r4-r9}}",
        "add r3, r3, #\\step",
        // The fifth value has the factor one in all positions but the last, where the sixth has it.
        // These two and the exclusive or therefore correct the borrow of the low half.
        "add r8, r8, #0x8000",
        "add r9, r9, #0x8000",
        "sub r10, r8, r6",         // even
        "sub r11, r7, r5",         // odd
        "sub r12, r8, r6, lsl #2", // outer
        "sub lr, r7, r5, lsl #2",  // inner
        "sub r4, r4, r6",
        "add r4, r10, r4, lsl #2",
        "add r6, r12, lr",
        "sub r12, r12, lr",
        "add r5, r10, r11, lsl #1",
        "sub r10, r10, r11, lsl #1",
        "sub r9, r9, r7",
        "sub r9, r9, r11, lsl #2",
        ".irp value, r4, r6, r12, r5, r10, r9",
        "eor \\value, \\value, #0x8000",
        ".endr",
        "str r6, [r0, r1]",
        "str r12, [r0, r1, lsl #1]",
        "str r10, [r2, r1]",
        "str r9, [r2, r1, lsl #1]",
        "str r4, [r0], #4",
        "str r5, [r2], #4",
        ".endr",
        // Six positions further on.
        "add r12, r1, r1, lsl #1",
        "lsl r12, r12, #1",
        "sub r12, r12, #16",
        "add r0, r0, r12",
        "add r2, r2, r12",
        "add r12, sp, #480",
        "cmp r3, r12",
        "bne.w 4b",
        "ldrd r0, r1, [sp, #480]",
        "ldrd r2, r3, [sp, #488]",
        "add r0, r0, #4",
        "add r1, r1, #16",
        "strd r0, r1, [sp, #480]",
        "cmp r0, r3",
        "bne.w 2b",
        "add sp, sp, #500",
        "pop {{r4-r11, pc}}",
    )
}

/// The function `$name` that transforms kernels:
/// [`Tiles::weights`](super::winograd::Tiles::weights). Two kernels go through the transform in one
/// register, as values do. `$pair` makes `r4`, `r5`, `r6` from `r4` and `r7`, `r5` and `r8`, `r6`
/// and `r9`. `$of_three` is G · `r4`, `r5`, `r6`; its results are in `r4`, `r7`, `r8`, `r9`, `r10`,
/// `r6`. `$before` and `$mend` around it make two int16 from each of these: the first weight has
/// the factor one in all positions but the last, and the last position is the third weight.
///
/// ```text
/// r0 kernels   r1 weights   r2 bytes of a position   r3 three positions on   r4 r5 r6 three weights
/// of two kernels   r7 … r10 and six of these   r11 stack   r12 bytes of six positions
/// lr  where weights of a position end
/// [sp] columns that are transformed: three of each of six rows
/// ```
macro_rules! transform_kernels {
    ($name:ident, $cpu:literal, $pair:literal, $before:literal, $of_three:literal, $mend:literal) => {
        /// # Safety
        ///
        /// `pairs` is not zero. There are eight kernels for each pair, and room for `pairs` weights
        /// at each position.
        #[unsafe(naked)]
        #[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
        unsafe extern "C" fn $name(
            kernels: *const [i8; $crate::kernels::shared::winograd::KERNEL],
            weights: *mut $crate::kernels::shared::winograd::Weights,
            pairs: usize,
        ) {
            core::arch::naked_asm!(
                $cpu,
                "push {{r4-r11, lr}}",
                "sub sp, sp, #76",
                "lsl r2, r2, #4",
                "add lr, r1, r2",
                "add r12, r2, r2, lsl #1",
                "lsl r12, r12, #1",
                // The next two kernels.
                "2:",
                ".irp column, 0, 1, 2",
                "ldrsb r4, [r0, #\\column]",
                "ldrsb r7, [r0, #9 + \\column]",
                "ldrsb r5, [r0, #3 + \\column]",
                "ldrsb r8, [r0, #12 + \\column]",
                "ldrsb r6, [r0, #6 + \\column]",
                "ldrsb r9, [r0, #15 + \\column]",
                $pair,
                $of_three,
                "str r4, [sp, #4 * \\column]",
                "str r7, [sp, #4 * \\column + 12]",
                "str r8, [sp, #4 * \\column + 24]",
                "str r9, [sp, #4 * \\column + 36]",
                "str r10, [sp, #4 * \\column + 48]",
                "str r6, [sp, #4 * \\column + 60]",
                ".endr",
                "add r0, r0, #18",
                "mov r11, sp",
                ".rept 6",
                "ldm r11!, {{r4-r6}}",
                $before,
                $of_three,
                $mend,
                "add r3, r1, r12, lsr #1",
                "str r4, [r1]",
                "str r7, [r1, r2]",
                "str r8, [r1, r2, lsl #1]",
                "str r9, [r3]",
                "str r10, [r3, r2]",
                "str r6, [r3, r2, lsl #1]",
                "add r1, r1, r12",
                ".endr",
                "add r3, r12, r12, lsl #1",
                "sub r1, r1, r3, lsl #1",
                "add r1, r1, #4",
                "cmp r1, lr",
                "bne.w 2b",
                "add sp, sp, #76",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

/// Aᵀ · `r4` … `r9`. The results are in `r4`, `r8`, `r6`, `r7`. The last three are too small by
/// factors of two, four and four, for which later code compensates.
macro_rules! of_six {
    () => {
        "add r10, r5, r6
         sub r5, r5, r6
         add r6, r7, r8
         sub r7, r7, r8
         add r4, r4, r4, lsl #1
         add r4, r6, r4, lsl #1
         sub r4, r4, r10, lsl #2
         sub r8, r7, r5, lsl #1
         sub r6, r6, r10
         add r9, r9, r9, lsl #1
         add r7, r7, r9
         rsb r7, r5, r7, lsl #1"
    };
}

consecutive!(Args: last table);
consecutive!(Args: channels tiles);

/// The function `$name` that makes outputs from the sums of a span:
/// [`Tiles::finish`](super::winograd::Tiles::finish). `$high` replaces a register `\\acc` by the
/// high word of its product with the mantissa, rounded.
///
/// ```text
/// r0 arguments   r1 sums   r2 from a row's first output to this one   r3 stack
/// r4 … r9 sums   r4 r8 r6 r7 outputs of four rows   r9 NINTH   r10 mantissa   r11 twice the bias
/// r12 shift   lr  twice what is added before it
/// [sp] of each of four columns Aᵀ · sums of six rows, NINTH by its factor, mantissa
/// [sp, 128] channel   [sp, 132] tiles left   [sp, 136] twice the bias, shift, twice what is added
/// ```
macro_rules! finish_tiles {
    ($name:ident, $cpu:literal, $high:literal) => {
        /// # Safety
        ///
        /// All pointers are valid as [`finish_by`](super::winograd::finish_by) specifies.
        #[unsafe(naked)]
        #[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
        unsafe extern "C" fn $name(
            args: &mut $crate::kernels::shared::winograd::Args,
            sums: &$crate::kernels::shared::winograd::Sums,
        ) {
            core::arch::naked_asm!(
                $cpu,
                "push {{r4-r11, lr}}",
                "sub sp, sp, #148",
                // The factors that `of_six` has left out of a column.
                "movw r3, #{ninth} & 0xffff",
                "movt r3, #({ninth} >> 16) & 0xffff",
                "str r3, [sp, #24]",
                "lsl r3, r3, #1",
                "str r3, [sp, #56]",
                "lsl r3, r3, #1",
                "str r3, [sp, #88]",
                "str r3, [sp, #120]",
                "mov r2, #0",
                // The next channel.
                "2:",
                "str r2, [sp, #128]",
                "ldr r3, [r0, #{bias}]",
                "ldr r4, [r3], #4",
                "str r3, [r0, #{bias}]",
                "ldr r3, [r0, #{mantissas}]",
                "ldr r5, [r3], #4",
                "str r3, [r0, #{mantissas}]",
                "lsl r11, r4, #1",
                ".irp at, 28, 60, 92, 124",
                "str r5, [sp, #\\at]",
                ".endr",
                "ldr r3, [r0, #{shifts}]",
                "ldrsb r12, [r3], #1",
                "str r3, [r0, #{shifts}]",
                "rsb r12, r12, #0",
                // The zero point is added before the shift. A join adds its own after it.
                "ldrd r5, r4, [r0, #{last}]",
                "lsl r5, r5, #1",
                "cmp r4, #0",
                "it ne",
                "movne r5, #0",
                "add r5, r5, #1",
                "lsl lr, r5, r12",
                "str r11, [sp, #136]",
                "strd r12, lr, [sp, #140]",
                "ldr r3, [r0, #{tiles}]",
                "str r3, [sp, #132]",
                // The next tile.
                "4:",
                ".irp y, 0, 1, 2, 3, 4, 5",
                "ldr r4, [r1, #192 * \\y]",
                "ldr r5, [r1, #192 * \\y + 32]",
                "ldr r6, [r1, #192 * \\y + 64]",
                "ldr r7, [r1, #192 * \\y + 96]",
                "ldr r8, [r1, #192 * \\y + 128]",
                "ldr r9, [r1, #192 * \\y + 160]",
                $crate::kernels::shared::thumb2::of_six!(),
                "str r4, [sp, #4 * \\y]",
                "str r8, [sp, #4 * \\y + 32]",
                "str r6, [sp, #4 * \\y + 64]",
                "str r7, [sp, #4 * \\y + 96]",
                ".endr",
                "mov r3, sp",
                // The next column.
                "5:",
                "ldm r3!, {{r4-r9}}",
                $crate::kernels::shared::thumb2::of_six!(),
                "ldrd r9, r10, [r3], #8",
                // Twice the sum with the bias, from 64, 32, 16 and 16 times the sum.
                ".irp acc, r4, r8, r6, r7",
                "mul \\acc, \\acc, r9",
                ".endr",
                "add r4, r11, r4, asr #5",
                "add r8, r11, r8, asr #4",
                "add r6, r11, r6, asr #3",
                "add r7, r11, r7, asr #3",
                "cmp r12, #0",
                "ble.w 6f",
                ".irp acc, r4, r8, r6, r7",
                $high,
                "add r5, \\acc, lr, asr #1",
                "add \\acc, r5, \\acc, asr #31",
                "asr \\acc, \\acc, r12",
                ".endr",
                "7:",
                "ldr r5, [r0, #{table}]",
                "cmp r5, #0",
                "bne.w 8f",
                "9:",
                ".irp acc, r4, r8, r6, r7",
                "ssat \\acc, #8, \\acc",
                ".endr",
                "12:",
                "ldrd r5, r9, [r0, #{outputs}]",
                "strb r4, [r5, r2]",
                "strb r8, [r9, r2]",
                "ldrd r5, r9, [r0, #{outputs} + 8]",
                "strb r6, [r5, r2]",
                "strb r7, [r9, r2]",
                "ldr r5, [r0, #{stride}]",
                "add r2, r2, r5",
                "add r5, sp, #128",
                "cmp r3, r5",
                "bne.w 5b",
                "ldr r5, [sp, #132]",
                "add r1, r1, #4",
                "subs r5, r5, #1",
                "str r5, [sp, #132]",
                "bne.w 4b",
                // Back to the first tile, and on to the next channel.
                "ldrd r4, r5, [r0, #{channels}]",
                "ldr r2, [sp, #128]",
                "sub r1, r1, r5, lsl #2",
                "add r1, r1, #8",
                "add r2, r2, #1",
                "cmp r2, r4",
                "bne.w 2b",
                "add sp, sp, #148",
                "pop {{r4-r11, pc}}",
                // A factor of one half or more.
                "6:",
                "rsb r12, r12, #0",
                ".irp acc, r4, r8, r6, r7",
                "lsl \\acc, \\acc, r12",
                $high,
                ".endr",
                "rsb r12, r12, #0",
                "b.w 7b",
                // A join.
                "8:",
                $crate::kernels::shared::thumb2::stream16::to_stream16!(),
                $crate::kernels::shared::thumb2::join_rows!("r4", "r8", "{shortcuts}"),
                $crate::kernels::shared::thumb2::join_rows!("r6", "r7", "{shortcuts} + 8"),
                "ldr r5, [r0, #{last}]",
                ".irp acc, r4, r8, r6, r7",
                "asr \\acc, \\acc, r5",
                ".endr",
                "b.w 9b",
                $crate::kernels::shared::thumb2::stream16::stream16_rows!(),
                ninth = const $crate::kernels::shared::winograd::NINTH,
                bias = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, bias),
                mantissas = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, mantissas),
                shifts = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, shifts),
                last = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, last),
                tiles = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, tiles),
                table = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, table),
                outputs = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, outputs),
                stride = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, stride),
                channels = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, channels),
                shortcuts = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, shortcuts),
                factor = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, factor),
                lower = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, lower),
                shortcut_lower = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, shortcut_lower),
            )
        }
    };
}

/// Adds the values of the table at `r5` for the shortcuts' bytes to the sums of two rows.
macro_rules! join_rows {
    ($acc:literal, $other:literal, $shortcuts:literal) => {
        concat!(
            "ldrd r9, r10, [r0, #",
            $shortcuts,
            "]\n",
            "ldrsb r9, [r9, r2]\n",
            "ldrsb r10, [r10, r2]\n",
            "ldr r9, [r5, r9, lsl #2]\n",
            "ldr r10, [r5, r10, lsl #2]\n",
            "add ",
            $acc,
            ", ",
            $acc,
            ", r9\n",
            "add ",
            $other,
            ", ",
            $other,
            ", r10\n",
        )
    };
}

pub(in crate::kernels) use {finish_tiles, join_rows, of_six, transform_kernels};
