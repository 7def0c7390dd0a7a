//! `brooklet doctor`: which preprocessing a network was trained with.

use std::fmt;
use std::path::Path;

use ndarray::{Array2, Array4, Axis, concatenate};
use schemars::JsonSchema;
use serde::Serialize;

use super::images::resize;
use super::network::{NetworkArgs, size};
use super::{Output, progress, read};
use crate::failure::{Result, failed, failure};
use crate::report::schema::Reported;
use crate::report::{percent, table};
use brooklet_files::{InputData, InputPath, Limit};
use brooklet_import::Channels;
use brooklet_import::Imported;
use brooklet_import::network::QuantizedNetwork;
use brooklet_plan::model_file::{HostBackend, ModelFile};
use brooklet_plan::plan::{Goal, plan};
use brooklet_quantize::data::{Dataset, Preprocess, Resize};
use brooklet_quantize::error::EngineError;
use brooklet_quantize::evaluate::best;
use brooklet_quantize::forward::BATCH;
use brooklet_quantize::forward::FloatModel;
use brooklet_quantize::lower::int8::lower;
use brooklet_quantize::units::{self, CONVENTIONS, Convention, Right, at_least};

/// Options of `brooklet doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network, float or int8, as `quantize` takes it.
    network: InputPath,
    /// Labelled images: a folder with a subfolder per class, a CIFAR-10 binary file, .npz.
    data: InputData,
    /// Names of the classes in the network's order, one per line: the names of the data's folders.
    #[arg(long, value_name = "FILE.txt")]
    labels: Option<InputPath>,
    /// Tries up to this number of images, spread over the whole of the data.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    #[command(flatten)]
    source: NetworkArgs,
    /// Resizes images as `quantize` does.
    #[arg(long, value_name = "PIXELS", value_parser = resize)]
    resize: Option<Resize>,
    /// Crops images as `quantize` does.
    #[arg(long, value_name = "HxW", value_parser = size)]
    crop: Option<[u32; 2]>,
}

/// What was tried, and what is right.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Number of images that were tried.
    images: usize,
    /// Share of right answers of a guess that only knows how frequent each label is.
    chance: f64,
    /// Every convention, and its share of right answers.
    tried: Vec<Tried>,
    /// The options of `quantize` for the convention that the network was trained with. `None` if no
    /// convention is convincing.
    options: Option<String>,
    /// Other conventions that are about as good: these images show no clear difference.
    alike: Vec<String>,
    /// The result in words.
    verdict: String,
}

/// A convention, and its share of right answers.
#[derive(Debug, Serialize, JsonSchema)]
struct Tried {
    /// How pixels become numbers.
    convention: &'static str,
    /// The order of the channels.
    channels: &'static str,
    /// Name of the order of the classes.
    classes: &'static str,
    /// The options of `quantize` for this convention.
    options: String,
    /// Share of right answers.
    top1: f64,
    #[serde(skip)]
    right: Vec<bool>,
}

impl Tried {
    fn count(&self) -> usize {
        self.right.iter().filter(|&&right| right).count()
    }

    fn name(&self) -> String {
        format!("{}, {}", self.convention, self.channels)
    }
}

/// A network to try.
enum Subject {
    Float(Box<FloatModel>),
    Quantized(QuantizedNetwork),
}

/// A way to number the classes of the data: it gives the network's class for each of them.
struct Numbering {
    name: &'static str,
    classes: Option<Vec<usize>>,
}

/// The possible orders of the classes: the order of the data, folder names sorted as numbers, and
/// the order in a file.
fn numberings(args: &Args, data: &Dataset) -> Result<Vec<Numbering>> {
    let by_name = if data.classes().is_some() { "in order of names" } else { "as labelled" };
    let mut numberings = vec![Numbering { name: by_name, classes: None }];
    let Some(names) = data.classes() else { return Ok(numberings) };
    let numbers: Option<Vec<usize>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let rank = |number: &usize| sorted.iter().position(|other| other == number).unwrap_or(0);
        let ranks: Vec<usize> = numbers.iter().map(rank).collect();
        if !ranks.is_sorted() {
            numberings.push(Numbering { name: "in order of numbers", classes: Some(ranks) });
        }
    }
    if let Some(path) = &args.labels {
        let text = String::from_utf8(read(path, Limit::Text)?).map_err(|_| {
            failure!(
                help = "give a text file with one class per line",
                "{}: is not UTF-8 text",
                path.display()
            )
        })?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let place = |name: &String| {
            lines.iter().position(|line| line == name).ok_or_else(|| {
                failure!(
                    help =
                        "give the names of the data's classes, one per line, in the network's order",
                    "{}: has no line `{name}`, which is a class of {}",
                    path.display(),
                    args.data
                )
            })
        };
        let classes = names.iter().map(place).collect::<Result<_>>()?;
        numberings.push(Numbering { name: "as --labels", classes: Some(classes) });
    }
    Ok(numberings)
}

/// The logits of some images, one row each.
fn logits(
    subject: &Subject,
    data: &Dataset,
    images: &[usize],
    preprocess: &Preprocess,
    channels: Channels,
    network: &Path,
) -> Result<Array2<f32>> {
    let mut parts = Vec::new();
    match subject {
        Subject::Float(model) => {
            for chunk in images.chunks(BATCH) {
                let mut batch: Array4<f32> = data.batch_with(chunk.iter().copied(), preprocess)?;
                if channels == Channels::Bgr {
                    batch.invert_axis(Axis(3));
                    batch = batch.as_standard_layout().into_owned();
                }
                let logits = model.run(batch.view());
                parts.push(logits.map_err(|error| failed(network, error.into()))?);
            }
        }
        Subject::Quantized(quantized) => {
            let quantized = quantized.clone().for_rgb(channels);
            let quantized = quantized.map_err(|problem| problem.in_file(network))?;
            let preprocess = units::included(&quantized, preprocess);
            let program = lower(&quantized, &preprocess).map_err(|error| error.in_file(network))?;
            let plan = plan(&program, Goal::Size)?;
            let file = ModelFile::new(network, program.write(&plan))?;
            let mut simulator = file.simulator(HostBackend::Auto)?;
            let quantization = file.model().logits_quantization();
            for &image in images {
                let pixels = data.get(image)?.pixels;
                let pixels = pixels.as_standard_layout();
                let answer = simulator.run(pixels.as_slice().unwrap_or(&[]));
                let reals = answer.logits.iter().map(|&q| quantization.dequantize(q));
                let row = Array2::from_shape_vec((1, answer.logits.len()), reals.collect());
                parts.push(row?);
            }
        }
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(0), &views)?)
}

/// Whether `one` is better than `other` by more than chance explains. This only counts images that
/// exactly one of them classifies correctly.
fn is_better(one: &Tried, other: &Tried) -> bool {
    let pairs = || one.right.iter().zip(&other.right);
    let only = pairs().filter(|&(&a, &b)| a && !b).count();
    let parted = pairs().filter(|&(a, b)| a != b).count();
    at_least(only, parted, 0.5) < 0.025
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let at = |error: EngineError| failed(&args.network, error.into());
    let (subject, input, classes) = match args.source.load(&args.network)? {
        Imported::Float(network) => {
            let classes = network.nodes[network.logits()].shape;
            let model = FloatModel::new(&network).map_err(at)?;
            (Subject::Float(Box::new(model)), network.input, classes)
        }
        Imported::Quantized(network) => {
            let classes = network.nodes[network.logits()].shape;
            let input = network.input;
            (Subject::Quantized(network), input, classes)
        }
    };
    let [rows, columns, classes] = classes;
    if [rows, columns] != [1, 1] {
        return Err(failure!(
            help = "compare its map for some images with that of your training program: `brooklet \
                    run --logits`",
            "{}: ends in a map of {rows}x{columns} cells, not in a class for each image",
            args.network.display(),
        ));
    }
    let base = Preprocess { resize: args.resize, crop: args.crop, ..Preprocess::default() };
    let data = Dataset::open(&args.data, input, &base)?;
    data.check_labels(0..data.len(), classes)?;
    let numberings = numberings(args, &data)?;
    let mut images = data.spread(args.images as usize);
    let mut labels = Vec::new();
    for &image in &images {
        labels.push(data.get(image)?.label);
    }
    let mut known = labels.iter().map(Option::is_some);
    images.retain(|_| known.next().unwrap_or(false));
    let labels: Vec<usize> = labels.into_iter().flatten().collect();
    if labels.is_empty() {
        return Err(failure!(
            help = "give a folder of images with a subfolder per class, a CIFAR-10 binary file, or \
                    an .npz file with labels",
            "{}: has no labels, which are needed to know the right answers",
            args.data
        ));
    }
    let orders = if input[2] == 3 { &[Channels::Rgb, Channels::Bgr][..] } else { &[Channels::Rgb] };
    let bar = progress(CONVENTIONS.len() * orders.len(), "trying");
    let mut tried = Vec::new();
    for convention in &CONVENTIONS {
        for &channels in orders {
            let preprocess = convention.apply(&base);
            let logits = logits(&subject, &data, &images, &preprocess, channels, &args.network)?;
            let answers: Vec<usize> =
                logits.outer_iter().map(|row| best(&row.to_vec(), 0.0)).collect();
            tried.extend(
                numberings
                    .iter()
                    .map(|numbering| outcome(convention, channels, numbering, &answers, &labels)),
            );
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    output.print(&Report::new(tried, &labels, classes, args))
}

fn outcome(
    convention: &Convention,
    channels: Channels,
    numbering: &Numbering,
    answers: &[usize],
    labels: &[usize],
) -> Tried {
    let class = |label: &usize| match &numbering.classes {
        Some(classes) => classes.get(*label).copied().unwrap_or(usize::MAX),
        None => *label,
    };
    let right: Vec<bool> =
        answers.iter().zip(labels).map(|(answer, label)| *answer == class(label)).collect();
    let mut options = convention.options();
    if channels == Channels::Bgr {
        options += " --channels bgr";
    }
    let count = right.iter().filter(|&&right| right).count();
    let top1 = count as f64 / right.len() as f64;
    let (convention, classes) = (convention.name, numbering.name);
    let channels = channels.into();
    Tried { convention, channels, classes, options, top1, right }
}

impl Report {
    fn new(mut tried: Vec<Tried>, labels: &[usize], classes: usize, args: &Args) -> Self {
        let images = labels.len();
        let most = (0..=labels.iter().copied().max().unwrap_or(0))
            .map(|class| labels.iter().filter(|&&label| label == class).count())
            .max()
            .unwrap_or(0);
        let chance = (1.0 / classes.max(2) as f64).max(most as f64 / images as f64);
        // The sort is stable: of equal conventions the simplest, which was tried first, stays first.
        tried.sort_by_key(|tried| std::cmp::Reverse(tried.count()));
        let first = &tried[0];
        let right = Right { right: first.count(), all: images };
        if !right.is_above(chance, tried.len()) {
            let verdict = format!(
                "None is convincing: the best classifies {} of {images} images correctly, and chance \
                 alone {}. Check that images, labels and the order of the classes (--labels) belong \
                 to this network, and that it was trained. It may also take pixels in an unusual way.",
                right.right,
                percent(chance)
            );
            return Self { images, chance, tried, options: None, alike: vec![], verdict };
        }
        let alike = tried[1..].iter().filter(|other| !is_better(first, other));
        let alike: Vec<String> = alike
            .map(|other| match other.classes == first.classes {
                true => other.name(),
                false => format!("{}, classes {}", other.name(), other.classes),
            })
            .collect();
        let found = if alike.is_empty() { "It was trained with" } else { "It does best with" };
        let mut verdict = format!("{found} {}: {}", first.name(), first.options);
        if first.classes == "in order of numbers" {
            verdict += "\nIts classes are in the order of the folders' names, sorted as numbers: give --labels \
                        FILE.txt with these names in that order, one per line";
        } else if first.classes == "as --labels"
            && let Some(labels) = &args.labels
        {
            verdict += &format!(" --labels {}", labels.display());
        }
        if !alike.is_empty() {
            verdict += &format!(
                "\nThese images show no clear difference to: {}. More images (--images) may",
                alike.join("; ")
            );
        }
        let options = Some(first.options.clone());
        Self { images, chance, tried, options, alike, verdict }
    }
}

impl Reported for Report {
    const NAME: &str = "doctor";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(["pixels", "channels", "classes", "top-1", "options"], &[0, 1, 2, 4]);
        for tried in &self.tried {
            table.add_row([
                tried.convention.to_owned(),
                tried.channels.to_string(),
                tried.classes.to_owned(),
                percent(tried.top1),
                tried.options.clone(),
            ]);
        }
        writeln!(f, "{table}\n")?;
        writeln!(f, "{} images; chance {}\n{}", self.images, percent(self.chance), self.verdict)
    }
}
