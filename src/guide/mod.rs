//! The guide: one page a subject.
//!
//! These modules hold documentation only.

#[doc = include_str!("boards.md")]
pub mod boards {}
#[doc = include_str!("exporting.md")]
pub mod exporting {}
#[doc = include_str!("firmware.md")]
pub mod firmware {}
#[doc = include_str!("kernels.md")]
pub mod kernels {}
#[doc = include_str!("measurements.md")]
pub mod measurements {}
#[doc = include_str!("networks.md")]
pub mod networks {}
#[doc = include_str!("quantizing.md")]
pub mod quantizing {}
#[doc = include_str!("reports.md")]
pub mod reports {}
#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}
