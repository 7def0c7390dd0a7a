//! How sums of a convolution become values of a [16-bit stream](crate::ops::stream16).

/// Jumps to the code for a 16-bit stream, if `r1` marks one.
macro_rules! to_stream16 {
    ($stream:literal) => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!("lsls r5, r1, #31\n", "bmi.w ", $stream, "f\n")
        } else {
            ""
        })
    };
}

/// Expands the lines for each of four registers, which they call `\\acc`.
#[cfg(feature = "stream16")]
macro_rules! each {
    ($a:literal $b:literal $c:literal $d:literal: $($line:literal)+) => {
        concat!(".irp acc, ", $a, ", ", $b, ", ", $c, ", ", $d, "\n", $($line,)+ ".endr\n")
    };
}

/// Adds the shortcut's value at one position, multiplied by the factor. `r1` points to the upper
/// bytes, `r2` to the lower; `r4` is 2⁶ times the factor.
#[cfg(feature = "stream16")]
macro_rules! add_number {
    ($acc:literal, $upper:literal, $lower:literal) => {
        concat!(
            "ldrsb r3, ",
            $upper,
            "\n",
            "ldrb r0, ",
            $lower,
            "\n",
            "add r3, r0, r3, lsl #8\n",
            // Equal to the product shifted by ten bits.
            "smlawb ",
            $acc,
            ", r4, r3, ",
            $acc,
            "\n",
        )
    };
}

/// Finishes a channel of a 16-bit stream, and continues at `$done`. `r4` is the shift, `r2` the
/// mantissa, `r3` the offset. It takes 14 instructions for each output.
macro_rules! stream16_channel {
    ($o:literal $a:literal $b:literal $c:literal $d:literal $stream:literal $done:literal) => {
        $crate::kernels::shared::assembly::if_stream16!({
            concat!(
                $stream,
                ":\n",
                "cmp r4, #0\n",
                "ble 1f\n",
                "mov r5, #1\n",
                "lsl r5, r5, r4\n",
                $crate::kernels::armv7em::stream16::each!($a $b $c $d: "lsl \\acc, \\acc, #1\n" "smmulr \\acc, \\acc, r2\n" "add r1, \\acc, r5, asr #1\n" "add \\acc, r1, \\acc, asr #31\n" "asr \\acc, \\acc, r4\n" "add \\acc, \\acc, r3\n"),
                "b 2f\n",
                "1:\n",
                "rsb r4, r4, #1\n",
                $crate::kernels::armv7em::stream16::each!($a $b $c $d: "lsl \\acc, \\acc, r4\n" "smmlar \\acc, \\acc, r2, r3\n"),
                "2:\n",
                "ldr r1, [r0, #{shortcut}]\n",
                "ldr r2, [r0, #{shortcut_lower}]\n",
                "ldr r5, [r0, #{shortcut_stride}]\n",
                "ldr r4, [r0, #{factor}]\n",
                "lsls r4, r4, #6\n",
                "beq 3f\n",
                "add r1, r1, #",
                $o,
                "\n",
                "add r2, r2, r1\n",
                $crate::kernels::armv7em::stream16::add_number!($a, "[r1]", "[r2]"),
                $crate::kernels::armv7em::stream16::add_number!($b, "[r1, r5]", "[r2, r5]"),
                "add r1, r1, r5, lsl #1\n",
                "add r2, r2, r5, lsl #1\n",
                $crate::kernels::armv7em::stream16::add_number!($c, "[r1]", "[r2]"),
                $crate::kernels::armv7em::stream16::add_number!($d, "[r1, r5]", "[r2, r5]"),
                "ldr r0, [sp]\n",
                "3:\n",
                "mov r3, #128\n",
                "ldr r5, [r0, #{lower}]\n",
                "ldrd r1, r2, [r0, #{output}]\n",
                $crate::kernels::armv7em::stream16::each!($a $b $c $d: "ssat \\acc, #16, \\acc, asr #4\n" "qadd16 \\acc, \\acc, r3\n"),
                "add r1, r1, #",
                $o,
                "\n",
                "add r5, r5, r1\n",
                "strb ",
                $a,
                ", [r5]\n",
                "strb ",
                $b,
                ", [r5, r2]\n",
                "add r5, r5, r2, lsl #1\n",
                "strb ",
                $c,
                ", [r5]\n",
                "strb ",
                $d,
                ", [r5, r2]\n",
                $crate::kernels::armv7em::stream16::each!($a $b $c $d: "asr \\acc, \\acc, #8\n"),
                "strb ",
                $a,
                ", [r1]\n",
                "strb ",
                $b,
                ", [r1, r2]\n",
                "add r1, r1, r2, lsl #1\n",
                "strb ",
                $c,
                ", [r1]\n",
                "strb ",
                $d,
                ", [r1, r2]\n",
                "b.w ",
                $done,
                "b\n",
            )
        } else {
            // Operands that are not used must be named.
            "@ {factor} {lower} {shortcut_lower}\n"
        })
    };
}

#[cfg(feature = "stream16")]
pub(super) use {add_number, each};
pub(super) use {stream16_channel, to_stream16};
