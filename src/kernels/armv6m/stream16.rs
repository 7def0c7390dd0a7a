//! How sums become numbers of a [stream in 16 bits](crate::ops::stream16): of a convolution, columns by
//! columns, and of Winograd's, rows by rows.

/// `r0` within the numbers of a stream in 16 bits, and 128.
#[cfg(feature = "stream16")]
macro_rules! saturate_number {
    () => {
        "sxth r1, r0
         cmp r1, r0
         beq 1f
         asrs r0, r0, #31
         movs r1, #1
         lsls r1, r1, #15
         subs r1, #1
         eors r0, r1
         1:
         adds r0, #128
         sxth r1, r0
         cmp r1, r0
         beq 1f
         movs r0, #1
         lsls r0, r0, #15
         subs r0, #1
         1:
         "
    };
}

/// Goes where such numbers are made, if what `$load` leaves in that register, in place of a join's table, is
/// odd.
macro_rules! to_stream16 {
    ($load:literal $register:literal) => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!($load, "\n lsls ", $register, ", ", $register, ", #31\n bpl 1f\n b 13f\n 1:")
        } else {
            ""
        })
    };
}

/// Of a stream in 16 bits, the terms of four columns, in place of what a table has: `r0` arguments,
/// `r1` shortcut, `r2` table, `r6` its stride.
macro_rules! terms {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            "lsls r2, r2, #31
             bpl 1f
             ldr r2, [r0, #{factor}]
             mov lr, r2
             ldr r2, [r0, #{shortcut_lower}]
             .irp at, 0, 4, 8, 12
             movs r3, #0
             ldrsb r0, [r1, r3]
             ldrb r3, [r1, r2]
             lsls r0, r0, #8
             adds r0, r0, r3
             mov r3, lr
             muls r0, r3, r0
             asrs r0, r0, #10
             ldr r3, [sp, #32]
             adds r0, r0, r3
             str r0, [sp, #16 + \\at]
             adds r1, r1, r6
             .endr
             b 14f
             1:
             ldr r2, [r0, #{table}]"
        } else {
            ""
        })
    };
}

/// Makes a number of a stream in 16 bits of a sum, writes it to `r3`, and leads that to the next
/// column.
#[cfg(feature = "stream16")]
macro_rules! store_number {
    ($acc:literal, $at:literal) => {
        concat!(
            $crate::kernels::armv6m::with_term!($acc, $at),
            "asrs r0, r0, #4
            ",
            $crate::kernels::armv6m::stream16::saturate_number!(),
            "ldr r2, [sp, #32]
             strb r0, [r3, r2]
             asrs r0, r0, #8
             strb r0, [r3]
             add r3, lr
            ",
        )
    };
}

/// Finishes a channel of a stream in 16 bits: `r0` arguments, `r3` output, `lr` its stride.
macro_rules! stream16_columns {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!(
                "13:
                 ldr r1, [r0, #{lower}]
                 str r1, [sp, #32]
                ",
                $crate::kernels::armv6m::stream16::store_number!("r8", "0"),
                $crate::kernels::armv6m::stream16::store_number!("r9", "4"),
                $crate::kernels::armv6m::stream16::store_number!("r10", "8"),
                $crate::kernels::armv6m::stream16::store_number!("r11", "12"),
                "b 9b",
            )
        } else {
            // What is not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

/// A row of a stream in 16 bits: first the term, which goes where sums were that are used up.
#[cfg(feature = "stream16")]
macro_rules! number_row {
    ($acc:literal, $row:literal) => {
        concat!(
            "ldr r0, [sp, #168]
             ldr r1, [sp, #132 + ",
            $row,
            "]
             ldr r2, [r0, #{shortcut_lower}]
             adds r2, r2, r1
             ldrsb r1, [r1, r3]
             ldrb r2, [r2, r3]
             lsls r1, r1, #8
             adds r1, r1, r2
             ldr r2, [r0, #{factor}]
             muls r1, r2, r1
             asrs r1, r1, #10
             ldr r2, [sp, #152]
             adds r1, r1, r2
             ldr r2, [sp, #180]
             subs r2, #24
             str r1, [r2]
             mov r0, ",
            $acc,
            "\n",
            $crate::kernels::armv6m::requantize!(),
            "ldr r2, [sp, #180]
             subs r2, #24
             ldr r1, [r2]
             adds r0, r0, r1
             asrs r0, r0, #4
            ",
            $crate::kernels::armv6m::stream16::saturate_number!(),
            "ldr r1, [sp, #168]
             ldr r2, [sp, #116 + ",
            $row,
            "]
             ldr r1, [r1, #{lower}]
             adds r1, r1, r2
             strb r0, [r1, r3]
             asrs r0, r0, #8
             strb r0, [r2, r3]
            ",
        )
    };
}

/// The rows of a stream in 16 bits.
macro_rules! stream16_rows {
    () => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!(
                "13:\n",
                $crate::kernels::armv6m::stream16::number_row!("r8", "0"),
                $crate::kernels::armv6m::stream16::number_row!("r9", "4"),
                $crate::kernels::armv6m::stream16::number_row!("r10", "8"),
                $crate::kernels::armv6m::stream16::number_row!("r11", "12"),
                "b 9b",
            )
        } else {
            // What is not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

#[cfg(feature = "stream16")]
pub(super) use {number_row, saturate_number, store_number};
pub(super) use {stream16_columns, stream16_rows, terms, to_stream16};
