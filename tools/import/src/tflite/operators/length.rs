//! The division of the last layer's output by its length (L2 norm), written as several operators.

use crate::error::{Problem, unsupported};
use crate::network::{Activation, Ending};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer, Length};
use crate::tflite::schema::element;

/// Smallest bound of a reciprocal length, or largest of a length, that is only a guard for a
/// division.
const GUARD: f32 = 1e-3;

/// The result of an operator on a length, if it begins, continues or ends such a computation.
pub(in crate::tflite) fn length(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Option<Made>, Problem> {
    let lengths = call.operator.inputs.iter().map(|at| importer.lengths.get(at).copied());
    let known: Vec<Option<Length>> = lengths.collect();
    let first = known.first().copied().flatten();
    let view = || importer.view(call.input(0)?);
    let next = match (call.name, first) {
        ("SQUARE", None) => Length::Squares,
        ("QUANTIZE" | "DEQUANTIZE", Some(length)) => length,
        ("SUM", Some(Length::Squares)) => Length::Square,
        ("SQRT", Some(Length::Square)) => Length::Root,
        ("RSQRT", Some(Length::Square)) => Length::Reciprocal,
        ("MAXIMUM" | "ADD", Some(length @ (Length::Square | Length::Root))) => {
            let guard = importer.constants.floats(call.input(1)?)?;
            if !matches!(guard[..], [guard] if (0.0..=GUARD).contains(&guard)) {
                return Err(inside());
            }
            length
        }
        ("MINIMUM", Some(Length::Reciprocal)) => {
            let guard = importer.constants.floats(call.input(1)?)?;
            // The largest number of a tensor in int8 bounds nothing.
            let tensor = importer.constants.tensor(call.input(1)?)?;
            let largest = tensor.kind == element::INT8 && tensor.data == [i8::MAX as u8];
            if !largest && !matches!(guard[..], [guard] if guard >= 1.0 / GUARD) {
                return Err(inside());
            }
            Length::Reciprocal
        }
        ("MUL" | "DIV", _) if known.iter().any(Option::is_some) => {
            let wanted = if call.name == "MUL" { Length::Reciprocal } else { Length::Root };
            let places = match known[..] {
                [None, Some(length)] if length == wanted => [0, 1],
                [Some(length), None] if length == wanted && call.name == "MUL" => [1, 0],
                _ => return Err(inside()),
            };
            let [map, of] = [call.input(places[0])?, call.input(places[1])?];
            let view = importer.view(map)?;
            if importer.view(of)? != view || view.shape()[..2] != [1, 1] {
                return Err(inside());
            }
            let node = importer.settle(view, call.source, map)?;
            let shape = importer.layers[node].shape;
            let op = Computation::Ending(Ending::UnitLength);
            let layer = call.layer(op, vec![node], shape, Activation::None);
            return Ok(Some(Made::Layer(importer.push(layer))));
        }
        (_, _) if known.iter().any(Option::is_some) => return Err(inside()),
        _ => return Ok(None),
    };
    let made = Made::View(view()?);
    importer.lengths.insert(call.output, next);
    Ok(Some(made))
}

fn inside() -> Problem {
    unsupported(
        "reads the length of a vector (its L2 norm)",
        "only the division of the last layer's output by its length is supported",
    )
}
