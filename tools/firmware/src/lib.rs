//! Builds brooklet's firmware, starts boards, and talks to them.
//!
//! From a board's name to its answer:
//!
//! 1. [`Registry`] reads `boards/*/board.toml`: the boards and their properties.
//! 2. [`Toolchain`] finds or installs a compiler for the board's target.
//! 3. [`compile`] builds the board's firmware with it.
//! 4. [`Board::start`] finds or installs the board's emulator, and starts it with firmware and
//!    model.
//! 5. [`Link`] is the host's side of the protocol: identify, check, infer, profile.
//! 6. [`size`] measures the flash that the runtime takes, [`counts`] the instructions that ran.
//!
//! ```no_run
//! # fn main() -> Result<(), brooklet_firmware::FirmwareError> {
//! use brooklet_firmware::{Board, Registry};
//!
//! let registry = Registry::find()?;
//! let spec = registry.board("qemu-mps2-an386")?;
//! let report = &mut |line: &str| eprintln!("{line}");
//! let mut board = Board::start(&registry, spec, "resnet20.brook".as_ref(), report)?;
//! let loaded = board.link().check()?;
//! let row = vec![0; usize::from(loaded.columns * loaded.channels)];
//! let answer = board.link().infer((0..loaded.rows).map(|_| &row))?;
//! println!("{:?}: {} instructions", answer.logits, board.link().profile()?.total);
//! # Ok(())
//! # }
//! ```
//!
//! The registry needs neither a board nor a compiler:
//!
//! ```
//! # fn main() -> Result<(), brooklet_firmware::FirmwareError> {
//! use brooklet_firmware::Registry;
//!
//! let registry = Registry::find()?;
//! let spec = registry.board("qemu-mps2-an386")?;
//! assert_eq!((&*spec.core, &*spec.backend), ("Cortex-M4F", "armv7em"));
//! assert!(registry.board("arduino").unwrap_err().remedy().unwrap().contains("qemu-mps2-an386"));
//! # Ok(())
//! # }
//! ```
//!
//! Functions that take long or install something report that, one line at a time, to the `report`
//! that they are given.

pub mod apt;
mod board;
pub mod compile;
pub mod counts;
pub mod cycles;
mod error;
#[cfg(feature = "espflash")]
mod esp_image;
#[cfg(feature = "espflash")]
pub mod espflash;
mod flash_image;
mod link;
#[cfg(feature = "log")]
pub mod log;
pub mod monitor;
pub mod npm;
mod once;
#[cfg(feature = "probe")]
pub mod probe;
mod python;
mod qemu;
mod registry;
mod remedy;
mod rp2040;
mod runner;
pub mod serial;
pub mod size;
mod stm32f4;
mod toolchain;
pub mod uf2;

pub use board::{Board, Options, ensure_emulator};
pub use board_build::{Region, Spec, WeightsWindow};
pub use brooklet_protocol::{Identity, LineErrors, Loaded, SuiteFailure, Unit};
pub use error::FirmwareError;
pub use flash_image::FlashImage;
pub use link::{Answer, BoardIdentity, Link, Profile, SignedModel};
pub use registry::Registry;
pub use toolchain::Toolchain;

/// Receives lines for people: what is being built, installed or started.
pub type Report<'r> = &'r mut dyn FnMut(&str);
