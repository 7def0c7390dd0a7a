//! The options of `brooklet quantize`, and what of them is wrong by itself.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use brooklet::format::{MAX_TEST_IMAGES, PreprocessingRecord};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;

use crate::commands::choice::{VariantArgs, choice};
use crate::commands::plan::Budget;
use crate::commands::read;
use crate::failure::{Result, failure};
use brooklet_files::{InputData, InputPath, Limit, OutputPath};
use brooklet_import::Arch;
use brooklet_import::Channels;
use brooklet_import::network::{Network, NodeId, Shape};
use brooklet_quantize::data::{Preprocess, Resize};
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::precision::bits::WeightBits;
use brooklet_quantize::precision::int16;
use brooklet_quantize::recipe::{Calibration, Effort, Recipe, Stage, Stream};

/// Sizes of images, resized and cropped.
const EXTENTS: RangeInclusive<u32> = 1..=u16::MAX as u32;

/// Options of `brooklet quantize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network: .onnx, .tflite (float, or already int8), .keras, .h5, .safetensors, .pt, .pth or
    /// .th.
    pub(super) network: InputPath,
    /// The model file to write.
    #[arg(short, long, value_name = "MODEL.brook")]
    pub(super) output: OutputPath,
    /// Images to measure activation ranges on: a folder with a subfolder a class, a CIFAR-10
    /// binary file, .npy, .npz, or random:N.
    #[arg(long, value_name = "DATA", conflicts_with = "ranges")]
    pub(super) calibrate: Option<InputData>,
    /// How much work is put into it. [default: default]
    #[arg(long, value_parser = choice::<Effort>(), requires = "calibrate")]
    pub(super) effort: Option<Effort>,
    /// How activation ranges are chosen. [default: mse, and with --effort best
    /// the better of mse and auto]
    #[arg(long, value_parser = choice::<Calibration>(), requires = "calibrate")]
    pub(super) calibration: Option<Calibration>,
    /// Leaves stages out.
    #[arg(long, value_parser = choice::<Stage>(), value_name = "STAGES", value_delimiter = ',', requires = "calibrate")]
    pub(super) without: Vec<Stage>,
    /// Bits of weights. With 4 the first and the last convolution keep 8. [default: 8, and with
    /// --flash 4 where it takes them to fit]
    #[arg(long, value_parser = choice::<WeightBits>(), value_name = "BITS")]
    pub(super) weights: Option<WeightBits>,
    /// Keeps outputs of these layers in int16, where int8 is not enough: names of layers or blocks,
    /// `first` (convolution), `last` (mean and logits), or `auto`: those that bring a measured gain
    /// of 0.25 dB each. Takes twice the bytes for their rows, and more instructions.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(super) int16: Vec<String>,
    /// Bits of the residual stream, what blocks add to, and of the scores. With 16 deep networks lose
    /// less: the stream's rows take twice the bytes, instructions grow by a few percent.
    #[arg(
        long, value_parser = choice::<Stream>(), value_name = "BITS", default_value = "8",
        conflicts_with = "int16"
    )]
    pub(super) stream: Stream,
    /// Of what is drawn by lot: the same seed and data make the same model.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Stores up to 4 images in the model file, and what the model answers: a device tests itself
    /// with them. Calibration images, or noise where there are none.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = test_images())]
    pub(super) self_test: u16,
    /// Activation ranges saved by an earlier calibration; weights are then rounded to the
    /// nearest.
    #[arg(long, value_name = "FILE.json")]
    pub(super) ranges: Option<InputPath>,
    /// Saves the activation ranges, and how good the model was on the calibration data.
    #[arg(long, value_name = "FILE.json", requires = "calibrate", conflicts_with = "ranges")]
    pub(super) save_ranges: Option<OutputPath>,
    /// Architecture of bare weights, as `new` makes them.
    #[arg(long, value_name = "NAME", value_parser = arch(), ignore_case = true)]
    pub(super) arch: Option<Arch>,
    #[command(flatten)]
    pub(super) variant: VariantArgs,
    /// Height and width of the input of bare weights.
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub(super) input: Option<[u32; 2]>,
    /// Outputs of a network that has several: names in the file. [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) outputs: Vec<String>,
    /// Resizes images so that the shorter side has this number of pixels; or, given HxW, to this
    /// height and width.
    #[arg(long, value_name = "PIXELS", value_parser = resize)]
    pub(super) resize: Option<Resize>,
    /// Cuts this number of pixels out of the centre of an image, after resizing.
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub(super) crop: Option<[u32; 2]>,
    /// Mean of red, green and blue, of pixels in 0 to 1. Without mean and std the network takes
    /// raw 0 to 255.
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    pub(super) mean: Option<[f32; 3]>,
    /// Standard deviation of red, green and blue, of pixels in 0 to 1.
    #[arg(long, value_name = "R,G,B", value_parser = triple)]
    pub(super) std: Option<[f32; 3]>,
    /// Order of the channels that the network takes: images are read as red, green, blue, and for
    /// a network of blue, green, red the first layer's weights are exchanged. --mean and --std are
    /// of red, green, blue all the same.
    #[arg(long, value_parser = choice::<Channels>(), default_value_t)]
    pub(super) channels: Channels,
    /// Resize, crop, mean and std from a JSON file: {"resize": 256, "crop": [224, 224], "mean": …}.
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["resize", "crop", "mean", "std"])]
    pub(super) preprocess: Option<InputPath>,
    /// Names of the classes, a line each. Default: the calibration data's.
    #[arg(long, value_name = "FILE.txt")]
    pub(super) labels: Option<InputPath>,
    #[command(flatten)]
    pub(super) budget: Budget,
}

impl Args {
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

    /// Refuses options that would be of no use for this network.
    pub(super) fn check(&self, preprocess: &Preprocess, input: Shape) -> Result<()> {
        let [height, width, _] = input.map(|size| size as u32);
        match preprocess.crop {
            Some(crop) if crop != [height, width] => Err(failure!(
                help = format!("crop to {height}x{width}, which the network takes"),
                "{}: a crop of {}x{} does not fit its input of {height}x{width}",
                self.network.display(),
                crop[0],
                crop[1],
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn recipe(&self) -> Recipe {
        Recipe {
            effort: self.effort.unwrap_or_default(),
            calibration: self.calibration,
            without: self.without.clone(),
            seed: self.seed,
            in_four_bits: BTreeSet::new(),
            int16: BTreeSet::new(),
            stream16: self.stream == Stream::Sixteen,
        }
    }

    /// Whether layers in int16 are to be found.
    pub(super) fn finds_int16(&self) -> bool {
        self.int16.iter().any(|word| word == "auto")
    }

    /// Refuses words for int16 and the stream that contradict each other, or this input.
    pub(super) fn check_int16(&self) -> Result<()> {
        if self.stream == Stream::Auto && self.calibrate.is_none() {
            return Err(failure!(
                help = "add --calibrate DATA, or say --stream 8 or 16",
                "--stream auto: gains are measured on images",
            ));
        }
        if self.finds_int16() && self.int16.len() > 1 {
            return Err(failure!(
                help = "either --int16 auto, or names",
                "--int16: auto finds the layers itself",
            ));
        }
        if self.finds_int16() && self.calibrate.is_none() {
            return Err(failure!(
                help = "add --calibrate DATA, or name the layers",
                "--int16 auto: gains are measured on images",
            ));
        }
        Ok(())
    }

    /// The layers that are named for int16.
    pub(super) fn named_int16(&self, network: &Network) -> Result<BTreeSet<NodeId>> {
        let fused = Fused::new(network).map_err(|error| error.in_file(&self.network))?;
        let mut nodes = BTreeSet::new();
        for word in self.int16.iter().filter(|word| *word != "auto") {
            nodes.extend(int16::named(network, &fused, word).map_err(|what| {
                let names = fused.units.iter().skip(1).map(|unit| &*network.nodes[unit.node].name);
                let names = names.collect::<Vec<_>>().join(", ");
                failure!(
                    help = format!("first, last, auto, or of: {names}"),
                    "{}: --int16: {what}",
                    self.network.display(),
                )
            })?);
        }
        Ok(nodes)
    }

    /// Where the names of the classes come from.
    pub(super) fn names(&self) -> String {
        let shown = |path: &InputPath| path.display().to_string();
        let labels = self.labels.as_ref().map(shown);
        let data = labels.or_else(|| self.calibrate.as_ref().map(|data| data.to_string()));
        let from = data.or_else(|| self.ranges.as_ref().map(shown));
        from.unwrap_or_else(|| "the network".to_owned())
    }

    pub(super) fn labels(&self) -> Result<Option<Vec<String>>> {
        let Some(path) = &self.labels else { return Ok(None) };
        let text = read_text(path, "names of classes, a line each")?;
        Ok(Some(text.lines().map(str::to_owned).collect()))
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

/// The names that `--arch` takes.
pub(in crate::commands) fn arch() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.iter().map(|arch| arch.name()))
        .try_map(|name| name.parse::<Arch>())
}

/// A number of test images that the model format can have.
fn test_images() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(0..=MAX_TEST_IMAGES as i64)
}

/// A number of pixels that the model format can say.
fn pixels(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(number) if EXTENTS.contains(&number) => Ok(number),
        _ => Err(format!("`{text}` is not a number of pixels from 1 to {}", EXTENTS.end())),
    }
}

/// `256` for the shorter side, or `96x128` for height and width.
pub(in crate::commands) fn resize(text: &str) -> Result<Resize, String> {
    match text.contains(['x', ',']) {
        true => size(text).map(Resize::To),
        false => pixels(text).map(Resize::Shorter),
    }
}

/// `224x224`, or `224` for both.
pub(in crate::commands) fn size(text: &str) -> Result<[u32; 2], String> {
    let wrong = |error| format!("{error}: write HxW, as in 224x224");
    match text.split_once(['x', ',']) {
        Some((height, width)) => {
            Ok([pixels(height).map_err(wrong)?, pixels(width).map_err(wrong)?])
        }
        None => pixels(text).map(|number| [number, number]).map_err(wrong),
    }
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
