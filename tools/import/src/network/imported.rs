//! A float or an int8 network.

use super::float::Network;
use super::int8::QuantizedNetwork;

/// An imported network, in canonical form.
#[derive(Debug, Clone, PartialEq)]
pub enum Imported {
    /// Float weights, which are yet to be quantized.
    Float(Network),
    /// An int8 network.
    Quantized(QuantizedNetwork),
}
