//! The float network, which importers produce and from which quantization starts.
//!
//! Importers append nodes with [`Network::push`], which infers shapes and refuses operands that do
//! not match; [`Network::canonical`] then brings networks from different sources to one form.

use ndarray::{Array4, ArrayD, Ix4};

use super::function::Function;
use super::geometry::{
    AveragePool, Border, MAX_KERNEL, NodeId, Pads, Repeats, Shape, Subsample, Window, check_extents,
};
use super::output::{Ending, Output};
use crate::error::Problem;

/// A float network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Shape of the image it takes.
    pub input: Shape,
    /// The nodes; each comes after its inputs.
    ///
    /// If the network has an output, the last node makes it.
    pub nodes: Vec<Node>,
    /// Its outputs, in the file's order; the first is the main one.
    ///
    /// Empty while the network is built.
    pub outputs: Vec<Output>,
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
    /// Its inputs: none for [`Op::Input`]; two for [`Op::Add`] (in canonical form the main path,
    /// then the shortcut) and [`Op::Multiply`] (the larger map first); two or more for
    /// [`Op::Concat`]; otherwise one.
    pub inputs: Vec<NodeId>,
    /// Shape of its output.
    pub shape: Shape,
    /// The mean and deviation of its output in training, if they are known from a batch norm that
    /// was folded into it.
    ///
    /// Not compared by `==`.
    pub statistics: Option<Statistics>,
}

/// The mean and deviation of a map in training, one value per channel.
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
    /// `scale · (x − mean) / √(var + eps) + shift`; [`Network::canonical`] folds it into the
    /// convolution before it, if nothing else reads that.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// Another function of single values.
    Function(Function),
    /// `x` if it is positive, otherwise `x` times a slope, of which there is one per channel.
    PRelu(Vec<f32>),
    /// Sum of two maps of the same shape.
    Add,
    /// Product of two maps of the same shape, or of a map and one value per channel.
    Multiply,
    /// The channels of several maps of the same height and width, one after another.
    Concat,
    /// The shortcut called option A: every `stride`-th row and column, with channels of zeros
    /// added.
    Subsample(Subsample),
    /// The map with a border of its own rows and columns.
    Border(Border),
    /// Maximum over a window; padding never wins. A window as large as the map makes it the
    /// maximum over the whole map.
    MaxPool(Window),
    /// Mean over a window.
    AveragePool(AveragePool),
    /// Mean over the whole map, for each channel.
    GlobalAveragePool,
    /// Softmax over the channels.
    Softmax,
    /// An operator that may only come last; [`Network::canonical`] makes it a part of the
    /// [`Output`].
    Ending(Ending),
}

impl Op {
    /// `min(max(x, bounds[0]), bounds[1])`; `None` if that changes no value.
    pub(crate) fn clip([min, max]: [f32; 2]) -> Option<Op> {
        match (min, max) {
            (0.0, 6.0) => Some(Op::Relu6),
            (0.0, max) if max >= f32::MAX => Some(Op::Relu),
            (min, max) if min <= f32::MIN && max >= f32::MAX => None,
            (min, max) => {
                // The check of parameters does not allow infinite bounds.
                let (min, max) = (min.max(f32::MIN), max.min(f32::MAX));
                Some(Op::Function(Function::Clip { min, max }))
            }
        }
    }

    /// The bounds of a clip.
    pub fn bounds(&self) -> Option<[f32; 2]> {
        match *self {
            Op::Relu => Some([0.0, f32::MAX]),
            Op::Relu6 => Some([0.0, 6.0]),
            Op::Function(Function::Clip { min, max }) => Some([min, max]),
            _ => None,
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "the input",
            Op::Conv(conv) if conv.fully_connected => "a fully connected layer",
            Op::Conv(conv) if conv.groups == 1 => "a convolution",
            Op::Conv(conv) if conv.weights.dim().3 == 1 => "a depthwise convolution",
            Op::Conv(_) => "a grouped convolution",
            Op::BatchNorm(_) => "a batch norm",
            Op::Relu => "ReLU",
            Op::Relu6 => "ReLU6",
            Op::Function(function) => function.name(),
            Op::PRelu(_) => "PReLU",
            Op::Add => "an addition",
            Op::Multiply => "a multiplication of two maps",
            Op::Concat => "a concatenation",
            Op::Subsample(_) => "a subsampled copy",
            Op::Border(Border { repeats: Repeats::Mirrored, .. }) => "a padding by reflection",
            Op::Border(_) => "a padding by repetition",
            Op::MaxPool(_) => "a max-pool",
            Op::AveragePool(_) => "an average pool over a part of the map",
            Op::GlobalAveragePool => "a mean over the map",
            Op::Softmax => "a softmax",
            Op::Ending(ending) => ending.name(),
        }
    }
}

/// A convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// `[out channels, kernel height, kernel width, in channels of a group]`.
    pub weights: Array4<f32>,
    /// One bias per output channel.
    pub bias: Vec<f32>,
    /// Strides of rows and columns.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub pads: Pads,
    /// Distance of rows and of columns between weights; 1 if they are neighbours.
    pub dilation: [usize; 2],
    /// Number of groups of channels.
    ///
    /// The first group of output channels is computed from the first group of input channels, and
    /// so on. A depthwise convolution has as many groups as input channels.
    pub groups: usize,
    /// Whether the file calls it a fully connected layer: its kernel is as large as the map.
    pub fully_connected: bool,
}

/// Parameters of a batch normalization, one value per channel.
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
    /// The constant that is added to the variance.
    pub eps: f32,
}

impl Network {
    /// A network with only an input, which has the name `source` in the file.
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
        Ok(Network { input, nodes: vec![node], outputs: vec![] })
    }

    /// Multiply-accumulates of its convolutions per image, including those with padding.
    pub fn macs(&self) -> usize {
        let macs = |node: &Node| match &node.op {
            Op::Conv(conv) => node.shape[0] * node.shape[1] * conv.weights.len(),
            _ => 0,
        };
        self.nodes.iter().map(macs).sum()
    }

    /// The node that makes the main output; while the network is built, the last node.
    pub fn output(&self) -> NodeId {
        self.outputs.first().map_or(self.nodes.len() - 1, |output| output.node)
    }

    /// The node that makes the logits: that of the main output, or the one before its softmax.
    pub fn logits(&self) -> NodeId {
        let last = self.output();
        match self.nodes[last].op {
            Op::Softmax => self.nodes[last].inputs[0],
            _ => last,
        }
    }

    /// Number of classes: channels of the logits.
    pub fn classes(&self) -> usize {
        self.nodes[self.logits()].shape[2]
    }

    /// Whether the main output is a map of several cells, not one vector.
    pub fn ends_in_map(&self) -> bool {
        self.nodes[self.logits()].shape[..2] != [1, 1]
    }

    /// Whether a sigmoid of the main output follows.
    pub fn sigmoid(&self) -> bool {
        self.outputs.first().is_some_and(|output| output.ending == Ending::Sigmoid)
    }

    /// Whether it only has operators of the papers' residual networks: convolutions with one group,
    /// batch norms, ReLU and ReLU6, additions, subsampled copies, max-pools, a mean over the map
    /// and a softmax.
    pub fn is_of_plain_layers(&self) -> bool {
        self.nodes.iter().all(|node| match &node.op {
            Op::Conv(conv) => conv.is_plain(),
            Op::Input
            | Op::BatchNorm(_)
            | Op::Relu
            | Op::Relu6
            | Op::Add
            | Op::Subsample(_)
            | Op::MaxPool(_)
            | Op::GlobalAveragePool
            | Op::Softmax => true,
            _ => false,
        })
    }

    /// Whether operators show that no value of a node's output is negative.
    pub(crate) fn is_positive(&self, node: NodeId) -> bool {
        /// Maximum number of nodes that are examined.
        const MOST: usize = 64;
        let mut open = vec![node];
        for _ in 0..MOST {
            let Some(id) = open.pop() else { return true };
            let node = &self.nodes[id];
            match &node.op {
                Op::Relu | Op::Relu6 => {}
                Op::Function(Function::Clip { min, .. }) if *min >= 0.0 => {}
                Op::Function(
                    Function::Sigmoid
                    | Function::HardSigmoid { .. }
                    | Function::Softplus
                    | Function::Abs
                    | Function::Exp
                    | Function::Power { .. },
                )
                | Op::Softmax => {}
                Op::Add
                | Op::Multiply
                | Op::Concat
                | Op::Subsample(_)
                | Op::Border(_)
                | Op::MaxPool(_)
                | Op::AveragePool(_)
                | Op::GlobalAveragePool => open.extend(&node.inputs),
                _ => return false,
            }
        }
        false
    }

    /// Whether operators show that all values of a node's output are positive: something that is never
    /// negative, times positive factors, plus positive offsets.
    pub(crate) fn is_above_zero(&self, node: NodeId) -> bool {
        let mut least = 0.0;
        let mut id = node;
        let mut factors = 1.0;
        loop {
            let node = &self.nodes[id];
            let Op::BatchNorm(norm) = &node.op else { break };
            let affine = (0..norm.scale.len()).map(|channel| norm.affine(channel));
            let lowest = affine.fold([f64::INFINITY; 2], |[low, offset], (factor, shift)| {
                [low.min(factor), offset.min(shift)]
            });
            if lowest[0] <= 0.0 || lowest[1] < 0.0 {
                return false;
            }
            least += factors * lowest[1];
            factors *= lowest[0];
            id = node.inputs[0];
        }
        let is_square = |id: NodeId| {
            let Node { op, inputs, .. } = &self.nodes[id];
            *op == Op::Multiply && inputs[0] == inputs[1]
        };
        let mut source = id;
        while let Op::GlobalAveragePool | Op::AveragePool(_) | Op::Subsample(_) | Op::MaxPool(_) =
            self.nodes[source].op
        {
            source = self.nodes[source].inputs[0];
        }
        least > 0.0 && (is_square(source) || self.is_positive(id))
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

impl BatchNorm {
    /// `factor · x + offset`, where single values are repeated for all channels.
    pub(crate) fn affine_of(factors: &[f32], offsets: &[f32], channels: usize) -> BatchNorm {
        let all = |values: &[f32]| values.iter().copied().cycle().take(channels).collect();
        BatchNorm {
            scale: all(factors),
            shift: all(offsets),
            mean: vec![0.0; channels],
            var: vec![1.0; channels],
            eps: 0.0,
        }
    }
}

impl Conv {
    /// Adds zeros around a map, as a depthwise convolution with a weight of one.
    pub(crate) fn padding(channels: usize, pads: Pads) -> Conv {
        Conv {
            weights: Array4::ones((channels, 1, 1, 1)),
            bias: vec![0.0; channels],
            stride: [1, 1],
            pads,
            dilation: [1, 1],
            groups: channels,
            fully_connected: false,
        }
    }

    /// Repeats a map of one channel for all channels.
    pub(crate) fn spreading(channels: usize) -> Conv {
        let weights = Array4::ones((channels, 1, 1, 1));
        Conv { weights, groups: 1, ..Conv::padding(channels, [0; 4]) }
    }

    /// Selects channels of a map, in this order.
    pub(crate) fn choosing(channels: usize, chosen: &[usize]) -> Conv {
        let mut weights = Array4::zeros((chosen.len(), 1, 1, channels));
        for (place, &channel) in chosen.iter().enumerate() {
            weights[[place, 0, 0, channel]] = 1.0;
        }
        let bias = vec![0.0; chosen.len()];
        Conv { weights, bias, groups: 1, ..Conv::padding(chosen.len(), [0; 4]) }
    }

    /// Convolutions that together remove these rows and columns from a map's edges, each as many as a
    /// layer's kernel can, and which of them each removes.
    pub(crate) fn croppings(channels: usize, edges: Pads) -> impl Iterator<Item = (Conv, Pads)> {
        let mut left = edges;
        std::iter::from_fn(move || {
            let mut room = [MAX_KERNEL - 1; 2];
            let part = std::array::from_fn(|side| {
                let part = left[side].min(room[side % 2]);
                room[side % 2] -= part;
                left[side] -= part;
                part
            });
            (part != [0; 4]).then(|| (Conv::cropping(channels, part), part))
        })
    }

    /// Removes these rows and columns from a map's edges.
    pub(crate) fn cropping(channels: usize, [top, left, bottom, right]: Pads) -> Conv {
        let mut weights = Array4::zeros((channels, top + bottom + 1, left + right + 1, 1));
        weights.slice_mut(ndarray::s![.., top, left, ..]).fill(1.0);
        Conv { weights, ..Conv::padding(channels, [0; 4]) }
    }

    /// The sum of all channels, times a factor.
    pub(crate) fn summing(channels: usize, factor: f32) -> Conv {
        let weights = Array4::from_elem((1, 1, 1, channels), factor);
        Conv { weights, bias: vec![0.0], groups: 1, ..Conv::padding(1, [0; 4]) }
    }

    /// Kernel height and width.
    pub fn kernel(&self) -> [usize; 2] {
        let (_, height, width, _) = self.weights.dim();
        [height, width]
    }

    /// Whether it has one group and no dilation.
    pub fn is_plain(&self) -> bool {
        self.groups == 1 && self.dilation == [1, 1]
    }
}

/// Reorders weights from OIHW, as in PyTorch and ONNX, to OHWI, also in memory.
pub(crate) fn ohwi(weights: ArrayD<f32>) -> Array4<f32> {
    let weights = weights.into_dimensionality::<Ix4>().expect("four dimensions, checked before");
    weights.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned()
}
