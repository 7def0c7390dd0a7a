//! The network as it grows while the graph is walked.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::constant::Constant;
use super::map::Map;
use super::node::corrupt;
use super::qdq::Qdq;
use crate::error::{Problem, unsupported};
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

/// A node's inputs.
pub(super) struct Inputs(pub(super) Vec<Option<Value>>);

impl Inputs {
    pub(super) fn map(&self, index: usize) -> Result<&Map, Problem> {
        match self.0.get(index) {
            Some(Some(Value::Map(map))) => Ok(map),
            Some(Some(Value::Constant(_))) => Err(unsupported(
                format!("input {index} is a constant, not a map"),
                "export the network with constants folded",
            )),
            _ => Err(corrupt(format!("input {index} is missing"))),
        }
    }

    pub(super) fn constant(&self, index: usize) -> Result<&Constant, Problem> {
        match self.0.get(index) {
            Some(Some(Value::Constant(constant))) => Ok(constant),
            Some(Some(Value::Map(_))) => Err(unsupported(
                format!("input {index} depends on the image"),
                "export the network with its weights and shapes as constants",
            )),
            _ => Err(corrupt(format!("input {index} is missing"))),
        }
    }

    pub(super) fn floats(&self, index: usize) -> Result<Vec<f32>, Problem> {
        Ok(self.constant(index)?.floats()?.iter().copied().collect())
    }

    pub(super) fn ints(&self, index: usize) -> Result<Vec<i64>, Problem> {
        self.constant(index)?.to_ints()
    }

    pub(super) fn optional_ints(&self, index: usize) -> Result<Option<Vec<i64>>, Problem> {
        match self.0.get(index) {
            Some(Some(_)) => self.ints(index).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn scalar(&self, index: usize) -> Result<Option<f32>, Problem> {
        match self.0.get(index) {
            Some(Some(_)) => Ok(self.floats(index)?.first().copied()),
            _ => Ok(None),
        }
    }
}
