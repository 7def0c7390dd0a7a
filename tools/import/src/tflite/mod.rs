//! TFLite networks: int8, with every scale, zero point, weight and bias kept, or float.
//!
//! The graph is [walked](walk) once, into layers that contain their operation and the file's
//! tensors with its numbers. They become a [`QuantizedNetwork`](crate::network::QuantizedNetwork)
//! or a [`Network`](crate::network::Network), depending on whether the tensors are [int8] or
//! [float]. [`operators`] has a function for each operator.

mod call;
mod constant;
mod ends;
mod evaluate;
mod float;
mod graph;
mod importer;
mod int8;
mod operators;
mod options;
mod schema;
mod walk;

use std::collections::{HashMap, HashSet};

use self::constant::Constants;
use self::float::float_network;
use self::graph::Graph;
use self::importer::{Computation, Conv, Importer};
use self::int8::quantized_network;
use self::schema::{corrupt, element, element_name};
use crate::error::{AtLayer, LayerProblem, unsupported};
use crate::network::{Imported, most_elements, too_many_elements};

/// Reads the network in `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, LayerProblem> {
    let graph = Graph::read(bytes)?;
    let constants = Constants::new(&graph);
    let mut importer = Importer {
        graph: &graph,
        layers: vec![],
        constants,
        inner: ends::inner(&graph.operators),
        spaced: HashMap::new(),
        turned: HashSet::new(),
        flat: HashSet::new(),
        lowest: HashSet::new(),
        lengths: HashMap::new(),
        values: HashMap::new(),
    };
    let &[input] = &graph.inputs[..] else {
        return Err(unsupported(
            format!("has {} inputs", graph.inputs.len()),
            "convert it with the image as its only input",
        )
        .into());
    };
    importer.input(input)?;
    for operator in &graph.operators {
        let name = graph.source(operator);
        importer.add(operator, &name).at(&name)?;
    }
    let weights = importer.layers.iter().map(|layer| match layer.op {
        Computation::Conv(Conv { weights, .. }) => {
            importer.constants.tensor(weights).map_or(0, |tensor| tensor.data.len())
        }
        _ => 0,
    });
    if weights.fold(0, usize::saturating_add) > most_elements(bytes.len()) {
        return Err(too_many_elements().into());
    }
    let mut ends = Vec::with_capacity(graph.outputs.len());
    for &output in &graph.outputs {
        let (name, view) = (graph.tensor(output)?.name.clone(), importer.view(output)?);
        ends.push((importer.settle(view, &name, output)?, name));
    }
    if ends.is_empty() {
        return Err(corrupt("it has no output").into());
    }
    let first = graph.tensor(importer.layers[0].tensor)?;
    let Importer { layers, constants, .. } = importer;
    match first.kind {
        element::INT8 | element::INT16 => {
            quantized_network(&graph, &layers, &ends).map(Imported::Quantized)
        }
        element::FLOAT32 => float_network(&constants, &layers, &ends).map(Imported::Float),
        other => Err(unsupported(
            format!("its maps are of element type {}", element_name(other)),
            "convert the network to int8 (or to float) with TensorFlow 2's converter",
        ))
        .at(&first.name),
    }
}
