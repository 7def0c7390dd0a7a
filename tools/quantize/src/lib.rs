//! Makes an int8 program of a float network, and measures what that costs.
//!
//! ```text
//! network (float) ──> calibrate ──> recipe: absorption, equalize, learn ──> quantize ──> program
//! quantized (int8) ──> lower ────────────────────────────────────────────────────────────┘
//! program, data ──> evaluate, compare ──> advice
//! ```

pub mod absorption;
pub mod advice;
pub mod bits;
pub mod calibrate;
pub mod compare;
pub mod data;
pub mod equalize;
pub mod evaluate;
pub mod float;
pub mod int16;
pub mod learn;
pub mod lower;
pub mod quantize;
pub mod recipe;
pub mod rounding;
mod trials;

use brooklet_import::{error, network, proto, quantized};
use brooklet_plan::{model_file, program};
