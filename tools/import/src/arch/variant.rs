//! Differences between a network and its architecture as published.

use std::fmt;

use strum::{Display, EnumMessage, IntoStaticStr, VariantArray};

/// Differences between a network and its architecture as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant {
    /// Kind of shortcuts where shapes change, from the paper's section 3.3: a: subsampled, with
    /// channels of zeros; b: projections; c: projections, also where shapes stay the same.
    ///
    /// Default: as published, or as the weights' names say.
    pub shortcut: Option<ShortcutOption>,
    /// The convolution of a bottleneck that has the stride: the first 1x1, as in the paper, or the
    /// 3x3, as in torchvision.
    pub stride_in: Option<StrideIn>,
    /// Number of convolutions under a shortcut.
    ///
    /// Default: 2, or as the weights' names say.
    pub block_convs: Option<u8>,
    /// What precedes the first block of an ImageNet network.
    ///
    /// Default: as published, or as the shape of the first weights says.
    pub stem: Option<Stem>,
}

/// Kinds of shortcuts, from the paper's section 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ShortcutOption {
    /// Without weights: every `stride`-th pixel, and channels of zeros.
    A,
    /// Projections where shapes change.
    B,
    /// Projections everywhere.
    C,
}

/// The convolution of a bottleneck that has the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum StrideIn {
    /// The first, as in the paper.
    #[strum(serialize = "1x1")]
    First,
    /// The second, as in torchvision.
    #[strum(serialize = "3x3")]
    Second,
}

/// What precedes the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Stem {
    /// For ImageNet: a convolution with stride 2, and a max-pool.
    #[strum(serialize = "7x7")]
    Large,
    /// For small images such as those of CIFAR: a convolution with stride 1.
    #[strum(serialize = "3x3")]
    Small,
}

impl fmt::Display for Variant {
    /// As options of the command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shortcut) = self.shortcut {
            write!(f, " --shortcut {shortcut}")?;
        }
        if let Some(stride_in) = self.stride_in {
            write!(f, " --stride-in {stride_in}")?;
        }
        if let Some(convs) = self.block_convs {
            write!(f, " --block-convs {convs}")?;
        }
        if let Some(stem) = self.stem {
            write!(f, " --stem {stem}")?;
        }
        Ok(())
    }
}

impl Variant {
    /// Number of convolutions under a shortcut.
    pub(super) fn convs(&self) -> usize {
        self.block_convs.map_or(2, usize::from)
    }
}
