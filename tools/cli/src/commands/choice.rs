//! Options that take one of a few words. The words and their help come from the libraries' enums.

use brooklet::kernels::Isa;
use brooklet_plan::packing::Kernels;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use strum::{EnumMessage, VariantArray};

use brooklet_import::{ShortcutOption, Stem, StrideIn, Variant};

/// The parser of an option whose words are the names of `T`'s variants.
pub(crate) fn choice<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantArray + EnumMessage + Copy + Into<&'static str> + Send + Sync + 'static,
{
    let value = |variant: &T| {
        let about = variant.get_documentation().unwrap_or_default();
        PossibleValue::new(word(*variant)).help(about.trim_end_matches('.'))
    };
    PossibleValuesParser::new(T::VARIANTS.iter().map(value)).try_map(|name| {
        let named = T::VARIANTS.iter().find(|&&variant| word(variant).eq_ignore_ascii_case(&name));
        named.copied().ok_or("no such word")
    })
}

/// The name of a variant.
fn word(variant: impl Into<&'static str>) -> &'static str {
    variant.into()
}

/// The parser of an option that names a device's kernels.
pub(crate) fn kernels() -> impl TypedValueParser<Value = Kernels> {
    let value = |isa: Isa| PossibleValue::new(isa.name).help(isa.cores);
    PossibleValuesParser::new(Isa::DEVICES.map(value))
        .try_map(|name| Kernels::named(&name).ok_or("no such kernels"))
}

/// Where a network of bare weights differs from its architecture as published.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct VariantArgs {
    /// Kind of shortcuts where shapes change, from the paper's section 3.3: a: subsampled, with
    /// channels of zeros; b: projections; c: projections, also where shapes stay the same. Default:
    /// as published, or as the weights' names say.
    #[arg(long, value_parser = choice::<ShortcutOption>(), ignore_case = true)]
    shortcut: Option<ShortcutOption>,
    /// The convolution of a bottleneck that has the stride: the first 1x1, as in the paper, or the
    /// 3x3, as in torchvision.
    #[arg(long, value_parser = choice::<StrideIn>())]
    stride_in: Option<StrideIn>,
    /// Number of convolutions under a shortcut. Default: 2, or as the weights' names say.
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..=8))]
    block_convs: Option<u8>,
    /// What precedes the first block of an ImageNet network: a 7x7 convolution with stride 2 and a
    /// max-pool, or a 3x3 convolution with stride 1, for images as small as CIFAR's. Default: as
    /// published, or as the shape of the first weights says.
    #[arg(long, value_parser = choice::<Stem>())]
    stem: Option<Stem>,
}

impl VariantArgs {
    /// The options that were given, with their values.
    pub(crate) fn words(self) -> Vec<(&'static str, String)> {
        let Self { shortcut, stride_in, block_convs, stem } = self;
        let shortcut = shortcut.map(|option| ("--shortcut", word(option).to_owned()));
        let stride_in = stride_in.map(|place| ("--stride-in", word(place).to_owned()));
        let block_convs = block_convs.map(|convs| ("--block-convs", convs.to_string()));
        let stem = stem.map(|stem| ("--stem", word(stem).to_owned()));
        [shortcut, stride_in, block_convs, stem].into_iter().flatten().collect()
    }
}

impl From<VariantArgs> for Variant {
    fn from(args: VariantArgs) -> Self {
        let VariantArgs { shortcut, stride_in, block_convs, stem } = args;
        Self { shortcut, stride_in, block_convs, stem }
    }
}
