//! Functions of single values.

use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Function, Op};
use crate::onnx::call::Call;
use crate::onnx::constant::Constant;
use crate::onnx::importer::{Importer, Value};
use crate::onnx::map::{Channel, Map};
use crate::onnx::node::{float, op_type, text};

/// An operator that only depends on its attributes.
pub(super) fn function(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let number = |name: &str, default: f32| float(call.node, name, default);
    let op = match op_type(call.node) {
        "Relu" => Op::Relu,
        "LeakyRelu" => Op::Function(Function::LeakyRelu { slope: number("alpha", 0.01) }),
        "Elu" => Op::Function(Function::Elu { alpha: number("alpha", 1.0) }),
        "Sigmoid" => Op::Function(Function::Sigmoid),
        "HardSigmoid" => Op::Function(Function::HardSigmoid {
            slope: number("alpha", 0.2),
            offset: number("beta", 0.5),
        }),
        "HardSwish" => Op::Function(Function::HardSwish),
        "Swish" if number("alpha", 1.0) == 1.0 => Op::Function(Function::Silu),
        "Tanh" => Op::Function(Function::Tanh),
        "Softplus" => Op::Function(Function::Softplus),
        "Abs" => Op::Function(Function::Abs),
        "Exp" => Op::Function(Function::Exp),
        "Log" => Op::Function(Function::Log),
        "Sqrt" => Op::Function(Function::Power { exponent: 0.5 }),
        "Gelu" if text(call.node, "approximate") == "tanh" => Op::Function(Function::GeluTanh),
        "Gelu" => Op::Function(Function::Gelu),
        "Erf" => Op::Function(Function::Erf),
        "Mish" => Op::Function(Function::Mish),
        other => {
            return Err(unsupported(
                format!("{other} with these attributes"),
                "export the network with the activation's usual form",
            ));
        }
    };
    importer.elementwise(call.map(0)?, op, &call.name)
}

pub(super) fn clip(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    // Clip is used on integers between QuantizeLinear and DequantizeLinear, as Brevitas writes it.
    let is_integer = |index: usize| match call.inputs.get(index) {
        Some(Some(Value::Constant(constant))) => matches!(**constant, Constant::Ints(_)),
        _ => false,
    };
    if is_integer(1) || is_integer(2) {
        return Ok(call.map(0)?.clone());
    }
    // Bounds are attributes up to opset 10, and inputs since then.
    let low = call.scalar(1)?.unwrap_or(float(call.node, "min", f32::MIN));
    let high = call.scalar(2)?.unwrap_or(float(call.node, "max", f32::MAX));
    clipped(importer, call.map(0)?, [low, high], &call.name)
}

/// Selu and Celu: an ELU whose input and output are scaled.
pub(super) fn scaled_elu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let number = |name: &str, default: f32| float(call.node, name, default);
    // The numbers are ONNX's default values.
    let (before, alpha, behind) = match op_type(call.node) {
        "Selu" => (1.0, number("alpha", 1.673_263_2), number("gamma", 1.050_701)),
        _ => (number("alpha", 1.0).recip(), 1.0, number("alpha", 1.0)),
    };
    let factor =
        |factor: f32| Op::BatchNorm(BatchNorm::affine_of(&[factor], &[0.0], map.extent(Channel)));
    let mut made = map.clone();
    if before != 1.0 {
        made = importer.elementwise(&made, factor(before), &call.name)?;
    }
    made = importer.elementwise(&made, Op::Function(Function::Elu { alpha }), &call.name)?;
    if behind != 1.0 {
        made = importer.elementwise(&made, factor(behind), &call.name)?;
    }
    Ok(made)
}

/// Max and Min of a map and numbers, or of two maps.
pub(super) fn bound(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = None;
    let (mut low, mut high) = (f32::MIN, f32::MAX);
    for (index, input) in call.inputs.iter().enumerate() {
        match input {
            Some(Value::Map(other)) if map.is_none() => map = Some(other.clone()),
            Some(Value::Map(other)) => {
                let largest = op_type(call.node) == "Max";
                map = map
                    .map(|map| super::sums::larger(importer, &map, other, largest, &call.name))
                    .transpose()?;
            }
            Some(Value::Constant(constant)) if constant.elements() == 1 => {
                let bound = call.floats(index)?[0];
                match op_type(call.node) {
                    "Max" => low = low.max(bound),
                    _ => high = high.min(bound),
                }
            }
            _ => {
                return Err(unsupported(
                    format!("{} of maps and several numbers", op_type(call.node)),
                    "the larger or the smaller of two maps, or of a map and a number, is supported",
                ));
            }
        }
    }
    let map = map.ok_or_else(|| crate::onnx::node::corrupt("it has no input"))?;
    clipped(importer, &map, [low, high], &call.name)
}

fn clipped(
    importer: &mut Importer<'_>,
    map: &Map,
    bounds: [f32; 2],
    name: &str,
) -> Result<Map, Problem> {
    match Op::clip(bounds) {
        Some(op) => importer.elementwise(map, op, name),
        None => Ok(map.clone()),
    }
}

pub(super) fn prelu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let slopes = call.constant(1)?;
    let op = match call.a_channel(map, slopes)? {
        Some(slopes) => match slopes[..] {
            [slope] => Op::Function(Function::LeakyRelu { slope }),
            _ => Op::PRelu(slopes),
        },
        None => {
            return Err(unsupported(
                format!("slopes of shape {:?}", slopes.shape()),
                "only one slope, or one per channel, is supported",
            ));
        }
    };
    importer.elementwise(map, op, &call.name)
}

pub(super) fn softmax(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    // Up to opset 12 it is over all dimensions from its axis on.
    let by_axis = importer.opset >= 13;
    let default = if by_axis { -1 } else { 1 };
    let axis = map.axis(crate::onnx::node::int(call.node, "axis", default))?;
    let end = if by_axis { axis + 1 } else { map.dims.len() };
    if !map.is_over_channels(axis..end) {
        return Err(unsupported(
            format!("{} over dimension {axis}", op_type(call.node)),
            "only a softmax over the classes is supported",
        ));
    }
    let op = match op_type(call.node) {
        "Softmax" => Op::Softmax,
        _ => Op::Ending(crate::network::Ending::LogSoftmax),
    };
    importer.elementwise(map, op, &call.name)
}

/// The index of the largest score, as the last operator.
pub(super) fn argmax(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let axis = map.axis(crate::onnx::node::int(call.node, "axis", 0))?;
    if !map.is_over_channels(axis..axis + 1) {
        return Err(unsupported(
            format!("an argmax over dimension {axis}"),
            "only an argmax over the classes is supported",
        ));
    }
    importer.elementwise(map, Op::Ending(crate::network::Ending::ArgMax), &call.name)
}
