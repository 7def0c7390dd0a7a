//! `brooklet quantize`: from a trained network to a model file.

mod args;
mod bars;
mod doubts;
mod flash;
mod float;
mod int8;
mod made;
mod model;
mod precision;
mod report;
mod saved;

use std::ffi::OsStr;

use brooklet_import as import;
use brooklet_import::Imported;
use brooklet_plan::model_file::ModelFile;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::data::range_of_numbers;
use brooklet_quantize::evaluate::Score;
use brooklet_quantize::ranges::Ranges;
use brooklet_quantize::units;
use ndarray::Array2;

pub use args::Args;
pub(super) use args::{arch, resize, size};

use self::flash::in_eight_bits;
use self::float::Asked;
use self::model::{build, judge};
use self::report::Report;
use super::fit::Verdict;
use super::{Output, warn};
use crate::failure::{Result, failure};
use crate::report::contents::Contents;

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let mut preprocess = args.preprocess()?;
    let labels = args.labels()?;
    args.check_int16()?;
    let board = args.budget.board()?;
    let mut warnings: Vec<String> = units::of_255(&preprocess).into_iter().collect();
    if let Some(data) =
        args.calibrate.as_ref().filter(|_| preprocess.mean.or(preprocess.std).is_none())
        && let Some(range) = range_of_numbers(data)?
    {
        preprocess = units::of_numbers(range, &preprocess);
        warnings.push(features(range));
    }
    let mut made = match load(args)? {
        Imported::Quantized(network) => int8::make(args, network, &preprocess, &mut warnings)?,
        Imported::Float(network) => {
            let (network, preprocess) = units::normalization_outside(network, &preprocess);
            let (labels, board) = (labels.as_deref(), board.as_ref());
            let asked = Asked { args, preprocess: &preprocess, labels, board };
            asked.make(network, &mut warnings)?
        }
    };
    made.complete(args, labels)?;
    let int16 = made.int16(args, board.as_ref())?;
    let stream = made.stream(args, board.as_ref())?;
    if args.calibrate.is_none() {
        in_eight_bits(args, &made.program, board.as_ref())?;
    }
    let (program, plan) = args.budget.plan(made.program, board.as_ref(), &args.network)?;
    let file = build(&program, &plan, args)?;

    let evidence = match (&made.calibration, made.measured) {
        (Some(data), Some((ranges, Some(float)))) => {
            Some(judged(args, &file, data, ranges, float, &program.labels)?)
        }
        _ => None,
    };
    args.output.write(file.bytes())?;
    let contents = Contents::new(&file.model());
    let verdict = board.map(|board| Verdict::new(&board, &file)).transpose()?;
    // The file is written: it took work, and other boards may run it.
    let refused = verdict.as_ref().filter(|verdict| !verdict.fits);
    let refused = refused.map(|verdict| verdict.refused(&args.output, "is written, but "));
    warn(&warnings);
    let model = args.output.to_path_buf();
    output.print(&Report { model, contents, evidence, int16, stream, verdict, warnings })?;
    refused.map_or(Ok(()), Err)
}

/// What is done with numbers that are no pixels.
fn features([low, high]: [f32; 2]) -> String {
    format!(
        "the data are numbers from {low} to {high}, no pixels: a byte stands for each, with one scale \
         for all, which the model file holds as mean and std"
    )
}

/// The network.
fn load(args: &Args) -> Result<Imported> {
    let extension = args.network.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    if let Some("onnx" | "tflite") = extension.as_deref()
        && args.input.is_some()
    {
        return Err(failure!(
            help = "leave out --input, which is for bare weights; export the network again with another input",
            "{}: says the size of its input itself",
            args.network.display(),
        ));
    }
    let options = import::Options {
        arch: args.arch,
        variant: args.variant.into(),
        input: args.input.map(|size| size.map(|n| n as usize)),
        outputs: args.outputs.clone(),
    };
    Ok(import::load(&args.network, &options)?)
}

/// How good the model is on the calibration data; saves that with the ranges, if asked for.
fn judged(
    args: &Args,
    file: &ModelFile,
    data: &Dataset,
    ranges: Ranges,
    float: Array2<f32>,
    labels: &[String],
) -> Result<Score> {
    let score = judge(file, data, float)?;
    if let Some(path) = &args.save_ranges {
        let (evidence, labels) = (Some(score.clone()), labels.to_vec());
        let ranges = Ranges { evidence, labels, ..ranges };
        let text = serde_json::to_string_pretty(&ranges)?;
        path.write((text + "\n").as_bytes())?;
    }
    Ok(score)
}
