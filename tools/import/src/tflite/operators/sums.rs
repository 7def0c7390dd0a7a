//! Additions.

use crate::error::{Problem, unsupported};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer};

pub(super) fn add(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let mut nodes = Vec::with_capacity(2);
    for at in [call.input(0)?, call.input(1)?] {
        nodes.push(importer.settle(importer.view(at)?, call.source, at)?);
    }
    let shape = importer.layers[nodes[0]].shape;
    if shape != importer.layers[nodes[1]].shape {
        return Err(unsupported(
            "adds maps of different shapes",
            "only additions of two maps of one shape are supported",
        ));
    }
    let activation = call.options().activation(0)?;
    Ok(Made::Layer(importer.push(call.layer(Computation::Add, nodes, shape, activation))))
}
