//! Activations, and operators that may follow the scores.

use crate::error::{Problem, unsupported};
use crate::network::{Activation, Ending, Function};
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::graph::Operator;
use crate::tflite::importer::{Computation, Importer};

pub(super) fn relu(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    // It is fused into the layer before it, if nothing else reads that.
    let at = call.input(0)?;
    let view = importer.view(at)?;
    let reads = |op: &&Operator<'_>| op.inputs.contains(&at);
    let once = importer.graph.operators.iter().filter(reads).count() == 1;
    let activation = if call.name == "RELU" { Activation::Relu } else { Activation::Relu6 };
    let before = &mut importer.layers[view.node];
    let fuses = matches!(before.op, Computation::Conv(_) | Computation::Add);
    let own = view == View::new(view.node, before.shape) && before.tensor == at;
    // For int8 maps, clipping is only the same if the scale stays the same; another scale rounds
    // again.
    let quantization = |at: i32| {
        let tensor = importer.graph.tensor(at)?;
        Ok::<_, Problem>((&tensor.scales, &tensor.zero_points))
    };
    let own = own && quantization(at)? == quantization(call.output)?;
    if once && own && fuses && before.activation == Activation::None {
        (before.activation, before.tensor) = (activation, call.output);
        return Ok(Made::Layer(view.node));
    }
    elementwise(importer, call, Computation::Rectifier(activation))
}

pub(super) fn function(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let options = call.options();
    let function = match call.name {
        "LEAKY_RELU" => Function::LeakyRelu { slope: options.number(0, 0.0f32)? },
        "LOGISTIC" => Function::Sigmoid,
        "HARD_SWISH" => Function::HardSwish,
        "TANH" => Function::Tanh,
        "ABS" => Function::Abs,
        "EXP" => Function::Exp,
        "LOG" => Function::Log,
        "SQRT" => Function::Power { exponent: 0.5 },
        "ELU" => Function::Elu { alpha: 1.0 },
        "RELU_N1_TO_1" => Function::Clip { min: -1.0, max: 1.0 },
        "RELU_0_TO_1" => Function::Clip { min: 0.0, max: 1.0 },
        _ if options.number(0, false)? => Function::GeluTanh,
        _ => Function::Gelu,
    };
    elementwise(importer, call, Computation::Function(function))
}

pub(super) fn prelu(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let (at, channels) = (call.input(1)?, importer.view(call.input(0)?)?.shape()[2]);
    let shape = &importer.constants.tensor(at)?.shape;
    let slopes: i64 = shape.iter().map(|&size| i64::from(size)).product();
    if slopes != 1 && (slopes != channels as i64 || shape.last() != Some(&(channels as i32))) {
        return Err(unsupported(
            format!("slopes of shape {shape:?}"),
            "only one slope, or one per channel (Keras: shared_axes=[1, 2]), is supported",
        ));
    }
    elementwise(importer, call, Computation::PRelu(at))
}

pub(super) fn softmax(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let shape = importer.view(call.input(0)?)?.shape();
    let beta = if call.name == "SOFTMAX" { call.options().number(0, 0.0f32)? } else { 1.0 };
    if beta != 1.0 || !importer.is_by_pixel(call.input(0)?)? {
        return Err(unsupported(
            format!("a softmax of {shape:?} with beta {beta}"),
            "only a softmax over the classes, with beta 1, is supported",
        ));
    }
    let op = match call.name {
        "SOFTMAX" => Computation::Softmax,
        _ => Computation::Ending(Ending::LogSoftmax),
    };
    elementwise(importer, call, op)
}

pub(super) fn ending(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let at = call.input(0)?;
    let shape = importer.view(at)?.shape();
    let ending = if call.name == "ARG_MAX" { Ending::ArgMax } else { Ending::UnitLength };
    let rank = importer.graph.tensor(at)?.shape.len() as i64;
    let is_last = |axis: i64| axis == -1 || axis == rank - 1;
    let over_channels = ending == Ending::UnitLength
        || importer.constants.ints(call.input(1)?)?.first().copied().is_some_and(is_last);
    if shape[..2] != [1, 1] && !(over_channels && importer.is_by_pixel(at)?) {
        return Err(unsupported(
            format!("{} of a map of {shape:?}", call.name),
            "this operator is only supported over the scores, after the last layer",
        ));
    }
    elementwise(importer, call, Computation::Ending(ending))
}

/// An operator that keeps the shape.
fn elementwise(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
    op: Computation,
) -> Result<Made, Problem> {
    let node = importer.settle(importer.view(call.input(0)?)?, call.source, call.input(0)?)?;
    let shape = importer.layers[node].shape;
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, Activation::None))))
}
