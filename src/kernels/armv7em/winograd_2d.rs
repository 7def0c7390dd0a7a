//! Winograd's convolution in two dimensions with DSP instructions: `SMLAD` multiplies two input
//! channels at once. Instructions: 11 for 16 products, which is 64 multiply-accumulates; 188 to
//! transform two kernels. Measured for ResNet-8, a multiply-accumulate: 0.19 for the products, 0.14 to
//! finish, 0.06 for values, and on the fly 0.32 for kernels, with eight columns and rows.

use super::super::thumb2;
use super::super::winograd_2d as squares;
use super::Armv7em;
use super::winograd::products;

squares::square_tiles!(
    Armv7em, squares::is_ordinary,
    transform: thumb2::transform_tiles, weights: transform_kernels,
    multiply: multiply, finish: finish
);

products!(multiply of winograd_2d, "8", "mov r2, #0", "36 * 32");

thumb2::transform_kernels!(
    transform_kernels,
    ".cpu cortex-m33",
    "pkhbt r4, r4, r7, lsl #16
     pkhbt r5, r5, r8, lsl #16
     pkhbt r6, r6, r9, lsl #16",
    "sadd16 r8, r4, r6
     sadd16 r7, r8, r5
     ssub16 r8, r8, r5
     sadd16 r10, r6, r6
     sadd16 r10, r10, r10
     sadd16 r10, r4, r10
     sadd16 r5, r5, r5
     sadd16 r9, r10, r5
     ssub16 r10, r10, r5",
    ""
);

thumb2::finish_square!(finish, ".cpu cortex-m33", "smmulr \\acc, \\acc, r10");
