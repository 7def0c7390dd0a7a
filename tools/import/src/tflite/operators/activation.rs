//! Activations, the softmax and the sigmoid.

use crate::error::{Problem, unsupported};
use crate::network::Activation;
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::graph::Operator;
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::schema::operator_name;

pub(super) fn relu(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    // As a layer of its own it is fused into the layer before, where nothing else
    // reads that.
    let at = call.input(0)?;
    let view = importer.view(at)?;
    let reads = |op: &&Operator<'_>| op.inputs.contains(&at);
    let once = importer.graph.operators.iter().filter(reads).count() == 1;
    let before = &mut importer.layers[view.node];
    if !once || view != View::new(view.node, before.shape) || before.tensor != at {
        return Err(unsupported(
            "an activation that follows no layer of its own",
            "convert the network with TensorFlow 2's converter, which fuses them",
        ));
    }
    let activation = if call.name == "RELU" { Activation::Relu } else { Activation::Relu6 };
    match (before.activation, &before.op) {
        (Activation::None, Computation::Conv { .. } | Computation::Add) => {}
        _ => {
            return Err(unsupported(
                "an activation after an activation or a pooling",
                "only convolutions, linear layers and additions are rectified",
            ));
        }
    }
    (before.activation, before.tensor) = (activation, call.output);
    Ok(Made::Layer(view.node))
}

pub(super) fn softmax(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let node = importer.settle(importer.view(call.input(0)?)?, call.source, call.input(0)?)?;
    let shape = importer.layers[node].shape;
    let beta = call.options().number(0, 0.0f32)?;
    if beta != 1.0 || shape[..2] != [1, 1] {
        return Err(unsupported(
            format!("a softmax of {shape:?} with beta {beta}"),
            "only a softmax over the classes, with beta 1, is supported",
        ));
    }
    Ok(Made::Layer(importer.push(call.layer(
        Computation::Softmax,
        vec![node],
        shape,
        Activation::None,
    ))))
}

pub(super) fn logistic(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let view = importer.view(call.input(0)?)?;
    // Only changes of the type may follow.
    let follows = |op: &Operator<'_>| {
        let name = operator_name(op.code);
        op.inputs.contains(&call.output) && name != "QUANTIZE" && name != "DEQUANTIZE"
    };
    if importer.graph.operators.iter().any(follows) {
        return Err(unsupported(
            "a sigmoid inside of the network",
            "a sigmoid may only be the network's last layer, behind its scores",
        ));
    }
    importer.sigmoid = true;
    Ok(Made::View(view))
}
