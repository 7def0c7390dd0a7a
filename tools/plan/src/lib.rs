//! Plans a quantized network's memory, chooses how its weights are packed, and writes its model
//! file.
//!
//! ```text
//! program ──> packing (by cost, knapsack) ──> plan (by timeline) ──> model_file ──> memory_map
//! ```
//!
//! A [`Program`](program::Program) is a network as the core will run it, but without places. A
//! [`Plan`](plan::Plan) gives each row a place in the arena. Both together give the bytes of a
//! [`ModelFile`](model_file::ModelFile), which the core checks.
//!
//! # A build script that plans a model for its board
//!
//! A model file is packed for the kernels of one core, and planned for one size of RAM. A firmware
//! that accepts any model file can plan it again at build time. It needs this crate as a
//! build-dependency, and this `build.rs`:
//!
//! ```no_run
#![doc = include_str!("../examples/build_script.rs")]
//! ```
//!
//! and then includes the model with `brooklet::include_model!(OUT_DIR / "model.brook")`.
//!
//! # Reading a plan
//!
//! ```
//! use brooklet_plan::memory_map::MemoryMap;
//! use brooklet_plan::model_file::{HostBackend, ModelFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = ModelFile::open("../../tests/golden/tiny.brook")?;
//! let svg = MemoryMap::new(file.model()).svg();
//! assert!(svg.starts_with("<svg"));
//!
//! // The core itself, with the fastest kernels of this machine.
//! let mut simulator = file.simulator(HostBackend::Auto)?;
//! let image = vec![100; file.input().iter().product()];
//! assert_eq!(simulator.run(&image).logits.len(), file.model().classes());
//! # Ok(())
//! # }
//! ```

pub mod cost;
pub mod ensemble;
pub mod figure;
pub mod flash;
pub mod knapsack;
pub mod memory_map;
pub mod model_file;
pub mod packing;
mod place;
pub mod plan;
pub mod preprocessing;
pub mod program;
pub mod records;
pub mod replay;
pub mod self_test;
pub mod test_image;
pub mod timeline;
mod writer;

pub use board_build::Spec;
pub use preprocessing::{Preprocess, Resize};
