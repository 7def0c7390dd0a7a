//! The order of a graph's nodes: each after the nodes whose outputs it reads.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::proto::GraphProto;

/// Orders the nodes of a graph, as some tools append nodes that earlier ones read. Nodes that are in
/// order keep their places, and those of a circle stay last.
pub(super) fn sort(graph: &mut GraphProto) {
    let mut makers = HashMap::<&str, usize>::new();
    for (place, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            makers.entry(name).or_insert(place);
        }
    }
    let count = graph.node.len();
    let (mut open, mut readers) = (vec![0usize; count], vec![Vec::<usize>::new(); count]);
    for (place, node) in graph.node.iter().enumerate() {
        for maker in node.input.iter().filter_map(|name| makers.get(name.as_str())) {
            open[place] += 1;
            readers[*maker].push(place);
        }
    }
    if readers.iter().enumerate().all(|(maker, readers)| readers.iter().all(|&at| at > maker)) {
        return;
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..count).filter(|&place| open[place] == 0).map(Reverse).collect();
    let mut nodes: Vec<_> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    while let Some(Reverse(place)) = ready.pop() {
        graph.node.extend(nodes[place].take());
        for &reader in &readers[place] {
            open[reader] -= 1;
            if open[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    graph.node.extend(nodes.into_iter().flatten());
}
