//! Makes an int8 program from a float network, and measures what that costs.
//!
//! ```text
//! network (float) ──> ranges ──> recipe: channels, precision, weights ──> lower ──> program
//! network (int8) ───────────────────────────────────────────────────────> lower ─────┘
//! program, data ──> evaluate, compare ──> advice
//! ```
//!
//! A [`Recipe`](recipe::Recipe) runs the float network on images. It finds ranges of activations
//! and, with more effort, channels and weights that cost less.
//! [`Fused::quantize`](fuse::Fused::quantize) makes a [`Program`](brooklet_plan::program::Program)
//! from the result, and brooklet-plan plans its memory.
//!
//! ```
//! use brooklet_import::{Arch, Imported, Options, load};
//! use brooklet_plan::model_file::HostBackend;
//! use brooklet_plan::plan::{Goal, plan};
//! use brooklet_plan::{Preprocess, self_test};
//! use brooklet_quantize::data::Dataset;
//! use brooklet_quantize::evaluate::{FloatAnswers, answers, score};
//! use brooklet_quantize::recipe::{Effort, Recipe, Silent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options { arch: Some("resnet20".parse::<Arch>()?), ..Options::default() };
//! let Imported::Float(network) = load("../demo/resnet20.safetensors", &options)? else {
//!     panic!("its weights are float");
//! };
//! let preprocess = Preprocess {
//!     mean: Some([0.485, 0.456, 0.406]),
//!     std: Some([0.229, 0.224, 0.225]),
//!     ..Preprocess::default()
//! };
//! // Noise is enough for this example. Images like those that the device will see are better.
//! let data = Dataset::open("random:8", network.input, &preprocess)?;
//! let recipe = Recipe { effort: Effort::Fast, ..Recipe::default() };
//! let quantized = recipe.run(&network, &data, &preprocess, &Silent)?;
//! let fused = recipe.fused(&quantized.network)?;
//! let program = fused.quantize(&quantized.ranges, &preprocess, &quantized.learned)?;
//!
//! let file = self_test::build(&program, &plan(&program, Goal::Size)?, "resnet20.brook".as_ref())?;
//! let answers = answers(&file.simulator(HostBackend::Auto)?, &data, 0..data.len(), || ())?;
//! let logits = file.model().logits_quantization();
//! let float = FloatAnswers::Logits(quantized.logits);
//! let classes = file.model().classes();
//! let score = score(&answers, Some(&float), |q| logits.dequantize(q), classes, 0.0);
//! assert!(score.sqnr_db > Some(20.0), "{:?} dB", score.sqnr_db);
//! # Ok(())
//! # }
//! ```

pub mod advice;
pub mod array;
#[cfg(test)]
#[path = "../tests/it/blocks.rs"]
mod blocks;
pub mod channels;
pub mod compare;
pub mod data;
mod encode;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod forward;
pub mod fuse;
pub mod lower;
pub mod memory;
mod onnx;
pub mod precision;
pub mod ranges;
pub mod recipe;
pub mod units;
pub mod weights;

use brooklet_import::{network, proto};
use brooklet_plan::{model_file, program};
