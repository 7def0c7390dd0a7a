//! Bias absorption: subtracts from a map what all values of a channel have in common, and adds it
//! to the biases of the layers that read the map.
//!
//! If a channel's values are never below `c > 0`, the part of the map's range below `c` is wasted.
//! With
//!
//! ```text
//! relu(w·x + b) = relu(w·x + b − c) + c           where w·x + b ≥ c
//! v·(y + c) + d = v·y + (d + v·c)
//! ```
//!
//! the layer that writes the channel subtracts `c` from its bias, and the layers that read it add
//! `v·c` to theirs. The largest values of the map are then smaller by `c`, at no cost.
//!
//! This is exact if each reader sees `y + c` in all its taps: if the map is read without padding,
//! directly or behind a pool, and by no addition. Padding would have to stand for `−c`. The format
//! supports that ([`padding_values`](crate::program::Layer::padding_values)), but nothing is
//! gained: the range would have to reach from `−c` to `max − c`, and be as wide as before.
//!
//! Two values of `c` are tried: the least value of the channel, and, as in the source, its mean
//! minus three standard deviations, which clips the few values below. A shift is kept if it reduces
//! the error of the logits on other images, with only this map rounded.
//!
//! Source: Nagel et al., *Data-free quantization through weight equalization and bias correction*
//! (2019), section 4.1.3.

mod choose;
mod shifts;

pub use choose::{batches, choose};
pub use shifts::Shifts;
