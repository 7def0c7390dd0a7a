//! Convolutions.

use ndarray::{Axis, Ix4};

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Op, dilated, ohwi};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;
use crate::onnx::node::{corrupt, extent, int, pads, pair};

pub(super) fn conv(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
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
    let (out, _, height, width) = weights.dim();
    let bias = match call.inputs.get(2) {
        Some(Some(_)) => call.floats(2)?,
        _ => vec![0.0; out],
    };
    let (kernel, stride) = ([height, width], pair(call.node, "strides", [1, 1])?);
    let dilation = pair(call.node, "dilations", [1, 1])?;
    let reach = std::array::from_fn(|side| dilated(kernel[side], dilation[side]));
    let own = pads(call.node, map.view.shape(), reach, stride)?;
    let added = map.view.take_pads();
    let op = Op::Conv(Conv {
        weights: ohwi(weights.into_dyn()),
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
