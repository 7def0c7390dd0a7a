//! Depthwise convolution with a lane for each channel.

use super::elements::{multipliers, requantize};
use crate::kernels::shared::depthwise::{Args, depthwise_asm};

/// 10 instructions for a kernel position of as many channels as four vectors hold words; 17 to
/// finish them.
///
/// ```text
/// a0 arguments   a1 values   a2 weights   a3 channels left   a4 channels of a pixel   a5 columns left
/// a6 bytes to the column's values   a7 the column's output   t0 channels of a round   t1 the row's
/// pointers   t2 zero point   t3 t4 range   t5 kernel columns left   t6 rows left
/// v0 which are negative   v1 which are shifted to the right   v2 values   v3 weights   v4 starts
/// v8 products   v12 mantissas   v16 shifts to the right   v20 to the left   v24 sums
/// ```
///
/// # Safety
///
/// The arguments are as [`Args`] specifies.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn conv(args: &Args) {
    depthwise_asm!(
        ".option push",
        ".option arch, +m, +v",
        "csrwi vxrm, 0", // halves are rounded up
        "addi sp, sp, -16",
        "lw a4, {pitch}(a0)",
        "lw t2, {zero_point}(a0)",
        "lw t3, {min}(a0)",
        "lw t4, {max}(a0)",
        "lw a3, {channels}(a0)",
        // The next channels; the number of channels before them is on the stack.
        "1:",
        "lw t5, {channels}(a0)",
        "sub t5, t5, a3",
        "sw t5, 0(sp)",
        "slli t6, t5, 2",
        "vsetvli t0, a3, e32, m4, ta, ma",
        "lw t1, {starts}(a0)",
        "add t1, t1, t6",
        "vle32.v v4, (t1)",
        multipliers!("a0"),
        "lw a7, {output}(a0)",
        "add a7, a7, t5",
        "lw a5, {columns}(a0)",
        "li a6, 0",
        // The next column.
        "2:",
        "vmv.v.v v24, v4",
        "mv t1, a0",
        "lw t6, {rows}(a0)",
        // The next kernel row.
        "3:",
        "lw t5, 0(sp)",
        "lw a1, {values}(t1)",
        "lw a2, {weights}(t1)",
        "add a1, a1, t5",
        "add a2, a2, t5",
        "add a1, a1, a6",
        "addi t1, t1, 4",
        "lw t5, {kernel_columns}(a0)",
        "4:",
        "vsetvli zero, zero, e8, m1, ta, ma",
        "vle8.v v2, (a1)",
        "vle8.v v3, (a2)",
        "add a1, a1, a4",
        "add a2, a2, a4",
        "vwmul.vv v8, v2, v3",
        "vsetvli zero, zero, e16, m2, ta, ma",
        "vwadd.wv v24, v24, v8",
        "addi t5, t5, -1",
        "bnez t5, 4b",
        "addi t6, t6, -1",
        "bnez t6, 3b",
        "vsetvli zero, zero, e32, m4, ta, mu",
        requantize!(),
        "add a7, a7, a4",
        "lw t5, {step}(a0)",
        "add a6, a6, t5",
        "addi a5, a5, -1",
        "bnez a5, 2b",
        "sub a3, a3, t0",
        "bnez a3, 1b",
        "addi sp, sp, 16",
        "ret",
        ".option pop",
    )
}
