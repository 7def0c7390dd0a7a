//! Convolutions.

use ndarray::{Array4, Axis, Ix4};

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Op, dilated, ohwi};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Channel, Map};
use crate::onnx::node::{corrupt, extent, int, ints, pads, pair, text};

pub(super) fn conv(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    if let Some(made) = along_channels(importer, call, &map)? {
        return Ok(made);
    }
    map.require_nchw()?;
    let weights = call.constant(1)?.floats()?;
    importer.take(weights.len())?;
    let weights = match weights.ndim() {
        // A single dimension is the width.
        3 => weights.clone().insert_axis(Axis(2)),
        4 => weights.clone(),
        _ => {
            return Err(unsupported(
                format!("its weights have shape {:?}", weights.shape()),
                "only convolutions of one or two dimensions are supported",
            ));
        }
    };
    let weights = weights.into_dimensionality::<Ix4>().map_err(|_| corrupt("its weights"))?;
    // Rows and columns of the file are exchanged for a signal that is written upright.
    let upright = map.is_upright();
    let weights = if upright { weights.permuted_axes([0, 1, 3, 2]) } else { weights };
    let turned = |pair: [usize; 2]| if upright { [pair[1], pair[0]] } else { pair };
    let (out, _, height, width) = weights.dim();
    let bias = match call.inputs.get(2) {
        Some(Some(_)) => call.floats(2)?,
        _ => vec![0.0; out],
    };
    let (kernel, stride) = ([height, width], turned(pair(call.node, "strides", [1, 1])?));
    let dilation = turned(pair(call.node, "dilations", [1, 1])?);
    let reach = std::array::from_fn(|side| dilated(kernel[side], dilation[side]));
    let own = pads(call.node, (map.view.shape(), upright), reach, stride)?;
    let added = map.view.take_pads();
    let op = Op::Conv(Conv {
        weights: ohwi(weights.as_standard_layout().into_owned().into_dyn()),
        bias,
        stride,
        pads: std::array::from_fn(|side| own[side].saturating_add(added[side])),
        dilation,
        groups: extent(int(call.node, "group", 1))?,
        fully_connected: false,
    });
    let input = importer.settle(&map, &call.name)?;
    let id = importer.network.push(op, &[input], &call.name)?;
    importer.qdq.conv(id, [0, 1, 2].map(|input| call.node.input.get(input)), 0, out);
    Ok(map.like(importer.view(id)))
}

/// A convolution along the channels of a map with one pixel, as in ECA's attention.
///
/// It becomes a 1×1 convolution. The weights of each output channel hold the kernel, shifted by one channel.
fn along_channels(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    map: &Map,
) -> Result<Option<Map>, Problem> {
    let along = |dim: usize| map.dims[dim][..] == [Channel];
    let Some(dim) = (2..map.dims.len()).find(|&dim| along(dim)) else { return Ok(None) };
    let weights = call.constant(1)?.floats()?;
    let channels = map.extent(Channel);
    let one_kernel = weights.ndim() == map.dims.len() && weights.len() == weights.len_of(Axis(dim));
    let pads = ints(call.node, "pads");
    let sides = map.dims.len() - 2;
    let [before, behind] = match pads.len() {
        0 => [0, 0],
        n if n == 2 * sides => [extent(pads[dim - 2])?, extent(pads[dim - 2 + sides])?],
        _ => return Err(corrupt(format!("pads {pads:?}"))),
    };
    let plain = |name: &str| ints(call.node, name).iter().all(|&number| number == 1);
    let unpadded = matches!(text(call.node, "auto_pad"), "" | "NOTSET");
    let padded = channels.saturating_add(before).saturating_add(behind);
    if !one_kernel || !plain("strides") || !plain("dilations") || !unpadded {
        return Ok(None);
    }
    let kernel = weights.len();
    let Some(out) = (padded + 1).checked_sub(kernel).filter(|&out| out > 0) else {
        return Ok(None);
    };
    crate::network::check_extents(&[out], "output")?;
    importer.take(out.saturating_mul(channels))?;
    let mut band = Array4::zeros((out, 1, 1, channels));
    for place in 0..out {
        for (at, &weight) in weights.iter().enumerate() {
            // Taps on the padding are left out.
            if let Some(channel) = (place + at).checked_sub(before).filter(|&at| at < channels) {
                band[[place, 0, 0, channel]] = weight;
            }
        }
    }
    let bias = match call.inputs.get(2) {
        Some(Some(_)) => call.floats(2)?.first().copied().unwrap_or(0.0),
        _ => 0.0,
    };
    let conv =
        Conv { weights: band, bias: vec![bias; out], groups: 1, ..Conv::padding(out, [0; 4]) };
    let made = importer.elementwise(map, Op::Conv(conv), &call.name)?;
    let names = [0, 1, 2].map(|input| call.node.input.get(input));
    importer.qdq.conv(made.view.node, names, 0, out);
    Ok(Some(made))
}
