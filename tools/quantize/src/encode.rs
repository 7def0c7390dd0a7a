//! A float network as an ONNX model in memory.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::network::{BatchNorm, Conv, Network, NodeId, Op, Pads, Subsample};
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
    data_type,
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
            Op::Relu6 => {
                for (part, bound) in [("min", 0.0), ("max", 6.0)] {
                    let bound = self.constant(part, &[], Data::Floats(&[bound]));
                    self.inputs.push(bound);
                }
                "Clip"
            }
            Op::Add => "Add",
            Op::Subsample(subsample) => self.subsample(subsample),
            Op::MaxPool(pool) => {
                self.attribute = window(pool.kernel, pool.stride, pool.pads);
                "MaxPool"
            }
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Softmax => {
                self.attribute.push(AttributeProto {
                    name: Some("axis".into()),
                    i: Some(1),
                    r#type: Some(attribute_type::INT),
                    ..Default::default()
                });
                "Softmax"
            }
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
        "Conv"
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
        self.attribute.push(AttributeProto {
            name: Some("epsilon".into()),
            f: Some(norm.eps),
            r#type: Some(attribute_type::FLOAT),
            ..Default::default()
        });
        "BatchNormalization"
    }

    /// Channels are padded after the rows and columns are taken.
    fn subsample(&mut self, subsample: &Subsample) -> &'static str {
        const ALL: usize = i64::MAX as usize;
        let slice = NodeProto {
            op_type: Some("Slice".into()),
            input: vec![
                self.inputs.remove(0),
                self.constant("starts", &[2], Data::Ints(&[0, 0])),
                self.constant("ends", &[2], Data::Ints(&[ALL, ALL])),
                self.constant("axes", &[2], Data::Ints(&[2, 3])),
                self.constant("steps", &[2], Data::Ints(&subsample.stride)),
            ],
            output: vec![format!("n{}.slice", self.id)],
            name: Some(format!("n{}.slice", self.id)),
            ..Default::default()
        };
        let (before, after) = (subsample.channels_before, subsample.channels_after);
        let pads = [0, before, 0, 0, 0, after, 0, 0];
        self.inputs = vec![
            slice.output[0].clone(),
            self.constant("pads", &[8], Data::Ints(&pads)),
            self.constant("zero", &[], Data::Floats(&[0.0])),
        ];
        self.graph.node.push(slice);
        "Pad"
    }
}

/// Values of an initializer.
enum Data<'a> {
    Floats(&'a [f32]),
    Ints(&'a [usize]),
}

fn window(kernel: [usize; 2], stride: [usize; 2], pads: Pads) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", &kernel), ints("strides", &stride), ints("pads", &pads)]
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: values.iter().map(|&value| value as i64).collect(),
        r#type: Some(attribute_type::INTS),
        ..Default::default()
    }
}
