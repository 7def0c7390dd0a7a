//! Operators after the last layer become a part of the output.

use super::float::{Network, Op};
use super::function::Function;
use super::geometry::NodeId;
use super::output::{Ending, Output};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};

impl Network {
    /// Whether each node is needed by these outputs.
    pub(crate) fn needed(&self, outputs: &[Output]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        for output in outputs {
            needed[output.node] = true;
        }
        for id in (0..self.nodes.len()).rev().filter(|&id| id > 0) {
            if needed[id] {
                self.nodes[id].inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        needed
    }

    /// The outputs that end in these nodes, with their names in the file.
    ///
    /// # Errors
    ///
    /// An error for a node that may only come last, but is read.
    pub(crate) fn endings(&self, ends: &[(NodeId, String)]) -> Result<Vec<Output>, LayerProblem> {
        let readers = self.consumers();
        for (id, node) in self.nodes.iter().enumerate() {
            if let Op::Ending(ending) = node.op
                && (readers[id] > 0 || !ends.iter().any(|&(end, _)| end == id))
            {
                return Err(unsupported(
                    format!("{} inside of the network", ending.name()),
                    "it may only be the network's last layer, after its scores",
                ))
                .at(&node.source);
            }
        }
        let output = |(end, name): &(NodeId, String)| {
            let node = &self.nodes[*end];
            let ending = match node.op {
                Op::Function(Function::Sigmoid) if readers[*end] == 0 => Ending::Sigmoid,
                Op::Ending(ending) => ending,
                _ => Ending::None,
            };
            let node = if ending == Ending::None { *end } else { node.inputs[0] };
            if matches!(self.nodes[node].op, Op::Input) {
                let detail = "the output is the input: there is no layer between them".into();
                return Err(Problem::Topology { detail }.into());
            }
            Ok(Output { name: name.clone(), node, ending })
        };
        ends.iter().map(output).collect()
    }
}
