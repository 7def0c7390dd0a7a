//! What cores of Armv7-M share, with and without DSP instructions: the transforms of Winograd's
//! convolution in two dimensions.
//!
//! Two channels go through the transform of values in one register, as its low and its high half.
//! The transform is linear, so the only interaction is a borrow from the high half if the low half
//! is negative. It is corrected when the values are stored. Bytes enter as unsigned values, 128
//! larger. This offset cancels at all positions but the second, where it contributes −6 · 128 in
//! each column.
//!
//! Instructions: 166 for the 36 values of a tile and channel, 158 with DSP instructions; 21 to make
//! an output from its sums, 19 with DSP instructions.

pub(in crate::kernels) mod finish;
pub(in crate::kernels) mod stream16;

/// Bᵀ · a column of six pixels, for two of four channels: from `r4` … `r9`, to `$pair` bytes after
/// `r1`. `$extract` and `$bytes` are the instruction that takes bytes 0 and 2, or 1 and 3, of a word.
macro_rules! column {
    ($pair:literal $extract:literal $bytes:literal) => {
        concat!(
            $extract,
            " r10, r8",
            $bytes,
            "\n",
            $extract,
            " r11, r6",
            $bytes,
            "\n",
            "sub r12, r10, r11\n",         // even
            "sub r10, r10, r11, lsl #2\n", // outer
            $extract,
            " r3, r4",
            $bytes,
            "\n",
            "sub r3, r3, r11\n",
            "add r3, r12, r3, lsl #2\n",
            "str r3, [r1, #",
            $pair,
            "]\n",
            $extract,
            " r11, r7",
            $bytes,
            "\n",
            $extract,
            " r3, r5",
            $bytes,
            "\n",
            "sub lr, r11, r3\n",         // odd
            "sub r3, r11, r3, lsl #2\n", // inner
            "add r10, r10, r3\n",
            "sub r3, r10, r3, lsl #1\n",
            "add r10, r10, #0x03000300\n",
            "str r10, [r1, #80 + ",
            $pair,
            "]\n",
            "str r3, [r1, #160 + ",
            $pair,
            "]\n",
            "add r3, r12, lr, lsl #1\n",
            "sub r12, r12, lr, lsl #1\n",
            "str r3, [r1, #240 + ",
            $pair,
            "]\n",
            "str r12, [r1, #320 + ",
            $pair,
            "]\n",
            $extract,
            " r10, r9",
            $bytes,
            "\n",
            "sub r10, r10, r11\n",
            "sub r10, r10, lr, lsl #2\n",
            "str r10, [r1, #400 + ",
            $pair,
            "]\n",
        )
    };
}

/// The function `$name` that transforms values:
/// [`Tiles::transform`](super::winograd::Tiles::transform). `$extract` and `$even` take bytes 0 and 2
/// of a word; after `$shift`, `$extract` and `$odd` take bytes 1 and 3.
///
/// ```text
/// columns:  r0 pixels   r1 stack   r2 inputs   r4 … r9 pixels of six rows   r3 r10 … lr  two channels
/// rows:     r0 r2 the first and the fourth position   r1 bytes of a position   r3 stack
///           r4 … r9 values of six columns   r10 … lr  two channels
/// [sp] columns that are transformed: of each of six rows two times ten columns
/// [sp, 480] pixels   [sp, 484] values   [sp, 488] inputs   [sp, 492] where pixels end
/// ```
macro_rules! transform_tiles {
    (
        $name:ident, $cpu:literal,
        $extract:literal, $even:literal, $shift:literal, $odd:literal
    ) => {
        /// # Safety
        ///
        /// `inputs` is a multiple of four, and not zero. `pixels` has six rows of ten columns of `inputs`
        /// bytes. Each position has room for the values of all pairs of inputs.
        #[unsafe(naked)]
        #[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
        unsafe extern "C" fn $name(
            pixels: *const i8,
            values: *mut $crate::kernels::shared::winograd::Values,
            inputs: usize,
        ) {
            core::arch::naked_asm!(
                $cpu,
                "push {{r4-r11, lr}}",
                "sub sp, sp, #500",
                "add r3, r0, r2",
                "strd r0, r1, [sp, #480]",
                "strd r2, r3, [sp, #488]",
                // The next four channels.
                "2:",
                "mov r1, sp",
                // The next column.
                "3:",
                "add r3, r2, r2, lsl #2", // half of a row
                "add r12, r0, r3, lsl #1",
                "ldr r4, [r0]",
                "ldr r5, [r0, r3, lsl #1]",
                "ldr r6, [r0, r3, lsl #2]",
                "ldr r8, [r0, r3, lsl #3]",
                "ldr r7, [r12, r3, lsl #2]",
                "ldr r9, [r12, r3, lsl #3]",
                "add r0, r0, r2",
                ".irp pixel, r4, r5, r6, r7, r8, r9",
                "eor \\pixel, \\pixel, #0x80808080",
                ".endr",
                $crate::kernels::shared::thumb2::column!("0" $extract $even),
                $shift,
                $crate::kernels::shared::thumb2::column!("40" $extract $odd),
                "add r1, r1, #4",
                "add r3, sp, #40",
                "cmp r1, r3",
                "bne.w 3b",
                "ldr r0, [sp, #484]",
                "lsl r1, r2, #2",
                "add r2, r1, r1, lsl #1",
                "add r2, r2, r0",
                "mov r3, sp",
                // The next row.
                "4:",
                // From the first tile of two channels to their second, and on to the first of two others.
                ".irp tile, 0, 1, 2, 3",
                "ldm r3, {{r4-r9}}",
                "add r3, r3, #16 + 8 * (\\tile & 1)",
                // The fifth value has the factor one in all positions but the last, where the sixth has it.
                // These two and the exclusive or therefore correct the borrow of the low half.
                "add r8, r8, #0x8000",
                "add r9, r9, #0x8000",
                "sub r10, r8, r6",         // even
                "sub r11, r7, r5",         // odd
                "sub r12, r8, r6, lsl #2", // outer
                "sub lr, r7, r5, lsl #2",  // inner
                "sub r4, r4, r6",
                "add r4, r10, r4, lsl #2",
                "add r6, r12, lr",
                "sub r12, r12, lr",
                "add r5, r10, r11, lsl #1",
                "sub r10, r10, r11, lsl #1",
                "sub r9, r9, r7",
                "sub r9, r9, r11, lsl #2",
                ".irp value, r4, r6, r12, r5, r10, r9",
                "eor \\value, \\value, #0x8000",
                ".endr",
                "str r6, [r0, r1]",
                "str r12, [r0, r1, lsl #1]",
                "str r10, [r2, r1]",
                "str r9, [r2, r1, lsl #1]",
                ".if \\tile < 3",
                "str r4, [r0], #4",
                "str r5, [r2], #4",
                ".else",
                "str r4, [r0], #-12",
                "str r5, [r2], #-12",
                ".endif",
                ".endr",
                // Six positions further on.
                "add r12, r1, r1, lsl #1",
                "add r0, r0, r12, lsl #1",
                "add r2, r2, r12, lsl #1",
                "add r12, sp, #480",
                "cmp r3, r12",
                "bne.w 4b",
                "ldrd r0, r1, [sp, #480]",
                "ldrd r2, r3, [sp, #488]",
                "add r0, r0, #4",
                "add r1, r1, #16",
                "strd r0, r1, [sp, #480]",
                "cmp r0, r3",
                "bne.w 2b",
                "add sp, sp, #500",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

/// The function `$name` that transforms kernels:
/// [`Tiles::weights`](super::winograd::Tiles::weights). Two kernels go through the transform in one
/// register, as values do. `$pair` makes `r4`, `r5`, `r6` from `r4` and `r7`, `r5` and `r8`, `r6`
/// and `r9`. `$of_three` is G · `r4`, `r5`, `r6`; its results are in `r4`, `r7`, `r8`, `r9`, `r10`,
/// `r6`. `$row` does the same, makes two int16 from each of these, and stores them in this order at
/// positions from `r1` and, from the fourth on, from `r3`: the first weight has the factor one in all
/// positions but the last, and the last position is the third weight.
///
/// ```text
/// r0 kernels   r1 weights   r2 bytes of a position   r3 three positions on   r4 r5 r6 three weights
/// of two kernels   r7 … r10 and six of these   r11 stack   r12 bytes of six positions
/// lr  where weights of a position end
/// [sp] columns that are transformed: three of each of six rows
/// ```
macro_rules! transform_kernels {
    ($name:ident, $cpu:literal, $pair:literal, $of_three:literal, $row:literal) => {
        /// # Safety
        ///
        /// `pairs` is not zero. There are eight kernels for each pair, and room for `pairs` weights
        /// at each position.
        #[unsafe(naked)]
        #[cfg_attr(feature = "hot-section", unsafe(link_section = ".data.brooklet_hot"))]
        unsafe extern "C" fn $name(
            kernels: *const [i8; $crate::kernels::shared::winograd::KERNEL],
            weights: *mut $crate::kernels::shared::winograd::Weights,
            pairs: usize,
        ) {
            core::arch::naked_asm!(
                $cpu,
                "push {{r4-r11, lr}}",
                "sub sp, sp, #76",
                "lsl r2, r2, #4",
                "add lr, r1, r2",
                "add r12, r2, r2, lsl #1",
                "lsl r12, r12, #1",
                // The next two kernels.
                "2:",
                ".irp column, 0, 1, 2",
                "ldrsb r4, [r0, #\\column]",
                "ldrsb r7, [r0, #9 + \\column]",
                "ldrsb r5, [r0, #3 + \\column]",
                "ldrsb r8, [r0, #12 + \\column]",
                "ldrsb r6, [r0, #6 + \\column]",
                "ldrsb r9, [r0, #15 + \\column]",
                $pair,
                $of_three,
                "str r4, [sp, #4 * \\column]",
                "str r7, [sp, #4 * \\column + 12]",
                "str r8, [sp, #4 * \\column + 24]",
                "str r9, [sp, #4 * \\column + 36]",
                "str r10, [sp, #4 * \\column + 48]",
                "str r6, [sp, #4 * \\column + 60]",
                ".endr",
                "add r0, r0, #18",
                "mov r11, sp",
                ".rept 6",
                "ldm r11!, {{r4-r6}}",
                "add r3, r1, r12, lsr #1",
                $row,
                "add r1, r1, r12",
                ".endr",
                "add r3, r12, r12, lsl #1",
                "sub r1, r1, r3, lsl #1",
                "add r1, r1, #4",
                "cmp r1, lr",
                "bne.w 2b",
                "add sp, sp, #76",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

pub(in crate::kernels) use finish::finish_tiles;
pub(in crate::kernels) use {column, transform_kernels, transform_tiles};
