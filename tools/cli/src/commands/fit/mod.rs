//! `brooklet fit`: on which boards a model runs, and the best models of a network for a board.
//!
//! `Verdict::new` alone decides whether a model fits, for `plan`, `quantize` and `flash`, too. It
//! judges the model packed as the board's firmware runs it, by the limits that the firmware checks.

pub(super) mod boards;
mod candidates;
pub(super) mod points;
mod search;
mod verdict;

pub(super) use verdict::Verdict;

use std::ffi::OsStr;

use super::Output;
use super::chip::Device;
use super::choice::choice;
use super::images::ImageArgs;
use super::network::NetworkArgs;
use crate::failure::{Result, failure};
use brooklet_files::{InputData, InputPath, OutputPath};
use brooklet_plan::model_file::ModelFile;
use brooklet_quantize::recipe::Effort;

/// Options of `brooklet fit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file; with --calibrate, the network.
    file: InputPath,
    /// Searches for the best models of a network for a board: quantizes it with several settings with
    /// these images, as `quantize` does, and plans each for RAM, flash and speed.
    #[arg(long, value_name = "DATA")]
    calibrate: Option<InputData>,
    /// Writes the chosen model to this file.
    #[arg(short, long, value_name = "MODEL.brook", requires = "calibrate")]
    output: Option<OutputPath>,
    /// Images on which the models are judged. Default: those of --calibrate.
    #[arg(long, value_name = "DATA", requires = "calibrate")]
    test: Option<InputData>,
    /// Judges on up to this number of images.
    #[arg(long, value_name = "IMAGES", requires = "calibrate", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    device: Device,
    /// Leaves out models whose predicted time for an image is longer, in milliseconds.
    #[arg(long, value_name = "MS", requires = "calibrate")]
    max_ms: Option<f64>,
    /// Clock of the core. Default: the board's.
    #[arg(long, value_name = "MHZ", requires = "calibrate")]
    mhz: Option<f64>,
    /// Percentage points that the chosen model may be below the accuracy in float. Within this
    /// margin, the fastest model is chosen.
    #[arg(long, value_name = "POINTS", default_value_t = 0.2)]
    within: f64,
    /// Also tries smaller images.
    #[arg(long, requires = "calibrate")]
    allow_smaller_input: bool,
    /// How much work goes into each model. [default: default]
    #[arg(long, value_parser = choice::<Effort>(), requires = "calibrate")]
    effort: Option<Effort>,
    /// Seed of everything random: the same seed and data make the same models.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    source: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    if let Some(calibrate) = &args.calibrate {
        return search::run(args, calibrate, output);
    }
    let extension = args.file.extension().and_then(OsStr::to_str).unwrap_or_default();
    let networks = ["onnx", "tflite", "keras", "h5", "safetensors", "pt", "pth", "th"];
    if networks.contains(&extension.to_ascii_lowercase().as_str()) {
        return Err(failure!(
            help = "add --calibrate DATA and --board NAME to search for its best models; or \
                    give a model file, as `quantize` writes it",
            "{}: is a network, not a model file",
            args.file.display()
        ));
    }
    let file = ModelFile::open(&args.file)?;
    let device = &args.device;
    let named = device.board.is_some() || device.chip.is_some();
    if device.flash.is_some() && !named {
        return Err(failure!(
            help = "add --board NAME, `brooklet boards` lists them, or --chip CORE",
            "--flash needs a board or chip, whose kernels the weights are packed for"
        ));
    }
    // Without --board or --chip all boards are listed, even if $BROOKLET_BOARD is set.
    let spec = if named { device.spec()? } else { None };
    boards::list(&file, spec.as_ref(), output)
}
