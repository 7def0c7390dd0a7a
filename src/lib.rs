#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

mod arena;
mod error;
mod feature;
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

/// A model file that is built into a program, where any backend can load its words: `&[u8]`.
///
/// ```
/// const MODEL: &[u8] = brooklet::include_model!("../tests/golden/tiny.brook");
/// # assert!(MODEL.as_ptr().addr().is_multiple_of(16));
/// ```
#[macro_export]
macro_rules! include_model {
    ($path:expr) => {{
        #[repr(C, align(16))]
        struct Aligned<B: ?Sized>(B);
        static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &FILE.0
    }};
}

pub use arena::{ARENA_ALIGN, Arena};
pub use error::{Error, Fault, Part, RowError};
pub use feature::Feature;
pub use format::arena_bytes;
pub use graph::Graph;
pub use logits::{Candidate, Logits};
pub use model::Model;
pub use session::{Session, Step};
pub use shape::Shape;
