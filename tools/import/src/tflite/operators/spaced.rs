//! Dilated convolutions as Keras' converter writes them: SPACE_TO_BATCH_ND, a convolution, and
//! BATCH_TO_SPACE_ND.

use crate::error::{Problem, unsupported};
use crate::network::{dilated, window_output};
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::schema::corrupt;

/// The distance of rows and columns that go to the same batch, and the amounts at the four edges.
fn block(
    importer: &Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<([usize; 2], [usize; 4]), Problem> {
    let [blocks, edges] = [1, 2].map(|at| importer.constants.ints(call.input(at)?));
    let extents = |list: Vec<i64>| {
        let list: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
        list.ok_or_else(|| corrupt("a negative extent"))
    };
    match (&extents(blocks?)?[..], &extents(edges?)?[..]) {
        (&[across], &[left, right]) => Ok(([1, across], [0, left, 0, right])),
        (&[down, across], &[top, bottom, left, right]) => {
            Ok(([down, across], [top, left, bottom, right]))
        }
        (blocks, edges) => Err(unsupported(
            format!("{} by {blocks:?} and {edges:?}", call.name),
            "only rows and columns can be taken to a batch",
        )),
    }
}

pub(super) fn to_batch(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let (block, pads) = block(importer, call)?;
    let view = importer.view(call.input(0)?)?.padded(pads, [0, 0])?;
    importer.spaced.insert(call.output, block);
    Ok(Made::View(view))
}

/// The reverse: cropped rows and columns are padding that the convolution leaves out.
pub(super) fn to_space(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let (block, crops) = block(importer, call)?;
    let view = importer.view(call.input(0)?)?;
    let input = importer.layers[view.node].inputs.first().copied().unwrap_or(0);
    let from = importer.layers[input].shape;
    let layer = &mut importer.layers[view.node];
    let own = View::new(view.node, layer.shape) == view;
    let refuse = || {
        unsupported(
            "BATCH_TO_SPACE_ND that does not follow a dilated convolution",
            "convert the network with dilations, or without",
        )
    };
    let Computation::Conv(conv) = &mut layer.op else { return Err(refuse()) };
    if importer.spaced.get(&call.input(0)?) != Some(&block) || !own {
        return Err(refuse());
    }
    for (pad, crop) in conv.pads.iter_mut().zip(crops) {
        *pad = pad.checked_sub(crop).ok_or_else(refuse)?;
    }
    let kernel = conv.kernel;
    let reach = std::array::from_fn(|side| dilated(kernel[side], conv.dilation[side]));
    layer.shape = window_output(from, layer.shape[2], reach, conv.stride, conv.pads)?;
    Ok(Made::View(View::new(view.node, layer.shape)))
}
