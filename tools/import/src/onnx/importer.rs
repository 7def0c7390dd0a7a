//! The network as it grows while the graph is walked.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::constant::Constant;
use super::map::Map;
use super::qdq::Qdq;
use crate::error::Problem;
use crate::network::{Network, NodeId, Op, too_many_elements};
use crate::rewrite::view::View;

/// What a name in the graph stands for.
#[derive(Clone)]
pub(super) enum Value {
    Constant(Rc<Constant>),
    Map(Map),
}

pub(super) struct Importer<'g> {
    /// What was made so far.
    pub(super) network: Network,
    /// What names stand for.
    pub(super) values: HashMap<String, Value>,
    /// How often each name is read.
    pub(super) uses: HashMap<&'g str, usize>,
    /// What is known of its quantization.
    pub(super) qdq: Qdq,
    /// Names of what a sigmoid gave, which stand for its argument.
    pub(super) squashed: HashSet<String>,
    /// Elements that constants, and weights of layers, may still have.
    pub(super) room: usize,
}

impl Importer<'_> {
    /// Takes this number of elements of those that the network may have.
    pub(super) fn take(&mut self, elements: usize) -> Result<(), Problem> {
        self.room = self.room.checked_sub(elements).ok_or_else(too_many_elements)?;
        Ok(())
    }

    /// The node that computes what is seen of a map.
    pub(super) fn settle(&mut self, map: &Map, name: &str) -> Result<NodeId, Problem> {
        match map.view.subsample()? {
            None => Ok(map.view.node),
            Some(subsample) => self.network.push(Op::Subsample(subsample), &[map.view.node], name),
        }
    }

    pub(super) fn view(&self, node: NodeId) -> View {
        View::new(node, self.network.nodes[node].shape)
    }

    /// An operator that keeps shape and layout.
    pub(super) fn elementwise(&mut self, map: &Map, op: Op, name: &str) -> Result<Map, Problem> {
        let input = self.settle(map, name)?;
        let node = self.network.push(op, &[input], name)?;
        Ok(Map { view: self.view(node), dims: map.dims.clone() })
    }
}
