//! Operators that change the layout of a map, pad it, or select a part of it.

use crate::error::{Problem, unsupported};
use crate::network::Shape;
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::options::Options;
use crate::tflite::schema::corrupt;

/// RESHAPE, SQUEEZE and EXPAND_DIMS.
pub(super) fn reshape(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    // They are only used to flatten: a linear layer reads the map in its own order, NHWC.
    let view = importer.view(call.input(0)?)?;
    if let Some(&block) = importer.spaced.get(&call.input(0)?) {
        importer.spaced.insert(call.output, block);
        return Ok(Made::View(view));
    }
    let from = view.shape();
    let asked = call.optional(1).filter(|_| call.name == "RESHAPE");
    let asked = asked.and_then(|at| importer.constants.ints(at).ok());
    let elements = from.iter().product::<usize>();
    let to = match asked.and_then(|asked| target(&asked, elements)) {
        Some(to) => to,
        None => importer.graph.tensor(call.output)?.map_shape()?,
    };
    if elements != to.iter().product::<usize>() || (to[..2] != [1, 1] && to != from) {
        return Err(unsupported(
            format!("reshapes {from:?} to {to:?}"),
            "only flattening before the last layer is supported",
        ));
    }
    Ok(Made::View(view))
}

/// The shape that a list gives; −1 takes the remaining elements.
fn target(asked: &[i64], elements: usize) -> Option<Shape> {
    let known: i64 = asked.iter().filter(|&&size| size > 0).product();
    let rest = (elements as i64).checked_div(known)?;
    let sizes: Option<Vec<usize>> = asked
        .iter()
        .map(|&size| usize::try_from(if size == -1 { rest } else { size }).ok())
        .collect();
    match sizes?[..] {
        [1, height, width, channels] => Some([height, width, channels]),
        [1, width, channels] => Some([1, width, channels]),
        [1, channels] | [channels] => Some([1, 1, channels]),
        _ => None,
    }
}

/// From N, C, H, W to N, H, W, C at the input, or for a map that has one pixel or one channel.
pub(super) fn transpose(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let view = importer.view(call.input(0)?)?;
    let at_input = matches!(importer.layers[view.node].op, Computation::Input);
    let [height, width, channels] = view.shape();
    if (at_input && importer.channels_first(call.input(0)?))
        || [height, width] == [1, 1]
        || channels == 1 && importer.graph.tensor(call.output)?.map_shape()? == view.shape()
    {
        return Ok(Made::View(view));
    }
    Err(unsupported(
        "transposes a map inside of the network",
        "convert the network with channels last throughout",
    ))
}

pub(super) fn pad(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    if call.name == "PADV2" {
        let value = importer.constants.floats(call.input(2)?)?;
        if value.iter().any(|&value| value != 0.0) {
            return Err(unsupported(
                format!("pads with {value:?}"),
                "only padding with zeros is supported",
            ));
        }
    }
    let view = padded(importer.view(call.input(0)?)?, &importer.constants.ints(call.input(1)?)?)?;
    same_quantization(importer, call.input(0)?, call.output)?;
    Ok(Made::View(view))
}

pub(super) fn strided_slice(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let lists = [call.input(1)?, call.input(2)?, call.input(3)?];
    let [begin, end, strides] = lists.map(|at| importer.constants.ints(at));
    let options = call.options();
    let view = importer.view(call.input(0)?)?;
    let view = taken(view, &begin?, &end?, &strides?, options)?;
    same_quantization(importer, call.input(0)?, call.output)?;
    Ok(Made::View(view))
}

fn padded(view: View, amounts: &[i64]) -> Result<View, Problem> {
    let amounts: Option<Vec<usize>> = amounts.iter().map(|&n| usize::try_from(n).ok()).collect();
    match amounts.as_deref() {
        Some(&[0, 0, left, right, before, after]) => {
            view.padded([0, left, 0, right], [before, after])
        }
        Some(&[0, 0, top, bottom, left, right, before, after]) => {
            view.padded([top, left, bottom, right], [before, after])
        }
        _ => Err(unsupported(
            format!("pads by {amounts:?}"),
            "only height, width and channels of a map can be padded",
        )),
    }
}

/// TFLite's copies keep their scale, so a file in which they do not is broken.
fn same_quantization(importer: &Importer<'_, '_>, input: i32, output: i32) -> Result<(), Problem> {
    let (from, to) = (importer.graph.tensor(input)?, importer.graph.tensor(output)?);
    if (&from.scales, &from.zero_points) == (&to.scales, &to.zero_points) {
        return Ok(());
    }
    Err(corrupt("a copy of a map has another scale"))
}

/// The slices x[:, ::2, ::2, :] of option A.
fn taken(
    view: View,
    begin: &[i64],
    end: &[i64],
    strides: &[i64],
    options: Options<'_>,
) -> Result<View, Problem> {
    let masks = (options.int(0, 0)?, options.int(1, 0)?);
    let others = [options.int(2, 0)?, options.int(3, 0)?, options.int(4, 0)?];
    let [height, width, channels] = view.shape();
    let whole = |dim: usize, size: usize| {
        (masks.0 & (1 << dim) != 0 || begin[dim] == 0)
            && (masks.1 & (1 << dim) != 0 || end[dim] >= size as i64)
    };
    let sizes = [1, height, width, channels];
    let lists = [begin.len(), end.len(), strides.len()] == [4; 3] && others == [0; 3];
    match *strides {
        [1, down, across, 1] if lists && (0..4).all(|dim| whole(dim, sizes[dim])) => {
            let stride = [down, across].map(|step| usize::try_from(step).unwrap_or(0));
            view.subsampled(stride)
        }
        _ => Err(unsupported(
            "slices a map to a part",
            "only every n-th row or column, from the first, can be taken",
        )),
    }
}
