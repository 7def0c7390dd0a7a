//! Makes outputs from the sums of [eight rows](super::tall).

use core::arch::naked_asm;
use core::mem::offset_of;

use super::Finish;
use super::stream16::finish_stream16;
use super::tall::{CHANNEL, POSITION};
use crate::format::MAX_STEP_ROWS;

/// The arguments of the assembly that makes outputs from sums.
#[repr(C)]
pub(super) struct Tall {
    /// For the first channel, and for all rows.
    pub(super) finish: Finish,
    /// A pointer for each row at the first column and channel; null if there is no such row.
    pub(super) outputs: [*mut i8; MAX_STEP_ROWS],
    pub(super) shortcuts: [*const i8; MAX_STEP_ROWS],
    pub(super) shortcut_steps: [usize; MAX_STEP_ROWS],
    pub(super) columns: usize,
    /// The first channel, and the number of channels.
    pub(super) channel: usize,
    pub(super) channels: usize,
    /// The sums of the first channel. At each position, each column has a word for either row of
    /// tiles.
    pub(super) sums: *const i8,
}

impl Tall {
    /// Moves all pointers by a number of columns.
    pub(super) fn next(&mut self, columns: usize) {
        let rows = self.outputs.iter_mut().zip(&mut self.shortcuts).zip(&self.shortcut_steps);
        for ((output, shortcut), step) in rows.filter(|((output, _), _)| !output.is_null()) {
            *output = output.wrapping_add(columns * self.finish.output_step);
            *shortcut = shortcut.wrapping_add(columns * step);
        }
    }
}

/// The inverse of 3 modulo 2³².
pub(super) const THIRD: u32 = 0xaaaa_aaab;

/// Loads the sums at a position.
macro_rules! load {
    ($into:literal, $at:literal) => {
        concat!("addi t0, a1, ", $at, " * {position}\n", "vlse32.v ", $into, ", (t0), s3")
    };
}

/// Makes outputs of row `$row`, if there is such a row. `$before` sets v24 to `3 << $bits` times the
/// sum.
macro_rules! row {
    ($row:literal, $bits:literal, $($before:expr),+) => {
        concat!(
            "lw t2, {outputs} + 4 * ", $row, "(a4)\n",
            "beqz t2, 9f\n",
            $($before, "\n",)+
            "addi s5, a4, 4 * ", $row, "\n",
            "vmul.vx v24, v24, s1\n",
            "vsra.vi v24, v24, ", $bits, "\n",
            "jalr s2, s4\n",
            "9:"
        )
    };
}

/// The shift to the left, and the product. A shift to the right rounds halves away from zero: one is
/// subtracted from negative values before.
macro_rules! multiply {
    () => {
        "vsll.vx v24, v24, s0
         vsmul.vx v24, v24, a5
         vsra.vi v0, v24, 31
         vmacc.vx v24, a7, v0"
    };
}

/// Makes outputs from sums.
///
/// ```text
/// a0 arguments   a1 sums of a row of tiles   a2 channels left   a3 channel   a4 arguments of a row of
/// tiles   a5 mantissa   a6 shift to the right   a7 whether there is one
/// t0 table, addresses   t1 zero point, or extra bits   t2 output or shortcut   t3 from column to
/// column   t4 six   t5 t6 range
/// s0 shift to the left   s1 the inverse of three   s2 return address   s3 eight   s4 what finishes a
/// row of this channel   s5 arguments of a row   s6 four   s7 rows of tiles left   s8 what finishes a
/// row   s9 sums of the channel   s10 from column to column of the shortcut
/// v8 … v15 v16 … v23 sums of two positions, or differences   v24 … v31 outputs   v0 … v7
/// ```
///
/// # Safety
///
/// See [`conv`](super::tall::conv). There are at most 32 columns, which are as many lanes as eight
/// registers of 128 bits have.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn finish(tall: &mut Tall) {
    naked_asm!(
        ".option push",
        ".option arch, +m, +v",
        ".option norvc",
        "addi sp, sp, -48",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "sw s\\at, 4 * \\at(sp)",
        ".endr",
        "csrwi vxrm, 0", // halves are rounded up
        "lw t0, {columns}(a0)",
        "vsetvli zero, t0, e32, m8, ta, ma",
        "lw a2, {channels}(a0)",
        "lw a3, {channel}(a0)",
        "lw s9, {sums}(a0)",
        "lw t1, {last}(a0)",
        "lw t3, {output_step}(a0)",
        "lw t5, {min}(a0)",
        "lw t6, {max}(a0)",
        "li t4, 6",
        "li s1, {third}",
        "li s3, 8",
        "li s6, 4",
        "lw t0, {table}(a0)",
        "lla s8, 4f",
        "beqz t0, 1f",
        "lla s8, 6f",
        "andi t2, t0, 1",
        "bnez t2, 1f",
        "lla s8, 5f",
        // The next channel.
        "1:",
        "lw t2, {shifts}(a0)",
        "add t2, t2, a3",
        "lb s0, 0(t2)",
        "lw t2, {mantissas}(a0)",
        "slli t0, a3, 2",
        "add t2, t2, t0",
        "lw a5, 0(t2)",
        "srli a7, s0, 31",
        "srai t0, s0, 31",
        "neg a6, s0",
        "and a6, a6, t0",
        "add s0, s0, a6",
        // Without a shift to the left, its instruction is left out.
        "seqz s4, s0",
        "slli s4, s4, 2",
        "add s4, s4, s8",
        "mv a1, s9",
        "mv a4, a0",
        "li s7, 2",
        // The next row of tiles: its rows 2 and 0 from the sums of two positions, then its rows 1
        // and 3 from their differences.
        "2:",
        load!("v8", "1"),
        load!("v24", "2"),
        "vadd.vv v8, v8, v24",
        load!("v16", "3"),
        load!("v24", "4"),
        "vadd.vv v16, v16, v24",
        row!("2", "1", "vsub.vv v24, v16, v8"),
        row!(
            "0",
            "3",
            load!("v24", "0"),
            "vmul.vx v24, v24, t4",
            "vadd.vv v24, v24, v16",
            "vnmsac.vx v24, s6, v8"
        ),
        load!("v8", "1"),
        load!("v24", "2"),
        "vsub.vv v8, v8, v24",
        load!("v16", "3"),
        load!("v24", "4"),
        "vsub.vv v16, v16, v24",
        row!("1", "2", "vadd.vv v24, v8, v8", "vsub.vv v24, v16, v24"),
        row!(
            "3",
            "1",
            load!("v24", "5"),
            "vmul.vx v24, v24, t4",
            "vsub.vv v24, v24, v8",
            "vadd.vv v24, v24, v16",
            "vadd.vv v24, v24, v16"
        ),
        "addi a1, a1, 4",
        "addi a4, a4, 16",
        "addi s7, s7, -1",
        "lw t2, {outputs}(a4)",
        "beqz s7, 3f",
        "bnez t2, 2b",
        "3:",
        "li t0, {channel_sums}",
        "add s9, s9, t0",
        "addi a3, a3, 1",
        "addi a2, a2, -1",
        "bnez a2, 1b",
        ".irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "lw s\\at, 4 * \\at(sp)",
        ".endr",
        "addi sp, sp, 48",
        "ret",
        // Finishes a row. The second shift is that of `vnclip`, whose result has 16 bits; it is
        // saturated, but then it is out of range with any zero point.
        "4:",
        multiply!(),
        "vsetvli zero, zero, e16, m4, ta, ma",
        "vnclip.wx v24, v24, a6",
        "vsadd.vx v24, v24, t1",
        "7:",
        "vsetvli zero, zero, e8, m2, ta, ma",
        "vnclip.wi v24, v24, 0",
        "vmax.vx v24, v24, t5",
        "vmin.vx v24, v24, t6",
        "add t2, t2, a3",
        "vsse8.v v24, (t2), t3",
        "11:",
        "vsetvli zero, zero, e32, m8, ta, ma",
        "jr s2",
        // Finishes a row that is joined.
        "5:",
        multiply!(),
        "vssra.vx v24, v24, a6",
        "lw t0, {table}(a0)",
        "lw t2, {shortcuts}(s5)",
        "lw s10, {shortcut_steps}(s5)",
        "add t2, t2, a3",
        "vlse8.v v6, (t2), s10",
        "vsext.vf4 v0, v6",
        "vsll.vi v0, v0, 2",
        "vluxei32.v v0, (t0), v0",
        "vadd.vv v24, v24, v0",
        "vsra.vx v24, v24, t1",
        "vsetvli zero, zero, e16, m4, ta, ma",
        "vnclip.wi v24, v24, 0",
        "lw t2, {outputs}(s5)",
        "j 7b",
        // Finishes a row of a 16-bit stream. Operands that no other code uses must be named.
        "# {shortcut_step}",
        "6:",
        multiply!(),
        "vssra.vx v24, v24, a6",
        "lw t1, {last}(a0)",
        finish_stream16!(
            "v24";
            shortcut: "lw t2, {shortcuts}(s5)
                       add t2, t2, a3
                       lw t3, {shortcut_steps}(s5)
                       sw t3, {shortcut_step}(a0)",
            output: "lw t2, {outputs}(s5)
                     add t2, t2, a3",
            next: "",
            load: "vlse8.v", store: "vsse8.v", stride: ", t3"
        ),
        ".option pop",
        outputs = const offset_of!(Tall, outputs),
        shortcuts = const offset_of!(Tall, shortcuts),
        shortcut_steps = const offset_of!(Tall, shortcut_steps),
        columns = const offset_of!(Tall, columns),
        channel = const offset_of!(Tall, channel),
        channels = const offset_of!(Tall, channels),
        sums = const offset_of!(Tall, sums),
        mantissas = const offset_of!(Tall, finish) + offset_of!(Finish, mantissas),
        shifts = const offset_of!(Tall, finish) + offset_of!(Finish, shifts),
        table = const offset_of!(Tall, finish) + offset_of!(Finish, table),
        last = const offset_of!(Tall, finish) + offset_of!(Finish, last),
        min = const offset_of!(Tall, finish) + offset_of!(Finish, min),
        max = const offset_of!(Tall, finish) + offset_of!(Finish, max),
        output_step = const offset_of!(Tall, finish) + offset_of!(Finish, output_step),
        shortcut_step = const offset_of!(Tall, finish) + offset_of!(Finish, shortcut_step),
        factor = const offset_of!(Tall, finish) + offset_of!(Finish, factor),
        lower = const offset_of!(Tall, finish) + offset_of!(Finish, lower),
        shortcut_lower = const offset_of!(Tall, finish) + offset_of!(Finish, shortcut_lower),
        third = const THIRD,
        position = const POSITION,
        channel_sums = const CHANNEL,
    )
}
