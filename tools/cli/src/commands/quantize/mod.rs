//! `brooklet quantize`: from a trained network to a model file.

mod args;
mod doubts;
mod report;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use brooklet_firmware::Spec;
use indicatif::ProgressBar;
use ndarray::Array2;

pub use args::Args;
use args::read_json;
pub(super) use args::{arch, size};
use doubts::{doubts, int8_units};
use report::{Int16, Report};

use super::fit::Verdict;
use super::{Output, progress, warn};
use crate::failure::{Failure, Result, failure};
use crate::remedies::Remedy;
use crate::report::contents::Contents;
use crate::report::thousands;
use brooklet_import as import;
use brooklet_import::Imported;
use brooklet_import::error::LayerProblem;
use brooklet_import::network::{Network, NodeId};
use brooklet_plan::cost;
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::plan::{Goal, Plan, plan};
use brooklet_plan::preprocessing::to_record;
use brooklet_plan::program::Program;
use brooklet_plan::self_test;
use brooklet_quantize::channels::absorption::Shifts;
use brooklet_quantize::channels::equalize::Factors;
use brooklet_quantize::data::{Dataset, Preprocess};
use brooklet_quantize::error::{DataError, QuantizeError, Unrepresentable};
use brooklet_quantize::evaluate::{FloatAnswers, Score, answers, score};
use brooklet_quantize::fuse::Fused;
use brooklet_quantize::lower::int8::lower;
use brooklet_quantize::precision::bits;
use brooklet_quantize::precision::bits::WeightBits;
use brooklet_quantize::precision::int16;
use brooklet_quantize::ranges::{Range, Ranges};
use brooklet_quantize::recipe::{Effort, Progress, Quantized, Recipe};
use brooklet_quantize::units;
use brooklet_quantize::weights::Learned;

/// Bytes that the model file may take.
struct FlashBudget<'b> {
    bytes: usize,
    board: Option<&'b Spec>,
    labels: Option<Vec<String>>,
}

impl FlashBudget<'_> {
    /// The convolutions that get weights in four bits.
    fn choose(
        self,
        args: &Args,
        network: &Network,
        data: &Dataset,
        preprocess: &Preprocess,
        bars: &Bars,
    ) -> Result<BTreeSet<NodeId>> {
        let failed = |failure| failed(&args.network, failure);
        // Any ranges will do: how large the file is does not depend on them.
        let int16 = args.named_int16(network)?;
        let recipe = Recipe { effort: Effort::Fast, calibration: None, int16, ..args.recipe() };
        let quick = recipe.run(network, data, preprocess, bars).map_err(failed)?;
        let at = |error: Unrepresentable| error.in_file(&args.network);
        let fused = recipe.fused(network).map_err(at)?;
        let program = fused.quantize(&quick.ranges, preprocess, &quick.learned);
        let mut program = program.map_err(at)?;
        program.preprocessing = Some(to_record(preprocess));
        program.labels = self.labels.unwrap_or_default();
        set_test_images(&mut program, args, Some(data), preprocess)?;
        let (now, saved) = args.budget.smallest(program, self.board, &args.network)?;
        if now <= self.bytes {
            return Ok(BTreeSet::new());
        }
        let candidates = bits::candidates(network, &fused, preprocess, data, bars);
        let chosen = bits::within(self.bytes, now, candidates.map_err(failed)?, |unit| saved[unit]);
        let least = now - saved.iter().sum::<usize>();
        chosen.ok_or_else(|| {
            failure!(
                help = format!("a network with fewer weights, or --flash {least}"),
                "{}: takes {} bytes of flash with all weights in 4 bits, not {}",
                args.network.display(),
                thousands(least),
                thousands(self.bytes),
            )
        })
    }
}

/// Without images no layer is given four bits: refuses what does not fit with eight, if the user
/// left the choice.
fn in_eight_bits(args: &Args, program: &Program, board: Option<&Spec>) -> Result<()> {
    let (None, Some(bytes)) = (args.weights, args.budget.flash()) else { return Ok(()) };
    let (now, _) = args.budget.smallest(program.clone(), board, &args.network)?;
    if now <= bytes {
        return Ok(());
    }
    let (why, remedy) = match args.ranges {
        Some(_) => (
            "which layers may have 4 is measured on images, not on saved ranges",
            format!(
                "--calibrate DATA instead of --ranges; or --weights 4, for all layers but the first \
                 and the last; or --flash {now}"
            ),
        ),
        None => (
            "an int8 file's weights are kept as they are",
            format!("--flash {now}, or quantize the float network that it was made of"),
        ),
    };
    Err(failure!(
        help = remedy,
        "{}: takes {} bytes of flash with weights in 8 bits, not {}: {why}",
        args.network.display(),
        thousands(now),
        thousands(bytes),
    ))
}

/// What the user is told of a network that could not be run or quantized.
pub(super) fn failed(network: &Path, error: QuantizeError) -> Failure {
    match error {
        QuantizeError::Data(error) => error.into(),
        QuantizeError::Unrepresentable(error) => error.in_file(network).into(),
        QuantizeError::Engine(_) | QuantizeError::Overflows { .. } => {
            let remedy = error.remedy().unwrap_or_default();
            failure!(help = remedy, "{}: {error}", network.display())
        }
    }
}

/// A progress bar for each part of the work.
#[derive(Default)]
struct Bars {
    bar: RefCell<Option<ProgressBar>>,
}

impl Bars {
    fn finish(&self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bars {
    fn begin(&self, what: &'static str, steps: usize) {
        self.finish();
        self.bar.replace(Some(progress(steps, what)));
    }

    fn advance(&self, steps: usize) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.inc(steps as u64);
        }
    }
}

/// The ranges of a file, which must be this network's.
fn read_ranges(path: &Path, network: &Network, fused: &Fused<'_>) -> Result<Ranges> {
    const REMEDY: &str = "give the file that --save-ranges wrote for this network, or --calibrate \
                          again";
    let ranges: Ranges = read_json(path, "activation ranges", REMEDY)?;
    let wrong =
        |layer: &str, what: &str| failure!(help = REMEDY, "{}: `{layer}`: {what}", path.display());
    for (name, range) in &ranges.ranges {
        if !network.nodes.iter().any(|node| node.name == *name) {
            return Err(wrong(name, "the network has no such layer"));
        }
        let Range { min, max } = *range;
        if !(min.is_finite() && max.is_finite() && min <= 0.0 && max >= 0.0) {
            let what = format!("{min} to {max} is not a range around zero");
            return Err(wrong(name, &what));
        }
    }
    let of_channels = |(name, values): (&String, &Vec<f32>), may: fn(f32) -> bool| {
        let node = network.nodes.iter().find(|node| node.name == *name);
        node.is_some_and(|node| node.shape[2] == values.len())
            && values.iter().all(|&value| value.is_finite() && may(value))
    };
    if let Some((name, _)) = ranges.equalization.iter().find(|&of| !of_channels(of, |s| s > 0.0)) {
        return Err(wrong(name, "its equalization is not one positive factor a channel"));
    }
    if let Some((name, _)) = ranges.absorption.iter().find(|&of| !of_channels(of, |c| c >= 0.0)) {
        return Err(wrong(name, "its absorption is not one value of at least 0 a channel"));
    }
    for node in fused.calibrated().map(|node| &network.nodes[node]) {
        if !ranges.ranges.contains_key(&node.name) {
            return Err(wrong(&node.name, "has no range"));
        }
    }
    Ok(ranges)
}

/// Layers that seem to be worth int16.
struct Found {
    nodes: BTreeSet<NodeId>,
    /// Their names, and what each brings, in dB.
    gains: Vec<(String, f64)>,
    /// All in int8.
    int8: Program,
    /// How good that is on the calibration data.
    int8_sqnr_db: Option<f64>,
}

/// Finds the layers of a network, quantized to int8, that are worth int16.
fn find_int16(
    args: &Args,
    recipe: &Recipe,
    quantized: &Quantized,
    data: &Dataset,
    preprocess: &Preprocess,
    bars: &Bars,
) -> Result<Option<Found>> {
    let int8 = program(recipe, quantized, preprocess);
    let int8 = int8.map_err(|error| error.in_file(&args.network))?;
    let network = &quantized.network;
    let found = int16::worthwhile(network, &int8, preprocess, data, bars)
        .map_err(|failure| failed(&args.network, failure))?;
    if found.is_empty() {
        return Ok(None);
    }
    let name = |gain: &int16::Gain| (network.nodes[gain.node].name.clone(), gain.db);
    Ok(Some(Found {
        nodes: found.iter().map(|gain| gain.node).collect(),
        gains: found.iter().map(name).collect(),
        int8_sqnr_db: sqnr_db(&int8, data, quantized, args)?,
        int8,
    }))
}

/// The program of a quantized network.
fn program(
    recipe: &Recipe,
    quantized: &Quantized,
    preprocess: &Preprocess,
) -> Result<Program, Unrepresentable> {
    let Quantized { network, ranges, learned, .. } = quantized;
    recipe.fused(network)?.quantize(ranges, preprocess, learned)
}

/// How good a program is on the calibration data.
fn sqnr_db(
    program: &Program,
    data: &Dataset,
    quantized: &Quantized,
    args: &Args,
) -> Result<Option<f64>> {
    let file = build(program, &plan(program, Goal::Size)?, args)?;
    Ok(judge(&file, data, quantized.logits.clone())?.sqnr_db)
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let preprocess = args.preprocess()?;
    let labels = args.labels()?;
    args.check_int16()?;
    let board = args.budget.board()?;
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
    };
    let at = |error: Unrepresentable| error.in_file(&args.network);
    let mut calibration = None;
    // For int16: what each layer brings, and what it would be without.
    let (mut gains, mut int8_program, mut int8_sqnr_db) = (Vec::new(), None, None);
    let mut warnings: Vec<String> = units::of_255(&preprocess).into_iter().collect();
    let mut preprocess = preprocess;
    let in_file = |problem: LayerProblem| problem.in_file(&args.network);
    let (mut program, measured) = match import::load(&args.network, &options)? {
        Imported::Quantized(network) => {
            if args.calibrate.is_some() || args.ranges.is_some() {
                return Err(failure!(
                    help = "leave out --calibrate and --ranges: the file's own scales are kept",
                    "{}: is already int8",
                    args.network.display(),
                ));
            }
            if args.weights == Some(WeightBits::Four) {
                return Err(failure!(
                    help = "leave out --weights, or quantize the float network that it was made of",
                    "{}: is already int8",
                    args.network.display(),
                ));
            }
            if !args.int16.is_empty() {
                return Err(failure!(
                    help = "leave out --int16, or quantize the float network that it was made of",
                    "{}: is already int8",
                    args.network.display(),
                ));
            }
            args.check(&preprocess, network.input)?;
            let network = network.for_rgb(args.channels).map_err(in_file)?;
            preprocess = int8_units(args, &network.nodes[0], &preprocess, &mut warnings)?;
            (lower(&network, &preprocess).map_err(at)?, None)
        }
        Imported::Float(network) => {
            args.check(&preprocess, network.input)?;
            let network = network.for_rgb(args.channels).map_err(in_file)?;
            let classes: usize = network.nodes[network.logits()].shape.iter().product();
            check_names(args, classes, labels.as_deref().unwrap_or_default())?;
            let mut recipe = Recipe { int16: args.named_int16(&network)?, ..args.recipe() };
            if args.weights == Some(WeightBits::Four) {
                recipe.in_four_bits = bits::inner(&network, &Fused::new(&network).map_err(at)?);
            }
            let (network, ranges, learned, float) = match (&args.calibrate, &args.ranges) {
                (Some(spec), _) => {
                    Fused::new(&network).map_err(at)?;
                    let mut data = Dataset::open(spec, network.input, &preprocess)?;
                    match &labels {
                        Some(names) => data.number_by(names)?,
                        None => check_names(args, classes, data.classes().unwrap_or_default())?,
                    }
                    data.check_labels(0..data.len(), classes)?;
                    let bars = Bars::default();
                    if let (None, Some(bytes)) = (args.weights, args.budget.flash()) {
                        let labels = labels.clone().or_else(|| data.classes().map(<[_]>::to_vec));
                        let budget = FlashBudget { bytes, board: board.as_ref(), labels };
                        recipe.in_four_bits =
                            budget.choose(args, &network, &data, &preprocess, &bars)?;
                    }
                    let failed = |failure| failed(&args.network, failure);
                    let run = |recipe: &Recipe| {
                        recipe.run(&network, &data, &preprocess, &bars).map_err(failed)
                    };
                    let mut quantized = run(&recipe)?;
                    if args.finds_int16()
                        && let Some(found) =
                            find_int16(args, &recipe, &quantized, &data, &preprocess, &bars)?
                    {
                        let wide = Recipe { int16: found.nodes, ..recipe.clone() };
                        let learned = run(&wide)?;
                        let program = program(&wide, &learned, &preprocess).map_err(at)?;
                        let now = sqnr_db(&program, &data, &learned, args)?;
                        // What was found is a simulation's; what counts is the model.
                        if now >= found.int8_sqnr_db.map(|db| db + int16::MARGIN_DB) {
                            gains = found.gains;
                            int8_program = Some(found.int8);
                            int8_sqnr_db = found.int8_sqnr_db;
                            (recipe, quantized) = (wide, learned);
                        }
                    }
                    bars.finish();
                    warnings.extend(doubts(args, &network, &data, &preprocess, &quantized)?);
                    let Quantized { network, ranges, learned, logits } = quantized;
                    calibration = Some(data);
                    (network, ranges, learned, Some(logits))
                }
                (None, Some(path)) => {
                    let fused = Fused::new(&network).map_err(at)?;
                    let ranges = read_ranges(path, &network, &fused)?;
                    let shifts = Shifts::named(&network, &fused, &ranges.absorption);
                    let factors = Factors::named(&network, &ranges.equalization);
                    (factors.apply(&shifts.apply(&network)), ranges, Learned::new(), None)
                }
                (None, None) => {
                    return Err(failure!(
                        help = "add --calibrate DATA (images like those it will see), or --ranges \
                                FILE from an earlier calibration; random:100 only tries things out",
                        "{}: activation ranges are needed to quantize a float network",
                        args.network.display(),
                    ));
                }
            };
            let fused = recipe.fused(&network).map_err(at)?;
            // What cannot be represented are then the ranges, if they come from a file.
            let from = args.ranges.as_ref().unwrap_or(&args.network);
            let program = fused.quantize(&ranges, &preprocess, &learned);
            let program = program.map_err(|error| error.in_file(from))?;
            if !recipe.int16.is_empty() && int8_program.is_none() {
                let int8 = Recipe { int16: BTreeSet::new(), ..recipe };
                let int8 = int8.fused(&network).map_err(at)?;
                // What it costs does not depend on the ranges, as long as there are some.
                int8_program = int8.quantize(&ranges, &preprocess, &learned).ok();
            }
            (program, Some((ranges, float)))
        }
    };
    program.preprocessing = Some(to_record(&preprocess));
    let data_labels = || calibration.as_ref().and_then(|data| data.classes().map(<[_]>::to_vec));
    let saved_labels = || measured.as_ref().map(|(ranges, _)| ranges.labels.clone());
    program.labels = labels.or_else(data_labels).or_else(saved_labels).unwrap_or_default();
    set_test_images(&mut program, args, calibration.as_ref(), &preprocess)?;
    if let ([_, named], 1) = (&program.labels[..], program.classes()) {
        // What one score says to be there.
        program.labels = vec![named.clone()];
    }
    let mut int16 = (!args.int16.is_empty()).then(|| Int16::new(&program, &gains));
    if let (Some(int16), Some(mut int8)) = (&mut int16, int8_program) {
        int8.preprocessing = program.preprocessing;
        int16.int8_sqnr_db = int8_sqnr_db;
        let instructions = |program: &Program| {
            let costs = board.as_ref().and_then(cost::of)?;
            costs.total(program.layers.iter().map(|layer| &layer.record))
        };
        let (int8, plan) = args.budget.plan(int8, board.as_ref(), &args.network)?;
        int16.int8_arena_bytes = Some(plan.arena_bytes);
        let (wide, _) = args.budget.plan(program.clone(), board.as_ref(), &args.network)?;
        int16.instructions = instructions(&int8).zip(instructions(&wide)).map(<[u64; 2]>::from);
    }
    if args.calibrate.is_none() {
        in_eight_bits(args, &program, board.as_ref())?;
    }
    let (program, plan) = args.budget.plan(program, board.as_ref(), &args.network)?;
    let file = build(&program, &plan, args)?;

    let mut evidence = None;
    if let (Some(data), Some((ranges, Some(float)))) = (&calibration, measured) {
        let score = judge(&file, data, float)?;
        if let Some(path) = &args.save_ranges {
            let ranges =
                Ranges { evidence: Some(score.clone()), labels: program.labels.clone(), ..ranges };
            let text = serde_json::to_string_pretty(&ranges)?;
            path.write((text + "\n").as_bytes())?;
        }
        evidence = Some(score);
    }
    args.output.write(file.bytes())?;
    let contents = Contents::new(&file.model());
    let verdict = board.map(|board| Verdict::new(&board, &file)).transpose()?;
    // The file is written: it took work, and other boards may run it.
    let refused = verdict.as_ref().filter(|verdict| !verdict.fits);
    let refused = refused.map(|verdict| verdict.refused(&args.output, "is written, but "));
    warn(&warnings);
    let model = args.output.to_path_buf();
    output.print(&Report { model, contents, evidence, int16, verdict, warnings })?;
    refused.map_or(Ok(()), Err)
}

/// Chooses the test images that the model file shall carry: from the whole of the data if there
/// is some, else noise.
fn set_test_images(
    program: &mut Program,
    args: &Args,
    data: Option<&Dataset>,
    preprocess: &Preprocess,
) -> Result<()> {
    let count = usize::from(args.self_test);
    if count == 0 {
        return Ok(());
    }
    let shape = program.layers[0].record.shape();
    let input = [shape.rows, shape.columns, shape.channels].map(usize::from);
    let noise = match data {
        Some(_) => None,
        None => Some(Dataset::open(&format!("random:{count}"), input, preprocess)?),
    };
    let Some(data) = data.or(noise.as_ref()) else { return Ok(()) };
    if data.len() < count {
        return Err(failure!(
            help = format!("--self-test {}, or more calibration data", data.len()),
            "--self-test {count}: the calibration data has {} images",
            data.len(),
        ));
    }
    let pixels = |index| Ok(data.get(index)?.pixels.as_standard_layout().iter().copied().collect());
    let images: Result<_, DataError> = data.spread(count).into_iter().map(pixels).collect();
    program.set_test_images(images?);
    Ok(())
}

/// Refuses names that are not one a class: before the long work, where they are known by then.
fn check_names(args: &Args, classes: usize, names: &[String]) -> Result<()> {
    // One score tells two classes apart.
    if names.is_empty() || names.len() == classes || (names.len(), classes) == (2, 1) {
        return Ok(());
    }
    Err(failure!(
        help = "give --labels FILE.txt with a line a class",
        "{}: has {classes} classes, but {} has {} names",
        args.network.display(),
        args.names(),
        names.len(),
    ))
}

/// The model file of a program, checked by the core.
fn build(program: &Program, plan: &Plan, args: &Args) -> Result<ModelFile> {
    check_names(args, program.classes(), &program.labels)?;
    let file = self_test::build(program, plan, &args.output);
    file.map_err(|error| match error.problem {
        brooklet_plan::model_file::ModelProblem::Refused {
            error: brooklet::Error::Layer { layer, fault },
        } => failure!(
            help =
                "check the network's weights and ranges in this layer, and the size of its input",
            "{}: `{}`: {fault}",
            args.network.display(),
            program.layers[usize::from(layer)].name,
        ),
        _ => error.into(),
    })
}

/// How good the model is on the calibration data, against the float network.
fn judge(file: &ModelFile, data: &Dataset, float: Array2<f32>) -> Result<Score> {
    let simulator = file.simulator(HostBackend::Auto)?;
    let bar = progress(data.len(), "evaluating");
    let answers = answers(&simulator, data, 0..data.len(), || bar.inc(1))?;
    bar.finish_and_clear();
    let quantization = file.model().logits_quantization();
    let float = FloatAnswers::Logits(float);
    Ok(score(&answers, Some(&float), |q| quantization.dequantize(q), 0.0))
}
