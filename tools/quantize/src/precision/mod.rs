//! Layers in fewer bits than eight, and in more.

pub mod bits;
pub mod int16;
