//! Operators of maps, a function each.

mod conv;
mod elementwise;
mod layout;
mod linear;
mod parts;
mod pool;
mod quantized;
mod sums;

use super::call::Call;
use super::importer::Importer;
use super::map::Map;
use super::node::{int, op_type};
use crate::error::Problem;
use crate::proto::{NodeProto, data_type};

/// The map that an operator makes of at least one map.
pub(super) type Operator = fn(&mut Importer<'_>, &Call<'_>) -> Result<Map, Problem>;

/// The operators, by ONNX's names.
const OPERATORS: [(&str, Operator); 30] = [
    ("Add", sums::add),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", elementwise::batch_norm),
    ("Cast", layout::keep),
    ("Clip", elementwise::clip),
    ("Concat", parts::concat),
    ("Conv", conv::conv),
    ("DequantizeLinear", quantized::quantize),
    ("Div", sums::affine),
    ("Dropout", layout::keep),
    ("Flatten", layout::flatten),
    ("Gather", parts::gather),
    ("Gemm", linear::matrix),
    ("GlobalAveragePool", pool::global_average_pool),
    ("Identity", layout::keep),
    ("MatMul", linear::matrix),
    ("MaxPool", pool::max_pool),
    ("Mul", sums::affine),
    ("Pad", parts::pad),
    ("QuantizeLinear", quantized::quantize),
    ("ReduceMean", pool::reduce_mean),
    ("Relu", elementwise::relu),
    ("Reshape", layout::reshape),
    ("Sigmoid", layout::keep),
    ("Slice", parts::slice),
    ("Softmax", elementwise::softmax),
    ("Squeeze", layout::squeeze),
    ("Sub", sums::affine),
    ("Transpose", layout::transpose),
    ("Unsqueeze", layout::squeeze),
];

/// The function of a node's operator.
///
/// # Errors
///
/// [`Problem::UnsupportedOperator`] if there is none.
pub(super) fn operator(node: &NodeProto) -> Result<Operator, Problem> {
    let op = op_type(node);
    let other_cast = op == "Cast" && int(node, "to", 0) != i64::from(data_type::FLOAT);
    let known = OPERATORS.iter().find(|(name, _)| *name == op).filter(|_| !other_cast);
    known.map(|&(_, operator)| operator).ok_or_else(|| Problem::UnsupportedOperator {
        op: op.into(),
        remedy: "brooklet runs ResNets: convolutions, batch norms, ReLU, additions, poolings, a \
                 linear layer and a softmax; export the network without other layers"
            .into(),
    })
}
