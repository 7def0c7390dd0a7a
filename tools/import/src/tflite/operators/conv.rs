//! Convolutions and fully connected layers.

use crate::error::{Problem, unsupported};
use crate::network::{check_extents, window_output};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::schema::corrupt;

pub(super) fn conv_2d(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let mut view = importer.view(call.input(0)?)?;
    let weights = call.input(1)?;
    let &[filters, height, width, depth] = &importer.graph.tensor(weights)?.shape[..] else {
        return Err(corrupt("the weights of a convolution have four dimensions"));
    };
    let [filters, kernel_height, kernel_width, depth] =
        [filters, height, width, depth].map(|n| usize::try_from(n).unwrap_or(0));
    if depth != view.shape()[2] {
        return Err(unsupported(
            format!("weights for {depth} of {} channels", view.shape()[2]),
            "brooklet runs ResNets with plain convolutions (no groups)",
        ));
    }
    let options = call.options();
    if options.int(4, 1)? != 1 || options.int(5, 1)? != 1 {
        return Err(unsupported(
            "the window is dilated",
            "brooklet runs networks without dilation",
        ));
    }
    let kernel = [kernel_height, kernel_width];
    let (stride, own) = options.window(view.shape(), kernel)?;
    let added = view.take_pads();
    let pads = std::array::from_fn(|side| own[side] + added[side]);
    let node = importer.settle(view, call.source, call.input(0)?)?;
    let shape = window_output(importer.layers[node].shape, filters, kernel, stride, pads)?;
    let bias = call.optional(2);
    let op = Computation::Conv { weights, bias, stride, pads, fully_connected: false };
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, options.activation(3)?))))
}

pub(super) fn fully_connected(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let weights = call.input(1)?;
    let node = importer.settle(importer.view(call.input(0)?)?, call.source, call.input(0)?)?;
    let filters = importer.graph.tensor(weights)?.shape.first().copied().unwrap_or(0);
    let shape = [1, 1, usize::try_from(filters).unwrap_or(0)];
    check_extents(&shape, "output")?;
    let bias = call.optional(2);
    let (stride, pads) = ([1, 1], [0; 4]);
    let op = Computation::Conv { weights, bias, stride, pads, fully_connected: true };
    let activation = call.options().activation(0)?;
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, activation))))
}
