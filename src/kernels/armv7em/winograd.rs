//! Winograd's convolution in two dimensions with DSP instructions: `SMLAD` multiplies two input
//! channels at once. Instructions: 11 for 16 products, which is 64 multiply-accumulates; 188 to
//! transform two kernels. Measured for ResNet-8, for each multiply-accumulate: 0.19 for the
//! products, 0.15 to finish, 0.06 for values. To transform kernels at run time takes 0.32 with eight
//! columns and steps of four rows, and half of that with steps of eight.

use core::arch::naked_asm;

use super::Armv7em;
use crate::kernels::shared::assembly::assert_length;
use crate::kernels::shared::{thumb2, winograd as squares};

squares::winograd_tiles!(
    Armv7em, squares::is_ordinary,
    transform: transform_tiles, weights: transform_kernels,
    multiply: multiply, finish: finish
);

/// ```text
/// r0 values   r1 weights   r2 r3 weights of two channels   r6 … r12 lr sums, channel by channel
/// r4 r5  values of two tiles
/// [sp] where the weights of this position end   [sp, 4] what follows the first pair
/// [sp, 8] bytes of a position's weights   [sp, 12] sums   [sp, 16] where they end
/// [sp, 20] where the first round begins
/// carry: whether a position has several rounds
/// ```
///
/// # Safety
///
/// `pairs` is two or more. Each of the 36 positions has `pairs` values and `pairs` weights.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
unsafe extern "C" fn multiply(
    values: *const squares::Values,
    weights: *const squares::Weights,
    pairs: usize,
    sums: *mut squares::Sums,
) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #28",
        // The first pair sets the sums. The first round of the others may start in its middle, so
        // that all later rounds are whole.
        "rsb r6, r2, #1",
        "and r6, r6, #15",
        "adr.w r7, 3f",
        "mov r4, #{pair}",
        "mla r6, r6, r4, r7",
        "orr r6, r6, #1", // Thumb
        "str r6, [sp, #20]",
        // A position with up to 16 pairs has one round.
        "cmp r2, #17",
        "it hs",
        "adrhs.w r6, 6f",
        "orr r6, r6, #1",
        "lsl r7, r2, #4",
        "strd r6, r7, [sp, #4]",
        "add r7, r7, r1",
        "str r7, [sp]",
        "add r4, r3, #36 * 32",
        "strd r3, r4, [sp, #12]",
        "b.w 2f",
        ".p2align 2",
        "3:",
        ".rept 16",
        "ldm r0!, {{r4, r5}}",
        "ldm r1!, {{r2, r3}}",
        "smlad r6, r4, r2, r6",
        "smlad r7, r5, r2, r7",
        "smlad r8, r4, r3, r8",
        "smlad r9, r5, r3, r9",
        "ldm r1!, {{r2, r3}}",
        "smlad r10, r4, r2, r10",
        "smlad r11, r5, r2, r11",
        "smlad r12, r4, r3, r12",
        "smlad lr, r5, r3, lr",
        ".endr",
        assert_length!("3b", "16 * {pair}"),
        "bcs.w 4f",
        "5:",
        "ldrd r2, r3, [sp, #12]",
        "stm r2!, {{r6-r12, lr}}",
        "str r2, [sp, #12]",
        // The carry is clear until the end.
        "cmp r2, r3",
        "beq 7f",
        // The next position.
        "2:",
        "ldm r1!, {{r6, r8, r10, r12}}",
        "ldm r0!, {{r4, r5}}",
        "smuad r7, r5, r6",
        "smuad r6, r4, r6",
        "smuad r9, r5, r8",
        "smuad r8, r4, r8",
        "smuad r11, r5, r10",
        "smuad r10, r4, r10",
        "smuad lr, r5, r12",
        "smuad r12, r4, r12",
        "ldr.w pc, [sp, #4]",
        "7:",
        "add sp, sp, #28",
        "pop {{r4-r11, pc}}",
        // Several rounds.
        "6:",
        "cmp r0, r0",
        "ldr.w pc, [sp, #20]",
        "4:",
        "ldr r2, [sp]",
        "cmp r2, r1",
        "bne.w 3b",
        "ldr r3, [sp, #8]",
        "add r2, r2, r3",
        "str r2, [sp]",
        "b.w 5b",
        pair = const 8 * 4 + 3 * 2,
    )
}

thumb2::transform_tiles!(transform_tiles, ".cpu cortex-m33", "uxtb16", "", "", ", ror #8");
thumb2::transform_kernels!(
    transform_kernels,
    ".cpu cortex-m33",
    "pkhbt r4, r4, r7, lsl #16
     pkhbt r5, r5, r8, lsl #16
     pkhbt r6, r6, r9, lsl #16",
    "sadd16 r8, r4, r6
     sadd16 r7, r8, r5
     ssub16 r8, r8, r5
     sadd16 r10, r6, r6
     sadd16 r10, r10, r10
     sadd16 r10, r4, r10
     sadd16 r5, r5, r5
     sadd16 r9, r10, r5
     ssub16 r10, r10, r5",
    // A Cortex-M7 stores while it adds.
    "sadd16 r8, r4, r6
     str r4, [r1]
     sadd16 r10, r6, r6
     str r6, [r3, r2, lsl #1]
     sadd16 r7, r8, r5
     ssub16 r8, r8, r5
     str r7, [r1, r2]
     sadd16 r10, r10, r10
     str r8, [r1, r2, lsl #1]
     sadd16 r10, r4, r10
     sadd16 r5, r5, r5
     sadd16 r9, r10, r5
     ssub16 r10, r10, r5
     str r9, [r3]
     str r10, [r3, r2]"
);

thumb2::finish_tiles!(
    finish,
    ".cpu cortex-m33",
    "smmulr \\acc, \\acc, r1",
    // The sign of the sum is that of the product, unless the product is zero. It then does not
    // matter: one less than half is rounded to zero, too.
    "smmlar r5, r4, r1, lr
     smmlar r9, r8, r1, lr
     smmlar r10, r6, r1, lr
     add r4, r5, r4, asr #31
     smmlar r5, r7, r1, lr
     add r8, r9, r8, asr #31
     asr r4, r4, r12
     add r6, r10, r6, asr #31
     asr r8, r8, r12
     add r7, r5, r7, asr #31
     asr r6, r6, r12
     asr r7, r7, r12"
);
