//! The order of an image's colour channels.
//!
//! Data has the order red, green, blue. A network that was trained on blue, green, red is changed
//! to take that order: the input channels of the layers that read the image are exchanged, which
//! does not change the result. So nothing after the import depends on it, not even the model file
//! or a board.

use crate::error::{AtLayer, LayerProblem, unsupported};
use crate::network::{
    Network, Node, NodeId, Op, QuantizedNetwork, QuantizedNode, QuantizedOp, Shape, Subsample,
};
use ndarray::{Array4, Axis};
use strum::{Display, EnumMessage, IntoStaticStr, VariantArray};

/// The order of an image's channels in a network.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Display, EnumMessage, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as in Caffe and OpenCV.
    Bgr,
}

/// The effect of an operation on the order of its input's channels.
enum Flow {
    /// It is the image.
    Image,
    /// It multiplies each channel with weights of its own.
    Reads,
    /// Its output has the order of its inputs.
    Keeps,
    /// It has channels of its own in some order.
    Orders,
}

/// A node of either network.
trait Ordered {
    /// Its effect on the order of its input's channels.
    fn flow(&self) -> Flow;
    /// The nodes that it reads.
    fn inputs(&self) -> &[NodeId];
    /// Its name in messages.
    fn source(&self) -> &str;
    /// Reverses the order of the input channels of its weights, if it has weights for each channel.
    fn reverse(&mut self);
}

impl Ordered for Node {
    fn flow(&self) -> Flow {
        match &self.op {
            Op::Input => Flow::Image,
            Op::Conv(conv) if conv.groups > 1 => Flow::Orders,
            Op::Conv(_) => Flow::Reads,
            Op::Subsample(subsample) if adds_channels(subsample) => Flow::Orders,
            Op::BatchNorm(_) | Op::PRelu(_) | Op::Concat | Op::Softmax | Op::Ending(_) => {
                Flow::Orders
            }
            Op::Relu
            | Op::Relu6
            | Op::Function(_)
            | Op::Add
            | Op::Multiply
            | Op::Subsample(_)
            | Op::Border(_)
            | Op::MaxPool(_)
            | Op::AveragePool(_)
            | Op::GlobalAveragePool => Flow::Keeps,
        }
    }

    fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn reverse(&mut self) {
        if let Op::Conv(conv) = &mut self.op {
            reverse(&mut conv.weights);
        }
    }
}

impl Ordered for QuantizedNode {
    fn flow(&self) -> Flow {
        match &self.op {
            QuantizedOp::Input => Flow::Image,
            QuantizedOp::Conv(conv) if conv.groups > 1 => Flow::Orders,
            QuantizedOp::Conv(_) => Flow::Reads,
            QuantizedOp::Subsample(subsample) if adds_channels(subsample) => Flow::Orders,
            QuantizedOp::Softmax
            | QuantizedOp::PRelu(_)
            | QuantizedOp::Concat
            | QuantizedOp::Divide => Flow::Orders,
            QuantizedOp::Tflite(function)
                if function.constant().is_some_and(|constant| constant.values.len() > 1) =>
            {
                Flow::Orders
            }
            QuantizedOp::Function(_)
            | QuantizedOp::Multiply
            | QuantizedOp::Requantize
            | QuantizedOp::AveragePool(_)
            | QuantizedOp::Add
            | QuantizedOp::Subtract
            | QuantizedOp::Tflite(_)
            | QuantizedOp::Subsample(_)
            | QuantizedOp::MaxPool(_)
            | QuantizedOp::GlobalAveragePool
            | QuantizedOp::Mean
            | QuantizedOp::TfliteMean => Flow::Keeps,
        }
    }

    fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn reverse(&mut self) {
        if let QuantizedOp::Conv(conv) = &mut self.op {
            reverse(&mut conv.weights);
            conv.zeros.iter_mut().for_each(|zeros| zeros.reverse());
        }
    }
}

fn adds_channels(subsample: &Subsample) -> bool {
    subsample.channels_before + subsample.channels_after > 0
}

/// Reverses the order of the input channels of weights in OHWI.
fn reverse<T: Clone>(weights: &mut Array4<T>) {
    weights.invert_axis(Axis(3));
    *weights = weights.as_standard_layout().into_owned();
}

/// The nodes that read the channels of the image, directly or through nodes that keep their order;
/// or the node whose output would be in the wrong order.
fn readers<'n>(
    nodes: impl ExactSizeIterator<Item = (Flow, &'n [NodeId])>,
) -> Result<Vec<NodeId>, NodeId> {
    let (mut exchanged, mut readers) = (Vec::with_capacity(nodes.len()), Vec::new());
    let last = nodes.len() - 1;
    for (id, (flow, inputs)) in nodes.enumerate() {
        let first = inputs.first().is_some_and(|&input| exchanged[input]);
        let alike = inputs.iter().all(|&input| exchanged[input] == first);
        let output = match flow {
            Flow::Image => true,
            Flow::Reads => {
                readers.extend(first.then_some(id));
                false
            }
            Flow::Keeps if alike => first,
            Flow::Orders if alike && !first => false,
            Flow::Keeps | Flow::Orders => return Err(id),
        };
        if output && id == last {
            return Err(id);
        }
        exchanged.push(output);
    }
    Ok(readers)
}

/// Reverses the order of the image's channels, if the network takes another than red, green, blue.
fn reversed<N: Ordered>(
    nodes: &mut [N],
    input: Shape,
    channels: Channels,
) -> Result<(), LayerProblem> {
    if channels == Channels::Rgb {
        return Ok(());
    }
    if input[2] != 3 {
        return Err(unsupported(
            format!("--channels bgr does not apply to an image of {} channels", input[2]),
            "leave out --channels",
        )
        .into());
    }
    match readers(nodes.iter().map(|node| (node.flow(), node.inputs()))) {
        Ok(readers) => {
            readers.into_iter().for_each(|id| nodes[id].reverse());
            Ok(())
        }
        Err(id) => Err(unsupported(
            "depends on the order of the image's channels, but is not a convolution",
            "train it on images of red, green and blue, and leave out --channels",
        ))
        .at(nodes[id].source()),
    }
}

impl Network {
    /// The network changed to take red, green and blue instead of the given `channels`.
    ///
    /// # Errors
    ///
    /// An error for a layer that uses the image's channels other than by a convolution, or for the
    /// input, if it does not have three channels.
    pub fn for_rgb(mut self, channels: Channels) -> Result<Self, LayerProblem> {
        reversed(&mut self.nodes, self.input, channels)?;
        Ok(self)
    }
}

impl QuantizedNetwork {
    /// As [`Network::for_rgb`].
    ///
    /// # Errors
    ///
    /// As [`Network::for_rgb`].
    pub fn for_rgb(mut self, channels: Channels) -> Result<Self, LayerProblem> {
        reversed(&mut self.nodes, self.input, channels)?;
        if let (Channels::Bgr, Some(normalization)) = (channels, &mut self.normalization) {
            normalization.reverse();
        }
        Ok(self)
    }
}
