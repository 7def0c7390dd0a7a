//! The order of a network's nodes, by its structure alone: in a block the main path comes first,
//! then the shortcut, then the addition.

use std::collections::HashMap;

use super::geometry::NodeId;
use super::names::names;
use super::structure::{Block, Outline, Role};
use crate::error::{AtLayer, LayerProblem, Problem};

/// A node's place in the canonical order.
pub(crate) struct Place {
    /// Its id before.
    pub(crate) old: NodeId,
    /// Its canonical name.
    pub(crate) name: String,
    /// Its inputs by their ids now; for an addition the main path, then the shortcut.
    pub(crate) inputs: Vec<NodeId>,
}

/// Orders the nodes that `output` needs, and names them: in a block the main path, then the
/// shortcut, then the addition.
pub(crate) fn arrange(nodes: &[Outline<'_>], output: NodeId) -> Result<Vec<Place>, LayerProblem> {
    // Nodes that the output needs, and how many of those read each.
    let mut needed = vec![false; nodes.len()];
    let mut readers = vec![0usize; nodes.len()];
    needed[output] = true;
    for id in (0..nodes.len()).rev() {
        if needed[id] {
            for &input in &nodes[id].inputs {
                needed[input] = true;
                readers[input] += 1;
            }
        }
    }

    let mut blocks: HashMap<NodeId, Block> = HashMap::new();
    for id in (0..nodes.len()).filter(|&id| needed[id] && nodes[id].role == Role::Add) {
        blocks.insert(id, block(nodes, &readers, id).at(nodes[id].source)?);
    }
    // Every fork must be a block's own: a node that more read than the two branches of one block
    // (or that ends a branch of no block) is another kind of network.
    let mut forks = vec![0usize; nodes.len()];
    for block in blocks.values() {
        forks[block.fork] += 1;
    }
    let odd = (0..nodes.len()).find(|&id| readers[id] > 1 && (readers[id] != 2 || forks[id] != 1));
    if let Some(id) = odd {
        let detail = format!("its output is read by {} layers", readers[id]);
        return Err(Problem::Topology { detail }).at(nodes[id].source);
    }

    // Post-order from the output: each node after its inputs, the main path first.
    let mut order = Vec::new();
    let mut position = vec![usize::MAX; nodes.len()];
    let mut stack = vec![(output, false)];
    while let Some((id, expanded)) = stack.pop() {
        if position[id] != usize::MAX {
            continue;
        }
        if expanded {
            position[id] = order.len();
            order.push(id);
            continue;
        }
        stack.push((id, true));
        match blocks.get(&id) {
            Some(block) => stack.extend([(block.inputs[1], false), (block.inputs[0], false)]),
            None => stack.extend(nodes[id].inputs.iter().map(|&input| (input, false))),
        }
    }

    let names = names(nodes, &order, &blocks);
    let place = |&old: &NodeId| {
        let inputs = match blocks.get(&old) {
            Some(block) => block.inputs.to_vec(),
            None => nodes[old].inputs.clone(),
        };
        Place {
            old,
            name: names[old].clone(),
            inputs: inputs.into_iter().map(|input| position[input]).collect(),
        }
    };
    Ok(order.iter().map(place).collect())
}

/// The block that the addition `add` ends.
fn block(nodes: &[Outline<'_>], readers: &[usize], add: NodeId) -> Result<Block, Problem> {
    // A branch runs back to the first node that someone else reads too.
    let branch = |end: NodeId| {
        let mut branch = Vec::new();
        let mut at = end;
        while readers[at] == 1 && nodes[at].inputs.len() == 1 {
            branch.push(at);
            at = nodes[at].inputs[0];
        }
        branch.reverse();
        (at, branch)
    };
    let [first, second] = nodes[add].inputs[..] else {
        return Err(Problem::Topology { detail: "an addition has two inputs".into() });
    };
    let ((fork, one), (other_fork, two)) = (branch(first), branch(second));
    if fork != other_fork || readers[fork] < 2 {
        return Err(Problem::Topology {
            detail: format!(
                "adds two branches that do not begin at the same layer (`{}` and `{}`)",
                nodes[fork].source, nodes[other_fork].source
            ),
        });
    }
    if one.is_empty() && two.is_empty() {
        return Err(Problem::Topology { detail: "adds a layer to itself".into() });
    }
    let convs =
        |branch: &[NodeId]| branch.iter().filter(|&&id| nodes[id].role == Role::Conv).count();
    Ok(if convs(&one) >= convs(&two) {
        Block { fork, main: one, shortcut: two, inputs: [first, second] }
    } else {
        Block { fork, main: two, shortcut: one, inputs: [second, first] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(role: Role, inputs: &[NodeId], channels: usize) -> Outline<'static> {
        Outline { role, inputs: inputs.to_vec(), shape: [8, 8, channels], source: "x" }
    }

    #[test]
    fn order_and_names_come_from_the_structure() {
        // The shortcut comes first in the file and first in the addition; one node is dead.
        let nodes = [
            part(Role::Input, &[], 3),
            part(Role::Conv, &[0], 4),
            part(Role::Activation, &[1], 4),
            part(Role::Conv, &[2], 8), // projection
            part(Role::Conv, &[0], 9), // dead
            part(Role::Conv, &[2], 8),
            part(Role::Activation, &[5], 8),
            part(Role::Conv, &[6], 8),
            part(Role::Add, &[3, 7], 8),
            part(Role::Activation, &[8], 8),
            part(Role::AveragePool, &[9], 8),
            part(Role::FullyConnected, &[10], 2),
        ];
        let places = arrange(&nodes, 11).unwrap();
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "input",
                "stem",
                "stem.relu",
                "stage1.block1.conv1",
                "stage1.block1.conv1.relu",
                "stage1.block1.conv2",
                "stage1.block1.shortcut",
                "stage1.block1.add",
                "stage1.block1.add.relu",
                "pool",
                "fc"
            ]
        );
        assert_eq!(places[7].inputs, [5, 6]);
    }

    #[test]
    fn a_fork_without_an_addition_is_refused() {
        let nodes = [
            part(Role::Input, &[], 3),
            part(Role::Conv, &[0], 3),
            part(Role::Conv, &[0], 3),
            part(Role::Conv, &[1], 3),
            part(Role::Add, &[2, 3], 3),
            part(Role::Add, &[4, 1], 3),
        ];
        assert!(arrange(&nodes, 5).is_err());
    }
}
