#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

mod arena;
mod error;
pub mod format;
mod graph;
pub mod kernels;
mod logits;
mod model;
pub mod ops;
pub mod quant;
mod rows;
pub mod schedule;
mod session;
mod shape;

pub use arena::{ARENA_ALIGN, Arena};
pub use error::{Error, Fault, Part, RowError};
pub use format::arena_bytes;
pub use graph::Graph;
pub use logits::{Candidate, Logits};
pub use model::Model;
pub use session::{Session, Step};
pub use shape::Shape;
