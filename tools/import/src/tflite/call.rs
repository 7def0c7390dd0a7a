//! One use of an operator in the file.

use super::graph::Operator;
use super::importer::{Computation, Computed};
use super::options::Options;
use super::schema::corrupt;
use crate::error::Problem;
use crate::network::{Activation, NodeId, Shape};
use crate::rewrite::view::View;

/// An operator with its tensors.
pub(super) struct Call<'a> {
    /// The operator.
    pub(super) operator: &'a Operator<'a>,
    /// Its type, by name.
    pub(super) name: &'a str,
    /// Its name in messages.
    pub(super) source: &'a str,
    /// The tensor that it makes.
    pub(super) output: i32,
}

/// The result of an operator.
pub(super) enum Made {
    /// The output of a layer.
    Layer(NodeId),
    /// A map that is not a layer's output, but a view of one.
    View(View),
}

impl<'a> Call<'a> {
    /// A tensor that it reads.
    pub(super) fn input(&self, at: usize) -> Result<i32, Problem> {
        self.optional(at).ok_or_else(|| corrupt(format!("input {at} is missing")))
    }

    /// A tensor that it may read.
    pub(super) fn optional(&self, at: usize) -> Option<i32> {
        self.operator.inputs.get(at).copied().filter(|&input| input >= 0)
    }

    /// Its options.
    pub(super) fn options(&self) -> Options<'a> {
        Options(self.operator.options)
    }

    /// Appends the layer that computes its output.
    pub(super) fn layer(
        &self,
        op: Computation,
        inputs: Vec<NodeId>,
        shape: Shape,
        activation: Activation,
    ) -> Computed {
        let source = self.source.to_owned();
        Computed { source, op, inputs, shape, tensor: self.output, activation }
    }
}
