//! Changed model files, and whether what is made of them can be trusted.
//!
//! ```text
//! seeds ──> mutant(n) ──> file ──> Oracle::judge ──> refused | ran, all the same bytes
//! ```
//!
//! A *mutant* is a model file with one change or a few: fields at the ends of their ranges, rows
//! in the places of others, weights packed anew, segments cut. What follows from a record is put
//! right in most of them, the checksum in all but some: else a reader would look no further.
//!
//! The [`Oracle`] asks of each that parsing ends in time; and of what is accepted that it runs,
//! inside of its arena, and gives the same bytes: from the reference in arenas of other old
//! contents, from every backend of this computer, and with each row in a place of its own.
//!
//! `cargo xtask fuzz` runs many; `fuzz/README.md` says what was found.

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
