//! Convolutions with two columns in one product: see [`column_pairs`](crate::kernels::shared).

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::kernels::shared::assembly::{assert_length, consecutive, if_stream16};
use crate::kernels::shared::column_pairs::{Args, Columns};

consecutive!(Args: patch weights);
consecutive!(Args: mantissas shifts);
consecutive!(Args: output stride);
consecutive!(Args: last table);
consecutive!(Args: shortcut shortcut_stride);

/// ```text
/// r0 r1 columns   r2 patch   r3 pairs left, by rounds of four   r4 … r7 values of two taps
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
        "rsb r4, r3, #0",
        "and r4, r4, #3",
        "adr.w lr, 2f",
        "mov r5, #{pair}",
        "mla lr, r4, r5, lr",
        "orr lr, lr, #1", // Thumb
        "add r3, r3, r4",
        "bx lr",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb.w r4, [r0], #1",
        "ldrsb.w r5, [r1], #1",
        "ldrsb.w r6, [r0], #1",
        "ldrsb.w r7, [r1], #1",
        "add.w r4, r4, r5, lsl #16",
        "add.w r6, r6, r7, lsl #16",
        "strd r4, r6, [r2], #16",
        ".endr",
        assert_length!("2b", "4 * {pair}"),
        "subs r3, r3, #4",
        "bne 2b",
        "pop {{r4-r7, pc}}",
        pair = const 7 * 4,
    )
}

/// Requantizes the sums of a channel, in four registers, with a shift to the right: `r2` is the
/// mantissa, `r12` the shift, `lr` what is added before it.
macro_rules! requantize_four {
    () => {
        ".irp acc, r9, r8, r11, r10
         lsl \\acc, \\acc, #1
         smull r4, \\acc, \\acc, r2
         lsls r4, r4, #1
         adc r4, \\acc, lr
         add \\acc, r4, \\acc, asr #31
         asr \\acc, \\acc, r12
         .endr"
    };
}

/// Jumps to the code for a 16-bit stream, if `r5` marks one in place of a table.
macro_rules! to_stream16 {
    () => {
        if_stream16!({
            "lsls r4, r5, #31\n bmi.w 11f"
        } else {
            ""
        })
    };
}

/// Finishes a channel of a 16-bit stream, except for writing the upper bytes: `r2` is the mantissa,
/// `r12` the shift, `r6` the offset.
macro_rules! stream16 {
    () => {
        if_stream16!({
            concat!(
                "11:
                 cmp r12, #0
                 ble 1f
                 mov lr, #1
                 lsl lr, lr, r12
                 asr lr, lr, #1
                ",
                requantize_four!(),
                "
                 .irp acc, r9, r8, r11, r10
                 add \\acc, \\acc, r6
                 .endr
                 b 2f
                 1:
                 rsb r12, r12, #1
                 .irp acc, r9, r8, r11, r10
                 lsl \\acc, \\acc, r12
                 smull r4, \\acc, \\acc, r2
                 lsls r4, r4, #1
                 adc \\acc, \\acc, r6
                 .endr
                 2:
                 ldrd r1, r7, [r0, #{shortcut}]
                 ldr lr, [r0, #{shortcut_lower}]
                 ldr r12, [r0, #{factor}]
                 ldrd r5, r6, [r0, #{output}]
                 ldr r4, [r0, #{lower}]
                 add r1, r1, r3
                 add r5, r5, r3
                 add r5, r5, r4
                 .irp acc, r9, r8, r11, r10
                 ldrsb r4, [r1]
                 ldrb r2, [r1, lr]
                 add r1, r1, r7
                 add r4, r2, r4, lsl #8
                 mul r4, r4, r12
                 add \\acc, \\acc, r4, asr #10
                 ssat \\acc, #16, \\acc, asr #4
                 add \\acc, \\acc, #128
                 ssat \\acc, #16, \\acc
                 strb \\acc, [r5]
                 add r5, r5, r6
                 asr \\acc, \\acc, #8
                 .endr
                 b.w 12b",
            )
        } else {
            // Operands that are not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

/// To requantize, the high word of twice the sum times the mantissa is rounded by the carry out of
/// the low word. It is then shifted with halves away from zero, and the zero point is added before
/// that shift. The sign is taken before the carry is added. This makes a difference only if the
/// high word is -1 and the carry makes it zero: one less is then added before the shift, but the
/// result is zero all the same.
///
/// ```text
/// while summing:   r0 patch   r1 weights   r2 r3 a weight of two taps   r4 … r7 patch
///                  r8 r9  high and sum of columns 1 and 0   r10 r11  of 3 and 2
///                  r12 32767   lr two products
/// while finishing: r0 arguments   r3 channel   r4 values   r5 table   r6 last   r12 lr as above
/// [sp] arguments   where the patch ends   where the first round begins   channel
/// ```
///
/// # Safety
///
/// Each field of the arguments is as [`Args`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        "str r0, [sp]",
        // The first round may start in its middle, so that all others are whole.
        "ldr r1, [r0, #{patch}]",
        "ldr r2, [r0, #{pairs}]",
        "add r3, r1, r2, lsl #4",
        "rsb r2, r2, #0",
        "and r2, r2, #15",
        "adr.w r12, 3f",
        "mov r1, #{pair}",
        "mla r2, r2, r1, r12",
        "orr r2, r2, #1", // Thumb
        "strd r3, r2, [sp, #4]",
        "mov r3, #0",
        // The next channel.
        "2:",
        "str r3, [sp, #12]",
        "movw r12, #0x7fff",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #31",
        "bne 1f",
        // The rounding terms of all pairs are subtracted here.
        "ldr r1, [r0, #{bias}]",
        "ldr r2, [r0, #{all_pairs}]",
        "ldr r8, [r1, r3, lsl #2]",
        "mls r9, r2, r12, r8",
        "add r9, r9, r8, lsl #16",
        "mov r10, r8",
        "mov r11, r9",
        "b 4f",
        "1:",
        "ldr r1, [r0, #{kept}]",
        "add r1, r1, r3, lsl #4",
        "ldm r1, {{r8-r11}}",
        "4:",
        "ldr r2, [sp, #8]",
        "ldrd r0, r1, [r0, #{patch}]",
        "bx r2",
        ".p2align 2",
        "3:",
        ".rept 16",
        "ldm.w r0!, {{r4-r7}}",
        "ldrsb.w r2, [r1], #8",
        "ldrsb.w r3, [r1], #8",
        "mla lr, r4, r2, r12",
        "mla lr, r5, r3, lr",
        "add.w r8, r8, lr, asr #16",
        "add.w r9, r9, lr",
        "mla lr, r6, r2, r12",
        "mla lr, r7, r3, lr",
        "add.w r10, r10, lr, asr #16",
        "add.w r11, r11, lr",
        ".endr",
        assert_length!("3b", "16 * {pair}"),
        "ldr lr, [sp, #4]",
        "cmp r0, lr",
        "bne.w 3b",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #30",
        "bpl 5f",
        "ldr r1, [r0, #{kept}]",
        "add r1, r1, r3, lsl #4",
        "stm r1, {{r8-r11}}",
        "b 9f",
        "5:",
        "sub r9, r9, r8, lsl #16",
        "sub r11, r11, r10, lsl #16",
        "ldrd r1, r2, [r0, #{mantissas}]",
        "ldrsb r12, [r2, r3]",
        "ldr r2, [r1, r3, lsl #2]",
        "ldrd r6, r5, [r0, #{last}]",
        "rsb r12, r12, #0",
        "cbnz r5, 6f",
        // The zero point is added before the shift.
        "lsl lr, r6, r12",
        "asr lr, lr, #1",
        requantize_four!(),
        "b 8f",
        "6:",
        to_stream16!(),
        "cmp r12, #0",
        "ble 7f",
        "mov lr, #1",
        "lsl lr, lr, r12",
        "asr lr, lr, #1",
        requantize_four!(),
        "b 6f",
        // A factor of a half or more, which is usual with the extra bits of a join.
        "7:",
        "rsb r12, r12, #1",
        ".irp acc, r9, r8, r11, r10",
        "lsl \\acc, \\acc, r12",
        "smull r4, \\acc, \\acc, r2",
        "lsls r4, r4, #1",
        "adc \\acc, \\acc, #0",
        ".endr",
        "6:",
        "ldrd r1, r7, [r0, #{shortcut}]",
        "add r1, r1, r3",
        ".irp acc, r9, r8, r11, r10",
        "ldrsb r4, [r1]",
        "add r1, r1, r7",
        "ldr r4, [r5, r4, lsl #2]",
        "add \\acc, \\acc, r4",
        "asr \\acc, \\acc, r6",
        ".endr",
        "8:",
        ".irp acc, r9, r8, r11, r10",
        "ssat \\acc, #8, \\acc",
        ".endr",
        "12:",
        "ldrd r1, r2, [r0, #{output}]",
        "add r1, r1, r3",
        "strb r9, [r1]",
        "strb r8, [r1, r2]",
        "add r1, r1, r2, lsl #1",
        "strb r11, [r1]",
        "strb r10, [r1, r2]",
        "9:",
        "ldr r1, [r0, #{weights}]",
        "add r3, r3, #1",
        "add r1, r1, #1",
        "lsls r2, r3, #29",
        "itt eq",
        "ldreq r2, [r0, #{skip}]",
        "addeq r1, r1, r2",
        "str r1, [r0, #{weights}]",
        "ldr r2, [r0, #{channels}]",
        "cmp r3, r2",
        "bne.w 2b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
        stream16!(),
        pair = const 11 * 4,
        patch = const offset_of!(Args, patch),
        pairs = const offset_of!(Args, pairs),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        all_pairs = const offset_of!(Args, all_pairs),
        kept = const offset_of!(Args, kept),
        mantissas = const offset_of!(Args, mantissas),
        last = const offset_of!(Args, last),
        shortcut = const offset_of!(Args, shortcut),
        output = const offset_of!(Args, output),
        weights = const offset_of!(Args, weights),
        skip = const offset_of!(Args, skip),
        channels = const offset_of!(Args, channels),
        factor = const offset_of!(Args, factor),
        lower = const offset_of!(Args, lower),
        shortcut_lower = const offset_of!(Args, shortcut_lower),
    )
}
