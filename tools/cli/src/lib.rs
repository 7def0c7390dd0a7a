//! The host half of brooklet, as a library behind the command `brooklet`.
//!
//! ```text
//! import ──> network (float) ──> quantize ──┐
//!      └───> quantized (int8) ──> lower ────┴──> program ──> plan ──> model_file
//! ```

pub mod absorption;
pub mod advice;
pub mod bits;
pub mod calibrate;
pub mod canonical;
pub mod commands;
pub mod compare;
pub mod cost;
pub mod cycles;
pub mod data;
pub mod ensemble;
pub mod equalize;
pub mod error;
pub mod evaluate;
pub mod float;
pub mod html;
pub mod import;
pub mod int16;
pub mod knapsack;
pub mod learn;
pub mod lower;
pub mod memory_map;
pub mod model_file;
pub mod network;
pub mod packing;
pub mod plan;
pub mod program;
mod proto;
pub mod quantize;
pub mod quantized;
pub mod recipe;
pub mod rounding;
pub mod timeline;
mod trials;
pub mod write;
