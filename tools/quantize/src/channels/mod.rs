//! Changes to the channels of a float network that leave its outputs as they are, and make it
//! easier to quantize; and the images that they are tried on: some to choose by, others to judge by.

pub mod absorption;
pub mod equalize;
mod images;
