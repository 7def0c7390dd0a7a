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

/// Why nodes are no chain of residual blocks: the first that is odd, and what is odd about it. Each
/// node is told by whether it is an addition, and its inputs.
pub(crate) fn odd(nodes: &[(bool, &[NodeId])], names: &[&str]) -> Option<(NodeId, String)> {
    let mut readers = vec![0usize; nodes.len()];
    nodes.iter().flat_map(|(_, inputs)| inputs.iter()).for_each(|&input| readers[input] += 1);
    let mut forks = vec![0usize; nodes.len()];
    for (id, &(addition, inputs)) in nodes.iter().enumerate() {
        let &[first, second] = inputs else {
            if inputs.len() > 2 {
                return Some((id, format!("joins {} maps", inputs.len())));
            }
            continue;
        };
        if !addition {
            return Some((id, "reads two maps, but is no addition".into()));
        }
        // A branch runs back to the first node that someone else reads too.
        let fork = |end: NodeId| {
            let mut at = end;
            while readers[at] == 1 && nodes[at].1.len() == 1 {
                at = nodes[at].1[0];
            }
            at
        };
        let (one, two) = (fork(first), fork(second));
        if one != two || readers[one] < 2 {
            let what = format!(
                "adds two branches that do not begin at the same layer (`{}` and `{}`)",
                names[one], names[two]
            );
            return Some((id, what));
        }
        if first == second {
            return Some((id, "adds a layer to itself".into()));
        }
        forks[one] += 1;
    }
    let odd = (0..nodes.len()).find(|&id| readers[id] > 1 && (readers[id] != 2 || forks[id] != 1));
    odd.map(|id| (id, format!("its output is read by {} layers", readers[id])))
}
