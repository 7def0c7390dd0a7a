//! Makes an int8 program of a float network, and measures what that costs.
//!
//! ```text
//! network (float) ──> ranges ──> recipe: channels, precision, weights ──> lower ──> program
//! network (int8) ───────────────────────────────────────────────────────> lower ─────┘
//! program, data ──> evaluate, compare ──> advice
//! ```

pub mod advice;
pub mod array;
pub mod channels;
pub mod compare;
pub mod data;
mod encode;
pub mod error;
pub mod evaluate;
pub mod forward;
pub mod fuse;
pub mod lower;
pub mod precision;
pub mod ranges;
pub mod recipe;
pub mod units;
pub mod weights;

use brooklet_import::{network, proto};
use brooklet_plan::{model_file, program};
