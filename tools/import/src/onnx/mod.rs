//! ONNX networks, as PyTorch's two exporters, tf2onnx and others spell them: float, or quantized
//! in the form called [QDQ](qdq).
//!
//! The graph is [walked](walk) once. A value is either a constant, computed on the spot by
//! [`evaluate`] (exporters compute paddings and shapes in the graph), or a [`Map`](map::Map): a
//! node's output together with the way the file lays it out, so that Transpose, Flatten, Reshape and
//! the like cost nothing and produce no node. [`operators`] has a function for each operator.

mod call;
mod constant;
mod evaluate;
mod importer;
mod input;
mod map;
mod node;
mod operators;
mod qdq;
mod shapes;
mod tensor;
mod walk;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use prost::Message;

use self::importer::{Importer, Value};
use self::node::corrupt;
use self::qdq::Qdq;
use crate::error::{AtLayer, LayerProblem, unsupported};
use crate::network::{Imported, most_elements};
use crate::proto::{GraphProto, ModelProto};

/// Most elements of all tensors that a file holds.
const HELD: usize = 1 << 29;

/// Reads the network in `bytes`; weights kept in other files are looked up in `folder`.
pub(crate) fn read(bytes: &[u8], folder: &Path) -> Result<Imported, LayerProblem> {
    let model = ModelProto::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| corrupt("it has no graph"))?;
    let qdq = Qdq::new(&graph)?;
    let (mut values, held) = initializers(&graph, folder)?;
    let (input, map, network) = input::input(&graph, &values)?;
    values.insert(input, Value::Map(map));
    let [output] = &graph.output[..] else {
        return Err(unsupported(
            format!("the network has {} outputs", graph.output.len()),
            "export it with its class scores as the only output",
        )
        .into());
    };
    let output = output.name.clone().unwrap_or_default();

    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in graph.node.iter().flat_map(|node| &node.input) {
        *uses.entry(name).or_default() += 1;
    }
    let room = most_elements(held);
    let mut importer = Importer { network, values, uses, qdq, squashed: HashSet::new(), room };
    for node in &graph.node {
        importer.add(node)?;
    }
    match importer.values.remove(&output) {
        Some(Value::Map(map)) => {
            let id = importer.settle(&map, &output).at(&output)?;
            importer.network.sigmoid = importer.squashed.contains(&output);
            let Importer { network, qdq, .. } = importer;
            match qdq.has_maps() {
                true => qdq.network(&network, id).map(Imported::Quantized),
                false => network.canonical(id).map(Imported::Float),
            }
        }
        Some(Value::Constant(_)) => Err(unsupported(
            "the output does not depend on the input",
            "export the network with its class scores as the output",
        ))
        .at(&output),
        None => Err(corrupt("no node computes the output")).at(&output),
    }
}

/// The constants that the file holds, and how many elements they have.
fn initializers(
    graph: &GraphProto,
    folder: &Path,
) -> Result<(HashMap<String, Value>, usize), LayerProblem> {
    let (mut values, mut held) = (HashMap::new(), 0usize);
    for tensor in &graph.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        let constant = tensor::read(tensor, folder).at(&name)?;
        held = held.saturating_add(constant.elements());
        if held > HELD {
            let what = format!("its weights have more than {HELD} elements");
            return Err(unsupported(what, "give a smaller network").into());
        }
        values.insert(name, Value::Constant(Rc::new(constant)));
    }
    Ok((values, held))
}
