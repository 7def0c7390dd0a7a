//! Kernels: they compute output rows from input rows.
//!
//! A [`Backend`] is a type, and a [`Session`](crate::Session) is made for one backend. Methods that
//! a backend does not implement run the [`Reference`].
//!
//! | backend | for | weights |
//! |---|---|---|
//! | [`Reference`] | the definition: naive and frozen | any packing |
//! | [`Portable`] | any core | `ohwi`, `winograd`, `winograd-int8`, `winograd-int8-tall` |
//! | `Armv6m` | Cortex-M0, M0+ | `eights`, `winograd`, `winograd-int8`, `winograd-int8-tall` |
//! | `Armv7m` | Cortex-M3, and M33 without DSP instructions | `eights`, `winograd`, `winograd-int8`, `winograd-int8-tall` |
//! | `Armv7em` | Cortex-M4, M7, M33: with DSP instructions | `pairs`, `wide-pairs`, `winograd`, `winograd-int8`, `winograd-int8-tall` |
//! | `Helium` | Cortex-M55, M85: with vector instructions | `vectors` |
//! | `Rv32` | RV32IMC, RV32IMAC | `eights`, `winograd`, `winograd-int8`, `winograd-int8-tall` |
//! | `Rvv` | RV32IM with V: vector instructions | `hwio`, `hwio-tiles`, `hwio-tall` |
//! | `Avx2`, `Avx512Vnni` | x86-64, the simulator: if the core at hand has the instructions | any packing |
//!
//! The table is [`Isa`]. [`Native`] is the backend of the feature with which the crate is built.
//! Each backend also runs its first packing in four bits. Layers that read or make int16 do not use
//! the backend: they have [an implementation of their own](crate::ops#int16), the same for all.
//!
//! Backends in assembly are features of the crate with the same names; the last two are the feature
//! `x86_64`.

#[cfg(feature = "armv6m")]
pub mod armv6m;
#[cfg(feature = "armv7em")]
pub mod armv7em;
#[cfg(feature = "armv7m")]
pub mod armv7m;
pub mod direct;
#[cfg(feature = "helium")]
pub mod helium;
mod isa;
pub mod portable;
pub mod reference;
#[cfg(feature = "rv32")]
pub mod rv32;
#[cfg(feature = "rvv")]
pub mod rvv;
pub(crate) mod shared;
pub mod split;
#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
pub mod x86_64;

use crate::format::Packing;
use crate::ops::add::Add;
use crate::ops::average_pool::AveragePool;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::Conv;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::lookup::Lookup;
use crate::ops::max_pool::MaxPool;
use crate::ops::multiply::Multiply;
use crate::ops::softmax::Softmax;
use crate::ops::window_average::WindowAverage;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};

#[cfg(feature = "armv6m")]
pub use armv6m::Armv6m;
#[cfg(feature = "armv7em")]
pub use armv7em::Armv7em;
#[cfg(feature = "armv7m")]
pub use armv7m::Armv7m;
pub use direct::Direct;
#[cfg(feature = "helium")]
pub use helium::Helium;
pub use isa::Isa;
pub use portable::Portable;
pub use reference::Reference;
#[cfg(feature = "rv32")]
pub use rv32::Rv32;
#[cfg(feature = "rvv")]
pub use rvv::Rvv;
pub use split::{Cores, OtherCore, Split};
#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
pub use x86_64::{Avx2, Avx512Vnni};

core::cfg_select! {
    doc => {
        /// The backend of the target: the one whose feature for devices is on, or [`Portable`] if
        /// none is.
        pub use portable::Portable as Native;
    }
    feature = "helium" => { pub use helium::Helium as Native; }
    feature = "armv7em" => { pub use armv7em::Armv7em as Native; }
    feature = "armv7m" => { pub use armv7m::Armv7m as Native; }
    feature = "armv6m" => { pub use armv6m::Armv6m as Native; }
    feature = "rvv" => { pub use rvv::Rvv as Native; }
    feature = "rv32" => { pub use rv32::Rv32 as Native; }
    _ => { pub use portable::Portable as Native; }
}

#[cfg(all(
    any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "helium"),
    not(any(target_arch = "arm", doc))
))]
compile_error!(
    "the features `armv6m`, `armv7m`, `armv7em` and `helium` are for Arm cores; for RISC-V there \
     are `rv32` and `rvv`, for x86-64 there is `x86_64`, and any core runs without a feature"
);
#[cfg(all(any(feature = "rv32", feature = "rvv"), not(any(target_arch = "riscv32", doc))))]
compile_error!(
    "the features `rv32` and `rvv` are for RISC-V cores of 32 bits; for Arm there are `armv6m`, \
     `armv7m`, `armv7em` and `helium`, for x86-64 there is `x86_64`, and any core runs without a \
     feature"
);

/// Computes rows. All backends give the same bytes.
///
/// Rows hold columns × channels of int8. If a shortcut is [in place](Shortcut::InPlace), `output`
/// first holds the shortcut's row, and then the output.
pub trait Backend {
    /// The instruction set for which it is: name, packings and alignment.
    const ISA: &'static Isa;

    /// Whether it runs packings whose [steps make several rows](Packing::rows_a_step).
    const SEVERAL_ROWS: bool = Self::ISA.makes_several_rows();

    /// Whether it runs weights in this packing.
    fn runs(&self, packing: Packing) -> bool {
        Self::ISA.runs(packing) && (Self::SEVERAL_ROWS || packing.rows_a_step() == 1)
    }

    /// Makes one output row of a convolution. `rows` has a row for each kernel row; a row of
    /// padding is empty. `scratch` has [the number of bytes that the packing
    /// needs](crate::ops::scratch_bytes), aligned as the arena is; its contents are arbitrary.
    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    );

    /// Makes the output rows of one step, for [packings](Packing::rows_a_step) whose steps make
    /// several. `rows` has all rows under the kernel for any of these. Output rows that do not
    /// exist are empty.
    fn conv_rows(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcuts: &Shortcuts<'_>,
        scratch: &mut [u8],
        outputs: &mut Outputs<'_>,
    ) {
        let _ = scratch;
        reference::conv_rows(conv, rows, shortcuts, outputs);
    }

    /// One row of a sum.
    fn add(&self, add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
        reference::add(add, input, shortcut, output);
    }

    /// One output row of a max-pool; a row of padding is empty.
    fn max_pool(&self, pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
        reference::max_pool(pool, rows, output);
    }

    /// Adds a row of the input to `sums`, one for each channel; the first row sets them.
    fn sum_row(&self, first: bool, row: &[i8], sums: &mut [i32]) {
        reference::sum_row(first, row, sums);
    }

    /// The means, from the sums of all rows.
    fn average(&self, pool: &AveragePool, sums: &[i32], output: &mut [i8]) {
        reference::average(pool, sums, output);
    }

    /// One row of a batch norm.
    fn batch_norm(&self, norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
        reference::batch_norm(norm, input, output);
    }

    /// One output row of a depthwise convolution; a row of padding is empty.
    fn depthwise_conv(&self, conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
        portable::depthwise_conv(conv, rows, output);
    }

    /// One row of a lookup.
    fn lookup(&self, lookup: &Lookup<'_>, input: &[i8], output: &mut [i8]) {
        reference::lookup(lookup, input, output);
    }

    /// One row of a product.
    fn multiply(
        &self,
        multiply: &Multiply,
        input: &[i8],
        shortcut: &Shortcut<'_>,
        output: &mut [i8],
    ) {
        portable::product(multiply, input, shortcut, output);
    }

    /// One output row of an average over a window; a row of padding is empty.
    fn window_average(&self, pool: &WindowAverage, rows: &Rows<'_>, output: &mut [i8]) {
        reference::window_average(pool, rows, output);
    }

    /// The softmax of a pixel.
    fn softmax(&self, softmax: &Softmax, input: &[i8], output: &mut [i8]) {
        reference::softmax(softmax, input, output);
    }
}
