//! Sums, and element-wise maxima.

use core::arch::naked_asm;

use crate::kernels::portable;
use crate::kernels::shared::assembly::{assert_length, consecutive};
use crate::kernels::shared::finish::AddArgs;
use crate::proved::proved;

/// Replaces each value by the larger of it and its counterpart.
pub(super) fn larger(values: &mut [i8], others: &[i8]) {
    let fours = values.len().min(others.len()) / 4;
    if fours > 0 {
        // SAFETY: both have `fours` groups of four bytes, and `values` can be written.
        unsafe { larger_bytes(values.as_mut_ptr(), others.as_ptr(), fours) }
    }
    let values = proved!(values.get_mut(4 * fours..)).unwrap_or_default();
    portable::larger(values, proved!(others.get(4 * fours..)).unwrap_or(&[]));
}

/// Replaces each value by the larger of two: seven instructions for four values.
///
/// ```text
/// r0 values   r1 others   r2 fours left   r3 r12 four each   r4 differences
/// ```
///
/// # Safety
///
/// `fours` is not zero. Four times that number of bytes can be read from both, and written to
/// `values`.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn larger_bytes(values: *mut i8, others: *const i8, fours: usize) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4, lr}}",
        "2:",
        "ldr r3, [r0]",
        "ldr r12, [r1], #4",
        // The flags say for each byte whether the difference is zero or more.
        "ssub8 r4, r3, r12",
        "sel r3, r3, r12",
        "str r3, [r0], #4",
        "subs r2, r2, #1",
        "bne 2b",
        "pop {{r4, pc}}",
    )
}

consecutive!(AddArgs: mine theirs mantissa before right length shortcut);

/// 12 instructions for each element, and half a one for the loop.
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
        ".cpu cortex-m33",
        "push {{r4-r8, lr}}",
        "mov r3, r2",
        "mov r2, r1",
        "ldm r3!, {{r4-r8, r12}}",
        "ldr r1, [r3]",
        // The first round may start in its middle, so that all others are whole.
        "rsb r3, r12, #0",
        "and r3, r3, #3",
        "adr.w lr, 2f",
        "add r3, r3, r3, lsl #1",
        "add lr, lr, r3, lsl #4", // 48 bytes an element
        "orr lr, lr, #1",         // Thumb
        "add r3, r12, #3",
        "bic r3, r3, #3",
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
        "smmulr r12, r12, r6",
        "add.w lr, r12, r7",
        "add.w r12, lr, r12, asr #31",
        "asr.w r12, r12, r8",
        "ssat r12, #8, r12",
        "strb.w r12, [r2], #1",
        ".endr",
        assert_length!("2b", "4 * 48"),
        "subs r3, r3, #4",
        "bne 2b",
        "pop {{r4-r8, pc}}",
    )
}
