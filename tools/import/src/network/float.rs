//! The float network: what every importer produces and what quantization starts from.
//!
//! Importers append nodes with [`Network::push`], which infers shapes and refuses what does not
//! fit; [`Network::canonical`] then brings networks from different sources to one form.

use ndarray::{Array4, ArrayD, Ix4};

use super::geometry::{
    MAX_NODES, NodeId, Pads, Shape, Subsample, Window, check_extents, mismatch, window_output,
};
use crate::error::{Problem, unsupported};

/// A float network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Shape of the image it takes.
    pub input: Shape,
    /// The nodes; every node comes after its inputs, the last is the output.
    pub nodes: Vec<Node>,
    /// Whether a sigmoid follows the output, which is then its argument: it is no node, as it
    /// changes no order.
    pub sigmoid: bool,
}

/// One operation and its output.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name by position in the network (`stage1.block1.conv1`), set by [`Network::canonical`].
    pub name: String,
    /// Name in the file that it came from, for messages. Not compared by `==`.
    pub source: String,
    /// What it computes.
    pub op: Op,
    /// Its inputs; two for [`Op::Add`] (in canonical form: main path, shortcut), none for
    /// [`Op::Input`], else one.
    pub inputs: Vec<NodeId>,
    /// Shape of its output.
    pub shape: Shape,
    /// What its output was like in training, if a batch norm that became part of it says so. Not
    /// compared by `==`.
    pub statistics: Option<Statistics>,
}

/// What a map was like in training, a value a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Standard deviation.
    pub deviation: Vec<f32>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.op, &self.inputs, self.shape)
            == (&other.name, &other.op, &other.inputs, other.shape)
    }
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The image.
    Input,
    /// Convolution or fully connected layer.
    Conv(Conv),
    /// `scale · (x − mean) / √(var + eps) + shift`; [`Network::canonical`] folds it into
    /// the convolution before it, where there is one that nothing else reads.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// Sum of two maps of one shape.
    Add,
    /// The shortcut called option A: every `stride`-th row and column, with zero channels around.
    Subsample(Subsample),
    /// Maximum over a window; padding never wins.
    MaxPool(Window),
    /// Mean over the whole map, for each channel.
    GlobalAveragePool,
    /// Softmax over the channels.
    Softmax,
}

/// A convolution with one group and no dilation.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// `[out channels, kernel height, kernel width, in channels]`.
    pub weights: Array4<f32>,
    /// One value an output channel.
    pub bias: Vec<f32>,
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub pads: Pads,
    /// The file calls it a fully connected layer: the kernel is as large as the map.
    pub fully_connected: bool,
}

/// Parameters of a batch normalization, one value a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// Factor (gamma).
    pub scale: Vec<f32>,
    /// Offset (beta).
    pub shift: Vec<f32>,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub var: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
}

impl Network {
    /// A network of its input alone. `source` is the input's name in the file.
    pub fn new(input: Shape, source: &str) -> Result<Network, Problem> {
        check_extents(&input, "input size")?;
        let node = Node {
            name: "input".into(),
            source: source.into(),
            op: Op::Input,
            inputs: vec![],
            shape: input,
            statistics: None,
        };
        Ok(Network { input, nodes: vec![node], sigmoid: false })
    }

    /// Appends a node and returns its id; shapes that do not fit are refused.
    pub fn push(&mut self, op: Op, inputs: &[NodeId], source: &str) -> Result<NodeId, Problem> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.nodes[id].shape).collect();
        let shape = output_shape(&op, &shapes)?;
        if self.nodes.len() >= MAX_NODES {
            return Err(unsupported(
                format!("the network has more than {MAX_NODES} layers"),
                "brooklet runs networks of at most as many layers as its model format can number",
            ));
        }
        self.nodes.push(Node {
            name: source.into(),
            source: source.into(),
            op,
            inputs: inputs.to_vec(),
            shape,
            statistics: None,
        });
        Ok(self.nodes.len() - 1)
    }

    /// Multiply-accumulates of its convolutions for an image, those on padding included.
    pub fn macs(&self) -> usize {
        let macs = |node: &Node| match &node.op {
            Op::Conv(conv) => node.shape[0] * node.shape[1] * conv.weights.len(),
            _ => 0,
        };
        self.nodes.iter().map(macs).sum()
    }

    /// The node whose output is the answer: the last.
    pub fn output(&self) -> NodeId {
        self.nodes.len() - 1
    }

    /// The node whose output are the logits: the last, or the one before the softmax.
    pub fn logits(&self) -> NodeId {
        let last = self.output();
        match self.nodes[last].op {
            Op::Softmax => self.nodes[last].inputs[0],
            _ => last,
        }
    }

    /// Number of nodes that read each node.
    pub fn consumers(&self) -> Vec<usize> {
        let mut count = vec![0; self.nodes.len()];
        for &input in self.nodes.iter().flat_map(|node| &node.inputs) {
            count[input] += 1;
        }
        count
    }
}

impl Conv {
    /// Kernel height and width.
    pub fn kernel(&self) -> [usize; 2] {
        let (_, height, width, _) = self.weights.dim();
        [height, width]
    }
}

/// Shape of what `op` makes of maps of these shapes.
fn output_shape(op: &Op, inputs: &[Shape]) -> Result<Shape, Problem> {
    let arity = match op {
        Op::Input => 0,
        Op::Add => 2,
        _ => 1,
    };
    if inputs.len() != arity {
        return Err(mismatch(format!("takes {arity} inputs, but has {}", inputs.len())));
    }
    let Some(&input) = inputs.first() else {
        return Err(mismatch("a network has one input".into()));
    };
    let [height, width, channels] = input;
    match op {
        Op::Conv(conv) => {
            let (out, kernel_height, kernel_width, depth) = conv.weights.dim();
            if depth != channels {
                return Err(mismatch(format!(
                    "its weights are for {depth} input channels, but the input has {channels}"
                )));
            }
            if conv.bias.len() != out {
                return Err(mismatch(format!(
                    "has {out} output channels, but {} biases",
                    conv.bias.len()
                )));
            }
            let kernel = [kernel_height, kernel_width];
            window_output(input, out, kernel, conv.stride, conv.pads)
        }
        Op::BatchNorm(norm) => {
            let lengths = [&norm.scale, &norm.shift, &norm.mean, &norm.var].map(Vec::len);
            if lengths.iter().any(|&length| length != channels) {
                return Err(mismatch(format!(
                    "has parameters for {lengths:?} channels, but the input has {channels}"
                )));
            }
            Ok(input)
        }
        Op::Add if inputs[0] != inputs[1] => Err(mismatch(format!(
            "adds maps of different shapes, {:?} and {:?} (height, width, channels)",
            inputs[0], inputs[1]
        ))),
        Op::Subsample(subsample) => {
            check_extents(&subsample.stride, "stride")?;
            let added = [subsample.channels_before, subsample.channels_after, channels];
            let shape = [
                height.div_ceil(subsample.stride[0]),
                width.div_ceil(subsample.stride[1]),
                added.iter().fold(0usize, |sum, &n| sum.saturating_add(n)),
            ];
            check_extents(&shape, "output")?;
            Ok(shape)
        }
        Op::MaxPool(window) => {
            window_output(input, channels, window.kernel, window.stride, window.pads)
        }
        Op::GlobalAveragePool => Ok([1, 1, channels]),
        Op::Softmax if [height, width] != [1, 1] => {
            Err(mismatch(format!("softmax of a map of shape {input:?}")))
        }
        _ => Ok(input),
    }
}

/// PyTorch's and ONNX's OIHW weights as OHWI, in memory order.
pub(crate) fn ohwi(weights: ArrayD<f32>) -> Array4<f32> {
    let weights = weights.into_dimensionality::<Ix4>().expect("four dimensions, checked before");
    weights.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned()
}
