//! Convolutions.

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Op, ohwi};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;
use crate::onnx::node::{int, no_dilation, pads, pair};

pub(super) fn conv(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    map.require_nchw()?;
    no_dilation(call.node)?;
    let weights = call.constant(1)?.floats()?;
    importer.take(weights.len())?;
    let &[out, depth, height, width] = weights.shape() else {
        return Err(unsupported(
            format!("its weights have shape {:?}", weights.shape()),
            "only two-dimensional convolutions are supported",
        ));
    };
    if int(call.node, "group", 1) != 1 {
        return Err(unsupported(
            format!("a convolution of {} groups over {depth} channels", int(call.node, "group", 1)),
            "brooklet runs ResNets with plain convolutions (not ResNeXt or MobileNet)",
        ));
    }
    let bias = match call.inputs.get(2) {
        Some(Some(_)) => call.floats(2)?,
        _ => vec![0.0; out],
    };
    let (kernel, stride) = ([height, width], pair(call.node, "strides", [1, 1])?);
    let own = pads(call.node, map.view.shape(), kernel, stride)?;
    let added = map.view.take_pads();
    let op = Op::Conv(Conv {
        weights: ohwi(weights.clone()),
        bias,
        stride,
        pads: std::array::from_fn(|side| own[side].saturating_add(added[side])),
        fully_connected: false,
    });
    let input = importer.settle(&map, &call.name)?;
    let id = importer.network.push(op, &[input], &call.name)?;
    importer.qdq.conv(id, [call.node.input.get(1), call.node.input.get(2)], 0, out);
    Ok(Map::nchw(importer.view(id)))
}
