//! Equalization: scales the channels of a map so that one range for all of them costs less.
//!
//! A map has one range for all its channels, so a channel of small values is rounded as coarsely as
//! one of large values. Scaling a channel costs nothing: the weights that write it are multiplied
//! by `s`, and those that read it by `1/s`. The former have a scale per channel, and a ReLU in
//! between does not change the result. Where shortcuts pass a channel on, all maps of the residual
//! stream that hold it are scaled alike.
//!
//! The factors bring each channel's largest magnitude nearer to the largest of its map, by a power:
//!
//! ```text
//! s[c] = mean over the maps that hold c of (largest of the map / largest of c) ^ power
//! ```
//!
//! with a geometric mean. The weights that read a map become less even, so scaling does not always
//! help. For each part of the network that can be scaled independently (the residual stream, the
//! inside of each block), the power is chosen, which may be 0, that gives the least error of the
//! logits with only that part quantized. The error is measured on other images than factors and
//! ranges come from, so that channels that were rarely seen are not scaled up too far.
//!
//! Source: Nagel et al., *Data-free quantization through weight equalization and bias correction*
//! (2019), section 4.1. There the weights on both sides are balanced, for one scale per layer; here
//! weights have a scale per channel, and activations gain.

mod choose;
mod factors;

pub use choose::{Choice, batches, choose};
pub use factors::Factors;
