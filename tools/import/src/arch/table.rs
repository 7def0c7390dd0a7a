//! The table of structures.

use std::fmt;
use std::str::FromStr;

use super::variant::{Stem, Variant};
use crate::error::Problem;

/// A known network structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    pub(super) name: &'static str,
    pub(super) family: Family,
    pub(super) blocks: Blocks,
    /// Number of channels of the first stage; it doubles from stage to stage.
    pub(super) width: usize,
    /// Number of blocks in each stage.
    pub(super) stages: &'static [usize],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Blocks with shortcuts.
    Residual,
    /// Blocks with shortcuts, and with batch norm and ReLU before the convolutions: the authors'
    /// follow-up.
    PreActivation,
    /// The plain networks without shortcuts, with which the paper compares.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// 3×3 stem, basic blocks, 32×32.
    Cifar,
    /// The same with bottleneck blocks, whose outputs have four times as many channels.
    CifarBottleneck,
    /// As `Cifar`, for 28×28, with biases before the batch norms and 1×1 projections.
    Mxnet,
    /// As `Cifar`, with no batch norm after the projections.
    MlPerf,
    /// 7×7 stem and pooling, basic blocks.
    Basic,
    /// The same stem, and bottleneck blocks, whose outputs have four times as many channels.
    Bottleneck,
    /// As `Basic`, with a stem of three convolutions, and averages before projections.
    Averaged,
    /// As `Cifar`, with each block's channels scaled by squeeze-and-excite.
    Squeezed,
    /// As `Cifar`, with bottlenecks of grouped convolutions.
    Aggregated,
    /// Blocks of layers that read all layers before them.
    Dense,
    /// Layers with gated outputs.
    Highway,
    /// Inverted residuals.
    Mobile,
}

impl Family {
    pub(super) fn has_bottlenecks(self) -> bool {
        matches!(self, Self::Bottleneck | Self::CifarBottleneck)
    }

    pub(super) fn is_imagenet(self) -> bool {
        matches!(self, Self::Basic | Self::Bottleneck | Self::Averaged)
    }

    /// Whether convolutions have biases even with a batch norm.
    pub(super) fn has_biases(self) -> bool {
        matches!(self, Self::Mxnet | Self::MlPerf)
    }
}

macro_rules! table {
    ($($name:literal $family:ident $blocks:ident $width:literal $stages:expr),* $(,)?) => {
        &[$(Arch {
            name: $name,
            family: Family::$family,
            blocks: Blocks::$blocks,
            width: $width,
            stages: &$stages,
        }),*]
    };
}

impl Arch {
    /// All known structures.
    pub const ALL: &'static [Arch] = table! {
        "resnet18" Basic Residual 64 [2, 2, 2, 2],
        "resnet34" Basic Residual 64 [3, 4, 6, 3],
        "resnet50" Bottleneck Residual 64 [3, 4, 6, 3],
        "resnet101" Bottleneck Residual 64 [3, 4, 23, 3],
        "resnet152" Bottleneck Residual 64 [3, 8, 36, 3],
        "resnet20" Cifar Residual 16 [3, 3, 3],
        "resnet32" Cifar Residual 16 [5, 5, 5],
        "resnet44" Cifar Residual 16 [7, 7, 7],
        "resnet56" Cifar Residual 16 [9, 9, 9],
        "resnet110" Cifar Residual 16 [18, 18, 18],
        "resnet1202" Cifar Residual 16 [200, 200, 200],
        "plain18" Basic Plain 64 [2, 2, 2, 2],
        "plain34" Basic Plain 64 [3, 4, 6, 3],
        "plain20" Cifar Plain 16 [3, 3, 3],
        "plain32" Cifar Plain 16 [5, 5, 5],
        "plain44" Cifar Plain 16 [7, 7, 7],
        "plain56" Cifar Plain 16 [9, 9, 9],
        "preact-resnet18" Cifar PreActivation 64 [2, 2, 2, 2],
        "preact-resnet20" Cifar PreActivation 16 [3, 3, 3],
        "preact-resnet110" Cifar PreActivation 16 [18, 18, 18],
        "preact-resnet164" CifarBottleneck PreActivation 16 [18, 18, 18],
        "preact-resnet1001" CifarBottleneck PreActivation 16 [111, 111, 111],
        "mxnet-small20" Mxnet Residual 16 [3, 3, 3],
        "mxnet-small56" Mxnet Residual 16 [9, 9, 9],
        "resnet8" MlPerf Residual 16 [1, 1, 1],
        "resnet8-26" MlPerf Residual 26 [1, 1, 1],
        "resnet18d" Averaged Residual 64 [2, 2, 2, 2],
        "se-resnet20" Squeezed Residual 16 [3, 3, 3],
        "resnext20" Aggregated Residual 64 [2, 2, 2],
        "densenet40" Dense Residual 24 [6, 6, 6],
        "highway20" Highway Residual 16 [5, 5, 5],
        "mobilenetv2-35" Mobile Residual 16 [1, 2, 3, 4, 3, 3, 1],
    };

    /// Its name in `--arch`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Height and width of the images for which it was published, or for which its variant is made.
    pub fn default_input(self, variant: &Variant) -> [usize; 2] {
        match self.family {
            _ if variant.stem == Some(Stem::Small) => [32, 32],
            Family::Cifar
            | Family::CifarBottleneck
            | Family::MlPerf
            | Family::Squeezed
            | Family::Aggregated
            | Family::Dense
            | Family::Highway => [32, 32],
            Family::Mxnet => [28, 28],
            Family::Basic | Family::Bottleneck | Family::Averaged => [224, 224],
            Family::Mobile => [96, 96],
        }
    }

    /// Number of classes with which it was published, or of CIFAR with the stem for small images.
    pub fn default_classes(self, variant: &Variant) -> u16 {
        let small = variant.stem == Some(Stem::Small);
        let large = self.family.is_imagenet() || self.family == Family::Mobile;
        if large && !small { 1000 } else { 10 }
    }

    /// Whether its stem may be that of a network for ImageNet or for small images.
    pub(super) fn has_stems(self) -> bool {
        matches!(self.family, Family::Basic | Family::Bottleneck)
    }

    /// Refuses a variant that does not exist for this structure.
    pub(super) fn check(self, variant: &Variant) -> Result<(), Problem> {
        let bottleneck = self.family.has_bottlenecks();
        let fixed = matches!(
            self.family,
            Family::Aggregated | Family::Dense | Family::Highway | Family::Mobile
        );
        let wrong = |option, why| Err(Problem::NoVariant { arch: self.name.into(), option, why });
        match variant {
            Variant { shortcut: Some(_), .. } if fixed => wrong("--shortcut", "has its own"),
            Variant { block_convs: Some(_), .. } if fixed => {
                wrong("--block-convs", "has blocks of its own")
            }
            Variant { shortcut: Some(_), .. } if self.blocks == Blocks::Plain => {
                wrong("--shortcut", "has no shortcuts")
            }
            Variant { stride_in: Some(_), .. } if !bottleneck => {
                wrong("--stride-in", "has no bottlenecks")
            }
            Variant { stem: Some(_), .. } if !self.has_stems() => wrong("--stem", "has its own"),
            Variant { block_convs: Some(_), .. } if bottleneck => {
                wrong("--block-convs", "has bottlenecks, of three convolutions")
            }
            _ => Ok(()),
        }
    }

    /// All names, for messages.
    pub fn list() -> String {
        Arch::ALL.iter().map(|arch| arch.name).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Arch {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Arch, Problem> {
        let known = Arch::ALL.iter().find(|arch| arch.name.eq_ignore_ascii_case(name));
        known.copied().ok_or_else(|| Problem::UnknownArch { name: name.into() })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
