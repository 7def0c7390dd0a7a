//! Functions that a file defines itself: each use is replaced by the nodes of its body.

use std::collections::HashMap;

use prost::Message;

use super::node::{corrupt, op_type};
use crate::error::{Problem, unsupported};
use crate::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};

/// Maximum number of nodes of a graph after its functions are inlined, with the uses of functions.
const MOST: usize = 1 << 18;

/// Number of bytes that the bodies of all uses may have, besides four times those of the functions.
const MOST_BYTES: usize = 1 << 28;

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
    let own = functions.iter().map(Message::encoded_len).sum::<usize>();
    let bytes = own.saturating_mul(4).saturating_add(MOST_BYTES);
    let mut writer = Writer { known, nodes: Vec::new(), uses: 0, bytes, open: Vec::new() };
    for node in std::mem::take(&mut graph.node) {
        writer.write(node)?;
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
    /// Number of bytes that further bodies may have.
    bytes: usize,
    /// The functions that are being inlined, each used within the one before.
    open: Vec<&'f FunctionProto>,
}

impl Writer<'_> {
    fn write(&mut self, node: NodeProto) -> Result<(), Problem> {
        let key = (node.domain.as_deref().unwrap_or(""), op_type(&node));
        let function = self.known.get(&key).copied();
        if self.nodes.len() + self.uses >= MOST {
            return Err(too_much("are more than a graph can hold"));
        }
        let Some(function) = function else {
            self.nodes.push(node);
            return Ok(());
        };
        if self.open.iter().any(|&open| std::ptr::eq(open, function)) {
            return Err(corrupt(format!("the function {} is used within itself", name(function))));
        }
        if self.open.len() == DEPTH {
            return Err(too_much("are nested too deep"));
        }
        self.open.push(function);
        self.uses += 1;
        self.copies(function.encoded_len())?;
        let use_of = self.uses;
        // The outer names of the function's arguments; one that is left out has an empty name. The
        // first of two with the same name counts.
        let names =
            given(&function.output, &node.output).chain(given(&function.input, &node.input));
        let outer: HashMap<&str, &str> = names.collect();
        // The attributes of this use, or their defaults.
        let attributes = function.attribute_proto.iter().rev().chain(node.attribute.iter().rev());
        let attributes: HashMap<&str, &AttributeProto> =
            attributes.filter_map(|value| Some((value.name.as_deref()?, value))).collect();
        for inner in &function.node {
            let mut inner = inner.clone();
            let names = inner.input.iter_mut().chain(&mut inner.output);
            for name in names.filter(|name| !name.is_empty()) {
                *name = match outer.get(name.as_str()) {
                    Some(&outer) => {
                        self.copies(outer.len())?;
                        outer.to_owned()
                    }
                    None => format!("{name}/{use_of}"),
                };
            }
            if let Some(own) = node.name.as_ref().filter(|name| !name.is_empty()) {
                self.copies(own.len())?;
                inner.name = Some(format!("{own}/{}", inner.name.unwrap_or_default()));
            }
            for mut attribute in std::mem::take(&mut inner.attribute) {
                if let Some(of) = attribute.ref_attr_name.take().filter(|of| !of.is_empty()) {
                    let Some(&value) = attributes.get(of.as_str()) else { continue };
                    self.copies(value.encoded_len())?;
                    attribute = AttributeProto { name: attribute.name, ..value.clone() };
                }
                inner.attribute.push(attribute);
            }
            self.write(inner)?;
        }
        self.open.pop();
        Ok(())
    }

    /// Counts bytes that are about to be copied.
    fn copies(&mut self, bytes: usize) -> Result<(), Problem> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| too_much("are more than a graph can hold"))?;
        Ok(())
    }
}

/// The names outside for those inside of a function, the first one last.
fn given<'n>(
    inside: &'n [String],
    outside: &'n [String],
) -> impl Iterator<Item = (&'n str, &'n str)> {
    let outer = |at: usize| outside.get(at).map_or("", String::as_str);
    inside.iter().enumerate().rev().map(move |(at, name)| (name.as_str(), outer(at)))
}

fn too_much(what: &str) -> Problem {
    unsupported(format!("its functions {what}"), "export the network without functions of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that uses the function, or the operator, of this name.
    fn uses(name: &str) -> NodeProto {
        NodeProto { op_type: Some(name.to_owned()), ..NodeProto::default() }
    }

    fn function(name: &str, body: Vec<NodeProto>) -> FunctionProto {
        FunctionProto { name: Some(name.to_owned()), node: body, ..FunctionProto::default() }
    }

    /// The nodes of a graph that uses the last of these functions.
    fn inlined(functions: &[FunctionProto]) -> Result<Vec<NodeProto>, String> {
        let last = uses(name(functions.last().unwrap()));
        let mut graph = GraphProto { node: vec![last], ..GraphProto::default() };
        inline(&mut graph, functions).map_err(|problem| problem.to_string())?;
        Ok(graph.node)
    }

    /// Functions, of which each has `width` uses of the one before; the first has `body`.
    fn nested(depth: usize, width: usize, body: Vec<NodeProto>) -> Vec<FunctionProto> {
        let body_of = |index: usize| vec![uses(&format!("f{}", index - 1)); width];
        let others = (1..depth).map(|index| function(&format!("f{index}"), body_of(index)));
        std::iter::once(function("f0", body)).chain(others).collect()
    }

    #[test]
    fn functions_are_nested_as_deep_as_is_said() {
        assert_eq!(inlined(&nested(DEPTH, 1, vec![uses("Relu")])), Ok(vec![uses("Relu")]));
        let error = inlined(&nested(DEPTH + 1, 1, vec![uses("Relu")])).unwrap_err();
        assert!(error.contains("nested too deep"), "{error}");
    }

    #[test]
    fn a_function_within_itself_is_an_error() {
        let [a, b] =
            [("a", "b"), ("b", "a")].map(|(name, other)| function(name, vec![uses(other)]));
        let error = inlined(&[a, b]).unwrap_err();
        assert!(error.contains("the function b is used within itself"), "{error}");
    }

    /// Without a limit, the first would take 100¹⁵ uses that leave no node; the second, 2¹⁵ copies
    /// of a body of a megabyte; the third, a million copies of a name of a megabyte.
    #[test]
    fn few_bytes_do_not_become_endless_work() {
        let error = inlined(&nested(DEPTH, 100, Vec::new())).unwrap_err();
        assert!(error.contains("more than a graph can hold"), "{error}");
        let large = NodeProto { name: Some("x".repeat(1 << 20)), ..uses("Relu") };
        let error = inlined(&nested(DEPTH, 2, vec![large])).unwrap_err();
        assert!(error.contains("more than a graph can hold"), "{error}");
        let mut many = function("f", vec![uses("Relu")]);
        (many.input, many.node[0].input) = (vec!["a".to_owned()], vec!["a".to_owned(); 1 << 20]);
        let use_of = NodeProto { input: vec!["x".repeat(1 << 20)], ..uses("f") };
        let mut graph = GraphProto { node: vec![use_of], ..GraphProto::default() };
        let error = inline(&mut graph, &[many]).unwrap_err().to_string();
        assert!(error.contains("more than a graph can hold"), "{error}");
    }

    #[test]
    fn arguments_and_attributes_are_those_of_the_use() {
        let of = |name: &str, of: Option<&str>, i| AttributeProto {
            name: Some(name.to_owned()),
            ref_attr_name: of.map(str::to_owned),
            i,
            ..AttributeProto::default()
        };
        let mut inner = NodeProto { name: Some("n".to_owned()), ..uses("Op") };
        (inner.input, inner.output) =
            (["a", "", "c", "b"].map(str::to_owned).into(), vec!["t".into()]);
        inner.attribute = vec![of("one", Some("given"), None), of("two", Some("default"), None)];
        inner.attribute.push(of("three", Some("missing"), None));
        let mut last = uses("Last");
        (last.input, last.output) = (vec!["t".to_owned()], vec!["r".to_owned()]);
        let mut all = function("f", vec![inner, last]);
        (all.input, all.output) = (["a", "b", "c"].map(str::to_owned).into(), vec!["r".to_owned()]);
        all.attribute_proto = vec![of("given", None, Some(1)), of("default", None, Some(2))];
        let mut use_of = NodeProto { name: Some("u".to_owned()), ..uses("f") };
        (use_of.input, use_of.output) =
            (["x", "y"].map(str::to_owned).into(), vec!["z".to_owned()]);
        use_of.attribute = vec![of("given", None, Some(5))];
        let mut graph = GraphProto { node: vec![use_of], ..GraphProto::default() };
        inline(&mut graph, &[all]).unwrap();
        let [inner, last] = &graph.node[..] else { panic!("{:?}", graph.node) };
        assert_eq!(
            (inner.name.as_deref(), &inner.input[..]),
            (Some("u/n"), &["x", "", "", "y"].map(str::to_owned)[..])
        );
        assert_eq!(inner.attribute, [of("one", None, Some(5)), of("two", None, Some(2))]);
        assert_eq!(last.input, inner.output);
        assert_eq!(last.output, ["z"]);
    }
}
