//! Quantized ONNX networks: float operators between QuantizeLinear and DequantizeLinear (QDQ).
//!
//! The graph is walked as a float network. Meanwhile a [`Qdq`] records the scale and zero point
//! with which each map is quantized, and the constants that are integers. [`Qdq::network`] then
//! makes a [`QuantizedNetwork`] from both, with the file's scales, zero points, weights and biases.
//!
//! A map of uint8 is treated as one of int8 whose zero point is 128 less. Quantizers drop a ReLU if
//! its output's zero point is the smallest value; this needs no special treatment.

mod network;

use std::collections::{HashMap, HashSet};

use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::NodeId;
use crate::onnx::constant::Constant;
use crate::onnx::node::{attribute, corrupt, int, node_name, op_type};
use crate::onnx::shapes;
use crate::proto::{GraphProto, NodeProto, data_type};

/// The remedy if a file is not quantized to int8 throughout.
const REMEDY: &str = "quantize with per-tensor int8 or uint8 activations and symmetric int8 weights, \
                      every layer's output included (with ONNX Runtime: quantize_static, \
                      QuantFormat.QDQ); or give the float network, which brooklet quantizes itself";
/// What is known about a network's quantization.
#[derive(Default)]
pub(in crate::onnx) struct Qdq {
    /// Element types of tensors.
    kinds: HashMap<String, i32>,
    /// Constants that are integers times a scale, by the name of the product.
    constants: HashMap<String, Integers>,
    /// Scale and zero point of nodes' outputs.
    maps: HashMap<NodeId, (f32, i32)>,
    /// Nodes whose outputs have 16 bits, and whether these are never negative.
    wide: HashMap<NodeId, bool>,
    /// The integers of convolutions.
    convs: HashMap<NodeId, ConvIntegers>,
    /// Zero points of a map's channels, by the name of the tensor that was quantized with them.
    channels: HashMap<String, Vec<i8>>,
    /// The outputs of DequantizeLinear of maps, by name.
    dequantized: HashSet<String>,
}

/// The integers of a convolution.
struct ConvIntegers {
    /// One scale per channel; empty if the scales are along another axis.
    scales: Vec<f32>,
    /// Its bias, if that has integers.
    bias: Option<Integers>,
    /// Zero points of its input's channels, if each has its own.
    zeros: Option<Vec<i8>>,
}

/// Integers and their scales: one scale, or one for each index of an axis.
#[derive(Clone)]
struct Integers {
    values: Vec<i64>,
    scales: Vec<f32>,
    axis: usize,
}

impl Qdq {
    /// Prepares a graph that is then walked.
    pub(in crate::onnx) fn new(graph: &GraphProto) -> Result<Self, LayerProblem> {
        let other = graph.node.iter().find(|node| {
            let op = op_type(node);
            op.ends_with("Integer") || op == "DynamicQuantizeLinear"
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
                // Operators that only move integers keep their type.
                "Transpose" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity"
                | "MaxPool" | "Slice" | "Gather" | "Pad" | "Clip" | "Concat" => {
                    node.input.first().and_then(|name| kinds.get(name)).copied()
                }
                _ => None,
            };
            kinds.extend(kind.map(|kind| (output.clone(), kind)));
        }
        Ok(Self { kinds, ..Self::default() })
    }

    /// Whether any map is quantized; if none is, the network is a float network.
    pub(in crate::onnx) fn has_maps(&self) -> bool {
        !self.maps.is_empty()
    }

    /// Whether a node's output is quantized.
    pub(in crate::onnx) fn is_quantized(&self, node: NodeId) -> bool {
        self.maps.contains_key(&node)
    }

    /// The value of a QuantizeLinear or DequantizeLinear of constants.
    pub(in crate::onnx) fn constant(
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
        // The scale of an element, by its position in the file's order.
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

    /// Records that a node's output, or a copy of a part of it (if not `whole`), is quantized.
    pub(in crate::onnx) fn map(
        &mut self,
        node: &NodeProto,
        inputs: [Option<&Constant>; 2],
        id: NodeId,
        whole: bool,
    ) -> Result<(), Problem> {
        let scales = inputs[0].ok_or_else(|| corrupt("its scale is not a constant"))?.floats()?;
        let zeros = inputs[1].map_or(Ok(vec![0]), Constant::to_ints)?;
        if zeros.len() > 1
            && let Some(&(scale, _)) = self.maps.get(&id)
            && op_type(node) == "DequantizeLinear"
            && int(node, "axis", 1) == 1
            && scales.iter().all(|&of| of == scale)
        {
            let kind = node.input.get(2).and_then(|name| self.kinds.get(name));
            let (low, high) = bounds(kind.copied().unwrap_or(data_type::UINT8))?;
            if let Some(zero) = zeros.iter().find(|zero| !(low..=high).contains(zero)) {
                return Err(corrupt(format!("a zero point of {zero}")));
            }
            let zeros = zeros.iter().map(|zero| (zero - low - 128) as i8).collect();
            self.channels.insert(node.output.first().cloned().unwrap_or_default(), zeros);
            return Ok(());
        }
        let (1, Some(&scale), &[zero]) = (scales.len(), scales.first(), &zeros[..]) else {
            let what = format!("a map of {} scales", scales.len());
            return Err(unsupported(what, REMEDY));
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(corrupt(format!("a scale of {scale}")));
        }
        let kind = match op_type(node) {
            "QuantizeLinear" => quantized_kind(node, &self.kinds),
            // The zero point has the type of the tensor that is dequantized.
            _ => {
                let mut names = [2, 0].into_iter().filter_map(|index| node.input.get(index));
                let kind = names.find_map(|name| self.kinds.get(name));
                kind.copied().unwrap_or(data_type::UINT8)
            }
        };
        let wide = matches!(kind, data_type::INT16 | data_type::UINT16);
        let (low, high) = if wide { wide_bounds(kind) } else { bounds(kind)? };
        if !(low..=high).contains(&zero) {
            return Err(corrupt(format!("a zero point of {zero}")));
        }
        let quantization = if wide {
            // Maps of int16 have a zero point of 0, so their range is that of the larger side.
            let largest = (zero - low).max(high - zero) as f64 * f64::from(scale);
            self.wide.insert(id, zero == low);
            ((largest / f64::from(i16::MAX)) as f32, 0)
        } else {
            // Converts from uint8 to int8.
            (scale, (zero - low - 128) as i32)
        };
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

    /// Records the output of a DequantizeLinear of a map.
    pub(in crate::onnx) fn dequantizes(&mut self, node: &NodeProto) {
        if op_type(node) == "DequantizeLinear" {
            self.dequantized.extend(node.output.first().cloned());
        }
    }

    /// Whether a node quantizes what was quantized to 8 bits, and dequantized, before: the `whole`
    /// map, or a part of it.
    pub(in crate::onnx) fn is_quantized_again(
        &self,
        node: &NodeProto,
        id: NodeId,
        whole: bool,
    ) -> bool {
        let dequantized = node.input.first().is_some_and(|name| self.dequantized.contains(name));
        op_type(node) == "QuantizeLinear"
            && !self.wide.contains_key(&id)
            && if whole { dequantized } else { self.maps.contains_key(&id) }
    }

    /// Refuses a node other than a convolution that reads a map whose channels have zero points of
    /// their own.
    pub(in crate::onnx) fn check_reader(&self, node: &NodeProto) -> Result<(), Problem> {
        let reads = node.input.iter().any(|name| self.channels.contains_key(name));
        if reads && op_type(node) != "Conv" {
            let what = "reads a map whose channels have zero points of their own";
            return Err(unsupported(what, REMEDY));
        }
        Ok(())
    }

    /// Records the scales of a convolution's weights, its bias and its input's zero points.
    ///
    /// The names of the three inputs are the file's, and `axis` is that of the output channels.
    pub(in crate::onnx) fn conv(
        &mut self,
        id: NodeId,
        names: [Option<&String>; 3],
        axis: usize,
        out: usize,
    ) {
        let zeros = names[0].and_then(|name| self.channels.get(name)).cloned();
        let [_, weights, bias] = names.map(|name| self.constants.get(name?).cloned());
        let Some(weights) = weights else { return };
        let scales = match weights.scales[..] {
            [scale] => vec![scale; out],
            _ if weights.axis == axis && weights.scales.len() == out => weights.scales,
            // The error is reported when the network is put together.
            _ => vec![],
        };
        self.convs.insert(id, ConvIntegers { scales, bias, zeros });
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

/// Smallest and largest integer of int16 or uint16.
fn wide_bounds(kind: i32) -> (i64, i64) {
    if kind == data_type::INT16 { (-32_768, 32_767) } else { (0, 65_535) }
}

/// Smallest and largest integer of an element type.
fn bounds(kind: i32) -> Result<(i64, i64), Problem> {
    match kind {
        data_type::UINT8 => Ok((0, 255)),
        data_type::INT8 => Ok((-128, 127)),
        data_type::INT16 | data_type::UINT16 => Err(unsupported(
            "weights quantized to 16 bits",
            "give the float network, which brooklet quantizes itself; or quantize weights to int8",
        )),
        _ => Err(unsupported(format!("quantized to element type {kind}, not to 8 bits"), REMEDY)),
    }
}
