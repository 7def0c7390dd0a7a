//! Changes to the channels of a float network that keep its outputs and make it easier to quantize;
//! and the images on which they are tried.

pub mod absorption;
pub mod equalize;
mod images;
