//! One form for networks from all sources.
//!
//! `Network::canonical` folds batch norms into convolutions and drops what the output does not
//! need; `arrange` orders and names the nodes by the network's structure alone. Two files of one
//! network then give equal values, bit for bit, whatever the order and the names in them. The
//! folding is done in f64 and rounded once, so it does not depend on the source either.

use std::collections::HashMap;

use crate::error::{AtLayer, Fault, Problem};
use crate::network::{BatchNorm, Conv, Network, Node, NodeId, Op, Shape, Statistics};

impl Network {
    /// The network that computes `output`, in canonical form.
    pub fn canonical(mut self, output: NodeId) -> Result<Network, Fault> {
        for node in &self.nodes {
            check_finite(&node.op).at(&node.source)?;
        }
        let output = self.fold_batch_norms()?[output];
        if self.nodes[output].op == Op::Input {
            let detail = "the output is the input: there is no layer between them".into();
            return Err(Problem::Topology { detail }.into());
        }
        let parts: Vec<Part> = self
            .nodes
            .iter()
            .map(|node| Part {
                kind: Kind::of(&node.op),
                inputs: node.inputs.clone(),
                shape: node.shape,
                source: &node.source,
            })
            .collect();
        let arrangement = arrange(&parts, output)?;
        let mut old: Vec<Option<Node>> = self.nodes.into_iter().map(Some).collect();
        let mut nodes = Vec::with_capacity(arrangement.len());
        for place in arrangement {
            let node = old[place.old].take().expect("each node has one place");
            nodes.push(Node { name: place.name, inputs: place.inputs, ..node });
        }
        Ok(Network { input: self.input, nodes, sigmoid: self.sigmoid })
    }

    /// Folds batch norms into the convolutions before them; says where each node's value is now.
    fn fold_batch_norms(&mut self) -> Result<Vec<NodeId>, Fault> {
        let consumers = self.consumers();
        let mut moved: Vec<NodeId> = (0..self.nodes.len()).collect();
        for id in 0..self.nodes.len() {
            let (before, rest) = self.nodes.split_at_mut(id);
            let node = &mut rest[0];
            for input in &mut node.inputs {
                *input = moved[*input];
            }
            // Those of pre-activation ResNets stay where they follow a sum, or a convolution
            // that the shortcut reads too.
            let Op::BatchNorm(norm) = &node.op else { continue };
            let Op::Conv(conv) = &mut before[node.inputs[0]].op else { continue };
            if consumers[node.inputs[0]] > 1 {
                continue;
            }
            fold(conv, norm);
            check_finite(&Op::Conv(conv.clone())).at(&node.source)?;
            before[node.inputs[0]].statistics = norm.statistics();
            moved[id] = node.inputs[0];
        }
        Ok(moved)
    }
}

/// `conv` followed by `norm` as one convolution.
fn fold(conv: &mut Conv, norm: &BatchNorm) {
    for (channel, mut weights) in conv.weights.outer_iter_mut().enumerate() {
        let (factor, offset) = norm.affine(channel);
        weights.mapv_inplace(|weight| (f64::from(weight) * factor) as f32);
        conv.bias[channel] = (f64::from(conv.bias[channel]) * factor + offset) as f32;
    }
}

impl BatchNorm {
    /// What training saw of its output; nothing where it is a mere factor and offset.
    fn statistics(&self) -> Option<Statistics> {
        let trained = self.mean.iter().any(|&mean| mean != 0.0);
        let deviation = self.scale.iter().map(|scale| scale.abs()).collect();
        trained.then(|| Statistics { mean: self.shift.clone(), deviation })
    }

    /// Factor and offset of a channel.
    pub fn affine(&self, channel: usize) -> (f64, f64) {
        let [scale, shift, mean, var] =
            [&self.scale, &self.shift, &self.mean, &self.var].map(|part| f64::from(part[channel]));
        let factor = scale / (var + f64::from(self.eps)).sqrt();
        (factor, shift - mean * factor)
    }
}

/// Refuses NaN and infinity among an operator's parameters.
fn check_finite(op: &Op) -> Result<(), Problem> {
    match op {
        Op::Conv(conv) => {
            finite("the weights", conv.weights.iter().copied())?;
            finite("the biases", conv.bias.iter().copied())
        }
        Op::BatchNorm(norm) => {
            finite("the batch norm's scales", norm.scale.iter().copied())?;
            finite("the batch norm's shifts", norm.shift.iter().copied())?;
            finite("the batch norm's means", norm.mean.iter().copied())?;
            finite("the batch norm's variances", norm.var.iter().copied())?;
            // A negative variance shows as NaN here.
            let inverse = norm.var.iter().map(|&var| (var + norm.eps).sqrt().recip());
            finite("the batch norm's inverse deviations", inverse)
        }
        _ => Ok(()),
    }
}

fn finite(what: &'static str, mut values: impl Iterator<Item = f32>) -> Result<(), Problem> {
    match values.find(|value| !value.is_finite()) {
        Some(value) => Err(Problem::NotFinite { what, value: value.into() }),
        None => Ok(()),
    }
}

/// What the arrangement needs to know of an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
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

impl Kind {
    fn of(op: &Op) -> Kind {
        match op {
            Op::Input => Kind::Input,
            Op::Conv(conv) if conv.fully_connected => Kind::FullyConnected,
            Op::Conv(_) => Kind::Conv,
            Op::BatchNorm(_) => Kind::BatchNorm,
            Op::Relu | Op::Relu6 => Kind::Activation,
            Op::Add => Kind::Add,
            Op::Subsample(_) => Kind::Subsample,
            Op::MaxPool(_) => Kind::MaxPool,
            Op::GlobalAveragePool => Kind::AveragePool,
            Op::Softmax => Kind::Softmax,
        }
    }
}

/// A node as `arrange` sees it.
pub(crate) struct Part<'a> {
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) shape: Shape,
    pub(crate) source: &'a str,
}

/// A node's place in the canonical order.
pub(crate) struct Place {
    /// Its id before.
    pub(crate) old: NodeId,
    /// Its canonical name.
    pub(crate) name: String,
    /// Its inputs by their ids now; for an addition the main path, then the shortcut.
    pub(crate) inputs: Vec<NodeId>,
}

/// A residual block.
struct Block {
    /// Where its two branches begin.
    fork: NodeId,
    /// Nodes of the longer branch and of the shortcut, in order.
    main: Vec<NodeId>,
    shortcut: Vec<NodeId>,
    /// The inputs of the addition, main path first.
    inputs: [NodeId; 2],
}

/// Orders the nodes that `output` needs, and names them: in a block the main path, then the
/// shortcut, then the addition.
pub(crate) fn arrange(parts: &[Part<'_>], output: NodeId) -> Result<Vec<Place>, Fault> {
    // Nodes that the output needs, and how many of those read each.
    let mut needed = vec![false; parts.len()];
    let mut readers = vec![0usize; parts.len()];
    needed[output] = true;
    for id in (0..parts.len()).rev() {
        if needed[id] {
            for &input in &parts[id].inputs {
                needed[input] = true;
                readers[input] += 1;
            }
        }
    }

    let mut blocks: HashMap<NodeId, Block> = HashMap::new();
    for id in (0..parts.len()).filter(|&id| needed[id] && parts[id].kind == Kind::Add) {
        blocks.insert(id, block(parts, &readers, id).at(parts[id].source)?);
    }
    // Every fork must be a block's own: a node that more read than the two branches of one block
    // (or that ends a branch of no block) is another kind of network.
    let mut forks = vec![0usize; parts.len()];
    for block in blocks.values() {
        forks[block.fork] += 1;
    }
    let odd = (0..parts.len()).find(|&id| readers[id] > 1 && (readers[id] != 2 || forks[id] != 1));
    if let Some(id) = odd {
        let detail = format!("its output is read by {} layers", readers[id]);
        return Err(Problem::Topology { detail }).at(parts[id].source);
    }

    // Post-order from the output: each node after its inputs, the main path first.
    let mut order = Vec::new();
    let mut position = vec![usize::MAX; parts.len()];
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
            None => stack.extend(parts[id].inputs.iter().map(|&input| (input, false))),
        }
    }

    let names = names(parts, &order, &blocks);
    let place = |&old: &NodeId| {
        let inputs = match blocks.get(&old) {
            Some(block) => block.inputs.to_vec(),
            None => parts[old].inputs.clone(),
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
fn block(parts: &[Part<'_>], readers: &[usize], add: NodeId) -> Result<Block, Problem> {
    // A branch runs back to the first node that someone else reads too.
    let branch = |end: NodeId| {
        let mut nodes = Vec::new();
        let mut at = end;
        while readers[at] == 1 && parts[at].inputs.len() == 1 {
            nodes.push(at);
            at = parts[at].inputs[0];
        }
        nodes.reverse();
        (at, nodes)
    };
    let [first, second] = parts[add].inputs[..] else {
        return Err(Problem::Topology { detail: "an addition has two inputs".into() });
    };
    let ((fork, one), (other_fork, two)) = (branch(first), branch(second));
    if fork != other_fork || readers[fork] < 2 {
        return Err(Problem::Topology {
            detail: format!(
                "adds two branches that do not begin at the same layer (`{}` and `{}`)",
                parts[fork].source, parts[other_fork].source
            ),
        });
    }
    if one.is_empty() && two.is_empty() {
        return Err(Problem::Topology { detail: "adds a layer to itself".into() });
    }
    let convs = |nodes: &[NodeId]| nodes.iter().filter(|&&id| parts[id].kind == Kind::Conv).count();
    Ok(if convs(&one) >= convs(&two) {
        Block { fork, main: one, shortcut: two, inputs: [first, second] }
    } else {
        Block { fork, main: two, shortcut: one, inputs: [second, first] }
    })
}

/// A name for each node, by old id.
fn names(parts: &[Part<'_>], order: &[NodeId], blocks: &HashMap<NodeId, Block>) -> Vec<String> {
    let mut names = vec![String::new(); parts.len()];
    let after = activated(parts, order);
    let activation = |names: &[String], id: NodeId| match after[id] {
        (of, 1) => format!("{}.relu", names[of]),
        (of, number) => format!("{}.relu{number}", names[of]),
    };
    let (mut stage, mut number) = (0, 0);
    for add in order.iter().filter(|id| blocks.contains_key(id)) {
        let block = &blocks[add];
        // The first block opens a stage, and so does every block that changes the shape.
        if stage == 0 || parts[block.fork].shape != parts[*add].shape {
            (stage, number) = (stage + 1, 0);
        }
        number += 1;
        let prefix = format!("stage{stage}.block{number}");
        names[*add] = format!("{prefix}.add");
        for (branch, root) in [(&block.main, "conv"), (&block.shortcut, "shortcut")] {
            let (mut convs, mut norms) = (0, 0);
            for &id in branch {
                let parent = parts[id].inputs[0];
                names[id] = match parts[id].kind {
                    Kind::Conv | Kind::Subsample => {
                        convs += 1;
                        if root == "conv" || convs > 1 {
                            format!("{prefix}.{root}{convs}")
                        } else {
                            format!("{prefix}.{root}")
                        }
                    }
                    Kind::BatchNorm => {
                        norms += 1;
                        let branch = if root == "conv" { "" } else { ".shortcut" };
                        let number = if norms > 1 { norms.to_string() } else { String::new() };
                        format!("{prefix}{branch}.norm{number}")
                    }
                    Kind::Activation if parent != block.fork => activation(&names, id),
                    kind => format!("{prefix}.{root}.{}", plain(kind)),
                };
            }
        }
    }
    // What is left is outside of the blocks.
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut past = String::new();
    for &id in order {
        if !names[id].is_empty() {
            if parts[id].kind == Kind::Add {
                past = names[id].clone();
            }
            continue;
        }
        let base = match parts[id].kind {
            Kind::Conv if past.is_empty() => "stem".to_owned(),
            Kind::MaxPool if past.is_empty() => "stem.pool".to_owned(),
            Kind::Activation => activation(&names, id),
            Kind::Conv => "head".to_owned(),
            kind => plain(kind).to_owned(),
        };
        let count = seen.entry(base.clone()).or_default();
        *count += 1;
        names[id] = if *count == 1 { base } else { format!("{base}{count}") };
    }
    names
}

/// For each activation the node that it follows, others between them left out, and how many it is
/// behind that node: names of a long row of them stay short.
fn activated(parts: &[Part<'_>], order: &[NodeId]) -> Vec<(NodeId, usize)> {
    let mut after = vec![(0, 0); parts.len()];
    for &id in order.iter().filter(|&&id| parts[id].kind == Kind::Activation) {
        let input = parts[id].inputs[0];
        after[id] = match parts[input].kind {
            Kind::Activation => (after[input].0, after[input].1 + 1),
            _ => (input, 1),
        };
    }
    after
}

/// Name of a layer that is not part of a block.
fn plain(kind: Kind) -> &'static str {
    match kind {
        Kind::Input => "input",
        Kind::Conv => "conv",
        Kind::FullyConnected => "fc",
        Kind::BatchNorm => "norm",
        Kind::Activation => "relu",
        Kind::Add => "add",
        Kind::Subsample => "subsample",
        Kind::MaxPool => "maxpool",
        Kind::AveragePool => "pool",
        Kind::Softmax => "softmax",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: Kind, inputs: &[NodeId], channels: usize) -> Part<'static> {
        Part { kind, inputs: inputs.to_vec(), shape: [8, 8, channels], source: "x" }
    }

    #[test]
    fn order_and_names_come_from_the_structure() {
        // The shortcut comes first in the file and first in the addition; one node is dead.
        let parts = [
            part(Kind::Input, &[], 3),
            part(Kind::Conv, &[0], 4),
            part(Kind::Activation, &[1], 4),
            part(Kind::Conv, &[2], 8), // projection
            part(Kind::Conv, &[0], 9), // dead
            part(Kind::Conv, &[2], 8),
            part(Kind::Activation, &[5], 8),
            part(Kind::Conv, &[6], 8),
            part(Kind::Add, &[3, 7], 8),
            part(Kind::Activation, &[8], 8),
            part(Kind::AveragePool, &[9], 8),
            part(Kind::FullyConnected, &[10], 2),
        ];
        let places = arrange(&parts, 11).unwrap();
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
        let parts = [
            part(Kind::Input, &[], 3),
            part(Kind::Conv, &[0], 3),
            part(Kind::Conv, &[0], 3),
            part(Kind::Conv, &[1], 3),
            part(Kind::Add, &[2, 3], 3),
            part(Kind::Add, &[4, 1], 3),
        ];
        assert!(arrange(&parts, 5).is_err());
    }
}
