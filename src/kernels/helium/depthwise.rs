//! Depthwise convolution with a lane for each channel.

use crate::kernels::shared::depthwise::{Args, depthwise_asm};

/// 7 instructions for a kernel position of four channels; 20 to finish four outputs.
///
/// ```text
/// r0 arguments   r1 values   r2 weights   r3 channels of a pixel   r4 the row's pointers
/// r5 rows left   r6 bytes to the column's values   r7 the column's output   r8 columns left
/// r9 the block's channel   r10 channels left   r11 r12 anything   lr kernel columns left
/// q0 sums   q1 values   q2 weights   q3 mantissas   q4 shifts to the right   q5 q6 range
/// q7 starts   on the stack: shifts to the left
/// ```
///
/// # Safety
///
/// The arguments are as [`Args`] specifies.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn conv(args: &Args) {
    depthwise_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "sub sp, sp, #16",
        "ldr r1, [r0, #{min}]",
        "ldr r2, [r0, #{max}]",
        "vdup.32 q5, r1",
        "vdup.32 q6, r2",
        "ldr r3, [r0, #{pitch}]",
        "ldr r10, [r0, #{channels}]",
        "mov r9, #0",
        // The next four channels.
        "1:",
        "vctp.32 r10",
        "ldr r1, [r0, #{mantissas}]",
        "add r1, r1, r9, lsl #2",
        "ldr r2, [r0, #{shifts}]",
        "add r2, r2, r9",
        "ldr r11, [r0, #{starts}]",
        "add r11, r11, r9, lsl #2",
        "vpsttt",
        "vldrwt.u32 q3, [r1]",
        "vldrbt.s32 q4, [r2]",
        "vldrwt.u32 q7, [r11]",
        "vmov.i32 q1, #0",
        "vmax.s32 q2, q4, q1",
        "vmin.s32 q4, q4, q1",
        "vstrw.32 q2, [sp]",
        "mov r6, #0",
        "ldr r8, [r0, #{columns}]",
        "ldr r7, [r0, #{output}]",
        "add r7, r7, r9",
        // The next column.
        "2:",
        "vmov q0, q7",
        "mov r4, r0",
        "ldr r5, [r0, #{rows}]",
        // The next kernel row.
        "3:",
        "ldr r1, [r4, #{values}]",
        "ldr r2, [r4, #{weights}]",
        "ldr lr, [r0, #{kernel_columns}]",
        "add r4, r4, #4",
        "add r1, r1, r9",
        "add r2, r2, r9",
        "add r1, r1, r6",
        "dls lr, lr",
        "4:",
        "vpstt",
        "vldrbt.s32 q1, [r1]",
        "vldrbt.s32 q2, [r2]",
        "add r1, r1, r3",
        "add r2, r2, r3",
        "vmul.i32 q1, q1, q2",
        "vadd.i32 q0, q0, q1",
        "le lr, 4b",
        "subs r5, r5, #1",
        "bne 3b",
        "vldrw.u32 q2, [sp]",
        "vshl.s32 q0, q0, q2",
        "vqrdmulh.s32 q0, q0, q3",
        // Half away from zero, if there is a shift.
        "vand q1, q0, q4",
        "vshr.s32 q1, q1, #31",
        "vadd.i32 q0, q0, q1",
        "vrshl.s32 q0, q0, q4",
        "ldr r11, [r0, #{zero_point}]",
        "vadd.i32 q0, q0, r11",
        "vmax.s32 q0, q0, q5",
        "vmin.s32 q0, q0, q6",
        "vpst",
        "vstrbt.32 q0, [r7]",
        "add r7, r7, r3",
        "ldr r11, [r0, #{step}]",
        "add r6, r6, r11",
        "subs r8, r8, #1",
        "bne 2b",
        "add r9, r9, #4",
        "subs r10, r10, #4",
        "bgt 1b",
        "add sp, sp, #16",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}
