//! Plans a quantized network's memory, chooses how its weights are packed, and writes its model
//! file.
//!
//! ```text
//! program ──> packing (by cost, knapsack) ──> plan (by timeline) ──> model_file ──> memory_map
//! ```

pub mod cost;
pub mod ensemble;
pub mod knapsack;
pub mod memory_map;
pub mod model_file;
pub mod packing;
pub mod plan;
pub mod preprocessing;
pub mod program;
pub mod records;
pub mod self_test;
pub mod test_image;
pub mod timeline;
mod writer;

pub use preprocessing::Preprocess;
