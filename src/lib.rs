//! Brooklet runs a trained residual network on a microcontroller, one image row at a time.
//!
//! # Running a model
//!
//! Firmware needs four names of this crate: a [`Model`] is a model file that was checked, an
//! [`Arena`] is the memory for its rows, a backend of [`kernels`] computes, and a [`Session`] takes
//! the rows of an image and returns [`Logits`].
//!
//! ```
//! use brooklet::{Arena, Model, Session, arena_bytes, kernels::Portable};
//!
//! const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // On a device the arena is a `static`; its size is read from the model at compile time.
//! let mut arena = Arena::<{ arena_bytes(MODEL) }>::new();
//! let model = Model::parse(MODEL)?;
//! let mut session = Session::new(&model, Portable, &mut arena)?;
//! # let camera = vec![vec![100u8; model.input().row_bytes()]; model.input().rows.into()];
//! for row in camera {
//!     session.push_row(&row)?; // columns × channels bytes, as the camera delivers them
//! }
//! for best in session.logits()?.top_k::<3>() {
//!     println!("class {} with probability {}", best.class, best.probability);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Weights that the core cannot address, such as those in an SPI flash, go through a window in RAM:
//! the feature `weights-window`.
//!
//! The [`guide`] says how to make the model file, which networks run, and what they cost.
//!
//! # Building tools and backends
//!
//! Tools that write model files, and new backends, use the rest:
//!
//! - [`mod@format`] is the specification of the model file, with its records and a writer;
//! - [`ops`] specifies each operator: its formula, its rows, its checks;
//! - [`quant`] is the integer arithmetic;
//! - [`schedule`] is the order in which rows are made; a [`Graph`] is what it walks;
//! - [`kernels::Backend`] is what a backend implements, [`kernels::reference`] the definition.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

mod arena;
#[cfg(feature = "async")]
mod asynchronous;
mod built_in;
mod error;
mod feature;
pub mod format;
mod graph;
pub mod guide;
pub mod kernels;
mod logits;
mod map;
mod model;
pub mod ops;
mod proved;
pub mod quant;
mod rows;
pub mod schedule;
#[cfg(feature = "self-test")]
mod scrub;
#[cfg(feature = "self-test")]
mod self_test;
mod session;
mod shape;
mod steps;
mod verify;
mod weights;
#[cfg(feature = "weights-window")]
mod window;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use arena::{ARENA_ALIGN, Arena};
pub use built_in::assert_runs;
pub use error::{Error, Fault, RowError, Section};
pub use feature::Feature;
pub use format::arena_bytes;
pub use graph::Graph;
pub use logits::{Candidate, Logits};
pub use map::Map;
pub use model::Model;
#[cfg(feature = "self-test")]
pub use scrub::Verification;
#[cfg(feature = "self-test")]
pub use self_test::{SelfTest, TestImage, TestImages};
pub use session::{Session, Step};
pub use shape::Shape;
pub use weights::{Mapped, Weights};
#[cfg(feature = "weights-window")]
pub use window::{
    Flash, WeightsSource, WeightsWindow, resident_bytes, smallest_window, weight_bytes_read,
};
