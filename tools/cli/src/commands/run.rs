//! `brooklet run`: runs images through the host simulator.

mod cells;

use std::fmt;
use std::path::PathBuf;

use brooklet::quant::Quantization;
use schemars::JsonSchema;
use serde::Serialize;

use super::choice::choice;
use super::{Output, detail};
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use crate::report::{percent, table};
use brooklet_files::{InputPath, OutputPath};
use brooklet_plan::model_file::{Answer, HostBackend, ModelFile};
use brooklet_quantize::data::{images_in, read_image};
use brooklet_quantize::evaluate::{logits_npy, ranked};
use cells::MapReport;

/// Options of `brooklet run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// Images, or folders of images. They are resized and cropped as the model file says.
    #[arg(required = true)]
    images: Vec<InputPath>,
    /// Writes the int8 logits, one row per image; if the network ends in a map, [images, rows,
    /// columns, classes].
    #[arg(long, value_name = "FILE.npy")]
    logits: Option<OutputPath>,
    /// Kernels that compute.
    #[arg(long, value_parser = choice::<HostBackend>(), default_value_t)]
    backend: HostBackend,
}

/// The network's answer for an image.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ImageReport {
    /// The image.
    pub image: String,
    /// The device that ran it.
    pub device: String,
    /// The logits, int8 or int16; those of a map in the order of rows, columns and classes.
    pub logits: Vec<i16>,
    /// The best five classes, best first; empty for a network with one score or one that ends in a
    /// map.
    pub top: Vec<Class>,
    /// The score of a network that has only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<OneScore>,
    /// The cells of a network that ends in a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<MapReport>,
    /// The other outputs of a network that has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherOutput>,
}

/// An output other than the last.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OtherOutput {
    /// The layer that computes it.
    pub layer: String,
    /// Its rows, columns and channels, if it is a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<[u16; 3]>,
    /// Its values, dequantized; those of a map in the order of rows, columns and channels.
    pub values: Vec<f32>,
}

/// The score of a network that has one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OneScore {
    /// Name of the class that a high score stands for, if the model has it.
    pub name: Option<String>,
    /// The dequantized score.
    pub score: f32,
    /// Its sigmoid, if the network ends in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// A class and its probability.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Class {
    /// Its number.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Softmax of the dequantized logits, or the sigmoid of its own logit if the network ends in
    /// sigmoids.
    pub probability: f64,
}

impl ImageReport {
    /// The best five classes of an answer.
    pub fn new(file: &ModelFile, image: String, device: String, answer: &Answer) -> Self {
        let model = file.model();
        let quantization = model.logits_quantization();
        if file.map().is_some() {
            let map = MapReport::new(file, answer);
            let (logits, others) = (answer.logits.clone(), Vec::new());
            return Self { image, device, logits, top: vec![], score: None, map, others };
        }
        if let (Some(sigmoid), &[logit]) = (file.one_score(), &answer.logits[..]) {
            let score = quantization.dequantize(logit);
            let probability = sigmoid.then(|| self::sigmoid(score));
            let name = model.label(0).map(str::to_owned);
            let score = Some(OneScore { name, score, probability });
            let (logits, others) = (answer.logits.clone(), Vec::new());
            return Self { image, device, logits, top: vec![], score, map: None, others };
        }
        let probabilities = probabilities(file, &answer.logits);
        let top = ranked(&answer.logits)
            .into_iter()
            .take(5)
            .map(|class| Class {
                class,
                name: file.label(class),
                probability: probabilities[class],
            })
            .collect();
        let (logits, others) = (answer.logits.clone(), Vec::new());
        Self { image, device, logits, top, score: None, map: None, others }
    }

    /// Adds the other outputs of a network that has several.
    fn with_others(self, file: &ModelFile, others: Vec<(usize, Vec<i16>)>) -> Self {
        let model = file.model();
        let others = others.into_iter().map(|(layer, numbers)| {
            let quantization = model.layer(layer).quantization();
            let values = numbers.into_iter().map(|q| quantization.dequantize(q)).collect();
            let brooklet::Shape { rows, columns, channels } = model.layer(layer).shape();
            let map = ((rows, columns) != (1, 1)).then_some([rows, columns, channels]);
            OtherOutput { layer: model.name(layer).to_owned(), map, values }
        });
        Self { others: others.collect(), ..self }
    }
}

impl fmt::Display for ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.image, self.device)?;
        for OtherOutput { layer, map, values } in &self.others {
            if let Some([rows, columns, channels]) = map {
                writeln!(
                    f,
                    "  {layer}: a map of {rows}x{columns}x{channels}; --json has its values"
                )?;
                continue;
            }
            let values: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
            writeln!(f, "  {layer}: {}", values.join(" "))?;
        }
        if let Some(OneScore { name, score, probability }) = &self.score {
            let name = name.as_deref().unwrap_or("score");
            return match probability {
                Some(probability) => writeln!(f, "  {name}: probability {}", percent(*probability)),
                None => writeln!(f, "  {name}: {score:.4}"),
            };
        }
        if let Some(map) = &self.map {
            return map.fmt(f);
        }
        let mut table = table(["", "class", "probability"], &[0, 1]);
        for class in &self.top {
            table.add_row([String::new(), class.name.clone(), percent(class.probability)]);
        }
        writeln!(f, "{table}")
    }
}

/// The network's answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// The images in the order in which the user named them. Those of a folder are sorted by name.
    images: Vec<ImageReport>,
}

impl Reported for Report {
    const NAME: &str = "run";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.images.iter().try_for_each(|image| image.fmt(f))
    }
}

/// The probability of each class, from the logits of an answer or of a cell.
fn probabilities(file: &ModelFile, logits: &[i16]) -> Vec<f64> {
    let model = file.model();
    let quantization = model.logits_quantization();
    let layer = model.layer(model.logits());
    let reals = logits.iter().map(|&logit| quantization.dequantize(logit));
    if layer.has_sigmoid() {
        reals.map(sigmoid).collect()
    } else if layer.has_probabilities() {
        reals.map(f64::from).collect()
    } else {
        softmax(logits, quantization)
    }
}

fn sigmoid(score: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(score)).exp())
}

fn softmax(logits: &[i16], quantization: Quantization) -> Vec<f64> {
    let max = logits.iter().copied().max().map_or(0, i32::from);
    let exponentials: Vec<f64> = logits
        .iter()
        .map(|&q| (f64::from(i32::from(q) - max) * f64::from(quantization.scale)).exp())
        .collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// The images in the order in which the user named them. Those of a folder are sorted by name.
fn images(args: &Args) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in &args.images {
        if !path.is_dir() {
            images.push(path.to_path_buf());
            continue;
        }
        let found = images_in(path)?;
        if found.is_empty() {
            return Err(failure!(
                help = "name the folder that holds the images; subfolders are not searched",
                "{}: holds no images",
                path.display()
            ));
        }
        images.extend(found);
    }
    Ok(images)
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let mut simulator = file.simulator(args.backend)?;
    detail(|| format!("kernels: {}", simulator.backend()));
    let (input, preprocess) = (file.input(), file.preprocess());
    let mut reports = Vec::new();
    let mut answers = Vec::new();
    for path in &images(args)? {
        let pixels = read_image(path, input, &preprocess)?;
        let pixels = pixels.as_standard_layout();
        let pixels = pixels.as_slice().unwrap_or(&[]);
        let answer = simulator.run(pixels);
        let name = path.display().to_string();
        let mut report = ImageReport::new(&file, name, "host".to_owned(), &answer);
        if file.model().outputs().count() > 1 {
            report = report.with_others(&file, simulator.run_others(pixels));
        }
        reports.push(report);
        answers.push((answer, None));
    }
    if let Some(path) = &args.logits {
        path.write(&logits_npy(&answers, file.logits_int16(), file.map())?)?;
    }
    output.print(&Report { images: reports })
}
