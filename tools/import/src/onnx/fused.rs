//! Operators that ONNX Runtime's optimizer makes of several: each becomes the operators that it
//! stands for.

use super::node::{attribute, corrupt, node_name, op_type};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// Replaces these operators in a graph.
pub(super) fn expand(graph: &mut GraphProto) -> Result<(), LayerProblem> {
    let is_own = |node: &NodeProto| node.domain.as_deref() == Some("com.microsoft");
    if !graph.node.iter().any(is_own) {
        return Ok(());
    }
    for node in std::mem::take(&mut graph.node) {
        let name = node_name(&node);
        match op_type(&node) {
            "FusedConv" if is_own(&node) => {
                graph.node.extend(activated(node, "Conv").at(&name)?);
            }
            "FusedGemm" if is_own(&node) => {
                graph.node.extend(activated(node, "Gemm").at(&name)?);
            }
            "Gelu" | "FastGelu" | "BiasGelu" if is_own(&node) => graph.node.extend(gelu(node)),
            _ => graph.node.push(node),
        }
    }
    Ok(())
}

/// A node like another one, of another operator.
fn part(like: &NodeProto, op: &str, input: Vec<String>, output: String) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        domain: None,
        input,
        output: vec![output],
        attribute: vec![],
        ..like.clone()
    }
}

/// A convolution or a linear layer, a term that is added to it, and its activation.
fn activated(node: NodeProto, op: &str) -> Result<Vec<NodeProto>, Problem> {
    let made = node.output.first().cloned().unwrap_or_default();
    let kind = attribute(&node, "activation").and_then(|kind| kind.s.clone()).unwrap_or_default();
    let numbers =
        attribute(&node, "activation_params").map_or(vec![], |numbers| numbers.floats.clone());
    let number = |place: usize, own: &str| {
        // Those of a linear layer have names.
        let named = attribute(&node, own).and_then(|number| number.f);
        numbers.get(place).copied().or(named)
    };
    let names: &[(&str, &str)] = match &kind[..] {
        b"" | b"Relu" | b"Sigmoid" | b"Tanh" => &[],
        b"LeakyRelu" => &[("alpha", "activation_alpha")],
        b"Clip" => &[("min", "activation_alpha"), ("max", "activation_beta")],
        b"HardSigmoid" => &[("alpha", "activation_alpha"), ("beta", "activation_beta")],
        other => {
            return Err(unsupported(
                format!("{op} with the activation {}", String::from_utf8_lossy(other)),
                "export the network without ONNX Runtime's optimizations",
            ));
        }
    };
    let attributes = names
        .iter()
        .enumerate()
        .filter_map(|(place, &(name, own))| Some(AttributeProto::float(name, number(place, own)?)));
    let attributes: Vec<AttributeProto> = attributes.collect();
    let mut inputs = node.input.clone();
    let term = (op == "Conv" && inputs.len() > 3).then(|| inputs.remove(3));
    let mut first = part(&node, op, inputs, format!("{made}/layer"));
    first.attribute = node
        .attribute
        .iter()
        .filter(|attribute| {
            !attribute.name.as_deref().is_some_and(|name| name.starts_with("activation"))
        })
        .cloned()
        .collect();
    let mut nodes = vec![first];
    if let Some(term) = term.filter(|term| !term.is_empty()) {
        let inputs = vec![format!("{made}/layer"), term];
        nodes.push(part(&node, "Add", inputs, format!("{made}/sum")));
    }
    if !kind.is_empty() {
        let before = nodes.last().and_then(|node| node.output.first()).cloned();
        let before = before.ok_or_else(|| corrupt("a node has no output"))?;
        let kind = String::from_utf8_lossy(&kind).into_owned();
        nodes.push(NodeProto {
            attribute: attributes,
            ..part(&node, &kind, vec![before], made.clone())
        });
    }
    if let Some(last) = nodes.last_mut() {
        last.output = node.output;
    }
    Ok(nodes)
}

/// GELU, by the normal distribution or by tanh, of a sum with a bias if there is one.
fn gelu(node: NodeProto) -> Vec<NodeProto> {
    let made = node.output.first().cloned().unwrap_or_default();
    let fast = op_type(&node) == "FastGelu";
    let mut nodes = Vec::new();
    let mut input = node.input.first().cloned().unwrap_or_default();
    if node.input.get(1).is_some_and(|bias| !bias.is_empty()) {
        nodes.push(part(&node, "Add", node.input.clone(), format!("{made}/sum")));
        input = format!("{made}/sum");
    }
    let mut last = part(&node, "Gelu", vec![input], made);
    if fast {
        last.attribute = vec![AttributeProto::text("approximate", "tanh")];
    }
    nodes.push(last);
    nodes
}
