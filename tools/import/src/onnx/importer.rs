//! The network while the graph is walked.

use std::collections::HashMap;
use std::rc::Rc;

use super::call::Call;
use super::constant::Constant;
use super::input::Layout;
use super::map::Map;
use super::node::corrupt;
use super::qdq::Qdq;
use crate::error::{Problem, unsupported};
use crate::network::{Conv, Network, NodeId, Op, too_many_elements};
use crate::rewrite::view::View;

/// The value that a name in the graph stands for.
#[derive(Clone)]
pub(super) enum Value {
    Constant(Rc<Constant>),
    Map(Map),
    Derived(Derived),
}

/// A value that is computed from a map.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    pub(super) kind: Kind,
    /// The map.
    pub(super) of: Map,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Whether values are positive.
    Positive,
    /// Whether values are larger than a number at which a softplus is its input.
    Straight,
    /// The vector's length to this power, which is 2, 1 or −1.
    Length(i8),
    /// The channels divided into this number of groups, which are a dimension of their own.
    Grouped(usize),
    /// The same, with the dimension of the groups last.
    Shuffled(usize),
    /// The channels of a vector divided into groups, in a tensor of `rank` dimensions.
    Vector {
        /// Number of groups.
        groups: usize,
        /// The dimensions of the groups and of their channels; all others have one element.
        at: [usize; 2],
        /// Number of dimensions.
        rank: usize,
    },
    /// Rows and columns divided into blocks of this size.
    Blocks(usize),
    /// The same, with the pixels of a block before or after the channels.
    Gathered {
        /// Rows and columns of a block.
        block: usize,
        /// Whether channels come after the pixels.
        innermost: bool,
    },
}

impl Derived {
    /// The error if another operator reads it.
    pub(super) fn misplaced(&self) -> Problem {
        match self.kind {
            Kind::Positive | Kind::Straight => unsupported(
                "reads a comparison of a map with a number",
                "write the activation as ReLU, LeakyReLU or PReLU",
            ),
            Kind::Grouped(_) | Kind::Vector { .. } | Kind::Shuffled(_) => unsupported(
                "reads channels in groups",
                "a channel shuffle is supported (Reshape, Transpose, Reshape), and branches that \
                 are weighed by a softmax over two branches, and added",
            ),
            Kind::Blocks(_) | Kind::Gathered { .. } => unsupported(
                "reads the pixels of a map in blocks",
                "only blocks that become channels are supported: Reshape, Transpose, Reshape",
            ),
            Kind::Length(_) => unsupported(
                "reads the length of a vector (its L2 norm)",
                "only the division of the last layer's output by its length is supported",
            ),
        }
    }
}

pub(super) struct Importer<'g> {
    /// The nodes so far.
    pub(super) network: Network,
    /// The values of names.
    pub(super) values: HashMap<String, Value>,
    /// Number of times that each name is read.
    pub(super) uses: HashMap<&'g str, usize>,
    /// The operators that read each name.
    pub(super) readers: HashMap<&'g str, Vec<&'g str>>,
    /// What is known about its quantization.
    pub(super) qdq: Qdq,
    /// Number of elements that further constants and weights may have.
    pub(super) room: usize,
    /// The layout of the input.
    pub(super) layout: Layout,
    /// The version of ONNX's operators.
    pub(super) opset: i64,
}

impl Importer<'_> {
    /// Counts this number of elements towards the limit of the network.
    pub(super) fn take(&mut self, elements: usize) -> Result<(), Problem> {
        self.room = self.room.checked_sub(elements).ok_or_else(too_many_elements)?;
        Ok(())
    }

    /// The node that computes a map's view.
    pub(super) fn settle(&mut self, map: &Map, name: &str) -> Result<NodeId, Problem> {
        let mut view = map.view;
        let pads = view.take_pads();
        let mut node = view.node;
        if let Some(subsample) = view.subsample() {
            node = self.network.push(Op::Subsample(subsample), &[node], name)?;
        }
        if pads != [0; 4] {
            let channels = self.network.nodes[node].shape[2];
            self.take(channels)?;
            node = self.network.push(Op::Conv(Conv::padding(channels, pads)), &[node], name)?;
        }
        Ok(node)
    }

    /// The node that computes an output of the graph.
    pub(super) fn end(&mut self, name: &str) -> Result<NodeId, Problem> {
        match self.values.get(name).cloned() {
            Some(Value::Map(map)) => self.settle(&map, name),
            Some(Value::Constant(_)) => Err(unsupported(
                "the output does not depend on the input",
                "export the network with its class scores as the output",
            )),
            // Scores stay a vector, however the network divides them.
            Some(Value::Derived(Derived { kind: Kind::Vector { at, .. }, of }))
                if at[0] < at[1] =>
            {
                self.settle(&of, name)
            }
            // Nor does it matter how a map's channels are divided.
            Some(Value::Derived(Derived { kind: Kind::Grouped(_), of })) => self.settle(&of, name),
            Some(Value::Derived(derived)) => Err(derived.misplaced()),
            None => Err(corrupt("no node computes the output")),
        }
    }

    /// Whether no operator reads the output of a node of the graph.
    pub(super) fn is_output(&self, call: &Call<'_>) -> bool {
        call.node.output.first().is_some_and(|name| !self.uses.contains_key(name.as_str()))
    }

    pub(super) fn view(&self, node: NodeId) -> View {
        View::new(node, self.network.nodes[node].shape)
    }

    /// Appends an operator that keeps shape and layout.
    pub(super) fn elementwise(&mut self, map: &Map, op: Op, name: &str) -> Result<Map, Problem> {
        let input = self.settle(map, name)?;
        let node = self.network.push(op, &[input], name)?;
        Ok(Map { view: self.view(node), dims: map.dims.clone() })
    }
}
