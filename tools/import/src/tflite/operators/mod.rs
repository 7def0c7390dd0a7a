//! Operators, a function each.

mod activation;
mod conv;
mod parts;
mod pool;
mod quantized;
mod sums;

use super::call::{Call, Made};
use super::importer::Importer;
use crate::error::Problem;

/// What an operator makes of its inputs.
pub(super) type Function = fn(&mut Importer<'_, '_>, &Call<'_>) -> Result<Made, Problem>;

/// The operators, by TFLite's names.
const OPERATORS: [(&str, Function); 16] = [
    ("ADD", sums::add),
    ("AVERAGE_POOL_2D", pool::pool_2d),
    ("CONV_2D", conv::conv_2d),
    ("DEQUANTIZE", quantized::dequantize),
    ("FULLY_CONNECTED", conv::fully_connected),
    ("LOGISTIC", activation::logistic),
    ("MAX_POOL_2D", pool::pool_2d),
    ("MEAN", pool::mean),
    ("PAD", parts::pad),
    ("QUANTIZE", quantized::quantize),
    ("RELU", activation::relu),
    ("RELU6", activation::relu),
    ("RESHAPE", parts::reshape),
    ("SOFTMAX", activation::softmax),
    ("SQUEEZE", parts::reshape),
    ("STRIDED_SLICE", parts::strided_slice),
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
            "DEPTHWISE_CONV_2D" => "brooklet runs ResNets with plain convolutions (not MobileNet)",
            _ => {
                "brooklet runs ResNets: convolutions, additions, poolings, a linear layer and a \
                 softmax; convert the network without other layers"
            }
        }
        .into(),
    })
}
