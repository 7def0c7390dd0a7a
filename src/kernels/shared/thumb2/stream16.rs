//! How sums of Winograd's convolution become values of a [16-bit stream](crate::ops::stream16).

/// Jumps to the code for a 16-bit stream, if `r5` marks one in place of a table.
macro_rules! to_stream16 {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            "lsls r9, r5, #31\n bmi.w 11f"
        } else {
            ""
        })
    };
}

/// Makes values of a 16-bit stream for four rows, and writes their lower bytes; the upper bytes
/// stay in the registers. `r12` is the factor, `lr` the offset in the form of the product, `r11`
/// the distance from a row's first shortcut to the lower byte of this one.
macro_rules! stream16_rows {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!(
                "11:
                 ldr r11, [r0, #{shortcut_lower}]
                 ldr r12, [r0, #{factor}]
                 ldr lr, [r0, #{last}]
                 lsl lr, lr, #10
                 add r11, r11, r2
                 ldr r10, [r0, #{lower}]
                 add r10, r10, r2
                ",
                $crate::kernels::shared::thumb2::stream16::stream16_row!("r4", "0"),
                $crate::kernels::shared::thumb2::stream16::stream16_row!("r8", "4"),
                $crate::kernels::shared::thumb2::stream16::stream16_row!("r6", "8"),
                $crate::kernels::shared::thumb2::stream16::stream16_row!("r7", "12"),
                "ldr r11, [sp, #264]
                 ldrd r12, lr, [sp, #268]
                 b.w 12b",
            )
        } else {
            // Operands that are not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

/// One row of these.
#[cfg(feature = "stream16")]
macro_rules! stream16_row {
    ($acc:literal, $row:literal) => {
        concat!(
            "ldr r9, [r0, #{shortcuts} + ",
            $row,
            "]
             ldrsb r5, [r9, r2]
             ldrb r9, [r9, r11]
             add r5, r9, r5, lsl #8
             mla r5, r5, r12, lr
             ldr r9, [r0, #{outputs} + ",
            $row,
            "]
             add ",
            $acc,
            ", ",
            $acc,
            ", r5, asr #10
             ssat ",
            $acc,
            ", #16, ",
            $acc,
            ", asr #4
             add ",
            $acc,
            ", ",
            $acc,
            ", #128
             ssat ",
            $acc,
            ", #16, ",
            $acc,
            "
             strb ",
            $acc,
            ", [r9, r10]
             asr ",
            $acc,
            ", ",
            $acc,
            ", #8
            ",
        )
    };
}

#[cfg(feature = "stream16")]
pub(in crate::kernels) use stream16_row;
pub(in crate::kernels) use {stream16_rows, to_stream16};
