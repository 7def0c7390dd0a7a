//! Winograd's convolution with the DSP instructions.
//!
//! Two int16 are in a word, so `SADD16` and `SSUB16` transform two channels at once, and `SMLAD`
//! adds two products. Instructions: for two input channels of a tile at one kernel row, 39 to
//! transform; for those of two tiles, with four output channels at one position, 11 to multiply,
//! and these products stand for 32 multiply-accumulates: 0.34 each. To finish an output 16,
//! behind a join 22. Measured for ResNet-8: 0.42 to 0.63 a multiply-accumulate in all, the fewer
//! the more channels there are.

use core::arch::naked_asm;

use zerocopy::little_endian::I32;

use super::super::quick::Quick;
use super::super::winograd::{
    CHANNELS, Columns, INSIDE, POSITIONS, Span, Sums, THIRD, Tiles, Values, Weights,
};
use crate::ops::conv::TILE_COLUMNS;

/// The tiles of a convolution.
pub(super) struct Dsp<'c>(pub(super) Option<Quick<'c>>);

impl Tiles for Dsp<'_> {
    fn transform(&self, columns: &Columns<'_>, values: &mut [Values]) {
        let Columns { inputs, before, inside, after } = *columns;
        let there = inputs >= 4
            && inputs.is_multiple_of(4)
            && before.len() >= inputs
            && inside.len() >= INSIDE * inputs
            && after.len() >= inputs
            && values.len() >= inputs / 2;
        if there {
            let (before, after) = (before.as_ptr(), after.as_ptr());
            // SAFETY: the columns can be read, two values for each four channels be written, as
            // was just checked.
            unsafe { transform(inside.as_ptr(), values.as_mut_ptr(), inputs, before, after) }
        }
    }

    fn multiply(&self, values: &[Values], weights: &[Weights], sums: &mut Sums) {
        let steps = values.len();
        if steps > 1 && weights.len() >= POSITIONS * steps {
            // SAFETY: there are two steps at least, and weights for so many at each position.
            unsafe { multiply(values.as_ptr(), weights.as_ptr(), steps, sums) }
        }
    }

    fn quick(&self, span: &Span<'_>, weights: &[Weights], x: usize, pixels: &mut [i8]) -> usize {
        self.ordinary(span, weights, x, pixels).unwrap_or(0)
    }
}

impl Dsp<'_> {
    /// Computes what is ordinary; returns how many channels that are.
    fn ordinary(
        &self,
        span: &Span<'_>,
        weights: &[Weights],
        x: usize,
        pixels: &mut [i8],
    ) -> Option<usize> {
        let quick = self.0.as_ref()?;
        let conv = span.conv;
        let channels = usize::from(conv.window.output.channels).max(1);
        let (groups, steps) = (channels / CHANNELS, span.values.len());
        let tiles = pixels.len() / (TILE_COLUMNS * channels);
        let there = groups > 0
            && steps > 1
            && (1..=2).contains(&tiles)
            && weights.len() >= groups * POSITIONS * steps;
        let (shortcut, shortcut_stride) =
            quick.shortcut(x, tiles * TILE_COLUMNS, 0, channels, pixels)?;
        if !there {
            return None;
        }
        let whole = groups * CHANNELS;
        let mut args = Args {
            bias: conv.bias.get(..whole)?.as_ptr(),
            mantissas: conv.mantissas.get(..whole)?.as_ptr(),
            shifts: conv.shifts.get(..whole)?.as_ptr(),
            output: pixels.as_mut_ptr(),
            shortcut,
            stride: channels,
            last: quick.last,
            table: quick.table,
            values: span.values.as_ptr(),
            weights: weights.as_ptr(),
            steps,
            groups,
            shortcut_stride,
            tiles,
        };
        // SAFETY: there is a group, a tile and two steps at least. Weights are there for each group
        // of four channels and each step at all positions, bias, mantissas and shifts for each
        // channel. Outputs go to as many columns as `tiles` have: `Quick::shortcut` found these
        // to be all of `pixels`, and as many columns of the shortcut. Behind a join the table
        // reaches 128 words to both sides of its middle.
        unsafe { blocks(&mut args) }
        Some(whole)
    }
}

/// What the assembly takes.
///
/// ```text
///  0 bias       4 mantissas     8 shifts    12 output    16 shortcut    20 stride of the output
/// 24 twice the zero_point and a half, or a join's bits   28 the middle of a join's table, or null
/// 32 values    36 weights      40 steps     44 groups of channels that are left
/// 48 stride of the shortcut    52 tiles
/// ```
#[repr(C)]
struct Args {
    bias: *const I32,
    mantissas: *const I32,
    shifts: *const i8,
    output: *mut i8,
    shortcut: *const i8,
    stride: usize,
    last: i32,
    table: *const I32,
    values: *const Values,
    weights: *const Weights,
    steps: usize,
    groups: usize,
    shortcut_stride: usize,
    tiles: usize,
}

/// Two of four channels, `SXTB16`-ed with rotation `$ror`, to `$pair` bytes behind `r1`: `r5` to
/// `r8` are the second to the fifth column; the first and the last lie as far behind `r0` as
/// `[sp]` and `[sp, 4]` say.
macro_rules! transform_two {
    ($ror:literal, $pair:literal) => {
        concat!(
            "sxtb16 r10, r8",
            $ror,
            "\n",
            "sxtb16 r11, r6",
            $ror,
            "\n",
            "ssub16 r12, r10, r11\n", // even
            "sadd16 r11, r11, r11\n",
            "sadd16 r11, r11, r11\n",
            "ssub16 r10, r10, r11\n", // outer
            "sxtb16 r11, r7",
            $ror,
            "\n",
            "sxtb16 lr, r5",
            $ror,
            "\n",
            "ssub16 r4, lr, r11\n", // -odd
            "sadd16 lr, lr, lr\n",
            "sadd16 lr, lr, lr\n",
            "ssub16 lr, r11, lr\n", // inner
            "sadd16 r9, r10, lr\n",
            "ssub16 r10, r10, lr\n",
            "str r9, [r1, #8 + ",
            $pair,
            "]\n",
            "str r10, [r1, #16 + ",
            $pair,
            "]\n",
            "sadd16 r4, r4, r4\n",
            "ssub16 r9, r12, r4\n",
            "sadd16 r10, r12, r4\n",
            "str r9, [r1, #24 + ",
            $pair,
            "]\n",
            "str r10, [r1, #32 + ",
            $pair,
            "]\n",
            "sadd16 r4, r4, r4\n",
            "ldrd r10, r9, [sp]\n",
            "ssub16 r4, r4, r11\n",
            "ldr r9, [r0, r9]\n",
            "ldr r10, [r0, r10]\n",
            "sxtab16 r9, r4, r9",
            $ror,
            "\n",
            "str r9, [r1, #40 + ",
            $pair,
            "]\n",
            "sxtb16 r10, r10",
            $ror,
            "\n",
            "sxtb16 r11, r6",
            $ror,
            "\n",
            "ssub16 r10, r10, r11\n",
            "sadd16 r10, r10, r10\n",
            "sadd16 r10, r10, r10\n",
            "sadd16 r10, r10, r12\n",
            "str r10, [r1, #",
            $pair,
            "]\n",
        )
    };
}

/// ```text
/// r0 columns   r1 values   r2 inputs   r3 where they end   r5 … r8 columns 1 to 4, of four channels
/// r4 r9 … lr  two channels
/// [sp] [sp, 4] from r0 to columns 0 and 5   [sp, 8] columns   [sp, 12] values
/// ```
///
/// # Safety
///
/// `inputs` is a multiple of four, and not zero. Eight times as many bytes can be read at
/// `columns`, and `inputs` each at `before` and `after`; two values for each four inputs can be
/// written.
#[unsafe(naked)]
unsafe extern "C" fn transform(
    columns: *const i8,
    values: *mut Values,
    inputs: usize,
    before: *const i8,
    after: *const i8,
) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        // The first tile: before it lies `before`.
        "sub r4, r3, r0",
        "lsl r5, r2, #2",
        "strd r4, r5, [sp]",
        "strd r0, r1, [sp, #8]",
        "add r3, r0, r2",
        "2:",
        "add r9, r0, r2, lsl #1",
        "ldr r5, [r0]",
        "ldr r6, [r0, r2]",
        "ldr r7, [r9]",
        "ldr r8, [r9, r2]",
        transform_two!("", "0"),
        transform_two!(", ror #8", "48"),
        "add r0, r0, #4",
        "add r1, r1, #96",
        "cmp r0, r3",
        "bne.w 2b",
        // The second tile: behind it lies `after`.
        "ldrd r0, r1, [sp, #8]",
        "ldr r5, [sp, #56]",
        "add r0, r0, r2, lsl #2",
        "add r3, r0, r2",
        "cmp r5, #0",
        "beq 3f",
        "sub r5, r5, r0",
        "rsb r4, r2, #0",
        "strd r4, r5, [sp]",
        "mov r5, #0",
        "str r5, [sp, #56]",
        "add r1, r1, #4",
        "b.w 2b",
        "3:",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
    )
}

/// The function `$name` that sums the products of four channels at all positions. Values of one are
/// `$step` bytes apart; `$back` makes `r2` of a position's bytes of weights, `r5`: from where its
/// values end to where those of the next begin.
///
/// ```text
/// r0 values   r1 weights   r2 r3 weights of two channels   r4 … r11 sums, channel by channel
/// r12 lr  values of two tiles
/// [sp] where the weights of this position end   [sp, 4] where the first round begins
/// [sp, 8] bytes of a position's weights   [sp, 12] from where the values of a position end to where
/// the next begin   [sp, 16] sums   [sp, 20] where they end
/// ```
macro_rules! products {
    ($name:ident of $winograd:ident, $step:literal, $back:literal, $sums_bytes:literal) => {
        /// # Safety
        ///
        /// There are at least two steps, and so many values and weights of each position. `r1`
        /// comes back as where the weights end.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            values: *const crate::kernels::$winograd::Values,
            weights: *const crate::kernels::$winograd::Weights,
            steps: usize,
            sums: *mut crate::kernels::$winograd::Sums,
        ) {
            core::arch::naked_asm!(
                ".cpu cortex-m33",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #28",
                // The first step sets the sums. Of the others the first round begins in its middle, so
                // that those after it are whole.
                "sub r4, r2, #1",
                "mov r5, #24",
                "udiv r12, r4, r5",
                "mls r12, r12, r5, r4",
                "rsb r12, r12, #24",
                "adr.w r4, 3f",
                "mov r5, #11 * 4",
                "mla r4, r12, r5, r4",
                "orr r4, r4, #1", // Thumb
                "lsl r5, r2, #4",
                "strd r4, r5, [sp, #4]",
                $back,
                "strd r2, r3, [sp, #12]",
                concat!("add r3, r3, #", $sums_bytes),
                "str r3, [sp, #20]",
                // The next position.
                "2:",
                "ldrd r2, r3, [sp, #4]",
                "add r3, r3, r1",
                "str r3, [sp]",
                "ldrd r8, r10, [r1, #8]",
                "ldrd r4, r6, [r1], #16",
                concat!("ldrd r12, lr, [r0], #", $step),
                "smuad r5, lr, r4",
                "smuad r4, r12, r4",
                "smuad r7, lr, r6",
                "smuad r6, r12, r6",
                "smuad r9, lr, r8",
                "smuad r8, r12, r8",
                "smuad r11, lr, r10",
                "smuad r10, r12, r10",
                "bx r2",
                ".p2align 2",
                "3:",
                ".rept 24",
                concat!("ldrd r12, lr, [r0], #", $step),
                "ldrd r2, r3, [r1], #8",
                "smlad r4, r12, r2, r4",
                "smlad r5, lr, r2, r5",
                "smlad r6, r12, r3, r6",
                "smlad r7, lr, r3, r7",
                "ldrd r2, r3, [r1], #8",
                "smlad r8, r12, r2, r8",
                "smlad r9, lr, r2, r9",
                "smlad r10, r12, r3, r10",
                "smlad r11, lr, r3, r11",
                ".endr",
                "ldr r2, [sp]",
                "cmp r1, r2",
                "bne.w 3b",
                "ldrd r2, r3, [sp, #12]",
                "sub r0, r0, r2",
                "ldr r2, [sp, #20]",
                "stm r3!, {{r4-r11}}",
                "str r3, [sp, #16]",
                "cmp r3, r2",
                "bne.w 2b",
                "add sp, sp, #28",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}
pub(super) use products;

products!(multiply of winograd, "48", "add r2, r5, r5, lsl #1\nsub r2, r2, #8", "192");

/// Requantizes four sums, each twice what it is, with a shift to the right: `r2` is the mantissa,
/// `r12` the shift, `lr` twice what is added before it.
macro_rules! requantize_four {
    () => {
        ".irp acc, r4, r5, r6, r7\n\
         smmulr \\acc, \\acc, r2\n\
         add r3, \\acc, lr, asr #1\n\
         add \\acc, r3, \\acc, asr #31\n\
         asr \\acc, \\acc, r12\n\
         .endr\n"
    };
}

/// All groups of four channels: their sums, on the stack, and from these the outputs.
///
/// ```text
/// r0 arguments   r8 mantissas   r9 shifts   r10 output   r11 sums
/// while transforming: r1 r2 r4 … r7 sums   r3 r12 lr their sums and differences
/// while finishing:    r4 … r7 outputs   r1 table   r2 mantissa   r12 shift   lr what is added
/// [sp] sums   then: where the bias is, from the mantissa   THIRD   where the mantissas end
/// stride of the output   shortcut   tiles left   arguments
/// ```
///
/// # Safety
///
/// The pointers are good for what the numbers beside them say: see [`Dsp::ordinary`].
#[unsafe(naked)]
unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #{frame} + 28",
        "ldrd r2, r8, [r0]",
        "movw r3, #{third} & 0xffff",
        "movt r3, #({third} >> 16) & 0xffff",
        "sub r2, r2, r8",
        "strd r2, r3, [sp, #{frame}]",
        "ldr r3, [r0, #20]",
        "str r3, [sp, #{frame} + 12]",
        "str r0, [sp, #{frame} + 24]",
        // The next group.
        "2:",
        "ldrd r4, r1, [r0, #32]",
        "ldr r2, [r0, #40]",
        "mov r0, r4",
        "mov r3, sp",
        "bl {multiply}",
        "ldr r0, [sp, #{frame} + 24]",
        "str r1, [r0, #36]", // where it stopped
        "ldrd r8, r9, [r0, #4]",
        "ldrd r10, r1, [r0, #12]",
        "ldr r2, [r0, #52]",
        "mov r11, sp",
        "strd r1, r2, [sp, #{frame} + 16]",
        "add r2, r8, #16",
        "str r2, [sp, #{frame} + 8]",
        // The next channel of the tile.
        "4:",
        // Aᵀ
        "ldr r5, [r11, #32]",
        "ldr r6, [r11, #64]",
        "ldr r7, [r11, #96]",
        "ldr r1, [r11, #128]",
        "ldr r2, [r11, #160]",
        "ldr r4, [r11], #8",
        "add r3, r5, r6",
        "sub r5, r5, r6",
        "add r12, r7, r1",
        "sub lr, r7, r1",
        "add r4, r4, r3",
        "add r7, r2, r5",
        "add r4, r4, r12",
        "add r7, r7, lr, lsl #3",
        "add r5, r5, lr, lsl #1",
        "add r6, r3, r12, lsl #2",
        // Eight times the sum, with the bias; then twice.
        "ldrd r2, r3, [sp, #{frame}]",
        "ldr r2, [r8, r2]",
        "lsl r2, r2, #3",
        "mla r4, r4, r3, r2",
        "mla r5, r5, r3, r2",
        "mla r6, r6, r3, r2",
        "mla r7, r7, r3, r2",
        "ldr r2, [r8], #4",
        "ldrsb r12, [r9], #1",
        "asr r4, r4, #2",
        "asr r5, r5, #2",
        "asr r6, r6, #2",
        "asr r7, r7, #2",
        "ldrd r3, r1, [r0, #24]",
        "rsb r12, r12, #0",
        "cbnz r1, 5f",
        // The zero point goes through the shift.
        "lsl lr, r3, r12",
        requantize_four!(),
        "6:",
        ".irp acc, r4, r5, r6, r7",
        "ssat \\acc, #8, \\acc",
        ".endr",
        "ldrd r1, r2, [sp, #{frame} + 8]",
        "add r3, r10, r2, lsl #1",
        "strb r5, [r10, r2]",
        "strb r4, [r10], #1",
        "strb r6, [r3]",
        "strb r7, [r3, r2]",
        "cmp r8, r1",
        "bne.w 4b",
        "b 9f",
        // A join.
        "5:",
        "cmp r12, #0",
        "ble 7f",
        "mov lr, #1",
        "lsl lr, lr, r12",
        requantize_four!(),
        "b 8f",
        // A factor of a half or more: with a join's extra bits the usual one.
        "7:",
        "rsb r12, r12, #0",
        ".irp acc, r4, r5, r6, r7",
        "lsl \\acc, \\acc, r12",
        "smmulr \\acc, \\acc, r2",
        ".endr",
        "8:",
        "ldr r2, [sp, #{frame} + 16]",
        "ldr lr, [r0, #48]",
        "ldr r12, [r0, #24]",
        "add r3, r2, #1",
        "str r3, [sp, #{frame} + 16]",
        ".irp acc, r4, r5, r6, r7",
        "ldrsb r3, [r2]",
        "add r2, r2, lr",
        "ldr r3, [r1, r3, lsl #2]",
        "add \\acc, \\acc, r3",
        "asr \\acc, \\acc, r12",
        ".endr",
        "b 6b",
        // The tile is done.
        "9:",
        "ldrd r3, r1, [sp, #{frame} + 16]",
        "subs r1, r1, #1",
        "beq 3f",
        // The second tile: four columns further on.
        "ldr lr, [r0, #48]",
        "sub r10, r10, #4",
        "sub r3, r3, #4",
        "add r10, r10, r2, lsl #2",
        "add r3, r3, lr, lsl #2",
        "strd r3, r1, [sp, #{frame} + 16]",
        "sub r8, r8, #16",
        "sub r9, r9, #4",
        "add r11, sp, #4",
        "b.w 4b",
        "3:",
        "ldrd r1, r2, [r0, #12]",
        "ldr r3, [r0, #44]",
        "add r1, r1, #4",
        "add r2, r2, #4",
        "strd r8, r9, [r0, #4]",
        "strd r1, r2, [r0, #12]",
        "subs r3, r3, #1",
        "str r3, [r0, #44]",
        "bne.w 2b",
        "add sp, sp, #{frame} + 28",
        "pop {{r4-r11, pc}}",
        frame = const size_of::<Sums>(),
        third = const THIRD as u32,
        multiply = sym multiply,
    )
}
