//! Depthwise convolution: four channels at a time.

use crate::kernels::shared::depthwise::{Args, depthwise_asm};

/// Number of bytes of the stack frame.
const FRAME: usize = 16;

/// 10 instructions for a kernel position in a row of three, 14 for others; 25 to finish an output.
///
/// ```text
/// r0 arguments   r1 values   r2 weights   r3 kernel columns left   r4 … r7 sums
/// r8 the row's pointers   r9 r10 r11 r12 weights and values   lr channels of a pixel
///
/// stack: the block's channel, columns left, bytes to the column's values, its output
/// ```
///
/// To finish outputs: r1 mantissas, r2 shifts, r3 output, r8 smallest, r12 zero point, lr largest.
///
/// # Safety
///
/// The arguments are as [`Args`] specifies, with a multiple of four channels.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn conv(args: &Args) {
    depthwise_asm!(
        ".cpu cortex-m33",
        // Adds the products of four channels.
        ".macro dw_products",
        "sxtb16 r12, r9",
        "sxtb16 r9, r9, ror #8",
        "sxtb16 r10, r11",
        "sxtb16 r11, r11, ror #8",
        "smlabb r4, r12, r10, r4",
        "smlatt r6, r12, r10, r6",
        "smlabb r5, r9, r11, r5",
        "smlatt r7, r9, r11, r7",
        ".endm",
        // Half away from zero: one is subtracted from a negative sum, if there is a shift.
        ".macro dw_finish acc",
        "ldrsb r9, [r2], #1",
        "ldr r10, [r1], #4",
        "usat r11, #5, r9",
        "lsl \\acc, \\acc, r11",
        "lsl \\acc, \\acc, #1",
        "smmulr \\acc, \\acc, r10",
        "rsb r9, r9, #0",
        "usat r9, #5, r9",
        "mov r11, #1",
        "lsl r11, r11, r9",
        "cmp r9, #0",
        "it ne",
        "addne \\acc, \\acc, \\acc, asr #31",
        "add \\acc, \\acc, r11, lsr #1",
        "asr \\acc, \\acc, r9",
        "add \\acc, \\acc, r12",
        "cmp \\acc, r8",
        "it lt",
        "movlt \\acc, r8",
        "cmp \\acc, lr",
        "it gt",
        "movgt \\acc, lr",
        "strb \\acc, [r3], #1",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #{frame}",
        "mov r1, #0",
        // The next four channels.
        "1:",
        "str r1, [sp]",
        "ldr r2, [r0, #{columns}]",
        "str r2, [sp, #4]",
        "mov r2, #0",
        "str r2, [sp, #8]",
        "ldr r2, [r0, #{output}]",
        "add r2, r2, r1",
        "str r2, [sp, #12]",
        // The next column.
        "2:",
        "ldr r1, [sp]",
        "ldr r2, [r0, #{starts}]",
        "add r2, r2, r1, lsl #2",
        "ldm r2, {{r4-r7}}",
        "ldr lr, [r0, #{pitch}]",
        "mov r8, r0",
        // The next kernel row.
        "3:",
        "ldr r9, [sp]",
        "ldr r10, [sp, #8]",
        "ldr r1, [r8, #{values}]",
        "ldr r2, [r8, #{weights}]",
        "ldr r3, [r0, #{kernel_columns}]",
        "add r1, r1, r9",
        "add r2, r2, r9",
        "add r1, r1, r10",
        "cmp r3, #3",
        "bne 4f",
        "ldr r9, [r1]",
        "ldr r11, [r2]",
        "dw_products",
        "ldr r9, [r1, lr]",
        "ldr r11, [r2, lr]",
        "dw_products",
        "ldr r9, [r1, lr, lsl #1]",
        "ldr r11, [r2, lr, lsl #1]",
        "dw_products",
        "b 5f",
        "4:",
        "ldr r9, [r1]",
        "ldr r11, [r2]",
        "add r1, r1, lr",
        "add r2, r2, lr",
        "dw_products",
        "subs r3, r3, #1",
        "bne 4b",
        "5:",
        "add r8, r8, #4",
        "ldr r9, [r0, #{rows}]",
        "sub r10, r8, r0",
        "cmp r10, r9, lsl #2",
        "bne 3b",
        // The outputs.
        "ldr r9, [sp]",
        "ldr r1, [r0, #{mantissas}]",
        "ldr r2, [r0, #{shifts}]",
        "ldr r3, [sp, #12]",
        "add r1, r1, r9, lsl #2",
        "add r2, r2, r9",
        "ldr r12, [r0, #{zero_point}]",
        "ldr r8, [r0, #{min}]",
        "ldr lr, [r0, #{max}]",
        "dw_finish r4",
        "dw_finish r5",
        "dw_finish r6",
        "dw_finish r7",
        "ldr lr, [r0, #{pitch}]",
        "ldr r9, [r0, #{step}]",
        "ldr r10, [sp, #8]",
        "add r10, r10, r9",
        "str r10, [sp, #8]",
        "sub r3, r3, #4",
        "add r3, r3, lr",
        "str r3, [sp, #12]",
        "ldr r9, [sp, #4]",
        "subs r9, r9, #1",
        "str r9, [sp, #4]",
        "bne 2b",
        "ldr r1, [sp]",
        "ldr r9, [r0, #{channels}]",
        "add r1, r1, #4",
        "cmp r1, r9",
        "bne 1b",
        "add sp, sp, #{frame}",
        "pop {{r4-r11, pc}}",
        ".purgem dw_products",
        ".purgem dw_finish",
        frame = const FRAME,
    )
}

// Rows are counted from the start of the arguments.
const _: () = assert!(core::mem::offset_of!(Args, values) == 0);
