//! Poolings and means.

use std::collections::HashSet;

use crate::error::{Problem, unsupported};
use crate::network::{Op, Window};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Axis, Channel, Height, Map, Width};
use crate::onnx::node::{int, ints, no_dilation, pads, pair};

pub(super) fn max_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    map.require_nchw()?;
    no_dilation(call.node)?;
    let (kernel, stride) =
        (pair(call.node, "kernel_shape", [0, 0])?, pair(call.node, "strides", [1, 1])?);
    let mut own = pads(call.node, map.view.shape(), kernel, stride)?;
    if kernel == [1, 1] && own == [0; 4] {
        return Ok(Map { view: map.view.subsampled(stride)?, ..map });
    }
    if int(call.node, "ceil_mode", 0) != 0 {
        // Windows that hang over the edge are windows over more padding.
        let shape = map.view.shape();
        for side in 0..2 {
            let padded = shape[side] + own[side] + own[side + 2];
            let rest = padded.saturating_sub(kernel[side]) % stride[side].max(1);
            if rest != 0 {
                own[side + 2] += stride[side] - rest;
            }
        }
    }
    // Zeros that a Pad put around a rectified map lose against the map as padding does.
    let rectified = matches!(importer.network.nodes[map.view.node].op, Op::Relu | Op::Relu6);
    if rectified {
        let added = map.view.take_pads();
        own = std::array::from_fn(|side| own[side].saturating_add(added[side]));
    }
    if (0..2).any(|side| own[side] >= kernel[side] || own[side + 2] >= kernel[side]) {
        return Err(unsupported(
            "a pooling window lies wholly in the padding",
            "pad less than the window's size",
        ));
    }
    let input = importer.settle(&map, &call.name)?;
    let op = Op::MaxPool(Window { kernel, stride, pads: own });
    let id = importer.network.push(op, &[input], &call.name)?;
    Ok(Map::nchw(importer.view(id)))
}

pub(super) fn average_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    map.require_nchw()?;
    let (kernel, stride) =
        (pair(call.node, "kernel_shape", [0, 0])?, pair(call.node, "strides", [1, 1])?);
    let pads = pads(call.node, map.view.shape(), kernel, stride)?;
    let [height, width, _] = map.view.shape();
    match (kernel, pads) {
        ([1, 1], [0, 0, 0, 0]) => {
            Ok(Map { view: map.view.subsampled(stride)?, dims: map.dims.clone() })
        }
        (kernel, [0, 0, 0, 0]) if kernel == [height, width] => {
            global_average(importer, map, &call.name)
        }
        _ => Err(unsupported(
            format!("averages over {kernel:?} of a map of {:?}", [height, width]),
            "only an average over the whole map is supported",
        )),
    }
}

pub(super) fn global_average_pool(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
) -> Result<Map, Problem> {
    let map = call.map(0)?;
    map.require_nchw()?;
    global_average(importer, map, &call.name)
}

pub(super) fn reduce_mean(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    // Axes are an attribute up to opset 17, an input since.
    let axes = match call.optional_ints(1)? {
        Some(axes) => axes,
        None => ints(call.node, "axes").to_vec(),
    };
    let dims = axes.iter().map(|&axis| map.axis(axis)).collect::<Result<HashSet<_>, _>>()?;
    let whole = |axis: Axis| {
        map.extent(axis) == 1
            || (0..map.dims.len()).any(|dim| dims.contains(&dim) && map.dims[dim].contains(&axis))
    };
    let channels_kept = dims.iter().all(|&dim| !map.dims[dim].contains(&Channel));
    if !(whole(Height) && whole(Width) && channels_kept) {
        return Err(unsupported(
            format!("averages over the dimensions {axes:?}"),
            "only an average over height and width is supported",
        ));
    }
    let mut mean = global_average(importer, map, &call.name)?;
    mean.dims = map.dims.clone();
    if int(call.node, "keepdims", 1) == 0 {
        let kept = (0..map.dims.len()).filter(|dim| !dims.contains(dim));
        mean.dims = kept.map(|dim| map.dims[dim].clone()).collect();
    }
    Ok(mean)
}

fn global_average(importer: &mut Importer<'_>, map: &Map, name: &str) -> Result<Map, Problem> {
    let input = importer.settle(map, name)?;
    let id = importer.network.push(Op::GlobalAveragePool, &[input], name)?;
    Ok(Map::nchw(importer.view(id)))
}
