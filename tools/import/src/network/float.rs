//! The float network: what every importer produces and what quantization starts from.
//!
//! Importers append nodes with [`Network::push`], which infers shapes and refuses what does not
//! fit; [`Network::canonical`] then brings networks from different sources to one form.

use ndarray::{Array4, ArrayD, Ix4};

use super::function::Function;
use super::geometry::{
    AveragePool, Border, NodeId, Pads, Repeats, Shape, Subsample, Window, check_extents,
};
use super::output::{Ending, Output};
use crate::error::Problem;

/// A float network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Shape of the image it takes.
    pub input: Shape,
    /// The nodes; every node comes after its inputs. The last is the output, where there is one.
    pub nodes: Vec<Node>,
    /// What it answers, in the file's order; the first is the main one. Empty while it is made.
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
    /// Its inputs: none for [`Op::Input`], two for [`Op::Add`] (in canonical form: main path,
    /// shortcut) and [`Op::Multiply`] (the larger map first), two or more for [`Op::Concat`], else
    /// one.
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
    /// Another function of each value alone.
    Function(Function),
    /// `x` where it is positive, else `x` times a slope a channel.
    PRelu(Vec<f32>),
    /// Sum of two maps of one shape.
    Add,
    /// Product of two maps of one shape, or of a map and one value a channel.
    Multiply,
    /// The channels of several maps of one height and width, one after another.
    Concat,
    /// The shortcut called option A: every `stride`-th row and column, with zero channels around.
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
    /// What may only come last; [`Network::canonical`] makes it part of the [`Output`].
    Ending(Ending),
}

impl Op {
    /// `min(max(x, bounds[0]), bounds[1])`; nothing where that changes no value.
    pub(crate) fn clip([min, max]: [f32; 2]) -> Option<Op> {
        match (min, max) {
            (0.0, 6.0) => Some(Op::Relu6),
            (0.0, max) if max >= f32::MAX => Some(Op::Relu),
            (min, max) if min <= f32::MIN && max >= f32::MAX => None,
            (min, max) => {
                // Infinities are no bounds that a check of parameters lets through.
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

    /// What it is called in messages.
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
    /// One value an output channel.
    pub bias: Vec<f32>,
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub pads: Pads,
    /// Rows and columns from one weight to the next; 1 where they are neighbours.
    pub dilation: [usize; 2],
    /// Groups of channels: those of the output's first group are made of those of the input's
    /// first, and so on. Of a depthwise convolution as many as the input has channels.
    pub groups: usize,
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
        Ok(Network { input, nodes: vec![node], outputs: vec![] })
    }

    /// Multiply-accumulates of its convolutions for an image, those on padding included.
    pub fn macs(&self) -> usize {
        let macs = |node: &Node| match &node.op {
            Op::Conv(conv) => node.shape[0] * node.shape[1] * conv.weights.len(),
            _ => 0,
        };
        self.nodes.iter().map(macs).sum()
    }

    /// The node whose output is the answer, of several outputs the first; while it is made, the
    /// last node.
    pub fn output(&self) -> NodeId {
        self.outputs.first().map_or(self.nodes.len() - 1, |output| output.node)
    }

    /// The node whose output are the logits: the answer, or the one before the softmax.
    pub fn logits(&self) -> NodeId {
        let last = self.output();
        match self.nodes[last].op {
            Op::Softmax => self.nodes[last].inputs[0],
            _ => last,
        }
    }

    /// Whether a sigmoid follows the answer, which is then its argument.
    pub fn sigmoid(&self) -> bool {
        self.outputs.first().is_some_and(|output| output.ending == Ending::Sigmoid)
    }

    /// Whether it has no other operators than residual networks of the papers: convolutions of one
    /// group, batch norms, ReLU and ReLU6, additions, subsampled copies, max-pools, a mean over the
    /// map and a softmax.
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

    /// Whether no value of a node's output is negative, as far as operators show.
    pub(crate) fn is_positive(&self, node: NodeId) -> bool {
        /// Nodes that are looked at.
        const MOST: usize = 64;
        let mut open = vec![node];
        for _ in 0..MOST {
            let Some(id) = open.pop() else { return true };
            let node = &self.nodes[id];
            match &node.op {
                Op::Relu | Op::Relu6 => {}
                Op::Function(Function::Clip { min, .. }) if *min >= 0.0 => {}
                Op::Function(
                    Function::Sigmoid | Function::HardSigmoid { .. } | Function::Softplus,
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
    /// `factor · x + offset`, with values that are repeated for all channels.
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
    /// A map with zeros around it, as a depthwise convolution by one.
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

    /// A map of one channel, as often as there are channels.
    pub(crate) fn spreading(channels: usize) -> Conv {
        let weights = Array4::ones((channels, 1, 1, 1));
        Conv { weights, groups: 1, ..Conv::padding(channels, [0; 4]) }
    }

    /// Some channels of a map, in this order.
    pub(crate) fn choosing(channels: usize, chosen: &[usize]) -> Conv {
        let mut weights = Array4::zeros((chosen.len(), 1, 1, channels));
        for (place, &channel) in chosen.iter().enumerate() {
            weights[[place, 0, 0, channel]] = 1.0;
        }
        let bias = vec![0.0; chosen.len()];
        Conv { weights, bias, groups: 1, ..Conv::padding(chosen.len(), [0; 4]) }
    }

    /// A map without these rows and columns at its edges.
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

/// PyTorch's and ONNX's OIHW weights as OHWI, in memory order.
pub(crate) fn ohwi(weights: ArrayD<f32>) -> Array4<f32> {
    let weights = weights.into_dimensionality::<Ix4>().expect("four dimensions, checked before");
    weights.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned()
}
