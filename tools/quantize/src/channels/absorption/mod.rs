//! Bias absorption: what all values of a channel have in common is left out of a map, and added in
//! the biases of the layers that read it.
//!
//! A channel whose values are never below `c > 0` wastes the part of its map's range below `c`. With
//!
//! ```text
//! relu(w·x + b) = relu(w·x + b − c) + c           where w·x + b ≥ c
//! v·(y + c) + d = v·y + (d + v·c)
//! ```
//!
//! the layer that makes it takes `c` off its bias, and those that read it add `v·c` to theirs: the
//! map's largest values are smaller by `c`, at no cost.
//!
//! This is exact where each reader sees `y + c` in all its taps, so only for maps that are read
//! without padding, directly or behind a pool, and by no addition. Padding would have to stand for
//! `−c`. The format can say that ([`padding_values`](crate::program::Layer::padding_values)), but
//! for nothing: the range must then reach from `−c` to `max − c`, and is as wide as before.
//!
//! For `c` two are tried: the least value of the channel, and, as in the source, its mean less three
//! standard deviations, which clips the few values below. It is done for each map where the error
//! of the logits, this map alone rounded, is less for it on other images.
//!
//! Source: Nagel et al., *Data-free quantization through weight equalization and bias correction*
//! (2019), section 4.1.3.

mod choose;
mod shifts;

pub use choose::{batches, choose};
pub use shifts::Shifts;
