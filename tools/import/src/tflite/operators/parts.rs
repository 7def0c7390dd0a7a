//! Operators that lay a map out in another way, pad it, or take a part of it.

use crate::error::{Problem, unsupported};
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::Importer;
use crate::tflite::options::Options;
use crate::tflite::schema::corrupt;

pub(super) fn reshape(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    // Only ever flattens: a linear layer reads the map in its own order, NHWC.
    let view = importer.view(call.input(0)?)?;
    let (from, to) = (view.shape(), importer.graph.tensor(call.output)?.map_shape()?);
    if from.iter().product::<usize>() != to.iter().product::<usize>() || to[..2] != [1, 1] {
        return Err(unsupported(
            format!("reshapes {from:?} to {to:?}"),
            "only flattening before the last layer is supported",
        ));
    }
    Ok(Made::View(view))
}

pub(super) fn pad(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let view =
        padded(importer.view(call.input(0)?)?, &importer.graph.tensor(call.input(1)?)?.ints()?)?;
    same_quantization(importer, call.input(0)?, call.output)?;
    Ok(Made::View(view))
}

pub(super) fn strided_slice(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let lists = [call.input(1)?, call.input(2)?, call.input(3)?];
    let [begin, end, strides] = lists.map(|at| importer.graph.tensor(at)?.ints());
    let options = call.options();
    let view = importer.view(call.input(0)?)?;
    let view = taken(view, &begin?, &end?, &strides?, options)?;
    same_quantization(importer, call.input(0)?, call.output)?;
    Ok(Made::View(view))
}

fn padded(view: View, amounts: &[i64]) -> Result<View, Problem> {
    let amounts: Option<Vec<usize>> = amounts.iter().map(|&n| usize::try_from(n).ok()).collect();
    match amounts.as_deref() {
        Some(&[0, 0, top, bottom, left, right, before, after]) => {
            view.padded([top, left, bottom, right], [before, after])
        }
        _ => Err(unsupported(
            format!("pads by {amounts:?}"),
            "only height, width and channels of a map can be padded",
        )),
    }
}

/// Copies keep their scale; a file in which they do not is not TFLite's.
fn same_quantization(importer: &Importer<'_, '_>, input: i32, output: i32) -> Result<(), Problem> {
    let (from, to) = (importer.graph.tensor(input)?, importer.graph.tensor(output)?);
    if (&from.scales, &from.zero_points) == (&to.scales, &to.zero_points) {
        return Ok(());
    }
    Err(corrupt("a copy of a map has another scale"))
}

/// Option A's x[:, ::2, ::2, :].
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
