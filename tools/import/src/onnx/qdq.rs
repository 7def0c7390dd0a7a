//! Quantized ONNX networks: float operators between QuantizeLinear and DequantizeLinear (QDQ).
//!
//! The graph is walked as a float network. On the way a [`Qdq`] notes with which scale and zero
//! point each map is quantized, and which constants are integers; [`Qdq::network`] then makes of
//! both a [`QuantizedNetwork`] that has the file's scales, zero points, weights and biases.
//!
//! A map of uint8 is the same map of int8 with a zero point 128 less. Quantizers drop a ReLU whose
//! output's zero point is the smallest value; nothing has to be done about that.

use std::collections::HashMap;

use super::constant::Constant;
use super::node::{attribute, corrupt, int, node_name, op_type};
use super::shapes;
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{
    Activation, Conv, Network, Node, NodeId, Op, Output, QuantizedConv, QuantizedNetwork,
    QuantizedNode, QuantizedOp,
};
use crate::proto::{GraphProto, NodeProto, data_type};

/// What the user can do where a file's quantization is not int8 throughout.
const REMEDY: &str = "quantize with per-tensor int8 or uint8 activations and symmetric int8 weights, \
                      every layer's output included (with ONNX Runtime: quantize_static, \
                      QuantFormat.QDQ); or give the float network, which brooklet quantizes itself";
/// How far a bias's scale may be from the product of input's and weights', relatively.
const BIAS_TOLERANCE: f64 = 1e-4;

/// What is known of a network's quantization.
#[derive(Default)]
pub(super) struct Qdq {
    /// Element types of the file's tensors.
    kinds: HashMap<String, i32>,
    /// Constants that are integers times a scale, by the name of the product.
    constants: HashMap<String, Integers>,
    /// Scale and zero point of nodes' outputs.
    maps: HashMap<NodeId, (f32, i32)>,
    /// Weight scales of convolutions, and their biases if those are integers.
    convs: HashMap<NodeId, (Vec<f32>, Option<Integers>)>,
}

/// Integers and their scales: one, or one for each index of an axis.
#[derive(Clone)]
struct Integers {
    values: Vec<i64>,
    scales: Vec<f32>,
    axis: usize,
}

impl Qdq {
    /// Of a graph that is to be walked.
    pub(super) fn new(graph: &GraphProto) -> Result<Self, LayerProblem> {
        let other = graph.node.iter().find(|node| {
            let op = op_type(node);
            op.starts_with("QLinear") || op.ends_with("Integer") || op == "DynamicQuantizeLinear"
        });
        if let Some(node) = other {
            let problem = Problem::QuantizedOnnx { op: op_type(node).into() };
            return Err(problem).at(&node_name(node));
        }
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let inputs = graph.input.iter().filter_map(|info| {
            let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
            Some((name(&info.name), tensor.elem_type?))
        });
        let initializers = graph.initializer.iter();
        let initializers =
            initializers.map(|tensor| (name(&tensor.name), tensor.data_type.unwrap_or(0)));
        let mut kinds: HashMap<String, i32> = inputs.chain(initializers).collect();
        for node in &graph.node {
            let Some(output) = node.output.first() else { continue };
            let kind = match op_type(node) {
                "Constant" => {
                    let tensor = attribute(node, "value").and_then(|value| value.t.as_ref());
                    tensor.and_then(|tensor| tensor.data_type)
                }
                "QuantizeLinear" => Some(quantized_kind(node, &kinds)),
                // What moves integers leaves their type.
                "Transpose" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity"
                | "MaxPool" | "Slice" | "Gather" | "Pad" => {
                    node.input.first().and_then(|name| kinds.get(name)).copied()
                }
                _ => None,
            };
            kinds.extend(kind.map(|kind| (output.clone(), kind)));
        }
        Ok(Self { kinds, ..Self::default() })
    }

    /// Whether any map is quantized; if none is, the network is a float network.
    pub(super) fn has_maps(&self) -> bool {
        !self.maps.is_empty()
    }

    /// Whether a node's output is quantized.
    pub(super) fn is_quantized(&self, node: NodeId) -> bool {
        self.maps.contains_key(&node)
    }

    /// The value of a QuantizeLinear or DequantizeLinear of constants.
    pub(super) fn constant(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<&Constant>],
    ) -> Result<Constant, Problem> {
        let input = |index: usize| inputs.get(index).copied().flatten();
        let values = input(0).ok_or_else(|| corrupt("it quantizes nothing"))?;
        let scales: Vec<f32> = match input(1) {
            Some(scales) => scales.floats()?.iter().copied().collect(),
            None => return Err(corrupt("it has no scale")),
        };
        if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(corrupt(format!("a scale of {scale}")));
        }
        let zeros = input(2).map_or(Ok(vec![0]), Constant::to_ints)?;
        let shape = values.shape().to_vec();
        let axis = match scales.len() {
            1 => 0,
            _ => shapes::axis(int(node, "axis", 1), shape.len())?,
        };
        let fits = |count: usize| count == 1 || shape.get(axis) == Some(&count);
        if !fits(scales.len()) || !fits(zeros.len()) || int(node, "block_size", 0) != 0 {
            return Err(unsupported(
                format!("{} scales for a tensor of shape {shape:?}", scales.len()),
                REMEDY,
            ));
        }
        // Of the element at a place in the file's order.
        let behind: usize = shape.iter().skip(axis + 1).product();
        let extent = shape.get(axis).copied().unwrap_or(1);
        let along = |place: usize, count: usize| match count {
            1 => 0,
            _ => place / behind % extent,
        };
        if op_type(node) == "QuantizeLinear" {
            let (low, high) = bounds(quantized_kind(node, &self.kinds))?;
            let quantize = |(place, &value): (usize, &f32)| {
                let level = f64::from(value) / f64::from(scales[along(place, scales.len())]);
                let zero = zeros[along(place, zeros.len())];
                (level.round_ties_even() as i64).saturating_add(zero).clamp(low, high)
            };
            let floats = values.floats()?;
            let levels = floats.iter().enumerate().map(quantize).collect();
            return Constant::of_ints(&shape, levels);
        }
        let integers: Vec<i64> = values
            .to_ints()?
            .into_iter()
            .enumerate()
            .map(|(place, value)| value.saturating_sub(zeros[along(place, zeros.len())]))
            .collect();
        let real =
            |(place, &integer): (usize, &i64)| integer as f32 * scales[along(place, scales.len())];
        let reals = integers.iter().enumerate().map(real).collect();
        let name = node.output.first().cloned().unwrap_or_default();
        self.constants.insert(name, Integers { values: integers, scales, axis });
        Constant::of_floats(&shape, reals)
    }

    /// Notes that a node's output, or (if not `whole`) a copy of a part of it, is quantized.
    pub(super) fn map(
        &mut self,
        node: &NodeProto,
        inputs: [Option<&Constant>; 2],
        id: NodeId,
        whole: bool,
    ) -> Result<(), Problem> {
        let scales = inputs[0].ok_or_else(|| corrupt("its scale is not a constant"))?.floats()?;
        let zeros = inputs[1].map_or(Ok(vec![0]), Constant::to_ints)?;
        let (1, Some(&scale), &[zero]) = (scales.len(), scales.first(), &zeros[..]) else {
            let what = format!("a map of {} scales", scales.len());
            return Err(unsupported(what, REMEDY));
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(corrupt(format!("a scale of {scale}")));
        }
        let kind = match op_type(node) {
            "QuantizeLinear" => quantized_kind(node, &self.kinds),
            // The zero point has the type of what is dequantized.
            _ => {
                let mut names = [2, 0].into_iter().filter_map(|index| node.input.get(index));
                let kind = names.find_map(|name| self.kinds.get(name));
                kind.copied().unwrap_or(data_type::UINT8)
            }
        };
        let (low, high) = bounds(kind)?;
        if !(low..=high).contains(&zero) {
            return Err(corrupt(format!("a zero point of {zero}")));
        }
        // From uint8 to int8.
        let quantization = (scale, (zero - low - 128) as i32);
        match self.maps.get(&id) {
            None if whole => {
                self.maps.insert(id, quantization);
                Ok(())
            }
            Some(known) if *known == quantization => Ok(()),
            _ => Err(unsupported(
                "a map, or a copy of it, is quantized with two scales",
                "quantize each map once, with one scale for all layers that read it",
            )),
        }
    }

    /// Notes the weights' scales of a convolution, and its bias; the names are the file's, `axis`
    /// is that of the output channels.
    pub(super) fn conv(
        &mut self,
        id: NodeId,
        names: [Option<&String>; 2],
        axis: usize,
        out: usize,
    ) {
        let [weights, bias] = names.map(|name| self.constants.get(name?).cloned());
        let Some(weights) = weights else { return };
        let scales = match weights.scales[..] {
            [scale] => vec![scale; out],
            _ if weights.axis == axis && weights.scales.len() == out => weights.scales,
            // Told when the network is put together.
            _ => vec![],
        };
        self.convs.insert(id, (scales, bias));
    }

    /// The quantized network that computes what these nodes do.
    pub(super) fn network(
        mut self,
        float: &Network,
        ends: &[(NodeId, String)],
    ) -> Result<QuantizedNetwork, LayerProblem> {
        let outputs = float.endings(ends)?;
        let needed = float.needed(&outputs);
        let readers = float.consumers();
        let mut nodes: Vec<QuantizedNode> = Vec::new();
        let mut places = vec![None; float.nodes.len()];
        for (id, node) in float.nodes.iter().enumerate().filter(|&(id, _)| needed[id]) {
            if matches!(node.op, Op::Relu | Op::Relu6) {
                // Part of the layer before, whose sum it clips.
                continue;
            }
            let activation = (id + 1..float.nodes.len()).find(|&next| {
                let node = &float.nodes[next];
                needed[next] && matches!(node.op, Op::Relu | Op::Relu6) && node.inputs[0] == id
            });
            let end = match activation {
                Some(next) if !self.is_quantized(id) && readers[id] == 1 => next,
                Some(next) => {
                    let what =
                        "an activation of a map that is quantized before it, or read without";
                    let remedy = "let the quantizer fuse activations into the layers before them";
                    return Err(unsupported(what, remedy)).at(&float.nodes[next].source);
                }
                None => id,
            };
            let quantized = self.node(float, id, end, &places, &nodes).at(&node.source)?;
            places[end] = Some(nodes.len());
            nodes.push(quantized);
        }
        let missing = || corrupt("no node computes the output");
        let outputs = outputs.into_iter().map(|output| {
            let node = places[output.node].ok_or_else(missing)?;
            Ok(Output { node, ..output })
        });
        let outputs = outputs.collect::<Result<Vec<Output>, LayerProblem>>()?;
        let network = QuantizedNetwork { input: float.input, nodes, outputs: vec![] };
        Ok(network.canonical(outputs))
    }

    /// The node that computes what `id` does, with the activation at `end`.
    fn node(
        &mut self,
        float: &Network,
        id: NodeId,
        end: NodeId,
        places: &[Option<usize>],
        nodes: &[QuantizedNode],
    ) -> Result<QuantizedNode, Problem> {
        let node = &float.nodes[id];
        let activation = match float.nodes[end].op {
            Op::Relu => Activation::Relu,
            Op::Relu6 => Activation::Relu6,
            _ => Activation::None,
        };
        let inputs: Option<Vec<usize>> = node.inputs.iter().map(|&input| places[input]).collect();
        let inputs = inputs.ok_or_else(|| corrupt("it reads what no earlier node computes"))?;
        let input = inputs.first().map(|&input| &nodes[input]);
        let kept = input.map(|input| (input.scale, input.zero_point));
        let known = self.maps.get(&end).copied();
        let copies = matches!(node.op, Op::Subsample(_) | Op::MaxPool(_));
        let (scale, zero_point) = match (known, kept) {
            (None, Some(kept)) if copies => kept,
            (Some(known), Some(kept)) if copies && known != kept => {
                let remedy = "quantize it with the scale of the map that it reads";
                return Err(unsupported("a copy or a pooling that changes the scale", remedy));
            }
            (None, _) if matches!(node.op, Op::Softmax) => (1.0 / 256.0, -128),
            (Some(known), _) if matches!(node.op, Op::Softmax) && known != (1.0 / 256.0, -128) => {
                let what = format!("a softmax with scale {} and zero point {}", known.0, known.1);
                return Err(unsupported(what, "leave the softmax, or its output, in float"));
            }
            (Some(known), _) => known,
            (None, _) => return Err(unsupported("its output is not quantized", REMEDY)),
        };
        let op = match &node.op {
            Op::Input => QuantizedOp::Input,
            Op::Conv(conv) if conv.is_plain() => {
                QuantizedOp::Conv(self.quantized_conv(id, conv, kept)?)
            }
            Op::Add => QuantizedOp::Add,
            Op::Subsample(subsample) => QuantizedOp::Subsample(*subsample),
            Op::MaxPool(window) => QuantizedOp::MaxPool(*window),
            Op::GlobalAveragePool => QuantizedOp::Mean,
            Op::Softmax => QuantizedOp::Softmax,
            Op::BatchNorm(_) => {
                let remedy = "fold batch norms into the convolutions before the network is \
                              quantized (with ONNX Runtime: quant_pre_process)";
                return Err(unsupported("a batch norm, or scaling, of its own", remedy));
            }
            Op::Relu | Op::Relu6 => return Err(corrupt("an activation of an activation")),
            other => {
                let what = format!("{} in a network that is quantized already", other.name());
                let remedy = "give the float network, which brooklet quantizes itself";
                return Err(unsupported(what, remedy));
            }
        };
        let Node { source, shape, .. } = node.clone();
        let name = source.clone();
        Ok(QuantizedNode { name, source, op, inputs, shape, scale, zero_point, activation })
    }

    /// A convolution of a map with this scale and zero point, with its integers.
    fn quantized_conv(
        &mut self,
        id: NodeId,
        conv: &Conv,
        input: Option<(f32, i32)>,
    ) -> Result<QuantizedConv, Problem> {
        let (scales, bias) = self
            .convs
            .remove(&id)
            .ok_or_else(|| unsupported("its weights are not quantized", REMEDY))?;
        if scales.is_empty() {
            let what = "its weights' scales are not one for each output channel";
            return Err(unsupported(what, REMEDY));
        }
        let mut weights = conv.weights.mapv(|_| 0i8);
        for ((mut integers, reals), &scale) in
            weights.outer_iter_mut().zip(conv.weights.outer_iter()).zip(&scales)
        {
            for (integer, &real) in integers.iter_mut().zip(&reals) {
                // The product was rounded once: the quotient is next to the integer.
                let exact = (f64::from(real) / f64::from(scale)).round();
                if !(-127.0..=127.0).contains(&exact) {
                    let what = format!("a weight of {exact} steps, which is beyond 127");
                    return Err(unsupported(what, REMEDY));
                }
                *integer = exact as i8;
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
            return Err(unsupported("a bias beyond 32 bits beside its weights", REMEDY));
        }
        Ok(QuantizedConv {
            weights,
            scales,
            bias: bias.into_iter().map(|bias| bias as i32).collect(),
            stride: conv.stride,
            pads: conv.pads,
            dilation: conv.dilation,
            groups: conv.groups,
            fully_connected: conv.fully_connected,
        })
    }
}

/// The element type that a QuantizeLinear makes.
fn quantized_kind(node: &NodeProto, kinds: &HashMap<String, i32>) -> i32 {
    let zero = node.input.get(2).and_then(|zero| kinds.get(zero));
    match (zero, int(node, "output_dtype", 0)) {
        (Some(&kind), _) => kind,
        (None, 0) => data_type::UINT8,
        (None, kind) => i32::try_from(kind).unwrap_or(0),
    }
}

/// Smallest and largest integer of an element type.
fn bounds(kind: i32) -> Result<(i64, i64), Problem> {
    match kind {
        data_type::UINT8 => Ok((0, 255)),
        data_type::INT8 => Ok((-128, 127)),
        _ => Err(unsupported(format!("quantized to element type {kind}, not to 8 bits"), REMEDY)),
    }
}
