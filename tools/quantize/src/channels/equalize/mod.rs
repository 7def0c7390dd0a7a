//! Equalization: channels of a map scaled so that one range for all of them costs less.
//!
//! A map has one range for all its channels, so one of small values is rounded as coarsely as one
//! of large values. A channel may be scaled for nothing, the weights that make it by `s`, those that
//! read it by `1/s`: the former have a scale a channel, and a ReLU between does not mind. Where
//! shortcuts pass a channel on, all maps of the residual stream that hold it are scaled alike.
//!
//! The factors bring each channel's largest magnitude nearer to its map's, by a power:
//!
//! ```text
//! s[c] = mean over the maps that hold c of (largest of the map / largest of c) ^ power
//! ```
//!
//! a geometric mean. The weights that read a map become less even, so this does not always pay. For
//! each part of the network that can be scaled apart from the others (the residual stream, the
//! inside of each block) the power is the one, none included, with the least error of the logits
//! when that part alone is quantized, on other images than factors and ranges come from: channels
//! that were rarely seen are not scaled beyond what they have room for.
//!
//! Source: Nagel et al., *Data-free quantization through weight equalization and bias correction*
//! (2019), section 4.1. There both sides' weights are balanced, for one scale a layer; here weights
//! have one a channel, and it is activations that gain.

mod choose;
mod factors;

pub use choose::{Choice, batches, choose};
pub use factors::Factors;
