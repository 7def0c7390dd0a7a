//! The float network that a file holds.

use super::graph::Graph;
use super::importer::{Computation, Computed};
use super::schema::element;
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::network::{Activation, Conv, Network, NodeId, Op};

/// The network of these layers.
pub(super) fn float_network(
    graph: &Graph<'_>,
    layers: Vec<Computed>,
    sigmoid: bool,
    output: NodeId,
) -> Result<Network, LayerProblem> {
    let mut network = Network::new(layers[0].shape, &layers[0].source)?;
    network.sigmoid = sigmoid;
    // Where each layer's output is in the network: activations are nodes there.
    let mut places = vec![0; layers.len()];
    for (id, layer) in layers.iter().enumerate().skip(1) {
        places[id] = float_layer(graph, &mut network, layer, &places).at(&layer.source)?;
    }
    network.canonical(places[output])
}

fn float_layer(
    graph: &Graph<'_>,
    network: &mut Network,
    layer: &Computed,
    places: &[NodeId],
) -> Result<NodeId, Problem> {
    let inputs: Vec<NodeId> = layer.inputs.iter().map(|&input| places[input]).collect();
    let op = match layer.op {
        Computation::Conv { weights, bias, stride, pads, fully_connected } => {
            let floats = |at: i32| {
                let tensor = graph.tensor(at)?;
                tensor.require(element::FLOAT32, "weights")?;
                Ok::<_, Problem>(tensor.words(f32::from_le_bytes))
            };
            let input = network.nodes[inputs[0]].shape;
            let weights = graph.tensor(weights)?.weights(floats(weights)?, input)?;
            let bias = bias.map_or(Ok(vec![0.0; weights.dim().0]), floats)?;
            Op::Conv(Conv { weights, bias, stride, pads, fully_connected })
        }
        Computation::Input => Op::Input,
        Computation::Add => Op::Add,
        Computation::Subsample(subsample) => Op::Subsample(subsample),
        Computation::MaxPool(window) => Op::MaxPool(window),
        Computation::AveragePool | Computation::Mean => Op::GlobalAveragePool,
        Computation::Softmax => Op::Softmax,
    };
    let node = network.push(op, &inputs, &layer.source)?;
    match layer.activation {
        Activation::None => Ok(node),
        Activation::Relu => network.push(Op::Relu, &[node], &layer.source),
        Activation::Relu6 => network.push(Op::Relu6, &[node], &layer.source),
    }
}
