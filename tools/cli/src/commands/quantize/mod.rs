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
pub(super) mod report;
mod saved;

use brooklet_firmware::Spec;
use brooklet_import::Imported;
use brooklet_plan::cost;
use brooklet_plan::model_file::ModelFile;
use brooklet_quantize::data::range_of_numbers;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::evaluate::Score;
use brooklet_quantize::ranges::Ranges;
use brooklet_quantize::units;
use ndarray::Array2;

pub(super) use self::made::Made;
pub(super) use self::model::{build, judge};
pub use args::Args;

use self::flash::in_eight_bits;
use self::float::Asked;
use self::report::Report;
use super::fit::Verdict;
use super::{Output, Stage, detail, warn};
use crate::failure::Result;
use crate::report::contents::Contents;

/// A network as it was read.
pub(super) struct Prepared {
    pub(super) network: Imported,
    pub(super) preprocess: Preprocess,
    pub(super) warnings: Vec<String>,
}

/// Reads the network, and finds out how its images are normalized.
pub(super) fn prepare(args: &Args) -> Result<Prepared> {
    let mut preprocess = args.images.preprocess()?;
    args.check_int16()?;
    let mut warnings: Vec<String> = units::of_255(&preprocess).into_iter().collect();
    if let Some(data) =
        args.calibrate.as_ref().filter(|_| preprocess.mean.or(preprocess.std).is_none())
        && let Some(range) = range_of_numbers(data)?
    {
        preprocess = units::of_numbers(range, &preprocess);
        warnings.push(features(range));
    }
    let stage = Stage::new(format!("reading {}", args.network.display()));
    let network = args.source.load(&args.network)?;
    drop(stage);
    detail(|| read(&network));
    let (network, preprocess) = match network {
        Imported::Float(network) => {
            let (network, preprocess) = units::normalization_outside(network, &preprocess);
            (Imported::Float(network), preprocess)
        }
        quantized => (quantized, preprocess),
    };
    Ok(Prepared { network, preprocess, warnings })
}

/// What was read, in words.
fn read(network: &Imported) -> String {
    let (kind, [rows, columns, channels], nodes) = match network {
        Imported::Float(network) => ("float", network.input, network.nodes.len()),
        Imported::Quantized(network) => ("quantized", network.input, network.nodes.len()),
    };
    format!("a {kind} network of {nodes} nodes, image {rows}x{columns}x{channels}")
}

/// The program of a network, with everything that the file stores besides its layers.
pub(super) fn make(
    args: &Args,
    prepared: Prepared,
    labels: Option<Vec<String>>,
    board: Option<&Spec>,
) -> Result<(Made, Vec<String>)> {
    let Prepared { network, preprocess, mut warnings } = prepared;
    let mut made = match network {
        Imported::Quantized(network) => int8::make(args, network, &preprocess, &mut warnings)?,
        Imported::Float(network) => {
            let asked = Asked { args, preprocess: &preprocess, labels: labels.as_deref(), board };
            asked.make(network, &mut warnings)?
        }
    };
    made.complete(args, labels)?;
    Ok((made, warnings))
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let board = args.budget.board()?;
    let labels = args.images.labels()?;
    let (mut made, warnings) = make(args, prepare(args)?, labels, board.as_ref())?;
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
    let mut contents = Contents::new(&file.model());
    // For a new backend no costs may be known.
    if let Some((board, costs)) = board.as_ref().zip(board.as_ref().and_then(cost::of)) {
        contents = contents.on(&file.model(), board, &costs);
    }
    let verdict = board.map(|board| Verdict::new(&board, &file)).transpose()?;
    // The file is written even if it does not fit, because making it took time, and another board may
    // run it.
    let refused = verdict.as_ref().filter(|verdict| !verdict.fits);
    let refused = refused.map(|verdict| verdict.refused(&args.output, "is written, but "));
    warn(&warnings);
    let model = args.output.to_path_buf();
    output.print(&Report { model, contents, evidence, int16, stream, verdict, warnings })?;
    refused.map_or(Ok(()), Err)
}

/// A warning for data that are not pixels.
fn features([low, high]: [f32; 2]) -> String {
    format!(
        "the data are numbers from {low} to {high}, not pixels: each number is quantized to a byte with \
         the same scale, which the model file stores as mean and std"
    )
}

/// Measures the model on the calibration data, and saves the score with the ranges, if asked to.
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
