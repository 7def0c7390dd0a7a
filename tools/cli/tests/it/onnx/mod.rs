//! Makes small ONNX files.

use rten_onnx::onnx::{
    AttributeProto, DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// Made-up weights: the one with this number.
pub(crate) fn weight(index: usize) -> f32 {
    (index as f32 * 0.7).sin()
}

/// An ONNX network under construction.
#[derive(Default)]
pub(crate) struct Onnx {
    pub(crate) graph: GraphProto,
}

pub(crate) fn tensor(name: &str, dims: &[i64], kind: DataType) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(kind),
        ..Default::default()
    }
}

pub(crate) fn attribute(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints: ints.to_vec(), ..Default::default() }
}

pub(crate) fn scalar(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), ..Default::default() }
}

impl Onnx {
    /// A network with the input `x`; 0 is an open dimension.
    pub(crate) fn new(shape: &[i64]) -> Onnx {
        let dim = |&size: &i64| match size {
            0 => Dimension { dim_param: Some("any".into()), ..Default::default() },
            size => Dimension { dim_value: Some(size), ..Default::default() },
        };
        let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
        let tensor = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape: Some(shape) };
        let mut onnx = Onnx::default();
        onnx.graph.input.push(ValueInfoProto {
            name: Some("x".into()),
            r#type: Some(TypeProto { tensor_type: Some(tensor), ..Default::default() }),
        });
        onnx
    }

    pub(crate) fn floats(mut self, name: &str, dims: &[i64], value: impl Fn(usize) -> f32) -> Onnx {
        let mut tensor = tensor(name, dims, DataType::FLOAT);
        tensor.float_data = (0..dims.iter().product::<i64>() as usize).map(value).collect();
        self.graph.initializer.push(tensor);
        self
    }

    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Onnx {
        let mut tensor = tensor(name, &[values.len() as i64], DataType::INT64);
        tensor.int64_data = values.to_vec();
        self.graph.initializer.push(tensor);
        self
    }

    /// Integers of 8 or 32 bits.
    pub(crate) fn integers(
        mut self,
        name: &str,
        dims: &[i64],
        kind: DataType,
        value: impl Fn(usize) -> i32,
    ) -> Onnx {
        let mut tensor = tensor(name, dims, kind);
        tensor.int32_data = (0..dims.iter().product::<i64>() as usize).map(value).collect();
        self.graph.initializer.push(tensor);
        self
    }

    /// A node named after its output.
    pub(crate) fn node(
        mut self,
        op: &str,
        inputs: &str,
        output: &str,
        attribute: &[AttributeProto],
    ) -> Onnx {
        self.graph.node.push(NodeProto {
            op_type: Some(op.into()),
            name: Some(output.into()),
            input: inputs.split(' ').map(String::from).collect(),
            output: vec![output.into()],
            attribute: attribute.to_vec(),
            ..Default::default()
        });
        self
    }

    /// The file.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let output = self.graph.node.last().unwrap().output[0].clone();
        self.bytes_with_outputs(&[&output])
    }

    /// The file of a network with several outputs.
    pub(crate) fn bytes_with_outputs(self, outputs: &[&str]) -> Vec<u8> {
        let mut graph = self.graph;
        for output in outputs {
            graph.output.push(ValueInfoProto { name: Some((*output).into()), r#type: None });
        }
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(18) }],
            ..Default::default()
        };
        model.write_buf().unwrap()
    }
}
