//! ONNX networks, as PyTorch's two exporters, tf2onnx and others spell them: float, or quantized
//! in the form called [QDQ](qdq).
//!
//! The graph is walked once. A value is either a constant, computed on the spot by [`constant`]
//! (exporters compute paddings and shapes in the graph), or a [`Map`]: a node's output together
//! with the way the file lays it out, so that Transpose, Flatten, Reshape and the like cost
//! nothing and produce no node.

mod constant;
mod qdq;
mod tensor;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use ndarray::{Axis as NdAxis, Ix2, IxDyn};
use prost::Message;

use self::constant::Constant;
use self::qdq::Qdq;
use super::Imported;
use super::arch::ohwi;
use super::view::View;
use crate::error::{AtLayer, Fault, Problem, unsupported};
use crate::network::{
    BatchNorm, Conv, Network, NodeId, Op, Pads, Shape, Window, most_elements, same_pads,
    too_many_elements,
};
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, data_type,
};

/// Most elements of all tensors that a file holds.
const HELD: usize = 1 << 29;

/// Reads the network in `bytes`; weights kept in other files are looked up in `folder`.
pub(super) fn read(bytes: &[u8], folder: &Path) -> Result<Imported, Fault> {
    let model = ModelProto::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| corrupt("it has no graph"))?;
    let qdq = Qdq::new(&graph)?;
    let (mut values, mut held) = (HashMap::new(), 0usize);
    for tensor in &graph.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        let constant = tensor::read(tensor, folder).at(&name)?;
        held = held.saturating_add(constant.elements());
        if held > HELD {
            let what = format!("its weights have more than {HELD} elements");
            return Err(unsupported(what, "give a smaller network").into());
        }
        values.insert(name, Value::Constant(Rc::new(constant)));
    }
    let (input, map, network) = input(&graph, &values)?;
    values.insert(input, Value::Map(map));
    let [output] = &graph.output[..] else {
        return Err(unsupported(
            format!("the network has {} outputs", graph.output.len()),
            "export it with its class scores as the only output",
        )
        .into());
    };
    let output = output.name.clone().unwrap_or_default();

    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in graph.node.iter().flat_map(|node| &node.input) {
        *uses.entry(name).or_default() += 1;
    }
    let room = most_elements(held);
    let mut importer = Importer { network, values, uses, qdq, squashed: HashSet::new(), room };
    for node in &graph.node {
        let nodes = importer.network.nodes.len();
        let value = importer.node(node).at(&node_name(node))?;
        let Some(name) = node.output.first() else {
            return Err(corrupt("a node has no output")).at(&node_name(node));
        };
        let squashed = op_type(node) == "Sigmoid";
        if node.input.iter().any(|name| importer.squashed.contains(name)) {
            if squashed || importer.network.nodes.len() > nodes {
                return Err(unsupported(
                    "reads a sigmoid",
                    "a sigmoid may only be the network's last layer, behind its scores",
                ))
                .at(&node_name(node));
            }
            importer.squashed.insert(name.clone());
        } else if squashed {
            importer.squashed.insert(name.clone());
        }
        importer.values.insert(name.clone(), value);
    }
    match importer.values.remove(&output) {
        Some(Value::Map(map)) => {
            let id = importer.settle(&map, &output).at(&output)?;
            importer.network.sigmoid = importer.squashed.contains(&output);
            let Importer { network, qdq, .. } = importer;
            match qdq.has_maps() {
                true => qdq.network(&network, id).map(Imported::Quantized),
                false => network.canonical(id).map(Imported::Float),
            }
        }
        Some(Value::Constant(_)) => Err(unsupported(
            "the output does not depend on the input",
            "export the network with its class scores as the output",
        ))
        .at(&output),
        None => Err(corrupt("no node computes the output")).at(&output),
    }
}

fn corrupt(detail: impl Into<String>) -> Problem {
    Problem::Corrupt { format: "ONNX", detail: detail.into() }
}

fn op_type(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or("")
}

/// The node's name, or its output's where exporters leave it out.
fn node_name(node: &NodeProto) -> String {
    let name = node.name.clone().filter(|name| !name.is_empty());
    name.or_else(|| node.output.first().cloned()).unwrap_or_default()
}

/// What a name in the graph stands for.
#[derive(Clone)]
enum Value {
    Constant(Rc<Constant>),
    Map(Map),
}

/// Axis of a map; the batch is always 1 and needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Height = 0,
    Width = 1,
    Channel = 2,
}

use Axis::{Channel, Height, Width};

/// A node's output as a tensor of the file.
#[derive(Clone, Debug)]
struct Map {
    view: View,
    /// For each dimension of the tensor the axes that it runs over, outermost first; none for the
    /// batch and for dimensions of size 1 that were put in.
    dims: Vec<Vec<Axis>>,
}

impl Map {
    /// A node's output as N, C, H, W.
    fn nchw(view: View) -> Map {
        Map { view, dims: vec![vec![], vec![Channel], vec![Height], vec![Width]] }
    }

    fn extent(&self, axis: Axis) -> usize {
        self.view.shape()[axis as usize]
    }

    fn size(&self, dim: usize) -> usize {
        self.dims[dim].iter().map(|&axis| self.extent(axis)).product()
    }

    fn sizes(&self) -> Vec<usize> {
        (0..self.dims.len()).map(|dim| self.size(dim)).collect()
    }

    /// Whether the dimensions run over these axes; axes of size 1 do not matter.
    fn is_laid_out(&self, wanted: &[&[Axis]]) -> bool {
        let wide = |axes: &[Axis]| -> Vec<Axis> {
            axes.iter().copied().filter(|&axis| self.extent(axis) > 1).collect()
        };
        self.dims.len() == wanted.len()
            && self.dims.iter().zip(wanted).all(|(dim, wanted)| wide(dim) == wide(wanted))
    }

    fn require_nchw(&self) -> Result<(), Problem> {
        if self.is_laid_out(&[&[], &[Channel], &[Height], &[Width]]) {
            return Ok(());
        }
        Err(unsupported(
            format!("reads a map laid out as {:?}, not as N, C, H, W", self.dims),
            "export the network in ONNX's own layout",
        ))
    }

    /// The axis that a dimension, counted from the end if negative, runs over.
    fn axis(&self, dim: i64) -> Result<usize, Problem> {
        constant::axis(dim, self.dims.len())
    }

    /// The same values under other dimensions.
    fn reshaped(&self, target: &[usize]) -> Result<Map, Problem> {
        let mut axes = self.dims.iter().flatten().copied().filter(|&axis| self.extent(axis) > 1);
        let mut dims = Vec::with_capacity(target.len());
        for &size in target {
            let (mut dim, mut product) = (vec![], 1);
            while product < size {
                let Some(axis) = axes.next() else { break };
                product *= self.extent(axis);
                dim.push(axis);
            }
            if product != size {
                let sizes = self.sizes();
                return Err(unsupported(
                    format!("reshapes a map of {sizes:?} to {target:?}, which cuts an axis"),
                    "only flattening before the last layer is supported",
                ));
            }
            dims.push(dim);
        }
        if axes.next().is_some() {
            let sizes = self.sizes();
            return Err(corrupt(format!("reshapes {sizes:?} to {target:?}")));
        }
        Ok(Map { view: self.view, dims })
    }
}

/// The graph's one input: its name, its map and a network of it alone.
fn input(
    graph: &GraphProto,
    values: &HashMap<String, Value>,
) -> Result<(String, Map, Network), Fault> {
    let name = |info: &ValueInfoProto| info.name.clone().unwrap_or_default();
    let inputs: Vec<_> =
        graph.input.iter().filter(|&info| !values.contains_key(&name(info))).collect();
    let [info] = inputs[..] else {
        return Err(unsupported(
            format!("the network has {} inputs", inputs.len()),
            "export it with the image as its only input",
        )
        .into());
    };
    let name = name(info);
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dims: Vec<(Option<i64>, String)> = shape
        .map(|shape| {
            let dim = |dim: &DimensionProto| {
                let known = dim.dim_value.filter(|&value| value > 0);
                let symbol = dim.dim_param.clone().filter(|symbol| !symbol.is_empty());
                let text = known.map(|value| value.to_string());
                (known, text.or(symbol).unwrap_or_else(|| "?".into()))
            };
            shape.dim.iter().map(dim).collect()
        })
        .unwrap_or_default();
    let text = dims.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", ");
    let shape = if dims.is_empty() { "not given".into() } else { format!("[{text}]") };
    if dims.is_empty() || dims.iter().skip(1).any(|(value, _)| value.is_none()) {
        return Err(Problem::DynamicShape { shape }).at(&name);
    }
    let [batch, one, two, three] = &dims[..] else {
        return Err(unsupported(
            format!("the input has shape {shape}"),
            "brooklet runs networks that take one image: [N, channels, height, width]",
        ))
        .at(&name);
    };
    if batch.0.is_some_and(|batch| batch != 1) {
        return Err(unsupported(
            format!("the input has a fixed batch: its shape is {shape}"),
            "export the network with a batch of one, or an open one",
        ))
        .at(&name);
    }
    // Networks from Keras take N, H, W, C and begin with a transposition.
    let first = graph.node.iter().find(|node| node.input.first() == Some(&name));
    let channels_last = first
        .is_some_and(|node| op_type(node) == "Transpose" && ints(node, "perm") == [0, 3, 1, 2]);
    let [one, two, three] = [one, two, three].map(|dim| dim.0.unwrap_or(0) as usize);
    let (shape, dims) = if channels_last {
        ([one, two, three], [vec![], vec![Height], vec![Width], vec![Channel]])
    } else {
        ([two, three, one], [vec![], vec![Channel], vec![Height], vec![Width]])
    };
    let network = Network::new(shape, &name).at(&name)?;
    Ok((name, Map { view: View::new(0, shape), dims: dims.to_vec() }, network))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or(default)
}

fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).and_then(|attribute| attribute.f).unwrap_or(default)
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

fn text<'a>(node: &'a NodeProto, name: &str) -> &'a str {
    let bytes = attribute(node, name).and_then(|attribute| attribute.s.as_deref());
    bytes.map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or("?"))
}

/// Two extents from an attribute; absent means `default`.
fn pair(node: &NodeProto, name: &str, default: [usize; 2]) -> Result<[usize; 2], Problem> {
    match ints(node, name) {
        [] => Ok(default),
        &[a, b] => Ok([extent(a)?, extent(b)?]),
        other => Err(unsupported(
            format!("its {name} is {other:?}"),
            "only two-dimensional convolutions and poolings are supported",
        )),
    }
}

fn extent(value: i64) -> Result<usize, Problem> {
    let extent = usize::try_from(value).ok().filter(|&n| n <= crate::network::MAX_EXTENT);
    extent.ok_or_else(|| corrupt(format!("{value} as an extent")))
}

fn no_dilation(node: &NodeProto) -> Result<(), Problem> {
    if ints(node, "dilations").iter().all(|&dilation| dilation == 1) {
        return Ok(());
    }
    Err(unsupported("the window is dilated", "brooklet runs networks without dilation"))
}

struct Importer<'g> {
    network: Network,
    values: HashMap<String, Value>,
    /// How often each name is read.
    uses: HashMap<&'g str, usize>,
    qdq: Qdq,
    /// Names of what a sigmoid gave, which stand for its argument.
    squashed: HashSet<String>,
    /// Elements that constants, and weights of layers, may still have.
    room: usize,
}

impl Importer<'_> {
    /// The value of a node's output.
    fn node(&mut self, node: &NodeProto) -> Result<Value, Problem> {
        let domain = node.domain.as_deref().unwrap_or("");
        if !matches!(domain, "" | "ai.onnx") {
            return Err(Problem::UnsupportedOperator {
                op: format!("{domain}.{}", op_type(node)),
                remedy: "export the network with standard ONNX operators only".into(),
            });
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            // An empty name stands for an optional input that is left out.
            inputs.push(if name.is_empty() {
                None
            } else {
                let value = self.values.get(name);
                Some(value.cloned().ok_or_else(|| corrupt(format!("nothing computes `{name}`")))?)
            });
        }
        let constants: Option<Vec<Option<&Constant>>> = inputs
            .iter()
            .map(|input| match input {
                Some(Value::Map(_)) => None,
                Some(Value::Constant(constant)) => Some(Some(&**constant)),
                None => Some(None),
            })
            .collect();
        if let Some(constants) = constants {
            let constant = match op_type(node) {
                "QuantizeLinear" | "DequantizeLinear" => self.qdq.constant(node, &constants)?,
                _ => constant::evaluate(node, &constants, self.room)?,
            };
            self.take(constant.elements())?;
            return Ok(Value::Constant(Rc::new(constant)));
        }
        if op_type(node) == "Shape"
            && let Some(Some(Value::Map(map))) = inputs.first()
        {
            let sizes = map.sizes().into_iter().map(|size| size as i64).collect();
            return Ok(Value::Constant(Rc::new(Constant::ints(sizes))));
        }
        self.operator(node, &Inputs(inputs)).map(Value::Map)
    }

    /// Takes this number of elements of those that the network may have.
    fn take(&mut self, elements: usize) -> Result<(), Problem> {
        self.room = self.room.checked_sub(elements).ok_or_else(too_many_elements)?;
        Ok(())
    }

    /// The map that an operator makes of at least one map.
    fn operator(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Map, Problem> {
        let name = node_name(node);
        match op_type(node) {
            "Conv" => self.conv(node, inputs, &name),
            "BatchNormalization" => {
                if int(node, "training_mode", 0) != 0 {
                    return Err(unsupported(
                        "the batch norm is in training mode",
                        "call model.eval() before the export",
                    ));
                }
                let map = inputs.map(0)?;
                self.elementwise(
                    map,
                    Op::BatchNorm(BatchNorm {
                        scale: inputs.floats(1)?,
                        shift: inputs.floats(2)?,
                        mean: inputs.floats(3)?,
                        var: inputs.floats(4)?,
                        eps: float(node, "epsilon", 1e-5),
                    }),
                    &name,
                )
            }
            "Relu" => self.elementwise(inputs.map(0)?, Op::Relu, &name),
            "Clip" => {
                // Bounds are attributes up to opset 10, inputs since.
                let low = inputs.scalar(1)?.unwrap_or(float(node, "min", f32::MIN));
                let high = inputs.scalar(2)?.unwrap_or(float(node, "max", f32::MAX));
                let op = match (low, high) {
                    (0.0, 6.0) => Op::Relu6,
                    (0.0, high) if high >= f32::MAX => Op::Relu,
                    _ => {
                        return Err(unsupported(
                            format!("clips to {low}…{high}"),
                            "only ReLU and ReLU6 are supported",
                        ));
                    }
                };
                self.elementwise(inputs.map(0)?, op, &name)
            }
            "Add" => self.add(node, inputs, &name),
            "MaxPool" => self.max_pool(node, inputs.map(0)?, &name),
            "AveragePool" => self.average_pool(node, inputs.map(0)?, &name),
            "GlobalAveragePool" => {
                let map = inputs.map(0)?;
                map.require_nchw()?;
                self.global_average(map, &name)
            }
            "ReduceMean" => self.reduce_mean(node, inputs, &name),
            "Gemm" | "MatMul" => self.matrix(node, inputs, &name),
            "Softmax" => {
                let map = inputs.map(0)?;
                let axis = map.axis(int(node, "axis", -1))?;
                if map.size(axis) != map.extent(Channel) {
                    return Err(unsupported(
                        format!("softmax over dimension {axis}"),
                        "only a softmax over the classes is supported",
                    ));
                }
                self.elementwise(map, Op::Softmax, &name)
            }
            // Of the network's output, which stands for its argument.
            "Identity" | "Dropout" | "Sigmoid" => Ok(inputs.map(0)?.clone()),
            "Cast" if int(node, "to", 0) == i64::from(data_type::FLOAT) => {
                Ok(inputs.map(0)?.clone())
            }
            "Pad" => pad(node, inputs),
            "Slice" => slice(node, inputs),
            "Gather" => gather(node, inputs),
            "Concat" => concat(node, inputs),
            "Flatten" => {
                let map = inputs.map(0)?;
                let at = match int(node, "axis", 1) {
                    axis if axis == map.dims.len() as i64 => map.dims.len(),
                    axis => map.axis(axis)?,
                };
                let dims = vec![map.dims[..at].concat(), map.dims[at..].concat()];
                Ok(Map { view: map.view, dims })
            }
            "Reshape" => {
                let map = inputs.map(0)?;
                let sizes = map.sizes();
                let allow_zero = int(node, "allowzero", 0) != 0;
                let target = constant::reshape_target(&sizes, &inputs.ints(1)?, allow_zero)?;
                map.reshaped(&target)
            }
            "Squeeze" | "Unsqueeze" => {
                let map = inputs.map(0)?;
                let axes = match inputs.optional_ints(1)? {
                    Some(axes) => axes,
                    None => ints(node, "axes").to_vec(),
                };
                let target = constant::squeezed(&map.sizes(), &axes, op_type(node) == "Squeeze")?;
                map.reshaped(&target)
            }
            "Transpose" => {
                let map = inputs.map(0)?;
                let order = constant::permutation(ints(node, "perm"), map.dims.len())?;
                let dims = order.into_iter().map(|dim| map.dims[dim].clone()).collect();
                Ok(Map { view: map.view, dims })
            }
            "Sub" | "Mul" | "Div" => self.affine(node, inputs, &name),
            "QuantizeLinear" | "DequantizeLinear" => {
                let map = inputs.map(0)?;
                if node.input.first().is_some_and(|name| self.squashed.contains(name)) {
                    // How probabilities are quantized says nothing of their argument.
                    return Ok(map.clone());
                }
                let zero = inputs.0.get(2).map(|_| inputs.constant(2)).transpose()?;
                let parameters = [Some(inputs.constant(1)?), zero];
                let whole = map.view == self.view(map.view.node);
                self.qdq.map(node, parameters, map.view.node, whole)?;
                Ok(map.clone())
            }
            op => Err(Problem::UnsupportedOperator {
                op: op.into(),
                remedy: "brooklet runs ResNets: convolutions, batch norms, ReLU, additions, \
                         poolings, a linear layer and a softmax; export the network without \
                         other layers"
                    .into(),
            }),
        }
    }

    /// The node that computes what is seen of a map.
    fn settle(&mut self, map: &Map, name: &str) -> Result<NodeId, Problem> {
        match map.view.subsample()? {
            None => Ok(map.view.node),
            Some(subsample) => self.network.push(Op::Subsample(subsample), &[map.view.node], name),
        }
    }

    fn view(&self, node: NodeId) -> View {
        View::new(node, self.network.nodes[node].shape)
    }

    /// An operator that keeps shape and layout.
    fn elementwise(&mut self, map: &Map, op: Op, name: &str) -> Result<Map, Problem> {
        let input = self.settle(map, name)?;
        let node = self.network.push(op, &[input], name)?;
        Ok(Map { view: self.view(node), dims: map.dims.clone() })
    }

    fn conv(&mut self, node: &NodeProto, inputs: &Inputs, name: &str) -> Result<Map, Problem> {
        let mut map = inputs.map(0)?.clone();
        map.require_nchw()?;
        no_dilation(node)?;
        let weights = inputs.constant(1)?.floats()?;
        self.take(weights.len())?;
        let &[out, depth, height, width] = weights.shape() else {
            return Err(unsupported(
                format!("its weights have shape {:?}", weights.shape()),
                "only two-dimensional convolutions are supported",
            ));
        };
        if int(node, "group", 1) != 1 {
            return Err(unsupported(
                format!("a convolution of {} groups over {depth} channels", int(node, "group", 1)),
                "brooklet runs ResNets with plain convolutions (not ResNeXt or MobileNet)",
            ));
        }
        let bias = match inputs.0.get(2) {
            Some(Some(_)) => inputs.floats(2)?,
            _ => vec![0.0; out],
        };
        let (kernel, stride) = ([height, width], pair(node, "strides", [1, 1])?);
        let own = pads(node, map.view.shape(), kernel, stride)?;
        let added = map.view.take_pads();
        let op = Op::Conv(Conv {
            weights: ohwi(weights.clone()),
            bias,
            stride,
            pads: std::array::from_fn(|side| own[side].saturating_add(added[side])),
            fully_connected: false,
        });
        let input = self.settle(&map, name)?;
        let id = self.network.push(op, &[input], name)?;
        self.qdq.conv(id, [node.input.get(1), node.input.get(2)], 0, out);
        Ok(Map::nchw(self.view(id)))
    }

    fn add(&mut self, node: &NodeProto, inputs: &Inputs, name: &str) -> Result<Map, Problem> {
        let (Some(Some(Value::Map(a))), Some(Some(Value::Map(b)))) =
            (inputs.0.first(), inputs.0.get(1))
        else {
            return self.affine(node, inputs, name);
        };
        let ids = [self.settle(a, name)?, self.settle(b, name)?];
        if a.dims != b.dims {
            return Err(unsupported(
                "adds maps of different layouts",
                "export the network in ONNX's own layout",
            ));
        }
        let id = self.network.push(Op::Add, &ids, name)?;
        Ok(Map { view: self.view(id), dims: a.dims.clone() })
    }

    /// Addition of a constant, or multiplication with one: a bias, or part of a batch norm that
    /// was taken apart.
    fn affine(&mut self, node: &NodeProto, inputs: &Inputs, name: &str) -> Result<Map, Problem> {
        let (map, constant) = match (op_type(node), inputs.0.first(), inputs.0.get(1)) {
            (_, Some(Some(Value::Map(map))), Some(Some(Value::Constant(constant))))
            | ("Add" | "Mul", Some(Some(Value::Constant(constant))), Some(Some(Value::Map(map)))) => {
                (map, constant)
            }
            _ => {
                return Err(unsupported(
                    format!("{} of two maps, or of a constant and a map", op_type(node)),
                    "brooklet runs ResNets: maps are added, and scaled by constants",
                ));
            }
        };
        let constant = constant.floats()?;
        let dim = map.dims.iter().position(|dim| dim.contains(&Channel));
        // Broadcasting aligns the last dimensions.
        let along = dim.and_then(|dim| (dim + constant.ndim()).checked_sub(map.dims.len()));
        let channels = map.extent(Channel);
        let fits = constant.len() == 1
            || (constant.len() == channels
                && along.is_some_and(|dim| constant.shape()[dim] == channels));
        if !fits || map.view.node == 0 {
            return Err(unsupported(
                format!(
                    "{} with a constant that is not a value a channel of a layer",
                    op_type(node)
                ),
                "if it normalizes the image, export the network without it and give --mean and \
                 --std instead",
            ));
        }
        let values = constant.iter().cycle().take(channels);
        let (factors, offsets): (Vec<f32>, Vec<f32>) = match op_type(node) {
            "Add" => values.map(|&value| (1.0, value)).unzip(),
            "Sub" => values.map(|&value| (1.0, -value)).unzip(),
            "Mul" => values.map(|&value| (value, 0.0)).unzip(),
            _ => values.map(|&value| (value.recip(), 0.0)).unzip(),
        };
        let map_input =
            node.input.iter().find(|name| matches!(self.values.get(*name), Some(Value::Map(_))));
        let once = map_input.is_some_and(|name| self.uses.get(name.as_str()) == Some(&1));
        let is_sum = matches!(op_type(node), "Add" | "Sub");
        let open = !self.qdq.is_quantized(map.view.node);
        if is_sum && once && open && map.view == self.view(map.view.node) {
            // Into the layer that was just computed.
            let bias = match &mut self.network.nodes[map.view.node].op {
                Op::Conv(conv) => Some(&mut conv.bias),
                Op::BatchNorm(norm) => Some(&mut norm.shift),
                _ => None,
            };
            if let Some(bias) = bias {
                bias.iter_mut().zip(&offsets).for_each(|(bias, offset)| *bias += offset);
                return Ok(map.clone());
            }
        }
        let norm = BatchNorm {
            scale: factors,
            shift: offsets,
            mean: vec![0.0; channels],
            var: vec![1.0; channels],
            eps: 0.0,
        };
        self.elementwise(map, Op::BatchNorm(norm), name)
    }

    fn max_pool(&mut self, node: &NodeProto, map: &Map, name: &str) -> Result<Map, Problem> {
        let mut map = map.clone();
        map.require_nchw()?;
        no_dilation(node)?;
        let (kernel, stride) =
            (pair(node, "kernel_shape", [0, 0])?, pair(node, "strides", [1, 1])?);
        let mut own = pads(node, map.view.shape(), kernel, stride)?;
        if kernel == [1, 1] && own == [0; 4] {
            return Ok(Map { view: map.view.subsampled(stride)?, ..map });
        }
        if int(node, "ceil_mode", 0) != 0 {
            // Windows that hang over the edge are windows over more padding.
            let shape = map.view.shape();
            for side in 0..2 {
                let padded = shape[side] + own[side] + own[side + 2];
                let rest = padded.saturating_sub(kernel[side]) % stride[side].max(1);
                if rest != 0 {
                    own[side + 2] += stride[side] - rest;
                }
            }
        }
        // Zeros that a Pad put around a rectified map lose against the map as padding does.
        let rectified = matches!(self.network.nodes[map.view.node].op, Op::Relu | Op::Relu6);
        if rectified {
            let added = map.view.take_pads();
            own = std::array::from_fn(|side| own[side].saturating_add(added[side]));
        }
        if (0..2).any(|side| own[side] >= kernel[side] || own[side + 2] >= kernel[side]) {
            return Err(unsupported(
                "a pooling window lies wholly in the padding",
                "pad less than the window's size",
            ));
        }
        let input = self.settle(&map, name)?;
        let op = Op::MaxPool(Window { kernel, stride, pads: own });
        let id = self.network.push(op, &[input], name)?;
        Ok(Map::nchw(self.view(id)))
    }

    fn average_pool(&mut self, node: &NodeProto, map: &Map, name: &str) -> Result<Map, Problem> {
        map.require_nchw()?;
        let (kernel, stride) =
            (pair(node, "kernel_shape", [0, 0])?, pair(node, "strides", [1, 1])?);
        let pads = pads(node, map.view.shape(), kernel, stride)?;
        let [height, width, _] = map.view.shape();
        match (kernel, pads) {
            ([1, 1], [0, 0, 0, 0]) => {
                Ok(Map { view: map.view.subsampled(stride)?, dims: map.dims.clone() })
            }
            (kernel, [0, 0, 0, 0]) if kernel == [height, width] => self.global_average(map, name),
            _ => Err(unsupported(
                format!("averages over {kernel:?} of a map of {:?}", [height, width]),
                "only an average over the whole map is supported",
            )),
        }
    }

    fn reduce_mean(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        name: &str,
    ) -> Result<Map, Problem> {
        let map = inputs.map(0)?;
        // Axes are an attribute up to opset 17, an input since.
        let axes = match inputs.optional_ints(1)? {
            Some(axes) => axes,
            None => ints(node, "axes").to_vec(),
        };
        let dims = axes.iter().map(|&axis| map.axis(axis)).collect::<Result<HashSet<_>, _>>()?;
        let whole = |axis: Axis| {
            map.extent(axis) == 1
                || (0..map.dims.len())
                    .any(|dim| dims.contains(&dim) && map.dims[dim].contains(&axis))
        };
        let channels_kept = dims.iter().all(|&dim| !map.dims[dim].contains(&Channel));
        if !(whole(Height) && whole(Width) && channels_kept) {
            return Err(unsupported(
                format!("averages over the dimensions {axes:?}"),
                "only an average over height and width is supported",
            ));
        }
        let mut mean = self.global_average(map, name)?;
        mean.dims = map.dims.clone();
        if int(node, "keepdims", 1) == 0 {
            let kept = (0..map.dims.len()).filter(|dim| !dims.contains(dim));
            mean.dims = kept.map(|dim| map.dims[dim].clone()).collect();
        }
        Ok(mean)
    }

    fn global_average(&mut self, map: &Map, name: &str) -> Result<Map, Problem> {
        let input = self.settle(map, name)?;
        let id = self.network.push(Op::GlobalAveragePool, &[input], name)?;
        Ok(Map::nchw(self.view(id)))
    }

    /// A fully connected layer, from Gemm or MatMul.
    fn matrix(&mut self, node: &NodeProto, inputs: &Inputs, name: &str) -> Result<Map, Problem> {
        let map = inputs.map(0)?;
        let gemm = op_type(node) == "Gemm";
        let scaled = float(node, "alpha", 1.0) != 1.0 || float(node, "beta", 1.0) != 1.0;
        if gemm && (scaled || int(node, "transA", 0) != 0) {
            return Err(unsupported(
                "a scaled or transposed matrix product",
                "export the last layer as a plain linear layer",
            ));
        }
        let weights = inputs.constant(1)?.floats()?;
        self.take(weights.len())?;
        let weights = weights.view().into_dimensionality::<Ix2>().map_err(|_| {
            unsupported(
                format!("its weights have shape {:?}", weights.shape()),
                "export the last layer as a plain linear layer",
            )
        })?;
        // [outputs, inputs]
        let transposed = gemm && int(node, "transB", 0) != 0;
        let weights = if transposed { weights } else { weights.reversed_axes() };
        let (out, depth) = weights.dim();
        let [height, width, channels] = map.view.shape();
        let flat = map.dims.len() == 2 && map.size(0) == 1 && map.size(1) == depth;
        if !flat || depth != height * width * channels {
            return Err(unsupported(
                format!("multiplies {:?} by a matrix of {depth} rows", map.sizes()),
                "flatten the map before the linear layer",
            ));
        }
        // The matrix's rows run over the map's axes in the order in which it was flattened.
        let mut order = map.dims[1].clone();
        order.extend([Height, Width, Channel].iter().filter(|axis| !map.dims[1].contains(axis)));
        let mut dims = vec![out];
        dims.extend(order.iter().map(|&axis| map.extent(axis)));
        let place = |axis| 1 + order.iter().position(|&other| other == axis).expect("all three");
        let weights = weights.as_standard_layout().into_owned();
        let weights = weights.into_shape_with_order(IxDyn(&dims)).expect("as many elements");
        let weights =
            weights.permuted_axes(IxDyn(&[0, place(Height), place(Width), place(Channel)]));
        let bias = match inputs.0.get(2) {
            Some(Some(_)) => inputs.floats(2)?,
            _ => vec![0.0; out],
        };
        let op = Op::Conv(Conv {
            weights: weights
                .as_standard_layout()
                .into_owned()
                .into_dimensionality()
                .expect("four dimensions"),
            bias: if bias.len() == 1 { vec![bias[0]; out] } else { bias },
            stride: [1, 1],
            pads: [0; 4],
            fully_connected: true,
        });
        let input = self.settle(map, name)?;
        let id = self.network.push(op, &[input], name)?;
        let axis = usize::from(!transposed);
        self.qdq.conv(id, [node.input.get(1), node.input.get(2)], axis, out);
        Ok(Map { view: self.view(id), dims: vec![vec![], vec![Channel]] })
    }
}

/// A node's inputs.
struct Inputs(Vec<Option<Value>>);

impl Inputs {
    fn map(&self, index: usize) -> Result<&Map, Problem> {
        match self.0.get(index) {
            Some(Some(Value::Map(map))) => Ok(map),
            Some(Some(Value::Constant(_))) => Err(unsupported(
                format!("input {index} is a constant, not a map"),
                "export the network with constants folded",
            )),
            _ => Err(corrupt(format!("input {index} is missing"))),
        }
    }

    fn constant(&self, index: usize) -> Result<&Constant, Problem> {
        match self.0.get(index) {
            Some(Some(Value::Constant(constant))) => Ok(constant),
            Some(Some(Value::Map(_))) => Err(unsupported(
                format!("input {index} depends on the image"),
                "export the network with its weights and shapes as constants",
            )),
            _ => Err(corrupt(format!("input {index} is missing"))),
        }
    }

    fn floats(&self, index: usize) -> Result<Vec<f32>, Problem> {
        Ok(self.constant(index)?.floats()?.iter().copied().collect())
    }

    fn ints(&self, index: usize) -> Result<Vec<i64>, Problem> {
        self.constant(index)?.to_ints()
    }

    fn optional_ints(&self, index: usize) -> Result<Option<Vec<i64>>, Problem> {
        match self.0.get(index) {
            Some(Some(_)) => self.ints(index).map(Some),
            _ => Ok(None),
        }
    }

    fn scalar(&self, index: usize) -> Result<Option<f32>, Problem> {
        match self.0.get(index) {
            Some(Some(_)) => Ok(self.floats(index)?.first().copied()),
            _ => Ok(None),
        }
    }
}

/// The pads of a convolution or pooling, from `pads` or `auto_pad`.
fn pads(
    node: &NodeProto,
    input: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Result<Pads, Problem> {
    match text(node, "auto_pad") {
        "" | "NOTSET" => match ints(node, "pads") {
            [] => Ok([0; 4]),
            &[top, left, bottom, right] => {
                Ok([extent(top)?, extent(left)?, extent(bottom)?, extent(right)?])
            }
            other => Err(corrupt(format!("pads {other:?}"))),
        },
        "VALID" => Ok([0; 4]),
        "SAME_UPPER" => Ok(same_pads(input, kernel, stride, true)),
        "SAME_LOWER" => Ok(same_pads(input, kernel, stride, false)),
        other => Err(corrupt(format!("auto_pad {other}"))),
    }
}

fn pad(node: &NodeProto, inputs: &Inputs) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    let mode = text(node, "mode");
    let value = inputs.scalar(2)?.unwrap_or(float(node, "value", 0.0));
    if !matches!(mode, "" | "constant") || value != 0.0 {
        return Err(unsupported(
            format!("pads by mode {mode:?} with {value}"),
            "only padding with zeros is supported",
        ));
    }
    let amounts = match inputs.optional_ints(1)? {
        Some(amounts) => amounts,
        None => ints(node, "pads").to_vec(),
    };
    let dims: Vec<usize> = match inputs.optional_ints(3)? {
        Some(axes) => axes.iter().map(|&axis| map.axis(axis)).collect::<Result<_, _>>()?,
        None => (0..map.dims.len()).collect(),
    };
    if amounts.len() != 2 * dims.len() {
        return Err(corrupt(format!("pads {amounts:?} for {} dimensions", dims.len())));
    }
    let (mut pads, mut channels) = ([0; 4], [0; 2]);
    for (i, &dim) in dims.iter().enumerate() {
        let [before, after] = [extent(amounts[i])?, extent(amounts[i + dims.len()])?];
        match map.dims[dim][..] {
            _ if (before, after) == (0, 0) => {}
            [Height] => (pads[0], pads[2]) = (before, after),
            [Width] => (pads[1], pads[3]) = (before, after),
            [Channel] => channels = [before, after],
            _ => {
                return Err(unsupported(
                    format!("pads dimension {dim}"),
                    "only height, width and channels can be padded",
                ));
            }
        }
    }
    Ok(Map { view: map.view.padded(pads, channels)?, dims: map.dims.clone() })
}

/// The part of a map that keeps every `step`-th of all positions along a dimension.
fn subsampled(map: &Map, dim: usize, step: usize) -> Result<Map, Problem> {
    let stride = match map.dims[dim][..] {
        _ if step == 1 => [1, 1],
        [Height] => [step, 1],
        [Width] => [1, step],
        _ => {
            return Err(unsupported(
                format!("takes a part of dimension {dim}"),
                "only rows and columns can be subsampled",
            ));
        }
    };
    Ok(Map { view: map.view.subsampled(stride)?, dims: map.dims.clone() })
}

fn slice(node: &NodeProto, inputs: &Inputs) -> Result<Map, Problem> {
    let mut map = inputs.map(0)?.clone();
    let sizes = map.sizes();
    for (dim, range) in slices(node, inputs, &sizes)?.into_iter().enumerate() {
        if range.start != 0
            || range.step < 1
            || range.count != sizes[dim].div_ceil(range.step as usize)
        {
            return Err(unsupported(
                format!("slices dimension {dim} to a part"),
                "only every n-th row or column, from the first, can be taken",
            ));
        }
        map = subsampled(&map, dim, extent(range.step)?)?;
    }
    Ok(map)
}

/// A Slice's ranges for all dimensions.
fn slices(
    node: &NodeProto,
    inputs: &Inputs,
    sizes: &[usize],
) -> Result<Vec<constant::Range>, Problem> {
    let (starts, ends, axes, steps) = if inputs.0.len() > 1 {
        (inputs.ints(1)?, inputs.ints(2)?, inputs.optional_ints(3)?, inputs.optional_ints(4)?)
    } else {
        let axes = ints(node, "axes").to_vec();
        (ints(node, "starts").to_vec(), ints(node, "ends").to_vec(), Some(axes), None)
    };
    constant::ranges(sizes, &starts, &ends, axes.as_deref(), steps.as_deref())
}

/// Some exporters write x[:, :, ::2] as a Gather of 0, 2, 4, ….
fn gather(node: &NodeProto, inputs: &Inputs) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    let dim = map.axis(int(node, "axis", 0))?;
    let indices = inputs.constant(1)?;
    let list = indices.to_ints()?;
    let step = if list.len() > 1 { list[1].saturating_sub(list[0]) } else { 1 };
    let regular = (0..).step_by(usize::try_from(step).ok().filter(|&n| n > 0).unwrap_or(1));
    let all = step > 0 && list.len() == map.size(dim).div_ceil(step as usize);
    if indices.rank() != 1 || !all || !list.iter().copied().eq(regular.take(list.len())) {
        return Err(unsupported(
            format!("gathers positions {list:?} of dimension {dim}"),
            "only every n-th row or column, from the first, can be taken",
        ));
    }
    subsampled(map, dim, extent(step)?)
}

/// Zero channels before and after a map.
fn concat(node: &NodeProto, inputs: &Inputs) -> Result<Map, Problem> {
    let refuse = || {
        unsupported(
            "joins maps",
            "only zero channels can be joined to a map (the shortcut called option A)",
        )
    };
    let is_map = |input: &Option<Value>| matches!(input, Some(Value::Map(_)));
    let position = inputs.0.iter().position(is_map).ok_or_else(refuse)?;
    let map = inputs.map(position)?;
    let dim = map.axis(int(node, "axis", 0))?;
    if map.dims[dim] != [Channel] {
        return Err(refuse());
    }
    let mut channels = [0, 0];
    for (index, input) in inputs.0.iter().enumerate().filter(|&(index, _)| index != position) {
        let Some(Value::Constant(zeros)) = input else {
            return Err(refuse());
        };
        let zeros = zeros.floats()?;
        let mut shape = map.sizes();
        shape[dim] = zeros.shape().get(dim).copied().unwrap_or(0);
        if zeros.shape() != shape || zeros.iter().any(|&zero| zero != 0.0) {
            return Err(refuse());
        }
        channels[usize::from(index > position)] += zeros.len_of(NdAxis(dim));
    }
    Ok(Map { view: map.view.padded([0; 4], channels)?, dims: map.dims.clone() })
}
