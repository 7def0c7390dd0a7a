//! How sums become values of a [16-bit stream](crate::ops::stream16): column by column in a
//! convolution, row by row in Winograd's.

/// Clamps `r0` to the range of a 16-bit stream, and adds 128.
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

/// Jumps to the code for 16-bit streams if `$register` is odd after `$load`, which loads the
/// pointer to a join's table.
macro_rules! to_stream16 {
    ($load:literal $register:literal) => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!($load, "\n lsls ", $register, ", ", $register, ", #31\n bpl 1f\n b 13f\n 1:")
        } else {
            ""
        })
    };
}

/// The shortcut's terms of four columns in a 16-bit stream, instead of a table's values. `r0` are
/// the arguments, `r1` is the shortcut, `r2` the table, `r6` the stride of the shortcut.
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

/// Makes a value of a 16-bit stream from a sum, writes it to `r3`, and moves `r3` to the next
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

/// Finishes a channel of a 16-bit stream: `r0` are the arguments, `r3` is the output, `lr` its
/// stride.
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
            // Operands that are not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

/// A row of a 16-bit stream. The term comes first, and overwrites sums that are no longer needed.
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

/// The rows of a 16-bit stream.
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
            // Operands that are not used must be named.
            "@ {factor} {lower} {shortcut_lower}"
        })
    };
}

#[cfg(feature = "stream16")]
pub(super) use {number_row, saturate_number, store_number};
pub(super) use {stream16_columns, stream16_rows, terms, to_stream16};
