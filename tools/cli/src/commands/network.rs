//! Reads a network, and takes from the options what its file does not say.

use std::ops::RangeInclusive;

use brooklet_import::{self as import, Arch, Imported};
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::choice::VariantArgs;
use crate::failure::{Result, failure};
use brooklet_files::InputPath;

/// Sizes in pixels that the model format can store.
pub(super) const EXTENTS: RangeInclusive<u32> = 1..=u16::MAX as u32;

/// What a network's file may leave open.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NetworkArgs {
    /// Architecture of a file of bare weights, such as `new` writes.
    #[arg(long, value_name = "NAME", value_parser = arch(), ignore_case = true)]
    arch: Option<Arch>,
    #[command(flatten)]
    variant: VariantArgs,
    /// Height and width of the input: needed for bare weights; otherwise replaces the size in the
    /// float network's file.
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub(super) input: Option<[u32; 2]>,
    /// Outputs to keep of a network that has several: names in the file. [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Vec<String>,
}

impl NetworkArgs {
    /// Reads the network of a file.
    pub(super) fn load(&self, file: &InputPath) -> Result<Imported> {
        let input = self.input.map(|size| size.map(|n| n as usize));
        let options = import::Options {
            arch: self.arch,
            variant: self.variant.into(),
            input,
            outputs: self.outputs.clone(),
        };
        match (import::load(file, &options)?, input) {
            (Imported::Float(network), Some(size)) if network.input[..2] != size => {
                let resized = network.resized(size);
                Ok(Imported::Float(resized.map_err(|problem| problem.in_file(file))?))
            }
            (Imported::Quantized(network), Some(size)) if network.input[..2] != size => {
                Err(failure!(
                    help = "leave out --input, or quantize the float network that it was made of",
                    "{}: is already int8, and its file gives the size of its input",
                    file.display(),
                ))
            }
            (imported, _) => Ok(imported),
        }
    }

    /// The options as they would be typed, without the size of the input.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |option: &str, value: Option<String>| {
            words.extend(value.map(|value| [option.to_owned(), value]).into_iter().flatten());
        };
        say("--arch", self.arch.map(|arch| arch.name().to_owned()));
        for (option, value) in self.variant.words() {
            say(option, Some(value));
        }
        say("--outputs", (!self.outputs.is_empty()).then(|| self.outputs.join(",")));
        words
    }
}

/// The names that `--arch` takes.
pub(super) fn arch() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.iter().map(|arch| arch.name()))
        .try_map(|name| name.parse::<Arch>())
}

/// Parses a number of pixels that the model format can store.
pub(super) fn pixels(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(number) if EXTENTS.contains(&number) => Ok(number),
        _ => Err(format!("`{text}` is not a number of pixels from 1 to {}", EXTENTS.end())),
    }
}

/// `224x224`, or `224` for both.
pub(super) fn size(text: &str) -> Result<[u32; 2], String> {
    let wrong = |error| format!("{error}: write HxW, as in 224x224");
    match text.split_once(['x', ',']) {
        Some((height, width)) => {
            Ok([pixels(height).map_err(wrong)?, pixels(width).map_err(wrong)?])
        }
        None => pixels(text).map(|number| [number, number]).map_err(wrong),
    }
}
