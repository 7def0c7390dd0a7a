//! Sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::{requantize, saturate};
use crate::kernels::shared::finish::AddArgs;

/// 37 instructions for each element, and 3 more if it saturates.
///
/// ```text
/// r0 r1 r2 values   r3 elements left, below zero   r4 … r7 r12 as `requantize` says
/// r8 r9 r10 where input, shortcut and output end   r11 lr  middles of the tables
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
        save_registers!(),
        "ldr r3, [r2, #{length}]",
        "adds r0, r0, r3",
        "adds r1, r1, r3",
        "mov r8, r0",
        "mov r10, r1",
        "ldr r0, [r2, #{shortcut}]",
        "adds r0, r0, r3",
        "mov r9, r0",
        "rsbs r3, r3, #0",
        "ldr r0, [r2, #{mine}]",
        "mov r11, r0",
        "ldr r0, [r2, #{theirs}]",
        "mov lr, r0",
        "ldr r4, [r2, #{mantissa}]",
        "sxth r5, r4",
        "subs r4, r4, r5",
        "lsrs r4, r4, #16", // up to 2¹⁵
        "ldr r6, [r2, #{before}]",
        "subs r6, #1",
        "ldr r7, [r2, #{right}]",
        "movs r0, #0",
        "mvns r0, r0",
        "lsrs r0, r0, #1",
        "mov r12, r0",
        "2:",
        "mov r1, r8",
        "ldrsb r0, [r1, r3]",
        "lsls r0, r0, #2",
        "add r0, r11",
        "ldr r0, [r0]",
        "mov r2, r9",
        "ldrsb r1, [r2, r3]",
        "lsls r1, r1, #2",
        "add r1, lr",
        "ldr r1, [r1]",
        "adds r0, r0, r1",
        requantize!(),
        saturate!(),
        "mov r2, r10",
        "strb r1, [r2, r3]",
        "adds r3, #1",
        "bne 2b",
        restore_registers!(),
        length = const offset_of!(AddArgs, length),
        shortcut = const offset_of!(AddArgs, shortcut),
        mine = const offset_of!(AddArgs, mine),
        theirs = const offset_of!(AddArgs, theirs),
        mantissa = const offset_of!(AddArgs, mantissa),
        before = const offset_of!(AddArgs, before),
        right = const offset_of!(AddArgs, right),
    )
}
