//! Rules that rewrite a network, whatever file it came from.

pub(crate) mod batch_norm;
pub(crate) mod channels;
pub(crate) mod int8;
pub(crate) mod kernels;
pub(crate) mod layers;
mod phases;
pub(crate) mod spellings;
pub(crate) mod view;
