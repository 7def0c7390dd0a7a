//! The float network: what every importer produces and what quantization starts from.
//!
//! A [`Network`] is a list of nodes in an order in which each comes after its inputs. All maps
//! are NHWC with a batch of one, so a shape is `[height, width, channels]`; convolution weights
//! are OHWI. Importers append nodes with [`Network::push`], which infers shapes and refuses what
//! does not fit; `Network::canonical` then brings networks from different sources to one form.

use ndarray::Array4;

use crate::error::{Problem, unsupported};

/// Index into [`Network::nodes`] (or [`QuantizedNetwork::nodes`](crate::quantized::QuantizedNetwork::nodes)).
pub type NodeId = usize;

/// `[height, width, channels]`.
pub type Shape = [usize; 3];

/// `[top, left, bottom, right]`, in rows and columns.
pub type Pads = [usize; 4];

/// Largest height, width, number of channels, kernel, stride or padding that is accepted: what
/// the model format can say, far above any real network, and small enough that products of three
/// never overflow.
pub(crate) const MAX_EXTENT: usize = u16::MAX as usize;

/// Most nodes: layers have 16-bit numbers in the model format.
pub(crate) const MAX_NODES: usize = u16::MAX as usize;

/// Elements that a network's weights may have, all layers together, where its file holds as many:
/// layers may share weights, and exporters transpose or scale them in the graph, but a few bytes
/// must not become gigabytes.
pub(crate) fn most_elements(held: usize) -> usize {
    held.saturating_mul(8).saturating_add(1 << 24)
}

/// What is wrong with a network that has more.
pub(crate) fn too_many_elements() -> Problem {
    unsupported(
        "makes tensors that are far larger than the file",
        "export the network with constants folded, and weights that layers do not share",
    )
}

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
    /// Name by position in the network (`stage1.block1.conv1`), set by `Network::canonical`.
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
    /// `scale · (x − mean) / √(var + eps) + shift`; `Network::canonical` folds it into
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

/// Strided copy with zero channels before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsample {
    /// Rows, columns; the first of each group is kept.
    pub stride: [usize; 2],
    /// Zero channels before the copied ones.
    pub channels_before: usize,
    /// Zero channels after them.
    pub channels_after: usize,
}

/// A pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height, width.
    pub kernel: [usize; 2],
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Positions around the input that do not count.
    pub pads: Pads,
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

fn mismatch(detail: String) -> Problem {
    Problem::Shape { detail }
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

/// Shape of the output of a sliding window.
pub(crate) fn window_output(
    [height, width, _]: Shape,
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: Pads,
) -> Result<Shape, Problem> {
    check_extents(&kernel, "kernel")?;
    check_extents(&stride, "stride")?;
    check_extents(&pads.map(|pad| pad.saturating_add(1)), "padding")?;
    let padded = [height + pads[0] + pads[2], width + pads[1] + pads[3]];
    if padded[0] < kernel[0] || padded[1] < kernel[1] {
        return Err(mismatch(format!(
            "a kernel of {}×{} does not fit into a map of {}×{} with its padding",
            kernel[0], kernel[1], padded[0], padded[1]
        )));
    }
    let shape = [
        (padded[0] - kernel[0]) / stride[0] + 1,
        (padded[1] - kernel[1]) / stride[1] + 1,
        channels,
    ];
    check_extents(&shape, "output")?;
    Ok(shape)
}

/// The four pads of TensorFlow's SAME: the output has ⌈input / stride⌉ rows and columns, and an
/// odd row or column of padding goes to the bottom or right. `upper` false puts it first, as
/// ONNX's SAME_LOWER does.
pub(crate) fn same_pads(
    [height, width, _]: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    upper: bool,
) -> Pads {
    let along = |extent: usize, kernel: usize, stride: usize| {
        let steps = extent.div_ceil(stride.max(1)).saturating_sub(1);
        let total = (steps * stride + kernel).saturating_sub(extent);
        let first = if upper { total / 2 } else { total.div_ceil(2) };
        [first, total - first]
    };
    let [top, bottom] = along(height, kernel[0], stride[0]);
    let [left, right] = along(width, kernel[1], stride[1]);
    [top, left, bottom, right]
}

/// Refuses zeros and absurd sizes.
pub(crate) fn check_extents(extents: &[usize], what: &str) -> Result<(), Problem> {
    match extents.iter().find(|&&extent| extent == 0 || extent > MAX_EXTENT) {
        Some(extent) => Err(mismatch(format!("its {what} is impossible: {extents:?} ({extent})"))),
        None => Ok(()),
    }
}
