//! Poolings, means and maxima.

use crate::error::{Problem, unsupported};
use crate::network::{Activation, AveragePool, Window, window_output};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Importer};

pub(super) fn pool_2d(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let mut view = importer.view(call.input(0)?)?;
    let options = call.options();
    let kernel = [options.extent(4, 0)?, options.extent(3, 0)?];
    let (stride, mut pads) = options.window(view.shape(), kernel)?;
    let activation = options.activation(5)?;
    let [height, width, channels] = view.shape();
    let average = call.name == "AVERAGE_POOL_2D";
    if average && kernel == [height, width] && pads == [0; 4] {
        let node = importer.settle(view, call.source, call.input(0)?)?;
        let op = Computation::GlobalAveragePool;
        let shape = [1, 1, channels];
        return Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, activation))));
    }
    let mut counted = [0; 4];
    let lowest = !average && importer.lowest.contains(&call.input(0)?);
    if average || lowest || importer.layers[view.node].activation != Activation::None {
        // Zeros around a rectified map never win a maximum, just as padding does not. In a mean
        // they count.
        let added = view.take_pads();
        pads = std::array::from_fn(|side| pads[side] + added[side]);
        counted = added;
    }
    let window = Window { kernel, stride, pads };
    window.check()?;
    let node = importer.settle(view, call.source, call.input(0)?)?;
    let shape = window_output(importer.layers[node].shape, channels, kernel, stride, pads)?;
    let op = match average {
        true => Computation::AveragePool(AveragePool { window, counted }),
        false => Computation::MaxPool(window),
    };
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, activation))))
}

/// MEAN and REDUCE_MAX over rows and columns.
pub(super) fn reduce(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let at = call.input(0)?;
    let node = importer.settle(importer.view(at)?, call.source, at)?;
    let rank = importer.graph.tensor(at)?.shape.len() as i64;
    let mut axes = importer.constants.ints(call.input(1)?)?;
    // The axes, as if the map had four dimensions.
    let turned = importer.turned.contains(&at);
    axes.iter_mut().for_each(|axis| {
        let own = axis.rem_euclid(rank.max(1));
        // Channels, rows, columns instead of rows, columns, channels.
        let order: &[i64] = match (turned, rank) {
            (true, 3) => &[0, 3, 2],
            (true, 4) => &[0, 3, 1, 2],
            _ => &[],
        };
        *axis = order.get(own as usize).map_or(own + 4 - rank, |&axis| axis);
    });
    let over = [1, 2].map(|axis| axes.contains(&axis));
    if axes.iter().any(|axis| ![1, 2].contains(axis)) || rank < 3 {
        return Err(unsupported(
            format!("{} over the dimensions {axes:?}", call.name),
            "only a mean or a maximum over height and width is supported",
        ));
    }
    let [height, width, channels] = importer.layers[node].shape;
    let over = [over[0] || height == 1, over[1] || width == 1];
    let kernel = [if over[0] { height } else { 1 }, if over[1] { width } else { 1 }];
    let window = Window { kernel, stride: [1, 1], pads: [0; 4] };
    let shape = [if over[0] { 1 } else { height }, if over[1] { 1 } else { width }, channels];
    let op = match (call.name, over) {
        ("REDUCE_MAX", _) => Computation::MaxPool(window),
        (_, [true, true]) => Computation::Mean,
        _ => Computation::AveragePool(AveragePool { window, counted: [0; 4] }),
    };
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, Activation::None))))
}
