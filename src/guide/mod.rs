//! The guide, as a book. Its chapters, in the order in which they are read:
//!
//! 1. [From PyTorch to a Pico in ten minutes](tutorial)
//! 2. [Exporting from PyTorch and Keras](exporting), and to ONNX
//! 3. [Choosing calibration data](calibration)
//! 4. [Reading the report](report), and [reports for programs](reports)
//! 5. [Quantizing better](quantizing), and [the networks that run](networks)
//! 6. [Planning memory](memory)
//! 7. [Firmware of your own](firmware), and [the boards](boards)
//! 8. [Adding a board](adding_boards)
//! 9. [Adding an operator](adding_operators)
//! 10. [Adding a backend](adding_backends), and [the existing kernels](kernels)
//! 11. [How it works inside](inside)
//! 12. [What is promised](promises)
//! 13. [Measurements](measurements)
//! 14. [Troubleshooting](troubleshooting), by error message
//!
//! These modules hold documentation only. A test runs the commands of the first chapter, and compares
//! their output.

#[doc = include_str!("adding_backends.md")]
pub mod adding_backends {}
#[doc = include_str!("adding_boards.md")]
pub mod adding_boards {}
#[doc = include_str!("adding_operators.md")]
pub mod adding_operators {}
#[doc = include_str!("boards.md")]
pub mod boards {}
#[doc = include_str!("calibration.md")]
pub mod calibration {}
#[doc = include_str!("exporting.md")]
pub mod exporting {}
#[doc = include_str!("firmware.md")]
pub mod firmware {}
#[doc = include_str!("inside.md")]
pub mod inside {}
#[doc = include_str!("kernels.md")]
pub mod kernels {}
#[doc = include_str!("measurements.md")]
pub mod measurements {}
#[doc = include_str!("memory.md")]
pub mod memory {}
#[doc = include_str!("networks.md")]
pub mod networks {}
#[doc = include_str!("promises.md")]
pub mod promises {}
#[doc = include_str!("quantizing.md")]
pub mod quantizing {}
#[doc = include_str!("report.md")]
pub mod report {}
#[doc = include_str!("reports.md")]
pub mod reports {}
#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}
#[doc = include_str!("tutorial.md")]
pub mod tutorial {}
