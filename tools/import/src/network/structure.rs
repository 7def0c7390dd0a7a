//! What order and names of a network's nodes depend on.

use super::geometry::{NodeId, Shape};

/// What an operator is in the network's structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Input,
    Conv,
    FullyConnected,
    BatchNorm,
    /// With what it is called.
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

/// A node without its numbers.
pub(crate) struct Outline {
    pub(crate) role: Role,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) shape: Shape,
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
