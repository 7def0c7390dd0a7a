//! Winograd's convolution: its products; the rest is in [`thumb2`].

use core::arch::naked_asm;

use super::Armv7m;
use crate::kernels::shared::{thumb2, winograd};

winograd::winograd_tiles!(
    Armv7m, winograd::is_ordinary,
    transform: transform_tiles, weights: transform_kernels,
    multiply: multiply_tiles, finish: finish_tiles
);

thumb2::transform_tiles!(
    transform_tiles,
    "",
    "and",
    ", #0x00ff00ff",
    ".irp pixel, r4, r5, r6, r7, r8, r9
     lsr \\pixel, \\pixel, #8
     .endr",
    ", #0x00ff00ff"
);
thumb2::transform_kernels!(
    transform_kernels,
    "",
    "add r4, r4, r7, lsl #16
     add r5, r5, r8, lsl #16
     add r6, r6, r9, lsl #16",
    "add r8, r4, r6
     add r7, r8, r5
     sub r8, r8, r5
     add r10, r4, r6, lsl #2
     add r9, r10, r5, lsl #1
     sub r10, r10, r5, lsl #1",
    // The first line corrects the borrow of the low half in advance.
    "add r4, r4, #0x8000
     add r8, r4, r6
     add r7, r8, r5
     sub r8, r8, r5
     add r10, r4, r6, lsl #2
     add r9, r10, r5, lsl #1
     sub r10, r10, r5, lsl #1
     add r6, r6, #0x8000
     .irp value, r4, r7, r8, r9, r10, r6
     eor \\value, \\value, #0x8000
     .endr
     str r4, [r1]
     str r7, [r1, r2]
     str r8, [r1, r2, lsl #1]
     str r9, [r3]
     str r10, [r3, r2]
     str r6, [r3, r2, lsl #1]"
);

thumb2::finish_tiles!(
    finish_tiles,
    "",
    "smull r9, \\acc, \\acc, r1\n add \\acc, \\acc, r9, lsr #31",
    ".irp acc, r4, r8, r6, r7
     smull r9, \\acc, \\acc, r1
     add \\acc, \\acc, r9, lsr #31
     add r5, \\acc, lr
     add \\acc, r5, \\acc, asr #31
     asr \\acc, \\acc, r12
     .endr"
);

/// ```text
/// r0 values   r1 weights   r2 where values of this position end   r3 a weight
/// r4 … r11 sums, channel by channel   r12 lr  values of two tiles
/// [sp] bytes of a position's values   [sp, 4] sums   [sp, 8] where they end
/// ```
///
/// # Safety
///
/// `pairs` is even, and not zero. Each of the 36 positions has `pairs` values and `pairs` weights.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn multiply_tiles(
    values: *const winograd::Values,
    weights: *const winograd::Weights,
    pairs: usize,
    sums: *mut winograd::Sums,
) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, sp, #12",
        "lsl r2, r2, #3",
        "add r12, r3, #36 * 32",
        "strd r2, r3, [sp]",
        "str r12, [sp, #8]",
        ".macro second_of_two",
        "ldrsh r12, [r0, #2]",
        "ldrsh lr, [r0, #6]",
        "ldrsh r3, [r1, #2]",
        "mla r4, r12, r3, r4",
        "mla r5, lr, r3, r5",
        "ldrsh r3, [r1, #6]",
        "mla r6, r12, r3, r6",
        "mla r7, lr, r3, r7",
        "ldrsh r3, [r1, #10]",
        "mla r8, r12, r3, r8",
        "mla r9, lr, r3, r9",
        "ldrsh r3, [r1, #14]",
        "mla r10, r12, r3, r10",
        "mla r11, lr, r3, r11",
        ".endm",
        ".macro first_of_two",
        "ldrsh lr, [r0, #4]",
        "ldrsh r12, [r0], #8",
        "ldrsh r3, [r1, #4]",
        "mla r6, r12, r3, r6",
        "mla r7, lr, r3, r7",
        "ldrsh r3, [r1, #8]",
        "mla r8, r12, r3, r8",
        "mla r9, lr, r3, r9",
        "ldrsh r3, [r1, #12]",
        "mla r10, r12, r3, r10",
        "mla r11, lr, r3, r11",
        "ldrsh r3, [r1], #16",
        "mla r4, r12, r3, r4",
        "mla r5, lr, r3, r5",
        ".endm",
        // The next position. Its first products set the sums.
        "2:",
        "ldr r2, [sp]",
        "add r2, r2, r0",
        "ldrsh r12, [r0, #2]",
        "ldrsh lr, [r0, #6]",
        "ldrsh r3, [r1, #2]",
        "mul r4, r12, r3",
        "mul r5, lr, r3",
        "ldrsh r3, [r1, #6]",
        "mul r6, r12, r3",
        "mul r7, lr, r3",
        "ldrsh r3, [r1, #10]",
        "mul r8, r12, r3",
        "mul r9, lr, r3",
        "ldrsh r3, [r1, #14]",
        "mul r10, r12, r3",
        "mul r11, lr, r3",
        "b 4f",
        "3:",
        "second_of_two",
        "4:",
        "first_of_two",
        "second_of_two",
        "first_of_two",
        "cmp r0, r2",
        "bne 3b",
        "ldrd r3, r12, [sp, #4]",
        "stm r3!, {{r4-r11}}",
        "str r3, [sp, #4]",
        "cmp r3, r12",
        "bne 2b",
        "add sp, sp, #12",
        "pop {{r4-r11, pc}}",
        ".purgem second_of_two",
        ".purgem first_of_two",
    )
}
