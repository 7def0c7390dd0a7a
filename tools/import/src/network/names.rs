//! Names a network's nodes by their position: `stage1.block1.conv1`.

use std::collections::HashMap;

use super::geometry::NodeId;
use super::structure::{Block, Outline, Role};

/// A name for each node, by old id; `chain` tells that outside of the blocks no node has two
/// readers.
pub(crate) fn names(
    nodes: &[Outline],
    order: &[NodeId],
    blocks: &HashMap<NodeId, Block>,
    chain: bool,
) -> Vec<String> {
    let mut names = vec![String::new(); nodes.len()];
    let after = activated(nodes, order);
    let activation = |names: &[String], id: NodeId| match (after[id], plain(nodes[id].role)) {
        ((of, 1), name) => format!("{}.{name}", names[of]),
        ((of, number), name) => format!("{}.{name}{number}", names[of]),
    };
    let (mut stage, mut number) = (0, 0);
    for add in order.iter().filter(|id| blocks.contains_key(id)) {
        let block = &blocks[add];
        // The first block begins a stage, and so does each block that changes the shape.
        if stage == 0 || nodes[block.fork].shape != nodes[*add].shape {
            (stage, number) = (stage + 1, 0);
        }
        number += 1;
        let prefix = format!("stage{stage}.block{number}");
        names[*add] = format!("{prefix}.add");
        for (branch, root) in [(&block.main, "conv"), (&block.shortcut, "shortcut")] {
            let (mut convs, mut norms) = (0, 0);
            for &id in branch {
                let parent = nodes[id].inputs[0];
                names[id] = match nodes[id].role {
                    Role::Conv | Role::Subsample => {
                        convs += 1;
                        if root == "conv" || convs > 1 {
                            format!("{prefix}.{root}{convs}")
                        } else {
                            format!("{prefix}.{root}")
                        }
                    }
                    Role::BatchNorm => {
                        norms += 1;
                        let branch = if root == "conv" { "" } else { ".shortcut" };
                        let number = if norms > 1 { norms.to_string() } else { String::new() };
                        format!("{prefix}{branch}.norm{number}")
                    }
                    Role::Activation(_) if parent != block.fork => activation(&names, id),
                    role => format!("{prefix}.{root}.{}", plain(role)),
                };
            }
        }
    }
    // The remaining nodes are outside of the blocks.
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut past = String::new();
    for &id in order {
        if !names[id].is_empty() {
            if nodes[id].role == Role::Add {
                past = names[id].clone();
            }
            continue;
        }
        let base = match nodes[id].role {
            Role::Conv if past.is_empty() && chain => "stem".to_owned(),
            Role::MaxPool if past.is_empty() && chain => "stem.pool".to_owned(),
            Role::Activation(_) => activation(&names, id),
            Role::Conv if chain => "head".to_owned(),
            role => plain(role).to_owned(),
        };
        let count = seen.entry(base.clone()).or_default();
        *count += 1;
        names[id] = if *count == 1 { base } else { format!("{base}{count}") };
    }
    names
}

/// For each activation the layer that it follows, and how many activations there are after that
/// layer. So names in a long row of activations stay short.
fn activated(nodes: &[Outline], order: &[NodeId]) -> Vec<(NodeId, usize)> {
    let mut after = vec![(0, 0); nodes.len()];
    for &id in order.iter().filter(|&&id| nodes[id].role.is_activation()) {
        let input = nodes[id].inputs[0];
        after[id] = match nodes[input].role {
            Role::Activation(_) => (after[input].0, after[input].1 + 1),
            _ => (input, 1),
        };
    }
    after
}

/// Name of a layer that is not part of a block.
fn plain(role: Role) -> &'static str {
    match role {
        Role::Input => "input",
        Role::Conv => "conv",
        Role::FullyConnected => "fc",
        Role::BatchNorm => "norm",
        Role::Activation(name) => name,
        Role::Add => "add",
        Role::Subtract => "subtract",
        Role::Multiply => "multiply",
        Role::Concat => "concat",
        Role::Subsample => "subsample",
        Role::Border => "border",
        Role::MaxPool => "maxpool",
        Role::AveragePool => "pool",
        Role::Softmax => "softmax",
        Role::Ending => "ending",
    }
}
