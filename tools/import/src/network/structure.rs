//! What order and names of a network's nodes depend on.

use super::geometry::{NodeId, Shape};

/// What an operator is in the network's structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Input,
    Conv,
    FullyConnected,
    BatchNorm,
    Activation,
    Add,
    Subsample,
    MaxPool,
    AveragePool,
    Softmax,
}

/// A node without its numbers.
pub(crate) struct Outline<'a> {
    pub(crate) role: Role,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) shape: Shape,
    pub(crate) source: &'a str,
}

/// A residual block.
pub(crate) struct Block {
    /// Where its two branches begin.
    pub(crate) fork: NodeId,
    /// Nodes of the longer branch and of the shortcut, in order.
    pub(crate) main: Vec<NodeId>,
    pub(crate) shortcut: Vec<NodeId>,
    /// The inputs of the addition, main path first.
    pub(crate) inputs: [NodeId; 2],
}
