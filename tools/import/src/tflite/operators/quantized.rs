//! Changes of the type of a map's elements.

use crate::error::{Problem, unsupported};
use crate::network::Activation;
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::graph::Tensor;
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::schema::{element, element_name};

pub(super) fn quantize(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let view = importer.view(call.input(0)?)?;
    converted(importer, call, view)
}

pub(super) fn dequantize(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    // In the network, a function of single values may follow, which is quantized again.
    Ok(Made::View(importer.view(call.input(0)?)?))
}

/// QUANTIZE at the input (from float, or from uint8 with the same scale), at the output, and
/// between two scales in the network.
fn converted(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
    view: View,
) -> Result<Made, Problem> {
    let (from, to) = (importer.graph.tensor(call.input(0)?)?, importer.graph.tensor(call.output)?);
    // With the same scale, values of uint8 and int8 differ by 128.
    let shifted = |unsigned: &Tensor<'_>, signed: &Tensor<'_>| {
        unsigned.kind == element::UINT8
            && signed.kind == element::INT8
            && unsigned.scales == signed.scales
            && unsigned
                .zero_points
                .iter()
                .map(|zero| zero - 128)
                .eq(signed.zero_points.iter().copied())
    };
    let layer = &mut importer.layers[view.node];
    if (from.kind, to.kind) == (element::FLOAT32, element::INT8)
        && layer.tensor == call.input(0)?
        && let Computation::Function(function) = layer.op
    {
        layer.op = Computation::FloatFunction(function);
        layer.tensor = call.output;
        return Ok(Made::View(view));
    }
    let at_input = matches!(importer.layers[view.node].op, Computation::Input);
    let to_wide = to.kind == element::INT16 && from.kind == element::FLOAT32;
    let to_narrow =
        to.kind == element::INT8 && (from.kind == element::FLOAT32 || shifted(from, to));
    if at_input && (to_wide || to_narrow) {
        importer.layers[view.node].tensor = call.output;
        return Ok(Made::View(view));
    }
    if shifted(to, from) {
        last(importer, call.output, "QUANTIZE")?;
        return Ok(Made::View(view));
    }
    if (from.kind, to.kind) == (element::INT8, element::INT8) {
        let node = importer.settle(view, call.source, call.input(0)?)?;
        let shape = importer.layers[node].shape;
        let layer = call.layer(Computation::Requantize, vec![node], shape, Activation::None);
        return Ok(Made::Layer(importer.push(layer)));
    }
    Err(unsupported(
        format!(
            "a change from {} to {} inside the network",
            element_name(from.kind),
            element_name(to.kind)
        ),
        "convert the whole network to int8 at once",
    ))
}

/// An operator that changes only the output's type must be the last one.
fn last(importer: &Importer<'_, '_>, output: i32, op: &str) -> Result<(), Problem> {
    if importer.graph.outputs.contains(&output) {
        return Ok(());
    }
    Err(unsupported(
        format!("{op} inside the network: parts of it are float"),
        "convert the whole network to int8",
    ))
}
