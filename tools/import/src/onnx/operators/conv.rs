//! Convolutions.

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Op, ohwi};
use crate::onnx::importer::{Importer, Inputs};
use crate::onnx::map::Map;
use crate::onnx::node::{int, no_dilation, node_name, pads, pair};
use crate::proto::NodeProto;

pub(super) fn conv(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let name = &node_name(node);
    let mut map = inputs.map(0)?.clone();
    map.require_nchw()?;
    no_dilation(node)?;
    let weights = inputs.constant(1)?.floats()?;
    importer.take(weights.len())?;
    let &[out, depth, height, width] = weights.shape() else {
        return Err(unsupported(
            format!("its weights have shape {:?}", weights.shape()),
            "only two-dimensional convolutions are supported",
        ));
    };
    if int(node, "group", 1) != 1 {
        return Err(unsupported(
            format!("a convolution of {} groups over {depth} channels", int(node, "group", 1)),
            "brooklet runs ResNets with plain convolutions (not ResNeXt or MobileNet)",
        ));
    }
    let bias = match inputs.0.get(2) {
        Some(Some(_)) => inputs.floats(2)?,
        _ => vec![0.0; out],
    };
    let (kernel, stride) = ([height, width], pair(node, "strides", [1, 1])?);
    let own = pads(node, map.view.shape(), kernel, stride)?;
    let added = map.view.take_pads();
    let op = Op::Conv(Conv {
        weights: ohwi(weights.clone()),
        bias,
        stride,
        pads: std::array::from_fn(|side| own[side].saturating_add(added[side])),
        fully_connected: false,
    });
    let input = importer.settle(&map, name)?;
    let id = importer.network.push(op, &[input], name)?;
    importer.qdq.conv(id, [node.input.get(1), node.input.get(2)], 0, out);
    Ok(Map::nchw(importer.view(id)))
}
