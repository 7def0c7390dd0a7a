//! The outputs of a network.

use super::geometry::NodeId;

/// An output of a network.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name in the file.
    ///
    /// Not compared by `==`, as each exporter chooses its own.
    pub name: String,
    /// The node that makes it.
    pub node: NodeId,
    /// The operator that follows in the file.
    ///
    /// It is not a node, since it does not change the order of scores.
    pub ending: Ending,
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        (self.node, self.ending) == (other.node, other.ending)
    }
}

/// Operators that may follow a network's last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// Nothing.
    #[default]
    None,
    /// A sigmoid of each score.
    Sigmoid,
    /// The logarithm of a softmax over the scores.
    LogSoftmax,
    /// The index of the largest score.
    ArgMax,
    /// Division by the length of the vector (its L2 norm).
    UnitLength,
}

impl Ending {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Ending::None => "nothing",
            Ending::Sigmoid => "a sigmoid",
            Ending::LogSoftmax => "a log-softmax",
            Ending::ArgMax => "an argmax",
            Ending::UnitLength => "an L2 normalization",
        }
    }
}
