//! The network as it grows while the operators are walked.

use std::collections::HashMap;

use super::graph::Graph;
use super::schema::corrupt;
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{Activation, NodeId, Pads, Shape, Subsample, Window, check_extents};
use crate::rewrite::view::View;

/// What a layer of the file's network computes; numbers are in the file's tensors.
pub(super) enum Computation {
    Input,
    Conv { weights: i32, bias: Option<i32>, stride: [usize; 2], pads: Pads, fully_connected: bool },
    Add,
    Subsample(Subsample),
    MaxPool(Window),
    AveragePool,
    Mean,
    Softmax,
}

/// A layer of the file's network.
pub(super) struct Computed {
    pub(super) source: String,
    pub(super) op: Computation,
    pub(super) inputs: Vec<NodeId>,
    pub(super) shape: Shape,
    /// The file's tensor that holds the output's scale.
    pub(super) tensor: i32,
    pub(super) activation: Activation,
}

/// The layers so far, and what the file's tensors stand for.
pub(super) struct Importer<'g, 'a> {
    pub(super) graph: &'g Graph<'a>,
    pub(super) layers: Vec<Computed>,
    /// Maps by tensor. A view's padding holds the zero point, so it is the same padding as a
    /// convolution's own.
    pub(super) values: HashMap<i32, View>,
    /// Whether the network ends in a sigmoid, whose output stands for its argument.
    pub(super) sigmoid: bool,
}

impl Importer<'_, '_> {
    pub(super) fn input(&mut self, at: i32) -> Result<(), LayerProblem> {
        let tensor = self.graph.tensor(at)?;
        let shape = tensor.map_shape().at(&tensor.name)?;
        let (source, op) = (tensor.name.clone(), Computation::Input);
        let layer = Computed {
            source,
            op,
            inputs: vec![],
            shape,
            tensor: at,
            activation: Activation::None,
        };
        self.layers.push(layer);
        self.values.insert(at, View::new(0, shape));
        Ok(())
    }

    pub(super) fn view(&self, at: i32) -> Result<View, Problem> {
        let view = self.values.get(&at).copied();
        view.ok_or_else(|| match self.graph.tensor(at) {
            Ok(tensor) if !tensor.data.is_empty() => unsupported(
                format!("`{}` is a constant, not a map", tensor.name),
                "convert the network with constants folded",
            ),
            _ => corrupt("an operator reads what no earlier one computes"),
        })
    }

    pub(super) fn push(&mut self, layer: Computed) -> NodeId {
        self.layers.push(layer);
        self.layers.len() - 1
    }

    /// The layer that computes a view; `tensor` holds its scale.
    pub(super) fn settle(
        &mut self,
        view: View,
        source: &str,
        tensor: i32,
    ) -> Result<NodeId, Problem> {
        let Some(subsample) = view.subsample()? else {
            return Ok(view.node);
        };
        let shape = view.shape();
        check_extents(&shape, "map")?;
        Ok(self.push(Computed {
            source: source.into(),
            op: Computation::Subsample(subsample),
            inputs: vec![view.node],
            shape,
            tensor,
            activation: Activation::None,
        }))
    }
}
