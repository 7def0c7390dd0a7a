//! Operators, with one function each.

mod activation;
mod conv;
mod length;
mod parts;
mod pool;
mod quantized;
mod spaced;
mod sums;

pub(super) use self::length::length;
use super::call::{Call, Made};
use super::importer::Importer;
use crate::error::Problem;

/// Computes the output of an operator from its inputs.
pub(super) type Function = fn(&mut Importer<'_, '_>, &Call<'_>) -> Result<Made, Problem>;

/// The operators, by their names in TFLite.
const OPERATORS: [(&str, Function); 49] = [
    ("ABS", activation::function),
    ("ADD", sums::arithmetic),
    ("ARG_MAX", activation::ending),
    ("AVERAGE_POOL_2D", pool::pool_2d),
    ("BATCH_TO_SPACE_ND", spaced::to_space),
    ("CONCATENATION", sums::concatenation),
    ("CONV_2D", conv::conv_2d),
    ("DEPTHWISE_CONV_2D", conv::conv_2d),
    ("DEQUANTIZE", quantized::dequantize),
    ("DIV", sums::arithmetic),
    ("ELU", activation::function),
    ("EXP", activation::function),
    ("EXPAND_DIMS", parts::reshape),
    ("FULLY_CONNECTED", conv::fully_connected),
    ("GELU", activation::function),
    ("HARD_SWISH", activation::function),
    ("L2_NORMALIZATION", activation::ending),
    ("LEAKY_RELU", activation::function),
    ("LOG", activation::function),
    ("LOGISTIC", activation::function),
    ("LOG_SOFTMAX", activation::softmax),
    ("MAXIMUM", sums::larger),
    ("MAX_POOL_2D", pool::pool_2d),
    ("MEAN", pool::reduce),
    ("MINIMUM", sums::larger),
    ("MIRROR_PAD", parts::mirror_pad),
    ("MUL", sums::arithmetic),
    ("NEG", sums::negative),
    ("PAD", parts::pad),
    ("PADV2", parts::pad),
    ("PRELU", activation::prelu),
    ("QUANTIZE", quantized::quantize),
    ("REDUCE_MAX", pool::reduce),
    ("RELU", activation::relu),
    ("RELU6", activation::relu),
    ("RELU_0_TO_1", activation::function),
    ("RELU_N1_TO_1", activation::function),
    ("RESHAPE", parts::reshape),
    ("SLICE", parts::slice),
    ("SOFTMAX", activation::softmax),
    ("SPACE_TO_BATCH_ND", spaced::to_batch),
    ("SPLIT", parts::split),
    ("SPLIT_V", parts::split),
    ("SQRT", activation::function),
    ("SQUEEZE", parts::reshape),
    ("STRIDED_SLICE", parts::strided_slice),
    ("SUB", sums::arithmetic),
    ("TANH", activation::function),
    ("TRANSPOSE", parts::transpose),
];

/// The function of an operator.
///
/// # Errors
///
/// [`Problem::UnsupportedOperator`] if there is none.
pub(super) fn function(name: &str) -> Result<Function, Problem> {
    let known = OPERATORS.iter().find(|(known, _)| *known == name);
    known.map(|&(_, function)| function).ok_or_else(|| Problem::UnsupportedOperator {
        op: name.into(),
        remedy: match name {
            "RESIZE_BILINEAR" | "RESIZE_NEAREST_NEIGHBOR" | "TRANSPOSE_CONV" | "DEPTH_TO_SPACE" => {
                "brooklet runs residual networks, whose maps only shrink: no decoders that enlarge \
                 maps; convert the encoder alone"
            }
            "LSTM"
            | "RNN"
            | "SVDF"
            | "WHILE"
            | "IF"
            | "UNIDIRECTIONAL_SEQUENCE_LSTM"
            | "UNIDIRECTIONAL_SEQUENCE_RNN"
            | "BIDIRECTIONAL_SEQUENCE_LSTM" => {
                "brooklet runs networks that only go forward: no recurrent layers, no control flow"
            }
            "BATCH_MATMUL" => "brooklet runs residual networks of convolutions: no attention",
            "SQUARED_DIFFERENCE" | "RSQRT" => {
                "it normalizes by each image's own mean and deviation, which constant factors per \
                 channel cannot replace: train the network with batch norms"
            }
            _ => {
                "brooklet runs residual networks: convolutions, activations, additions, \
                 multiplications, concatenations, poolings, linear layers and a softmax; convert \
                 the network without other layers"
            }
        }
        .into(),
    })
}
