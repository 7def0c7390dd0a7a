//! The structures that `--arch` names, to be filled with named weights.
//!
//! The ImageNet and CIFAR ResNets of He et al. 2015 (sections 4.1 and 4.2), MXNet's
//! `resnet-28-small` and MLPerf Tiny's, with the keys that torchvision and akamaster's
//! pytorch_resnet_cifar10 give to their tensors. Whether shortcuts are projections, and how many
//! convolutions a block has, is read from the keys.

mod builder;
mod families;
mod table;
mod variant;

pub use table::Arch;
pub use variant::{ShortcutOption, StrideIn, Variant};
