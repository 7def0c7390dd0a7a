//! TFLite networks: int8 with every scale, zero point, weight and bias kept as it is, or float.
//!
//! The graph is walked once, into [`Layer`]s that say what is computed and which of the file's
//! tensors hold the numbers; these become a [`QuantizedNetwork`] or a [`Network`], as the file's
//! tensors are int8 or float.

mod schema;

use std::collections::HashMap;

use ndarray::Array4;

use self::schema::{Table, corrupt, element, operator_name};
use super::Imported;
use super::view::View;
use crate::error::{AtLayer, Fault, Problem, unsupported};
use crate::network::{
    Conv, Network, NodeId, Op, Pads, Shape, Subsample, Window, most_elements, same_pads,
    too_many_elements, window_output,
};
use crate::quantized::{Activation, QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp};

/// Reads the network in `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Imported, Fault> {
    let graph = Graph::read(bytes)?;
    let mut walk = Walk { graph: &graph, layers: vec![], values: HashMap::new(), sigmoid: false };
    let (&[input], &[output]) = (&graph.inputs[..], &graph.outputs[..]) else {
        return Err(unsupported(
            format!("has {} inputs and {} outputs", graph.inputs.len(), graph.outputs.len()),
            "convert it with the image as its only input and the scores as its only output",
        )
        .into());
    };
    walk.input(input)?;
    for operator in &graph.operators {
        let name = graph.source(operator);
        walk.operator(operator, &name).at(&name)?;
    }
    let weights = walk.layers.iter().map(|layer| match layer.op {
        LayerOp::Conv { weights, .. } => {
            graph.tensor(weights).map_or(0, |tensor| tensor.data.len())
        }
        _ => 0,
    });
    if weights.fold(0, usize::saturating_add) > most_elements(bytes.len()) {
        return Err(too_many_elements().into());
    }
    let end = walk.view(output)?;
    let output = walk.settle(end, &graph.tensors[index(output)?].name, output)?;
    let first = graph.tensor(walk.layers[0].tensor)?;
    match first.kind {
        element::INT8 => {
            let network = quantized_network(&graph, walk.layers, walk.sigmoid, output);
            network.map(Imported::Quantized)
        }
        element::FLOAT32 => {
            float_network(&graph, walk.layers, walk.sigmoid, output).map(Imported::Float)
        }
        other => Err(unsupported(
            format!("its maps are of element type {other}"),
            "convert the network to int8 (or to float) with TensorFlow 2's converter",
        ))
        .at(&first.name),
    }
}

/// The parts of the file that matter.
struct Graph<'a> {
    tensors: Vec<Tensor<'a>>,
    operators: Vec<Operator<'a>>,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
}

/// A tensor of the file; one without data is computed.
struct Tensor<'a> {
    name: String,
    shape: Vec<i32>,
    /// An [`element`] type.
    kind: i8,
    data: &'a [u8],
    scales: Vec<f32>,
    zero_points: Vec<i64>,
    /// The dimension along which there are several scales.
    quantized_dimension: i32,
}

struct Operator<'a> {
    code: i32,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
    options: Option<Table<'a>>,
}

fn index(tensor: i32) -> Result<usize, Problem> {
    usize::try_from(tensor).map_err(|_| corrupt("an operator's input is missing"))
}

impl<'a> Graph<'a> {
    fn read(bytes: &'a [u8]) -> Result<Graph<'a>, Problem> {
        if bytes.get(4..8) != Some(b"TFL3") {
            return Err(corrupt("it does not begin with the identifier TFL3"));
        }
        let model = Table::root(bytes)?;
        let (codes, graphs, buffers) = (model.tables(1)?, model.tables(2)?, model.tables(4)?);
        let [graph] = graphs[..] else {
            return Err(unsupported(
                format!("it has {} graphs", graphs.len()),
                "convert a network without control flow",
            ));
        };
        let tensor = |table: Table<'a>| {
            let buffer = buffers.get(table.number(2, 0u32)? as usize);
            let data = buffer.map_or(Ok(&[][..]), |buffer| buffer.bytes(0))?;
            let quantization = table.table(4)?;
            let (scales, zero_points, dimension) = match quantization {
                Some(q) => (q.vector(2)?, q.vector(3)?, q.number(6, 0)?),
                None => (vec![], vec![], 0),
            };
            Ok(Tensor {
                name: table.text(3)?.into(),
                shape: table.vector(0)?,
                kind: table.number(1, 0)?,
                data,
                scales,
                zero_points,
                quantized_dimension: dimension,
            })
        };
        let operator = |table: Table<'a>| {
            let code = codes.get(table.number(0, 0u32)? as usize);
            let code = code.ok_or_else(|| corrupt("an operator without a code"))?;
            // Files from before the codes outgrew a byte have the first field only.
            let code = code.number(3, 0i32)?.max(code.number(0, 0i8)?.into());
            Ok(Operator {
                code,
                inputs: table.vector(1)?,
                outputs: table.vector(2)?,
                options: table.table(4)?,
            })
        };
        Ok(Graph {
            tensors: graph.tables(0)?.into_iter().map(tensor).collect::<Result<_, Problem>>()?,
            operators: graph
                .tables(3)?
                .into_iter()
                .map(operator)
                .collect::<Result<_, Problem>>()?,
            inputs: graph.vector(1)?,
            outputs: graph.vector(2)?,
        })
    }

    fn tensor(&self, at: i32) -> Result<&Tensor<'a>, Problem> {
        self.tensors.get(index(at)?).ok_or_else(|| corrupt(format!("there is no tensor {at}")))
    }

    /// The name of an operator's output, shortened: converters join the names of all that they
    /// fused.
    fn source(&self, operator: &Operator<'_>) -> String {
        let output = operator.outputs.first().and_then(|&at| self.tensor(at).ok());
        let name = output.map_or("", |tensor| tensor.name.as_str());
        name.split(';').next().unwrap_or(name).to_owned()
    }
}

impl Tensor<'_> {
    /// Shape as height, width, channels; a batch of one, and dimensions that are not there, left
    /// out.
    fn map_shape(&self) -> Result<Shape, Problem> {
        let extent = |size: i32| usize::try_from(size).ok().filter(|&size| size > 0);
        let sizes: Option<Vec<usize>> = self.shape.iter().map(|&size| extent(size)).collect();
        let shape = match sizes.as_deref() {
            Some(&[1, height, width, channels]) => [height, width, channels],
            Some(&[1, channels]) | Some(&[channels]) => [1, 1, channels],
            Some(_) => {
                return Err(unsupported(
                    format!("a map of shape {:?}", self.shape),
                    "convert the network with a batch of one",
                ));
            }
            None => {
                return Err(Problem::DynamicShape { shape: format!("{:?}", self.shape) });
            }
        };
        crate::network::check_extents(&shape, "map")?;
        Ok(shape)
    }

    fn require(&self, kind: i8, what: &str) -> Result<(), Problem> {
        if self.kind == kind {
            return Ok(());
        }
        let remedy = "convert the network to full int8 with TensorFlow 2's converter";
        Err(unsupported(format!("{what} of element type {}", self.kind), remedy))
    }

    fn words<const N: usize, T>(&self, value: impl Fn([u8; N]) -> T) -> Vec<T> {
        self.data.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
    }

    /// A list of integers, such as paddings.
    fn ints(&self) -> Result<Vec<i64>, Problem> {
        match self.kind {
            element::INT32 => Ok(self.words(|b| i32::from_le_bytes(b).into())),
            element::INT64 => Ok(self.words(i64::from_le_bytes)),
            other => Err(corrupt(format!("a list of integers has element type {other}"))),
        }
    }

    /// The one scale and zero point of an int8 map.
    fn quantization(&self) -> Result<(f32, i32), Problem> {
        self.require(element::INT8, "a map")?;
        let (&[scale], &[zero_point]) = (&self.scales[..], &self.zero_points[..]) else {
            return Err(corrupt(format!("{} scales for a map", self.scales.len())));
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(corrupt(format!("a scale of {scale}")));
        }
        let zero_point = i8::try_from(zero_point)
            .map_err(|_| corrupt(format!("a zero point of {zero_point}")))?;
        Ok((scale, zero_point.into()))
    }

    /// Weights as OHWI; a fully connected layer's two dimensions become the map's four.
    fn weights<T>(&self, values: Vec<T>, input: Shape) -> Result<Array4<T>, Problem> {
        let dims: Vec<usize> =
            self.shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
        let shape = match dims[..] {
            [out, height, width, depth] => (out, height, width, depth),
            [out, inputs] if inputs == input.iter().product::<usize>() => {
                (out, input[0], input[1], input[2])
            }
            _ => {
                return Err(corrupt(format!("weights of shape {dims:?} for a map of {input:?}")));
            }
        };
        let count = values.len();
        Array4::from_shape_vec(shape, values)
            .map_err(|_| corrupt(format!("{count} weights for shape {shape:?}")))
    }
}

/// What one of the network's layers computes; numbers are in the file's tensors.
enum LayerOp {
    Input,
    Conv { weights: i32, bias: Option<i32>, stride: [usize; 2], pads: Pads, fully_connected: bool },
    Add,
    Subsample(Subsample),
    MaxPool(Window),
    AveragePool,
    Mean,
    Softmax,
}

struct Layer {
    source: String,
    op: LayerOp,
    inputs: Vec<NodeId>,
    shape: Shape,
    /// The file's tensor that holds the output's scale.
    tensor: i32,
    activation: Activation,
}

/// The state of the walk over the operators.
struct Walk<'g, 'a> {
    graph: &'g Graph<'a>,
    layers: Vec<Layer>,
    /// Maps by tensor. A view's padding holds the zero point, so it is the same padding as a
    /// convolution's own.
    values: HashMap<i32, View>,
    /// Whether the network ends in a sigmoid, whose output stands for its argument.
    sigmoid: bool,
}

impl<'a> Walk<'_, 'a> {
    fn input(&mut self, at: i32) -> Result<(), Fault> {
        let tensor = self.graph.tensor(at)?;
        let shape = tensor.map_shape().at(&tensor.name)?;
        let (source, op) = (tensor.name.clone(), LayerOp::Input);
        let layer =
            Layer { source, op, inputs: vec![], shape, tensor: at, activation: Activation::None };
        self.layers.push(layer);
        self.values.insert(at, View::new(0, shape));
        Ok(())
    }

    fn view(&self, at: i32) -> Result<View, Problem> {
        let view = self.values.get(&at).copied();
        view.ok_or_else(|| match self.graph.tensor(at) {
            Ok(tensor) if !tensor.data.is_empty() => unsupported(
                format!("`{}` is a constant, not a map", tensor.name),
                "convert the network with constants folded",
            ),
            _ => corrupt("an operator reads what no earlier one computes"),
        })
    }

    fn push(&mut self, layer: Layer) -> NodeId {
        self.layers.push(layer);
        self.layers.len() - 1
    }

    /// The layer that computes a view; `tensor` holds its scale.
    fn settle(&mut self, view: View, source: &str, tensor: i32) -> Result<NodeId, Problem> {
        let Some(subsample) = view.subsample()? else {
            return Ok(view.node);
        };
        let shape = view.shape();
        crate::network::check_extents(&shape, "map")?;
        Ok(self.push(Layer {
            source: source.into(),
            op: LayerOp::Subsample(subsample),
            inputs: vec![view.node],
            shape,
            tensor,
            activation: Activation::None,
        }))
    }

    fn operator(&mut self, operator: &Operator<'a>, source: &str) -> Result<(), Problem> {
        let input = |at: usize| {
            let input = operator.inputs.get(at).copied().filter(|&input| input >= 0);
            input.ok_or_else(|| corrupt(format!("input {at} is missing")))
        };
        let &[output] = &operator.outputs[..] else {
            return Err(corrupt(format!("{} outputs", operator.outputs.len())));
        };
        let graph = self.graph;
        let out = graph.tensor(output)?;
        let name = operator_name(operator.code);
        let layer = |op: LayerOp, inputs: Vec<NodeId>, shape, activation| Layer {
            source: source.into(),
            op,
            inputs,
            shape,
            tensor: output,
            activation,
        };
        let view = match name.as_str() {
            "CONV_2D" => {
                let mut view = self.view(input(0)?)?;
                let weights = input(1)?;
                let &[filters, height, width, depth] = &graph.tensor(weights)?.shape[..] else {
                    return Err(corrupt("the weights of a convolution have four dimensions"));
                };
                let [filters, kernel_height, kernel_width, depth] =
                    [filters, height, width, depth].map(|n| usize::try_from(n).unwrap_or(0));
                if depth != view.shape()[2] {
                    return Err(unsupported(
                        format!("weights for {depth} of {} channels", view.shape()[2]),
                        "brooklet runs ResNets with plain convolutions (no groups)",
                    ));
                }
                let options = Options(operator.options);
                if options.int(4, 1)? != 1 || options.int(5, 1)? != 1 {
                    return Err(unsupported(
                        "the window is dilated",
                        "brooklet runs networks without dilation",
                    ));
                }
                let kernel = [kernel_height, kernel_width];
                let (stride, own) = options.window(view.shape(), kernel)?;
                let added = view.take_pads();
                let pads = std::array::from_fn(|side| own[side] + added[side]);
                let node = self.settle(view, source, input(0)?)?;
                let shape = window_output(self.layers[node].shape, filters, kernel, stride, pads)?;
                let bias = operator.inputs.get(2).copied().filter(|&bias| bias >= 0);
                let op = LayerOp::Conv { weights, bias, stride, pads, fully_connected: false };
                self.push(layer(op, vec![node], shape, options.activation(3)?))
            }
            "FULLY_CONNECTED" => {
                let weights = input(1)?;
                let node = self.settle(self.view(input(0)?)?, source, input(0)?)?;
                let filters = graph.tensor(weights)?.shape.first().copied().unwrap_or(0);
                let shape = [1, 1, usize::try_from(filters).unwrap_or(0)];
                crate::network::check_extents(&shape, "output")?;
                let bias = operator.inputs.get(2).copied().filter(|&bias| bias >= 0);
                let (stride, pads) = ([1, 1], [0; 4]);
                let op = LayerOp::Conv { weights, bias, stride, pads, fully_connected: true };
                let activation = Options(operator.options).activation(0)?;
                self.push(layer(op, vec![node], shape, activation))
            }
            "ADD" => {
                let mut nodes = Vec::with_capacity(2);
                for at in [input(0)?, input(1)?] {
                    nodes.push(self.settle(self.view(at)?, source, at)?);
                }
                let shape = self.layers[nodes[0]].shape;
                if shape != self.layers[nodes[1]].shape {
                    return Err(unsupported(
                        "adds maps of different shapes",
                        "only additions of two maps of one shape are supported",
                    ));
                }
                let activation = Options(operator.options).activation(0)?;
                self.push(layer(LayerOp::Add, nodes, shape, activation))
            }
            "RELU" | "RELU6" => {
                // As a layer of its own it is fused into the layer before, where nothing else
                // reads that.
                let at = input(0)?;
                let view = self.view(at)?;
                let reads = |op: &&Operator<'_>| op.inputs.contains(&at);
                let once = graph.operators.iter().filter(reads).count() == 1;
                let before = &mut self.layers[view.node];
                if !once || view != View::new(view.node, before.shape) || before.tensor != at {
                    return Err(unsupported(
                        "an activation that follows no layer of its own",
                        "convert the network with TensorFlow 2's converter, which fuses them",
                    ));
                }
                let activation = if name == "RELU" { Activation::Relu } else { Activation::Relu6 };
                match (before.activation, &before.op) {
                    (Activation::None, LayerOp::Conv { .. } | LayerOp::Add) => {}
                    _ => {
                        return Err(unsupported(
                            "an activation after an activation or a pooling",
                            "only convolutions, linear layers and additions are rectified",
                        ));
                    }
                }
                (before.activation, before.tensor) = (activation, output);
                view.node
            }
            "AVERAGE_POOL_2D" | "MAX_POOL_2D" => {
                let mut view = self.view(input(0)?)?;
                let options = Options(operator.options);
                let kernel = [options.extent(4, 0)?, options.extent(3, 0)?];
                let (stride, mut pads) = options.window(view.shape(), kernel)?;
                if options.activation(5)? != Activation::None {
                    return Err(unsupported(
                        "a pooling with an activation",
                        "only convolutions, linear layers and additions are rectified",
                    ));
                }
                let [height, width, channels] = view.shape();
                let average = name == "AVERAGE_POOL_2D";
                if average && (kernel != [height, width] || pads != [0; 4]) {
                    return Err(unsupported(
                        format!("averages over {kernel:?} of a map of {:?}", [height, width]),
                        "only an average over the whole map is supported",
                    ));
                }
                if !average && self.layers[view.node].activation != Activation::None {
                    // Zeros around a rectified map lose against it, as padding does.
                    let added = view.take_pads();
                    pads = std::array::from_fn(|side| pads[side] + added[side]);
                }
                if (0..2).any(|side| pads[side] >= kernel[side] || pads[side + 2] >= kernel[side]) {
                    return Err(unsupported(
                        "a pooling window lies wholly in the padding",
                        "pad less than the window's size",
                    ));
                }
                let node = self.settle(view, source, input(0)?)?;
                let (op, shape) = if average {
                    (LayerOp::AveragePool, [1, 1, channels])
                } else {
                    let shape =
                        window_output(self.layers[node].shape, channels, kernel, stride, pads)?;
                    (LayerOp::MaxPool(Window { kernel, stride, pads }), shape)
                };
                self.push(layer(op, vec![node], shape, Activation::None))
            }
            "MEAN" => {
                let node = self.settle(self.view(input(0)?)?, source, input(0)?)?;
                let mut axes = graph.tensor(input(1)?)?.ints()?;
                axes.iter_mut().for_each(|axis| *axis = axis.rem_euclid(4));
                axes.sort_unstable();
                if axes != [1, 2] {
                    return Err(unsupported(
                        format!("averages over the dimensions {axes:?}"),
                        "only an average over height and width is supported",
                    ));
                }
                let shape = [1, 1, self.layers[node].shape[2]];
                self.push(layer(LayerOp::Mean, vec![node], shape, Activation::None))
            }
            "SOFTMAX" => {
                let node = self.settle(self.view(input(0)?)?, source, input(0)?)?;
                let shape = self.layers[node].shape;
                let beta = Options(operator.options).number(0, 0.0f32)?;
                if beta != 1.0 || shape[..2] != [1, 1] {
                    return Err(unsupported(
                        format!("a softmax of {shape:?} with beta {beta}"),
                        "only a softmax over the classes, with beta 1, is supported",
                    ));
                }
                self.push(layer(LayerOp::Softmax, vec![node], shape, Activation::None))
            }
            "LOGISTIC" => {
                let view = self.view(input(0)?)?;
                // Only changes of the type may follow.
                let follows = |op: &Operator<'_>| {
                    let name = operator_name(op.code);
                    op.inputs.contains(&output) && name != "QUANTIZE" && name != "DEQUANTIZE"
                };
                if graph.operators.iter().any(follows) {
                    return Err(unsupported(
                        "a sigmoid inside of the network",
                        "a sigmoid may only be the network's last layer, behind its scores",
                    ));
                }
                self.sigmoid = true;
                self.values.insert(output, view);
                return Ok(());
            }
            "RESHAPE" | "SQUEEZE" => {
                // Only ever flattens: a linear layer reads the map in its own order, NHWC.
                let view = self.view(input(0)?)?;
                let (from, to) = (view.shape(), out.map_shape()?);
                if from.iter().product::<usize>() != to.iter().product::<usize>()
                    || to[..2] != [1, 1]
                {
                    return Err(unsupported(
                        format!("reshapes {from:?} to {to:?}"),
                        "only flattening before the last layer is supported",
                    ));
                }
                self.values.insert(output, view);
                return Ok(());
            }
            "PAD" => {
                let view = self.pad(self.view(input(0)?)?, &graph.tensor(input(1)?)?.ints()?)?;
                self.same_quantization(input(0)?, output)?;
                self.values.insert(output, view);
                return Ok(());
            }
            "STRIDED_SLICE" => {
                let lists = [input(1)?, input(2)?, input(3)?];
                let [begin, end, strides] = lists.map(|at| graph.tensor(at)?.ints());
                let options = Options(operator.options);
                let view = self.view(input(0)?)?;
                let view = strided_slice(view, &begin?, &end?, &strides?, options)?;
                self.same_quantization(input(0)?, output)?;
                self.values.insert(output, view);
                return Ok(());
            }
            "QUANTIZE" => {
                let view = self.view(input(0)?)?;
                self.quantize(input(0)?, output, view)?;
                self.values.insert(output, view);
                return Ok(());
            }
            "DEQUANTIZE" => {
                let view = self.view(input(0)?)?;
                self.last(output, "DEQUANTIZE")?;
                self.values.insert(output, view);
                return Ok(());
            }
            "DEPTHWISE_CONV_2D" => {
                return Err(Problem::UnsupportedOperator {
                    op: name,
                    remedy: "brooklet runs ResNets with plain convolutions (not MobileNet)".into(),
                });
            }
            _ => {
                return Err(Problem::UnsupportedOperator {
                    op: name,
                    remedy: "brooklet runs ResNets: convolutions, additions, poolings, a linear \
                             layer and a softmax; convert the network without other layers"
                        .into(),
                });
            }
        };
        self.values.insert(output, View::new(view, self.layers[view].shape));
        // The file's own idea of the shape must be the same; a batch left open is none.
        if out.map_shape().is_ok_and(|shape| shape != self.layers[view].shape) {
            return Err(corrupt(format!(
                "its output has shape {:?} in the file, but {:?} by its parameters",
                out.shape, self.layers[view].shape
            )));
        }
        Ok(())
    }

    fn pad(&self, view: View, amounts: &[i64]) -> Result<View, Problem> {
        let amounts: Option<Vec<usize>> =
            amounts.iter().map(|&n| usize::try_from(n).ok()).collect();
        match amounts.as_deref() {
            Some(&[0, 0, top, bottom, left, right, before, after]) => {
                view.padded([top, left, bottom, right], [before, after])
            }
            _ => Err(unsupported(
                format!("pads by {amounts:?}"),
                "only height, width and channels of a map can be padded",
            )),
        }
    }

    /// Copies keep their scale; a file in which they do not is not TFLite's.
    fn same_quantization(&self, input: i32, output: i32) -> Result<(), Problem> {
        let (from, to) = (self.graph.tensor(input)?, self.graph.tensor(output)?);
        if (&from.scales, &from.zero_points) == (&to.scales, &to.zero_points) {
            return Ok(());
        }
        Err(corrupt("a copy of a map has another scale"))
    }

    /// QUANTIZE at the input (from float, or from uint8 at the same scale) and at the output.
    fn quantize(&mut self, input: i32, output: i32, view: View) -> Result<(), Problem> {
        let (from, to) = (self.graph.tensor(input)?, self.graph.tensor(output)?);
        // uint8 and int8 of one scale are the same values, 128 apart.
        let shifted = |unsigned: &Tensor<'_>, signed: &Tensor<'_>| {
            unsigned.kind == element::UINT8
                && signed.kind == element::INT8
                && unsigned.scales == signed.scales
                && unsigned
                    .zero_points
                    .iter()
                    .map(|zero| zero - 128)
                    .eq(signed.zero_points.iter().copied())
        };
        let at_input = matches!(self.layers[view.node].op, LayerOp::Input);
        if at_input
            && to.kind == element::INT8
            && (from.kind == element::FLOAT32 || shifted(from, to))
        {
            self.layers[view.node].tensor = output;
            return Ok(());
        }
        if shifted(to, from) {
            return self.last(output, "QUANTIZE");
        }
        Err(unsupported(
            "a change of scale inside the network",
            "convert the whole network to int8 at once",
        ))
    }

    /// An operator that only changes the output's type must be the last one.
    fn last(&self, output: i32, op: &str) -> Result<(), Problem> {
        if self.graph.outputs == [output] {
            return Ok(());
        }
        Err(unsupported(
            format!("{op} inside the network: parts of it are float"),
            "convert the whole network to int8",
        ))
    }
}

/// Option A's x[:, ::2, ::2, :].
fn strided_slice(
    view: View,
    begin: &[i64],
    end: &[i64],
    strides: &[i64],
    options: Options<'_>,
) -> Result<View, Problem> {
    let masks = (options.int(0, 0)?, options.int(1, 0)?);
    let others = [options.int(2, 0)?, options.int(3, 0)?, options.int(4, 0)?];
    let [height, width, channels] = view.shape();
    let whole = |dim: usize, size: usize| {
        (masks.0 & (1 << dim) != 0 || begin[dim] == 0)
            && (masks.1 & (1 << dim) != 0 || end[dim] >= size as i64)
    };
    let sizes = [1, height, width, channels];
    let lists = [begin.len(), end.len(), strides.len()] == [4; 3] && others == [0; 3];
    match *strides {
        [1, down, across, 1] if lists && (0..4).all(|dim| whole(dim, sizes[dim])) => {
            let stride = [down, across].map(|step| usize::try_from(step).unwrap_or(0));
            view.subsampled(stride)
        }
        _ => Err(unsupported(
            "slices a map to a part",
            "only every n-th row or column, from the first, can be taken",
        )),
    }
}

/// An operator's options; absent ones have their defaults.
#[derive(Clone, Copy)]
struct Options<'a>(Option<Table<'a>>);

impl<'a> Options<'a> {
    fn number<T: planus::TableRead<'a>>(self, field: usize, default: T) -> Result<T, Problem> {
        match self.0 {
            Some(table) => table.number(field, default),
            None => Ok(default),
        }
    }

    fn int(self, field: usize, default: i32) -> Result<i32, Problem> {
        self.number(field, default)
    }

    fn extent(self, field: usize, default: i32) -> Result<usize, Problem> {
        let value = self.int(field, default)?;
        let extent =
            usize::try_from(value).ok().filter(|&n| n > 0 && n <= crate::network::MAX_EXTENT);
        extent.ok_or_else(|| corrupt(format!("an extent of {value}")))
    }

    /// Stride and pads of a convolution or a pooling, whose options begin alike.
    fn window(self, input: Shape, kernel: [usize; 2]) -> Result<([usize; 2], Pads), Problem> {
        crate::network::check_extents(&kernel, "kernel")?;
        let stride = [self.extent(2, 0)?, self.extent(1, 0)?];
        match self.number(0, 0i8)? {
            0 => Ok((stride, same_pads(input, kernel, stride, true))),
            1 => Ok((stride, [0; 4])),
            other => Err(corrupt(format!("a padding of kind {other}"))),
        }
    }

    fn activation(self, field: usize) -> Result<Activation, Problem> {
        match self.number(field, 0i8)? {
            0 => Ok(Activation::None),
            1 => Ok(Activation::Relu),
            3 => Ok(Activation::Relu6),
            other => Err(unsupported(
                format!("a fused activation of kind {other}"),
                "only ReLU and ReLU6 are supported",
            )),
        }
    }
}

fn quantized_network(
    graph: &Graph<'_>,
    layers: Vec<Layer>,
    sigmoid: bool,
    output: NodeId,
) -> Result<QuantizedNetwork, Fault> {
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
    layer: &Layer,
) -> Result<QuantizedNode, Problem> {
    let (scale, zero_point) = graph.tensor(layer.tensor)?.quantization()?;
    let input = layer.inputs.first().map(|&input| &nodes[input]);
    let keeps_scale =
        input.is_some_and(|input| (input.scale, input.zero_point) == (scale, zero_point));
    let op = match layer.op {
        LayerOp::Input => QuantizedOp::Input,
        LayerOp::Conv { weights, bias, stride, pads, fully_connected } => {
            let tensor = graph.tensor(weights)?;
            tensor.require(element::INT8, "weights")?;
            let shape = input.map_or([0; 3], |input| input.shape);
            let weights = tensor.weights(tensor.words(i8::from_le_bytes), shape)?;
            let out = weights.dim().0;
            let scales = match tensor.scales[..] {
                [scale] => vec![scale; out],
                ref scales if scales.len() == out && tensor.quantized_dimension == 0 => {
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
            QuantizedOp::Conv(QuantizedConv {
                weights,
                scales,
                bias,
                stride,
                pads,
                fully_connected,
            })
        }
        LayerOp::Add => QuantizedOp::Add,
        LayerOp::Mean => QuantizedOp::TfliteMean,
        LayerOp::Softmax => QuantizedOp::Softmax,
        LayerOp::Subsample(_) | LayerOp::MaxPool(_) | LayerOp::AveragePool if !keeps_scale => {
            return Err(unsupported(
                "a copy or a pooling that changes the scale",
                "convert the network with TensorFlow 2's converter, which keeps it",
            ));
        }
        LayerOp::Subsample(subsample) => QuantizedOp::Subsample(subsample),
        LayerOp::MaxPool(window) => QuantizedOp::MaxPool(window),
        LayerOp::AveragePool => QuantizedOp::GlobalAveragePool,
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

fn float_network(
    graph: &Graph<'_>,
    layers: Vec<Layer>,
    sigmoid: bool,
    output: NodeId,
) -> Result<Network, Fault> {
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
    layer: &Layer,
    places: &[NodeId],
) -> Result<NodeId, Problem> {
    let inputs: Vec<NodeId> = layer.inputs.iter().map(|&input| places[input]).collect();
    let op = match layer.op {
        LayerOp::Conv { weights, bias, stride, pads, fully_connected } => {
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
        LayerOp::Input => Op::Input,
        LayerOp::Add => Op::Add,
        LayerOp::Subsample(subsample) => Op::Subsample(subsample),
        LayerOp::MaxPool(window) => Op::MaxPool(window),
        LayerOp::AveragePool | LayerOp::Mean => Op::GlobalAveragePool,
        LayerOp::Softmax => Op::Softmax,
    };
    let node = network.push(op, &inputs, &layer.source)?;
    match layer.activation {
        Activation::None => Ok(node),
        Activation::Relu => network.push(Op::Relu, &[node], &layer.source),
        Activation::Relu6 => network.push(Op::Relu6, &[node], &layer.source),
    }
}
