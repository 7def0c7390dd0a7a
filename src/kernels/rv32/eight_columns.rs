//! Convolutions with eight columns in five words: the assembly.
//!
//! The values *a* … *h* of eight columns at a tap are multiplied by a weight as five words:
//!
//! ```text
//! a + 2²⁰ c     b + 2²⁰ d     e + 2¹² g     f + 2¹² h     g + 2⁸ h + 2⁴ d + 2¹² c
//! ```
//!
//! Words are sums modulo 2³². They determine the eight sums if each of these fits into 20 bits: the
//! low 20 bits of the first four words are *a*, *b*, *e* and *f*, the bits above are 12 bits of the
//! others, and the last word has the remaining eight bits of each. The sum of [`TAPS`] products of
//! int8 and a weight of at least −127 is at most 32 · 127 · 128, and 2¹⁹ is larger.

use core::arch::naked_asm;
use core::mem::offset_of;

use zerocopy::little_endian::I32;

use super::conv::{stream16, to_stream16};
use super::{clamp, join, requantize_left, requantize_right};
use crate::kernels::shared::assembly::if_stream16;

/// Number of columns.
pub(super) const COLUMNS: usize = 8;
/// Largest number of weights of a channel that are multiplied before the words are decoded.
pub(super) const TAPS: usize = 32;

/// The values of the columns at a tap.
pub(super) type Words = [u32; 5];

/// The sums of a channel.
pub(super) type Sums = [i32; COLUMNS];

/// The arguments of [`multiply`].
///
/// The assembly relies on the comment of each field. It advances `weights` and `sums`.
#[repr(C)]
pub(super) struct Products {
    /// `taps` words can be read.
    pub(super) patch: *const Words,
    /// `taps` times eight bytes can be read, and once more for each further eight channels, `next`
    /// bytes after those of the eight before.
    pub(super) weights: *const i8,
    /// Even, at least two, at most [`TAPS`].
    pub(super) taps: usize,
    /// Sums of all channels up to `end` can be read and written. They are a multiple of four
    /// channels, at least four.
    pub(super) sums: *mut Sums,
    pub(super) end: *mut Sums,
    pub(super) next: usize,
}

/// The arguments of [`finish`].
#[repr(C)]
pub(super) struct Outputs {
    /// Sums of all channels up to `end`, at least one.
    pub(super) sums: *const Sums,
    pub(super) end: *const Sums,
    /// Aligned to words, one for each channel. The same holds for `shifts`, with a byte for each.
    pub(super) mantissas: *const I32,
    pub(super) shifts: *const i8,
    /// A byte for each channel can be written at each of eight columns, `stride` bytes apart.
    pub(super) output: *mut i8,
    pub(super) stride: usize,
    /// The fields from here on are those of the four columns' arguments.
    pub(super) last: i32,
    pub(super) table: *const I32,
    pub(super) shortcut: *const i8,
    pub(super) shortcut_stride: usize,
    pub(super) factor: i32,
    pub(super) lower: usize,
    pub(super) shortcut_lower: usize,
}

/// Writes the values of eight columns into a patch. They begin at `columns`, or, if these are
/// missing, `step` bytes apart from `first` on.
///
/// ```text
/// a2 patch   a3 pairs left   a0 a5 a6 a7 t4 t5 t6 a1  columns a … h
/// t0 a value   t1 a word   t2 the last word   t3 a part of a word
/// ```
///
/// # Safety
///
/// `pairs` is not zero. `2 * pairs` bytes can be read at each of the columns. `patch` has room for
/// the words of `2 * pairs` taps.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn widen(
    first: *const i8,
    step: usize,
    patch: *mut Words,
    pairs: usize,
    columns: Option<&[*const i8; COLUMNS]>,
) {
    naked_asm!(
        ".macro tap at",
        "lb t0, \\at(a6)", // c
        "lb t1, \\at(a0)", // a
        "slli t3, t0, 20",
        "slli t2, t0, 12",
        "add t1, t1, t3",
        "lb t0, \\at(a7)", // d
        "sw t1, 20 * \\at(a2)",
        "lb t1, \\at(a5)", // b
        "slli t3, t0, 20",
        "slli t0, t0, 4",
        "add t1, t1, t3",
        "add t2, t2, t0",
        "lb t0, \\at(t6)", // g
        "sw t1, 20 * \\at + 4(a2)",
        "lb t1, \\at(t4)", // e
        "slli t3, t0, 12",
        "add t2, t2, t0",
        "add t1, t1, t3",
        "lb t0, \\at(a1)", // h
        "sw t1, 20 * \\at + 8(a2)",
        "lb t1, \\at(t5)", // f
        "slli t3, t0, 12",
        "slli t0, t0, 8",
        "add t1, t1, t3",
        "add t2, t2, t0",
        "sw t1, 20 * \\at + 12(a2)",
        "sw t2, 20 * \\at + 16(a2)",
        ".endm",
        "beqz a4, 5f",
        "lw a0, 0(a4)",
        "lw a5, 4(a4)",
        "lw a6, 8(a4)",
        "lw a7, 12(a4)",
        "lw t4, 16(a4)",
        "lw t5, 20(a4)",
        "lw t6, 24(a4)",
        "lw a1, 28(a4)",
        // A round is two pairs. One that is left over is the second of the first round.
        "6:",
        "andi t0, a3, 1",
        "beqz t0, 2f",
        "addi a3, a3, 1",
        "addi a2, a2, -40",
        ".irp column, a0, a5, a6, a7, t4, t5, t6, a1",
        "addi \\column, \\column, -2",
        ".endr",
        "j 3f",
        "2:",
        "tap 0",
        "tap 1",
        "3:",
        "tap 2",
        "tap 3",
        ".irp column, a0, a5, a6, a7, t4, t5, t6, a1",
        "addi \\column, \\column, 4",
        ".endr",
        "addi a2, a2, 80",
        "addi a3, a3, -2",
        "bnez a3, 2b",
        "ret",
        "5:",
        "add a5, a0, a1",
        "add a6, a5, a1",
        "add a7, a6, a1",
        "add t4, a7, a1",
        "add t5, t4, a1",
        "add t6, t5, a1",
        "add a1, t6, a1",
        "j 6b",
        ".purgem tap",
    )
}

/// Sets the sums of each channel to its bias.
///
/// ```text
/// a0 biases   a1 where they end   a2 sums   a3 a bias
/// ```
///
/// # Safety
///
/// Between `bias` and `end` is at least one bias, aligned to words. Sums of as many channels can be
/// written.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn begin(bias: *const I32, end: *const I32, sums: *mut Sums) {
    naked_asm!(
        "2:",
        "lw a3, 0(a0)",
        "addi a0, a0, 4",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7",
        "sw a3, 4 * \\at(a2)",
        ".endr",
        "addi a2, a2, 32",
        "bne a0, a1, 2b",
        "ret",
    )
}

/// Four channels at a time.
///
/// ```text
/// a1 weights   a2 patch   a5 a word of values   t3 … t6 weights   a0 a product
/// s0 … s4   s5 … s9   s10 s11 a3 a4 a6   a7 ra t0 t1 t2  words of each of four channels
/// afterwards:  a2 sums   a0 a5 a column's sum   t3 the sum before
/// [sp] what was saved   [sp, 52] arguments   [sp, 56] where the patch ends   [sp, 60] channels done
/// ```
///
/// # Safety
///
/// Each field of the arguments is as [`Products`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn multiply(args: &mut Products) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        // Adds the products of a word of values with the weights of four channels, and loads the
        // next word.
        ".macro word a, b, c, d, next",
        "mul a0, a5, t3",
        "add \\a, \\a, a0",
        "mul a0, a5, t4",
        "add \\b, \\b, a0",
        "mul a0, a5, t5",
        "add \\c, \\c, a0",
        "mul a0, a5, t6",
        ".ifnb \\next",
        "lw a5, \\next(a2)",
        ".endif",
        "add \\d, \\d, a0",
        ".endm",
        ".macro tap at",
        "lb t3, 8 * \\at(a1)",
        "lw a5, 20 * \\at(a2)",
        "lb t4, 8 * \\at + 1(a1)",
        "lb t5, 8 * \\at + 2(a1)",
        "lb t6, 8 * \\at + 3(a1)",
        "word s0, s5, s10, a7, 20 * \\at + 4",
        "word s1, s6, s11, ra, 20 * \\at + 8",
        "word s2, s7, a3, t0, 20 * \\at + 12",
        "word s3, s8, a4, t1, 20 * \\at + 16",
        "word s4, s9, a6, t2",
        ".endm",
        // Adds the sum of a column to that of the chunks before.
        ".macro column sum, at",
        "lw t3, \\at(a2)",
        "add t3, t3, \\sum",
        "sw t3, \\at(a2)",
        ".endm",
        // The sums of a channel from its words: `at` bytes after the first of the four channels.
        ".macro sums v, w, x, y, z, at",
        "slli a0, \\v, 12",
        "srai a0, a0, 12", // a
        "sub \\v, \\v, a0", // the low 12 bits of c, at bit 20
        "column a0, \\at",
        "slli a0, \\w, 12",
        "srai a0, a0, 12", // b
        "sub \\w, \\w, a0", // the low 12 bits of d, at bit 20
        "column a0, 4 + \\at",
        "srli a0, \\v, 8",
        "sub \\z, \\z, a0",
        "srli a0, \\w, 16",
        "sub \\z, \\z, a0", // g, h at bit 8, the high bits of d at bit 16 and of c at bit 24
        "slli a0, \\z, 24", // the low eight bits of g, at bit 24
        "srli a5, a0, 12",
        "sub \\x, \\x, a5",
        "srli a0, a0, 24",
        "slli a5, \\x, 12",
        "srai a5, a5, 12", // e
        "sub \\x, \\x, a5",
        "column a5, 16 + \\at",
        "srai \\x, \\x, 12",
        "add \\x, \\x, a0", // g
        "sub \\z, \\z, \\x",
        "column \\x, 24 + \\at",
        "slli a0, \\z, 16", // the low eight bits of h, at bit 24
        "srli a5, a0, 12",
        "sub \\y, \\y, a5",
        "srli a0, a0, 24",
        "slli a5, \\y, 12",
        "srai a5, a5, 12", // f
        "sub \\y, \\y, a5",
        "column a5, 20 + \\at",
        "srai \\y, \\y, 12",
        "add \\y, \\y, a0", // h
        "slli a0, \\y, 8",
        "sub \\z, \\z, a0",
        "column \\y, 28 + \\at",
        "slli a0, \\z, 8",
        "srai a0, a0, 24", // the high bits of d
        "slli a5, a0, 16",
        "sub \\z, \\z, a5", // the high bits of c, at bit 24
        "slli a0, a0, 12",
        "srli \\w, \\w, 20",
        "add \\w, \\w, a0", // d
        "column \\w, 12 + \\at",
        "srai \\z, \\z, 12",
        "srli \\v, \\v, 20",
        "add \\v, \\v, \\z", // c
        "column \\v, 8 + \\at",
        ".endm",
        "addi sp, sp, -64",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "sw ra, 48(sp)",
        "sw a0, 52(sp)",
        "lw a2, {patch}(a0)",
        "lw a3, {taps}(a0)",
        "slli a4, a3, 4",
        "slli a3, a3, 2",
        "add a3, a3, a4",
        "add a3, a3, a2",
        "sw a3, 56(sp)",
        "sw zero, 60(sp)",
        // The next four channels.
        "2:",
        "lw a1, {weights}(a0)",
        "lw a2, {patch}(a0)",
        "lw a5, {taps}(a0)",
        ".irp word, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, a3, a4, a6, a7, ra, t0, t1, t2",
        "li \\word, 0",
        ".endr",
        // A round is four taps. Two that are left over are the second half of the first round.
        "andi a5, a5, 2",
        "beqz a5, 3f",
        "addi a1, a1, -16",
        "addi a2, a2, -40",
        "j 4f",
        "3:",
        "tap 0",
        "tap 1",
        "4:",
        "tap 2",
        "tap 3",
        "lw a0, 56(sp)",
        "addi a2, a2, 80",
        "addi a1, a1, 32",
        "bne a2, a0, 3b",
        "lw a1, 52(sp)",
        "lw a2, {sums}(a1)",
        "sums s0, s1, s2, s3, s4, 0",
        "sums s5, s6, s7, s8, s9, 32",
        "sums s10, s11, a3, a4, a6, 64",
        "sums a7, ra, t0, t1, t2, 96",
        // On to the next channels.
        "mv a0, a1",
        "addi a2, a2, 128",
        "sw a2, {sums}(a0)",
        "lw a1, {weights}(a0)",
        "lw a3, 60(sp)",
        "lw a4, {end}(a0)",
        "addi a1, a1, 4",
        "xori a3, a3, 1",
        "sw a3, 60(sp)",
        "bnez a3, 5f",
        "lw a3, {next}(a0)",
        "addi a1, a1, -8",
        "add a1, a1, a3",
        "5:",
        "sw a1, {weights}(a0)",
        "bne a2, a4, 2b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "lw ra, 48(sp)",
        "addi sp, sp, 64",
        "ret",
        ".purgem word",
        ".purgem tap",
        ".purgem column",
        ".purgem sums",
        ".option pop",
        patch = const offset_of!(Products, patch),
        weights = const offset_of!(Products, weights),
        taps = const offset_of!(Products, taps),
        sums = const offset_of!(Products, sums),
        end = const offset_of!(Products, end),
        next = const offset_of!(Products, next),
    )
}

/// Four columns at a time, channel by channel.
///
/// ```text
/// a0 arguments   a3 sums   a4 where they end   s0 shifts   ra mantissas   s1 output   s2 its stride
/// s3 table, or null   s4 mantissa   s5 shift to the right, or to the left where s6 is zero
/// s6 what is added before it   s7 a join's bits   s8 shortcut   s9 s10 range   s11 its stride
/// t0 t4 t2 t3 four columns
/// [sp] what was saved   [sp, 52] where the sums of the channel end
/// ```
///
/// # Safety
///
/// Each field of the arguments is as [`Outputs`] specifies.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn finish(args: &Outputs) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        "addi sp, sp, -64",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "sw ra, 48(sp)",
        "lw a3, {sums}(a0)",
        "lw a4, {end}(a0)",
        "lw s0, {shifts}(a0)",
        "lw ra, {mantissas}(a0)",
        "lw s1, {output}(a0)",
        "lw s2, {stride}(a0)",
        "lw s3, {table}(a0)",
        "lw s7, {last}(a0)",
        "lw s8, {shortcut}(a0)",
        "lw s11, {shortcut_stride}(a0)",
        "li s9, -128",
        "li s10, 127",
        // The next channel.
        "2:",
        "lw s4, 0(ra)",
        "lb s5, 0(s0)",
        "addi ra, ra, 4",
        "addi s0, s0, 1",
        "addi t1, a3, 32",
        "sw t1, 52(sp)",
        "li s6, 0",
        "bgez s5, 4f",
        "neg s5, s5",
        "mv t1, s7", // the zero point is added before the shift
        "beqz s3, 3f",
        "li t1, 1",
        "3:",
        "sll s6, t1, s5",
        "srai s6, s6, 1",
        // The next four columns.
        "4:",
        "lw t0, 0(a3)",
        "lw t4, 4(a3)",
        "lw t2, 8(a3)",
        "lw t3, 12(a3)",
        ".irp acc, t0, t4, t2, t3",
        "slli \\acc, \\acc, 1",
        ".endr",
        "beqz s6, 5f",
        requantize_right!(),
        "6:",
        "bnez s3, 7f",
        "10:",
        clamp!(),
        "12:",
        ".irp acc, t0, t4, t2, t3",
        "sb \\acc, 0(s1)",
        "add s1, s1, s2",
        ".endr",
        "slli t1, s11, 2",
        "add s8, s8, t1",
        "lw t1, 52(sp)",
        "addi a3, a3, 16",
        "bne a3, t1, 4b",
        // Back to the first column, and on to the next channel.
        "slli t1, s2, 3",
        "sub s1, s1, t1",
        "slli t1, s11, 3",
        "sub s8, s8, t1",
        "addi s1, s1, 1",
        "addi s8, s8, 1",
        "bne a3, a4, 2b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "lw ra, 48(sp)",
        "addi sp, sp, 64",
        "ret",
        // A factor of one or more.
        "5:",
        requantize_left!(),
        "j 6b",
        // A join.
        "7:",
        to_stream16!(),
        join!(),
        "j 10b",
        stream16!(),
        ".option pop",
        sums = const offset_of!(Outputs, sums),
        end = const offset_of!(Outputs, end),
        mantissas = const offset_of!(Outputs, mantissas),
        shifts = const offset_of!(Outputs, shifts),
        output = const offset_of!(Outputs, output),
        stride = const offset_of!(Outputs, stride),
        last = const offset_of!(Outputs, last),
        table = const offset_of!(Outputs, table),
        shortcut = const offset_of!(Outputs, shortcut),
        shortcut_stride = const offset_of!(Outputs, shortcut_stride),
        factor = const offset_of!(Outputs, factor),
        lower = const offset_of!(Outputs, lower),
        shortcut_lower = const offset_of!(Outputs, shortcut_lower),
    )
}
