//! Sums of products at four columns, for all channels of a group.
//!
//! The sums of four channels `a`, `b`, `c`, `d` at two of the columns are in registers, while the
//! loop runs over all values under the kernel. A vector of values takes eight `VMLADAVA`, of two
//! cycles each. Each is followed by one other instruction, mostly a load of what later products
//! need: six vectors, and where the next values are. Loads overlap with multiplications.
//!
//! Values are in units of one or three vectors. An entry for each unit has its addresses at the
//! four columns; two more say how to go on:
//!
//! ```text
//! columns 0 and 1                     columns 2 and 3
//! values      values                  values      values          for each unit
//! 0           -weights of abcd        0           0
//! entries + 8 –                       entries     –
//! ```
//!
//! After columns 0 and 1 the loop goes back to the same weights, and on to the entries of the
//! columns 2 and 3; after these to the next four channels, and back to the first entries.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::Args;

/// The products of a vector except for the first, and the loads of what the next vector needs.
/// Eight multiplications take 16 cycles, in which eight other instructions start: two of them,
/// `$early` and `$late`, are free.
macro_rules! rest {
    ($multiply:literal, $early:expr, $late:expr, $next:literal) => {
        concat!(
            $early,
            $multiply,
            " r8, q1, q4\n",
            "vldrb.u8 q5, [r9], #16\n",
            $multiply,
            " r2, q0, q5\n",
            "vldrb.u8 q6, [r9], #16\n",
            $multiply,
            " r10, q1, q5\n",
            "vldrb.u8 q7, [r9], #16\n",
            $multiply,
            " r4, q0, q6\n",
            $late,
            $multiply,
            " r12, q1, q6\n",
            "vldrb.u8 q4, [r9], #16\n",
            $multiply,
            " r6, q0, q7\n",
            "vldrb.u8 q0, [r1",
            $next,
            "]\n",
            $multiply,
            " lr, q1, q7\n",
            "vldrb.u8 q1, [r3",
            $next,
            "]\n",
        )
    };
}

/// The first product of a vector that is not the first of a kernel.
macro_rules! one {
    () => {
        "vmladava.s8 r0, q0, q4\n"
    };
}

/// Stores the sums of the channels before at the second column.
macro_rules! store {
    ("early") => {
        "strd r8, r10, [r5, #-16]\n"
    };
    ("late") => {
        "strd r12, lr, [r5, #-8]\n"
    };
}

/// Moves on to the values of the next unit.
macro_rules! next {
    () => {
        "ldrd r1, r3, [r11], #16\n"
    };
}

/// A function that makes outputs of groups of four columns. Its parameters are the code for the
/// first unit of values and the start of the loop `4` over the others, which may be within the first
/// unit, what ends a first unit that is the last, and what compares `r5` with `r7` unless the loop
/// does.
///
/// The sums of four channels at the second column are stored while the next products are computed,
/// those before the first in a place that is not used.
///
/// ```text
/// r0 r2 r4 r6  sums of a, b, c, d at the first column   r8 r10 r12 lr  at the second
/// r1 r3 values of the columns   r5 r7 where the sums, and the last of them, are stored
/// r9 weights   r11 entries   q0 q1 values   q4 q5 q6 q7 weights   [sp] arguments
/// ```
macro_rules! fours {
    ($(#[$doc:meta])* $name:ident: $first:expr, $others:expr, $alone:expr, $compare:literal) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(args: &mut Args) {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "sub sp, sp, #4",
                "str r0, [sp]",
                // Columns that are missing to four repeat the last.
                "ldr r3, [r0, #{count}]",
                "sub r3, r3, #1",
                "mov r2, #0",
                "vidup.u32 q0, r2, #1",
                "vdup.32 q3, r3",
                "vmin.u32 q0, q0, q3",
                "ldr r2, [r0, #{step}]",
                "vmul.i32 q1, q0, r2",
                "vstrw.32 q1, [r0, #{columns}]",
                "ldr r2, [r0, #{shortcut_step}]",
                "ldr r4, [r0, #{shortcut}]",
                "vmul.i32 q1, q0, r2",
                "vadd.i32 q1, q1, r4",
                "vstrw.32 q1, [r0, #{shortcuts}]",
                // Offsets of outputs: two columns, channel by channel.
                "mov r2, #0",
                "vidup.u16 q0, r2, #1",
                "vmov.i16 q1, #1",
                "vmov.i16 q2, #2",
                "vand q1, q0, q1",
                "vadd.i16 q2, q1, q2",
                "vshr.u16 q0, q0, #1",
                "vdup.16 q3, r3",
                "vmin.u16 q1, q1, q3",
                "vmin.u16 q2, q2, q3",
                "ldr r2, [r0, #{pixel_bytes}]",
                "vmul.i16 q1, q1, r2",
                "vmul.i16 q2, q2, r2",
                "vadd.i16 q1, q1, q0",
                "vadd.i16 q2, q2, q0",
                "vstrw.32 q1, [r0, #{places}]",
                "vstrw.32 q2, [r0, #{places} + 16]",
                // The entries behind those of the units.
                "ldr r1, [r0, #{kernel_rows}]",
                "ldrd r2, r3, [r0, #{units}]",
                "ldr r4, [r0, #{four_bytes}]",
                "mul r1, r1, r2",
                "add r1, r3, r1, lsl #4",
                "rsb r4, r4, #0",
                "mov r2, #0",
                "strd r2, r4, [r1], #8",
                "strd r2, r2, [r1], #8",
                "add r4, r3, #8",
                "str r4, [r1]",
                "str r3, [r1, #8]",
                // The next four columns.
                "1:",
                "ldrd r2, r1, [r0, #{at}]",
                "ldrd r3, r4, [r0, #{rows}]",
                "cmp r2, #0",
                "blt 8f",
                "cmp r2, r1",
                "ble 7f",
                // Values on padding, or too close to the end of the row, are copied.
                "8:",
                "bl {fill}",
                "mov r2, #0",
                "ldr r3, [r0, #{spans}]",
                "ldr r4, [r0, #{kernel_rows}]",
                "7:",
                "vldrw.u32 q1, [r0, #{columns}]",
                "ldrd r6, r11, [r0, #{units}]",
                "ldr r5, [r0, #{unit_bytes}]",
                "mov r12, r11",
                // The entries of the next kernel row.
                "2:",
                "ldr r7, [r3], #4",
                "dls lr, r6",
                "cbz r7, 6f",
                "add r7, r7, r2",
                "7:",
                "vadd.i32 q0, q1, r7",
                "3:",
                "vstrw.32 q0, [r12], #16",
                "vadd.i32 q0, q0, r5",
                "le lr, 3b",
                "subs r4, r4, #1",
                "bne 2b",
                "ldr r9, [r0, #{weights}]",
                "ldrd r1, r3, [r11], #16",
                "ldrd r5, r7, [r0, #{sums_at}]",
                "vldrb.u8 q4, [r9], #16",
                "vldrb.u8 q0, [r1]",
                "b 4f",
                "6:",
                "ldr r7, [r0, #{padding}]",
                "b 7b",
                "4:",
                "vldrb.u8 q1, [r3]",
                // The next four channels at two columns.
                "vmladav.s8 r0, q0, q4",
                "5:",
                $first,
                $others,
                "b.w 4b",
                $alone,
                "6:",
                "vmladava.s8 r12, q1, q6",
                "ldr r11, [r11]",
                "vmladava.s8 r6, q0, q7",
                "add r9, r9, r3",
                "vmladava.s8 lr, q1, q7",
                $compare,
                "7:",
                "beq 8f",
                "ldrd r1, r3, [r11], #16",
                "vldrb.u8 q4, [r9], #16",
                "strd r0, r2, [r5], #32",
                "vldrb.u8 q0, [r1]",
                "vmladav.s8 r0, q0, q4",
                "vldrb.u8 q1, [r3]",
                "strd r4, r6, [r5, #-24]",
                "b.w 5b",
                "8:",
                "stm.w r5, {{r0, r2, r4, r6, r8, r10, r12, lr}}",
                "ldr r0, [sp]",
                "ldr r1, [r0, #{finish}]",
                "blx r1",
                "ldr r0, [sp]",
                "ldr r1, [r0, #{left}]",
                "ldr r2, [r0, #{shortcut_step}]",
                "vldrw.u32 q0, [r0, #{shortcuts}]",
                "subs r1, r1, #1",
                "lsl r2, r2, #2",
                "beq 9f",
                "ldr r3, [r0, #{at}]",
                "ldr r4, [r0, #{step}]",
                "vadd.i32 q0, q0, r2",
                "ldr r5, [r0, #{output}]",
                "ldr r6, [r0, #{pixel_bytes}]",
                "vstrw.32 q0, [r0, #{shortcuts}]",
                "add r3, r3, r4, lsl #2",
                "add r5, r5, r6, lsl #2",
                "str r1, [r0, #{left}]",
                "str r3, [r0, #{at}]",
                "str r5, [r0, #{output}]",
                "b.w 1b",
                "9:",
                "add sp, sp, #4",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
                count = const offset_of!(Args, count),
                step = const offset_of!(Args, step),
                columns = const offset_of!(Args, columns),
                shortcut_step = const offset_of!(Args, shortcut_step),
                shortcut = const offset_of!(Args, shortcut),
                shortcuts = const offset_of!(Args, shortcuts),
                pixel_bytes = const offset_of!(Args, pixel_bytes),
                places = const offset_of!(Args, places),
                fill = sym fill,
                padding = const offset_of!(Args, padding),
                spans = const offset_of!(Args, spans),
                rows = const offset_of!(Args, rows),
                kernel_rows = const offset_of!(Args, kernel_rows),
                units = const offset_of!(Args, units),
                unit_bytes = const offset_of!(Args, unit_bytes),
                four_bytes = const offset_of!(Args, four_bytes),
                sums_at = const offset_of!(Args, sums_at),
                weights = const offset_of!(Args, weights),
                at = const offset_of!(Args, at),
                finish = const offset_of!(Args, finish),
                left = const offset_of!(Args, left),
                output = const offset_of!(Args, output),
            )
        }
    };
}

fours!(
    /// Units of one vector: 18 cycles.
    ///
    /// # Safety
    ///
    /// There is at least one group of four columns, one kernel row, and one unit of values in it.
    /// There is room for an entry of each unit of a kernel, and for two more. The weights of all
    /// units can be read for whole fours of channels, which have `four_bytes` bytes, and 16 sums of
    /// each four can be written from `sums_at` to the eight at `last_sums`, and four words before.
    /// `rows` and `spans` have a pointer for each kernel row, both null if the row is padding. In the
    /// rows, units of values can be read at each column of a group that begins from 0 to `last_at`.
    /// No address of values is zero. The requirements of [`fill`] and `finish` are met.
    by_one: concat!(
            rest!(
                "vmladav.s8",
                concat!(store!("early"), next!()),
                concat!(store!("late"), "cbz r1, 3f\n"),
                ""
            ),
            one!(),
        ),
        concat!("4:\n", rest!("vmladava.s8", next!(), "cbz r1, 6f\n", ""), one!()),
        // The first vector is the last.
        "3:
         vmladav.s8 r12, q1, q6
         ldr r11, [r11]
         vmladav.s8 r6, q0, q7
         add r9, r9, r3
         vmladav.s8 lr, q1, q7
         cmp r5, r7
         b 7f",
        "cmp r5, r7"
);

/// The vectors of a unit of three after the first, and the first of the next unit. `$compare` and
/// `$end` are for the end of the kernel.
macro_rules! unit {
    ($compare:literal, $end:literal) => {
        concat!(
            rest!("vmladava.s8", "", $compare, ", #32"),
            one!(),
            rest!("vmladava.s8", next!(), $end, ""),
            one!(),
            rest!("vmladava.s8", "", "", ", #16"),
            one!(),
        )
    };
}

fours!(
    /// Units of three vectors: 50 cycles.
    ///
    /// # Safety
    ///
    /// As for [`by_one`].
    by_three: concat!(rest!("vmladav.s8", store!("early"), store!("late"), ", #16"), one!()),
        concat!("4:\n", unit!("cmp r5, r7\n", "cbz r1, 6f\n")),
        "", ""
);

fours!(
    /// The same for kernels of a multiple of three units: 146 cycles for three.
    ///
    /// # Safety
    ///
    /// As for [`by_one`]. The number of units of a kernel is a multiple of three.
    by_nine: concat!(rest!("vmladav.s8", store!("early"), store!("late"), ", #16"), one!()),
        concat!(
            "4:\n",
            unit!("", ""),
            unit!("", ""),
            unit!("cmp r5, r7\n", "cbz r1, 6f\n"),
        ),
        "", ""
);

/// Copies the values under the kernel at four columns: padding, values of the row, padding.
///
/// ```text
/// r0 arguments, kept   r1 rows   r2 spans   r3 rows left   r4 row   r5 padding   r6 before
/// r7 from   r8 inside   r9 after   r10 source   r11 span   r12 target   lr bytes left
/// ```
///
/// # Safety
///
/// `r0` points to [`Args`], `r2` is the offset of the group of columns in its rows, and no other
/// register is preserved: only the loops of this module call this. There is at least one kernel
/// row. `row_bytes` bytes can be read at each row that is not null. `span_bytes` bytes can be read
/// at `padding`, and written at each row's span. The numbers of bytes before the row, on it, and
/// after it are not negative.
#[unsafe(naked)]
unsafe extern "C" fn fill() {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "ldr r8, [r0, #{row_bytes}]",
        "ldr r9, [r0, #{span_bytes}]",
        "ldr r5, [r0, #{padding}]",
        "rsb r6, r2, #0",
        "bic r6, r6, r6, asr #31",
        "bic r7, r2, r2, asr #31",
        "sub r8, r8, r2",
        "cmp r8, r9",
        "csel r8, r8, r9, lt",
        "sub r9, r9, r8",
        "sub r8, r8, r6",
        "ldrd r1, r3, [r0, #{rows}]",
        "ldr r2, [r0, #{spans}]",
        // The next kernel row.
        "1:",
        "ldr r4, [r1], #4",
        "ldr r11, [r2], #4",
        "cbz r4, 9f",
        "mov r10, r5",
        "mov r12, r11",
        "wlstp.8 lr, r6, 3f",
        "2:",
        "vldrb.u8 q0, [r10], #16",
        "vstrb.8 q0, [r12], #16",
        "letp lr, 2b",
        "3:",
        "add r10, r4, r7",
        "add r12, r11, r6",
        "wlstp.8 lr, r8, 5f",
        "4:",
        "vldrb.u8 q0, [r10], #16",
        "vstrb.8 q0, [r12], #16",
        "letp lr, 4b",
        "5:",
        "add r12, r11, r6",
        "add r10, r5, r6",
        "add r12, r12, r8",
        "add r10, r10, r8",
        "wlstp.8 lr, r9, 9f",
        "6:",
        "vldrb.u8 q0, [r10], #16",
        "vstrb.8 q0, [r12], #16",
        "letp lr, 6b",
        "9:",
        "subs r3, r3, #1",
        "bne 1b",
        "pop {{r7, pc}}",
        row_bytes = const offset_of!(Args, row_bytes),
        span_bytes = const offset_of!(Args, span_bytes),
        padding = const offset_of!(Args, padding),
        rows = const offset_of!(Args, rows),
        spans = const offset_of!(Args, spans),
    )
}
