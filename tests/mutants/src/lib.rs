//! Changed model files, and checks whether their results can be trusted.
//!
//! ```text
//! seeds ──> mutant(n) ──> file ──> Oracle::judge ──> refused | ran, all the same bytes
//! ```
//!
//! A *mutant* is a model file with one or several changes: fields at the ends of their ranges, rows
//! in the places of others, weights packed again, segments cut. Derived values are corrected in
//! most of them, and the checksum in nearly all; otherwise a reader would look no further.
//!
//! The [`Oracle`] checks that parsing each of them ends in time. If it is accepted, it must run
//! inside its arena, and give the same bytes in all cases: with the reference in arenas with other
//! old contents, with every backend of this computer, and with each row in a place of its own.
//!
//! `cargo xtask fuzz` runs many mutants; `fuzz/README.md` says what was found.

mod data;
mod draft;
mod extremes;
mod fields;
mod guarded;
mod invariants;
mod mutate;
mod oracle;
mod random;
mod report;
#[cfg(feature = "seeds")]
mod seeds;
mod structure;

pub use draft::seal;
pub use guarded::Guarded;
pub use mutate::{Kind, Mutant, changed, mutant};
pub use oracle::{Compared, Oracle, Verdict};
pub use random::Random;
pub use report::Report;
#[cfg(feature = "seeds")]
pub use seeds::seeds;
