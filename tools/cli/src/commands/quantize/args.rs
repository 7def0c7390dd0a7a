//! The options of `brooklet quantize`, and checks of their combinations.

use std::collections::{BTreeMap, BTreeSet};

use brooklet::format::MAX_TEST_IMAGES;
use clap::builder::TypedValueParser;

use crate::commands::bytes;
use crate::commands::choice::choice;
use crate::commands::images::ImageArgs;
use crate::commands::network::NetworkArgs;
use crate::commands::plan::Budget;
use crate::failure::{Result, failure};
use brooklet_files::{InputData, InputPath, OutputPath};
use brooklet_import::network::{Network, NodeId, Shape};
use brooklet_quantize::data::Preprocess;
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::memory::Memory;
use brooklet_quantize::precision::bits::WeightBits;
use brooklet_quantize::precision::int16;
use brooklet_quantize::recipe::{Calibration, Effort, Recipe, Stage, Stream};

/// Options of `brooklet quantize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network: .onnx, .tflite (float, or already int8), .keras, .h5, .safetensors, .pt, .pth or
    /// .th.
    pub(in crate::commands) network: InputPath,
    /// The model file to write.
    #[arg(short, long, value_name = "MODEL.brook")]
    pub(super) output: OutputPath,
    /// Images to measure activation ranges on: a folder with a subfolder per class, a CIFAR-10
    /// binary file, .npy, .npz, or random:N.
    #[arg(long, value_name = "DATA", conflicts_with = "ranges")]
    pub(super) calibrate: Option<InputData>,
    /// How much work goes into quantizing. [default: default]
    #[arg(long, value_parser = choice::<Effort>(), requires = "calibrate")]
    pub(super) effort: Option<Effort>,
    /// How activation ranges are chosen. [default: mse; with --effort best, the better of mse and
    /// auto]
    #[arg(long, value_parser = choice::<Calibration>(), requires = "calibrate")]
    pub(super) calibration: Option<Calibration>,
    /// Stages to leave out.
    #[arg(long, value_parser = choice::<Stage>(), value_name = "STAGES", value_delimiter = ',', requires = "calibrate")]
    pub(super) without: Vec<Stage>,
    /// Bits of weights. With fewer than 8, the first and the last convolution keep 8. [default: 8;
    /// with --flash, as many as fit: the layers that lose the least accuracy get fewer]
    #[arg(long, value_parser = choice::<WeightBits>(), value_name = "BITS")]
    pub(super) weights: Option<WeightBits>,
    /// Keeps the outputs of these layers in int16, where int8 is not enough: names of layers or
    /// blocks, `first` (convolution), `last` (mean and logits), or `auto`: the layers that each
    /// gain at least 0.25 dB, as measured. Rows in int16 take twice the bytes, and more
    /// instructions.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(super) int16: Vec<String>,
    /// Bits of the residual stream, to which blocks add, and of the scores. With 16, deep networks
    /// lose less accuracy; the stream's rows take twice the bytes, and instructions grow by a few
    /// percent.
    #[arg(
        long, value_parser = choice::<Stream>(), value_name = "BITS", default_value = "8",
        conflicts_with = "int16"
    )]
    pub(super) stream: Stream,
    /// Seed of everything random: the same seed and data make the same model.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Memory for weights and for the maps of images, such as 400M. With less memory, fewer images
    /// run through the network at once, and layers learn from fewer images.
    #[arg(long, value_name = "BYTES", default_value = "400M", value_parser = bytes)]
    pub(super) memory: u32,
    /// Stores up to 4 images in the model file, and the model's answers to them, with which a
    /// device tests itself. They are calibration images, or noise if there are none.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = test_images())]
    pub(super) self_test: u16,
    /// Activation ranges that an earlier calibration saved; weights are then rounded to the nearest
    /// value.
    #[arg(long, value_name = "FILE.json")]
    pub(super) ranges: Option<InputPath>,
    /// Saves the activation ranges, and the model's accuracy on the calibration data.
    #[arg(long, value_name = "FILE.json", requires = "calibrate", conflicts_with = "ranges")]
    pub(super) save_ranges: Option<OutputPath>,
    #[command(flatten)]
    pub(in crate::commands) source: NetworkArgs,
    #[command(flatten)]
    pub(in crate::commands) images: ImageArgs,
    #[command(flatten)]
    pub(in crate::commands) budget: Budget,
}

impl Args {
    /// Refuses a crop that this network's input does not take.
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
            bits: BTreeMap::new(),
            int16: BTreeSet::new(),
            stream16: self.stream == Stream::Sixteen,
            memory: Memory(self.memory as usize),
        }
    }

    /// Whether the command chooses the layers for int16.
    pub(super) fn finds_int16(&self) -> bool {
        self.int16.iter().any(|word| word == "auto")
    }

    /// Refuses options for int16 and the stream that contradict each other or need images.
    pub(super) fn check_int16(&self) -> Result<()> {
        if self.stream == Stream::Auto && self.calibrate.is_none() {
            return Err(failure!(
                help = "add --calibrate DATA, or give --stream 8 or 16",
                "--stream auto: gains are measured on images",
            ));
        }
        if self.finds_int16() && self.int16.len() > 1 {
            return Err(failure!(
                help = "give either --int16 auto or names",
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
                    help = format!("give first, last, auto, or some of: {names}"),
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
        let labels = self.images.labels.as_ref().map(shown);
        let data = labels.or_else(|| self.calibrate.as_ref().map(|data| data.to_string()));
        let from = data.or_else(|| self.ranges.as_ref().map(shown));
        from.unwrap_or_else(|| "the network".to_owned())
    }
}

/// Parses a number of test images that the model format can store.
fn test_images() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(0..=MAX_TEST_IMAGES as i64)
}
