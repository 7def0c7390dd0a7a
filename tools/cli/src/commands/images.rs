//! How images become the input of a network.

use std::path::Path;

use brooklet::format::PreprocessingRecord;
use brooklet_files::{InputPath, Limit};
use brooklet_import::Channels;
use brooklet_quantize::data::{Preprocess, Resize};
use serde::de::DeserializeOwned;

use super::choice::choice;
use super::network::{EXTENTS, pixels, size};
use super::read;
use crate::failure::{Result, failure};

/// Preprocessing, and names of classes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ImageArgs {
    /// Resizes images so that the shorter side has this number of pixels; with HxW, to this height
    /// and width.
    #[arg(long, value_name = "PIXELS", value_parser = resize)]
    resize: Option<Resize>,
    /// Crops the centre of an image to this size, after resizing.
    #[arg(long, value_name = "HxW", value_parser = size)]
    crop: Option<[u32; 2]>,
    /// Mean of red, green and blue, for pixels from 0 to 1. Without mean and std the network takes
    /// raw pixels from 0 to 255.
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    mean: Option<[f32; 3]>,
    /// Standard deviation of red, green and blue, for pixels from 0 to 1.
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    std: Option<[f32; 3]>,
    /// Order of the channels that the network takes. Images are read as red, green, blue; for a
    /// network that takes blue, green, red, the first layer's weights are swapped. --mean and --std
    /// are in the order red, green, blue either way.
    #[arg(long, value_parser = choice::<Channels>(), default_value_t)]
    pub(super) channels: Channels,
    /// Reads resize, crop, mean and std from a JSON file: {"resize": 256, "crop": [224, 224],
    /// "mean": …}.
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["resize", "crop", "mean", "std"])]
    preprocess: Option<InputPath>,
    /// Names of the classes, one per line. Default: the calibration data's.
    #[arg(long, value_name = "FILE.txt")]
    pub(super) labels: Option<InputPath>,
}

impl ImageArgs {
    pub(super) fn preprocess(&self) -> Result<Preprocess> {
        let preprocess = match &self.preprocess {
            Some(path) => {
                let remedy = "write JSON, as in {\"resize\": 256, \"crop\": [224, 224]}";
                read_json(path, "preprocessing", remedy)?
            }
            None => {
                Preprocess { resize: self.resize, crop: self.crop, mean: self.mean, std: self.std }
            }
        };
        let wrong = |what: &str, remedy: &'static str| {
            let file = self.preprocess.as_ref().map(|path| format!("{}: ", path.display()));
            failure!(help = remedy, "{}{what}", file.unwrap_or_default())
        };
        let finite = |numbers: [f32; 3]| numbers.iter().all(|number| number.is_finite());
        let sides = preprocess.resize.iter().flat_map(Resize::sides);
        let mut extents = sides.chain(preprocess.crop.iter().flatten());
        if !extents.all(|extent| EXTENTS.contains(extent)) {
            return Err(wrong("resize and crop must be from 1 to 65535", "give sizes in pixels"));
        }
        let most = u32::from(PreprocessingRecord::MAX_RESIZE);
        if preprocess.resize.iter().flat_map(Resize::sides).any(|&side| side > most) {
            let what = format!("images are resized to at most {most} pixels");
            return Err(wrong(&what, "give the size of the shorter side, or HxW, in pixels"));
        }
        if !preprocess.mean.is_none_or(finite) {
            return Err(wrong("a mean must be a number", "give the training's values"));
        }
        if !preprocess.std.is_none_or(|std| finite(std) && std.iter().all(|std| *std > 0.0)) {
            return Err(wrong("std must be above zero", "give the training's values"));
        }
        Ok(preprocess)
    }

    pub(super) fn labels(&self) -> Result<Option<Vec<String>>> {
        let Some(path) = &self.labels else { return Ok(None) };
        let text = read_text(path, "names of classes, one per line")?;
        Ok(Some(text.lines().map(str::to_owned).collect()))
    }

    /// The options as they would be typed, with what a file of --preprocess says, but without
    /// resizing and cropping.
    pub(super) fn words(&self, preprocess: &Preprocess) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |option: &str, value: Option<String>| {
            words.extend(value.map(|value| [option.to_owned(), value]).into_iter().flatten());
        };
        let triple = |[red, green, blue]: [f32; 3]| format!("{red},{green},{blue}");
        say("--mean", preprocess.mean.map(triple));
        say("--std", preprocess.std.map(triple));
        let channels = Some(self.channels).filter(|&channels| channels != Channels::default());
        say("--channels", channels.map(|channels| channels.to_string()));
        say("--labels", self.labels.as_ref().map(|path| path.display().to_string()));
        words
    }
}

/// `256` for the shorter side, or `96x128` for height and width.
pub(super) fn resize(text: &str) -> Result<Resize, String> {
    match text.contains(['x', ',']) {
        true => size(text).map(Resize::To),
        false => pixels(text).map(Resize::Shorter),
    }
}

/// A resizing as it would be typed.
pub(super) fn resize_word(resize: Resize) -> String {
    match resize {
        Resize::Shorter(side) => side.to_string(),
        Resize::To([height, width]) => format!("{height}x{width}"),
    }
}

fn read_text(path: &Path, what: &str) -> Result<String> {
    String::from_utf8(read(path, Limit::Text)?).map_err(|_| {
        failure!(
            help = format!("give a text file of {what}"),
            "{}: is not UTF-8 text",
            path.display()
        )
    })
}

pub(super) fn read_json<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
    remedy: &'static str,
) -> Result<T> {
    serde_json::from_str(&read_text(path, what)?).map_err(|error| {
        failure!(help = remedy, "{}: does not hold {what}: {error}", path.display())
    })
}

/// `0.485,0.456,0.406`, or one number for all.
fn triple(text: &str) -> Result<[f32; 3], String> {
    let wrong = || format!("`{text}` is not three numbers: write R,G,B, as in 0.485,0.456,0.406");
    let numbers: Vec<f32> = text
        .split(',')
        .map(|number| number.trim().parse::<f32>().ok().filter(|number| number.is_finite()))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    match numbers[..] {
        [one] => Ok([one; 3]),
        [red, green, blue] => Ok([red, green, blue]),
        _ => Err(wrong()),
    }
}
