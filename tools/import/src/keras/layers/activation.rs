//! Activations: as layers of their own, and as parts of other layers.

use serde_json::Value;

use super::Map;
use crate::error::{Problem, unsupported};
use crate::keras::config::{Layer, number};
use crate::keras::corrupt;
use crate::keras::graph::{Call, Walk, own_code};
use crate::network::{BatchNorm, Ending, Function, Op};

/// Applies the activation in a layer's configuration to the layer's output.
pub(super) fn activated(walk: &mut Walk, map: Map, call: &Call<'_>) -> Result<Map, Problem> {
    let value = call.layer.config.get("activation").unwrap_or(&Value::Null);
    let name = match value {
        Value::Null => return Ok(map),
        Value::String(name) => name.as_str(),
        // It is the name of a function, or a layer.
        object => match Layer::object(object) {
            Some(layer) if layer.class == "function" => match object["config"].as_str() {
                Some(name) => name,
                None => return Err(own_code("activation")),
            },
            Some(layer) => return as_layer(walk, map, call, layer),
            None => return Err(corrupt(format!("an activation of {object}"))),
        },
    };
    let name = name.rsplit('>').next().unwrap_or(name);
    named(walk, map, call, name)
}

/// An activation by its name.
fn named(walk: &mut Walk, mut map: Map, call: &Call<'_>, name: &str) -> Result<Map, Problem> {
    let op = match name {
        "linear" => return Ok(map),
        "relu" => Op::Relu,
        "relu6" => Op::Relu6,
        "sigmoid" => Op::Function(Function::Sigmoid),
        "hard_sigmoid" => {
            Op::Function(Function::HardSigmoid { slope: hard_slope(walk), offset: 0.5 })
        }
        "tanh" => Op::Function(Function::Tanh),
        "elu" | "celu" => Op::Function(Function::Elu { alpha: 1.0 }),
        "mish" => Op::Function(Function::Mish),
        "selu" => {
            map =
                walk.elementwise(Op::Function(Function::Elu { alpha: 1.673_263_2 }), &map, call)?;
            let channels = map.view.shape()[2];
            Op::BatchNorm(BatchNorm::affine_of(&[1.050_701], &[0.0], channels))
        }
        "gelu" => Op::Function(Function::Gelu),
        "silu" | "swish" => Op::Function(Function::Silu),
        "hard_silu" | "hard_swish" => Op::Function(Function::HardSwish),
        "leaky_relu" => Op::Function(Function::LeakyRelu { slope: 0.2 }),
        "exponential" => Op::Function(Function::Exp),
        "hard_tanh" => Op::Function(Function::Clip { min: -1.0, max: 1.0 }),
        "softplus" => Op::Function(Function::Softplus),
        "softmax" => return scores(walk, &map, call, Op::Softmax),
        "log_softmax" => return scores(walk, &map, call, Op::Ending(Ending::LogSoftmax)),
        other => {
            return Err(unsupported(
                format!("an activation of `{other}`"),
                "use ReLU, LeakyReLU, sigmoid, tanh, ELU, SELU, GELU, SiLU, Mish or hard-swish",
            ));
        }
    };
    walk.elementwise(op, &map, call)
}

/// Applies an activation that is given as a layer.
fn as_layer(walk: &mut Walk, map: Map, call: &Call<'_>, layer: Layer<'_>) -> Result<Map, Problem> {
    if layer.class == "PReLU" {
        return Err(unsupported(
            "a PReLU as the activation of a layer",
            "make it a layer of its own, behind the other",
        ));
    }
    let inner = Call { layer: Layer { name: call.layer.name, ..layer }, ..call.of(map) };
    super::run(walk, &inner)
}

/// The slope of the hard sigmoid: 1/6 in Keras 3, as in PyTorch, and 0.2 in Keras 2.
fn hard_slope(walk: &Walk) -> f32 {
    if walk.is_keras_2() { 0.2 } else { 1.0 / 6.0 }
}

pub(super) fn activation(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    activated(walk, map, call)
}

/// An operator of Keras 3 that is an activation.
pub(super) fn operator(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    named(walk, map, call, &call.layer.class.to_lowercase())
}

/// `ReLU`, which may have a largest value, a slope for negative numbers, or a threshold.
pub(super) fn relu(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let of = |key: &str| call.layer.number(key).unwrap_or(0.0);
    let (slope, most) = (of("negative_slope"), call.layer.number("max_value"));
    let op = match (slope, most) {
        _ if of("threshold") != 0.0 => None,
        (0.0, most) => Op::clip([0.0, most.unwrap_or(f32::MAX)]),
        (slope, None) => Some(Op::Function(Function::LeakyRelu { slope })),
        (slope, Some(max)) => {
            let leaky = Op::Function(Function::LeakyRelu { slope });
            let made = walk.elementwise(leaky, &map, call)?;
            let most = Op::Function(Function::Clip { min: f32::MIN, max });
            return walk.elementwise(most, &made, call);
        }
    };
    match op {
        Some(op) => walk.elementwise(op, &map, call),
        None => Err(unsupported(
            format!("a ReLU with the threshold {}", of("threshold")),
            "use one without a threshold",
        )),
    }
}

pub(super) fn leaky_relu(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let slope = call.layer.number("negative_slope").or_else(|| {
        // In Keras 2 it is called `alpha`, and is a number or an array with one number.
        let alpha = call.layer.config.get("alpha")?;
        number(alpha).or_else(|| call.layer.numbers("alpha")?.first().copied())
    });
    let map = *walk.only(call)?;
    walk.elementwise(Op::Function(Function::LeakyRelu { slope: slope.unwrap_or(0.3) }), &map, call)
}

pub(super) fn elu(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let alpha = call.layer.number("alpha").unwrap_or(1.0);
    let map = *walk.only(call)?;
    walk.elementwise(Op::Function(Function::Elu { alpha }), &map, call)
}

pub(super) fn prelu(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let slopes = walk.weight(call, &["alpha"], 0)?;
    let channels = map.view.shape()[2];
    if slopes.len() != channels || slopes.shape().last() != Some(&channels) {
        return Err(unsupported(
            format!("slopes of shape {:?}", slopes.shape()),
            "only one slope per channel (`shared_axes=[1, 2]`) is supported",
        ));
    }
    walk.elementwise(Op::PRelu(slopes.iter().copied().collect()), &map, call)
}

pub(super) fn softmax(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    scores(walk, &map, call, Op::Softmax)
}

pub(super) fn unit_length(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    scores(walk, &map, call, Op::Ending(Ending::UnitLength))
}

/// Applies an operator over the scores of each pixel.
fn scores(walk: &mut Walk, map: &Map, call: &Call<'_>, op: Op) -> Result<Map, Problem> {
    let shape = map.view.shape();
    let axis = match call.layer.config.get("axis") {
        Some(Value::Array(axes)) if axes.len() == 1 => axes[0].as_i64(),
        Some(axis) => axis.as_i64(),
        None => Some(-1),
    };
    let is_last = axis.is_some_and(|axis| axis == -1 || axis == map.dimensions as i64);
    if shape[..2] != [1, 1] && (map.dimensions == 1 || !is_last) {
        return Err(unsupported(
            format!("{} of a map of {shape:?}", op.name()),
            "this operator is only supported over the channels of each pixel, after the last layer",
        ));
    }
    walk.elementwise(op, map, call)
}
