//! Makes the quantized network of a graph that was walked.

use ndarray::{Array4, ArrayView3, Axis};

use super::{ConvIntegers, Integers, Qdq, REMEDY};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{
    Activation, BatchNorm, Conv, Network, Node, NodeId, Op, Output, QuantizedConstant,
    QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp, Shape,
};
use crate::onnx::node::corrupt;

/// Largest relative difference between a bias's scale and the product of those of input and
/// weights.
const BIAS_TOLERANCE: f64 = 1e-4;

/// Smallest scale of a map whose quantization is not in the file: that of a map of zeros.
const LEAST_SCALE: f64 = 1e-9;

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

    /// Scale and zero point of the output of `id` with the activation at `end`, and whether it has
    /// 16 bits. `kept` is the quantization of its input.
    fn output(
        &self,
        id: NodeId,
        end: NodeId,
        kept: Option<(f32, i32)>,
    ) -> Result<(f32, i32, bool), Problem> {
        let node = &self.float.nodes[id];
        let eight = |(scale, zero_point)| Ok((scale, zero_point, false));
        let is_output = self.outputs.iter().any(|output| output.node == end);
        let known = [end, id].iter().find_map(|id| self.qdq.maps.get(id)).copied();
        let known = known.or_else(|| self.copied(end));
        match (known, kept) {
            (known, _) if node.op == Op::Softmax => match known {
                // The scale of the file's output does not change how a softmax is computed.
                Some(wanted) if !is_output => eight(wanted),
                _ => eight(PROBABILITIES),
            },
            (Some((scale, zero_point)), _) => {
                let wide = [end, id].iter().any(|id| self.qdq.wide.contains_key(id));
                Ok((scale, zero_point, wide))
            }
            (None, Some((scale, zero_point)))
                if is_copy(&node.op) || matches!(node.op, Op::GlobalAveragePool | Op::Relu) =>
            {
                let input = node.inputs.first().and_then(|&input| self.places[input]);
                Ok((scale, zero_point, input.is_some_and(|place| self.nodes[place].int16)))
            }
            (None, Some(kept)) => match (&node.op, self.sum_behind(id), self.sum_of(id, end)) {
                (Op::Conv(conv), _, _) if is_output => scores(conv, kept),
                (_, Some([low, high]), Some([least, most])) => {
                    eight(affine([low.max(least), high.min(most)]))
                }
                (_, Some(range), None) | (_, None, Some(range)) => eight(affine(range)),
                _ => match self.reached(id, end) {
                    Some(range) => eight(affine(range)),
                    None if self.copies(id) => {
                        let input = node.inputs.first().and_then(|&input| self.places[input]);
                        let wide = input.is_some_and(|place| self.nodes[place].int16);
                        Ok((kept.0, kept.1, wide))
                    }
                    None => Err(unsupported("its output is not quantized", REMEDY)),
                },
            },
            (None, None) => Err(unsupported(
                "the image is not quantized before the first layer",
                "leave its normalization out of the network and give --mean and --std, or give the \
                 float network, which brooklet quantizes itself",
            )),
        }
    }

    /// Whether a node is a convolution, made by the importer, each of whose outputs is one of its
    /// inputs, or a zero around the map.
    fn copies(&self, id: NodeId) -> bool {
        let Node { op: Op::Conv(conv), inputs, .. } = &self.float.nodes[id] else { return false };
        !self.qdq.convs.contains_key(&id) && selects(conv, self.float.nodes[inputs[0]].shape)
    }

    /// The quantization of a node that is only quantized after a copy or a maximum of it.
    fn copied(&self, end: NodeId) -> Option<(f32, i32)> {
        if self.readers[end] != 1 {
            return None;
        }
        let reads = |node: &Node| node.inputs.first() == Some(&end);
        let next = self.float.nodes.iter().position(reads)?;
        match self.float.nodes[next].op {
            Op::MaxPool(_) | Op::Subsample(_) => self.qdq.maps.get(&next).copied(),
            _ => None,
        }
    }

    /// The range that the sum of two maps can have.
    fn sum_of(&self, id: NodeId, end: NodeId) -> Option<[f64; 2]> {
        let node = &self.float.nodes[id];
        let (Op::Add, &[one, two]) = (&node.op, &node.inputs[..]) else { return None };
        let of = |id: NodeId| self.places[id].map(|place| ends(self.quantization(place)));
        let (one, two) = (of(one)?, of(two)?);
        let [low, high] = [one[0] + two[0], one[1] + two[1]];
        Some(match self.float.nodes[end].op {
            Op::Relu => [0.0, high],
            Op::Relu6 => [0.0, high.min(6.0)],
            _ => [low, high],
        })
    }

    /// The range that an operator of single values, a product or a concatenation can reach, if all that
    /// it reads is quantized to 8 bits.
    fn reached(&self, id: NodeId, end: NodeId) -> Option<[f64; 2]> {
        let node = &self.float.nodes[id];
        let place = |&input: &NodeId| self.places[input].filter(|&place| !self.nodes[place].int16);
        let places: Vec<usize> = node.inputs.iter().map(place).collect::<Option<_>>()?;
        let known: Vec<(f32, i32)> = places.iter().map(|&place| self.quantization(place)).collect();
        let &(scale, zero) = known.first()?;
        let reals = || (-128..=127).map(move |level| f64::from(level - zero) * f64::from(scale));
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            })
        };
        let both = ends((scale, zero));
        let [low, high] = match &node.op {
            Op::Function(function) => range(&mut reals().map(|real| function.value(real))),
            Op::Relu | Op::Relu6 => both,
            Op::BatchNorm(norm) => {
                let affine = (0..norm.scale.len()).map(|channel| norm.affine(channel));
                range(&mut affine.flat_map(|(factor, offset)| both.map(|x| factor * x + offset)))
            }
            Op::PRelu(slopes) => {
                let slopes = slopes.iter().chain(&[1.0]).map(|&slope| f64::from(slope));
                range(&mut slopes.flat_map(|slope| both.map(|x| slope * x.min(0.0) + x.max(0.0))))
            }
            Op::Multiply => {
                let [one, two] = [ends(known[0]), ends(*known.get(1)?)];
                range(&mut one.into_iter().flat_map(|a| two.map(|b| a * b)))
            }
            Op::Concat => range(&mut known.iter().flat_map(|&of| ends(of))),
            _ => return None,
        };
        Some(match self.float.nodes[end].op {
            Op::Relu => [0.0, high],
            Op::Relu6 => [0.0, high.min(6.0)],
            _ => [low, high],
        })
    }

    /// The range of a node that only an addition reads, if the file leaves it in float. Values
    /// beyond this range leave the range of the sum, whatever the other term is.
    fn sum_behind(&self, id: NodeId) -> Option<[f64; 2]> {
        let of_sum = |node: &Node| node.op == Op::Add && node.inputs.contains(&id);
        let add = self.float.nodes.iter().position(of_sum).filter(|_| self.readers[id] == 1)?;
        let end = self.activations[add].unwrap_or(add);
        let range = |id: NodeId| self.qdq.maps.get(&id).map(|&known| ends(known));
        let [low, high] = range(end).or_else(|| range(add))?;
        let other = self.float.nodes[add].inputs.iter().find(|&&input| input != id)?;
        let [other_low, other_high] = range(*other).unwrap_or([low, high]);
        Some([low - other_high, high - other_low])
    }

    /// Whether a node is a convolution whose sums are added, without rounding, to a map that is
    /// quantized: the result is rounded once, after the addition.
    fn is_summed(&self, id: NodeId) -> bool {
        let quantized = |id: NodeId| self.qdq.is_quantized(id) && !self.qdq.wide.contains_key(&id);
        let Op::Conv(conv) = &self.float.nodes[id].op else { return false };
        let input = self.float.nodes[id].inputs[0];
        let of_sum = |node: &Node| node.op == Op::Add && node.inputs.contains(&id);
        let Some(add) = self.float.nodes.iter().position(of_sum) else { return false };
        let end = self.activations[add].unwrap_or(add);
        let other = self.float.nodes[add].inputs.iter().find(|&&input| input != id);
        // A copy has the quantization of its input.
        let source = |id: NodeId| match self.float.nodes[id].op {
            Op::Subsample(_) => self.float.nodes[id].inputs[0],
            _ => id,
        };
        let is_output = self
            .outputs
            .iter()
            .any(|output| [id, add].contains(&output.node) && output.node != end);
        self.readers[id] == 1
            && conv.groups == 1
            && conv.dilation == [1, 1]
            && self.activations[id].is_none()
            && !self.qdq.is_quantized(id)
            && !self.qdq.wide.contains_key(&input)
            && !is_output
            && (quantized(end) || quantized(add))
            && other.is_some_and(|&other| quantized(other) || quantized(source(other)))
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

/// Whether each output of a convolution of a map of this shape is one of its inputs, or a zero around
/// the map.
fn selects(conv: &Conv, shape: Shape) -> bool {
    let plain = conv.bias.iter().all(|&bias| bias == 0.0)
        && conv.weights.iter().all(|&weight| weight == 0.0 || weight == 1.0);
    // Along an axis on which the map has one position, a kernel meets it with one weight at most.
    let kernel = conv.kernel();
    let meets_one = (0..2).all(|axis| kernel[axis] == 1 || shape[axis] == 1);
    let one = |weights: ArrayView3<'_, f32>| {
        let taps = weights.lanes(Axis(2)).into_iter().map(|lane| lane.sum());
        let taps: Vec<f32> = taps.collect();
        match meets_one {
            true => taps.iter().all(|&sum| sum <= 1.0),
            false => taps.iter().sum::<f32>() <= 1.0,
        }
    };
    plain && conv.weights.outer_iter().all(one)
}

/// Whether an operator keeps the scale of its input.
fn is_copy(op: &Op) -> bool {
    matches!(op, Op::Subsample(_) | Op::MaxPool(_) | Op::AveragePool(_))
}

/// The reals at both ends of int8.
fn ends((scale, zero_point): (f32, i32)) -> [f64; 2] {
    [-128, 127].map(|end| f64::from(end - zero_point) * f64::from(scale))
}

/// Scale and zero point of int8 for a range.
fn affine([low, high]: [f64; 2]) -> (f32, i32) {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = ((high - low) / 255.0).max(LEAST_SCALE);
    (scale as f32, (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i32)
}

/// Quantization of scores that the file leaves in float, from an input with this quantization: 16
/// bits for the largest scores that the weights can make.
fn scores(conv: &Conv, input: (f32, i32)) -> Result<(f32, i32, bool), Problem> {
    let reach = ends(input);
    let largest = conv.weights.outer_iter().zip(&conv.bias).map(|(weights, &bias)| {
        let sums = [0, 1].map(|side| {
            let sum: f64 = weights
                .iter()
                .map(|&weight| {
                    let [one, two] = reach.map(|end| end * f64::from(weight));
                    if side == 0 { one.min(two) } else { one.max(two) }
                })
                .sum();
            (sum + f64::from(bias)).abs()
        });
        sums[0].max(sums[1])
    });
    let largest = largest.fold(0.0, f64::max);
    if !largest.is_finite() {
        return Err(unsupported("its output is not quantized", REMEDY));
    }
    Ok(((largest / 32767.0).max(f64::from(f32::MIN_POSITIVE)) as f32, 0, true))
}

fn quantized_slopes(slopes: &[f32]) -> QuantizedConstant {
    let largest = slopes.iter().fold(f32::MIN_POSITIVE, |largest, slope| largest.max(slope.abs()));
    let scale = largest / 127.0;
    let values = slopes.iter().map(|slope| (slope / scale).round() as i8).collect();
    QuantizedConstant { values, scale, zero_point: 0 }
}
