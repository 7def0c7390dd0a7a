//! The transforms of values and kernels for Winograd's convolution: see
//! [`winograd`](crate::kernels::shared).

use core::arch::naked_asm;

use crate::kernels::shared::winograd::{KERNEL, Values, Weights};

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

/// Bᵀ · a row of six values of two channels, from `$from` bytes after `r8` to `$to` bytes after
/// `r9`. The borrow of the low half is corrected in the fifth value, which has the factor one in
/// all positions but the last, and in the sixth.
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
            add r4, r12
            add r5, r12
            ",
            under_tile!(),
            "
            mov r6, r12
            mov r7, r9
            adds r7, #",
            $to,
            "
            .irp value, r0, r1, r2, r3, r4, r5
            eors \\value, r6
            str \\value, [r7]
            add r7, r10
            .endr
            "
        )
    };
}

/// Two channels go through the transform in one register, as its low and its high half. The
/// transform is linear, so the only interaction is a borrow from the high half if the low half is
/// negative. It is corrected when the values are stored. Bytes enter as unsigned values, 128
/// larger. This offset cancels at all positions but the second, where it contributes -6 · 128 in
/// each column.
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
/// `inputs` is a multiple of four, and not zero. `pixels`, a multiple of four, has six rows of ten
/// columns of `inputs` bytes. Each position has room for the values of all pairs of inputs.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn transform_tiles(
    pixels: *const i8,
    values: *mut Values,
    inputs: usize,
) {
    naked_asm!(
        save_registers!(),
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
        restore_registers!(),
    )
}

/// G · `r1`, `r2`, `r3`. The results are in `r1`, `r4`, `r5`, `r7`, `r6`, `r3`.
macro_rules! of_three {
    () => {
        "adds r4, r1, r3
         subs r5, r4, r2
         adds r4, r4, r2
         lsls r6, r3, #2
         adds r6, r6, r1
         lsls r2, r2, #1
         adds r7, r6, r2
         subs r6, r6, r2"
    };
}

/// Two kernels go through the transform in one register, as values do.
///
/// ```text
/// columns:  r0 kernels   r1 … r7 three weights of two kernels, and six of these
/// rows:     r0 stack, then weights   r1 … r7 likewise, then r2 0x8000
/// r8 kernels   r9 weights of a row   r10 stack   r11 weights of these kernels   r12 0x8000
/// lr bytes of a position
/// [sp] columns that are transformed: three of each of six rows   [sp, 72] where weights of a position end
/// ```
///
/// # Safety
///
/// `pairs` is not zero. There are eight kernels for each pair, and room for `pairs` weights at each
/// position, at a multiple of four.
#[unsafe(naked)]
#[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
pub(super) unsafe extern "C" fn transform_kernels(
    kernels: *const [i8; KERNEL],
    weights: *mut Weights,
    pairs: usize,
) {
    naked_asm!(
        save_registers!(),
        "sub sp, #76",
        "mov r8, r0",
        "mov r11, r1",
        "lsls r2, r2, #4",
        "mov lr, r2",
        "adds r2, r2, r1",
        "str r2, [sp, #72]",
        "movs r3, #1",
        "lsls r3, r3, #15",
        "mov r12, r3",
        // The next two kernels.
        "2:",
        "mov r0, r8",
        ".macro two_weights weights, at",
        "ldrb \\weights, [r0, #\\at]",
        "ldrb r4, [r0, #9 + \\at]",
        "sxtb \\weights, \\weights",
        "lsls r4, r4, #24",
        "asrs r4, r4, #8",
        "adds \\weights, \\weights, r4",
        ".endm",
        ".irp column, 0, 1, 2",
        "two_weights r1, \\column",
        "two_weights r2, 3 + \\column",
        "two_weights r3, 6 + \\column",
        of_three!(),
        "str r1, [sp, #4 * \\column]",
        "str r4, [sp, #4 * \\column + 12]",
        "str r5, [sp, #4 * \\column + 24]",
        "str r7, [sp, #4 * \\column + 36]",
        "str r6, [sp, #4 * \\column + 48]",
        "str r3, [sp, #4 * \\column + 60]",
        ".endr",
        ".purgem two_weights",
        "adds r0, #18",
        "mov r8, r0",
        "mov r9, r11",
        "mov r10, sp",
        // The next row.
        "3:",
        "mov r0, r10",
        "ldm r0!, {{r1-r3}}",
        "mov r10, r0",
        // Corrects the borrow of the low half in advance: the first weight has the factor one in
        // all positions but the last, and the last position is the third weight.
        "add r1, r12",
        of_three!(),
        "add r3, r12",
        "mov r2, r12",
        "mov r0, r9",
        ".irp value, r1, r4, r5, r7, r6, r3",
        "eors \\value, r2",
        "str \\value, [r0]",
        "add r0, lr",
        ".endr",
        "mov r9, r0",
        "add r1, sp, #72",
        "cmp r1, r10",
        "bne 3b",
        "mov r0, r11",
        "adds r0, #4",
        "mov r11, r0",
        "ldr r1, [sp, #72]",
        "cmp r0, r1",
        "beq 4f",
        "b 2b",
        "4:",
        "add sp, #76",
        restore_registers!(),
    )
}
