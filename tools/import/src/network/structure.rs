//! The structure of a network, on which order and names of its nodes depend.

use super::geometry::{NodeId, Shape};

/// The role of an operator in the network's structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Input,
    Conv,
    FullyConnected,
    BatchNorm,
    /// An activation, with its name.
    Activation(&'static str),
    Add,
    Subtract,
    Multiply,
    Concat,
    Subsample,
    Border,
    MaxPool,
    AveragePool,
    Softmax,
    Ending,
}

impl Role {
    pub(crate) fn is_activation(self) -> bool {
        matches!(self, Role::Activation(_))
    }
}

/// A node's role, inputs and shape.
pub(crate) struct Outline {
    pub(crate) role: Role,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) shape: Shape,
}

/// A residual block.
pub(crate) struct Block {
    /// The node at which its two branches begin.
    pub(crate) fork: NodeId,
    /// Nodes of the longer branch and of the shortcut, in order.
    pub(crate) main: Vec<NodeId>,
    pub(crate) shortcut: Vec<NodeId>,
    /// The inputs of the addition, main path first.
    pub(crate) inputs: [NodeId; 2],
}
