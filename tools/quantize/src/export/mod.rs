//! Exports a program as an ONNX network in QDQ form: float operators between QuantizeLinear and
//! DequantizeLinear, with the program's scales, zero points, weights and biases.
//!
//! Engines compute such a graph in integers, or in floats that are rounded at the same places.
//! Either way, numbers close to half a step can be rounded to the other side, so the answers of an
//! engine differ from the program's by a few steps.
//!
//! ```text
//! image ─► QuantizeLinear ─► DequantizeLinear ─► Conv ─► Add ─► QuantizeLinear ─► …
//!                                weights ────────┘       └─── DequantizeLinear of the shortcut
//! ```
//!
//! A residual join stays in float between the convolution and its single rounding. A stream in 16
//! bits is quantized to int16 for layers that add to it, and again to int8 for layers that
//! multiply.

mod agreement;
mod functions;
mod graph;
mod layers;
mod weights;

use crate::proto::ModelProto;
use brooklet::format::{Operator, flags};
use brooklet_plan::Preprocess;
use brooklet_plan::preprocessing::from_record;
use prost::Message;

pub use agreement::{Agreement, agreement};
use graph::{Dialect, Graph, Scale};
use layers::Exporter;

use crate::program::{Program, Table};

/// How a pixel, from 0 to 255, becomes the number that the exported network takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pixels {
    /// The pixel itself.
    Raw,
    /// Normalized by the mean and standard deviation of the training.
    Normalized(Preprocess),
    /// `scale · (pixel − zero)`.
    Affine {
        /// Real value of one step.
        scale: f32,
        /// The pixel that stands for zero.
        zero: i16,
    },
}

impl Pixels {
    fn of(program: &Program) -> Self {
        let image = &program.layers[0];
        let preprocess = program.preprocessing.as_ref().map(from_record).unwrap_or_default();
        if matches!(image.table, Some(Table::Bytes(_))) {
            return Self::Normalized(preprocess);
        }
        let reads = |at: usize| {
            let record = &program.layers[at].record;
            record.input.get() == 0 || record.shortcut() == Some(0)
        };
        let weighted = |at: usize| {
            let record = &program.layers[at].record;
            record.operator().has_channels() && record.shortcut() != Some(0)
        };
        // Layers with weights have the units of pixels in their weights.
        if (1..program.layers.len()).filter(|&at| reads(at)).all(weighted) {
            return Self::Raw;
        }
        let record = &image.record;
        let zero = 128 + i16::from(record.zero_point);
        Self::Affine { scale: record.scale.get(), zero }
    }

    /// The number that the network takes for a pixel of a channel.
    pub fn real(&self, pixel: u8, channel: usize) -> f32 {
        match self {
            Self::Raw => pixel.into(),
            Self::Normalized(preprocess) => preprocess.normalize(pixel, channel),
            Self::Affine { scale, zero } => f32::from(i16::from(pixel) - zero) * scale,
        }
    }

    /// The quantization of the image.
    fn scale(&self, program: &Program) -> Scale {
        match self {
            Self::Raw => Scale::int8(1.0, i8::MIN),
            _ => {
                let record = &program.layers[0].record;
                Scale::int8(record.scale.get(), record.zero_point)
            }
        }
    }
}

impl std::fmt::Display for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Raw => write!(f, "pixels, 0 to 255"),
            Self::Normalized(Preprocess { mean: None, std: None, .. }) => {
                write!(f, "pixels, 0 to 255")
            }
            Self::Normalized(Preprocess { mean, std, .. }) => {
                let (mean, std) = (mean.unwrap_or([0.0; 3]), std.unwrap_or([1.0; 3]));
                write!(f, "(pixel / 255 - mean) / std, with mean {mean:?} and std {std:?}")
            }
            Self::Affine { scale, zero } => write!(f, "{scale} * (pixel - {zero})"),
        }
    }
}

/// An exported network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// Description of the image that it takes, in which channels come before rows and columns.
    pub input: String,
    /// Names of its outputs, the main one last.
    pub outputs: Vec<String>,
}

/// The ONNX file of a program, of opset 21.
pub fn export(program: &Program) -> Exported {
    let (model, outputs) = write(program, Dialect::File);
    let input = Pixels::of(program).to_string();
    Exported { bytes: model.encode_to_vec(), input, outputs }
}

/// The graph of a program, and its outputs' names.
fn write(program: &Program, dialect: Dialect) -> (ModelProto, Vec<String>) {
    let pixels = Pixels::of(program);
    let mut exporter = Exporter::new(program, Graph::new(dialect), pixels.scale(program));
    for index in 0..program.layers.len() {
        exporter.layer(index);
    }
    let last = program.layers.len() - 1;
    let kept = |index: &usize| program.layers[*index].record.flags & flags::OUTPUT != 0;
    for index in (0..last).filter(kept).chain([last]) {
        exporter.output(index);
    }
    let graph = exporter.graph;
    let outputs = graph.outputs();
    let about = format!(
        "A network that brooklet quantized. It takes {pixels}, [N, channels, rows, columns]. An \
         engine gives the device's answers within a few steps of its scales, not bit for bit."
    );
    let mut metadata = vec![("input", pixels.to_string())];
    if !program.labels.is_empty() {
        metadata.push(("labels", program.labels.join("\n")));
    }
    (graph.model(about, metadata), outputs)
}

/// Whether a layer's output is a copy of its input, at the same scale.
fn is_copy(operator: Operator) -> bool {
    matches!(operator, Operator::MaxPool | Operator::Border | Operator::WindowAverage)
}
