//! Measures how far an engine's answers to the exported network are from the program's.

use brooklet_plan::model_file::{ModelFile, Simulator};
use ndarray::Array4;
use prost::Message;
use rten::{ModelOptions, Value};
use rten_tensor::NdTensorView;
use schemars::JsonSchema;
use serde::Serialize;

use super::graph::Dialect;
use super::{Pixels, write};
use crate::data::Dataset;
use crate::error::{EngineError, QuantizeError};
use crate::evaluate::best;
use crate::forward::BATCH;
use crate::program::Program;

/// How an engine agrees with the program.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Agreement {
    /// Number of images that both classified.
    pub images: usize,
    /// Share of images, or of cells if the network ends in a map, to which both give the same class;
    /// with one score, that differ by less than a step.
    pub same_class: f64,
    /// Signal to noise of the engine's numbers against the program's, in dB; `None` if they are
    /// equal.
    pub sqnr_db: Option<f64>,
}

/// Runs the exported network on images in rten, an engine that shares no code with brooklet, and
/// compares the last output's numbers with the simulator's.
///
/// # Errors
///
/// An error if the engine refuses the network, or an image cannot be read.
pub fn agreement(
    file: &ModelFile,
    simulator: &Simulator<'_>,
    data: &Dataset,
    images: &[usize],
) -> Result<Agreement, QuantizeError> {
    let program = Program::read(&file.model());
    let pixels = Pixels::of(&program);
    let (model, outputs) = write(&program, Dialect::Engine);
    let mut options = ModelOptions::with_all_ops();
    options.enable_optimization(false);
    let engine = options.load(model.encode_to_vec()).map_err(EngineError::new)?;
    let id = |name: &str| engine.node_id(name).map_err(EngineError::new);
    let (input, output) = (id("image")?, id(outputs.last().map_or("", String::as_str))?);
    let last = &program.layers[program.layers.len() - 1].record;
    let scale = last.quantization();
    let sigmoid = last.has_sigmoid();
    let step = f64::from(scale.scale);
    let mut simulator = simulator.clone();
    let [rows, columns, channels] = file.input();
    let mut sums = Sums::default();
    for images in images.chunks(BATCH) {
        let mut batch = Array4::<f32>::zeros((images.len(), channels, rows, columns));
        let mut answers = Vec::with_capacity(images.len());
        for (&image, mut place) in images.iter().zip(batch.outer_iter_mut()) {
            let image = data.get(image)?.pixels;
            for ((y, x, channel), &pixel) in image.indexed_iter() {
                place[[channel, y, x]] = pixels.real(pixel, channel);
            }
            let bytes = image.as_standard_layout();
            let answer = simulator.run(bytes.as_slice().unwrap_or(&[])).output;
            answers.push(answer.into_iter().map(|q| scale.dequantize(q)).collect::<Vec<f32>>());
        }
        let values = batch.as_slice().unwrap_or(&[]);
        let view = NdTensorView::from_data(<[usize; 4]>::from(batch.dim()), values);
        let mut found =
            engine.run(vec![(input, view.into())], &[output], None).map_err(EngineError::new)?;
        let Some(Value::FloatTensor(found)) = found.pop() else {
            return Err(EngineError::new("its output is not float").into());
        };
        let found = found.into_data();
        let numbers = found.len() / images.len().max(1);
        for (answer, found) in answers.iter().zip(found.chunks(numbers.max(1))) {
            // The program's logit is the argument of the sigmoid.
            let inverse = |p: f32| (p / (1.0 - p)).ln();
            let found = by_rows(found, [last.rows.get(), last.columns.get()].map(usize::from));
            let found: Vec<f32> = match sigmoid {
                true => found.into_iter().map(inverse).collect(),
                false => found,
            };
            sums.add(answer, &found, last.channels.get().into(), step);
        }
    }
    Ok(sums.agreement())
}

/// Reorders values from channels first to channels last.
fn by_rows(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let pixels = rows * columns;
    let channels = values.len() / pixels.max(1);
    (0..values.len()).map(|at| values[(at % channels) * pixels + at / channels]).collect()
}

#[derive(Default)]
struct Sums {
    images: usize,
    cells: usize,
    same_class: usize,
    signal: f64,
    noise: f64,
}

impl Sums {
    fn add(&mut self, answer: &[f32], found: &[f32], classes: usize, step: f64) {
        self.images += 1;
        for (answer, found) in answer.chunks(classes).zip(found.chunks(classes)) {
            let same = match (answer, found) {
                (&[answer], &[found]) => f64::from(answer - found).abs() < step,
                _ => best(answer, 0.0) == best(found, 0.0),
            };
            self.cells += 1;
            self.same_class += usize::from(same);
        }
        for (&answer, &found) in answer.iter().zip(found) {
            let difference = f64::from(answer - found);
            self.signal += f64::from(answer).powi(2);
            // The engine's floats stand for whole steps, up to their rounding.
            self.noise += if difference.abs() < step / 1e3 { 0.0 } else { difference.powi(2) };
        }
    }

    fn agreement(self) -> Agreement {
        let decibels = 10.0 * (self.signal / self.noise).log10();
        Agreement {
            images: self.images,
            same_class: self.same_class as f64 / self.cells.max(1) as f64,
            sqnr_db: Some(decibels).filter(|decibels| decibels.is_finite()),
        }
    }
}
