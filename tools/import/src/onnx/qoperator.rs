//! Quantized ONNX networks with quantized operators (QOperator): each becomes the float operator
//! that it stands for, between QuantizeLinear and DequantizeLinear.

use std::collections::HashMap;
use std::path::Path;

use super::constant::Constant;
use super::node::{attribute, corrupt, node_name, op_type};
use super::tensor;
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, data_type};

/// The positions of an operator's inputs.
struct Form {
    /// The name of the operator.
    name: &'static str,
    /// The float operator.
    float: &'static str,
    /// Values, with their scales and zero points.
    values: &'static [[usize; 3]],
    /// Scale and zero point of the output.
    made: [usize; 2],
    /// An int32 bias, whose scale is the product of the scales of the first two values.
    bias: Option<usize>,
}

/// The operators; ONNX Runtime's quantizer writes those in Microsoft's domain.
const FORMS: [Form; 10] = [
    Form {
        name: "QLinearConv",
        float: "Conv",
        values: &[[0, 1, 2], [3, 4, 5]],
        made: [6, 7],
        bias: Some(8),
    },
    Form {
        name: "QLinearMatMul",
        float: "MatMul",
        values: &[[0, 1, 2], [3, 4, 5]],
        made: [6, 7],
        bias: None,
    },
    Form {
        name: "QGemm",
        float: "Gemm",
        values: &[[0, 1, 2], [3, 4, 5]],
        made: [7, 8],
        bias: Some(6),
    },
    Form {
        name: "QLinearAdd",
        float: "Add",
        values: &[[0, 1, 2], [3, 4, 5]],
        made: [6, 7],
        bias: None,
    },
    Form {
        name: "QLinearMul",
        float: "Mul",
        values: &[[0, 1, 2], [3, 4, 5]],
        made: [6, 7],
        bias: None,
    },
    Form {
        name: "QLinearGlobalAveragePool",
        float: "GlobalAveragePool",
        values: &[[0, 1, 2]],
        made: [3, 4],
        bias: None,
    },
    Form {
        name: "QLinearAveragePool",
        float: "AveragePool",
        values: &[[0, 1, 2]],
        made: [3, 4],
        bias: None,
    },
    Form {
        name: "QLinearLeakyRelu",
        float: "LeakyRelu",
        values: &[[0, 1, 2]],
        made: [3, 4],
        bias: None,
    },
    Form {
        name: "QLinearSigmoid",
        float: "Sigmoid",
        values: &[[0, 1, 2]],
        made: [3, 4],
        bias: None,
    },
    Form {
        name: "QLinearSoftmax",
        float: "Softmax",
        values: &[[0, 1, 2]],
        made: [3, 4],
        bias: None,
    },
];

/// Replaces quantized operators by float ones between QuantizeLinear and DequantizeLinear.
///
/// Weights in other files are looked up in `folder`.
pub(super) fn expand(graph: &mut GraphProto, folder: &Path) -> Result<(), LayerProblem> {
    let is_quantized = |node: &NodeProto| op_type(node).starts_with("Q");
    if !graph.node.iter().any(is_quantized) {
        return Ok(());
    }
    let floats = |tensor: &TensorProto| match tensor::read(tensor, folder) {
        Ok(Constant::Floats(values)) => Some((tensor.name.clone()?, values.into_iter().collect())),
        _ => None,
    };
    let scales: HashMap<String, Vec<f32>> = graph.initializer.iter().filter_map(floats).collect();
    let nodes = std::mem::take(&mut graph.node);
    for (index, node) in nodes.into_iter().enumerate() {
        let name = node_name(&node);
        let form = FORMS.iter().find(|form| form.name == op_type(&node));
        match (form, op_type(&node)) {
            (Some(form), _) => one(graph, &scales, index, node, form).at(&name)?,
            (None, "QLinearConcat") => concat(graph, index, node).at(&name)?,
            (None, op) if op.starts_with("QLinear") => {
                return Err(Problem::QuantizedOnnx { op: op.into() }).at(&name);
            }
            (None, _) => graph.node.push(node),
        }
    }
    Ok(())
}

fn one(
    graph: &mut GraphProto,
    scales: &HashMap<String, Vec<f32>>,
    index: usize,
    node: NodeProto,
    form: &Form,
) -> Result<(), Problem> {
    let input = |at: usize| {
        let name = node.input.get(at).filter(|name| !name.is_empty());
        name.cloned().ok_or_else(|| corrupt(format!("input {at} is missing")))
    };
    // Weights have a scale for each output channel; for Gemm with a transposed matrix these are its
    // rows.
    let transposed = attribute(&node, "transB").and_then(|t| t.i).unwrap_or(0) != 0;
    let axis = i64::from(form.float != "Conv" && !transposed);
    let mut inputs = Vec::new();
    for [value, scale, zero] in form.values {
        let made = format!("{}/dequantized{index}.{value}", input(*value)?);
        let parts = vec![input(*value)?, input(*scale)?, input(*zero)?];
        graph.node.push(plain(
            "DequantizeLinear",
            parts,
            &made,
            vec![AttributeProto::int("axis", axis)],
        ));
        inputs.push(made);
    }
    if let Some(bias) = form.bias.and_then(|at| input(at).ok()) {
        let of = |at: usize| {
            let name = input(form.values[at][1])?;
            scales.get(&name).cloned().ok_or_else(|| corrupt(format!("the scale `{name}`")))
        };
        let (maps, weights) = (of(0)?, of(1)?);
        let scale = maps.first().copied().unwrap_or(1.0);
        let products: Vec<f32> = weights.iter().map(|weight| scale * weight).collect();
        let name = format!("{bias}/scale{index}");
        graph.initializer.push(TensorProto {
            dims: if products.len() == 1 { vec![] } else { vec![products.len() as i64] },
            data_type: Some(data_type::FLOAT),
            float_data: products,
            name: Some(name.clone()),
            ..Default::default()
        });
        let made = format!("{bias}/dequantized{index}");
        let parts = vec![bias, name];
        graph.node.push(plain(
            "DequantizeLinear",
            parts,
            &made,
            vec![AttributeProto::int("axis", 0)],
        ));
        inputs.push(made);
    }
    let output = node.output.first().cloned().unwrap_or_default();
    let made = format!("{output}/float");
    let parts = vec![made.clone(), input(form.made[0])?, input(form.made[1])?];
    graph.node.push(NodeProto {
        op_type: Some(form.float.into()),
        domain: None,
        input: inputs,
        output: vec![made],
        name: Some(node_name(&node)),
        attribute: node.attribute,
    });
    graph.node.push(plain("QuantizeLinear", parts, &output, vec![]));
    Ok(())
}

/// QLinearConcat: scale and zero point of the output, then each value with its own.
fn concat(graph: &mut GraphProto, index: usize, node: NodeProto) -> Result<(), Problem> {
    let [scale, zero, values @ ..] = &node.input[..] else {
        return Err(corrupt("it joins nothing"));
    };
    let mut inputs = Vec::new();
    for value in values.chunks(3) {
        let made = format!("{}/dequantized{index}.{}", value[0], inputs.len());
        graph.node.push(plain("DequantizeLinear", value.to_vec(), &made, vec![]));
        inputs.push(made);
    }
    let output = node.output.first().cloned().unwrap_or_default();
    let made = format!("{output}/float");
    let parts = vec![made.clone(), scale.clone(), zero.clone()];
    graph.node.push(NodeProto {
        op_type: Some("Concat".into()),
        domain: None,
        input: inputs,
        output: vec![made],
        name: Some(node_name(&node)),
        attribute: node.attribute.clone(),
    });
    graph.node.push(plain("QuantizeLinear", parts, &output, vec![]));
    Ok(())
}

fn plain(op: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input,
        output: vec![output.into()],
        name: Some(output.into()),
        attribute,
        ..Default::default()
    }
}
