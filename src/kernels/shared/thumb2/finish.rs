//! How sums of Winograd's convolution become outputs.

use crate::kernels::shared::assembly::consecutive;
use crate::kernels::shared::winograd::Args;

consecutive!(Args: bias mantissas shifts last table);
consecutive!(Args: first channels);
#[cfg(target_pointer_width = "32")]
const _: () = assert!(core::mem::offset_of!(Args, outputs) == 0);

/// The function `$name` that makes outputs from the sums of a span:
/// [`Tiles::finish`](crate::kernels::shared::winograd::Tiles::finish). `$high` replaces a register `\\acc` by the
/// high word of its product with the mantissa, rounded. `$right` does so for `r4`, `r8`, `r6` and `r7`,
/// adds `lr`, and one less if the product is below zero, and shifts to the right by `r12`; it may use
/// `r5`, `r9` and `r10`.
///
/// ```text
/// r0 pointers to shortcuts   r1 mantissa   r2 stride   r3 rows   r4 … r9 sums
/// r4 r8 r6 r7 outputs of four columns   r10 NINTH   r11 where they are written
/// r12 shift, JOIN, LEFT, rows left   lr  what is added before the shift
/// while columns are summed: r0 bias   r1 sums   r4 … lr r2 r3 sums of two tiles
/// [sp] of each of four rows of two tiles Aᵀ · sums of six columns, NINTH by its factor, where
/// outputs are written   [sp, 256] where their shortcuts are read
/// [sp, 288] mantissa, stride   [sp, 296] r12, lr   [sp, 304] table, bits of a join
/// [sp, 312] arguments, channels left   [sp, 320] lr without its shift, r12 without its shift
/// [sp, 328] bias   [sp, 332] sums of the next channel   [sp, 336] r0
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
                // Aᵀ · six registers. The results are in `a`, `e`, `c`, `d`. The last three are too
                // small by factors of two, four and four, for which later code compensates.
                ".macro of_six a, b, c, d, e, f",
                "sub \\b, \\b, \\c",
                "sub \\d, \\d, \\e",
                "add \\a, \\a, \\a, lsl #1",
                "add \\c, \\b, \\c, lsl #1",
                "add \\e, \\d, \\e, lsl #1",
                "add \\f, \\f, \\f, lsl #1",
                "add \\a, \\e, \\a, lsl #1",
                "sub \\a, \\a, \\c, lsl #2",
                "sub \\c, \\e, \\c",
                "sub \\e, \\d, \\b, lsl #1",
                "add \\d, \\d, \\f",
                "rsb \\d, \\b, \\d, lsl #1",
                ".endm",
                // Twice the sums of the next row.
                ".macro sum_row",
                "ldm r3!, {{r4-r11}}",
                "of_six r4, r5, r6, r7, r8, r9",
                // From 64, 32, 16 and 16 times the sum.
                "mul r4, r4, r10",
                "mul r8, r8, r10",
                "asr r4, r4, #5",
                "mul r6, r6, r10",
                "asr r8, r8, #4",
                "mul r7, r7, r10",
                "asr r6, r6, #3",
                "asr r7, r7, #3",
                ".endm",
                ".macro write_row",
                "add r9, r11, r2, lsl #1",
                "strb r8, [r11, r2]",
                "strb r4, [r11], #1",
                "strb r6, [r9]",
                "strb r7, [r9, r2]",
                "str r11, [r3, #-4]",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #340",
                "ldrd r2, r3, [r0, #{first}]",
                "strd r0, r3, [sp, #312]",
                "ldr r8, [r0, #{stride}]",
                "ldr r9, [r0, #{tiles}]",
                "str r8, [sp, #292]",
                // Four rows for each tile, the last of which is row zero.
                "lsl r9, r9, #18",
                "sub r9, r9, #1 << 16",
                "ldrd r10, r3, [r0, #{last}]",
                "strd r3, r10, [sp, #304]",
                // The zero point is added before the shift. A join adds its own after it.
                "lsl r10, r10, #1",
                "add r10, r10, #1",
                "cbz r3, 1f",
                "mov r10, #1",
                "orr r9, r9, #{join}",
                "add r3, r0, #{shortcuts}",
                "ldm r3, {{r4-r7}}",
                "add r3, sp, #256",
                ".irp place, r4, r5, r6, r7",
                "add \\place, \\place, r2",
                ".endr",
                "stm r3!, {{r4-r7}}",
                ".irp place, r4, r5, r6, r7",
                "add \\place, \\place, r8, lsl #2",
                ".endr",
                "stm r3, {{r4-r7}}",
                "1:",
                "strd r10, r9, [sp, #320]",
                "ldm r0, {{r4-r7}}",
                ".irp place, r4, r5, r6, r7",
                "add \\place, \\place, r2",
                ".endr",
                // The factors that `of_six` has left out of a row.
                "movw r3, #{ninth} & 0xffff",
                "movt r3, #({ninth} >> 16) & 0xffff",
                "lsl r9, r3, #1",
                "lsl r10, r3, #2",
                "strd r3, r4, [sp, #24]",
                "strd r9, r5, [sp, #56]",
                "strd r10, r6, [sp, #88]",
                "strd r10, r7, [sp, #120]",
                ".irp place, r4, r5, r6, r7",
                "add \\place, \\place, r8, lsl #2",
                ".endr",
                "strd r3, r4, [sp, #152]",
                "strd r9, r5, [sp, #184]",
                "strd r10, r6, [sp, #216]",
                "strd r10, r7, [sp, #248]",
                // The next channel.
                "2:",
                "ldr r4, [r0, #{bias}]",
                "ldr r5, [r0, #{mantissas}]",
                "ldr r6, [r0, #{shifts}]",
                "ldr r7, [r4], #4",
                "ldr r8, [r5], #4",
                "ldrsb r12, [r6], #1",
                "ldr r9, [sp, #320]",
                "ldr r10, [sp, #324]",
                "str r4, [r0, #{bias}]",
                "str r5, [r0, #{mantissas}]",
                "str r6, [r0, #{shifts}]",
                "str r8, [sp, #288]",
                // The second position of the second row has the factor 16 in all outputs, which are
                // 24² times the sums.
                "add r7, r7, r7, lsl #3",
                "lsl r7, r7, #2",
                "str r7, [sp, #328]",
                "rsbs r12, r12, #0",
                "lsl r9, r9, r12",
                "asr r9, r9, #1",
                // Only a join has factors of a half or more, with shifts to the left.
                "itt le",
                "rsble r12, r12, #0",
                "orrle r10, r10, #{left}",
                "orr r12, r12, r10",
                "str r12, [sp, #296]",
                "str r9, [sp, #300]",
                ".irp x, 0, 1, 2, 3, 4, 5",
                // Consecutive loads of one register overlap.
                ".if \\x == 1",
                "ldr r0, [sp, #328]",
                ".endif",
                "ldr r4, [r1, #32 * \\x]",
                "ldr r5, [r1, #32 * \\x + 4]",
                "ldr r6, [r1, #32 * \\x + 192]",
                "ldr r7, [r1, #32 * \\x + 196]",
                "ldr r8, [r1, #32 * \\x + 384]",
                "ldr r9, [r1, #32 * \\x + 388]",
                "ldr r10, [r1, #32 * \\x + 576]",
                "ldr r11, [r1, #32 * \\x + 580]",
                "ldr r12, [r1, #32 * \\x + 768]",
                "ldr lr, [r1, #32 * \\x + 772]",
                "ldr r2, [r1, #32 * \\x + 960]",
                "ldr r3, [r1, #32 * \\x + 964]",
                ".if \\x == 1",
                "add r6, r6, r0",
                "add r7, r7, r0",
                ".endif",
                "of_six r4, r6, r8, r10, r12, r2",
                "str r4, [sp, #4 * \\x]",
                "str r12, [sp, #4 * \\x + 32]",
                "str r8, [sp, #4 * \\x + 64]",
                "str r10, [sp, #4 * \\x + 96]",
                "of_six r5, r7, r9, r11, lr, r3",
                "str r5, [sp, #4 * \\x + 128]",
                "str lr, [sp, #4 * \\x + 160]",
                "str r9, [sp, #4 * \\x + 192]",
                "str r11, [sp, #4 * \\x + 224]",
                ".endr",
                "add r1, r1, #8",
                "str r1, [sp, #332]",
                "ldrd r1, r2, [sp, #288]",
                "ldrd r12, lr, [sp, #296]",
                "add r0, sp, #256",
                "mov r3, sp",
                // JOIN becomes the sign.
                "lsls r9, r12, #23",
                "bmi.w 8f",
                // The next two rows.
                "5:",
                ".rept 2",
                "sum_row",
                $right,
                ".irp acc, r4, r8, r6, r7",
                "ssat \\acc, #8, \\acc",
                ".endr",
                "write_row",
                ".endr",
                "subs r12, r12, #2 << 16",
                "bhs.w 5b",
                // The next channel.
                "9:",
                "ldr r0, [sp, #312]",
                "ldr r4, [sp, #316]",
                "ldr r1, [sp, #332]",
                "subs r4, r4, #1",
                "str r4, [sp, #316]",
                "bne.w 2b",
                "add sp, sp, #340",
                "pop {{r4-r11, pc}}",
                // The next row of a join, with a factor of one half or more.
                "8:",
                "sum_row",
                "tst r12, #{left}",
                "beq.w 10f",
                ".irp acc, r4, r8, r6, r7",
                "lsl \\acc, \\acc, r12",
                $high,
                ".endr",
                "7:",
                "ldr r5, [r0], #4",
                "ldr r10, [sp, #304]",
                $crate::kernels::shared::thumb2::stream16::to_stream16!(),
                "add r9, r5, r2, lsl #1",
                $crate::kernels::shared::thumb2::finish::join_two!("r6", "[r9]", "r7", "[r9, r2]", ""),
                $crate::kernels::shared::thumb2::finish::join_two!(
                    "r4", "[r5], #1", "r8", "[r5, r2]", "str r5, [r0, #-4]"
                ),
                "ldr r5, [sp, #308]",
                ".irp acc, r4, r8, r6, r7",
                "asr \\acc, \\acc, r5",
                "ssat \\acc, #8, \\acc",
                ".endr",
                "12:",
                "write_row",
                "subs r12, r12, #1 << 16",
                "bhs.w 8b",
                "b.w 9b",
                // With a smaller factor.
                "10:",
                "ldr lr, [sp, #300]",
                $right,
                "b.w 7b",
                $crate::kernels::shared::thumb2::stream16::stream16_row!(),
                ".purgem of_six",
                ".purgem sum_row",
                ".purgem write_row",
                ninth = const $crate::kernels::shared::winograd::NINTH,
                join = const 1 << 8,
                left = const 1 << 9,
                bias = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, bias),
                mantissas = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, mantissas),
                shifts = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, shifts),
                last = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, last),
                tiles = const core::mem::offset_of!($crate::kernels::shared::winograd::Args, tiles),
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

/// Adds the values of the table at `r10` for two shortcuts to the sums of two columns. `$then` is
/// an instruction that follows the loads of the shortcuts.
macro_rules! join_two {
    ($acc:literal, $shortcut:literal, $other:literal, $its_shortcut:literal, $then:literal) => {
        concat!(
            "ldrsb lr, ",
            $its_shortcut,
            "\n",
            "ldrsb r9, ",
            $shortcut,
            "\n",
            $then,
            "\n",
            "ldr lr, [r10, lr, lsl #2]\n",
            "ldr r9, [r10, r9, lsl #2]\n",
            "add ",
            $other,
            ", ",
            $other,
            ", lr\n",
            "add ",
            $acc,
            ", ",
            $acc,
            ", r9\n",
        )
    };
}

pub(in crate::kernels) use {finish_tiles, join_two};
