//! One canonical form for networks from all sources.
//!
//! Batch norms are folded into convolutions, nodes that no output needs are dropped, and the others
//! are ordered and named by the network's structure alone. Two files of the same network then give
//! equal values, bit for bit, whatever the order and names in them.

use super::float::{Network, Node, Op};
use super::geometry::NodeId;
use super::int8::{QuantizedNetwork, QuantizedNode, QuantizedOp};
use super::order::{Place, arrange};
use super::output::Output;
use super::structure::{Outline, Role};
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::rewrite::batch_norm::{check_finite, fold_batch_norms};
use crate::rewrite::int8;
use crate::rewrite::kernels::widen;
use crate::rewrite::layers::bring_to_layers;
use crate::rewrite::spellings::simplify;

impl Network {
    /// The network that computes the outputs of these nodes, in canonical form; with the names of
    /// the outputs in the file.
    pub fn canonical(mut self, ends: &[(NodeId, String)]) -> Result<Network, LayerProblem> {
        for node in &self.nodes {
            check_finite(&node.op).at(&node.source)?;
        }
        let outputs = self.endings(ends)?;
        simplify(&mut self, &outputs.iter().map(|output| output.node).collect::<Vec<_>>());
        let moved = fold_batch_norms(&mut self, &outputs)?;
        let moved = |output: Output| Output { node: moved[output.node], ..output };
        let mut outputs: Vec<Output> = outputs.into_iter().map(moved).collect();
        bring_to_layers(&mut self, &mut outputs);
        let (nodes, outputs) = ordered(self.nodes, outputs);
        Ok(Network { input: self.input, nodes, outputs })
    }
}

impl Network {
    /// Removes factors and offsets of the image, if the network begins with them and nothing else
    /// reads the image.
    ///
    /// Returns the network, and the factor and offset of each channel.
    pub fn without_normalization(mut self) -> (Network, Option<Vec<(f64, f64)>>) {
        let begins = self.nodes.get(1).filter(|node| node.inputs == [0]);
        let norm = match begins.map(|node| &node.op) {
            Some(Op::BatchNorm(norm)) => norm,
            _ => return (self, None),
        };
        let channels = self.input[2];
        let affine: Vec<(f64, f64)> = (0..channels).map(|c| norm.affine(c)).collect();
        let alone = self.nodes.iter().filter(|node| node.inputs.contains(&0)).count() == 1;
        if !alone || self.outputs.iter().any(|output| output.node < 2) {
            return (self, None);
        }
        for node in &mut self.nodes[2..] {
            node.inputs.iter_mut().filter(|input| **input == 1).for_each(|input| *input = 0);
        }
        let (nodes, outputs) = ordered(self.nodes, self.outputs);
        (Network { input: self.input, nodes, outputs }, Some(affine))
    }
}

impl QuantizedNetwork {
    /// The network that computes `outputs`, with its nodes ordered and named by structure.
    pub(crate) fn canonical(mut self, outputs: Vec<Output>) -> QuantizedNetwork {
        for node in &mut self.nodes {
            if let QuantizedOp::Conv(conv) = &mut node.op
                && conv.dilation == [1, 1]
            {
                widen(&mut conv.weights, &mut conv.pads);
            }
        }
        let mut outputs = outputs;
        int8::bring_to_layers(&mut self.nodes, &mut outputs);
        let (nodes, outputs) = ordered(self.nodes, outputs);
        QuantizedNetwork { nodes, outputs, ..self }
    }
}

impl Network {
    /// The same network with only these outputs, in this order.
    ///
    /// # Errors
    ///
    /// An error with the names of the outputs that exist.
    pub fn with_outputs(mut self, names: &[String]) -> Result<Network, LayerProblem> {
        let outputs = std::mem::take(&mut self.outputs);
        let (nodes, outputs) = chosen(self.nodes, &outputs, names)?;
        Ok(Network { input: self.input, nodes, outputs })
    }
}

impl QuantizedNetwork {
    /// The same network with only these outputs, in this order.
    ///
    /// # Errors
    ///
    /// An error with the names of the outputs that exist.
    pub fn with_outputs(mut self, names: &[String]) -> Result<QuantizedNetwork, LayerProblem> {
        let outputs = std::mem::take(&mut self.outputs);
        let (nodes, outputs) = chosen(self.nodes, &outputs, names)?;
        Ok(QuantizedNetwork { nodes, outputs, ..self })
    }
}

/// The outputs with these names.
fn chosen<N: Placed>(
    nodes: Vec<N>,
    outputs: &[Output],
    names: &[String],
) -> Result<(Vec<N>, Vec<Output>), LayerProblem> {
    let of = |name: &String| {
        let found = outputs.iter().find(|output| output.name == *name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            Problem::NoOutput { name: name.clone(), names: names.join(", ") }.into()
        })
    };
    let chosen = names.iter().map(of).collect::<Result<_, LayerProblem>>()?;
    Ok(ordered(nodes, chosen))
}

/// A node of either network.
trait Placed {
    /// The node's structure, without its numbers.
    fn outline(&self) -> Outline;
    /// The same node with another name and other inputs.
    fn placed(self, name: String, inputs: Vec<NodeId>) -> Self;
}

impl Placed for Node {
    fn outline(&self) -> Outline {
        let (role, inputs) = (Role::from(&self.op), self.inputs.clone());
        Outline { role, inputs, shape: self.shape }
    }

    fn placed(self, name: String, inputs: Vec<NodeId>) -> Self {
        Self { name, inputs, ..self }
    }
}

impl Placed for QuantizedNode {
    fn outline(&self) -> Outline {
        let (role, inputs) = (Role::from(&self.op), self.inputs.clone());
        Outline { role, inputs, shape: self.shape }
    }

    fn placed(self, name: String, inputs: Vec<NodeId>) -> Self {
        Self { name, inputs, ..self }
    }
}

/// The nodes that the outputs need, ordered and named, and the outputs.
fn ordered<N: Placed>(nodes: Vec<N>, outputs: Vec<Output>) -> (Vec<N>, Vec<Output>) {
    let outlines: Vec<Outline> = nodes.iter().map(Placed::outline).collect();
    let ends: Vec<NodeId> = outputs.iter().map(|output| output.node).collect();
    let places = arrange(&outlines, &ends);
    let now = |old: NodeId| places.iter().position(|place| place.old == old);
    let output = |output: Output| {
        let node = now(output.node).expect("outputs are needed");
        Output { node, ..output }
    };
    let outputs = outputs.into_iter().map(output).collect();
    let mut old: Vec<Option<N>> = nodes.into_iter().map(Some).collect();
    let place = |place: Place| {
        let node = old[place.old].take().expect("each node has one place");
        node.placed(place.name, place.inputs)
    };
    (places.into_iter().map(place).collect(), outputs)
}

impl From<&Op> for Role {
    fn from(op: &Op) -> Self {
        match op {
            Op::Input => Role::Input,
            Op::Conv(conv) if conv.fully_connected => Role::FullyConnected,
            Op::Conv(_) => Role::Conv,
            Op::BatchNorm(_) => Role::BatchNorm,
            Op::Relu | Op::Relu6 => Role::Activation("relu"),
            Op::Function(function) => Role::Activation(function.node_name()),
            Op::PRelu(_) => Role::Activation("prelu"),
            Op::Add => Role::Add,
            Op::Multiply => Role::Multiply,
            Op::Concat => Role::Concat,
            Op::Subsample(_) => Role::Subsample,
            Op::Border(_) => Role::Border,
            Op::MaxPool(_) => Role::MaxPool,
            Op::AveragePool(_) | Op::GlobalAveragePool => Role::AveragePool,
            Op::Softmax => Role::Softmax,
            Op::Ending(_) => Role::Ending,
        }
    }
}

impl From<&QuantizedOp> for Role {
    fn from(op: &QuantizedOp) -> Self {
        match op {
            QuantizedOp::Input => Role::Input,
            QuantizedOp::Conv(conv) if conv.fully_connected => Role::FullyConnected,
            QuantizedOp::Conv(_) => Role::Conv,
            QuantizedOp::Function(function) => Role::Activation(function.node_name()),
            QuantizedOp::PRelu(_) => Role::Activation("prelu"),
            QuantizedOp::Tflite(function) => Role::Activation(function.node_name()),
            QuantizedOp::Requantize => Role::Activation("rescale"),
            QuantizedOp::Divide => Role::Activation("divide"),
            QuantizedOp::Multiply => Role::Multiply,
            QuantizedOp::Concat => Role::Concat,
            QuantizedOp::Add => Role::Add,
            QuantizedOp::Subtract => Role::Subtract,
            QuantizedOp::Subsample(_) => Role::Subsample,
            QuantizedOp::MaxPool(_) => Role::MaxPool,
            QuantizedOp::AveragePool(_)
            | QuantizedOp::GlobalAveragePool
            | QuantizedOp::Mean
            | QuantizedOp::TfliteMean => Role::AveragePool,
            QuantizedOp::Softmax => Role::Softmax,
        }
    }
}
