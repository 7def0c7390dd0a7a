//! The walk over the operators.

use super::call::{Call, Made};
use super::graph::Operator;
use super::importer::Importer;
use super::operators::function;
use super::schema::{corrupt, operator_name};
use crate::error::Problem;
use crate::rewrite::view::View;

impl Importer<'_, '_> {
    /// Adds what an operator computes.
    pub(super) fn add(&mut self, operator: &Operator<'_>, source: &str) -> Result<(), Problem> {
        let &[output] = &operator.outputs[..] else {
            return Err(corrupt(format!("{} outputs", operator.outputs.len())));
        };
        let out = self.graph.tensor(output)?;
        let name = &operator_name(operator.code);
        let layer = match function(name)?(self, &Call { operator, name, source, output })? {
            Made::View(view) => {
                self.values.insert(output, view);
                return Ok(());
            }
            Made::Layer(layer) => layer,
        };
        let shape = self.layers[layer].shape;
        self.values.insert(output, View::new(layer, shape));
        // The file's own idea of the shape must be the same; a batch left open is none.
        if out.map_shape().is_ok_and(|stated| stated != shape) {
            return Err(corrupt(format!(
                "its output has shape {:?} in the file, but {shape:?} by its parameters",
                out.shape
            )));
        }
        Ok(())
    }
}
