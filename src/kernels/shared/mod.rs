//! What several instruction sets drive.

#[cfg(any(feature = "armv6m", feature = "armv7m", feature = "armv7em", feature = "rvv"))]
pub(super) mod assembly;
