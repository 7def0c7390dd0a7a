//! Functions that a file defines itself: each use is replaced by the nodes of its body.

use std::collections::HashMap;

use super::node::{corrupt, op_type};
use crate::error::{Problem, unsupported};
use crate::proto::{FunctionProto, GraphProto, NodeProto};

/// Maximum number of nodes of a graph after its functions are inlined.
const MOST: usize = 1 << 18;

/// Maximum nesting of functions.
const DEPTH: usize = 16;

/// Inlines the uses of these functions in a graph.
pub(super) fn inline(graph: &mut GraphProto, functions: &[FunctionProto]) -> Result<(), Problem> {
    if functions.is_empty() {
        return Ok(());
    }
    let known: HashMap<(&str, &str), &FunctionProto> = functions
        .iter()
        .map(|function| ((function.domain.as_deref().unwrap_or(""), name(function)), function))
        .collect();
    let mut writer = Writer { known, nodes: Vec::new(), uses: 0 };
    for node in std::mem::take(&mut graph.node) {
        writer.write(node, DEPTH)?;
    }
    graph.node = writer.nodes;
    Ok(())
}

fn name(function: &FunctionProto) -> &str {
    function.name.as_deref().unwrap_or("")
}

struct Writer<'f> {
    known: HashMap<(&'f str, &'f str), &'f FunctionProto>,
    nodes: Vec<NodeProto>,
    /// Number of uses so far, which keeps the names of different uses apart.
    uses: usize,
}

impl Writer<'_> {
    fn write(&mut self, node: NodeProto, depth: usize) -> Result<(), Problem> {
        let key = (node.domain.as_deref().unwrap_or(""), op_type(&node));
        let Some(&function) = self.known.get(&key) else {
            if self.nodes.len() >= MOST {
                return Err(unsupported(
                    "its functions are more than a graph can hold",
                    "export the network without functions of its own",
                ));
            }
            self.nodes.push(node);
            return Ok(());
        };
        if depth == 0 {
            return Err(corrupt(format!("the function {} is used within itself", name(function))));
        }
        self.uses += 1;
        let use_of = self.uses;
        let outer = |inner: &String| -> String {
            let given = |inside: &[String], outside: &[String]| {
                let at = inside.iter().position(|name| name == inner)?;
                // An argument that is left out has an empty name.
                Some(outside.get(at).cloned().unwrap_or_default())
            };
            match inner.as_str() {
                "" => String::new(),
                _ => given(&function.input, &node.input)
                    .or_else(|| given(&function.output, &node.output))
                    .unwrap_or_else(|| format!("{inner}/{use_of}")),
            }
        };
        for inner in &function.node {
            let mut inner = inner.clone();
            inner.input = inner.input.iter().map(outer).collect();
            inner.output = inner.output.iter().map(outer).collect();
            if let Some(own) = node.name.as_ref().filter(|name| !name.is_empty()) {
                let part = inner.name.unwrap_or_default();
                inner.name = Some(format!("{own}/{part}"));
            }
            // Attributes that refer to those of the use, or to their defaults.
            inner.attribute.retain_mut(|attribute| {
                let Some(of) = attribute.ref_attr_name.clone().filter(|of| !of.is_empty()) else {
                    return true;
                };
                let mut all = node.attribute.iter().chain(&function.attribute_proto);
                let Some(value) = all.find(|value| value.name.as_deref() == Some(&of)) else {
                    return false;
                };
                let name = attribute.name.take();
                *attribute = value.clone();
                attribute.name = name;
                true
            });
            self.write(inner, depth - 1)?;
        }
        Ok(())
    }
}
