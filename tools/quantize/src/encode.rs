//! A float network as an ONNX model in memory.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::network::{
    AveragePool, BatchNorm, Border, Conv, Function, Network, NodeId, Op, Pads, Repeats, Subsample,
};
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, data_type,
};

/// Name of a node's output in the ONNX model.
pub(crate) fn value(node: NodeId) -> String {
    format!("n{node}")
}

/// Some nodes of a network, and those outside that they read, as ONNX, opset 17, NCHW with an open
/// batch; all values keep four dimensions.
pub(crate) fn encode(
    network: &Network,
    nodes: &RangeInclusive<NodeId>,
    read: &BTreeSet<NodeId>,
) -> ModelProto {
    let mut graph = GraphProto::default();
    for id in nodes.clone() {
        let node = &network.nodes[id];
        let inputs = node.inputs.iter().map(|&input| value(input)).collect();
        Encoder { graph: &mut graph, id, inputs, attribute: vec![] }.encode(&node.op);
    }
    let fixed = |size: usize| DimensionProto { dim_value: Some(size as i64), ..Default::default() };
    let open = DimensionProto { dim_param: Some("N".into()), ..Default::default() };
    for &id in read {
        let [height, width, channels] = network.nodes[id].shape;
        let dim = vec![open.clone(), fixed(channels), fixed(height), fixed(width)];
        let tensor = TensorTypeProto {
            elem_type: Some(data_type::FLOAT),
            shape: Some(TensorShapeProto { dim }),
        };
        graph.input.push(ValueInfoProto {
            name: Some(value(id)),
            r#type: Some(TypeProto { tensor_type: Some(tensor) }),
        });
    }
    graph.output.push(ValueInfoProto { name: Some(value(*nodes.end())), r#type: None });
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
        ..Default::default()
    }
}

/// A node on its way into a graph.
struct Encoder<'g> {
    graph: &'g mut GraphProto,
    id: NodeId,
    inputs: Vec<String>,
    attribute: Vec<AttributeProto>,
}

impl Encoder<'_> {
    fn encode(mut self, op: &Op) {
        let op_type = match op {
            Op::Input => return,
            Op::Conv(conv) => self.conv(conv),
            Op::BatchNorm(norm) => self.batch_norm(norm),
            Op::Relu => "Relu",
            Op::Relu6 => self.clip(0.0, 6.0),
            Op::Function(function) => self.function(*function),
            Op::PRelu(slopes) => {
                let shape = [slopes.len(), 1, 1];
                let slopes = self.constant("slopes", &shape, Data::Floats(slopes));
                self.inputs.push(slopes);
                "PRelu"
            }
            Op::Add => "Add",
            Op::Multiply => "Mul",
            Op::Concat => {
                self.attribute.push(AttributeProto::int("axis", 1));
                "Concat"
            }
            Op::Subsample(subsample) => self.subsample(subsample),
            Op::MaxPool(pool) => {
                self.attribute = window(pool.kernel, pool.stride, pool.pads);
                "MaxPool"
            }
            Op::Border(Border { pads: [top, left, bottom, right], repeats }) => {
                let pads = [0, 0, *top, *left, 0, 0, *bottom, *right];
                let pads = self.constant("pads", &[8], Data::Ints(&pads));
                self.inputs.push(pads);
                self.attribute.push(AttributeProto::text(
                    "mode",
                    match repeats {
                        Repeats::Mirrored => "reflect",
                        Repeats::Edge => "edge",
                    },
                ));
                "Pad"
            }
            Op::AveragePool(pool) => self.average_pool(pool),
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Softmax => {
                self.attribute.push(AttributeProto::int("axis", 1));
                "Softmax"
            }
            // Part of the network's output, of a network in canonical form.
            Op::Ending(_) => "Identity",
        };
        self.graph.node.push(NodeProto {
            op_type: Some(op_type.into()),
            input: self.inputs,
            output: vec![value(self.id)],
            name: Some(value(self.id)),
            attribute: self.attribute,
            ..Default::default()
        });
    }

    /// Adds an initializer, and returns its name.
    fn constant(&mut self, part: &str, dims: &[usize], data: Data<'_>) -> String {
        let name = format!("n{}.{part}", self.id);
        let mut tensor = TensorProto {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            name: Some(name.clone()),
            ..Default::default()
        };
        match data {
            Data::Floats(values) => {
                tensor.data_type = Some(data_type::FLOAT);
                tensor.float_data = values.to_vec();
            }
            Data::Ints(values) => {
                tensor.data_type = Some(data_type::INT64);
                tensor.int64_data = values.iter().map(|&value| value as i64).collect();
            }
        }
        self.graph.initializer.push(tensor);
        name
    }

    fn conv(&mut self, conv: &Conv) -> &'static str {
        let oihw = conv.weights.view().permuted_axes([0, 3, 1, 2]);
        let values: Vec<f32> = oihw.iter().copied().collect();
        let weights = self.constant("weights", oihw.shape(), Data::Floats(&values));
        let bias = self.constant("bias", &[conv.bias.len()], Data::Floats(&conv.bias));
        self.inputs.extend([weights, bias]);
        self.attribute = window(conv.kernel(), conv.stride, conv.pads);
        self.attribute.push(AttributeProto::ints("dilations", &conv.dilation));
        self.attribute.push(AttributeProto::int("group", conv.groups as i64));
        "Conv"
    }

    fn clip(&mut self, min: f32, max: f32) -> &'static str {
        for (part, bound) in [("min", min), ("max", max)] {
            let bound = self.constant(part, &[], Data::Floats(&[bound]));
            self.inputs.push(bound);
        }
        "Clip"
    }

    fn function(&mut self, function: Function) -> &'static str {
        match function {
            Function::LeakyRelu { slope } => {
                self.attribute.push(AttributeProto::float("alpha", slope));
                "LeakyRelu"
            }
            Function::Clip { min, max } => self.clip(min, max),
            Function::Sigmoid => "Sigmoid",
            Function::HardSigmoid { slope, offset } => {
                self.attribute.extend([
                    AttributeProto::float("alpha", slope),
                    AttributeProto::float("beta", offset),
                ]);
                "HardSigmoid"
            }
            Function::HardSwish => "HardSwish",
            Function::Silu => {
                let gate = self.before("Sigmoid", "gate", self.inputs.clone(), vec![]);
                self.inputs.push(gate);
                "Mul"
            }
            Function::Tanh => "Tanh",
            Function::Elu { alpha } => {
                self.attribute.push(AttributeProto::float("alpha", alpha));
                "Elu"
            }
            Function::Gelu => "Gelu",
            Function::Softplus => "Softplus",
        }
    }

    /// Those of the pads that count are zeros around the map.
    fn average_pool(&mut self, pool: &AveragePool) -> &'static str {
        let [top, left, bottom, right] = pool.counted;
        if pool.counted != [0; 4] {
            let pads = [0, 0, top, left, 0, 0, bottom, right];
            let inputs = vec![
                self.inputs.remove(0),
                self.constant("pads", &[8], Data::Ints(&pads)),
                self.constant("zero", &[], Data::Floats(&[0.0])),
            ];
            self.inputs = vec![self.before("Pad", "padded", inputs, vec![])];
        }
        let rest = std::array::from_fn(|side| pool.window.pads[side] - pool.counted[side]);
        self.attribute = window(pool.window.kernel, pool.window.stride, rest);
        self.attribute.push(AttributeProto::int("count_include_pad", 0));
        "AveragePool"
    }

    /// Adds a node before this one, and returns its output's name.
    fn before(
        &mut self,
        op_type: &str,
        part: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = format!("n{}.{part}", self.id);
        self.graph.node.push(NodeProto {
            op_type: Some(op_type.into()),
            input,
            output: vec![name.clone()],
            name: Some(name.clone()),
            attribute,
            ..Default::default()
        });
        name
    }

    fn batch_norm(&mut self, norm: &BatchNorm) -> &'static str {
        let parts = [
            ("scale", &norm.scale),
            ("shift", &norm.shift),
            ("mean", &norm.mean),
            ("var", &norm.var),
        ];
        for (part, values) in parts {
            let constant = self.constant(part, &[values.len()], Data::Floats(values));
            self.inputs.push(constant);
        }
        self.attribute.push(AttributeProto::float("epsilon", norm.eps));
        "BatchNormalization"
    }

    /// Channels are padded after the rows and columns are taken.
    fn subsample(&mut self, subsample: &Subsample) -> &'static str {
        const ALL: usize = i64::MAX as usize;
        let inputs = vec![
            self.inputs.remove(0),
            self.constant("starts", &[2], Data::Ints(&[0, 0])),
            self.constant("ends", &[2], Data::Ints(&[ALL, ALL])),
            self.constant("axes", &[2], Data::Ints(&[2, 3])),
            self.constant("steps", &[2], Data::Ints(&subsample.stride)),
        ];
        let slice = self.before("Slice", "slice", inputs, vec![]);
        let (before, after) = (subsample.channels_before, subsample.channels_after);
        let pads = [0, before, 0, 0, 0, after, 0, 0];
        self.inputs = vec![
            slice,
            self.constant("pads", &[8], Data::Ints(&pads)),
            self.constant("zero", &[], Data::Floats(&[0.0])),
        ];
        "Pad"
    }
}

/// Values of an initializer.
enum Data<'a> {
    Floats(&'a [f32]),
    Ints(&'a [usize]),
}

pub(crate) fn window(kernel: [usize; 2], stride: [usize; 2], pads: Pads) -> Vec<AttributeProto> {
    vec![
        AttributeProto::ints("kernel_shape", &kernel),
        AttributeProto::ints("strides", &stride),
        AttributeProto::ints("pads", &pads),
    ]
}
