//! TFLite networks: int8 with every scale, zero point, weight and bias kept as it is, or float.
//!
//! The graph is [walked](walk) once, into layers that say what is computed and which of the file's
//! tensors hold the numbers; these become a [`QuantizedNetwork`](crate::network::QuantizedNetwork)
//! or a [`Network`](crate::network::Network), as the file's tensors are [int8] or [float].
//! [`operators`] has a function for each operator.

mod call;
mod float;
mod graph;
mod importer;
mod int8;
mod operators;
mod options;
mod schema;
mod walk;

use std::collections::HashMap;

use self::float::float_network;
use self::graph::{Graph, index};
use self::importer::{Computation, Importer};
use self::int8::quantized_network;
use self::schema::element;
use crate::error::{AtLayer, LayerProblem, unsupported};
use crate::network::{Imported, most_elements, too_many_elements};

/// Reads the network in `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, LayerProblem> {
    let graph = Graph::read(bytes)?;
    let mut importer =
        Importer { graph: &graph, layers: vec![], values: HashMap::new(), sigmoid: false };
    let (&[input], &[output]) = (&graph.inputs[..], &graph.outputs[..]) else {
        return Err(unsupported(
            format!("has {} inputs and {} outputs", graph.inputs.len(), graph.outputs.len()),
            "convert it with the image as its only input and the scores as its only output",
        )
        .into());
    };
    importer.input(input)?;
    for operator in &graph.operators {
        let name = graph.source(operator);
        importer.add(operator, &name).at(&name)?;
    }
    let weights = importer.layers.iter().map(|layer| match layer.op {
        Computation::Conv { weights, .. } => {
            graph.tensor(weights).map_or(0, |tensor| tensor.data.len())
        }
        _ => 0,
    });
    if weights.fold(0, usize::saturating_add) > most_elements(bytes.len()) {
        return Err(too_many_elements().into());
    }
    let end = importer.view(output)?;
    let output = importer.settle(end, &graph.tensors[index(output)?].name, output)?;
    let first = graph.tensor(importer.layers[0].tensor)?;
    match first.kind {
        element::INT8 => {
            let network = quantized_network(&graph, importer.layers, importer.sigmoid, output);
            network.map(Imported::Quantized)
        }
        element::FLOAT32 => {
            float_network(&graph, importer.layers, importer.sigmoid, output).map(Imported::Float)
        }
        other => Err(unsupported(
            format!("its maps are of element type {other}"),
            "convert the network to int8 (or to float) with TensorFlow 2's converter",
        ))
        .at(&first.name),
    }
}
