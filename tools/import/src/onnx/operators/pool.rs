//! Poolings, and reductions over rows and columns.

use std::collections::HashSet;

use crate::error::{Problem, unsupported};
use crate::network::{AveragePool, BatchNorm, Conv, Op, Pads, Window, overhang};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Axis, Channel, Height, Map, Width};
use crate::onnx::node::{int, ints, no_dilation, op_type, pads, pair};

/// Kernel, stride and the operator's pads; and these pads with those by which windows exceed the
/// map.
fn window(call: &Call<'_>, map: &Map) -> Result<(Window, Pads), Problem> {
    no_dilation(call.node)?;
    let turned =
        |[down, across]: [usize; 2]| if map.is_upright() { [across, down] } else { [down, across] };
    let kernel = turned(pair(call.node, "kernel_shape", [0, 0])?);
    let stride = turned(pair(call.node, "strides", [1, 1])?);
    let own = pads(call.node, (map.view.shape(), map.is_upright()), kernel, stride)?;
    let mut pads = own;
    if int(call.node, "ceil_mode", 0) != 0 {
        // The part of a window that exceeds the map is treated as more padding.
        let [below, right] = overhang(map.view.shape(), kernel, stride, own);
        (pads[2], pads[3]) = (pads[2] + below, pads[3] + right);
    }
    Ok((Window { kernel, stride, pads }, own))
}

fn beside(a: Pads, b: Pads) -> Pads {
    std::array::from_fn(|side| a[side].saturating_add(b[side]))
}

pub(super) fn max_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    map.require_nchw()?;
    let (mut window, own) = window(call, &map)?;
    if window.kernel == [1, 1] && own == [0; 4] {
        return Ok(Map { view: map.view.subsampled(window.stride)?, ..map });
    }
    // Zeros that a Pad adds around a map without negative values never win a maximum, just as
    // padding does not.
    if importer.network.is_positive(map.view.node) {
        window.pads = beside(window.pads, map.view.take_pads());
    }
    window.check()?;
    let input = importer.settle(&map, &call.name)?;
    let id = importer.network.push(Op::MaxPool(window), &[input], &call.name)?;
    Ok(map.like(importer.view(id)))
}

pub(super) fn average_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    map.require_nchw()?;
    let (mut window, own) = window(call, &map)?;
    if window.kernel == [1, 1] && own == [0; 4] {
        return Ok(Map { view: map.view.subsampled(window.stride)?, ..map });
    }
    let [height, width, _] = map.view.shape();
    if window.kernel == [height, width] && window.pads == [0; 4] {
        return global_average(importer, &map, &call.name);
    }
    // Zeros that a Pad adds around the map count in the mean.
    let added = map.view.take_pads();
    let counts = int(call.node, "count_include_pad", 0) != 0;
    let counted = beside(added, if counts { own } else { [0; 4] });
    window.pads = beside(window.pads, added);
    window.check()?;
    let input = importer.settle(&map, &call.name)?;
    let op = Op::AveragePool(AveragePool { window, counted });
    let id = importer.network.push(op, &[input], &call.name)?;
    Ok(map.like(importer.view(id)))
}

pub(super) fn global_average_pool(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
) -> Result<Map, Problem> {
    let map = call.map(0)?;
    map.require_nchw()?;
    global_average(importer, map, &call.name)
}

pub(super) fn global_max_pool(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
) -> Result<Map, Problem> {
    let map = call.map(0)?;
    map.require_nchw()?;
    let made = largest(importer, map, [true, true], &call.name)?;
    Ok(map.like(made.view))
}

/// ReduceMean, ReduceMax and ReduceSum over rows and columns, or a mean or sum over channels.
pub(super) fn reduce(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let op = op_type(call.node);
    // Axes are an attribute in older opsets, and an input since then.
    let axes = match call.optional_ints(1)? {
        Some(axes) => axes,
        None => ints(call.node, "axes").to_vec(),
    };
    let dims = axes.iter().map(|&axis| map.axis(axis)).collect::<Result<HashSet<_>, _>>()?;
    let reduced = |axis: Axis| {
        map.extent(axis) == 1
            || (0..map.dims.len()).any(|dim| dims.contains(&dim) && map.dims[dim].contains(&axis))
    };
    let over = [Height, Width].map(reduced);
    let channels_kept =
        dims.iter().all(|&dim| !map.dims[dim].contains(&Channel) || map.extent(Channel) == 1);
    let pixels = [Height, Width].map(|axis| if reduced(axis) { map.extent(axis) } else { 1 });
    let count: usize = pixels.iter().product();
    let mut made = match (op, channels_kept, over) {
        ("ReduceMax", true, over) => largest(importer, map, over, &call.name)?,
        ("ReduceMean", true, over) => mean(importer, map, over, &call.name)?,
        ("ReduceSum", true, over) => {
            let mean = mean(importer, map, over, &call.name)?;
            let norm = BatchNorm::affine_of(&[count as f32], &[0.0], map.extent(Channel));
            importer.elementwise(&mean, Op::BatchNorm(norm), &call.name)?
        }
        ("ReduceMean" | "ReduceSum", false, _) if count == 1 => {
            let channels = map.extent(Channel);
            let weight = if op == "ReduceSum" { 1.0 } else { 1.0 / channels as f32 };
            importer.take(channels)?;
            importer.elementwise(map, Op::Conv(Conv::summing(channels, weight)), &call.name)?
        }
        ("ReduceMax", false, _) if count == 1 => largest_channel(importer, map, &call.name)?,
        _ => {
            return Err(unsupported(
                format!("{op} over the dimensions {axes:?}"),
                "means and maxima over rows and columns, or over channels, are supported",
            ));
        }
    };
    made.dims = map.dims.clone();
    if int(call.node, "keepdims", 1) == 0 {
        let kept = (0..map.dims.len()).filter(|dim| !dims.contains(dim));
        made.dims = kept.map(|dim| map.dims[dim].clone()).collect();
    }
    Ok(made)
}

/// A window over all rows, all columns, or both.
fn along(map: &Map, over: [bool; 2]) -> Window {
    let [height, width, _] = map.view.shape();
    let kernel = [if over[0] { height } else { 1 }, if over[1] { width } else { 1 }];
    Window { kernel, stride: [1, 1], pads: [0; 4] }
}

fn mean(
    importer: &mut Importer<'_>,
    map: &Map,
    over: [bool; 2],
    name: &str,
) -> Result<Map, Problem> {
    if over == [true, true] {
        return global_average(importer, map, name);
    }
    let op = AveragePool { window: along(map, over), counted: [0; 4] };
    importer.elementwise(map, Op::AveragePool(op), name)
}

fn largest(
    importer: &mut Importer<'_>,
    map: &Map,
    over: [bool; 2],
    name: &str,
) -> Result<Map, Problem> {
    importer.elementwise(map, Op::MaxPool(along(map, over)), name)
}

/// The maximum over the channels of each pixel. Each round takes the maximum of two halves of the channels.
fn largest_channel(importer: &mut Importer<'_>, map: &Map, name: &str) -> Result<Map, Problem> {
    let mut map = map.clone();
    loop {
        let channels = map.extent(Channel);
        if channels == 1 {
            return Ok(map);
        }
        let half = channels.div_ceil(2);
        importer.take(channels.saturating_mul(half).saturating_mul(2))?;
        // If the number is odd, the channel in the middle is in both halves.
        let first: Vec<usize> = (0..half).collect();
        let first = Conv::choosing(channels, &first);
        let mut more = first.clone();
        more.weights.mapv_inplace(|weight| -weight);
        for channel in 0..half {
            more.weights[[channel, 0, 0, channels - half + channel]] += 1.0;
        }
        let more = importer.elementwise(&map, Op::Conv(more), name)?;
        let more = importer.elementwise(&more, Op::Relu, name)?;
        let first = importer.elementwise(&map, Op::Conv(first), name)?;
        map = super::sums::sum(importer, &more, &first, name)?;
    }
}

fn global_average(importer: &mut Importer<'_>, map: &Map, name: &str) -> Result<Map, Problem> {
    let input = importer.settle(map, name)?;
    let id = importer.network.push(Op::GlobalAveragePool, &[input], name)?;
    Ok(map.like(importer.view(id)))
}
