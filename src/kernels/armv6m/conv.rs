//! Convolutions of two columns in one product: see [`column_pairs`](crate::kernels::shared).

use core::arch::naked_asm;
use core::mem::offset_of;

use super::stream16::{stream16_columns, terms, to_stream16};
use super::{requantize, saturate, with_term};
use crate::kernels::shared::assembly::assert_length;
use crate::kernels::shared::column_pairs::{Args, Columns};

/// ```text
/// r0 r1 columns   r2 patch   r3 values   r4 the next   r5 … r7 values
/// ```
///
/// # Safety
///
/// `pairs` is not zero. `a` and `b` each have two bytes for each pair. `patch` has room for two
/// words for each pair, 16 bytes from one pair to the next.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn widen(
    a: *const i8,
    b: *const i8,
    patch: *mut Columns,
    pairs: usize,
) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        // The first round may start in its middle, so that all others are whole.
        "rsbs r5, r3, #0",
        "movs r6, #3",
        "ands r5, r6",
        "movs r6, #{pair}",
        "muls r5, r6, r5",
        "adr r6, 2f",
        "adds r5, r5, r6",
        "adds r5, #1", // Thumb
        "lsls r3, r3, #1",
        "movs r4, #0",
        "bx r5",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb r5, [r0, r4]",
        "ldrsb r6, [r1, r4]",
        "adds r4, #1",
        "lsls r6, r6, #16",
        "adds r5, r5, r6",
        "rsbs r5, r5, #0",
        "ldrsb r6, [r0, r4]",
        "ldrsb r7, [r1, r4]",
        "adds r4, #1",
        "lsls r7, r7, #16",
        "adds r6, r6, r7",
        "stm r2!, {{r5, r6}}",
        "adds r2, #8",
        ".endr",
        assert_length!("2b", "4 * {pair}"),
        "cmp r4, r3",
        "bne 2b",
        "pop {{r4-r7, pc}}",
        pair = const 13 * 2,
    )
}

/// Makes an output from a sum, writes it to `r3`, and moves `r3` to the next column.
macro_rules! store {
    ($acc:literal) => {
        concat!("mov r0, ", $acc, "\n", requantize!(), saturate!(), "strb r1, [r3]\n add r3, lr",)
    };
}

/// The same for a join: also adds the table's value for the shortcut.
macro_rules! join {
    ($acc:literal, $at:literal) => {
        concat!(
            with_term!($acc, $at),
            "ldr r1, [sp, #32]
            asrs r0, r1
            ",
            saturate!(),
            "strb r1, [r3]\n add r3, lr",
        )
    };
}

/// ```text
/// while summing:   r0 patch   r1 from there to weights   r2 r3 weights of two taps
///                  r4 r5 values of two taps   r6 r7 high   r8 r9 sum   r10 where the patch ends
/// while finishing: r0 arguments, or values   r1 r2 values   r3 channel, or output   r4 … r7 r12 as
///                  `requantize` says   r8 … r11 sums of four columns   lr stride of the output
/// [sp] arguments   where the patch ends   where the first round begins   channel
///      what a table has for four columns   a join's bits
/// ```
///
/// # Safety
///
/// Each field of the arguments is as [`Args`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        save_registers!(),
        "sub sp, #36",
        "str r0, [sp]",
        // The first round may start in its middle, so that all others are whole.
        "ldr r1, [r0, #{patch}]",
        "ldr r2, [r0, #{pairs}]",
        "lsls r3, r2, #4",
        "adds r3, r3, r1",
        "str r3, [sp, #4]",
        "rsbs r2, r2, #0",
        "movs r3, #15",
        "ands r2, r3",
        "lsls r2, r2, #5", // 32 bytes for two taps
        "adr r3, 3f",
        "adds r2, r2, r3",
        "adds r2, #1", // Thumb
        "str r2, [sp, #8]",
        "movs r3, #0",
        // The next channel.
        "2:",
        "str r3, [sp, #12]",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #31",
        "bne 1f",
        "ldr r1, [r0, #{bias}]",
        "lsls r2, r3, #2",
        "ldr r6, [r1, r2]",
        "rsbs r6, r6, #0",
        "lsls r1, r6, #16",
        "adds r1, r1, r6",
        "mov r8, r1",
        "mov r9, r1",
        "movs r7, r6",
        "b 4f",
        "1:",
        "ldr r1, [r0, #{kept}]",
        "lsls r2, r3, #4",
        "adds r1, r1, r2",
        "ldm r1!, {{r2, r3, r6, r7}}",
        "mov r8, r2",
        "mov r9, r3",
        "4:",
        "ldr r2, [sp, #4]",
        "mov r10, r2",
        "ldr r2, [sp, #8]",
        "ldr r1, [r0, #{weights}]",
        "ldr r0, [r0, #{patch}]",
        "subs r1, r1, r0",
        "bx r2",
        ".p2align 2",
        "3:",
        ".rept 16",
        "ldrsb r2, [r1, r0]",
        "ldm r0!, {{r4, r5}}",
        "ldrsb r3, [r1, r0]",
        "muls r4, r2, r4",
        "muls r5, r3, r5",
        "subs r4, r4, r5",
        "add r8, r4",
        "asrs r4, r4, #16",
        "adcs r6, r4",
        "ldm r0!, {{r4, r5}}",
        "muls r4, r2, r4",
        "muls r5, r3, r5",
        "subs r4, r4, r5",
        "add r9, r4",
        "asrs r4, r4, #16",
        "adcs r7, r4",
        ".endr",
        assert_length!("3b", "16 << 5"),
        "cmp r0, r10",
        "beq 5f",
        "b 3b",
        "5:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #30",
        "bpl 6f",
        "ldr r1, [r0, #{kept}]",
        "lsls r2, r3, #4",
        "adds r1, r1, r2",
        "mov r2, r8",
        "mov r3, r9",
        "stm r1!, {{r2, r3, r6, r7}}",
        "b 9f",
        // All sums are negative so far.
        "6:",
        "lsls r1, r6, #16",
        "mov r2, r8",
        "subs r1, r1, r2",
        "mov r8, r1",
        "lsls r1, r7, #16",
        "mov r2, r9",
        "subs r1, r1, r2",
        "mov r10, r1",
        "rsbs r6, r6, #0",
        "mov r9, r6",
        "rsbs r7, r7, #0",
        "mov r11, r7",
        // The channel's multiplier.
        "lsls r2, r3, #2",
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
        "lsrs r2, r1, #1",
        "mov r12, r2",
        "ldr r6, [r0, #{last}]",
        "ldr r2, [r0, #{table}]",
        "cmp r2, #0",
        "beq 6f",
        "b 7f",
        // The zero point is added before the shift.
        "6:",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "ldr r1, [r0, #{stride}]",
        "mov lr, r1",
        "ldr r1, [r0, #{output}]",
        "adds r3, r3, r1",
        store!("r8"),
        store!("r9"),
        store!("r10"),
        store!("r11"),
        "b 9f",
        // A join: the table's values for the shortcut.
        "7:",
        "str r6, [sp, #32]",
        "ldr r6, [r0, #{shortcut_stride}]",
        "ldr r1, [r0, #{shortcut}]",
        "adds r1, r1, r3",
        terms!(),
        "movs r3, #0",
        ".irp at, 0, 4, 8, 12",
        "ldrsb r0, [r1, r3]",
        "lsls r0, r0, #2",
        "ldr r0, [r2, r0]",
        "str r0, [sp, #16 + \\at]",
        "adds r1, r1, r6",
        ".endr",
        "14:",
        "movs r6, #1",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "cmp r7, #0",
        "bgt 8f",
        // A factor of a half or more, which is usual with the extra bits of a join. Then there is
        // no shift, and the rounding term has no effect, because the carry is always set.
        "rsbs r7, r7, #0",
        ".irp acc, r8, r9, r10, r11",
        "mov r1, \\acc",
        "lsls r1, r7",
        "mov \\acc, r1",
        ".endr",
        "movs r7, #0",
        "mvns r6, r7",
        "mov r12, r6",
        "8:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{stride}]",
        "mov lr, r1",
        "ldr r1, [r0, #{output}]",
        "adds r3, r3, r1",
        to_stream16!("ldr r1, [r0, #{table}]" "r1"),
        join!("r8", "0"),
        join!("r9", "4"),
        join!("r10", "8"),
        join!("r11", "12"),
        "9:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{weights}]",
        "adds r3, #1",
        "adds r1, #1",
        "lsls r2, r3, #29",
        "bne 1f",
        "ldr r2, [r0, #{skip}]",
        "adds r1, r1, r2",
        "1:",
        "str r1, [r0, #{weights}]",
        "ldr r2, [r0, #{channels}]",
        "cmp r3, r2",
        "beq 1f",
        "b 2b",
        "1:",
        "add sp, #36",
        restore_registers!(),
        stream16_columns!(),
        patch = const offset_of!(Args, patch),
        pairs = const offset_of!(Args, pairs),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        kept = const offset_of!(Args, kept),
        weights = const offset_of!(Args, weights),
        mantissas = const offset_of!(Args, mantissas),
        shifts = const offset_of!(Args, shifts),
        last = const offset_of!(Args, last),
        table = const offset_of!(Args, table),
        stride = const offset_of!(Args, stride),
        output = const offset_of!(Args, output),
        shortcut_stride = const offset_of!(Args, shortcut_stride),
        shortcut = const offset_of!(Args, shortcut),
        skip = const offset_of!(Args, skip),
        channels = const offset_of!(Args, channels),
        factor = const offset_of!(Args, factor),
        lower = const offset_of!(Args, lower),
        shortcut_lower = const offset_of!(Args, shortcut_lower),
    )
}
