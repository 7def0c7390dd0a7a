//! The network while the operators are walked.

use std::collections::{HashMap, HashSet};

use super::constant::Constants;
use super::graph::Graph;
use super::schema::{corrupt, operator_name};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{
    self, Activation, AveragePool, Border, Ending, Function, NodeId, Pads, QuantizedConstant,
    Shape, Subsample, TfliteFunction, Window, check_extents,
};
use crate::rewrite::view::View;

/// The operation of a layer; its numbers are in tensors of the file.
pub(super) enum Computation {
    Input,
    Conv(Conv),
    /// One weight and one bias per channel, from an operator with a constant.
    Affine {
        factors: Vec<f32>,
        offsets: Vec<f32>,
        /// In an int8 network, TFLite's operation, and the tensor of its constant.
        operation: Option<(Operation, i32)>,
    },
    /// An activation that is not fused into another layer.
    Rectifier(Activation),
    Function(Function),
    /// A function that an int8 network computes in float, between DEQUANTIZE and QUANTIZE.
    FloatFunction(Function),
    /// A PReLU, with the tensor of its slopes.
    PRelu(i32),
    Add,
    Subtract,
    /// The difference of two maps of one scale where it is positive, otherwise 0, at that scale.
    Excess,
    Multiply,
    Concat,
    /// Zeros around the map.
    Pad(Pads),
    /// Rows and columns of the map around it.
    Border(Border),
    /// A map whose only channel is repeated `channels` times.
    Spread,
    /// A part of a map: a convolution whose weights are 0 and 1.
    Part(network::Conv),
    Subsample(Subsample),
    MaxPool(Window),
    AveragePool(AveragePool),
    GlobalAveragePool,
    Mean,
    /// A change of the scale.
    Requantize,
    Softmax,
    Ending(Ending),
}

/// Makes the function of single values that has this constant.
pub(super) type Operation = fn(QuantizedConstant) -> TfliteFunction;

/// A convolution or a linear layer.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub(super) weights: i32,
    pub(super) kernel: [usize; 2],
    pub(super) bias: Option<i32>,
    pub(super) stride: [usize; 2],
    pub(super) pads: Pads,
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
    /// Whether the file has its weights as `[1, height, width, out channels]`.
    pub(super) depthwise: bool,
    /// Whether it reads the whole map.
    pub(super) fully_connected: bool,
    /// Whether it reads a vector of channels, rows and columns in this order.
    pub(super) channels_first: bool,
    /// Whether the file calls it fully connected: over the whole map, or over each pixel.
    pub(super) linear: bool,
}

/// A layer of the file's network.
pub(super) struct Computed {
    pub(super) source: String,
    pub(super) op: Computation,
    pub(super) inputs: Vec<NodeId>,
    pub(super) shape: Shape,
    /// The file's tensor that holds the output's scale.
    pub(super) tensor: i32,
    pub(super) activation: Activation,
}

/// The part of the computation of a vector's length that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Length {
    /// The squares of its elements.
    Squares,
    /// Their sum.
    Square,
    /// The square root of the sum.
    Root,
    /// The reciprocal of the root.
    Reciprocal,
}

/// The layers so far, and the meaning of the file's tensors.
pub(super) struct Importer<'g, 'a> {
    pub(super) graph: &'g Graph<'a>,
    pub(super) layers: Vec<Computed>,
    /// The values of tensors that are computed from constants.
    pub(super) constants: Constants<'g, 'a>,
    /// Tensors [before the network's end](super::ends).
    pub(super) inner: HashSet<i32>,
    /// Maps that SPACE_TO_BATCH_ND divided, by tensor, with the size of its block.
    pub(super) spaced: HashMap<i32, [usize; 2]>,
    /// Tensors that hold a map with its channels before rows and columns.
    pub(super) turned: HashSet<i32>,
    /// Tensors that hold such a map as a vector.
    pub(super) flat: HashSet<i32>,
    /// Tensors of padded maps whose padding is lower than any number.
    pub(super) lowest: HashSet<i32>,
    /// Lengths of vectors, by tensor; `values` has the vector.
    pub(super) lengths: HashMap<i32, Length>,
    /// Maps by tensor.
    ///
    /// The padding of a view is the zero point, as is that of a convolution.
    pub(super) values: HashMap<i32, View>,
}

impl Importer<'_, '_> {
    pub(super) fn input(&mut self, at: i32) -> Result<(), LayerProblem> {
        let tensor = self.graph.tensor(at)?;
        let mut shape = tensor.map_shape().at(&tensor.name)?;
        if self.channels_first(at) || self.is_normalized_first(at) {
            shape.rotate_left(1);
        }
        if self.is_normalized_first(at) {
            self.turned.insert(at);
        }
        let (source, op) = (tensor.name.clone(), Computation::Input);
        let layer = Computed {
            source,
            op,
            inputs: vec![],
            shape,
            tensor: at,
            activation: Activation::None,
        };
        self.layers.push(layer);
        self.values.insert(at, View::new(0, shape));
        Ok(())
    }

    /// Whether the first operator transposes the image from N, C, H, W to N, H, W, C.
    pub(super) fn channels_first(&self, at: i32) -> bool {
        let reader = |at: i32| {
            let mut operators = self.graph.operators.iter();
            operators.find(|operator| operator.inputs.first() == Some(&at))
        };
        let mut first = reader(at);
        // A file that takes uint8 changes that to int8 before.
        if let Some(quantize) = first.filter(|first| operator_name(first.code) == "QUANTIZE") {
            first = quantize.outputs.first().and_then(|&output| reader(output));
        }
        first.is_some_and(|operator| {
            let order = operator.inputs.get(1).and_then(|&order| self.constants.ints(order).ok());
            operator_name(operator.code) == "TRANSPOSE" && order.as_deref() == Some(&[0, 2, 3, 1])
        })
    }

    /// Whether constants are added to the image, or multiply it, before the file transposes it from
    /// N, C, H, W.
    fn is_normalized_first(&self, mut at: i32) -> bool {
        let mut operators = self.graph.operators.iter();
        let mut found = false;
        while let Some(reader) = operators.find(|operator| operator.inputs.contains(&at)) {
            let name = operator_name(reader.code);
            let constant = |input: &i32| *input == at || self.constants.has(*input);
            match (name.as_str(), &reader.outputs[..]) {
                ("QUANTIZE", &[output]) => at = output,
                ("ADD" | "SUB" | "MUL" | "DIV", &[output])
                    if reader.inputs.iter().all(constant) =>
                {
                    (at, found) = (output, true);
                }
                _ => return found && name == "TRANSPOSE" && self.channels_first(at),
            }
        }
        false
    }

    /// Whether these sizes of a constant are those of one number per channel of the map `at`.
    pub(super) fn is_by_channel(
        &self,
        sizes: &[i32],
        at: i32,
        channels: usize,
    ) -> Result<bool, Problem> {
        let place = match self.turned.contains(&at) {
            // The dimensions behind the batch, of which the channels are the first.
            true => {
                let rank = self.graph.tensor(at)?.shape.len();
                (sizes.len() + 1).checked_sub(rank)
            }
            false => sizes.len().checked_sub(1),
        };
        Ok(place.and_then(|place| sizes.get(place)) == Some(&(channels as i32)))
    }

    pub(super) fn view(&self, at: i32) -> Result<View, Problem> {
        let view = self.values.get(&at).copied();
        view.ok_or_else(|| match self.graph.tensor(at) {
            Ok(tensor) if !tensor.data.is_empty() => unsupported(
                format!("`{}` is a constant, not a map", tensor.name),
                "convert the network with constants folded",
            ),
            _ => corrupt("an operator reads what no earlier one computes"),
        })
    }

    /// Whether the last dimension of a tensor is that of the channels: it is no map that was made a
    /// vector.
    pub(super) fn is_by_pixel(&self, at: i32) -> Result<bool, Problem> {
        let sizes = &self.graph.tensor(at)?.shape;
        let channels = self.view(at)?.shape()[2];
        Ok(sizes.last() == Some(&(channels as i32)) && !self.turned.contains(&at))
    }

    /// Whether a reshape to these sizes only joins rows and columns of a map, at the end of the
    /// network, where the order of cells stays the same.
    pub(super) fn joins_pixels(&self, output: i32, channels: usize) -> Result<bool, Problem> {
        let sizes = &self.graph.tensor(output)?.shape;
        Ok(sizes.last() == Some(&(channels as i32)) && !self.inner.contains(&output))
    }

    pub(super) fn push(&mut self, layer: Computed) -> NodeId {
        self.layers.push(layer);
        self.layers.len() - 1
    }

    /// The layer that computes a view; `tensor` has its scale.
    pub(super) fn settle(
        &mut self,
        mut view: View,
        source: &str,
        tensor: i32,
    ) -> Result<NodeId, Problem> {
        let pads = view.take_pads();
        let mut layer = |op: Computation, node: NodeId, shape: Shape| {
            check_extents(&shape, "map")?;
            let inputs = vec![node];
            let (source, activation) = (source.to_owned(), Activation::None);
            Ok::<_, Problem>(self.push(Computed { source, op, inputs, shape, tensor, activation }))
        };
        let mut node = view.node;
        let shape = view.shape();
        if let Some(subsample) = view.subsample() {
            node = layer(Computation::Subsample(subsample), node, shape)?;
        }
        if pads != [0; 4] {
            let [height, width, channels] = shape;
            let [top, left, bottom, right] = pads;
            let shape = [height + top + bottom, width + left + right, channels];
            node = layer(Computation::Pad(pads), node, shape)?;
        }
        Ok(node)
    }
}
