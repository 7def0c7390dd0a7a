//! The assembly of convolutions: products with a patch, and the outputs made from their sums.

use core::arch::naked_asm;
use core::mem::offset_of;

use zerocopy::little_endian::I32;

use super::stream16::{stream16_channel, to_stream16};
use crate::kernels::shared::assembly::{assert_length, consecutive};
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
    /// An even number, not zero.
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

/// Adds the products of a tap pair. `$load` puts the weights of *a* into `r2`, those of *b* into
/// `r3`, and the values of the first two columns into `r4` and `r5`.
macro_rules! one_pair {
    ($($load:literal)+) => {
        concat!(
            $($load, "\n",)+
            "smlad r6, r4, r2, r6
             smlad r10, r4, r3, r10
             smlad r7, r5, r2, r7
             smlad r11, r5, r3, r11
             ldm r0!, {{r4, r5}}
             smlad r8, r4, r2, r8
             smlad r12, r4, r3, r12
             smlad r9, r5, r2, r9
             smlad lr, r5, r3, lr\n",
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
/// [sp] arguments   [sp, 4] parts   [sp, 8] where the patch ends   [sp, 12] where the first round begins
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
        "sub sp, sp, #16",
        // The first round of sixteen tap pairs may start in its middle, so that all others are whole.
        "ldr r1, [r0, #{pairs}]",
        "ldr r2, [r0, #{patch}]",
        "ldr r6, [r0, #{int16}]",
        "ldr r5, [r0, #{parts}]",
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
        "strd r0, r5, [sp]",
        "strd r2, r1, [sp, #8]",
        "ldr r4, [r0, #{left}]",
        "ldr r5, [r0, #{bias}]",
        "b.w 18f",
        // Weights as int8.
        ".p2align 2",
        "3:",
        ".rept 16",
        one_pair!("ldr.w r3, [r1], #4" "sxtb16 r2, r3" "sxtb16 r3, r3, ror #8" "ldm r0!, {{r4, r5}}"),
        ".endr",
        assert_length!("3b", "16 * {int8_pair}"),
        "ldr r2, [sp, #8]",
        "cmp r0, r2",
        "bne.w 3b",
        "b.w 6f",
        // As int16.
        ".p2align 2",
        "5:",
        ".rept 8",
        // On a Cortex-M4, four single loads take five cycles, and two loads of two words take six.
        // Half of the pairs have them, because they are two more instructions.
        one_pair!("ldr r3, [r1, #4]" "ldr.w r2, [r1], #8" "ldr r5, [r0, #4]" "ldr.w r4, [r0], #8"),
        one_pair!("ldm r1!, {{r2, r3}}" "ldm r0!, {{r4, r5}}"),
        ".endr",
        assert_length!("5b", "16 * {int16_pair}"),
        "ldr r2, [sp, #8]",
        "cmp r0, r2",
        "bne.w 5b",
        "6:",
        "ldrd r0, r3, [sp]",
        "str r1, [r0, #{weights}]",
        "lsls r3, r3, #29",
        "bne.w 4f",
        "16:",
        // A load after another takes one cycle, as does a store with an immediate offset. Loads and
        // stores of two registers take three.
        "ldr r1, [r0, #{mantissas}]",
        "ldr r3, [r0, #{shifts}]",
        requantize_channel!("r6" "r7" "r8" "r9"),
        "ldr r0, [sp]",
        requantize_channel!("r10" "r11" "r12" "lr"),
        "ldr r0, [sp]",
        // Both channels of a column are written at once.
        ".irp acc, r6, r7, r8, r9, r10, r11, r12, lr",
        "ssat \\acc, #8, \\acc",
        ".endr",
        "str r1, [r0, #{mantissas}]",
        "str r3, [r0, #{shifts}]",
        "bfi r6, r10, #8, #8",
        "bfi r7, r11, #8, #8",
        "bfi r8, r12, #8, #8",
        "bfi r9, lr, #8, #8",
        "ldrd r1, r2, [r0, #{output}]",
        "add r3, r1, r2, lsl #1",
        // A store with a register offset after a load takes one cycle instead of two.
        "ldr r4, [r0, #{left}]",
        "strh r7, [r1, r2]",
        "strh r6, [r1], #2",
        "strh r8, [r3]",
        "ldr r5, [r0, #{bias}]",
        "strh r9, [r3, r2]",
        "str r1, [r0, #{output}]",
        "20:",
        "sub r4, r4, #2",
        "str r4, [r0, #{left}]",
        // The last bit says whether sums start with the bias.
        "18:",
        "lsrs r4, r4, #1",
        "bls 9f",
        // The next two channels.
        "ldrd r6, r10, [r5], #8",
        "str r5, [r0, #{bias}]",
        "mov r7, r6",
        "mov r8, r6",
        "mov r9, r6",
        "mov r11, r10",
        "mov r12, r10",
        "mov lr, r10",
        "ldrd r0, r1, [r0, #{patch}]",
        "ldr.w pc, [sp, #12]",
        "9:",
        "bne 1f",
        "add sp, sp, #16",
        "pop {{r4-r11, pc}}",
        // Sums that were kept.
        "1:",
        "ldr r1, [r0, #{acc}]",
        "ldm r1, {{r6-r12, lr}}",
        "ldrd r0, r1, [r0, #{patch}]",
        "ldr.w pc, [sp, #12]",
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
        "ldr r4, [r0, #{left}]",
        "ldr r5, [r0, #{bias}]",
        "b 20b",
        "7:",
        "bcc 16b",
        join_channel!("0" "r6" "r7" "r8" "r9" "13" "14"),
        join_channel!("1" "r10" "r11" "r12" "lr" "15" "19"),
        "ldrd r1, r2, [r0, #{shortcut}]",
        "add r1, r1, #2",
        "add r2, r2, #2",
        "strd r1, r2, [r0, #{shortcut}]",
        "ldr r4, [r0, #{left}]",
        "ldr r5, [r0, #{bias}]",
        "b.w 20b",
        stream16_channel!("0" "r6" "r7" "r8" "r9" "13" "14"),
        stream16_channel!("1" "r10" "r11" "r12" "lr" "15" "19"),
        int8_pair = const 11 * 4 + 2 * 2,
        int16_pair = const (2 * 8 * 4 + (2 + 4) * 2 + 2 + 3 * 2) / 2,
        pairs = const offset_of!(Args, pairs),
        int16 = const offset_of!(Args, int16),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        acc = const offset_of!(Args, acc),
        patch = const offset_of!(Args, patch),
        skip = const offset_of!(Args, skip),
        weights = const offset_of!(Args, weights),
        mantissas = const offset_of!(Args, mantissas),
        shifts = const offset_of!(Args, shifts),
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
