//! Encodes a float network as an ONNX model in memory.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::network::{
    AveragePool, BatchNorm, Border, Conv, Function, Network, NodeId, Op, Repeats, Subsample,
};
use crate::onnx::{self, Computed, Data, window};
use crate::proto::{AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, ValueInfoProto};

/// Name of a node's output in the ONNX model.
pub(crate) fn value(node: NodeId) -> String {
    format!("n{node}")
}

/// Encodes some nodes of a network as ONNX, opset 17, in NCHW with an open batch size. The operators of
/// `others` take the place of those of their nodes.
///
/// Nodes outside that they read are inputs; all values have four dimensions.
pub(crate) fn encode(
    network: &Network,
    others: &[(NodeId, Op)],
    nodes: &RangeInclusive<NodeId>,
    read: &BTreeSet<NodeId>,
) -> ModelProto {
    let mut graph = GraphProto::default();
    for id in nodes.clone() {
        let node = &network.nodes[id];
        let inputs = node.inputs.iter().map(|&input| value(input)).collect();
        let other = others.iter().find(|(other, _)| *other == id);
        let op = other.map_or(&node.op, |(_, op)| op);
        Encoder { graph: &mut graph, id, inputs, attribute: vec![] }.encode(op);
    }
    for &id in read {
        let [height, width, channels] = network.nodes[id].shape;
        graph.input.push(onnx::float_value(&value(id), &[channels, height, width]));
    }
    graph.output.push(ValueInfoProto { name: Some(value(*nodes.end())), r#type: None });
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
        ..Default::default()
    }
}

/// A node while it is added to a graph.
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
                let pads = self.sizes("pads", &pads);
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
            // In canonical form an ending is a part of the network's output.
            Op::Ending(_) => "Identity",
        };
        let node = onnx::node(op_type, self.inputs, &value(self.id), self.attribute);
        self.graph.node.push(node);
    }

    /// Adds an initializer, and returns its name.
    fn constant(&mut self, part: &str, dims: &[usize], data: Data<'_>) -> String {
        let name = format!("n{}.{part}", self.id);
        self.graph.initializer.push(onnx::constant(&name, dims, data));
        name
    }

    /// Adds an initializer of sizes.
    fn sizes(&mut self, part: &str, sizes: &[usize]) -> String {
        let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
        self.constant(part, &[sizes.len()], Data::Int64(&sizes))
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
        match onnx::computed(function) {
            // The engine's operator overflows in e^x for large x, where the function is x.
            Computed::By("Softplus", _) => {
                const STRAIGHT: f32 = 80.0;
                let input = self.inputs[0].clone();
                let most = self.constant("most", &[], Data::Floats(&[STRAIGHT]));
                let inputs = vec![input, String::new(), most];
                let bounded = self.before("Clip", "bounded", inputs, vec![]);
                let bend = self.before("Softplus", "bend", vec![bounded], vec![]);
                self.inputs.push(bend);
                "Max"
            }
            // Numbers below are no input of a logarithm.
            Computed::By("Log", _) => {
                let input = self.inputs.remove(0);
                let least = self.constant("least", &[], Data::Floats(&[f32::MIN_POSITIVE]));
                self.inputs = vec![self.before("Max", "positive", vec![input, least], vec![])];
                "Log"
            }
            Computed::By(op, attributes) => {
                self.attribute = attributes;
                op
            }
            Computed::Power(exponent) => {
                let input = self.inputs.remove(0);
                let exponent = self.constant("exponent", &[], Data::Floats(&[exponent]));
                let positive = self.before("Relu", "positive", vec![input], vec![]);
                self.inputs = vec![positive, exponent];
                "Pow"
            }
            Computed::Clip { min, max } => self.clip(min, max),
            Computed::Gated(operators) => {
                let mut gate = self.inputs[0].clone();
                for (step, op) in operators.iter().enumerate() {
                    gate = self.before(op, &format!("gate{step}"), vec![gate], vec![]);
                }
                self.inputs.push(gate);
                "Mul"
            }
        }
    }

    /// Pads that count in the mean are added as zeros around the map.
    fn average_pool(&mut self, pool: &AveragePool) -> &'static str {
        let [top, left, bottom, right] = pool.counted;
        if pool.counted != [0; 4] {
            let pads = [0, 0, top, left, 0, 0, bottom, right];
            let inputs = vec![
                self.inputs.remove(0),
                self.sizes("pads", &pads),
                self.constant("zero", &[], Data::Floats(&[0.0])),
            ];
            self.inputs = vec![self.before("Pad", "padded", inputs, vec![])];
        }
        let rest = std::array::from_fn(|side| pool.window.pads[side] - pool.counted[side]);
        self.attribute = window(pool.window.kernel, pool.window.stride, rest);
        self.attribute.push(AttributeProto::int("count_include_pad", 0));
        "AveragePool"
    }

    /// Adds a node in front of this one, and returns the name of its output.
    fn before(
        &mut self,
        op_type: &str,
        part: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = format!("n{}.{part}", self.id);
        self.graph.node.push(onnx::node(op_type, input, &name, attribute));
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

    /// Pads channels after it has taken rows and columns.
    fn subsample(&mut self, subsample: &Subsample) -> &'static str {
        const ALL: usize = i64::MAX as usize;
        let inputs = vec![
            self.inputs.remove(0),
            self.sizes("starts", &[0, 0]),
            self.sizes("ends", &[ALL, ALL]),
            self.sizes("axes", &[2, 3]),
            self.sizes("steps", &subsample.stride),
        ];
        let slice = self.before("Slice", "slice", inputs, vec![]);
        let (before, after) = (subsample.channels_before, subsample.channels_after);
        let pads = [0, before, 0, 0, 0, after, 0, 0];
        self.inputs = vec![
            slice,
            self.sizes("pads", &pads),
            self.constant("zero", &[], Data::Floats(&[0.0])),
        ];
        "Pad"
    }
}
