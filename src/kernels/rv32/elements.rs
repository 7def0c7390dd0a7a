//! Sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::kernels::shared::finish::AddArgs;

/// 22 instructions for each element, 2 more if it is clamped, and one for the loop.
///
/// ```text
/// a0 input   a1 output   a2 shortcut   a3 a4 middles of the tables   a5 mantissa
/// a6 what is added before the shift   a7 shift   t0 … t2 an element   t3 where input ends, by rounds
/// of four   t4 elements left over   t5 t6 range
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
        ".option push",
        ".option arch, +m",
        ".macro element at",
        "lb t0, \\at(a0)",
        "lb t1, \\at(a2)",
        "slli t0, t0, 2",
        "slli t1, t1, 2",
        "add t0, t0, a3",
        "add t1, t1, a4",
        "lw t0, 0(t0)",
        "lw t1, 0(t1)",
        "add t0, t0, t1",
        "slli t0, t0, 1",
        "mul t1, t0, a5",
        "mulh t0, t0, a5",
        "srli t1, t1, 31",
        "add t0, t0, t1",
        "srai t1, t0, 31",
        "add t0, t0, a6",
        "add t0, t0, t1",
        "sra t0, t0, a7",
        "bge t0, t5, 1f",
        "mv t0, t5",
        "1:",
        "bge t6, t0, 1f",
        "mv t0, t6",
        "1:",
        "sb t0, \\at(a1)",
        ".endm",
        "lw a3, {mine}(a2)",
        "lw a4, {theirs}(a2)",
        "lw a5, {mantissa}(a2)",
        "lw a6, {before}(a2)",
        "lw a7, {right}(a2)",
        "lw t3, {length}(a2)",
        "lw a2, {shortcut}(a2)",
        "li t5, -128",
        "li t6, 127",
        "andi t4, t3, 3",
        "sub t3, t3, t4",
        "add t3, t3, a0",
        "beq a0, t3, 3f",
        "2:",
        ".irp at, 0, 1, 2, 3",
        "element \\at",
        ".endr",
        "addi a0, a0, 4",
        "addi a2, a2, 4",
        "addi a1, a1, 4",
        "bne a0, t3, 2b",
        "3:",
        "beqz t4, 5f",
        "4:",
        "element 0",
        "addi a0, a0, 1",
        "addi a2, a2, 1",
        "addi a1, a1, 1",
        "addi t4, t4, -1",
        "bnez t4, 4b",
        "5:",
        "ret",
        ".purgem element",
        ".option pop",
        mine = const offset_of!(AddArgs, mine),
        theirs = const offset_of!(AddArgs, theirs),
        mantissa = const offset_of!(AddArgs, mantissa),
        before = const offset_of!(AddArgs, before),
        right = const offset_of!(AddArgs, right),
        length = const offset_of!(AddArgs, length),
        shortcut = const offset_of!(AddArgs, shortcut),
    )
}
