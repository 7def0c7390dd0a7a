//! Orders a network's nodes by its structure alone: in a block the main path comes first, then the
//! shortcut, then the addition.

use std::collections::HashMap;

use super::geometry::NodeId;
use super::names::names;
use super::structure::{Block, Outline, Role};

/// A node's place in the canonical order.
pub(crate) struct Place {
    /// Its old id.
    pub(crate) old: NodeId,
    /// Its canonical name.
    pub(crate) name: String,
    /// Its inputs by their new ids; for an addition the main path, then the shortcut.
    pub(crate) inputs: Vec<NodeId>,
}

/// Orders and names the nodes that the outputs need.
///
/// In a block the main path comes first, then the shortcut, then the addition; elsewhere the longer
/// path comes first.
pub(crate) fn arrange(nodes: &[Outline], outputs: &[NodeId]) -> Vec<Place> {
    // The nodes that the outputs need, and the number of those that read each.
    let mut needed = vec![false; nodes.len()];
    let mut readers = vec![0usize; nodes.len()];
    for &output in outputs {
        needed[output] = true;
    }
    for id in (0..nodes.len()).rev() {
        if needed[id] {
            for &input in &nodes[id].inputs {
                needed[input] = true;
                readers[input] += 1;
            }
        }
    }
    let (blocks, chain) = blocks(nodes, &needed, &readers);
    let depths = depths(nodes);
    let inputs = |id: NodeId| match blocks.get(&id) {
        Some(block) => block.inputs.to_vec(),
        None => {
            let mut inputs = nodes[id].inputs.clone();
            if nodes[id].role == Role::Add {
                inputs.sort_by_key(|&input| std::cmp::Reverse(depths[input]));
            }
            inputs
        }
    };

    // Post-order from the outputs: each node comes after its inputs, the main path first.
    let mut order = Vec::new();
    let mut position = vec![usize::MAX; nodes.len()];
    for &output in outputs {
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
            stack.extend(inputs(id).into_iter().rev().map(|input| (input, false)));
        }
    }

    let names = names(nodes, &order, &blocks, chain);
    let place = |&old: &NodeId| Place {
        old,
        name: names[old].clone(),
        inputs: inputs(old).into_iter().map(|input| position[input]).collect(),
    };
    order.iter().map(place).collect()
}

/// Number of nodes on the longest path to each node.
fn depths(nodes: &[Outline]) -> Vec<usize> {
    let mut depths = vec![0; nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        depths[id] = node.inputs.iter().map(|&input| depths[input] + 1).max().unwrap_or(0);
    }
    depths
}

/// The residual blocks, by the addition that ends each; and whether the network is a chain of them,
/// in which no other node has two readers.
fn blocks(nodes: &[Outline], needed: &[bool], readers: &[usize]) -> (HashMap<NodeId, Block>, bool) {
    let mut blocks: HashMap<NodeId, Block> = HashMap::new();
    let mut forks = vec![0usize; nodes.len()];
    for id in (0..nodes.len()).filter(|&id| needed[id] && nodes[id].role == Role::Add) {
        if let Some(block) = block(nodes, readers, id) {
            forks[block.fork] += 1;
            blocks.insert(id, block);
        }
    }
    // In residual networks a fork belongs to one block, and has no other readers.
    blocks.retain(|_, block| readers[block.fork] == 2 && forks[block.fork] == 1);
    let own = |id: NodeId| readers[id] < 2 || (readers[id] == 2 && forks[id] == 1);
    let chain = (0..nodes.len()).all(own);
    (blocks, chain)
}

/// The block that ends in the addition `add`, if it joins two branches of one fork.
fn block(nodes: &[Outline], readers: &[usize], add: NodeId) -> Option<Block> {
    // A branch runs back to the first node that has another reader.
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
    let [first, second] = nodes[add].inputs[..] else { return None };
    let ((fork, one), (other_fork, two)) = (branch(first), branch(second));
    let nothing = one.is_empty() && two.is_empty();
    if fork != other_fork || readers[fork] < 2 || nothing {
        return None;
    }
    let convs =
        |branch: &[NodeId]| branch.iter().filter(|&&id| nodes[id].role == Role::Conv).count();
    Some(if convs(&one) >= convs(&two) {
        Block { fork, main: one, shortcut: two, inputs: [first, second] }
    } else {
        Block { fork, main: two, shortcut: one, inputs: [second, first] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(role: Role, inputs: &[NodeId], channels: usize) -> Outline {
        Outline { role, inputs: inputs.to_vec(), shape: [8, 8, channels] }
    }

    #[test]
    fn order_and_names_come_from_the_structure() {
        // The shortcut comes first in the file and first in the addition; one node is dead.
        let nodes = [
            part(Role::Input, &[], 3),
            part(Role::Conv, &[0], 4),
            part(Role::Activation("relu"), &[1], 4),
            part(Role::Conv, &[2], 8), // projection
            part(Role::Conv, &[0], 9), // dead
            part(Role::Conv, &[2], 8),
            part(Role::Activation("relu"), &[5], 8),
            part(Role::Conv, &[6], 8),
            part(Role::Add, &[3, 7], 8),
            part(Role::Activation("relu"), &[8], 8),
            part(Role::AveragePool, &[9], 8),
            part(Role::FullyConnected, &[10], 2),
        ];
        let places = arrange(&nodes, &[11]);
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
    fn a_graph_that_is_no_chain_of_blocks_is_ordered_too() {
        let nodes = [
            part(Role::Input, &[], 3),
            part(Role::Conv, &[0], 3),
            part(Role::Conv, &[0], 3),
            part(Role::Conv, &[1], 3),
            part(Role::Add, &[2, 3], 3),
            part(Role::Add, &[1, 4], 3),
        ];
        let places = arrange(&nodes, &[5]);
        let old: Vec<NodeId> = places.iter().map(|place| place.old).collect();
        assert_eq!(old, [0, 1, 3, 2, 4, 5]);
        // The longer path comes first.
        assert_eq!((&places[4].inputs[..], &places[5].inputs[..]), (&[2, 3][..], &[4, 1][..]));
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["input", "conv", "conv2", "conv3", "add", "add2"]);
    }
}
