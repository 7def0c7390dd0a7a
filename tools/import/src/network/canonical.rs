//! One form for networks from all sources.
//!
//! Batch norms are folded into convolutions, what the output does not need is dropped, and nodes
//! are ordered and named by the network's structure alone. Two files of one network then give equal
//! values, bit for bit, whatever the order and the names in them.

use super::float::{Network, Node, Op};
use super::geometry::NodeId;
use super::int8::{QuantizedNetwork, QuantizedNode, QuantizedOp};
use super::order::{Place, arrange};
use super::structure::{Outline, Role};
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::rewrite::batch_norm::{check_finite, fold_batch_norms};

impl Network {
    /// The network that computes `output`, in canonical form.
    pub fn canonical(mut self, output: NodeId) -> Result<Network, LayerProblem> {
        for node in &self.nodes {
            check_finite(&node.op).at(&node.source)?;
        }
        let output = fold_batch_norms(&mut self)?[output];
        if self.nodes[output].op == Op::Input {
            let detail = "the output is the input: there is no layer between them".into();
            return Err(Problem::Topology { detail }.into());
        }
        let nodes = ordered(self.nodes, output)?;
        Ok(Network { input: self.input, nodes, sigmoid: self.sigmoid })
    }
}

impl QuantizedNetwork {
    /// The network that computes `output`, with its nodes ordered and named by structure.
    pub(crate) fn canonical(self, output: NodeId) -> Result<QuantizedNetwork, LayerProblem> {
        let nodes = ordered(self.nodes, output)?;
        Ok(QuantizedNetwork { input: self.input, nodes, sigmoid: self.sigmoid })
    }
}

/// A node of either network.
trait Placed {
    /// The node without its numbers.
    fn outline(&self) -> Outline<'_>;
    /// The same node at another place.
    fn placed(self, name: String, inputs: Vec<NodeId>) -> Self;
}

impl Placed for Node {
    fn outline(&self) -> Outline<'_> {
        let (role, inputs) = (Role::from(&self.op), self.inputs.clone());
        Outline { role, inputs, shape: self.shape, source: &self.source }
    }

    fn placed(self, name: String, inputs: Vec<NodeId>) -> Self {
        Self { name, inputs, ..self }
    }
}

impl Placed for QuantizedNode {
    fn outline(&self) -> Outline<'_> {
        let (role, inputs) = (Role::from(&self.op), self.inputs.clone());
        Outline { role, inputs, shape: self.shape, source: &self.source }
    }

    fn placed(self, name: String, inputs: Vec<NodeId>) -> Self {
        Self { name, inputs, ..self }
    }
}

/// The nodes that `output` needs, in their order and with their names.
fn ordered<N: Placed>(nodes: Vec<N>, output: NodeId) -> Result<Vec<N>, LayerProblem> {
    let outlines: Vec<Outline<'_>> = nodes.iter().map(Placed::outline).collect();
    let places = arrange(&outlines, output)?;
    let mut old: Vec<Option<N>> = nodes.into_iter().map(Some).collect();
    let place = |place: Place| {
        let node = old[place.old].take().expect("each node has one place");
        node.placed(place.name, place.inputs)
    };
    Ok(places.into_iter().map(place).collect())
}

impl From<&Op> for Role {
    fn from(op: &Op) -> Self {
        match op {
            Op::Input => Role::Input,
            Op::Conv(conv) if conv.fully_connected => Role::FullyConnected,
            Op::Conv(_) => Role::Conv,
            Op::BatchNorm(_) => Role::BatchNorm,
            Op::Relu | Op::Relu6 => Role::Activation,
            Op::Add => Role::Add,
            Op::Subsample(_) => Role::Subsample,
            Op::MaxPool(_) => Role::MaxPool,
            Op::GlobalAveragePool => Role::AveragePool,
            Op::Softmax => Role::Softmax,
        }
    }
}

impl From<&QuantizedOp> for Role {
    fn from(op: &QuantizedOp) -> Self {
        match op {
            QuantizedOp::Input => Role::Input,
            QuantizedOp::Conv(conv) if conv.fully_connected => Role::FullyConnected,
            QuantizedOp::Conv(_) => Role::Conv,
            QuantizedOp::Add => Role::Add,
            QuantizedOp::Subsample(_) => Role::Subsample,
            QuantizedOp::MaxPool(_) => Role::MaxPool,
            QuantizedOp::GlobalAveragePool | QuantizedOp::Mean | QuantizedOp::TfliteMean => {
                Role::AveragePool
            }
            QuantizedOp::Softmax => Role::Softmax,
        }
    }
}
