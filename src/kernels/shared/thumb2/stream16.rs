//! How sums of Winograd's convolution become values of a [16-bit stream](crate::ops::stream16).

/// Jumps to the code for a 16-bit stream, if `r10` marks one in place of a table.
macro_rules! to_stream16 {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            "lsls r9, r10, #31\n bmi.w 11f"
        } else {
            ""
        })
    };
}

/// Makes values of a 16-bit stream for four columns, and writes their lower bytes; the upper bytes
/// stay in the registers.
///
/// ```text
/// r0 factor   r1 from a shortcut to its lower byte   r5 shortcut   r9 r12 its bytes
/// r10 from an output to its lower byte   r11 output   lr  the offset in the form of the product
/// ```
macro_rules! stream16_row {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            "11:
             str r0, [sp, #336]
             str r12, [sp, #296]
             ldr r12, [sp, #312]
             ldr r0, [r12, #{factor}]
             ldr r1, [r12, #{shortcut_lower}]
             ldr r10, [r12, #{lower}]
             ldr lr, [r12, #{last}]
             lsl lr, lr, #10
             .irp acc, r4, r8, r6, r7
             ldrsb r9, [r5]
             ldrb r12, [r5, r1]
             add r5, r5, r2
             add r9, r12, r9, lsl #8
             mla r9, r9, r0, lr
             add \\acc, \\acc, r9, asr #10
             ssat \\acc, #16, \\acc, asr #4
             add \\acc, \\acc, #128
             ssat \\acc, #16, \\acc
             strb \\acc, [r11, r10]
             add r11, r11, r2
             asr \\acc, \\acc, #8
             .endr
             sub r11, r11, r2, lsl #2
             sub r5, r5, r2, lsl #2
             add r5, r5, #1
             ldr r0, [sp, #336]
             str r5, [r0, #-4]
             ldr r1, [sp, #288]
             ldrd r12, lr, [sp, #296]
             b.w 12b"
        } else {
            // Operands that are not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

pub(in crate::kernels) use {stream16_row, to_stream16};
