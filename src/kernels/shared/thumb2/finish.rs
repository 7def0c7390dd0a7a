//! How sums of Winograd's convolution become outputs.

use crate::kernels::shared::assembly::consecutive;
use crate::kernels::shared::winograd::Args;

/// Aᵀ · sums of three rows from `r1` on, for two tiles, into columns `$at` bytes after the stack
/// pointer.
macro_rules! three_rows {
    ($at:literal) => {
        concat!(
            ".irp y, 0, 1, 2\n",
            "ldrd r4, r5, [r1, #192 * \\y]\n",
            "ldrd r6, r7, [r1, #192 * \\y + 32]\n",
            "ldrd r8, r9, [r1, #192 * \\y + 64]\n",
            "ldrd r10, r11, [r1, #192 * \\y + 96]\n",
            "ldrd r12, lr, [r1, #192 * \\y + 128]\n",
            "ldrd r2, r3, [r1, #192 * \\y + 160]\n",
            "of_six r4, r6, r8, r10, r12, r2, r0\n",
            "str r4, [sp, #4 * \\y + ",
            $at,
            "]\n",
            "str r12, [sp, #4 * \\y + 32 + ",
            $at,
            "]\n",
            "str r8, [sp, #4 * \\y + 64 + ",
            $at,
            "]\n",
            "str r10, [sp, #4 * \\y + 96 + ",
            $at,
            "]\n",
            "of_six r5, r7, r9, r11, lr, r3, r0\n",
            "str r5, [sp, #4 * \\y + 128 + ",
            $at,
            "]\n",
            "str lr, [sp, #4 * \\y + 160 + ",
            $at,
            "]\n",
            "str r9, [sp, #4 * \\y + 192 + ",
            $at,
            "]\n",
            "str r11, [sp, #4 * \\y + 224 + ",
            $at,
            "]\n",
            ".endr\n",
        )
    };
}

consecutive!(Args: last table);
consecutive!(Args: first channels);

/// The function `$name` that makes outputs from the sums of a span:
/// [`Tiles::finish`](crate::kernels::shared::winograd::Tiles::finish). `$high` replaces a register `\\acc` by the
/// high word of its product with the mantissa, rounded. `$right` then also adds `lr`, and one less
/// if the product is below zero; it may use `r5` and `r9`.
///
/// ```text
/// r0 arguments   r1 sums   r2 from a row's first output to this one   r3 stack
/// r4 … r9 sums   r4 r8 r6 r7 outputs of four rows   r9 NINTH   r10 mantissa   r11 twice the bias
/// r12 shift   lr  what is added before it
/// while rows are summed: r4 … lr r2 r3 sums of two tiles   r0 a sum
/// [sp] of each of eight columns Aᵀ · sums of six rows, NINTH by its factor, mantissa
/// [sp, 256] channel   [sp, 260] where columns end   [sp, 264] twice the bias, shift, what is added
/// [sp, 276] where the code for this channel's factor begins   [sp, 280] arguments
/// [sp, 284] where channels end
/// ```
macro_rules! finish_tiles {
    ($name:ident, $cpu:literal, $high:literal, $right:literal) => {
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
                // Aᵀ · six registers; `t` is overwritten. The results are in `a`, `e`, `c`, `d`. The
                // last three are too small by factors of two, four and four, for which later code
                // compensates.
                ".macro of_six a, b, c, d, e, f, t",
                "add \\t, \\b, \\c",
                "sub \\b, \\b, \\c",
                "add \\c, \\d, \\e",
                "sub \\d, \\d, \\e",
                "add \\a, \\a, \\a, lsl #1",
                "add \\a, \\c, \\a, lsl #1",
                "sub \\a, \\a, \\t, lsl #2",
                "sub \\e, \\d, \\b, lsl #1",
                "sub \\c, \\c, \\t",
                "add \\f, \\f, \\f, lsl #1",
                "add \\d, \\d, \\f",
                "rsb \\d, \\b, \\d, lsl #1",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #292",
                "ldr r3, [r0, #{tiles}]",
                "add r3, sp, r3, lsl #7",
                "str r3, [sp, #260]",
                "ldrd r2, r3, [r0, #{first}]",
                "add r3, r3, r2",
                "strd r0, r3, [sp, #280]",
                // The factors that `of_six` has left out of a column.
                "movw r3, #{ninth} & 0xffff",
                "movt r3, #({ninth} >> 16) & 0xffff",
                "lsl r4, r3, #1",
                "lsl r5, r3, #2",
                ".irp tile, 0, 128",
                "str r3, [sp, #24 + \\tile]",
                "str r4, [sp, #56 + \\tile]",
                "str r5, [sp, #88 + \\tile]",
                "str r5, [sp, #120 + \\tile]",
                ".endr",
                // The next channel.
                "2:",
                "str r2, [sp, #256]",
                "ldr r3, [r0, #{bias}]",
                "ldr r4, [r3], #4",
                "str r3, [r0, #{bias}]",
                "ldr r3, [r0, #{mantissas}]",
                "ldr r5, [r3], #4",
                "str r3, [r0, #{mantissas}]",
                "lsl r11, r4, #1",
                ".irp at, 28, 60, 92, 124, 156, 188, 220, 252",
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
                "asr lr, lr, #1",
                "adr.w r5, 6f",
                "it ne",
                "adrne.w r5, 8f",
                // Only a join has factors of a half or more, with shifts to the left.
                "cmp r12, #0",
                "itt le",
                "adrle.w r5, 10f",
                "rsble r12, r12, #0",
                "orr r5, r5, #1", // Thumb
                "str r11, [sp, #264]",
                "strd r12, lr, [sp, #268]",
                "str r5, [sp, #276]",
                $crate::kernels::shared::thumb2::finish::three_rows!("0"),
                "add r1, r1, #3 * 192",
                $crate::kernels::shared::thumb2::finish::three_rows!("12"),
                "sub r1, r1, #3 * 192 - 8",
                "ldr r0, [sp, #280]",
                "ldr r11, [sp, #264]",
                "ldrd r12, lr, [sp, #268]",
                "ldr r2, [sp, #256]",
                "mov r3, sp",
                // The next column.
                "5:",
                "ldm r3!, {{r4-r9}}",
                "of_six r4, r5, r6, r7, r8, r9, r10",
                "ldrd r9, r10, [r3], #8",
                // Twice the sum with the bias, from 64, 32, 16 and 16 times the sum.
                ".irp acc, r4, r8, r6, r7",
                "mul \\acc, \\acc, r9",
                ".endr",
                "add r4, r11, r4, asr #5",
                "add r8, r11, r8, asr #4",
                "add r6, r11, r6, asr #3",
                "add r7, r11, r7, asr #3",
                "ldr.w pc, [sp, #276]",
                ".p2align 2",
                "6:",
                ".irp acc, r4, r8, r6, r7",
                $right,
                "asr \\acc, \\acc, r12",
                ".endr",
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
                "ldr r5, [sp, #260]",
                "cmp r3, r5",
                "bne.w 5b",
                // The next channel.
                "ldr r4, [sp, #284]",
                "ldr r2, [sp, #256]",
                "add r2, r2, #1",
                "cmp r2, r4",
                "bne.w 2b",
                "add sp, sp, #292",
                "pop {{r4-r11, pc}}",
                // A join.
                ".p2align 2",
                "8:",
                ".irp acc, r4, r8, r6, r7",
                $right,
                "asr \\acc, \\acc, r12",
                ".endr",
                "b 7f",
                // A factor of one half or more.
                ".p2align 2",
                "10:",
                ".irp acc, r4, r8, r6, r7",
                "lsl \\acc, \\acc, r12",
                $high,
                ".endr",
                "7:",
                "ldr r5, [r0, #{table}]",
                $crate::kernels::shared::thumb2::stream16::to_stream16!(),
                $crate::kernels::shared::thumb2::finish::join_rows!("r4", "r8", "{shortcuts}"),
                $crate::kernels::shared::thumb2::finish::join_rows!("r6", "r7", "{shortcuts} + 8"),
                "ldr r5, [r0, #{last}]",
                ".irp acc, r4, r8, r6, r7",
                "asr \\acc, \\acc, r5",
                ".endr",
                "b.w 9b",
                $crate::kernels::shared::thumb2::stream16::stream16_rows!(),
                ".purgem of_six",
                ninth = const $crate::kernels::shared::winograd::NINTH,
                bias = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, bias),
                mantissas = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, mantissas),
                shifts = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, shifts),
                last = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, last),
                tiles = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, tiles),
                table = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, table),
                outputs = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, outputs),
                stride = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, stride),
                first = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, first),
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

pub(in crate::kernels) use {finish_tiles, join_rows, three_rows};
