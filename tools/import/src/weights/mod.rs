//! Named weights without a structure, which [`Arch`](crate::Arch) supplies.

mod names;
pub(crate) mod pytorch;
mod random;
pub(crate) mod safetensors;
mod tensors;

pub(crate) use random::Maker;
pub(crate) use tensors::Tensors;
pub use tensors::Weights;
