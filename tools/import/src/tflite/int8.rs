//! Makes the int8 network of a file, and keeps every scale, zero point, weight and bias.

use ndarray::Array4;

use super::graph::{Graph, Tensor};
use super::importer::{Computation, Computed, Conv};
use super::schema::{corrupt, element};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{
    Activation, Ending, Function, NodeId, Output, QuantizedConstant, QuantizedConv,
    QuantizedNetwork, QuantizedNode, QuantizedOp, Shape, TfliteFunction,
};

/// The network of these layers.
pub(super) fn quantized_network(
    graph: &Graph<'_>,
    layers: &[Computed],
    ends: &[(NodeId, String)],
) -> Result<QuantizedNetwork, LayerProblem> {
    let outputs = outputs(layers, ends)?;
    let mut nodes: Vec<QuantizedNode> = Vec::with_capacity(layers.len());
    let ended = |id: usize| {
        matches!(layers[id].op, Computation::Ending(_) | Computation::Function(Function::Sigmoid))
            && ends.iter().any(|&(end, _)| end == id)
            && !outputs.iter().any(|output| output.node == id)
    };
    for (id, layer) in layers.iter().enumerate() {
        // An operator that ends the network is a part of its output.
        let layer = if ended(id) { &layers[layer.inputs[0]] } else { layer };
        let node = quantized_node(graph, &nodes, layer).at(&layer.source)?;
        nodes.push(node);
    }
    let input = nodes[0].shape;
    let network = QuantizedNetwork { input, nodes, outputs: vec![], normalization: None };
    Ok(network.canonical(outputs))
}

/// The outputs, with the operators that follow each.
fn outputs(layers: &[Computed], ends: &[(NodeId, String)]) -> Result<Vec<Output>, LayerProblem> {
    let read = |id: usize| layers.iter().any(|layer| layer.inputs.contains(&id));
    for (id, layer) in layers.iter().enumerate() {
        if let Computation::Ending(ending) = layer.op
            && (read(id) || !ends.iter().any(|&(end, _)| end == id))
        {
            return Err(inside(ending)).at(&layer.source);
        }
    }
    let output = |(end, name): &(NodeId, String)| {
        let ending = match layers[*end].op {
            // A sigmoid of a map is a layer, whose bytes are TFLite's.
            Computation::Function(Function::Sigmoid)
                if !read(*end) && layers[*end].shape[..2] == [1, 1] =>
            {
                Ending::Sigmoid
            }
            Computation::Ending(ending) => ending,
            _ => Ending::None,
        };
        let node = if ending == Ending::None { *end } else { layers[*end].inputs[0] };
        Output { name: name.clone(), node, ending }
    };
    Ok(ends.iter().map(output).collect())
}

fn quantized_node(
    graph: &Graph<'_>,
    nodes: &[QuantizedNode],
    layer: &Computed,
) -> Result<QuantizedNode, Problem> {
    let tensor = graph.tensor(layer.tensor)?;
    if tensor.kind == element::FLOAT32 {
        return Err(unsupported(
            "a part of the network is float, between DEQUANTIZE and QUANTIZE",
            "convert the whole network to int8, or give the float network, which brooklet \
             quantizes itself",
        ));
    }
    // A softmax is always int8 here, even where TFLite has int16: its input is the answer.
    let int16 = tensor.kind == element::INT16 && !matches!(layer.op, Computation::Softmax);
    let (scale, zero_point) = match layer.op {
        Computation::Softmax if tensor.kind == element::INT16 => (1.0 / 256.0, -128),
        Computation::Excess => (tensor.quantization()?.0, -128),
        _ => tensor.quantization()?,
    };
    let input = layer.inputs.first().map(|&input| &nodes[input]);
    let keeps_scale =
        input.is_some_and(|input| (input.scale, input.zero_point) == (scale, zero_point));
    let op = match &layer.op {
        Computation::Input => QuantizedOp::Input,
        Computation::Conv(conv) => {
            let shape = input.map_or([0; 3], |input| input.shape);
            let (weights, scales) = quantized_weights(graph.tensor(conv.weights)?, shape, *conv)?;
            let bias = quantized_bias(graph, conv.bias, scales.len())?;
            QuantizedOp::Conv(QuantizedConv {
                zeros: None,
                weights,
                scales,
                bias,
                stride: conv.stride,
                pads: conv.pads,
                dilation: conv.dilation,
                groups: conv.groups,
                fully_connected: conv.fully_connected,
                float_product: conv.linear && graph.tensor(conv.weights)?.scales.len() == 1,
            })
        }
        Computation::Function(function) => function_of(*function, (scale, zero_point)),
        Computation::FloatFunction(function) => QuantizedOp::Function(*function),
        Computation::PRelu(slopes) => {
            QuantizedOp::Tflite(TfliteFunction::PRelu(constant(graph, *slopes)?))
        }
        Computation::Multiply => QuantizedOp::Multiply,
        Computation::Concat => QuantizedOp::Concat,
        Computation::Requantize => QuantizedOp::Tflite(TfliteFunction::Quantize),
        Computation::Rectifier(Activation::Relu6) => QuantizedOp::Tflite(TfliteFunction::Relu6),
        Computation::Rectifier(_) => QuantizedOp::Tflite(TfliteFunction::Relu),
        Computation::Affine { operation: Some((operation, at)), .. } => {
            QuantizedOp::Tflite(operation(constant(graph, *at)?))
        }
        Computation::Affine { operation: None, .. } => {
            return Err(unsupported(
                "DIV by a constant, or NEG, in an int8 network",
                "give the float network, which brooklet quantizes itself",
            ));
        }
        Computation::Border(_) => {
            return Err(unsupported(
                "MIRROR_PAD in an int8 network",
                "give the float network, which brooklet quantizes itself",
            ));
        }
        Computation::Ending(ending) => return Err(inside(*ending)),
        Computation::Pad(pads) if keeps_scale => {
            let channels = layer.shape[2];
            QuantizedOp::Conv(QuantizedConv {
                zeros: None,
                weights: Array4::ones((channels, 1, 1, 1)),
                scales: vec![1.0; channels],
                bias: vec![0; channels],
                stride: [1, 1],
                pads: *pads,
                dilation: [1, 1],
                groups: channels,
                fully_connected: false,
                float_product: false,
            })
        }
        Computation::Spread => {
            let ones = Array4::ones((layer.shape[2], 1, 1, 1));
            QuantizedOp::Conv(QuantizedConv::of_weights(ones, 1))
        }
        Computation::Part(conv) if keeps_scale => QuantizedOp::Conv(QuantizedConv {
            stride: conv.stride,
            ..QuantizedConv::of_weights(conv.weights.mapv(|weight| weight as i8), conv.groups)
        }),
        Computation::Add => QuantizedOp::Add,
        Computation::Subtract | Computation::Excess => QuantizedOp::Subtract,
        Computation::Mean => QuantizedOp::TfliteMean,
        Computation::Softmax => QuantizedOp::Softmax,
        Computation::Pad(_)
        | Computation::Part(_)
        | Computation::Subsample(_)
        | Computation::MaxPool(_)
        | Computation::AveragePool(_)
        | Computation::GlobalAveragePool
            if !keeps_scale =>
        {
            return Err(unsupported(
                "a copy or a pooling that changes the scale",
                "convert the network with TensorFlow 2's converter, which keeps it",
            ));
        }
        Computation::Subsample(subsample) => QuantizedOp::Subsample(*subsample),
        Computation::MaxPool(window) => QuantizedOp::MaxPool(*window),
        Computation::AveragePool(pool) => QuantizedOp::AveragePool(*pool),
        Computation::GlobalAveragePool => QuantizedOp::GlobalAveragePool,
        Computation::Pad(_) | Computation::Part(_) => {
            return Err(corrupt("a copy of another scale"));
        }
    };
    if int16 {
        op.check_int16(layer.activation, scale)?;
    }
    Ok(QuantizedNode {
        summed: false,
        name: layer.source.clone(),
        source: layer.source.clone(),
        op,
        inputs: layer.inputs.clone(),
        shape: layer.shape,
        scale,
        zero_point,
        int16,
        activation: layer.activation,
    })
}

/// TFLite's function; or the exact function, rounded to the nearest bytes, if TFLM does not have
/// it, or if the file has it at a scale that TFLite never uses.
fn function_of(function: Function, output: (f32, i32)) -> QuantizedOp {
    let own = match function {
        Function::Sigmoid if output == (1.0 / 256.0, -128) => TfliteFunction::Logistic,
        Function::Tanh if output == (1.0 / 128.0, 0) => TfliteFunction::Tanh,
        Function::HardSwish => TfliteFunction::HardSwish,
        Function::LeakyRelu { slope } => TfliteFunction::LeakyRelu { slope },
        other => return QuantizedOp::Function(other),
    };
    QuantizedOp::Tflite(own)
}

/// The integers of a constant.
fn constant(graph: &Graph<'_>, at: i32) -> Result<QuantizedConstant, Problem> {
    let tensor = graph.tensor(at)?;
    let (scale, zero_point) = tensor.quantization()?;
    Ok(QuantizedConstant { values: tensor.words(i8::from_le_bytes), scale, zero_point })
}

/// Weights of a convolution of a map of this shape, and one scale per output channel.
fn quantized_weights(
    tensor: &Tensor<'_>,
    shape: Shape,
    conv: Conv,
) -> Result<(Array4<i8>, Vec<f32>), Problem> {
    tensor.require(element::INT8, "weights")?;
    let values = tensor.words(i8::from_le_bytes);
    let (weights, dimension) = match conv.depthwise {
        true => (tensor.depthwise_weights(values)?, 3),
        false => (tensor.weights(values, shape, conv.channels_first)?, 0),
    };
    let out = weights.dim().0;
    let scales = match tensor.scales[..] {
        [scale] => vec![scale; out],
        ref scales if scales.len() == out && tensor.quantized_dimension == dimension => {
            scales.to_vec()
        }
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
    Ok((weights.mapv_into(allowed), scales))
}

/// The weight, if TFLite's specification of int8 allows it: -128 becomes -127. Kernels rely on this
/// range.
fn allowed(weight: i8) -> i8 {
    weight.max(-i8::MAX)
}

/// Biases of a convolution of `out` channels.
fn quantized_bias(graph: &Graph<'_>, bias: Option<i32>, out: usize) -> Result<Vec<i32>, Problem> {
    let bias = match bias {
        Some(bias) => {
            let bias = graph.tensor(bias)?;
            if bias.kind == element::INT64 {
                // In networks of int16 biases have 64 bits.
                let narrow = |wide: i64| i32::try_from(wide).map_err(|_| wide);
                let all = bias.words(|bytes| narrow(i64::from_le_bytes(bytes)));
                all.into_iter().collect::<Result<_, i64>>().map_err(|wide| {
                    unsupported(
                        format!("a bias of {wide}, which exceeds 32 bits"),
                        "give the float network, which brooklet quantizes itself",
                    )
                })?
            } else {
                bias.require(element::INT32, "a bias")?;
                bias.words(i32::from_le_bytes)
            }
        }
        None => vec![0; out],
    };
    if bias.len() != out {
        return Err(corrupt(format!("{} biases for {out} channels", bias.len())));
    }
    Ok(bias)
}

/// The error for an operator that may only come last.
fn inside(ending: Ending) -> Problem {
    unsupported(
        format!("{} inside of the network", ending.name()),
        "it may only be the network's last layer, after its scores",
    )
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn weights_are_in_the_range_of_kernels() {
        let weights = [-128, -127, 0, 127].map(allowed);
        assert_eq!(weights, [-127, -127, 0, 127]);
    }
}
