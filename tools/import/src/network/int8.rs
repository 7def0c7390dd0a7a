//! The quantized network, which int8 TFLite and ONNX files give.
//!
//! It has the same topology as [`Network`](super::Network) in canonical form, except that
//! activations are fused into the nodes before them. Scales are the file's f32 values.

use ndarray::Array4;

use super::function::Function;
use super::geometry::{AveragePool, NodeId, Pads, Shape, Subsample, Window};
use super::output::{Ending, Output};
use super::tflite::{QuantizedConstant, TfliteFunction};
use crate::error::{Problem, unsupported};

/// A network of int8 maps and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedNetwork {
    /// Shape of the image it takes.
    pub input: Shape,
    /// The nodes; each comes after its inputs.
    ///
    /// Node 0 is the input, whose scale and zero point define the int8 values that the network
    /// takes.
    pub nodes: Vec<QuantizedNode>,
    /// Its outputs, in the file's order; the first is the main one.
    pub outputs: Vec<Output>,
    /// Factor and offset of each channel that a float part of the file applies to the image before it
    /// is quantized.
    pub normalization: Option<Vec<(f64, f64)>>,
}

/// One operation and its int8 output.
#[derive(Debug, Clone)]
pub struct QuantizedNode {
    /// Name by position in the network, as in the float network.
    pub name: String,
    /// Name in the file that it came from, for messages. Not compared by `==`.
    pub source: String,
    /// What it computes.
    pub op: QuantizedOp,
    /// Its inputs; for [`QuantizedOp::Add`] the main path, then the shortcut.
    pub inputs: Vec<NodeId>,
    /// Shape of its output.
    pub shape: Shape,
    /// Scale of its output: the real value of 1.
    pub scale: f32,
    /// Zero point of its output: the int8 value that stands for zero.
    pub zero_point: i32,
    /// Whether the output is int16 with a zero point of 0.
    ///
    /// So are the maps of a network that is quantized to 16 bits, and scores that a file leaves in
    /// float.
    pub int16: bool,
    /// Bounds to which the output is clipped.
    pub activation: Activation,
    /// Whether it is a convolution whose sums are only read by an addition, and not rounded before
    /// that.
    ///
    /// Its output's scale and zero point are then not used.
    pub summed: bool,
}

impl PartialEq for QuantizedNode {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.op, &self.inputs, self.shape)
            == (&other.name, &other.op, &other.inputs, other.shape)
            && (self.scale.to_bits(), self.zero_point, self.int16, self.activation)
                == (other.scale.to_bits(), other.zero_point, other.int16, other.activation)
            && self.summed == other.summed
    }
}

/// What a quantized node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum QuantizedOp {
    /// The image.
    Input,
    /// Convolution or fully connected layer.
    Conv(QuantizedConv),
    /// A function of each value.
    Function(Function),
    /// `x` if it is positive, otherwise `x` times a slope.
    PRelu(QuantizedConstant),
    /// A function of single values, in TFLite's arithmetic.
    Tflite(TfliteFunction),
    /// Sum of two maps of the same shape, each with its own scale.
    Add,
    /// Difference of two maps of the same shape, each with its own scale, in TFLite's arithmetic.
    Subtract,
    /// Product of two maps of the same shape, or of a map and one value per channel.
    Multiply,
    /// The channels of several maps, one after another, all with the same scale.
    Concat,
    /// The same values at another scale.
    Requantize,
    /// Each row divided otherwise into columns and channels, such as one column of all channels. Its
    /// scale is that of its input.
    Divide,
    /// Option A shortcut; the added channels hold the zero point. Its scale is that of its input.
    Subsample(Subsample),
    /// Maximum over a window. Its scale is that of its input.
    MaxPool(Window),
    /// Mean over a window: int32 sum, rounded division. Its scale is that of its input.
    AveragePool(AveragePool),
    /// Mean over the whole map: int32 sum, rounded division. Its scale is that of its input.
    GlobalAveragePool,
    /// Mean over the whole map, requantized to another scale.
    Mean,
    /// Mean over the whole map as in TFLite's MEAN: its factor is rounded to a multiplier, and then
    /// divided by the number of pixels in integers.
    TfliteMean,
    /// int8 softmax.
    Softmax,
}

impl QuantizedOp {
    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            QuantizedOp::Input => "the input",
            QuantizedOp::Conv(conv) if conv.fully_connected => "a fully connected layer",
            QuantizedOp::Conv(conv) if conv.groups == 1 => "a convolution",
            QuantizedOp::Conv(conv) if conv.weights.dim().3 == 1 => "a depthwise convolution",
            QuantizedOp::Conv(_) => "a grouped convolution",
            QuantizedOp::Function(function) => function.name(),
            QuantizedOp::PRelu(_) => "PReLU",
            QuantizedOp::Tflite(function) => function.name(),
            QuantizedOp::Add => "an addition",
            QuantizedOp::Subtract => "a subtraction",
            QuantizedOp::Multiply => "a multiplication of two maps",
            QuantizedOp::Concat => "a concatenation",
            QuantizedOp::Requantize => "a change of scale",
            QuantizedOp::Divide => "another division of rows",
            QuantizedOp::Subsample(_) => "a subsampled copy",
            QuantizedOp::MaxPool(_) => "a max-pool",
            QuantizedOp::AveragePool(_) => "an average pool over a part of the map",
            QuantizedOp::GlobalAveragePool | QuantizedOp::Mean | QuantizedOp::TfliteMean => {
                "a mean over the map"
            }
            QuantizedOp::Softmax => "a softmax",
        }
    }
}

impl QuantizedOp {
    /// Refuses operators that layers of int16 do not compute with this activation and output scale.
    pub(crate) fn check_int16(&self, activation: Activation, scale: f32) -> Result<(), Problem> {
        let known = matches!(
            self,
            QuantizedOp::Input
                | QuantizedOp::Conv(_)
                | QuantizedOp::Add
                | QuantizedOp::Subsample(_)
                | QuantizedOp::MaxPool(_)
                | QuantizedOp::GlobalAveragePool
                | QuantizedOp::Mean
                | QuantizedOp::TfliteMean
        );
        // Layers of int16 clip at multiples of 256 steps.
        let clips = activation == Activation::Relu6 && (6.0 / scale).round() < f32::from(i16::MAX);
        let what = match (known, clips) {
            (true, false) => return Ok(()),
            (true, true) => "a ReLU6 whose 6 is not the largest number",
            (false, _) => self.name(),
        };
        Err(unsupported(
            format!("{what} of maps quantized to 16 bits"),
            "only convolutions, additions, max-pools and means support it: give the float \
             network, which brooklet quantizes itself, with --int16 for the layers that need it; or \
             quantize activations to int8",
        ))
    }
}

/// A quantized convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedConv {
    /// `[out channels, kernel height, kernel width, in channels]`, with a zero point of 0.
    pub weights: Array4<i8>,
    /// One scale per output channel; a file's single scale is repeated.
    pub scales: Vec<f32>,
    /// One bias per output channel, at the scale input · weight.
    ///
    /// It does not include the input's zero point.
    pub bias: Vec<i32>,
    /// Zero points of the input's channels, if each has its own; they are also its padding.
    pub zeros: Option<Vec<i8>>,
    /// Strides of rows and columns.
    pub stride: [usize; 2],
    /// Padding around the input, with zero points.
    pub pads: Pads,
    /// Distance of rows and of columns between weights.
    pub dilation: [usize; 2],
    /// Number of groups of channels.
    pub groups: usize,
    /// Whether the file calls it a fully connected layer.
    pub fully_connected: bool,
    /// Whether the product of the scales of input and weights is rounded to f32, as TFLite does for
    /// a fully connected layer with one scale.
    pub float_product: bool,
}

impl QuantizedConv {
    /// A convolution with stride 1 and without padding, whose scales are 1 and whose biases are 0.
    pub fn of_weights(weights: Array4<i8>, groups: usize) -> Self {
        let channels = weights.dim().0;
        Self {
            weights,
            scales: vec![1.0; channels],
            bias: vec![0; channels],
            zeros: None,
            stride: [1, 1],
            pads: [0; 4],
            dilation: [1, 1],
            groups,
            fully_connected: false,
            float_product: false,
        }
    }
}

/// Bounds to which an output is clipped, as reals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// The range of the type.
    #[default]
    None,
    /// At least 0.
    Relu,
    /// From 0 to 6.
    Relu6,
}

impl Activation {
    /// Smallest and largest real value.
    pub fn range(self) -> (f32, f32) {
        match self {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Relu6 => (0.0, 6.0),
        }
    }
}

impl QuantizedNetwork {
    /// The node that makes the logits: the last, or the one before the softmax.
    pub fn logits(&self) -> NodeId {
        let last = self.outputs.first().map_or(self.nodes.len() - 1, |output| output.node);
        match self.nodes[last].op {
            QuantizedOp::Softmax => self.nodes[last].inputs[0],
            _ => last,
        }
    }

    /// Whether a sigmoid of the main output follows.
    pub fn sigmoid(&self) -> bool {
        self.outputs.first().is_some_and(|output| output.ending == Ending::Sigmoid)
    }
}
