//! Convolutions and fully connected layers.

use crate::error::{Problem, unsupported};
use crate::network::{check_extents, dilated, window_output};
use crate::tflite::call::{Call, Made};
use crate::tflite::importer::{Computation, Conv, Importer};
use crate::tflite::schema::corrupt;

/// CONV_2D and DEPTHWISE_CONV_2D.
pub(super) fn conv_2d(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let mut view = importer.view(call.input(0)?)?;
    let weights = call.input(1)?;
    let &[first, height, width, last] = &importer.constants.tensor(weights)?.shape[..] else {
        return Err(corrupt("the weights of a convolution have four dimensions"));
    };
    let [first, kernel_height, kernel_width, last] =
        [first, height, width, last].map(|n| usize::try_from(n).unwrap_or(0));
    let channels = view.shape()[2];
    let options = call.options();
    let depthwise = call.name == "DEPTHWISE_CONV_2D";
    // It is depthwise, or its weights have fewer channels than the map.
    let (filters, groups) = match depthwise {
        true => (last, channels),
        false => (first, channels.checked_div(last).unwrap_or(0)),
    };
    let fits = match depthwise {
        true => first == 1 && last.checked_rem(channels) == Some(0),
        false => groups > 0 && last * groups == channels && filters % groups == 0,
    };
    if !fits {
        return Err(corrupt(format!("weights for {last} of {channels} channels")));
    }
    let field = if depthwise { 4 } else { 3 };
    let mut dilation = [options.extent(field + 2, 1)?, options.extent(field + 1, 1)?];
    let kernel = [kernel_height, kernel_width];
    let block = importer.spaced.get(&call.input(0)?).copied();
    if let Some(block) = block {
        let plain = (dilation, options.window(view.shape(), kernel)?);
        if plain != ([1, 1], ([1, 1], [0; 4])) {
            return Err(unsupported(
                "a strided or padded convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND",
                "convert the network with dilations, or without",
            ));
        }
        dilation = block;
        importer.spaced.insert(call.output, block);
    }
    let reach = std::array::from_fn(|side| dilated(kernel[side], dilation[side]));
    let (stride, own) = match block {
        Some(_) => ([1, 1], [0; 4]),
        None => options.window(view.shape(), reach)?,
    };
    let added = view.take_pads();
    let pads = std::array::from_fn(|side| own[side] + added[side]);
    let node = importer.settle(view, call.source, call.input(0)?)?;
    let shape = window_output(importer.layers[node].shape, filters, reach, stride, pads)?;
    let op = Computation::Conv(Conv {
        weights,
        kernel,
        bias: call.optional(2),
        stride,
        pads,
        dilation,
        groups,
        depthwise,
        fully_connected: false,
        channels_first: false,
        linear: false,
    });
    let activation = options.activation(field)?;
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, activation))))
}

pub(super) fn fully_connected(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let weights = call.input(1)?;
    let node = importer.settle(importer.view(call.input(0)?)?, call.source, call.input(0)?)?;
    let &[filters, inputs] = &importer.constants.tensor(weights)?.shape[..] else {
        return Err(corrupt("the weights of a fully connected layer have two dimensions"));
    };
    let [filters, inputs] = [filters, inputs].map(|n| usize::try_from(n).unwrap_or(0));
    // If there are as many weights as a pixel has channels, it is the same layer for each pixel.
    let [height, width, channels] = importer.layers[node].shape;
    let channels_first = importer.flat.contains(&call.input(0)?);
    let each = inputs == channels && [height, width] != [1, 1] && !channels_first;
    let shape = if each { [height, width, filters] } else { [1, 1, filters] };
    check_extents(&shape, "output")?;
    let op = Computation::Conv(Conv {
        weights,
        kernel: [1, 1],
        bias: call.optional(2),
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
        depthwise: false,
        fully_connected: !each,
        channels_first,
        linear: true,
    });
    let activation = call.options().activation(0)?;
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, activation))))
}
