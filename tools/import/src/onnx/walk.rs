//! Walks the graph's nodes.

use std::rc::Rc;

use super::call::Call;
use super::constant::Constant;
use super::derived::derived;
use super::evaluate::{Given, evaluate, from_to};
use super::groups::grouped;
use super::importer::{Derived, Importer, Value};
use super::node::{corrupt, node_name, op_type};
use super::operators::{operator, split};
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::proto::NodeProto;

impl Importer<'_> {
    /// Adds the output of a node.
    pub(super) fn add(&mut self, node: &NodeProto) -> Result<(), LayerProblem> {
        if op_type(node) == "Split" && self.reads_map(node) {
            let inputs = self.inputs(node).at(&node_name(node))?;
            let call = Call { node, name: node_name(node), inputs };
            let parts = split(self, &call).at(&call.name)?;
            for (name, part) in node.output.iter().zip(parts) {
                self.values.insert(name.clone(), Value::Map(part));
            }
            return Ok(());
        }
        let value = self.value(node).at(&node_name(node))?;
        let Some(name) = node.output.first() else {
            return Err(corrupt("a node has no output")).at(&node_name(node));
        };
        self.values.insert(name.clone(), value);
        Ok(())
    }

    /// Whether the node's first input is a map.
    fn reads_map(&self, node: &NodeProto) -> bool {
        let first = node.input.first().and_then(|name| self.values.get(name));
        matches!(first, Some(Value::Map(_)))
    }

    /// The values of a node's inputs.
    fn inputs(&self, node: &NodeProto) -> Result<Vec<Option<Value>>, Problem> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            // An optional input that is left out has an empty name.
            inputs.push(if name.is_empty() {
                None
            } else {
                let value = self.values.get(name);
                Some(value.cloned().ok_or_else(|| corrupt(format!("nothing computes `{name}`")))?)
            });
        }
        Ok(inputs)
    }

    /// The value of a node's output.
    fn value(&mut self, node: &NodeProto) -> Result<Value, Problem> {
        let domain = node.domain.as_deref().unwrap_or("");
        // These are ONNX Runtime's, for integers that older opsets do not have.
        let same = domain == "com.microsoft"
            && matches!(op_type(node), "QuantizeLinear" | "DequantizeLinear");
        if !matches!(domain, "" | "ai.onnx") && !same {
            return Err(Problem::UnsupportedOperator {
                op: format!("{domain}.{}", op_type(node)),
                remedy: "export the network with standard ONNX operators only".into(),
            });
        }
        let inputs = self.inputs(node)?;
        if op_type(node) == "CastLike"
            && let [Some(Value::Constant(constant)), like] = &inputs[..]
        {
            // The element type of a map is float.
            let whole =
                matches!(like, Some(Value::Constant(like)) if matches!(**like, Constant::Ints(_)));
            return Ok(Value::Constant(Rc::new(constant.cast(!whole))));
        }
        let constants: Option<Vec<Option<&Constant>>> = inputs
            .iter()
            .map(|input| match input {
                Some(Value::Map(_) | Value::Derived(_)) => None,
                Some(Value::Constant(constant)) => Some(Some(&**constant)),
                None => Some(None),
            })
            .collect();
        if let Some(constants) = constants {
            let constant = match op_type(node) {
                "QuantizeLinear" | "DequantizeLinear" => self.qdq.constant(node, &constants)?,
                _ => evaluate(&Given { node, inputs: &constants, room: self.room })?,
            };
            self.take(constant.elements())?;
            return Ok(Value::Constant(Rc::new(constant)));
        }
        if op_type(node) == "Shape"
            && let Some(Some(Value::Map(map) | Value::Derived(Derived { of: map, .. }))) =
                inputs.first()
        {
            let sizes: Vec<i64> = map.sizes().into_iter().map(|size| size as i64).collect();
            let sizes = from_to(node, &sizes);
            return Ok(Value::Constant(Rc::new(Constant::ints(sizes))));
        }
        self.qdq.check_reader(node)?;
        let call = Call { node, name: node_name(node), inputs };
        if let Some(value) = grouped(self, &call)? {
            return Ok(value);
        }
        if let Some(value) = derived(self, &call)? {
            return Ok(value);
        }
        operator(node)?(self, &call).map(Value::Map)
    }
}
