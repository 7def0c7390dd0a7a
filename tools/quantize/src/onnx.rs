//! Parts of ONNX models, for the float engine and for files.

use crate::network::{Function, Pads};
use crate::proto::{
    AttributeProto, DimensionProto, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, data_type,
};

/// The numbers of a constant.
pub(crate) enum Data<'a> {
    Floats(&'a [f32]),
    Int64(&'a [i64]),
    Int32(&'a [i32]),
    Int16(&'a [i16]),
    Int8(&'a [i8]),
    /// Numbers from -8 to 7, two in a byte.
    Int4(&'a [i8]),
}

impl Data<'_> {
    /// Element type and bytes.
    fn raw(self) -> (i32, Vec<u8>) {
        fn bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
            values.iter().flat_map(|&value| to(value)).collect()
        }
        match self {
            Self::Floats(values) => (data_type::FLOAT, bytes(values, f32::to_le_bytes)),
            Self::Int64(values) => (data_type::INT64, bytes(values, i64::to_le_bytes)),
            Self::Int32(values) => (data_type::INT32, bytes(values, i32::to_le_bytes)),
            Self::Int16(values) => (data_type::INT16, bytes(values, i16::to_le_bytes)),
            Self::Int8(values) => (data_type::INT8, bytes(values, i8::to_le_bytes)),
            Self::Int4(values) => {
                let half = |value: i8| value.cast_unsigned() & 15;
                let pair =
                    |pair: &[i8]| half(pair[0]) | pair.get(1).map_or(0, |&value| half(value) << 4);
                (data_type::INT4, values.chunks(2).map(pair).collect())
            }
        }
    }
}

/// A constant.
pub(crate) fn constant(name: &str, dims: &[usize], data: Data<'_>) -> TensorProto {
    let (kind, bytes) = data.raw();
    TensorProto {
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: Some(kind),
        name: Some(name.into()),
        raw_data: Some(bytes),
        ..Default::default()
    }
}

/// A node with one output, which has the node's name.
pub(crate) fn node(
    op: &str,
    input: Vec<String>,
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input,
        output: vec![output.into()],
        name: Some(output.into()),
        attribute,
        ..Default::default()
    }
}

/// A float value with an open batch size.
pub(crate) fn float_value(name: &str, sizes: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: Some("N".into()), ..Default::default() };
    let fixed =
        |&size: &usize| DimensionProto { dim_value: Some(size as i64), ..Default::default() };
    let dim = std::iter::once(batch).chain(sizes.iter().map(fixed)).collect();
    let tensor = TensorTypeProto {
        elem_type: Some(data_type::FLOAT),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor) }),
    }
}

/// The attributes of a window over rows and columns.
pub(crate) fn window(kernel: [usize; 2], stride: [usize; 2], pads: Pads) -> Vec<AttributeProto> {
    vec![
        AttributeProto::ints("kernel_shape", &kernel),
        AttributeProto::ints("strides", &stride),
        AttributeProto::ints("pads", &pads),
    ]
}

/// How ONNX computes a function of one number.
pub(crate) enum Computed {
    /// With this operator and these attributes.
    By(&'static str, Vec<AttributeProto>),
    /// With `Pow`, whose exponent is an input, of what is not negative.
    Power(f32),
    /// With `Clip`, whose bounds are inputs.
    Clip { min: f32, max: f32 },
    /// With `Mul` of the number and the result of these operators, which run one after another.
    Gated(&'static [&'static str]),
}

/// How ONNX computes a function.
pub(crate) fn computed(function: Function) -> Computed {
    let float = AttributeProto::float;
    let (op, attributes) = match function {
        Function::Clip { min, max } => return Computed::Clip { min, max },
        Function::Silu => return Computed::Gated(&["Sigmoid"]),
        Function::Mish => return Computed::Gated(&["Softplus", "Tanh"]),
        Function::LeakyRelu { slope } => ("LeakyRelu", vec![float("alpha", slope)]),
        Function::Sigmoid => ("Sigmoid", vec![]),
        Function::HardSigmoid { slope, offset } => {
            ("HardSigmoid", vec![float("alpha", slope), float("beta", offset)])
        }
        Function::HardSwish => ("HardSwish", vec![]),
        Function::Tanh => ("Tanh", vec![]),
        Function::Elu { alpha } => ("Elu", vec![float("alpha", alpha)]),
        Function::Gelu => ("Gelu", vec![]),
        Function::GeluTanh => ("Gelu", vec![AttributeProto::text("approximate", "tanh")]),
        Function::Erf => ("Erf", vec![]),
        Function::Softplus => ("Softplus", vec![]),
        Function::Abs => ("Abs", vec![]),
        Function::Exp => ("Exp", vec![]),
        Function::Log => ("Log", vec![]),
        Function::Power { exponent } => return Computed::Power(exponent),
    };
    Computed::By(op, attributes)
}
