//! Walks the operators.

use super::call::{Call, Made};
use super::evaluate::evaluate;
use super::graph::Operator;
use super::importer::Importer;
use super::operators::{function, length};
use super::schema::{corrupt, operator_name};
use crate::error::{Problem, unsupported};
use crate::network::Shape;
use crate::rewrite::view::View;

impl Importer<'_, '_> {
    /// Adds the outputs of an operator.
    pub(super) fn add(&mut self, operator: &Operator<'_>, source: &str) -> Result<(), Problem> {
        let name = operator_name(operator.code);
        match &operator.outputs[..] {
            &[output] => self.add_output(operator, source, output),
            outputs if matches!(name.as_str(), "SPLIT" | "SPLIT_V") => {
                outputs.iter().try_for_each(|&output| self.add_output(operator, source, output))
            }
            outputs => match function(&name) {
                Ok(_) => Err(corrupt(format!("{} outputs", outputs.len()))),
                Err(unknown) => Err(unknown),
            },
        }
    }

    /// Adds one output of an operator.
    fn add_output(
        &mut self,
        operator: &Operator<'_>,
        source: &str,
        output: i32,
    ) -> Result<(), Problem> {
        let out = self.graph.tensor(output)?;
        let name = &operator_name(operator.code);
        let call = Call { operator, name, source, output };
        let of_map = operator.inputs.iter().any(|input| self.values.contains_key(input));
        if !of_map || name == "SHAPE" {
            let shape = match operator.inputs.first() {
                Some(input) if of_map => Some(self.sizes(*input)?),
                _ => None,
            };
            let constant = evaluate(&call, &self.constants, shape)?;
            self.constants.insert(output, constant);
            return Ok(());
        }
        const OF_SPACED: [&str; 6] = [
            "BATCH_TO_SPACE_ND",
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "EXPAND_DIMS",
            "RESHAPE",
            "SQUEEZE",
        ];
        const OF_TURNED: [&str; 4] = ["MEAN", "REDUCE_MAX", "RESHAPE", "TRANSPOSE"];
        const KEEPS_TURNED: [&str; 17] = [
            "ABS",
            "ADD",
            "CONCATENATION",
            "DEQUANTIZE",
            "DIV",
            "ELU",
            "EXP",
            "GELU",
            "HARD_SWISH",
            "LEAKY_RELU",
            "LOGISTIC",
            "MUL",
            "QUANTIZE",
            "RELU",
            "RELU6",
            "SUB",
            "TANH",
        ];
        let reads_turned = operator.inputs.iter().any(|input| self.turned.contains(input));
        // Beside such a map, a vector has no other order.
        let alike = |input: &i32| {
            let view = self.values.get(input);
            self.turned.contains(input) || view.is_none_or(|view| view.shape()[..2] == [1, 1])
        };
        let keeps = KEEPS_TURNED.contains(&name.as_str()) && operator.inputs.iter().all(alike);
        let reads_flat = operator.inputs.iter().any(|input| self.flat.contains(input));
        if reads_flat && name != "FULLY_CONNECTED" {
            return Err(unsupported(
                format!("{name} of a vector of channels, rows and columns"),
                "only a linear layer may follow such a vector",
            ));
        }
        if reads_turned && !keeps && !OF_TURNED.contains(&name.as_str()) {
            return Err(unsupported(
                format!("{name} of a map whose channels come before its rows"),
                "convert the network with channels last throughout",
            ));
        }
        let reads_spaced = operator.inputs.iter().any(|input| self.spaced.contains_key(input));
        if reads_spaced && !OF_SPACED.contains(&name.as_str()) {
            return Err(unsupported(
                format!("{name} between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND"),
                "only a convolution may be there",
            ));
        }
        if reads_turned && keeps {
            self.turned.insert(output);
        }
        let made = match length(self, &call)? {
            Some(made) => made,
            None => function(name)?(self, &call)?,
        };
        let layer = match made {
            Made::View(view) => {
                self.values.insert(output, view);
                return Ok(());
            }
            Made::Layer(layer) => layer,
        };
        let shape = self.layers[layer].shape;
        self.values.insert(output, View::new(layer, shape));
        // The shape in the file must be the same, except for an open batch size.
        let argmax = name == "ARG_MAX";
        if !argmax
            && !self.spaced.contains_key(&output)
            && !reads_turned
            && !self.turned.contains(&output)
            && out.map_shape().is_ok_and(|stated| stated != shape && !is_joined(stated, shape))
        {
            return Err(corrupt(format!(
                "its output has shape {:?} in the file, but {shape:?} by its parameters",
                out.shape
            )));
        }
        Ok(())
    }

    /// The sizes of a map's tensor, with a batch of one if it is open.
    fn sizes(&self, at: i32) -> Result<Vec<i64>, Problem> {
        let sizes = self.graph.tensor(at)?.shape.iter();
        Ok(sizes.map(|&size| i64::from(size.max(1))).collect())
    }
}

/// Whether a shape is another with its rows and columns joined, as at the end of a network.
fn is_joined(stated: Shape, [height, width, channels]: Shape) -> bool {
    stated == [1, height * width, channels]
}
