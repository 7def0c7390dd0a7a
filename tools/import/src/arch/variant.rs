//! What a network does otherwise than its architecture was published with.

use std::fmt;

use strum::{Display, EnumMessage, IntoStaticStr, VariantArray};

/// What a network may do otherwise than its architecture was published with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant {
    /// Shortcuts of the paper's section 3.3: a: where shapes change, subsampled, with channels of
    /// zeros; b: projections there; c: projections everywhere. Default: as published, or as
    /// the weights' names say.
    pub shortcut: Option<ShortcutOption>,
    /// Where a bottleneck has its stride: in the first 1x1 as in the paper, or in the 3x3 as in
    /// torchvision.
    pub stride_in: Option<StrideIn>,
    /// Convolutions under a shortcut. Default: two, or as the weights' names say.
    pub block_convs: Option<u8>,
}

/// Shortcuts, as the paper's section 3.3 tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ShortcutOption {
    /// No weights: every `stride`-th pixel, and channels of zeros.
    A,
    /// Projections where shapes change.
    B,
    /// Projections everywhere.
    C,
}

/// The convolution of a bottleneck that has its stride.
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
        Ok(())
    }
}

impl Variant {
    /// Convolutions under a shortcut.
    pub(super) fn convs(&self) -> usize {
        self.block_convs.map_or(2, usize::from)
    }
}
