//! What a network answers.

use super::geometry::NodeId;

/// An output of a network.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name in the file. Not compared by `==`: each exporter has its own.
    pub name: String,
    /// The node that makes it.
    pub node: NodeId,
    /// What the file does with it then: it is no node, as it changes no order of scores.
    pub ending: Ending,
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        (self.node, self.ending) == (other.node, other.ending)
    }
}

/// What may follow a network's last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// Nothing.
    #[default]
    None,
    /// A sigmoid of each score.
    Sigmoid,
    /// The logarithm of a softmax over the scores.
    LogSoftmax,
    /// The number of the largest score.
    ArgMax,
    /// Division by the length of the vector (its L2 norm).
    UnitLength,
}

impl Ending {
    /// What it is called in messages.
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
