//! Makes the quantized network of a graph that was walked.

mod outputs;

use ndarray::{Array4, Axis};

use self::outputs::{is_copy, selects};
use super::{ConvIntegers, Integers, Qdq, REMEDY};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{
    Activation, BatchNorm, Conv, Network, Node, NodeId, Op, Output, QuantizedConstant,
    QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp,
};
use crate::onnx::node::corrupt;

/// Largest relative difference between a bias's scale and the product of those of input and
/// weights.
const BIAS_TOLERANCE: f64 = 1e-4;

/// Scale and zero point of probabilities.
const PROBABILITIES: (f32, i32) = (1.0 / 256.0, -128);

/// A quantized network while it is made from a graph.
struct Builder<'f> {
    qdq: Qdq,
    float: &'f Network,
    outputs: Vec<Output>,
    readers: Vec<usize>,
    /// For each node the activation that is fused into it, if there is one.
    activations: Vec<Option<NodeId>>,
    nodes: Vec<QuantizedNode>,
    /// For each node of the graph its index in the quantized network.
    places: Vec<Option<usize>>,
}

impl Qdq {
    /// The quantized network that computes the outputs of these nodes.
    pub(in crate::onnx) fn network(
        mut self,
        float: &Network,
        ends: &[(NodeId, String)],
    ) -> Result<QuantizedNetwork, LayerProblem> {
        let mut outputs = float.endings(ends)?;
        for output in &mut outputs {
            // A softmax does not change the order of scores; it is dropped if these are not
            // quantized.
            let node = &float.nodes[output.node];
            if node.op == Op::Softmax && !self.is_quantized(node.inputs[0]) {
                output.node = node.inputs[0];
            }
        }
        let needed = float.needed(&outputs);
        let mut readers = vec![0; float.nodes.len()];
        for (_, node) in float.nodes.iter().enumerate().filter(|&(id, _)| needed[id]) {
            node.inputs.iter().for_each(|&input| readers[input] += 1);
        }
        let mut activations = vec![None; float.nodes.len()];
        for (id, node) in float.nodes.iter().enumerate().filter(|&(id, _)| needed[id]) {
            if matches!(node.op, Op::Relu | Op::Relu6) && readers[node.inputs[0]] == 1 {
                activations[node.inputs[0]] = Some(id);
            }
        }
        let (image, normalization) = self.normalization(float, &readers);
        let mut places = vec![None; float.nodes.len()];
        places[1..=image].fill(Some(0));
        let nodes = Vec::new();
        let mut builder =
            Builder { qdq: self, float, outputs, readers, activations, nodes, places };
        for (id, node) in float.nodes.iter().enumerate().filter(|&(id, _)| needed[id]) {
            if !builder.activations.contains(&Some(id)) && !(1..=image).contains(&id) {
                builder.add(id).at(&node.source)?;
            }
        }
        let Builder { outputs, nodes, places, .. } = builder;
        let missing = || corrupt("no node computes the output");
        let outputs = outputs.into_iter().map(|output| {
            let node = places[output.node].ok_or_else(missing)?;
            Ok(Output { node, ..output })
        });
        let outputs = outputs.collect::<Result<Vec<Output>, LayerProblem>>()?;
        let input = float.input;
        let network = QuantizedNetwork { input, nodes, outputs: vec![], normalization };
        Ok(network.canonical(outputs))
    }
}

impl Qdq {
    /// The factors and offsets of the image before it is quantized, if the file has them, and the
    /// last node that computes them. The image then has that node's quantization.
    fn normalization(
        &mut self,
        float: &Network,
        readers: &[usize],
    ) -> (NodeId, Option<Vec<(f64, f64)>>) {
        let mut affine = vec![(1.0, 0.0); float.input[2]];
        let mut last = 0;
        let next = |last: NodeId| {
            let node = float.nodes.get(last + 1).filter(|node| node.inputs[..] == [last]);
            node.filter(|_| readers[last] == 1)
        };
        while !self.is_quantized(last) {
            let Some(Node { op: Op::BatchNorm(norm), .. }) = next(last) else { break };
            for (channel, (factor, offset)) in affine.iter_mut().enumerate() {
                let (by, plus) = norm.affine(channel);
                (*factor, *offset) = (*factor * by, *offset * by + plus);
            }
            last += 1;
        }
        // A part of the image, or its channels in another order, before it is quantized.
        let mut end = last;
        while !self.is_quantized(end) {
            match next(end) {
                Some(Node { op: Op::Conv(conv), .. })
                    if !self.convs.contains_key(&(end + 1))
                        && conv.pads == [0; 4]
                        && selects(conv, float.nodes[end].shape) =>
                {
                    end += 1;
                }
                _ => return (0, None),
            }
        }
        let Some(&quantization) = self.maps.get(&end) else { return (0, None) };
        let positive = self.wide.get(&end).copied();
        for id in last..end {
            self.maps.insert(id, quantization);
            positive.map(|positive| self.wide.insert(id, positive));
        }
        // A model file stores a mean and a deviation of three channels.
        let fits = affine.iter().all(|&(factor, _)| factor > 0.0)
            && affine.iter().skip(2).all(|&channel| channel == affine[2]);
        if last == 0 || !fits {
            return (0, None);
        }
        self.maps.insert(0, quantization);
        positive.map(|positive| self.wide.insert(0, positive));
        (last, Some(affine))
    }
}

impl Builder<'_> {
    /// Adds the node that computes the output of `id`, with the activation after it.
    fn add(&mut self, id: NodeId) -> Result<(), Problem> {
        let node = &self.float.nodes[id];
        let end = self.activations[id].unwrap_or(id);
        let activation = match self.float.nodes[end].op {
            Op::Relu => Activation::Relu,
            Op::Relu6 => Activation::Relu6,
            _ => Activation::None,
        };
        let inputs: Option<Vec<usize>> =
            node.inputs.iter().map(|&input| self.places[input]).collect();
        let mut inputs = inputs.ok_or_else(|| corrupt("it reads what no earlier node computes"))?;
        // A map that is quantized again.
        if let (Op::Subsample(copy), &[input]) = (&node.op, &inputs[..])
            && self.activations[id].is_none()
            && (copy.stride, copy.channels_before, copy.channels_after) == ([1, 1], 0, 0)
            && let Some(&wanted) = self.qdq.maps.get(&id)
        {
            self.places[id] = Some(self.rescaled(input, wanted, &node.source));
            return Ok(());
        }
        let kept = inputs.first().map(|&input| self.quantization(input));
        let (scale, zero_point, int16) = self.output(id, end, kept)?;
        // Quantizers drop a ReLU before a range that begins with 0.
        let from_zero = [end, id].iter().find_map(|id| self.qdq.wide.get(id)) == Some(&true);
        let activation = match activation {
            Activation::None if int16 && from_zero => Activation::Relu,
            activation => activation,
        };
        if let Op::Concat = node.op {
            for input in &mut inputs {
                *input = self.rescaled(*input, (scale, zero_point), &node.source);
            }
        }
        let op = match &node.op {
            Op::Input => QuantizedOp::Input,
            Op::Conv(conv) => QuantizedOp::Conv(self.conv(id, conv, kept)?),
            Op::Add => QuantizedOp::Add,
            Op::Multiply => QuantizedOp::Multiply,
            Op::Concat => QuantizedOp::Concat,
            Op::Function(function) => QuantizedOp::Function(*function),
            Op::PRelu(slopes) => QuantizedOp::PRelu(quantized_slopes(slopes)),
            Op::Subsample(subsample) => QuantizedOp::Subsample(*subsample),
            Op::MaxPool(window) => QuantizedOp::MaxPool(*window),
            Op::AveragePool(pool) => QuantizedOp::AveragePool(*pool),
            Op::GlobalAveragePool => QuantizedOp::Mean,
            Op::Softmax => QuantizedOp::Softmax,
            Op::Relu | Op::Relu6 => QuantizedOp::Requantize,
            Op::BatchNorm(norm) => QuantizedOp::Conv(scaling(norm, kept)),
            other @ (Op::Border(_) | Op::Ending(_)) => {
                let what = format!("{} in a network that is quantized already", other.name());
                let remedy = "give the float network, which brooklet quantizes itself";
                return Err(unsupported(what, remedy));
            }
        };
        let activation = match node.op {
            Op::Relu => Activation::Relu,
            Op::Relu6 => Activation::Relu6,
            _ => activation,
        };
        let Node { source, shape, .. } = node.clone();
        let name = source.clone();
        // Copies and poolings keep the scale of their input.
        if int16 {
            op.check_int16(activation, scale)?;
        }
        let own = match kept {
            Some(_) if node.op == Op::Softmax => PROBABILITIES,
            Some(kept) if is_copy(&node.op) && kept != (scale, zero_point) => kept,
            _ => (scale, zero_point),
        };
        self.nodes.push(QuantizedNode {
            name,
            source: source.clone(),
            op,
            inputs,
            shape,
            scale: own.0,
            zero_point: own.1,
            int16,
            activation,
            summed: self.is_summed(id),
        });
        let place = self.nodes.len() - 1;
        self.places[end] = Some(self.rescaled(place, (scale, zero_point), &source));
        Ok(())
    }

    fn quantization(&self, place: usize) -> (f32, i32) {
        (self.nodes[place].scale, self.nodes[place].zero_point)
    }

    /// A node with the values of another, at this scale.
    fn rescaled(&mut self, place: usize, wanted: (f32, i32), source: &str) -> usize {
        if self.quantization(place) == wanted {
            return place;
        }
        self.nodes.push(QuantizedNode {
            name: source.into(),
            source: source.into(),
            op: QuantizedOp::Requantize,
            inputs: vec![place],
            shape: self.nodes[place].shape,
            scale: wanted.0,
            zero_point: wanted.1,
            int16: false,
            activation: Activation::None,
            summed: false,
        });
        self.nodes.len() - 1
    }

    /// A convolution of a map with this scale and zero point, with the file's integers.
    fn conv(
        &mut self,
        id: NodeId,
        conv: &Conv,
        input: Option<(f32, i32)>,
    ) -> Result<QuantizedConv, Problem> {
        let ConvIntegers { mut scales, bias, zeros } = match self.qdq.convs.remove(&id) {
            Some(known) => known,
            // A convolution that adds zeros around a map, selects a part of it, or adds its channels.
            None => match single_weight(conv) {
                Some(scale) => {
                    ConvIntegers { scales: vec![scale; conv.bias.len()], bias: None, zeros: None }
                }
                None => return Err(unsupported("its weights are not quantized", REMEDY)),
            },
        };
        if scales.is_empty() {
            let what = "its weights' scales are not one for each output channel";
            return Err(unsupported(what, REMEDY));
        }
        let mut weights = conv.weights.mapv(|_| 0i8);
        for (channel, scale) in scales.iter_mut().enumerate() {
            let reals = conv.weights.index_axis(Axis(0), channel);
            let mut integers = weights.index_axis_mut(Axis(0), channel);
            // The product was rounded once, so the quotient is close to the integer.
            let steps = |real: f32, scale: f32| (f64::from(real) / f64::from(scale)).round();
            let largest = reals.iter().fold(0.0f32, |largest, real| largest.max(real.abs()));
            if steps(largest, *scale) > 127.0 {
                // The range of uint8 weights with a zero point exceeds that of int8 at one end.
                *scale = largest / 127.0;
            }
            for (integer, &real) in integers.iter_mut().zip(&reals) {
                *integer = steps(real, *scale) as i8;
            }
        }
        let input = f64::from(input.map_or(1.0, |(scale, _)| scale));
        let units: Vec<f64> = scales.iter().map(|&scale| input * f64::from(scale)).collect();
        let own = |bias: &Integers| {
            let mut scales = bias.scales.iter().cycle().zip(&units);
            bias.values.len() == units.len()
                && scales
                    .all(|(&scale, &unit)| (f64::from(scale) / unit - 1.0).abs() < BIAS_TOLERANCE)
        };
        let bias: Vec<f64> = match bias.filter(own) {
            Some(bias) => bias.values.iter().map(|&value| value as f64).collect(),
            None => {
                let reals = conv.bias.iter().zip(&units);
                reals.map(|(&real, unit)| (f64::from(real) / unit).round()).collect()
            }
        };
        if bias.iter().any(|bias| bias.abs() > f64::from(i32::MAX)) {
            return Err(unsupported(
                "a bias that exceeds 32 bits at the scale of its weights",
                REMEDY,
            ));
        }
        Ok(QuantizedConv {
            weights,
            scales,
            bias: bias.into_iter().map(|bias| bias as i32).collect(),
            zeros,
            stride: conv.stride,
            pads: conv.pads,
            dilation: conv.dilation,
            groups: conv.groups,
            fully_connected: conv.fully_connected,
            float_product: conv.fully_connected,
        })
    }
}

/// A factor and an offset per channel as a depthwise 1×1 convolution, of an input with this
/// quantization. Its factors are exact, as they become scales.
fn scaling(norm: &BatchNorm, input: Option<(f32, i32)>) -> QuantizedConv {
    let channels = norm.scale.len();
    let input = f64::from(input.map_or(1.0, |(scale, _)| scale));
    let mut conv = QuantizedConv::of_weights(Array4::zeros((channels, 1, 1, 1)), channels);
    for channel in 0..channels {
        let (factor, offset) = norm.affine(channel);
        // The scale of a channel that only has an offset must be large enough for it.
        let least = (offset.abs() / input / f64::from(1 << 24)).max(1e-12);
        let scale = ((factor / 127.0).abs()).max(least) as f32;
        conv.scales[channel] = scale;
        conv.weights[[channel, 0, 0, 0]] = (factor / f64::from(scale)).round() as i8;
        conv.bias[channel] = (offset / (input * f64::from(scale))).round() as i32;
    }
    conv
}

/// The magnitude of all weights that are not zero, if it is the same.
fn single_weight(conv: &Conv) -> Option<f32> {
    let mut weights = conv.weights.iter().filter(|&&weight| weight != 0.0);
    let first = weights.next().map_or(1.0, |weight| weight.abs());
    weights.all(|weight| weight.abs() == first).then_some(first)
}

fn quantized_slopes(slopes: &[f32]) -> QuantizedConstant {
    let largest = slopes.iter().fold(f32::MIN_POSITIVE, |largest, slope| largest.max(slope.abs()));
    let scale = largest / 127.0;
    let values = slopes.iter().map(|slope| (slope / scale).round() as i8).collect();
    QuantizedConstant { values, scale, zero_point: 0 }
}
