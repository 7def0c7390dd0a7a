//! The int8 network that a file holds: every scale, zero point, weight and bias is kept as it is.

use ndarray::Array4;

use super::graph::{Graph, Tensor};
use super::importer::{Computation, Computed};
use super::schema::{corrupt, element};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{NodeId, QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp, Shape};

/// The network of these layers.
pub(super) fn quantized_network(
    graph: &Graph<'_>,
    layers: Vec<Computed>,
    sigmoid: bool,
    output: NodeId,
) -> Result<QuantizedNetwork, LayerProblem> {
    let mut nodes: Vec<QuantizedNode> = Vec::with_capacity(layers.len());
    for layer in layers {
        let node = quantized_node(graph, &nodes, &layer).at(&layer.source)?;
        nodes.push(node);
    }
    QuantizedNetwork { input: nodes[0].shape, nodes, sigmoid }.canonical(output)
}

fn quantized_node(
    graph: &Graph<'_>,
    nodes: &[QuantizedNode],
    layer: &Computed,
) -> Result<QuantizedNode, Problem> {
    let (scale, zero_point) = graph.tensor(layer.tensor)?.quantization()?;
    let input = layer.inputs.first().map(|&input| &nodes[input]);
    let keeps_scale =
        input.is_some_and(|input| (input.scale, input.zero_point) == (scale, zero_point));
    let op = match layer.op {
        Computation::Input => QuantizedOp::Input,
        Computation::Conv { weights, bias, stride, pads, fully_connected } => {
            let shape = input.map_or([0; 3], |input| input.shape);
            let (weights, scales) = quantized_weights(graph.tensor(weights)?, shape)?;
            let bias = quantized_bias(graph, bias, scales.len())?;
            QuantizedOp::Conv(QuantizedConv {
                weights,
                scales,
                bias,
                stride,
                pads,
                fully_connected,
            })
        }
        Computation::Add => QuantizedOp::Add,
        Computation::Mean => QuantizedOp::TfliteMean,
        Computation::Softmax => QuantizedOp::Softmax,
        Computation::Subsample(_) | Computation::MaxPool(_) | Computation::AveragePool
            if !keeps_scale =>
        {
            return Err(unsupported(
                "a copy or a pooling that changes the scale",
                "convert the network with TensorFlow 2's converter, which keeps it",
            ));
        }
        Computation::Subsample(subsample) => QuantizedOp::Subsample(subsample),
        Computation::MaxPool(window) => QuantizedOp::MaxPool(window),
        Computation::AveragePool => QuantizedOp::GlobalAveragePool,
    };
    Ok(QuantizedNode {
        name: layer.source.clone(),
        source: layer.source.clone(),
        op,
        inputs: layer.inputs.clone(),
        shape: layer.shape,
        scale,
        zero_point,
        activation: layer.activation,
    })
}

/// Weights of a convolution of a map of this shape, and a scale for each output channel.
fn quantized_weights(tensor: &Tensor<'_>, shape: Shape) -> Result<(Array4<i8>, Vec<f32>), Problem> {
    tensor.require(element::INT8, "weights")?;
    let weights = tensor.weights(tensor.words(i8::from_le_bytes), shape)?;
    let out = weights.dim().0;
    let scales = match tensor.scales[..] {
        [scale] => vec![scale; out],
        ref scales if scales.len() == out && tensor.quantized_dimension == 0 => scales.to_vec(),
        ref scales => {
            return Err(corrupt(format!("{} scales for {out} channels", scales.len())));
        }
    };
    if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        return Err(corrupt(format!("a weight scale of {scale}")));
    }
    if tensor.zero_points.iter().any(|&zero| zero != 0) {
        return Err(unsupported(
            "weights with a zero point",
            "convert the network to int8 with TensorFlow 2's converter (not uint8)",
        ));
    }
    Ok((weights, scales))
}

/// Biases of a convolution of `out` channels.
fn quantized_bias(graph: &Graph<'_>, bias: Option<i32>, out: usize) -> Result<Vec<i32>, Problem> {
    let bias = match bias {
        Some(bias) => {
            let bias = graph.tensor(bias)?;
            bias.require(element::INT32, "a bias")?;
            bias.words(i32::from_le_bytes)
        }
        None => vec![0; out],
    };
    if bias.len() != out {
        return Err(corrupt(format!("{} biases for {out} channels", bias.len())));
    }
    Ok(bias)
}
