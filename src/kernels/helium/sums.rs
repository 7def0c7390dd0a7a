//! Sums of products at four columns, for all channels of a group.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::Args;

/// Number of pairs of channels in a round of the innermost loops.
pub(super) const ROUND: usize = 8;

/// Loads the weights of a channel, and multiplies them by vectors of values.
macro_rules! channel {
    ($add:literal $weights:literal $at:literal: $($sum:literal $values:literal)+) => {
        concat!(
            "vldrb.u8 ", $weights, ", [", $at, "], #16\n",
            $($add, " ", $sum, ", ", $values, ", ", $weights, "\n",)+
        )
    };
}

/// One pair of channels: 12 instructions, or 11 for the first vector.
macro_rules! one_pair {
    ($load:literal $add:literal) => {
        concat!(
            $load,
            channel!($add "q4" "r1": "r0" "q0" "r2" "q1" "r4" "q2" "r6" "q3"),
            channel!($add "q5" "r1": "r8" "q0" "r10" "q1" "r12" "q2" "lr" "q3"),
            "stm.w r3!, {{r0, r2, r4, r6, r8, r10, r12, lr}}\n",
        )
    };
}

/// One pair of channels with three kernel columns: 32 instructions, or 31 for the first vector.
macro_rules! three_pair {
    ($load:literal $add:literal) => {
        concat!(
            $load,
            channel!($add "q6" "r1": "r0" "q0" "r2" "q1" "r4" "q2" "r6" "q3"),
            channel!($add "q7" "r1": "r8" "q0" "r10" "q1" "r12" "q2" "lr" "q3"),
            channel!("vmladava.s8" "q6" "r5": "r0" "q1" "r2" "q2" "r4" "q3" "r6" "q4"),
            channel!("vmladava.s8" "q7" "r5": "r8" "q1" "r10" "q2" "r12" "q3" "lr" "q4"),
            channel!("vmladava.s8" "q6" "r7": "r0" "q2" "r2" "q3" "r4" "q4" "r6" "q5"),
            channel!("vmladava.s8" "q7" "r7": "r8" "q2" "r10" "q3" "r12" "q4" "lr" "q5"),
            "stm.w r3!, {{r0, r2, r4, r6, r8, r10, r12, lr}}\n",
        )
    };
}

/// The innermost loops, over the pairs of channels: label `4` for the first vector, `5` for the
/// others.
macro_rules! loops {
    ($pair:ident) => {
        concat!(
            ".p2align 2\n",
            "4:\n",
            ".rept 8\n",
            $pair!("" "vmladav.s8"),
            ".endr\n",
            "cmp r3, r9\n",
            "bne.w 4b\n",
            "ldr r0, [sp, #20]\n",
            "str r0, [sp, #16]\n",
            "b 6f\n",
            ".p2align 2\n",
            "5:\n",
            ".rept 8\n",
            $pair!("ldm.w r3, {{r0, r2, r4, r6, r8, r10, r12, lr}}\n" "vmladava.s8"),
            ".endr\n",
            "cmp r3, r9\n",
            "bne.w 5b\n",
            "6:\n",
        )
    };
}

/// A function that makes outputs of groups of four columns. Its parameters are the code for each
/// group, for each kernel row, and for each vector of values.
///
/// ```text
/// r0 arguments, or a sum   r1 weights   r3 r9 sums, where they end
/// r0 r2 r4 r6  sums of a at the columns   r8 r10 r12 lr  of b
/// [sp] of the loops   [sp, 16] where the next begins   [sp, 20] where those after the first do
/// [sp, 24] where the first does   [sp, 28] kernel rows   [sp, 32] how many are left
/// [sp, 36] where the sums begin   [sp, 40] arguments   [sp, 44] where the four begins in its rows
/// ```
///
/// The first round of a loop may start in its middle, so that all others are whole.
macro_rules! fours {
    (
        $(#[$doc:meta])*
        $name:ident: $pair:ident, $first_bytes:literal, $others_bytes:literal,
        four: $($four:literal)+,
        row: $($row:literal)+,
        vector: $($vector:literal)+,
        next: $($next:literal)+
    ) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(args: &mut Args) {
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "sub sp, sp, #52",
                "str r0, [sp, #40]",
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
                // Where the loops start.
                "ldr r2, [r0, #{skip}]",
                "adr.w r3, 4f",
                "mov r1, #{first_bytes}",
                "mla r3, r2, r1, r3",
                "orr r3, r3, #1", // Thumb
                "adr.w r4, 5f",
                "mov r1, #{others_bytes}",
                "mla r4, r2, r1, r4",
                "orr r4, r4, #1",
                "strd r4, r3, [sp, #20]",
                // The next four columns.
                "1:",
                "ldr r1, [sp, #24]",
                "str r1, [sp, #16]",
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
                "strd r3, r4, [sp, #28]",
                "str r2, [sp, #44]",
                "ldr r9, [r0, #{end}]",
                "ldr r1, [r0, #{sums}]",
                "str r1, [sp, #36]",
                $($four,)+
                // The next kernel row.
                "2:",
                "ldr r3, [sp, #28]",
                "ldr r2, [r3], #4",
                "str r3, [sp, #28]",
                "ldr r3, [sp, #44]",
                "cbnz r2, 7f",
                "mov r3, #0",
                "ldr r2, [r0, #{padding}]",
                "7:",
                "add r11, r2, r3",
                $($row,)+
                // The next vector.
                "3:",
                $($vector,)+
                "ldr r3, [sp, #36]",
                "ldr pc, [sp, #16]",
                loops!($pair),
                $($next,)+
                "bne.w 3b",
                "ldr r2, [sp, #32]",
                "ldr r0, [sp, #40]",
                "subs r2, r2, #1",
                "str r2, [sp, #32]",
                "bne.w 2b",
                "ldr r1, [r0, #{finish}]",
                "blx r1",
                "ldr r0, [sp, #40]",
                "ldr r1, [r0, #{left}]",
                "subs r1, r1, #1",
                "beq 9f",
                "str r1, [r0, #{left}]",
                "ldr r1, [r0, #{at}]",
                "ldr r2, [r0, #{step}]",
                "add r1, r1, r2, lsl #2",
                "str r1, [r0, #{at}]",
                "ldr r1, [r0, #{output}]",
                "ldr r2, [r0, #{pixel_bytes}]",
                "add r1, r1, r2, lsl #2",
                "str r1, [r0, #{output}]",
                "ldr r2, [r0, #{shortcut_step}]",
                "vldrw.u32 q0, [r0, #{shortcuts}]",
                "lsl r2, r2, #2",
                "vadd.i32 q0, q0, r2",
                "vstrw.32 q0, [r0, #{shortcuts}]",
                "b.w 1b",
                "9:",
                "add sp, sp, #52",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
                first_bytes = const $first_bytes,
                others_bytes = const $others_bytes,
                count = const offset_of!(Args, count),
                step = const offset_of!(Args, step),
                columns = const offset_of!(Args, columns),
                shortcut_step = const offset_of!(Args, shortcut_step),
                shortcut = const offset_of!(Args, shortcut),
                shortcuts = const offset_of!(Args, shortcuts),
                pixel_bytes = const offset_of!(Args, pixel_bytes),
                places = const offset_of!(Args, places),
                skip = const offset_of!(Args, skip),
                fill = sym fill,
                padding = const offset_of!(Args, padding),
                spans = const offset_of!(Args, spans),
                rows = const offset_of!(Args, rows),
                kernel_rows = const offset_of!(Args, kernel_rows),
                end = const offset_of!(Args, end),
                sums = const offset_of!(Args, sums),
                weights = const offset_of!(Args, weights),
                at = const offset_of!(Args, at),
                vectors = const offset_of!(Args, vectors),
                finish = const offset_of!(Args, finish),
                left = const offset_of!(Args, left),
                output = const offset_of!(Args, output),
            )
        }
    };
}

fours!(
    /// Each column has one series of values in a kernel row.
    ///
    /// ```text
    /// q0 … q3 values of the columns   q4 q5 weights   r5 vectors left   [sp] the next values
    /// ```
    ///
    /// # Safety
    ///
    /// There is at least one group of four columns, one kernel row, one vector of values in it, and
    /// two channels. The weights of all of these can be read, and from `sums` to `end` four sums
    /// for each channel can be written. `skip` rounds the channels' pairs up to whole rounds.
    /// `rows` and `spans` have a pointer for each kernel row, both null if the row is padding. In
    /// the rows, vectors of values can be read at each column of a group that begins from 0 to
    /// `last_at`. The requirements of [`fill`] and `finish` are met.
    one: one_pair, 44, 48,
    four: "ldr r1, [r0, #{weights}]",
    row:
        "ldr r5, [r0, #{vectors}]"
        "add r0, r0, #{columns}"
        "ldm r0, {{r4, r6, r8, r10}}"
        "add r4, r4, r11"
        "add r6, r6, r11"
        "add r8, r8, r11"
        "add r10, r10, r11"
        "stm sp, {{r4, r6, r8, r10}}",
    vector:
        "ldm sp, {{r4, r6, r8, r10}}"
        "vldrb.u8 q0, [r4], #16"
        "vldrb.u8 q1, [r6], #16"
        "vldrb.u8 q2, [r8], #16"
        "vldrb.u8 q3, [r10], #16"
        "stm sp, {{r4, r6, r8, r10}}",
    next: "subs r5, r5, #1"
);

fours!(
    /// Kernels of three columns at stride 1, with pixels of whole vectors: four columns read six
    /// pixels.
    ///
    /// ```text
    /// q0 … q5 values of the pixels   q6 q7 weights   r1 r5 r7 weights of the kernel columns
    /// r11 values   [sp] vectors left   [sp, 4] from pixel to pixel
    /// [sp, 8] from the weights of a kernel column to those of the next
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`one`], with `vectors` for a pixel, three times that number for a column, and no
    /// column missing.
    three: three_pair, 124, 128,
    four:
        "ldr r7, [r0, #{weights}]"
        "ldr r2, [r0, #{vectors}]"
        "ldr r3, [r0, #{step}]"
        "sub r1, r9, r1"
        "mul r1, r1, r2"
        "strd r2, r3, [sp]"
        "str r1, [sp, #8]",
    row:
        "ldr r3, [sp, #8]"
        "ldr r2, [r0, #{vectors}]"
        "mov r1, r7"
        "str r2, [sp]"
        "add r5, r7, r3"
        "add r7, r5, r3",
    vector:
        "ldr r0, [sp, #4]"
        "add r2, r11, r0"
        "vldrb.u8 q0, [r11], #16"
        "vldrb.u8 q1, [r2]"
        "add r2, r2, r0"
        "vldrb.u8 q2, [r2]"
        "add r2, r2, r0"
        "vldrb.u8 q3, [r2]"
        "add r2, r2, r0"
        "vldrb.u8 q4, [r2]"
        "add r2, r2, r0"
        "vldrb.u8 q5, [r2]",
    next:
        "ldr r0, [sp]"
        "subs r0, r0, #1"
        "str r0, [sp]"
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
