//! `brooklet eval`: how good a model's answers are on many images.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use ndarray::{ArrayViewD, Axis, Ix1, IxDyn, s};
use schemars::JsonSchema;
use serde::Serialize;

use super::choice::choice;
use super::{Output, progress, read, warn};
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use crate::report::{percent, table};
use brooklet_files::{InputData, InputPath, Limit, OutputPath};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_plan::packing::packed_for_simulator;
use brooklet_quantize::array;
use brooklet_quantize::data::Dataset;
use brooklet_quantize::evaluate::{
    ClassScore, FloatAnswers, Score, answers, by_class, logits_npy, outputs_npy, score,
};
use brooklet_quantize::units::Right;

/// Options of `brooklet eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// Images: a folder with a subfolder per class, a CIFAR-10 binary file, .npy, .npz, random:N.
    data: InputData,
    /// Evaluates up to this number of images.
    #[arg(long)]
    limit: Option<usize>,
    /// Skips this number of images at the start.
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Writes the int8 logits, one row per image, in the data's order; if the network ends in a map,
    /// [images, rows, columns, classes].
    #[arg(long, value_name = "FILE.npy")]
    logits: Option<OutputPath>,
    /// Writes the network's output in the same form: probabilities, if the network ends in a
    /// softmax.
    #[arg(long = "output", value_name = "FILE.npy")]
    ends_in: Option<OutputPath>,
    /// Prints how the images of each class were classified. JSON always has it.
    #[arg(long)]
    per_class: bool,
    /// Float logits of the same images, in the data's order: adds agreement and signal-to-noise
    /// ratio. A file of best classes adds the agreement only.
    #[arg(long, value_name = "LOGITS.npy")]
    float: Option<InputPath>,
    /// The least score that means class 1, for a network with one score. It is a probability (by
    /// default 0.5) if the network ends in a sigmoid, and otherwise the score itself (by default 0).
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Kernels that compute.
    #[arg(long, value_parser = choice::<HostBackend>(), default_value_t)]
    backend: HostBackend,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    #[serde(flatten)]
    score: Score,
    /// Scores of each class that has labelled images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<Class>,
    /// Whether the classes are printed for people, too.
    #[serde(skip)]
    per_class: bool,
    /// Threshold of a network with one score.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f32>,
    /// Signs that something is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Speed of the simulator on this computer.
    images_per_second: f64,
    /// The kernels, and the number of images that are computed at a time.
    backend: &'static str,
    /// Number of threads that computed.
    threads: usize,
}

/// How the images of a class were classified.
#[derive(Debug, Serialize, JsonSchema)]
struct Class {
    #[serde(flatten)]
    score: ClassScore,
    /// Its name.
    name: String,
    /// Name of the most frequent wrong answer for images of this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_for_name: Option<String>,
}

impl Class {
    fn new(file: &ModelFile, score: ClassScore) -> Self {
        // A network with one score has the classes no and yes.
        let name = |class: usize| match file.one_score() {
            Some(_) => format!("class {class}"),
            None => file.label(class),
        };
        Self { name: name(score.class), taken_for_name: score.taken_for.map(name), score }
    }
}

/// The float network's answers for the images `range`, from a file of logits (float32,
/// `[images, classes]`, or for maps `[images, rows, columns, classes]`) or of best classes (uint8 or
/// int64, `[images]`). `sizes` are those of an answer.
fn float_answers(path: &Path, range: Range<usize>, sizes: &[usize]) -> Result<FloatAnswers> {
    let bytes = read(path, Limit::Array)?;
    let first = range.start;
    let enough = |rows: usize| {
        (rows >= range.end).then_some(()).ok_or_else(|| {
            failure!(
                help = "lower --limit, or give answers for all images",
                "{}: has answers for {rows} images, but images {} to {} are evaluated",
                path.display(),
                range.start,
                range.end - 1,
            )
        })
    };
    let best = array::npy::<i64, Ix1>(&bytes)
        .or_else(|_| array::npy::<u8, Ix1>(&bytes).map(|best| best.mapv(i64::from)));
    if let (Ok(best), &[classes]) = (best, sizes) {
        enough(best.len())?;
        let best = best.slice(s![range]).to_vec();
        let known = |class: i64| usize::try_from(class).ok().filter(|&c| c < classes.max(2));
        let numbers = best.iter().map(|&class| known(class)).collect::<Option<_>>();
        return numbers.map(FloatAnswers::Best).ok_or_else(|| {
            let row = best.iter().position(|&class| known(class).is_none()).unwrap_or(0);
            failure!(
                help = "give the best classes of the same network; they count from 0",
                "{}: row {}: class {}, but the model's classes are 0 to {}",
                path.display(),
                first + row,
                best[row],
                classes.max(2) - 1,
            )
        });
    }
    let help = match sizes.len() {
        1 => {
            "give an .npy file of float32 logits [images, classes], or of the best classes as uint8 \
              or int64 [images]"
        }
        _ => "give an .npy file of float32 logits [images, rows, columns, classes]",
    };
    let logits = array::npy::<f32, IxDyn>(&bytes);
    let logits = logits.and_then(|logits| match logits.ndim() == sizes.len() + 1 {
        true => Ok(logits),
        false => Err(format!("its shape is {:?}", logits.shape())),
    });
    let logits = logits.map_err(|error| {
        failure!(help = help, "{}: does not hold float logits: {error}", path.display())
    })?;
    enough(logits.shape()[0])?;
    if logits.shape()[1..] != *sizes {
        return Err(failure!(
            help = format!("{help}, of the same network"),
            "{}: has {} logits per image, but the model has {}",
            path.display(),
            times(&logits.shape()[1..]),
            times(sizes),
        ));
    }
    let logits = logits.slice_axis(Axis(0), range.into()).as_standard_layout().into_owned();
    let finite = |answer: &ArrayViewD<'_, f32>| answer.iter().all(|logit| logit.is_finite());
    if let Some(row) = logits.outer_iter().position(|answer| !finite(&answer)) {
        return Err(failure!(
            help = "give the logits of a network whose training did not diverge, for these images",
            "{}: row {}: holds a logit that is not finite",
            path.display(),
            first + row,
        ));
    }
    let all = (logits.shape()[0], sizes.iter().product::<usize>());
    Ok(FloatAnswers::Logits(logits.into_shape_with_order(all)?))
}

/// Sizes as 12×12×3.
fn times(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = file.model();
    let mut data = Dataset::open(&args.data, file.input(), &file.preprocess())?;
    match (file.labels(), file.map()) {
        (_, Some([rows, columns, _])) if data.labels()?.iter().any(Option::is_some) => {
            return Err(failure!(
                help = "give images without classes (a folder without subfolders, .npy), and \
                        --float LOGITS.npy [images, rows, columns, classes] to compare with",
                "{}: its images have one class each, but the model answers with a map of \
                 {rows}x{columns} cells",
                args.data,
            ));
        }
        (Some(names), None) => data.number_by(&names)?,
        _ => {}
    }
    let threshold = threshold(args, &file)?;
    let end =
        args.limit.map_or(data.len(), |limit| data.len().min(args.skip.saturating_add(limit)));
    if args.skip >= end {
        return Err(failure!(
            help = "lower --skip or raise --limit",
            "{}: has {} images, and none is left to evaluate",
            args.data,
            data.len(),
        ));
    }
    let range = args.skip..end;
    data.check_labels(range.clone(), model.classes())?;
    let float = match (&args.float, file.map()) {
        (Some(path), Some(map)) => Some(float_answers(path, range.clone(), &map)?),
        (Some(path), None) => Some(float_answers(path, range.clone(), &[model.classes()])?),
        (None, _) => None,
    };
    let packed = packed_for_simulator(&file, args.backend)?;
    let simulator = packed.simulator(args.backend)?;
    let bar = progress(range.len(), "evaluating");
    let start = Instant::now();
    let answers = answers(&simulator, &data, range, || bar.inc(1))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    if let Some(path) = &args.logits {
        path.write(&logits_npy(&answers, file.logits_int16(), file.map())?)?;
    }
    if let Some(path) = &args.ends_in {
        let last = model.layer(model.output());
        let int16 = last.is_int16() || last.is_stream16();
        path.write(&outputs_npy(&answers, int16, file.map())?)?;
    }
    let quantization = model.logits_quantization();
    let logit = threshold.map_or(0.0, |threshold| logit(threshold, &file));
    let score =
        score(&answers, float.as_ref(), |q| quantization.dequantize(q), model.classes(), logit);
    let classes = by_class(&answers, |q| quantization.dequantize(q), logit);
    let classes = classes.into_iter().map(|score| Class::new(&file, score)).collect();
    let warnings = doubts(args, &answers, &score, &file);
    warn(&warnings);
    let images_per_second = score.images as f64 / seconds;
    let (backend, threads) = (simulator.backend(), rayon::current_num_threads());
    let per_class = args.per_class;
    output.print(&Report {
        score,
        classes,
        per_class,
        threshold,
        warnings,
        images_per_second,
        backend,
        threads,
    })
}

/// The threshold of a network with one score, in the unit of the report.
fn threshold(args: &Args, file: &ModelFile) -> Result<Option<f32>> {
    let remedy = |remedy: &'static str, what: &str| {
        Err(failure!(help = remedy, "{}: --threshold: {what}", args.model.display()))
    };
    match (args.threshold, file.one_score()) {
        (None, None) => Ok(None),
        (Some(_), None) => remedy("leave it out", "the network has more than one score"),
        (Some(number), Some(true)) if !(number > 0.0 && number < 1.0) => remedy(
            "give a probability above 0 and below 1",
            "this network's score is a probability",
        ),
        (Some(number), Some(_)) if !number.is_finite() => {
            remedy("give a score", "it is not finite")
        }
        (Some(number), Some(_)) => Ok(Some(number)),
        (None, Some(sigmoid)) => Ok(Some(if sigmoid { 0.5 } else { 0.0 })),
    }
}

/// Converts a threshold in the unit of the report to a logit.
fn logit(threshold: f32, file: &ModelFile) -> f32 {
    match file.one_score() {
        Some(true) => (threshold / (1.0 - threshold)).ln(),
        _ => threshold,
    }
}

/// Warnings that images may be in other units than in the network's training.
fn doubts(
    args: &Args,
    answers: &[(Answer, Option<usize>)],
    score: &Score,
    file: &ModelFile,
) -> Vec<String> {
    let all = answers.iter().filter(|(_, label)| label.is_some()).count();
    let right = (score.top1.unwrap_or(0.0) * all as f64).round() as usize;
    let right = Right { right, all };
    if !right.is_chance(file.model().classes()) {
        return Vec::new();
    }
    vec![format!(
        "{}: {} of {} labelled images are right, little more than chance: the network may have been \
         quantized without its --mean and --std, or labels and classes are in different orders; \
         `brooklet doctor NETWORK DATA` tells which, for the network that the model was made from",
        args.model.display(),
        right.right,
        right.all
    )]
}

impl Reported for Report {
    const NAME: &str = "eval";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score { images, top1, top5, agreement, sqnr_db } = self.score;
        writeln!(f, "images      {images}")?;
        for (name, share) in [("top-1", top1), ("top-5", top5), ("agreement", agreement)] {
            if let Some(share) = share {
                writeln!(f, "{name:13} {}", percent(share))?;
            }
        }
        if let Some(threshold) = self.threshold {
            writeln!(f, "threshold     {threshold}")?;
        }
        if let Some(sqnr_db) = sqnr_db {
            writeln!(f, "logits' SQNR  {sqnr_db:.2} dB")?;
        }
        let Self { images_per_second, backend, threads, .. } = self;
        writeln!(
            f,
            "speed         {images_per_second:.0} images a second: backend {backend}, {threads} at a time"
        )?;
        if !self.per_class {
            return Ok(());
        }
        let mut table = table(["class", "images", "right", "", "others taken for"], &[1, 2, 3]);
        for Class { score, name, taken_for_name } in &self.classes {
            table.add_row([
                name.clone(),
                score.images.to_string(),
                score.right.to_string(),
                percent(score.right as f64 / score.images as f64),
                taken_for_name.clone().unwrap_or_default(),
            ]);
        }
        writeln!(f, "\n{table}")
    }
}
