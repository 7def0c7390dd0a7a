//! The structures that `--arch` names, which named weights fill.
//!
//! The ImageNet and CIFAR ResNets of He et al. 2015 (sections 4.1 and 4.2), MXNet's
//! `resnet-28-small` and MLPerf Tiny's, with the keys that torchvision and akamaster's
//! pytorch_resnet_cifar10 give their tensors. The keys also tell whether shortcuts are projections,
//! and how many convolutions a block has.

mod builder;
mod families;
mod table;
mod variant;

pub use table::Arch;
pub use variant::{ShortcutOption, Stem, StrideIn, Variant};
