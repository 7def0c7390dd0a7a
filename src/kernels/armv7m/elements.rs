//! Sums.

use core::arch::naked_asm;

use crate::kernels::shared::assembly::{assert_length, consecutive};
use crate::kernels::shared::finish::AddArgs;

consecutive!(AddArgs: mine theirs mantissa before right length shortcut);

/// 13 instructions for each element, and half a one for the loop.
///
/// ```text
/// r0 input   r1 shortcut   r2 output   r3 bytes left, by rounds of four   r4 r5 middles of the tables
/// r6 mantissa   r7 what is added before the shift   r8 shift   r12 lr  an element
/// ```
///
/// # Safety
///
/// [`AddArgs::of`] made the arguments, `input` and `output` are the ones in them, and no row was
/// used since.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn add_bytes(input: *const i8, output: *mut i8, args: &AddArgs) {
    naked_asm!(
        "push {{r4-r8, lr}}",
        "mov r3, r2",
        "mov r2, r1",
        "ldm r3!, {{r4-r8, r12}}",
        "ldr r1, [r3]",
        // The first round may start in its middle, so that all others are whole.
        "rsb r3, r12, #0",
        "and r3, r3, #3",
        "add r12, r12, r3",
        "adr.w lr, 2f",
        "add lr, lr, r3, lsl #5",
        "add lr, lr, r3, lsl #4",
        "add lr, lr, r3, lsl #2", // 52 bytes an element
        "orr lr, lr, #1",         // Thumb
        "mov r3, r12",
        "bx lr",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb.w r12, [r0], #1",
        "ldrsb.w lr, [r1], #1",
        "ldr.w r12, [r4, r12, lsl #2]",
        "ldr.w lr, [r5, lr, lsl #2]",
        "add.w r12, r12, lr",
        "lsl.w r12, r12, #1",
        "smull lr, r12, r12, r6",
        "lsls.w lr, lr, #1",
        "adc.w lr, r12, r7",
        "add.w r12, lr, r12, asr #31",
        "asr.w r12, r12, r8",
        "ssat r12, #8, r12",
        "strb.w r12, [r2], #1",
        ".endr",
        assert_length!("2b", "4 * 52"),
        "subs r3, r3, #4",
        "bne 2b",
        "pop {{r4-r8, pc}}",
    )
}
