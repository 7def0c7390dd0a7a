//! Additions, multiplications and concatenations, of maps and with constants.

use crate::error::{Problem, unsupported};
use crate::network::{Activation, Function, Op, TfliteFunction};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Computed, Importer, Operation};
use crate::tflite::schema::element;

/// ADD, SUB, MUL and DIV.
pub(super) fn arithmetic(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let tensors = [call.input(0)?, call.input(1)?];
    let activation = call.options().activation(0)?;
    if let Some(constant) = tensors.iter().position(|&at| importer.constants.has(at)) {
        return affine(importer, call, constant, activation);
    }
    let mut nodes = Vec::with_capacity(2);
    for at in tensors {
        nodes.push(importer.settle(importer.view(at)?, call.source, at)?);
    }
    let [a, b] = [nodes[0], nodes[1]].map(|node| importer.layers[node].shape);
    let op = match call.name {
        "ADD" if a == b => Computation::Add,
        "SUB" if a == b => Computation::Subtract,
        "MUL" => {
            if a.iter().product::<usize>() < b.iter().product() {
                nodes.reverse();
            }
            let [a, b] = [nodes[0], nodes[1]].map(|node| importer.layers[node].shape);
            if a != b && b == [a[0], a[1], 1] {
                let tensor = importer.layers[nodes[1]].tensor;
                let spread = call.layer(Computation::Spread, vec![nodes[1]], a, Activation::None);
                nodes[1] = importer.push(Computed { tensor, ..spread });
            } else if a != b && b != [1, 1, a[2]] {
                return Err(unsupported(
                    format!("multiplies maps of shapes {a:?} and {b:?}"),
                    "a map can be multiplied by a map of its shape, or by one value per channel or per pixel",
                ));
            }
            Computation::Multiply
        }
        "DIV" => {
            return Err(unsupported(
                "DIV of two maps",
                "maps can be added, subtracted and multiplied, and divided by constants",
            ));
        }
        name => {
            return Err(unsupported(
                format!("{name} of maps of different shapes, {a:?} and {b:?}"),
                "only additions of two maps of one shape are supported",
            ));
        }
    };
    let shape = importer.layers[nodes[0]].shape;
    Ok(Made::Layer(importer.push(call.layer(op, nodes, shape, activation))))
}

/// NEG: the map times −1.
pub(super) fn negative(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let at = call.input(0)?;
    let node = importer.settle(importer.view(at)?, call.source, at)?;
    let shape = importer.layers[node].shape;
    let (factors, offsets) = (vec![-1.0; shape[2]], vec![0.0; shape[2]]);
    let op = Computation::Affine { factors, offsets, operation: None };
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, Activation::None))))
}

/// Arithmetic with one value, or one per channel: a bias, or a part of a batch norm or of the
/// image's normalization.
fn affine(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
    constant: usize,
    activation: Activation,
) -> Result<Made, Problem> {
    let (at, map) = (call.input(constant)?, call.input(1 - constant)?);
    let node = importer.settle(importer.view(map)?, call.source, map)?;
    let shape = importer.layers[node].shape;
    if importer.constants.tensor(at)?.kind == element::INT16 {
        return Err(unsupported(
            format!("{} of a constant in a network of 16 bits", call.name),
            "if it normalizes the image, leave it out of the network and give --mean and --std; \
             otherwise convert the network to int8, or give the float network",
        ));
    }
    let values = importer.constants.floats(at)?;
    let sizes = &importer.constants.tensor(at)?.shape;
    let a_channel = values.len() == shape[2] && importer.is_by_channel(sizes, map, shape[2])?;
    if values.len() != 1 && !a_channel {
        return Err(unsupported(
            format!("{} with a constant of shape {sizes:?}", call.name),
            "maps are added to and multiplied by one value, or one value per channel",
        ));
    }
    let values = values.iter().cycle().take(shape[2]);
    let (factors, offsets) = match (call.name, constant) {
        ("ADD", _) => values.map(|&value| (1.0, value)).unzip(),
        ("SUB", 1) => values.map(|&value| (1.0, -value)).unzip(),
        ("SUB", _) => values.map(|&value| (-1.0, value)).unzip(),
        ("MUL", _) => values.map(|&value| (value, 0.0)).unzip(),
        (_, 1) => values.map(|&value| (value.recip(), 0.0)).unzip(),
        (name, _) => {
            return Err(unsupported(
                format!("{name} of a constant by a map"),
                "maps are added, multiplied, and divided by constants",
            ));
        }
    };
    let operation: Option<Operation> = match (call.name, constant) {
        ("ADD", _) => Some(TfliteFunction::Add),
        ("SUB", 1) => Some(TfliteFunction::Subtract),
        ("SUB", _) => Some(TfliteFunction::SubtractFrom),
        ("MUL", _) => Some(TfliteFunction::Multiply),
        _ => None,
    };
    let operation = operation.map(|operation| (operation, at));
    let op = Computation::Affine { factors, offsets, operation };
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, activation))))
}

/// MAXIMUM and MINIMUM, of a map and a number, or of two maps.
pub(super) fn larger(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let tensors = [call.input(0)?, call.input(1)?];
    let largest = call.name == "MAXIMUM";
    if let Some(constant) = tensors.iter().position(|&at| importer.constants.has(at)) {
        let values = importer.constants.floats(tensors[constant])?;
        let &[bound] = &values[..] else {
            return Err(unsupported(
                format!("{} with {} numbers", call.name, values.len()),
                "the larger or the smaller of two maps, or of a map and a number, is supported",
            ));
        };
        let [min, max] = if largest { [bound, f32::MAX] } else { [f32::MIN, bound] };
        let at = tensors[1 - constant];
        let node = importer.settle(importer.view(at)?, call.source, at)?;
        let shape = importer.layers[node].shape;
        let op = match Op::clip([min, max]) {
            Some(Op::Relu) => Computation::Rectifier(Activation::Relu),
            Some(Op::Relu6) => Computation::Rectifier(Activation::Relu6),
            _ => Computation::Function(Function::Clip { min, max }),
        };
        return Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, Activation::None))));
    }
    let mut nodes = Vec::with_capacity(2);
    for at in tensors {
        nodes.push(importer.settle(importer.view(at)?, call.source, at)?);
    }
    let [a, b] = [nodes[0], nodes[1]].map(|node| importer.layers[node].shape);
    let output = importer.graph.tensor(call.output)?;
    let mut alike = a == b && output.kind != element::INT16;
    for at in tensors {
        let tensor = importer.graph.tensor(at)?;
        alike &= (&tensor.scales, &tensor.zero_points) == (&output.scales, &output.zero_points);
    }
    if !alike {
        return Err(unsupported(
            format!("{} of maps of shapes {a:?} and {b:?}", call.name),
            "the larger or the smaller of two maps of one shape and scale is supported, but not of \
             16 bits",
        ));
    }
    // a + max(b − a, 0), or a − max(a − b, 0).
    if !largest {
        nodes.reverse();
    }
    let mut add = |op: Computation, inputs: Vec<usize>| {
        importer.push(call.layer(op, inputs, a, Activation::None))
    };
    let more = add(Computation::Excess, vec![nodes[1], nodes[0]]);
    let made = match largest {
        true => add(Computation::Add, vec![nodes[0], more]),
        false => add(Computation::Subtract, vec![nodes[1], more]),
    };
    Ok(Made::Layer(made))
}

pub(super) fn concatenation(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let options = call.options();
    let rank = importer.graph.tensor(call.output)?.shape.len() as i32;
    let axis = options.int(0, 0)?;
    let turned = importer.turned.contains(&call.output);
    if axis.rem_euclid(rank.max(1)) != if turned { 1 } else { rank - 1 } {
        return Err(unsupported(
            format!("joins maps along dimension {axis}"),
            "only channels can be joined",
        ));
    }
    let mut nodes = Vec::with_capacity(call.operator.inputs.len());
    for index in 0..call.operator.inputs.len() {
        let at = call.input(index)?;
        nodes.push(importer.settle(importer.view(at)?, call.source, at)?);
    }
    let shapes = nodes.iter().map(|&node| importer.layers[node].shape);
    let channels = shapes.fold(0usize, |sum, shape| sum.saturating_add(shape[2]));
    let [height, width, _] = importer.layers[nodes[0]].shape;
    let shape = [height, width, channels];
    crate::network::check_extents(&shape, "output")?;
    let activation = options.activation(1)?;
    Ok(Made::Layer(importer.push(call.layer(Computation::Concat, nodes, shape, activation))))
}
