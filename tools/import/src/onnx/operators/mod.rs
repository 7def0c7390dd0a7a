//! Operators of maps, with one function each.

mod batch_norm;
mod blocks;
mod conv;
mod function;
mod layout;
mod linear;
mod parts;
mod pool;
mod quantized;
mod sums;

pub(super) use self::blocks::blocks_as_channels;
pub(super) use self::parts::{channels, split};
pub(super) use self::sums::{larger, product};
use super::call::Call;
use super::importer::Importer;
use super::map::Map;
use super::node::{int, node_name, op_type};
use crate::error::{AtLayer, LayerProblem, Problem};
use crate::proto::{GraphProto, NodeProto, data_type};

/// Computes the output of an operator that reads at least one map.
pub(super) type Operator = fn(&mut Importer<'_>, &Call<'_>) -> Result<Map, Problem>;

/// The operators, by ONNX's names.
const OPERATORS: [(&str, Operator); 63] = [
    ("Abs", function::function),
    ("Add", sums::arithmetic),
    ("ArgMax", function::argmax),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", batch_norm::batch_norm),
    ("Cast", layout::keep),
    ("CastLike", layout::keep),
    ("Celu", function::scaled_elu),
    ("Clip", function::clip),
    ("Concat", parts::concat),
    ("Conv", conv::conv),
    ("DequantizeLinear", quantized::quantize),
    ("Div", sums::arithmetic),
    ("Dropout", layout::keep),
    ("Elu", function::function),
    ("Erf", function::function),
    ("Exp", function::function),
    ("Expand", layout::expand),
    ("Flatten", layout::flatten),
    ("Gather", parts::gather),
    ("GatherND", parts::gather_nd),
    ("Gelu", function::function),
    ("Gemm", linear::matrix),
    ("GlobalAveragePool", pool::global_average_pool),
    ("GlobalMaxPool", pool::global_max_pool),
    ("HardSigmoid", function::function),
    ("HardSwish", function::function),
    ("Identity", layout::keep),
    ("LeakyRelu", function::function),
    ("Log", function::function),
    ("LogSoftmax", function::softmax),
    ("MatMul", linear::matrix),
    ("Max", function::bound),
    ("MaxPool", pool::max_pool),
    ("Min", function::bound),
    ("Mish", function::function),
    ("Mul", sums::arithmetic),
    ("Neg", sums::negative),
    ("PRelu", function::prelu),
    ("Pad", parts::pad),
    ("Pow", sums::power),
    ("QuantizeLinear", quantized::quantize),
    ("ReduceMax", pool::reduce),
    ("ReduceMean", pool::reduce),
    ("ReduceSum", pool::reduce),
    ("Relu", function::function),
    ("Reshape", layout::reshape),
    ("Selu", function::scaled_elu),
    ("Sigmoid", function::function),
    ("Slice", parts::slice),
    ("Softmax", function::softmax),
    ("Softplus", function::function),
    ("Softsign", sums::softsign),
    ("SpaceToDepth", blocks::space_to_depth),
    ("Sqrt", function::function),
    ("Squeeze", layout::squeeze),
    ("Sub", sums::arithmetic),
    ("Sum", sums::sum_of_all),
    ("Swish", function::function),
    ("Tanh", function::function),
    ("Tile", layout::tile),
    ("Transpose", layout::transpose),
    ("Unsqueeze", layout::squeeze),
];

/// Operators of other families of networks, and the closest alternative.
const OTHERS: [(&[&str], &str); 5] = [
    (
        &["InstanceNormalization", "GroupNormalization", "LayerNormalization", "LpPool", "LRN"],
        "it normalizes by each image's own mean and deviation, which constant factors per channel \
         cannot replace: train the network with batch norms",
    ),
    (
        &["Resize", "Upsample", "ConvTranspose", "DepthToSpace", "GridSample", "MaxUnpool"],
        "brooklet runs residual networks, whose maps only shrink: no decoders that enlarge maps; \
         export the encoder alone",
    ),
    (
        &["LSTM", "GRU", "RNN", "Scan", "Loop", "If"],
        "brooklet runs networks that only go forward: no recurrent layers, no control flow",
    ),
    (
        &["Attention", "MultiHeadAttention", "Einsum", "RotaryEmbedding"],
        "brooklet runs residual networks of convolutions: no attention",
    ),
    (
        &["NonMaxSuppression", "TopK", "RoiAlign", "NonZero"],
        "end the network at its scores, and do this where its answers are used",
    ),
];

/// The remedy for an operator that is not supported.
fn remedy(op: &str) -> &'static str {
    let other = OTHERS.iter().find(|(names, _)| names.contains(&op));
    other.map_or(
        "brooklet runs residual networks: convolutions, batch norms, activations, additions, \
         multiplications, concatenations, poolings, linear layers and a softmax; export the \
         network without other layers",
        |(_, remedy)| remedy,
    )
}

/// Refuses a graph of another family, with an error for the operator that is typical of it: earlier
/// operators are often not supported, either, but say less.
///
/// # Errors
///
/// [`Problem::UnsupportedOperator`] at its node.
pub(super) fn refuse_others(graph: &GraphProto) -> Result<(), LayerProblem> {
    let other = |node: &&NodeProto| {
        matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"))
            && OTHERS.iter().any(|(names, _)| names.contains(&op_type(node)))
    };
    match graph.node.iter().find(other) {
        Some(node) => Err(unknown(op_type(node))).at(&node_name(node)),
        None => Ok(()),
    }
}

fn unknown(op: &str) -> Problem {
    Problem::UnsupportedOperator { op: op.into(), remedy: remedy(op).into() }
}

/// The function of a node's operator.
///
/// # Errors
///
/// [`Problem::UnsupportedOperator`] if there is none.
pub(super) fn operator(node: &NodeProto) -> Result<Operator, Problem> {
    let op = op_type(node);
    let floats = [data_type::FLOAT, data_type::DOUBLE, data_type::FLOAT16, data_type::BFLOAT16];
    let other_cast = op == "Cast" && !floats.map(i64::from).contains(&int(node, "to", 0));
    let known = OPERATORS.iter().find(|(name, _)| *name == op).filter(|_| !other_cast);
    known.map(|&(_, operator)| operator).ok_or_else(|| unknown(op))
}
