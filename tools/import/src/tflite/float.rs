//! Makes the float network of a file.

use super::constant::Constants;
use super::importer::{Computation, Computed};
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::network::{Activation, BatchNorm, Conv, Function, Network, NodeId, Op};

/// The network of these layers, with its outputs.
pub(super) fn float_network(
    constants: &Constants<'_, '_>,
    layers: &[Computed],
    ends: &[(NodeId, String)],
) -> Result<Network, LayerProblem> {
    let mut network = Network::new(layers[0].shape, &layers[0].source)?;
    // The node of each layer's output: activations are nodes of their own.
    let mut places = vec![0; layers.len()];
    for (id, layer) in layers.iter().enumerate().skip(1) {
        places[id] = float_layer(constants, &mut network, layer, &places).at(&layer.source)?;
    }
    let ends: Vec<_> = ends.iter().map(|(end, name)| (places[*end], name.clone())).collect();
    network.canonical(&ends)
}

fn float_layer(
    constants: &Constants<'_, '_>,
    network: &mut Network,
    layer: &Computed,
    places: &[NodeId],
) -> Result<NodeId, Problem> {
    let mut inputs: Vec<NodeId> = layer.inputs.iter().map(|&input| places[input]).collect();
    let channels = layer.shape[2];
    let op = match &layer.op {
        Computation::Conv(conv) => {
            let input = network.nodes[inputs[0]].shape;
            let tensor = constants.tensor(conv.weights)?;
            let weights = constants.floats(conv.weights)?;
            let weights = match conv.depthwise {
                true => tensor.depthwise_weights(weights)?,
                false => tensor.weights(weights, input, conv.channels_first)?,
            };
            let zeros = || Ok(vec![0.0; weights.dim().0]);
            let bias = conv.bias.map_or_else(zeros, |bias| constants.floats(bias))?;
            Op::Conv(Conv {
                weights,
                bias,
                stride: conv.stride,
                pads: conv.pads,
                dilation: conv.dilation,
                groups: conv.groups,
                fully_connected: conv.fully_connected,
            })
        }
        Computation::Affine { factors, offsets, .. } => {
            Op::BatchNorm(BatchNorm::affine_of(factors, offsets, channels))
        }
        Computation::Rectifier(activation) => {
            return Ok(match rectifier(*activation) {
                Some(op) => network.push(op, &inputs, &layer.source)?,
                None => inputs[0],
            });
        }
        Computation::Function(function) | Computation::FloatFunction(function) => {
            Op::Function(*function)
        }
        Computation::PRelu(slopes) => {
            let slopes = constants.floats(*slopes)?;
            match slopes[..] {
                [slope] => Op::Function(Function::LeakyRelu { slope }),
                _ => Op::PRelu(slopes),
            }
        }
        Computation::Input => Op::Input,
        Computation::Add => Op::Add,
        Computation::Subtract | Computation::Excess => {
            let negative =
                BatchNorm::affine_of(&vec![-1.0; channels], &vec![0.0; channels], channels);
            inputs[1] = network.push(Op::BatchNorm(negative), &inputs[1..2], &layer.source)?;
            Op::Add
        }
        Computation::Multiply => Op::Multiply,
        Computation::Concat => Op::Concat,
        Computation::Pad(pads) => Op::Conv(Conv::padding(channels, *pads)),
        Computation::Border(border) => Op::Border(*border),
        Computation::Spread => Op::Conv(Conv::spreading(channels)),
        Computation::Part(conv) => Op::Conv(conv.clone()),
        Computation::Subsample(subsample) => Op::Subsample(*subsample),
        Computation::MaxPool(window) => Op::MaxPool(*window),
        Computation::AveragePool(pool) => Op::AveragePool(*pool),
        Computation::GlobalAveragePool | Computation::Mean => Op::GlobalAveragePool,
        Computation::Requantize => return Ok(inputs[0]),
        Computation::Softmax => Op::Softmax,
        Computation::Ending(ending) => Op::Ending(*ending),
    };
    let node = network.push(op, &inputs, &layer.source)?;
    let activation = match layer.op {
        Computation::Excess => Activation::Relu,
        _ => layer.activation,
    };
    match rectifier(activation) {
        Some(op) => network.push(op, &[node], &layer.source),
        None => Ok(node),
    }
}

fn rectifier(activation: Activation) -> Option<Op> {
    match activation {
        Activation::None => None,
        Activation::Relu => Some(Op::Relu),
        Activation::Relu6 => Some(Op::Relu6),
    }
}
