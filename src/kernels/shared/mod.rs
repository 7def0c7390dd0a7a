//! What several instruction sets share: loops around their assembly, and parts of the assembly.

#![cfg_attr(
    any(
        feature = "armv6m",
        feature = "armv7m",
        feature = "armv7em",
        feature = "helium",
        feature = "rv32",
        feature = "rvv"
    ),
    allow(unsafe_code)
)]

#[cfg(any(
    feature = "armv6m",
    feature = "armv7m",
    feature = "armv7em",
    feature = "rv32",
    feature = "rvv"
))]
pub(super) mod assembly;
pub(crate) mod channels;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "rv32"))]
pub(super) mod column_pairs;
#[cfg(any(feature = "armv7em", feature = "helium", feature = "rvv"))]
pub(super) mod depthwise;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
pub(super) mod finish;
pub(super) mod narrow;
#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rv32"))]
pub(super) mod patch;
#[cfg(any(feature = "armv7m", feature = "armv7em"))]
pub(super) mod thumb2;
pub(super) mod winograd;
