//! Cores of Armv6-M: Cortex-M0, M0+.
//!
//! The loops of [`lanes`] and of [`winograd`], with assembly inside. Only eight registers take
//! part in most instructions, a product takes the place of a factor, and only loads of several words
//! lead to the next address by themselves. So:
//!
//! ```text
//! two columns in a product, for each two taps:
//!     weight, weight' = weights[patch]     one pointer leads through both: both go eight bytes a tap
//!     for each two columns:
//!         p = patch · weight − patch' · weight'
//!         sum += p
//!         high += p / 2¹⁶, and the carry: the last bit that is shifted out
//! Winograd in two dimensions, at one position of a tile, for each two input channels:
//!     for each of four output channels:
//!         acc += weight · value + weight' · value'
//! ```
//!
//! The first of two taps is in the patch as its negative, and so are the sums: then what belongs to
//! the lower column is from −2¹⁵ to less than 2¹⁵ for any weights, and that bit rounds exactly.
//!
//! Instructions: 16 for 8 multiply-accumulates, and a loop of 3 for 128: 2.02 each. Measured for
//! ResNet-8, with all that is around them and the outputs made: 2.37 to 2.85 of three rows by three
//! columns, the fewer the more channels there are. To finish an output 24, and 3 where it saturates;
//! for the patch 6.75 a word. Of Winograd 61 for 16 products, which stand for four
//! multiply-accumulates each: 0.95; 8 for a value that is transformed, 51 for an output from its sums
//! on; measured 1.31 to 1.67 a multiply-accumulate in all.

#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::mem::offset_of;

use super::lanes::{self, Args, Columns, Lanes};
use super::quick::AddArgs;
use super::shared::assembly::{assert_length, consecutive};
use super::winograd::{self, NINTH, Sums, Values, Weights};

/// The backend for Armv6-M.
#[derive(Debug, Clone, Copy, Default)]
pub struct Armv6m;

lanes::backend!(Armv6m, ARMV6M);

impl Lanes for Armv6m {
    #[inline(always)]
    unsafe fn widen(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize) {
        // SAFETY: the same is asked of whoever calls this.
        unsafe { widen(a, b, patch, pairs) }
    }

    #[inline(always)]
    unsafe fn blocks(args: &mut Args) {
        // SAFETY: the same is asked of whoever calls this.
        unsafe { blocks(args) }
    }

    fn sums([sum, other_sum, high, other_high]: [i32; 4]) -> [i32; 4] {
        let low = |sum: i32, high: i32| (high << 16).wrapping_sub(sum);
        let upper = |high: i32| high.wrapping_neg();
        [low(sum, high), upper(high), low(other_sum, other_high), upper(other_high)]
    }

    #[inline(always)]
    unsafe fn add(args: &AddArgs) -> bool {
        // SAFETY: `AddArgs::of` made the arguments, so input and output are theirs.
        unsafe { add_bytes(args.input, args.output, args) }
        true
    }
}

winograd::winograd_tiles!(
    Armv6m, winograd::is_ordinary,
    transform: transform_tiles,
    multiply: multiply_tiles, finish: |args, sums| finish_tiles(args, sums, NINTH)
);

/// ```text
/// r0 r1 columns   r2 patch   r3 values   r4 the next   r5 … r7 values
/// ```
///
/// # Safety
///
/// `pairs` is not zero. Twice as many bytes can be read at `a` and `b`, and at `patch` two words be
/// written, so many times, 16 bytes further on each time.
#[unsafe(naked)]
unsafe extern "C" fn widen(a: *const i8, b: *const i8, patch: *mut Columns, pairs: usize) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        // The first round begins in its middle, so that those after it are whole.
        "rsbs r5, r3, #0",
        "movs r6, #3",
        "ands r5, r6",
        "movs r6, #{pair}",
        "muls r5, r6, r5",
        "adr r6, 2f",
        "adds r5, r5, r6",
        "adds r5, #1", // Thumb
        "lsls r3, r3, #1",
        "movs r4, #0",
        "bx r5",
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldrsb r5, [r0, r4]",
        "ldrsb r6, [r1, r4]",
        "adds r4, #1",
        "lsls r6, r6, #16",
        "adds r5, r5, r6",
        "rsbs r5, r5, #0",
        "ldrsb r6, [r0, r4]",
        "ldrsb r7, [r1, r4]",
        "adds r4, #1",
        "lsls r7, r7, #16",
        "adds r6, r6, r7",
        "stm r2!, {{r5, r6}}",
        "adds r2, #8",
        ".endr",
        assert_length!("2b", "4 * {pair}"),
        "cmp r4, r3",
        "bne 2b",
        "pop {{r4-r7, pc}}",
        pair = const 13 * 2,
    )
}

/// Requantizes the sum in `r0`. Both factors are halved with a sign, so that the products in the
/// middle add up within 32 bits: a sum is less than 2³⁰ in magnitude, a mantissa less than 2³¹.
///
/// ```text
/// sum · mantissa / 2³¹ = 2 · high · high + (high · low + low · high + low · low / 2¹⁶) / 2¹⁵
/// ```
///
/// The last bit that is shifted out rounds that. It is shifted half away from zero, and the zero
/// point goes through that shift: what is added, less one, and the carry if it is not below zero.
///
/// ```text
/// r0 r1 r2 values   r4 r5 upper and lower half of the mantissa   r6 what is added, less one
/// r7 shift   r12 the largest that is not below zero
/// ```
macro_rules! requantize {
    () => {
        "sxth r1, r0
         subs r0, r0, r1
         asrs r0, r0, #16
         movs r2, r1
         muls r2, r5, r2
         muls r1, r4, r1
         asrs r2, r2, #16
         adds r1, r1, r2
         movs r2, r0
         muls r2, r5, r2
         adds r1, r1, r2
         muls r0, r4, r0
         lsls r0, r0, #1
         asrs r1, r1, #15
         adcs r0, r1
         cmp r12, r0
         adcs r0, r6
         asrs r0, r7
         "
    };
}

/// `r0` within int8, into `r1`.
macro_rules! saturate {
    () => {
        "sxtb r1, r0
         cmp r1, r0
         beq 1f
         asrs r0, r0, #31
         movs r1, #127
         eors r1, r0
         1:
         "
    };
}

/// Makes an output of a sum, writes it to `r3`, and leads that to the next column.
macro_rules! store {
    ($acc:literal) => {
        concat!("mov r0, ", $acc, "\n", requantize!(), saturate!(), "strb r1, [r3]\n add r3, lr",)
    };
}

/// The same behind a join: adds what its table had for the shortcut.
macro_rules! join {
    ($acc:literal, $at:literal) => {
        concat!(
            "mov r0, ",
            $acc,
            "\n",
            requantize!(),
            "ldr r1, [sp, #16 + ",
            $at,
            "]
            adds r0, r0, r1
            ldr r1, [sp, #32]
            asrs r0, r1
            ",
            saturate!(),
            "strb r1, [r3]\n add r3, lr",
        )
    };
}

/// ```text
/// while summing:   r0 patch   r1 from there to weights   r2 r3 weights of two taps
///                  r4 r5 values of two taps   r6 r7 high   r8 r9 sum   r10 where the patch ends
/// while finishing: r0 arguments, or values   r1 r2 values   r3 channel, or output   r4 … r7 r12 as
///                  `requantize` says   r8 … r11 sums of four columns   lr stride of the output
/// [sp] arguments   where the patch ends   where the first round begins   channel
///      what a table has for four columns   a join's bits
/// ```
///
/// # Safety
///
/// Each field of the arguments is what [`Args`] says of it.
#[unsafe(naked)]
unsafe extern "C" fn blocks(args: &mut Args) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "sub sp, #36",
        "str r0, [sp]",
        // The first round begins in its middle, so that those after it are whole.
        "ldr r1, [r0, #{patch}]",
        "ldr r2, [r0, #{pairs}]",
        "lsls r3, r2, #4",
        "adds r3, r3, r1",
        "str r3, [sp, #4]",
        "rsbs r2, r2, #0",
        "movs r3, #15",
        "ands r2, r3",
        "lsls r2, r2, #5", // 32 bytes for two taps
        "adr r3, 3f",
        "adds r2, r2, r3",
        "adds r2, #1", // Thumb
        "str r2, [sp, #8]",
        "movs r3, #0",
        // The next channel.
        "2:",
        "str r3, [sp, #12]",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #31",
        "bne 1f",
        "ldr r1, [r0, #{bias}]",
        "lsls r2, r3, #2",
        "ldr r6, [r1, r2]",
        "rsbs r6, r6, #0",
        "lsls r1, r6, #16",
        "adds r1, r1, r6",
        "mov r8, r1",
        "mov r9, r1",
        "movs r7, r6",
        "b 4f",
        "1:",
        "ldr r1, [r0, #{kept}]",
        "lsls r2, r3, #4",
        "adds r1, r1, r2",
        "ldm r1!, {{r2, r3, r6, r7}}",
        "mov r8, r2",
        "mov r9, r3",
        "4:",
        "ldr r2, [sp, #4]",
        "mov r10, r2",
        "ldr r2, [sp, #8]",
        "ldr r1, [r0, #{weights}]",
        "ldr r0, [r0, #{patch}]",
        "subs r1, r1, r0",
        "bx r2",
        ".p2align 2",
        "3:",
        ".rept 16",
        "ldrsb r2, [r1, r0]",
        "ldm r0!, {{r4, r5}}",
        "ldrsb r3, [r1, r0]",
        "muls r4, r2, r4",
        "muls r5, r3, r5",
        "subs r4, r4, r5",
        "add r8, r4",
        "asrs r4, r4, #16",
        "adcs r6, r4",
        "ldm r0!, {{r4, r5}}",
        "muls r4, r2, r4",
        "muls r5, r3, r5",
        "subs r4, r4, r5",
        "add r9, r4",
        "asrs r4, r4, #16",
        "adcs r7, r4",
        ".endr",
        assert_length!("3b", "16 << 5"),
        "cmp r0, r10",
        "beq 5f",
        "b 3b",
        "5:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{parts}]",
        "lsls r1, r1, #30",
        "bpl 6f",
        "ldr r1, [r0, #{kept}]",
        "lsls r2, r3, #4",
        "adds r1, r1, r2",
        "mov r2, r8",
        "mov r3, r9",
        "stm r1!, {{r2, r3, r6, r7}}",
        "b 9f",
        // All are negative so far.
        "6:",
        "lsls r1, r6, #16",
        "mov r2, r8",
        "subs r1, r1, r2",
        "mov r8, r1",
        "lsls r1, r7, #16",
        "mov r2, r9",
        "subs r1, r1, r2",
        "mov r10, r1",
        "rsbs r6, r6, #0",
        "mov r9, r6",
        "rsbs r7, r7, #0",
        "mov r11, r7",
        // The channel's multiplier.
        "lsls r2, r3, #2",
        "ldr r1, [r0, #{mantissas}]",
        "ldr r4, [r1, r2]",
        "sxth r5, r4",
        "subs r4, r4, r5",
        "lsrs r4, r4, #16", // up to 2¹⁵
        "ldr r1, [r0, #{shifts}]",
        "ldrsb r7, [r1, r3]",
        "rsbs r7, r7, #0",
        "movs r1, #0",
        "mvns r1, r1",
        "lsrs r2, r1, #1",
        "mov r12, r2",
        "ldr r6, [r0, #{last}]",
        "ldr r2, [r0, #{table}]",
        "cmp r2, #0",
        "beq 6f",
        "b 7f",
        // The zero point goes through the shift.
        "6:",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "ldr r1, [r0, #{stride}]",
        "mov lr, r1",
        "ldr r1, [r0, #{output}]",
        "adds r3, r3, r1",
        store!("r8"),
        store!("r9"),
        store!("r10"),
        store!("r11"),
        "b 9f",
        // A join: what the table has for the shortcut.
        "7:",
        "str r6, [sp, #32]",
        "ldr r6, [r0, #{shortcut_stride}]",
        "ldr r1, [r0, #{shortcut}]",
        "adds r1, r1, r3",
        "movs r3, #0",
        ".irp at, 0, 4, 8, 12",
        "ldrsb r0, [r1, r3]",
        "lsls r0, r0, #2",
        "ldr r0, [r2, r0]",
        "str r0, [sp, #16 + \\at]",
        "adds r1, r1, r6",
        ".endr",
        "movs r6, #1",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "cmp r7, #0",
        "bgt 8f",
        // A factor of a half or more: with a join's extra bits the usual one. Then there is no
        // shift, and what is added is nothing, as the carry always comes.
        "rsbs r7, r7, #0",
        ".irp acc, r8, r9, r10, r11",
        "mov r1, \\acc",
        "lsls r1, r7",
        "mov \\acc, r1",
        ".endr",
        "movs r7, #0",
        "mvns r6, r7",
        "mov r12, r6",
        "8:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{stride}]",
        "mov lr, r1",
        "ldr r1, [r0, #{output}]",
        "adds r3, r3, r1",
        join!("r8", "0"),
        join!("r9", "4"),
        join!("r10", "8"),
        join!("r11", "12"),
        "9:",
        "ldr r0, [sp]",
        "ldr r3, [sp, #12]",
        "ldr r1, [r0, #{weights}]",
        "adds r3, #1",
        "adds r1, #1",
        "lsls r2, r3, #29",
        "bne 1f",
        "ldr r2, [r0, #{skip}]",
        "adds r1, r1, r2",
        "1:",
        "str r1, [r0, #{weights}]",
        "ldr r2, [r0, #{channels}]",
        "cmp r3, r2",
        "beq 1f",
        "b 2b",
        "1:",
        "add sp, #36",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
        patch = const offset_of!(Args, patch),
        pairs = const offset_of!(Args, pairs),
        parts = const offset_of!(Args, parts),
        bias = const offset_of!(Args, bias),
        kept = const offset_of!(Args, kept),
        weights = const offset_of!(Args, weights),
        mantissas = const offset_of!(Args, mantissas),
        shifts = const offset_of!(Args, shifts),
        last = const offset_of!(Args, last),
        table = const offset_of!(Args, table),
        stride = const offset_of!(Args, stride),
        output = const offset_of!(Args, output),
        shortcut_stride = const offset_of!(Args, shortcut_stride),
        shortcut = const offset_of!(Args, shortcut),
        skip = const offset_of!(Args, skip),
        channels = const offset_of!(Args, channels),
    )
}

/// 37 instructions an element, and 3 where it saturates.
///
/// ```text
/// r0 r1 r2 values   r3 elements left, below zero   r4 … r7 r12 as `requantize` says
/// r8 r9 r10 where input, shortcut and output end   r11 lr  middles of the tables
/// ```
///
/// # Safety
///
/// [`AddArgs::of`] made the arguments; input and output are theirs, and were not used since.
#[unsafe(naked)]
unsafe extern "C" fn add_bytes(input: *const i8, output: *mut i8, args: &AddArgs) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "ldr r3, [r2, #{length}]",
        "adds r0, r0, r3",
        "adds r1, r1, r3",
        "mov r8, r0",
        "mov r10, r1",
        "ldr r0, [r2, #{shortcut}]",
        "adds r0, r0, r3",
        "mov r9, r0",
        "rsbs r3, r3, #0",
        "ldr r0, [r2, #{mine}]",
        "mov r11, r0",
        "ldr r0, [r2, #{theirs}]",
        "mov lr, r0",
        "ldr r4, [r2, #{mantissa}]",
        "sxth r5, r4",
        "subs r4, r4, r5",
        "lsrs r4, r4, #16", // up to 2¹⁵
        "ldr r6, [r2, #{before}]",
        "subs r6, #1",
        "ldr r7, [r2, #{right}]",
        "movs r0, #0",
        "mvns r0, r0",
        "lsrs r0, r0, #1",
        "mov r12, r0",
        "2:",
        "mov r1, r8",
        "ldrsb r0, [r1, r3]",
        "lsls r0, r0, #2",
        "add r0, r11",
        "ldr r0, [r0]",
        "mov r2, r9",
        "ldrsb r1, [r2, r3]",
        "lsls r1, r1, #2",
        "add r1, lr",
        "ldr r1, [r1]",
        "adds r0, r0, r1",
        requantize!(),
        saturate!(),
        "mov r2, r10",
        "strb r1, [r2, r3]",
        "adds r3, #1",
        "bne 2b",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
        length = const offset_of!(AddArgs, length),
        shortcut = const offset_of!(AddArgs, shortcut),
        mine = const offset_of!(AddArgs, mine),
        theirs = const offset_of!(AddArgs, theirs),
        mantissa = const offset_of!(AddArgs, mantissa),
        before = const offset_of!(AddArgs, before),
        right = const offset_of!(AddArgs, right),
    )
}

/// Bᵀ · `r0` … `r5`, in place.
macro_rules! under_tile {
    () => {
        "subs r6, r4, r2
         subs r7, r3, r1
         subs r0, r0, r2
         lsls r0, r0, #2
         adds r0, r0, r6
         lsls r2, r2, #2
         subs r2, r4, r2
         subs r5, r5, r3
         lsls r1, r1, #2
         subs r1, r3, r1
         lsls r7, r7, #1
         adds r3, r6, r7
         subs r4, r6, r7
         lsls r7, r7, #1
         subs r5, r5, r7
         subs r2, r2, r1
         lsls r1, r1, #1
         adds r1, r1, r2"
    };
}

/// Bᵀ · a row of six values of two channels, `$from` bytes behind `r8`, to `$to` bytes behind `r9`.
macro_rules! row {
    ($from:literal, $to:literal) => {
        concat!(
            "mov r7, r8\n",
            $from,
            "ldr r0, [r7]
            ldr r1, [r7, #24]
            ldr r2, [r7, #48]
            ldr r3, [r7, #72]
            ldr r4, [r7, #96]
            ldr r5, [r7, #120]
            ",
            under_tile!(),
            "
            mov r6, r12
            mov r7, r9
            adds r7, #",
            $to,
            "
            .irp value, r0, r1, r2, r3, r4, r5
            adds \\value, \\value, r6
            eors \\value, r6
            str \\value, [r7]
            add r7, r10
            .endr
            "
        )
    };
}

/// Two channels go through the transform in one register, as its low and its high half: it is
/// linear, so the high one only borrows where the low one is below zero, and that is made good when
/// they are stored. Bytes come as 128 more, unsigned, which cancels at all positions but the second:
/// there, a column at a time, it makes -6 · 128.
///
/// ```text
/// columns:  r5 pixels   r6 0x00ff00ff   r7 0x80808080   then r0 … r5 two channels each of six rows
///           r8 stack   r9 6 · 128, twice   r10 bytes of a row of pixels   r11 r12 as r6 and r7
/// rows:     r0 … r5 two channels each of six columns   r8 stack   r9 values   r10 bytes of a position
///           r11 of six   r12 0x8000
/// [sp] a column of two of four channels, and of the others
/// [sp, 48] columns that are transformed, six rows each: ten of two channels, then of the others
/// [sp, 528] pixels   values   inputs   where pixels end   pixels of the column
/// ```
///
/// # Safety
///
/// `inputs` is a multiple of four, and not zero. Six rows of ten columns of so many bytes can be
/// read at `pixels`, a multiple of four; at each position values for each two inputs be written.
#[unsafe(naked)]
unsafe extern "C" fn transform_tiles(pixels: *const i8, values: *mut Values, inputs: usize) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "sub sp, #500",
        "sub sp, #48",
        "adds r3, r0, r2",
        "add r4, sp, #528",
        "stm r4!, {{r0-r3}}",
        // The next four channels.
        "2:",
        "movs r6, #0x80",
        "lsls r1, r6, #8",
        "adds r6, r6, r1",
        "lsls r1, r6, #16",
        "adds r6, r6, r1",
        "mov r12, r6",
        "movs r6, #0xff",
        "lsls r1, r6, #16",
        "adds r6, r6, r1",
        "mov r11, r6",
        "movs r6, #3",
        "lsls r6, r6, #8",
        "lsls r1, r6, #16",
        "adds r6, r6, r1",
        "mov r9, r6",
        "ldr r1, [sp, #536]",
        "movs r6, #10",
        "muls r1, r6, r1",
        "mov r10, r1",
        "add r6, sp, #48",
        "mov r8, r6",
        "ldr r5, [sp, #528]",
        "str r5, [sp, #544]",
        // The next column.
        "3:",
        "mov r6, r11",
        "mov r7, r12",
        ".irp at, 0, 4, 8, 12, 16, 20",
        "ldr r0, [r5]",
        "add r5, r10",
        "eors r0, r7",
        "lsrs r1, r0, #8",
        "ands r0, r6",
        "ands r1, r6",
        "str r0, [sp, #\\at]",
        "str r1, [sp, #24 + \\at]",
        ".endr",
        "mov r0, sp",
        "ldm r0, {{r0-r5}}",
        under_tile!(),
        "add r1, r9",
        "mov r7, r8",
        "stm r7!, {{r0-r5}}",
        "add r0, sp, #24",
        "ldm r0, {{r0-r5}}",
        under_tile!(),
        "add r1, r9",
        "mov r7, r8",
        "adds r7, #240",
        "stm r7!, {{r0-r5}}",
        "subs r7, #240",
        "mov r8, r7",
        "ldr r5, [sp, #544]",
        "ldr r0, [sp, #536]",
        "adds r5, r5, r0",
        "str r5, [sp, #544]",
        "add r0, sp, #288",
        "cmp r7, r0",
        "beq 4f",
        "b 3b",
        "4:",
        "ldr r1, [sp, #532]",
        "mov r9, r1",
        "ldr r1, [sp, #536]",
        "lsls r1, r1, #2",
        "mov r10, r1",
        "movs r0, #6",
        "muls r1, r0, r1",
        "mov r11, r1",
        "movs r0, #0x80",
        "lsls r0, r0, #8",
        "mov r12, r0",
        "add r0, sp, #48",
        "mov r8, r0",
        // The next row.
        "5:",
        row!("", "0"),
        row!("adds r7, #96\n", "4"),
        row!("adds r7, #240\n", "8"),
        row!("adds r7, #240\n adds r7, #96\n", "12"),
        "add r9, r11",
        "mov r0, r8",
        "adds r0, #4",
        "mov r8, r0",
        "add r1, sp, #72",
        "cmp r0, r1",
        "beq 6f",
        "b 5b",
        "6:",
        "ldr r1, [sp, #532]",
        "adds r1, #16",
        "str r1, [sp, #532]",
        "ldr r0, [sp, #528]",
        "adds r0, #4",
        "str r0, [sp, #528]",
        "ldr r1, [sp, #540]",
        "cmp r0, r1",
        "beq 7f",
        "b 2b",
        "7:",
        "add sp, #500",
        "add sp, #48",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
    )
}

/// Adds the products of two int16 in `r6` and `r7` with those of two of four channels.
macro_rules! two_channels {
    ($a:literal $b:literal) => {
        concat!(
            "ldm r1!, {{r4, r5}}
            sxth r3, r4
            muls r3, r6, r3
            asrs r4, r4, #16
            muls r4, r7, r4
            add ",
            $a,
            ", r3
            add ",
            $a,
            ", r4
            sxth r3, r5
            muls r3, r6, r3
            asrs r5, r5, #16
            muls r5, r7, r5
            add ",
            $b,
            ", r3
            add ",
            $b,
            ", r5
            "
        )
    };
}

/// All channels at a position, of the tile whose values are `$tile` bytes behind the first's.
macro_rules! position {
    ($tile:literal) => {
        concat!(
            "movs r3, #0
            mov r8, r3
            mov r9, r3
            mov r10, r3
            mov r11, r3
            3:
            ldr r7, [r0, #",
            $tile,
            "]
            sxth r6, r7
            asrs r7, r7, #16
            ",
            two_channels!("r8" "r9"),
            two_channels!("r10" "r11"),
            "ldr r7, [r0, #8 + ",
            $tile,
            "]
            adds r0, #16
            sxth r6, r7
            asrs r7, r7, #16
            ",
            two_channels!("r8" "r9"),
            two_channels!("r10" "r11"),
            "cmp r1, r12
            bne 3b
            mov r3, r8
            str r3, [r2, #",
            $tile,
            "]
            mov r3, r9
            str r3, [r2, #8 + ",
            $tile,
            "]
            mov r3, r10
            str r3, [r2, #16 + ",
            $tile,
            "]
            mov r3, r11
            str r3, [r2, #24 + ",
            $tile,
            "]
            "
        )
    };
}

/// ```text
/// r0 values   r1 weights   r2 sums   r3 r4 r5 weights, products   r6 r7 values of two channels
/// r8 … r11 sums   r12 where the weights of this position end
/// [sp] bytes of a position's weights   [sp, 4] where sums end
/// ```
///
/// # Safety
///
/// `pairs` is even, and not zero. At each of 36 positions there are so many values and weights.
#[unsafe(naked)]
unsafe extern "C" fn multiply_tiles(
    values: *const Values,
    weights: *const Weights,
    pairs: usize,
    sums: *mut Sums,
) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "sub sp, #8",
        "lsls r4, r2, #4",
        "str r4, [sp]",
        "movs r5, #36",
        "lsls r5, r5, #5",
        "adds r5, r5, r3",
        "str r5, [sp, #4]",
        "mov r2, r3",
        // The next position.
        "2:",
        "ldr r4, [sp]",
        "adds r4, r4, r1",
        "mov r12, r4",
        position!("0"),
        // The other tile.
        "ldr r4, [sp]",
        "subs r1, r1, r4",
        "lsrs r4, r4, #1",
        "subs r0, r0, r4",
        position!("4"),
        "adds r2, #32",
        "ldr r3, [sp, #4]",
        "cmp r2, r3",
        "beq 4f",
        "b 2b",
        "4:",
        "add sp, #8",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
    )
}

/// Aᵀ · `r1` … `r6`. Comes out in `r1`, `r5`, `r3`, `r4`.
macro_rules! of_six {
    () => {
        "adds r7, r2, r3
         subs r2, r2, r3
         adds r3, r4, r5
         subs r4, r4, r5
         lsls r7, r7, #2
         lsls r2, r2, #2
         lsls r4, r4, #1
         lsls r0, r1, #1
         adds r1, r1, r0
         lsls r1, r1, #1
         adds r1, r1, r3
         subs r1, r1, r7
         subs r5, r4, r2
         lsls r3, r3, #2
         subs r3, r3, r7
         lsls r4, r4, #2
         subs r4, r4, r2
         lsls r0, r6, #1
         adds r6, r6, r0
         lsls r6, r6, #3
         adds r4, r4, r6"
    };
}

/// Makes an output of a sum, and writes it into row `$row / 4`.
macro_rules! store_row {
    ($acc:literal, $row:literal) => {
        concat!(
            "mov r0, ",
            $acc,
            "\n",
            requantize!(),
            saturate!(),
            "ldr r2, [sp, #116 + ",
            $row,
            "]
            strb r1, [r2, r3]
            "
        )
    };
}

/// The same behind a join.
macro_rules! join_row {
    ($acc:literal, $row:literal) => {
        concat!(
            "mov r0, ",
            $acc,
            "\n",
            requantize!(),
            "ldr r1, [sp, #132 + ",
            $row,
            "]
            ldrsb r1, [r1, r3]
            lsls r1, r1, #2
            ldr r2, [sp, #148]
            ldr r1, [r2, r1]
            adds r0, r0, r1
            ldr r1, [sp, #152]
            asrs r0, r1
            ",
            saturate!(),
            "ldr r2, [sp, #116 + ",
            $row,
            "]
            strb r1, [r2, r3]
            "
        )
    };
}

consecutive!(winograd::Args: outputs [4] shortcuts [4] stride);

/// ```text
/// r1 … r6 sums   r0 r7 values   r8 sums   r1 r5 r3 r4  outputs of four rows
/// then: r8 … r11 outputs   r4 … r7 r12 as `requantize` says   r0 r1 r2 values
/// r3 lr  from a row's first output to this one
/// [sp] Aᵀ · sums, of each of four columns six rows   [sp, 96] r4 … r7
/// [sp, 112] 64 times the bias   outputs, a row each   their shortcuts   table   zero_point, or bits
/// [sp, 156] shift to the left   channel   tiles left   arguments   sums   NINTH   the next column
/// ```
///
/// # Safety
///
/// The pointers are good for what the numbers beside them say: see
/// [`finish_by`](winograd::finish_by). Words are aligned.
#[unsafe(naked)]
unsafe extern "C" fn finish_tiles(args: &mut winograd::Args, sums: &Sums, ninth: i32) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "sub sp, #184",
        "str r0, [sp, #168]",
        "str r1, [sp, #172]",
        "str r2, [sp, #176]",
        "ldm r0!, {{r2-r5}}",
        "add r6, sp, #116",
        "stm r6!, {{r2-r5}}",
        "ldm r0!, {{r2-r5}}",
        "stm r6!, {{r2-r5}}",
        "ldr r2, [r0, #{table} - {stride}]",
        "ldr r3, [r0, #{last} - {stride}]",
        "movs r4, #0",
        "movs r5, #0",
        "stm r6!, {{r2-r5}}",
        // The next channel.
        "2:",
        "ldr r0, [sp, #168]",
        "ldr r3, [sp, #160]",
        "mov lr, r3",
        "lsls r2, r3, #2",
        "ldr r1, [r0, #{bias}]",
        "ldr r1, [r1, r2]",
        "lsls r1, r1, #6",
        "str r1, [sp, #112]",
        "ldr r1, [r0, #{mantissas}]",
        "ldr r4, [r1, r2]",
        "sxth r5, r4",
        "subs r4, r4, r5",
        "lsrs r4, r4, #16", // up to 2¹⁵
        "ldr r1, [r0, #{shifts}]",
        "ldrsb r7, [r1, r3]",
        "rsbs r7, r7, #0",
        "movs r1, #0",
        "mvns r1, r1",
        "lsrs r1, r1, #1",
        "mov r12, r1",
        // The zero point goes through the shift. A join adds its own behind it.
        "ldr r1, [sp, #148]",
        "ldr r6, [sp, #152]",
        "lsls r6, r6, #1",
        "cmp r1, #0",
        "beq 1f",
        "movs r6, #0",
        "1:",
        "adds r6, #1",
        "lsls r6, r7",
        "asrs r6, r6, #1",
        "subs r6, #1",
        "movs r1, #0",
        "cmp r7, #0",
        "bgt 1f",
        // A factor of a half or more: no shift to the right, and the carry always comes.
        "rsbs r1, r7, #0",
        "movs r7, #0",
        "mvns r6, r7",
        "mov r12, r6",
        "1:",
        "str r1, [sp, #156]",
        "add r1, sp, #96",
        "stm r1!, {{r4-r7}}",
        "ldr r1, [r0, #{tiles}]",
        "str r1, [sp, #164]",
        // The next tile.
        "4:",
        "ldr r7, [sp, #172]",
        "mov r8, r7",
        ".irp at, 0, 4, 8, 12, 16, 20",
        "mov r7, r8",
        "ldr r1, [r7]",
        "ldr r2, [r7, #32]",
        "ldr r3, [r7, #64]",
        "ldr r4, [r7, #96]",
        "adds r7, #128",
        "ldr r5, [r7]",
        "ldr r6, [r7, #32]",
        "adds r7, #64",
        "mov r8, r7",
        of_six!(),
        "str r1, [sp, #\\at]",
        "str r5, [sp, #24 + \\at]",
        "str r3, [sp, #48 + \\at]",
        "str r4, [sp, #72 + \\at]",
        ".endr",
        "mov r0, sp",
        "str r0, [sp, #180]",
        // The next column.
        "5:",
        "ldr r0, [sp, #180]",
        "ldm r0!, {{r1-r6}}",
        "str r0, [sp, #180]",
        of_six!(),
        "ldr r0, [sp, #176]",
        "ldr r2, [sp, #112]",
        "ldr r6, [sp, #156]",
        ".irp acc, r1, r5, r3, r4",
        "muls \\acc, r0, \\acc",
        "adds \\acc, \\acc, r2",
        "asrs \\acc, \\acc, #6",
        "lsls \\acc, r6",
        ".endr",
        "mov r8, r1",
        "mov r9, r5",
        "mov r10, r3",
        "mov r11, r4",
        "mov r3, lr",
        "add r4, sp, #96",
        "ldm r4, {{r4-r7}}",
        "ldr r0, [sp, #148]",
        "cmp r0, #0",
        "beq 6f",
        "b 7f",
        "6:",
        store_row!("r8", "0"),
        store_row!("r9", "4"),
        store_row!("r10", "8"),
        store_row!("r11", "12"),
        "b 9f",
        // A join.
        "7:",
        join_row!("r8", "0"),
        join_row!("r9", "4"),
        join_row!("r10", "8"),
        join_row!("r11", "12"),
        "9:",
        "ldr r0, [sp, #168]",
        "ldr r1, [r0, #{stride}]",
        "add lr, r1",
        "ldr r1, [sp, #180]",
        "add r2, sp, #96",
        "cmp r1, r2",
        "beq 1f",
        "b 5b",
        "1:",
        "ldr r7, [sp, #172]",
        "adds r7, #4",
        "str r7, [sp, #172]",
        "ldr r1, [sp, #164]",
        "subs r1, #1",
        "str r1, [sp, #164]",
        "beq 1f",
        "b 4b",
        // Back to the first tile, one channel on.
        "1:",
        "ldr r1, [r0, #{tiles}]",
        "lsls r1, r1, #2",
        "subs r7, r7, r1",
        "adds r7, #8",
        "str r7, [sp, #172]",
        "ldr r3, [sp, #160]",
        "adds r3, #1",
        "str r3, [sp, #160]",
        "ldr r1, [r0, #{channels}]",
        "cmp r3, r1",
        "beq 1f",
        "b 2b",
        "1:",
        "add sp, #184",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
        table = const offset_of!(winograd::Args, table),
        stride = const offset_of!(winograd::Args, stride),
        last = const offset_of!(winograd::Args, last),
        bias = const offset_of!(winograd::Args, bias),
        mantissas = const offset_of!(winograd::Args, mantissas),
        shifts = const offset_of!(winograd::Args, shifts),
        tiles = const offset_of!(winograd::Args, tiles),
        channels = const offset_of!(winograd::Args, channels),
    )
}
