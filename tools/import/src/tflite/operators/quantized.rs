//! Changes of the type of a map's elements.

use crate::error::{Problem, unsupported};
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::graph::Tensor;
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::schema::element;

pub(super) fn quantize(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let view = importer.view(call.input(0)?)?;
    converted(importer, call.input(0)?, call.output, view)?;
    Ok(Made::View(view))
}

pub(super) fn dequantize(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let view = importer.view(call.input(0)?)?;
    last(importer, call.output, "DEQUANTIZE")?;
    Ok(Made::View(view))
}

/// QUANTIZE at the input (from float, or from uint8 at the same scale) and at the output.
fn converted(
    importer: &mut Importer<'_, '_>,
    input: i32,
    output: i32,
    view: View,
) -> Result<(), Problem> {
    let (from, to) = (importer.graph.tensor(input)?, importer.graph.tensor(output)?);
    // uint8 and int8 of one scale are the same values, 128 apart.
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
    let at_input = matches!(importer.layers[view.node].op, Computation::Input);
    if at_input && to.kind == element::INT8 && (from.kind == element::FLOAT32 || shifted(from, to))
    {
        importer.layers[view.node].tensor = output;
        return Ok(());
    }
    if shifted(to, from) {
        return last(importer, output, "QUANTIZE");
    }
    Err(unsupported(
        "a change of scale inside the network",
        "convert the whole network to int8 at once",
    ))
}

/// An operator that only changes the output's type must be the last one.
fn last(importer: &Importer<'_, '_>, output: i32, op: &str) -> Result<(), Problem> {
    if importer.graph.outputs == [output] {
        return Ok(());
    }
    Err(unsupported(
        format!("{op} inside the network: parts of it are float"),
        "convert the whole network to int8",
    ))
}
