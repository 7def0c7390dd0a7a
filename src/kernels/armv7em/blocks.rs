//! The assembly of convolutions: products with a patch, and the outputs made from their sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use zerocopy::little_endian::I32;

use crate::kernels::shared::assembly::{assert_length, consecutive, if_stream16};
use crate::ops::conv::PATCH_COLUMNS;

/// Two consecutive values under the kernel, for each column of a patch.
pub(super) type Columns = [u32; PATCH_COLUMNS];

/// The sums of two channels, for each column of a patch.
pub(super) type Sums = [[i32; PATCH_COLUMNS]; 2];

/// The arguments of the assembly: a patch, and output channels two by two.
///
/// The assembly relies on the comment of each field. It advances `weights`, `bias`, `mantissas`,
/// `shifts`, `output`, `shortcut` and `acc`, and counts `left` down.
#[repr(C)]
pub(super) struct Args {
    /// `pairs` can be read.
    pub(super) patch: *const Columns,
    /// Each two channels have four weights for each of `pairs` here, aligned to words if they are
    /// int16. `skip` bytes further on are those of the next two channels.
    pub(super) weights: *const i8,
    /// At least one.
    pub(super) pairs: usize,
    /// Unless `parts` has [`CONTINUE`], aligned to words, two for each of `left`.
    pub(super) bias: *const I32,
    /// Unless `parts` has [`KEEP`], aligned to words, two for each of `left`. The same holds for
    /// `shifts`, with bytes.
    pub(super) mantissas: *const I32,
    pub(super) shifts: *const i8,
    /// With a table, two bytes for each of `left` can be read at each of four columns,
    /// `shortcut_stride` bytes apart. It may be the output.
    pub(super) shortcut: *const i8,
    /// Unless `parts` has [`KEEP`], two bytes for each of `left` can be written at each of four
    /// columns, `stride` bytes apart.
    pub(super) output: *mut i8,
    pub(super) stride: usize,
    /// Twice the number of pairs of channels, at least one, and one more unless `parts` has
    /// [`CONTINUE`].
    pub(super) left: usize,
    /// Applied after the requantization: twice the zero point plus one, the bits of a join, or an
    /// offset.
    pub(super) last: i32,
    /// If `parts` has [`JOIN`], a pointer aligned to words with 128 readable words on either side, or
    /// `STREAM16`. With `STREAM16`, what is specified for outputs and shortcuts also holds `lower` and
    /// `shortcut_lower` bytes further on.
    pub(super) table: *const I32,
    pub(super) shortcut_stride: usize,
    /// Where sums are kept from one chunk of taps to the next. If `parts` has [`CONTINUE`] or
    /// [`KEEP`], one for each of `left` can be read and written.
    pub(super) acc: *mut Sums,
    /// Distance in bytes from the weights of this chunk for two channels to those for the next two.
    pub(super) skip: usize,
    /// [`CONTINUE`], [`KEEP`] and [`JOIN`].
    pub(super) parts: usize,
    /// Whether weights are int16.
    pub(super) int16: usize,
    /// The factor of the shortcut in a 16-bit stream.
    pub(super) factor: i32,
    pub(super) lower: usize,
    pub(super) shortcut_lower: usize,
}

consecutive!(Args: patch weights);
consecutive!(Args: mantissas shifts);
consecutive!(Args: shortcut output stride);
consecutive!(Args: last table);

/// Sums start with the kept ones, not with the bias.
pub(super) const CONTINUE: usize = 1;

/// Sums are kept, not made into outputs.
pub(super) const KEEP: usize = 2;

/// Outputs are the sum with a shortcut.
pub(super) const JOIN: usize = 4;

/// Requantizes the sums of a channel, in four registers, with a shift to the right: `r2` is the
/// mantissa, `r4` the shift, `r5` what is added before it. `$high` is overwritten.
macro_rules! requantize_four {
    ($high:literal: $($acc:literal)*) => {
        concat!($(
            "lsl ", $acc, ", ", $acc, ", #1\n",
            "smmlar ", $high, ", ", $acc, ", r2, r5\n",
            // Half away from zero. The sign of the sum is that of the product, unless the product
            // is zero. It then does not matter: one less than half is rounded to zero, too.
            "add ", $acc, ", ", $high, ", ", $acc, ", asr #31\n",
            "asr ", $acc, ", ", $acc, ", r4\n",
        )*)
    };
}

/// The same for shifts to the left; `r4` is the shift plus one.
macro_rules! scale_four {
    ($($acc:literal)*) => {
        concat!($(
            "lsl ", $acc, ", ", $acc, ", r4\n",
            "smmulr ", $acc, ", ", $acc, ", r2\n",
        )*)
    };
}

/// Adds a shortcut's value from the table: `r1` is the shortcut, `r2` the table, `r4` the bits.
macro_rules! join_one {
    ($acc:literal, $place:literal) => {
        concat!(
            "ldrsb r3, ",
            $place,
            "\n",
            "ldr r3, [r2, r3, lsl #2]\n",
            "add ",
            $acc,
            ", ",
            $acc,
            ", r3\n",
            "asr ",
            $acc,
            ", ",
            $acc,
            ", r4\n",
        )
    };
}

/// Jumps to the code for a 16-bit stream, if `r1` marks one.
macro_rules! to_stream16 {
    ($stream:literal) => {
        if_stream16!({
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
        if_stream16!({
            concat!(
                $stream,
                ":\n",
                "cmp r4, #0\n",
                "ble 1f\n",
                "mov r5, #1\n",
                "lsl r5, r5, r4\n",
                each!($a $b $c $d: "lsl \\acc, \\acc, #1\n" "smmulr \\acc, \\acc, r2\n" "add r1, \\acc, r5, asr #1\n" "add \\acc, r1, \\acc, asr #31\n" "asr \\acc, \\acc, r4\n" "add \\acc, \\acc, r3\n"),
                "b 2f\n",
                "1:\n",
                "rsb r4, r4, #1\n",
                each!($a $b $c $d: "lsl \\acc, \\acc, r4\n" "smmlar \\acc, \\acc, r2, r3\n"),
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
                add_number!($a, "[r1]", "[r2]"),
                add_number!($b, "[r1, r5]", "[r2, r5]"),
                "add r1, r1, r5, lsl #1\n",
                "add r2, r2, r5, lsl #1\n",
                add_number!($c, "[r1]", "[r2]"),
                add_number!($d, "[r1, r5]", "[r2, r5]"),
                "ldr r0, [sp]\n",
                "3:\n",
                "mov r3, #128\n",
                "ldr r5, [r0, #{lower}]\n",
                "ldrd r1, r2, [r0, #{output}]\n",
                each!($a $b $c $d: "ssat \\acc, #16, \\acc, asr #4\n" "qadd16 \\acc, \\acc, r3\n"),
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
                each!($a $b $c $d: "asr \\acc, \\acc, #8\n"),
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

/// Requantizes a channel without a shortcut, from its sums in four registers. `r1` and `r3` are the
/// pointers to mantissas and shifts; `r0` is overwritten.
macro_rules! requantize_channel {
    ($($acc:literal)*) => {
        concat!(
            "ldr r2, [r1], #4\n",
            "ldrsb r4, [r3], #1\n",
            "ldr r5, [r0, #{last}]\n",
            "rsb r4, r4, #0\n",
            // The zero point is added before the shift.
            "lsl r5, r5, r4\n",
            "asr r5, r5, #1\n",
            requantize_four!("r0": $($acc)*),
        )
    };
}

/// Adds a channel's shortcut to its sums in four registers, and writes the outputs.
macro_rules! join_channel {
    (
        $o:literal $a:literal $b:literal $c:literal $d:literal
        $stream:literal $done:literal
    ) => {
        concat!(
            "ldrd r1, r3, [r0, #{mantissas}]\n",
            "ldr r2, [r1], #4\n",
            "ldrsb r4, [r3], #1\n",
            "strd r1, r3, [r0, #{mantissas}]\n",
            "ldrd r3, r1, [r0, #{last}]\n",
            "rsb r4, r4, #0\n",
            to_stream16!($stream),
            "cmp r4, #0\n",
            "ble 11f\n",
            "mov r5, #1\n",
            "lsl r5, r5, r4\n",
            "lsr r5, r5, #1\n",
            requantize_four!("r3": $a $b $c $d),
            "b 12f\n",
            // A factor of a half or more, which is usual with the extra bits of a join.
            "11:\n",
            "rsb r4, r4, #1\n",
            scale_four!($a $b $c $d),
            "12:\n",
            "mov r2, r1\n",
            "ldr r1, [r0, #{shortcut}]\n",
            "ldr r4, [r0, #{last}]\n",
            "ldr r5, [r0, #{shortcut_stride}]\n",
            "add r1, r1, #", $o, "\n",
            join_one!($a, "[r1]"),
            join_one!($b, "[r1, r5]"),
            "add r1, r1, r5, lsl #1\n",
            join_one!($c, "[r1]"),
            join_one!($d, "[r1, r5]"),
            "ssat ", $a, ", #8, ", $a, "\n",
            "ssat ", $b, ", #8, ", $b, "\n",
            "ssat ", $c, ", #8, ", $c, "\n",
            "ssat ", $d, ", #8, ", $d, "\n",
            "ldrd r1, r2, [r0, #{output}]\n",
            "strb ", $a, ", [r1, #", $o, "]!\n",
            "strb ", $b, ", [r1, r2]\n",
            "add r3, r1, r2, lsl #1\n",
            "strb ", $c, ", [r3]\n",
            "strb ", $d, ", [r3, r2]\n",
            $done, ":\n",
        )
    };
}

/// Adds the products of sixteen tap pairs. For each of them `$load` puts the weights of *a* into
/// `r2`, and those of *b* into `r3`.
macro_rules! sixteen_pairs {
    ($($load:literal)+) => {
        concat!(
            ".rept 16\n",
            $($load, "\n",)+
            "ldm r0!, {{r4, r5}}
             smlad r6, r4, r2, r6
             smlad r10, r4, r3, r10
             smlad r7, r5, r2, r7
             smlad r11, r5, r3, r11
             ldm r0!, {{r4, r5}}
             smlad r8, r4, r2, r8
             smlad r12, r4, r3, r12
             smlad r9, r5, r2, r9
             smlad lr, r5, r3, lr
             .endr",
        )
    };
}

/// Sums and finishes pairs of channels.
///
/// ```text
/// while summing:   r0 patch   r1 weights   r2 weights of a   r3 weights of b
///                  r6 … r9  acc[a][0 … 3]   r10 … lr  acc[b][0 … 3]
///                  r4 r5  values of two columns
/// while finishing: r0 arguments   r1 r2 r3 r4 r5 as the macros above say
/// [sp] arguments   [sp, 4] where the patch ends   [sp, 8] where the first round begins
/// ```
///
/// # Safety
///
/// Each field of the arguments is as [`Args`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #12",
        // The first round of sixteen tap pairs may start in its middle, so that all others are whole.
        "ldr r1, [r0, #{pairs}]",
        "ldr r2, [r0, #{patch}]",
        "ldr r6, [r0, #{int16}]",
        "add r2, r2, r1, lsl #4",
        "rsb r1, r1, #0",
        "and r1, r1, #15",
        "adr.w r3, 3f",
        "mov r4, #{int8_pair}",
        "cbz r6, 1f",
        "adr.w r3, 5f",
        "mov r4, #{int16_pair}",
        "1:",
        "mla r1, r1, r4, r3",
        "orr r1, r1, #1", // Thumb
        "strd r0, r2, [sp]",
        "str r1, [sp, #8]",
        "ldr r1, [r0, #{left}]",
        "b.w 18f",
        // The next two channels.
        "2:",
        "ldr r1, [r0, #{bias}]",
        "ldrd r6, r10, [r1], #8",
        "str r1, [r0, #{bias}]",
        "mov r7, r6",
        "mov r8, r6",
        "mov r9, r6",
        "mov r11, r10",
        "mov r12, r10",
        "mov lr, r10",
        "17:",
        "ldrd r0, r1, [r0, #{patch}]",
        "ldr.w pc, [sp, #8]",
        // Weights as int8.
        ".p2align 2",
        "3:",
        sixteen_pairs!("ldr.w r3, [r1], #4" "sxtb16 r2, r3" "sxtb16 r3, r3, ror #8"),
        assert_length!("3b", "16 * {int8_pair}"),
        "ldr r2, [sp, #4]",
        "cmp r0, r2",
        "bne.w 3b",
        "b.w 6f",
        // As int16.
        ".p2align 2",
        "5:",
        sixteen_pairs!("ldm r1!, {{r2, r3}}"),
        assert_length!("5b", "16 * {int16_pair}"),
        "ldr r2, [sp, #4]",
        "cmp r0, r2",
        "bne.w 5b",
        "6:",
        "ldr r0, [sp]",
        "ldr r3, [r0, #{parts}]",
        "str r1, [r0, #{weights}]",
        "lsls r3, r3, #29",
        "bne.w 4f",
        "16:",
        "ldrd r1, r3, [r0, #{mantissas}]",
        requantize_channel!("r6" "r7" "r8" "r9"),
        "ldr r0, [sp]",
        requantize_channel!("r10" "r11" "r12" "lr"),
        "ldr r0, [sp]",
        "strd r1, r3, [r0, #{mantissas}]",
        // Both channels of a column are written at once.
        ".irp acc, r6, r7, r8, r9, r10, r11, r12, lr",
        "ssat \\acc, #8, \\acc",
        ".endr",
        "bfi r6, r10, #8, #8",
        "bfi r7, r11, #8, #8",
        "bfi r8, r12, #8, #8",
        "bfi r9, lr, #8, #8",
        "ldrd r1, r2, [r0, #{output}]",
        "add r3, r1, r2, lsl #1",
        "strh r7, [r1, r2]",
        "strh r6, [r1], #2",
        "strh r8, [r3]",
        "strh r9, [r3, r2]",
        "str r1, [r0, #{output}]",
        "9:",
        "ldr r1, [r0, #{left}]",
        "sub r1, r1, #2",
        "str r1, [r0, #{left}]",
        // The last bit says whether sums start with the bias.
        "18:",
        "lsrs r2, r1, #1",
        "bhi.w 2b",
        "bne 1f",
        "add sp, sp, #12",
        "pop {{r4-r11, pc}}",
        // Sums that were kept.
        "1:",
        "ldr r1, [r0, #{acc}]",
        "ldm r1, {{r6-r12, lr}}",
        "b.w 17b",
        // A chunk, or a join.
        "4:",
        "ldr r2, [r0, #{skip}]",
        "add r1, r1, r2",
        "str r1, [r0, #{weights}]",
        // KEEP becomes the sign, JOIN the carry.
        "lsls r3, r3, #1",
        "ldr r2, [r0, #{acc}]",
        "add r1, r2, #32",
        "str r1, [r0, #{acc}]",
        "bpl 7f",
        "stm r2, {{r6-r12, lr}}",
        "b 9b",
        "7:",
        "bcc 16b",
        join_channel!("0" "r6" "r7" "r8" "r9" "13" "14"),
        join_channel!("1" "r10" "r11" "r12" "lr" "15" "19"),
        "ldrd r1, r2, [r0, #{shortcut}]",
        "add r1, r1, #2",
        "add r2, r2, #2",
        "strd r1, r2, [r0, #{shortcut}]",
        "b.w 9b",
        stream16_channel!("0" "r6" "r7" "r8" "r9" "13" "14"),
        stream16_channel!("1" "r10" "r11" "r12" "lr" "15" "19"),
        int8_pair = const 11 * 4 + 2 * 2,
        int16_pair = const 8 * 4 + 3 * 2,
        pairs = const offset_of!(Args, pairs),
        int16 = const offset_of!(Args, int16),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        acc = const offset_of!(Args, acc),
        patch = const offset_of!(Args, patch),
        skip = const offset_of!(Args, skip),
        weights = const offset_of!(Args, weights),
        mantissas = const offset_of!(Args, mantissas),
        output = const offset_of!(Args, output),
        shortcut = const offset_of!(Args, shortcut),
        left = const offset_of!(Args, left),
        last = const offset_of!(Args, last),
        shortcut_stride = const offset_of!(Args, shortcut_stride),
        factor = const offset_of!(Args, factor),
        lower = const offset_of!(Args, lower),
        shortcut_lower = const offset_of!(Args, shortcut_lower),
    )
}
