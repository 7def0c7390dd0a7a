//! Layers with fewer than eight bits, and with more.

pub mod bits;
pub mod int16;
