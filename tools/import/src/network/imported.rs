//! A network of either kind.

use super::float::Network;
use super::int8::QuantizedNetwork;

/// An imported network, in canonical form.
#[derive(Debug, Clone, PartialEq)]
pub enum Imported {
    /// Float weights, to be quantized.
    Float(Network),
    /// Already int8.
    Quantized(QuantizedNetwork),
}
