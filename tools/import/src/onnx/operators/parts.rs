//! Operators that pad a map, or select a part of it.

use std::rc::Rc;

use ndarray::Axis as NdAxis;

use crate::error::{Problem, unsupported};
use crate::network::{Border, Conv, Function, Op, Pads, Repeats};
use crate::onnx::call::Call;
use crate::onnx::constant::Constant;
use crate::onnx::importer::{Importer, Value};
use crate::onnx::map::{Axis, Channel, Height, Map, Width};
use crate::onnx::node::{corrupt, extent, float, int, ints, text};
use crate::onnx::shapes;

pub(super) fn pad(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    let amounts = match call.optional_ints(1)? {
        Some(amounts) => amounts,
        None => ints(call.node, "pads").to_vec(),
    };
    let dims: Vec<usize> = match call.optional_ints(3)? {
        Some(axes) => axes.iter().map(|&axis| map.axis(axis)).collect::<Result<_, _>>()?,
        None => (0..map.dims.len()).collect(),
    };
    if amounts.len() != 2 * dims.len() {
        return Err(corrupt(format!("pads {amounts:?} for {} dimensions", dims.len())));
    }
    let crops = amounts.iter().any(|&amount| amount < 0);
    let (mut pads, mut channels) = ([0; 4], [0; 2]);
    for (i, &dim) in dims.iter().enumerate() {
        // A negative amount takes positions away.
        let amounts = [amounts[i], amounts[i + dims.len()]];
        let [start, end] = amounts.map(|amount| amount.min(0).unsigned_abs() as usize);
        let count = map.size(dim).saturating_sub(start.saturating_add(end));
        map = part(importer, map, dim, shapes::Range { start, step: 1, count }, call)?;
        let [before, after] = [extent(amounts[0].max(0))?, extent(amounts[1].max(0))?];
        match map.dims[dim][..] {
            _ if (before, after) == (0, 0) => {}
            [Height] => (pads[0], pads[2]) = (before, after),
            [Width] => (pads[1], pads[3]) = (before, after),
            [Channel] => channels = [before, after],
            _ => {
                return Err(unsupported(
                    format!("pads dimension {dim}"),
                    "only height, width and channels can be padded",
                ));
            }
        }
    }
    if (pads, channels) == ([0; 4], [0; 2]) {
        return Ok(map);
    }
    let value = call.scalar(2)?.unwrap_or(float(call.node, "value", 0.0));
    let repeats = match text(call.node, "mode") {
        "" | "constant" if value == 0.0 => {
            return Ok(Map { view: map.view.padded(pads, channels)?, dims: map.dims });
        }
        "reflect" if !crops => Repeats::Mirrored,
        "edge" if !crops => Repeats::Edge,
        mode => {
            let crops = if crops { ", and takes positions away" } else { "" };
            return Err(unsupported(
                format!("pads by mode {mode:?} with {value}{crops}"),
                "padding with zeros, by reflection and with the edge is supported, and cropping, \
                 which only goes together with zeros",
            ));
        }
    };
    if channels != [0, 0] {
        return Err(unsupported(
            "pads channels with values of the map",
            "channels can be padded with zeros",
        ));
    }
    importer.elementwise(&map, Op::Border(Border { pads, repeats }), &call.name)
}

/// The part of a map with every `step`-th of all positions along a dimension.
fn subsampled(map: &Map, dim: usize, step: usize) -> Result<Map, Problem> {
    let stride = match map.dims[dim][..] {
        _ if step == 1 => [1, 1],
        [Height] => [step, 1],
        [Width] => [1, step],
        _ => {
            return Err(unsupported(
                format!("takes a part of dimension {dim}"),
                "only rows and columns can be subsampled",
            ));
        }
    };
    Ok(Map { view: map.view.subsampled(stride)?, dims: map.dims.clone() })
}

pub(super) fn slice(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    let sizes = map.sizes();
    for (dim, range) in slices(call, &sizes)?.into_iter().enumerate() {
        map = part(importer, map, dim, range, call)?;
    }
    Ok(map)
}

/// Selects a range of a map's positions along a dimension.
fn part(
    importer: &mut Importer<'_>,
    map: Map,
    dim: usize,
    range: shapes::Range,
    call: &Call<'_>,
) -> Result<Map, Problem> {
    let size = map.size(dim);
    if range.step == 1 && range.count == size {
        return Ok(map);
    }
    let channel = map.dims[dim][..] == [Channel];
    if range.count == 0 || (range.step < 1 && !channel) {
        return Err(unsupported(
            format!("takes {} of the {size} positions of dimension {dim}", range.count),
            "at least one position can be taken, in their order",
        ));
    }
    let from_first = range.start == 0 && range.count == size.div_ceil(range.step as usize);
    match map.dims[dim][..] {
        [Channel] => {
            let place = |i: usize| (range.start as i64 + i as i64 * range.step) as usize;
            let chosen: Vec<usize> = (0..range.count).map(place).collect();
            channels(importer, &map, &chosen, call)
        }
        [Height | Width] if from_first => subsampled(&map, dim, extent(range.step)?),
        [axis @ (Height | Width)] if range.step == 1 => {
            let behind = size - range.start - range.count;
            let mut edges = [0; 4];
            let side = usize::from(axis == Width);
            (edges[side], edges[side + 2]) = (range.start, behind);
            cropped(importer, &map, edges, call)
        }
        [axis @ (Height | Width)] => {
            let step = extent(range.step)?;
            let span = (range.count - 1) * step + 1;
            let mut edges = [0; 4];
            let side = usize::from(axis == Width);
            (edges[side], edges[side + 2]) = (range.start, size - range.start - span);
            let map = cropped(importer, &map, edges, call)?;
            subsampled(&map, dim, step)
        }
        _ => Err(unsupported(
            format!("slices dimension {dim} to a part"),
            "a range of rows, of columns or of channels, or every n-th of them, can be taken",
        )),
    }
}

/// The chosen channels of a map, as a 1×1 convolution.
pub(in crate::onnx) fn channels(
    importer: &mut Importer<'_>,
    map: &Map,
    chosen: &[usize],
    call: &Call<'_>,
) -> Result<Map, Problem> {
    let all = map.extent(Channel);
    importer.take(all.saturating_mul(chosen.len()))?;
    let scores = &importer.network.nodes[map.view.node];
    if let (Op::Softmax, 2, &[chosen]) = (&scores.op, all, chosen)
        && !importer.qdq.has_maps()
    {
        // One of two probabilities is a sigmoid of the scores' difference.
        let mut conv = Conv::choosing(2, &[chosen]);
        conv.weights[[0, 0, 0, 1 - chosen]] = -1.0;
        let view = importer.view(scores.inputs[0]);
        let of = Map { view, dims: map.dims.clone() };
        let difference = importer.elementwise(&of, Op::Conv(conv), &call.name)?;
        return importer.elementwise(&difference, Op::Function(Function::Sigmoid), &call.name);
    }
    let conv = Conv::choosing(all, chosen);
    importer.elementwise(map, Op::Conv(conv), &call.name)
}

/// A map without some rows and columns at its edges. If they come from the padding of the
/// convolution before, its padding is reduced; otherwise a convolution crops them.
fn cropped(
    importer: &mut Importer<'_>,
    map: &Map,
    edges: Pads,
    call: &Call<'_>,
) -> Result<Map, Problem> {
    let name = call.node.input.first().map_or("", String::as_str);
    let once = importer.uses.get(name) == Some(&1);
    let plain = map.view == importer.view(map.view.node);
    let node = &importer.network.nodes[map.view.node];
    if let (Op::Conv(conv), true, true) = (&node.op, once, plain)
        && conv.stride == [1, 1]
        && (0..4).all(|side| conv.pads[side] >= edges[side])
        && !importer.qdq.is_quantized(map.view.node)
    {
        let pads = std::array::from_fn(|side| conv.pads[side] - edges[side]);
        let (op, inputs) = (Op::Conv(Conv { pads, ..conv.clone() }), node.inputs.clone());
        let id = importer.network.push(op, &inputs, &call.name)?;
        return Ok(Map { view: importer.view(id), dims: map.dims.clone() });
    }
    let mut made = map.clone();
    for (conv, _) in Conv::croppings(map.extent(Channel), edges) {
        importer.take(conv.weights.len())?;
        made = importer.elementwise(&made, Op::Conv(conv), &call.name)?;
    }
    Ok(made)
}

/// Split: each output is a range along a dimension.
pub(in crate::onnx) fn split(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
) -> Result<Vec<Map>, Problem> {
    let map = call.map(0)?.clone();
    let dim = map.axis(int(call.node, "axis", 0))?;
    let (size, count) = (map.size(dim), call.node.output.len());
    // Sizes are an attribute in older opsets, and an input since then. By default all parts are
    // equal, except for the last.
    let sizes: Vec<usize> = match (call.optional_ints(1)?, ints(call.node, "split")) {
        (Some(sizes), _) => sizes.iter().map(|&size| extent(size)).collect::<Result<_, _>>()?,
        (None, sizes @ [_, ..]) => {
            sizes.iter().map(|&size| extent(size)).collect::<Result<_, _>>()?
        }
        (None, []) => {
            let even = size.div_ceil(count.max(1));
            (0..count).map(|part| even.min(size.saturating_sub(part * even))).collect()
        }
    };
    if sizes.len() != count || sizes.iter().sum::<usize>() != size {
        return Err(corrupt(format!("splits {size} positions into {sizes:?}")));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(count);
    for count in sizes {
        let range = shapes::Range { start, step: 1, count };
        parts.push(part(importer, map.clone(), dim, range, call)?);
        start += count;
    }
    Ok(parts)
}

/// A Slice's ranges for all dimensions.
fn slices(call: &Call<'_>, sizes: &[usize]) -> Result<Vec<shapes::Range>, Problem> {
    let (starts, ends, axes, steps) = if call.inputs.len() > 1 {
        (call.ints(1)?, call.ints(2)?, call.optional_ints(3)?, call.optional_ints(4)?)
    } else {
        let axes = ints(call.node, "axes").to_vec();
        (ints(call.node, "starts").to_vec(), ints(call.node, "ends").to_vec(), Some(axes), None)
    };
    shapes::ranges(sizes, &starts, &ends, axes.as_deref(), steps.as_deref())
}

/// Some exporters write x[:, :, ::2] as a Gather of 0, 2, 4, …, and a change of layout as a Gather
/// of all positions.
pub(super) fn gather(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let dim = map.axis(int(call.node, "axis", 0))?;
    let indices = call.constant(1)?;
    let list = indices.to_ints()?;
    if let Some(dims) = laid_out(map, dim, indices.shape(), &list) {
        let dims = [&map.dims[..dim], &dims, &map.dims[dim + 1..]].concat();
        return Ok(Map { view: map.view, dims });
    }
    let place = |&at: &i64| {
        let at = if at < 0 { at.saturating_add(map.size(dim) as i64) } else { at };
        usize::try_from(at).ok().filter(|&at| at < map.size(dim))
    };
    let chosen: Option<Vec<usize>> = list.iter().map(place).collect();
    let chosen = chosen.ok_or_else(|| corrupt("gathers beyond the end"))?;
    let (&[start, ..], 0..=1) = (&chosen[..], indices.rank()) else {
        return Err(unsupported(
            format!("gathers with indices of shape {:?}", indices.shape()),
            "rows, columns or channels can be taken by a list of their numbers",
        ));
    };
    let mut made = if map.dims[dim] == [Channel] {
        channels(importer, map, &chosen, call)?
    } else {
        let step = chosen.get(1).map_or(1, |&next| next.saturating_sub(start)).max(1);
        if !chosen.iter().copied().eq((start..).step_by(step).take(chosen.len())) {
            let some = &list[..list.len().min(8)];
            return Err(unsupported(
                format!("gathers positions {some:?}… of dimension {dim}"),
                "only every n-th row or column can be taken",
            ));
        }
        let range = shapes::Range { start, step: step as i64, count: chosen.len() };
        part(importer, map.clone(), dim, range, call)?
    };
    if indices.rank() == 0 {
        made.dims.remove(dim);
    }
    Ok(made)
}

/// GatherND, with which PyTorch's exporter writes a list of positions of the first dimension.
pub(super) fn gather_nd(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let (map, indices) = (call.map(0)?, call.constant(1)?);
    let alone = indices.rank() == 2 && indices.shape()[1] == 1;
    if !alone || int(call.node, "batch_dims", 0) != 0 || map.dims.first() != Some(&vec![Channel]) {
        return Err(unsupported(
            format!("gathers with indices of shape {:?}", indices.shape()),
            "a list of channels can be taken; write an adaptive pooling to sizes that do not \
             divide the map as a pooling with a fixed window",
        ));
    }
    let list = Value::Constant(Rc::new(Constant::ints(indices.to_ints()?)));
    let inputs = vec![call.inputs[0].clone(), Some(list)];
    gather(importer, &Call { node: call.node, name: call.name.clone(), inputs })
}

/// The dimensions that replace a dimension if all its positions are gathered, each once, in an
/// order that only exchanges its axes.
fn laid_out(map: &Map, dim: usize, shape: &[usize], list: &[i64]) -> Option<Vec<Vec<Axis>>> {
    if list.len() != map.size(dim) || list.first() != Some(&0) {
        return None;
    }
    // The axes of the dimension, with the distance between their positions, innermost first.
    let mut axes = Vec::new();
    let mut distance = 1;
    for &axis in map.dims[dim].iter().rev().filter(|&&axis| map.extent(axis) > 1) {
        axes.push((axis, distance));
        distance *= map.extent(axis);
    }
    // The distance along each dimension of the indices.
    let mut behind = list.len();
    let mut dims = Vec::with_capacity(shape.len());
    let mut distances = Vec::with_capacity(shape.len());
    for &size in shape {
        behind /= size.max(1);
        let step = if size > 1 { usize::try_from(list[behind]).ok()? } else { 0 };
        distances.push((size, behind, step));
        let mut along = Vec::new();
        let mut left = size;
        let first = axes.iter().position(|&(_, distance)| distance == step);
        for &(axis, _) in axes.get(first.unwrap_or(axes.len())..).unwrap_or(&[]) {
            if left == 1 {
                break;
            }
            along.insert(0, axis);
            left = left
                .checked_div(map.extent(axis))
                .filter(|rest| rest * map.extent(axis) == left)?;
        }
        if left != 1 {
            return None;
        }
        dims.push(along);
    }
    let regular = (0..list.len()).all(|place| {
        let position: usize =
            distances.iter().map(|&(size, behind, step)| place / behind % size * step).sum();
        list[place] == position as i64
    });
    let mut all: Vec<Axis> = dims.concat();
    all.sort_by_key(|&axis| axis as usize);
    all.dedup();
    (regular && all.len() == axes.len()).then_some(dims)
}

/// Joins the channels of maps, or adds zero channels before and after a map.
pub(super) fn concat(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let is_map = |input: &Option<Value>| matches!(input, Some(Value::Map(_)));
    let maps = call.inputs.iter().filter(|input| is_map(input)).count();
    let first = call.inputs.iter().position(is_map).ok_or_else(|| corrupt("it joins nothing"))?;
    let map = call.map(first)?;
    let dim = map.axis(int(call.node, "axis", 0))?;
    let along_channels = map.dims[dim] == [Channel]
        || (map.dims[dim].contains(&Channel) && map.size(dim) == map.extent(Channel));
    if !along_channels {
        return Err(unsupported(
            format!("joins maps along dimension {dim}"),
            "only channels can be joined",
        ));
    }
    if maps == call.inputs.len() {
        let mut ids = Vec::with_capacity(maps);
        for index in 0..maps {
            let other = call.map(index)?;
            if other.dims.len() != map.dims.len() || !alike(map, other, dim) {
                return Err(unsupported(
                    "joins maps of different layouts",
                    "export the network in ONNX's own layout",
                ));
            }
            let [sizes, others] = [map, other].map(|map| map.view.shape());
            if sizes[..2] != others[..2] {
                return Err(unsupported(
                    format!("joins vectors of maps of {sizes:?} and {others:?}"),
                    "only maps of one height and width, or vectors of channels, can be joined",
                ));
            }
            ids.push(importer.settle(other, &call.name)?);
        }
        let id = match ids[..] {
            [id] => id,
            _ => importer.network.push(Op::Concat, &ids, &call.name)?,
        };
        return Ok(Map { view: importer.view(id), dims: map.dims.clone() });
    }
    let refuse = || {
        unsupported(
            "joins a map with constants that are not zero",
            "only maps, or zero channels, can be joined to a map",
        )
    };
    if maps > 1 {
        return Err(refuse());
    }
    let mut channels = [0, 0];
    for (index, input) in call.inputs.iter().enumerate().filter(|&(index, _)| index != first) {
        let Some(Value::Constant(zeros)) = input else {
            return Err(refuse());
        };
        let zeros = zeros.floats()?;
        let mut shape = map.sizes();
        shape[dim] = zeros.shape().get(dim).copied().unwrap_or(0);
        if zeros.shape() != shape || zeros.iter().any(|&zero| zero != 0.0) {
            return Err(refuse());
        }
        channels[usize::from(index > first)] += zeros.len_of(NdAxis(dim));
    }
    Ok(Map { view: map.view.padded([0; 4], channels)?, dims: map.dims.clone() })
}

/// Whether two maps have the same layout, except for one dimension.
fn alike(a: &Map, b: &Map, but: usize) -> bool {
    let wide = |map: &Map, dim: usize| -> Vec<_> {
        let axes = map.dims[dim].iter().copied();
        axes.filter(|&axis| axis == Channel || map.extent(axis) > 1).collect()
    };
    (0..a.dims.len()).all(|dim| dim == but || wide(a, dim) == wide(b, dim))
}
