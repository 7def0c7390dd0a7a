//! Poolings and means.

use crate::error::{Problem, unsupported};
use crate::network::{Activation, Window, window_output};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer};

pub(super) fn pool_2d(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let mut view = importer.view(call.input(0)?)?;
    let options = call.options();
    let kernel = [options.extent(4, 0)?, options.extent(3, 0)?];
    let (stride, mut pads) = options.window(view.shape(), kernel)?;
    if options.activation(5)? != Activation::None {
        return Err(unsupported(
            "a pooling with an activation",
            "only convolutions, linear layers and additions are rectified",
        ));
    }
    let [height, width, channels] = view.shape();
    let average = call.name == "AVERAGE_POOL_2D";
    if average && (kernel != [height, width] || pads != [0; 4]) {
        return Err(unsupported(
            format!("averages over {kernel:?} of a map of {:?}", [height, width]),
            "only an average over the whole map is supported",
        ));
    }
    if !average && importer.layers[view.node].activation != Activation::None {
        // Zeros around a rectified map lose against it, as padding does.
        let added = view.take_pads();
        pads = std::array::from_fn(|side| pads[side] + added[side]);
    }
    if (0..2).any(|side| pads[side] >= kernel[side] || pads[side + 2] >= kernel[side]) {
        return Err(unsupported(
            "a pooling window lies wholly in the padding",
            "pad less than the window's size",
        ));
    }
    let node = importer.settle(view, call.source, call.input(0)?)?;
    let (op, shape) = if average {
        (Computation::AveragePool, [1, 1, channels])
    } else {
        let shape = window_output(importer.layers[node].shape, channels, kernel, stride, pads)?;
        (Computation::MaxPool(Window { kernel, stride, pads }), shape)
    };
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, Activation::None))))
}

pub(super) fn mean(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let node = importer.settle(importer.view(call.input(0)?)?, call.source, call.input(0)?)?;
    let mut axes = importer.graph.tensor(call.input(1)?)?.ints()?;
    axes.iter_mut().for_each(|axis| *axis = axis.rem_euclid(4));
    axes.sort_unstable();
    if axes != [1, 2] {
        return Err(unsupported(
            format!("averages over the dimensions {axes:?}"),
            "only an average over height and width is supported",
        ));
    }
    let shape = [1, 1, importer.layers[node].shape[2]];
    Ok(Made::Layer(importer.push(call.layer(
        Computation::Mean,
        vec![node],
        shape,
        Activation::None,
    ))))
}
