//! ONNX networks, in the forms that PyTorch's two exporters, tf2onnx and others write: float, or
//! quantized in the form called [QDQ](qdq).
//!
//! The graph is [walked](walk) once. A value is either a constant, which [`evaluate`] computes at
//! once (exporters compute paddings and shapes in the graph), or a [`Map`](map::Map): a node's
//! output together with the layout of the file, so that Transpose, Flatten, Reshape and the like
//! cost nothing and produce no node. [`operators`] has a function for each operator.

mod call;
mod constant;
mod derived;
mod evaluate;
mod functions;
mod fused;
mod groups;
mod importer;
mod input;
mod map;
mod node;
mod operators;
mod order;
mod qdq;
mod qoperator;
mod shapes;
mod tensor;
mod walk;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use prost::Message;

use self::importer::{Importer, Value};
use self::input::Layout;
use self::node::corrupt;
use self::qdq::Qdq;
use crate::error::{AtLayer, LayerProblem, unsupported};
use crate::network::{Imported, NodeId, most_elements};
use crate::proto::{GraphProto, ModelProto, OperatorSetIdProto};

/// Maximum number of elements of all tensors in a file.
const HELD: usize = 1 << 29;

/// Reads the network in `bytes`; weights in other files are looked up in `folder`.
pub(crate) fn read(bytes: &[u8], folder: &Path) -> Result<Imported, LayerProblem> {
    let model = ModelProto::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
    let mut graph = model.graph.ok_or_else(|| corrupt("it has no graph"))?;
    functions::inline(&mut graph, &model.functions)?;
    qoperator::expand(&mut graph, folder)?;
    fused::expand(&mut graph)?;
    order::sort(&mut graph);
    operators::refuse_others(&graph)?;
    let (values, held) = initializers(&graph, folder)?;
    let standard = |set: &&OperatorSetIdProto| set.domain.as_deref().unwrap_or("").is_empty();
    let opset = model.opset_import.iter().find(standard).and_then(|set| set.version);
    let opset = opset.unwrap_or(i64::MAX);
    // In some files only a later mismatch shows where the channels of the input are. The error is
    // that of the reading that got furthest.
    let mut furthest: Option<(usize, LayerProblem)> = None;
    for layout in [Layout::Shown, Layout::ChannelsLast, Layout::OneChannel] {
        let mut read = 0;
        match read_graph(&graph, values.clone(), held, layout, opset, &mut read) {
            Ok(imported) => return Ok(imported),
            Err(problem) if furthest.as_ref().is_none_or(|&(most, _)| read > most) => {
                furthest = Some((read, problem));
            }
            Err(_) => {}
        }
    }
    Err(furthest.map_or_else(|| corrupt("it has no input").into(), |(_, problem)| problem))
}

/// Reads a graph of this opset whose input has this layout; `read` counts its nodes.
fn read_graph(
    graph: &GraphProto,
    mut values: HashMap<String, Value>,
    held: usize,
    layout: Layout,
    opset: i64,
    read: &mut usize,
) -> Result<Imported, LayerProblem> {
    let qdq = Qdq::new(graph)?;
    let (input, map, network) = input::input(graph, &values, layout)?;
    values.insert(input, Value::Map(map));
    let (mut uses, mut readers) =
        (HashMap::<&str, usize>::new(), HashMap::<&str, Vec<&str>>::new());
    for node in &graph.node {
        for name in &node.input {
            *uses.entry(name).or_default() += 1;
            readers.entry(name).or_default().push(node::op_type(node));
        }
    }
    let room = most_elements(held);
    let mut importer = Importer { network, values, uses, readers, qdq, room, layout, opset };
    for node in &graph.node {
        importer.add(node)?;
        *read += 1;
    }
    let names = graph.output.iter().map(|output| output.name.clone().unwrap_or_default());
    let ends = names.map(|name| Ok((importer.end(&name).at(&name)?, name)));
    let ends = ends.collect::<Result<Vec<(NodeId, String)>, LayerProblem>>()?;
    if ends.is_empty() {
        return Err(corrupt("it has no output").into());
    }
    let Importer { network, qdq, .. } = importer;
    match qdq.has_maps() {
        true => qdq.network(&network, &ends).map(Imported::Quantized),
        false => network.canonical(&ends).map(Imported::Float),
    }
}

/// The constants in the file, and their number of elements.
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
