//! Operators that change the layout of a map, pad it, or select a part of it.

use crate::error::{Problem, unsupported};
use crate::network::{Activation, Border, Conv, Repeats, Shape, check_extents};
use crate::rewrite::view::View;
use crate::tflite::call::{Call, Made};
use crate::tflite::graph::Operator;
use crate::tflite::importer::{Computation, Importer};
use crate::tflite::options::Options;
use crate::tflite::schema::{corrupt, operator_name};

/// RESHAPE, SQUEEZE and EXPAND_DIMS.
pub(super) fn reshape(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    // They are only used to flatten: a linear layer reads the map in its own order, NHWC.
    let view = importer.view(call.input(0)?)?;
    if let Some(&block) = importer.spaced.get(&call.input(0)?) {
        importer.spaced.insert(call.output, block);
        return Ok(Made::View(view));
    }
    if importer.turned.contains(&call.input(0)?) {
        return reshape_turned(importer, call, view);
    }
    let from = view.shape();
    let asked = call.optional(1).filter(|_| call.name == "RESHAPE");
    let asked = asked.and_then(|at| importer.constants.ints(at).ok());
    let elements = from.iter().product::<usize>();
    let to = match asked.and_then(|asked| target(&asked, elements)) {
        Some(to) => to,
        None => importer.graph.tensor(call.output)?.map_shape()?,
    };
    let same = elements == to.iter().product::<usize>();
    // The input itself is an image of this shape.
    if same && to != from && importer.layers.len() == 1 && view == View::new(0, from) {
        check_extents(&to, "input size")?;
        let mut to = to;
        if importer.channels_first(call.output) {
            to.rotate_left(1);
        }
        importer.layers[0].shape = to;
        return Ok(Made::View(View::new(0, to)));
    }
    // The scores stay a vector, however the network divides them.
    let is_output = importer.graph.outputs.contains(&call.output);
    if same && (from[..2] == [1, 1] && is_output || importer.joins_pixels(call.output, from[2])?) {
        return Ok(Made::View(view));
    }
    if !same || (to[..2] != [1, 1] && to != from) {
        return Err(unsupported(
            format!("reshapes {from:?} to {to:?}"),
            "only flattening before the last layer is supported",
        ));
    }
    Ok(Made::View(view))
}

/// A map with its channels first, of which dimensions of one element are added or removed, or which
/// becomes a vector.
fn reshape_turned(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
    view: View,
) -> Result<Made, Problem> {
    let [height, width, channels] = view.shape();
    let to = importer.graph.tensor(call.output)?.shape.clone();
    let wide = |size: &usize| *size != 1;
    let from: Vec<usize> = [channels, height, width].into_iter().filter(wide).collect();
    let sizes = to.iter().map(|&size| usize::try_from(size.max(1)).unwrap_or(1));
    let sizes: Vec<usize> = sizes.filter(wide).collect();
    let is_output = importer.graph.outputs.contains(&call.output);
    if sizes == from && to.len() > 2 {
        importer.turned.insert(call.output);
    } else if sizes == [height * width * channels] && !is_output {
        importer.flat.insert(call.output);
    } else if !is_output || sizes.iter().product::<usize>() != height * width * channels {
        return Err(unsupported(
            format!("reshapes a map whose channels come before its rows to {to:?}"),
            "only flattening before a linear layer is supported",
        ));
    }
    Ok(Made::View(view))
}

/// The shape that a list gives; −1 takes the remaining elements.
fn target(asked: &[i64], elements: usize) -> Option<Shape> {
    let known: i64 = asked.iter().filter(|&&size| size > 0).product();
    let rest = (elements as i64).checked_div(known)?;
    let sizes: Option<Vec<usize>> = asked
        .iter()
        .map(|&size| usize::try_from(if size == -1 { rest } else { size }).ok())
        .collect();
    match sizes?[..] {
        [1, height, width, channels] => Some([height, width, channels]),
        [1, width, channels] => Some([1, width, channels]),
        [1, channels] | [channels] => Some([1, 1, channels]),
        _ => None,
    }
}

/// From N, C, H, W to N, H, W, C at the input, or for a map that has one pixel or one channel.
pub(super) fn transpose(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let view = importer.view(call.input(0)?)?;
    let at_input = matches!(importer.layers[view.node].op, Computation::Input);
    let [height, width, channels] = view.shape();
    if (at_input && importer.channels_first(call.input(0)?))
        || [height, width] == [1, 1]
        || channels == 1 && importer.graph.tensor(call.output)?.map_shape()? == view.shape()
    {
        return Ok(Made::View(view));
    }
    // A map with channels first, which its readers know, or turns again.
    let order = importer.constants.ints(call.input(1)?)?;
    let turned = importer.turned.contains(&call.input(0)?);
    match (turned, &order[..]) {
        (false, [0, 3, 1, 2] | [0, 2, 1]) => {
            importer.turned.insert(call.output);
            return Ok(Made::View(view));
        }
        (true, [0, 2, 3, 1] | [0, 2, 1]) => return Ok(Made::View(view)),
        _ => {}
    }
    Err(unsupported(
        "transposes a map inside of the network",
        "convert the network with channels last throughout",
    ))
}

pub(super) fn pad(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    if call.name == "PADV2" {
        let value = importer.constants.floats(call.input(2)?)?;
        // Padding that a maximum never takes is that of a max-pool.
        if value.iter().all(|&value| value <= f32::MIN) && read_by_max_pools(importer, call) {
            importer.lowest.insert(call.output);
        } else if value.iter().any(|&value| value != 0.0) {
            return Err(unsupported(
                format!("pads with {value:?}"),
                "only padding with zeros is supported",
            ));
        }
    }
    let view = padded(importer.view(call.input(0)?)?, &importer.constants.ints(call.input(1)?)?)?;
    same_quantization(importer, call.input(0)?, call.output)?;
    Ok(Made::View(view))
}

/// Whether only max-pools read an operator's output.
fn read_by_max_pools(importer: &Importer<'_, '_>, call: &Call<'_>) -> bool {
    let graph = importer.graph;
    let reads = |op: &&Operator<'_>| op.inputs.contains(&call.output);
    let mut readers = graph.operators.iter().filter(reads);
    !graph.outputs.contains(&call.output)
        && readers.all(|reader| operator_name(reader.code) == "MAX_POOL_2D")
}

pub(super) fn strided_slice(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let lists = [call.input(1)?, call.input(2)?, call.input(3)?];
    let [begin, end, strides] = lists.map(|at| importer.constants.ints(at));
    let options = call.options();
    let view = importer.view(call.input(0)?)?;
    same_quantization(importer, call.input(0)?, call.output)?;
    let lists = [begin?, end?, strides?];
    let [begin, end, strides] = [&lists[0], &lists[1], &lists[2]].map(Vec::as_slice);
    match taken(view, begin, end, strides, options) {
        Ok(view) => Ok(Made::View(view)),
        Err(_) => {
            let ranges = ranges(importer, call, [begin, end, strides])?;
            selected(importer, call, call.input(0)?, &ranges)
        }
    }
}

/// SLICE: a range along each dimension.
pub(super) fn slice(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let [begin, size] = [call.input(1)?, call.input(2)?].map(|at| importer.constants.ints(at));
    let (begin, size) = (begin?, size?);
    same_quantization(importer, call.input(0)?, call.output)?;
    let sizes = importer.graph.tensor(call.input(0)?)?.shape.clone();
    if begin.len() != sizes.len() || size.len() != sizes.len() {
        return Err(corrupt("a slice with lists of different lengths"));
    }
    let range = |dim: usize| {
        let whole = i64::from(sizes[dim].max(1));
        let count = if size[dim] == -1 { whole.saturating_sub(begin[dim]) } else { size[dim] };
        let fits = begin[dim] >= 0 && count > 0 && begin[dim].saturating_add(count) <= whole;
        fits.then_some(Taken { first: begin[dim] as usize, step: 1, count: count as usize })
    };
    let ranges: Option<Vec<Taken>> = (0..sizes.len()).map(range).collect();
    let ranges = ranges.ok_or_else(|| corrupt("a slice beyond the end of a map"))?;
    selected(importer, call, call.input(0)?, &ranges)
}

/// SPLIT and SPLIT_V: the range of one output along a dimension. The ranges follow one another.
pub(super) fn split(importer: &mut Importer<'_, '_>, call: &Call<'_>) -> Result<Made, Problem> {
    let (map, dim) = if call.name == "SPLIT" { (1, 0) } else { (0, 2) };
    let (at, outputs) = (call.input(map)?, &call.operator.outputs);
    same_quantization(importer, at, call.output)?;
    let sizes = importer.graph.tensor(at)?.shape.clone();
    let dim = importer.constants.ints(call.input(dim)?)?.first().copied().unwrap_or(0);
    let dim = if dim < 0 { dim.saturating_add(sizes.len() as i64) } else { dim };
    let (Some(dim), Some(part)) = (
        usize::try_from(dim).ok().filter(|&dim| dim < sizes.len()),
        outputs.iter().position(|&output| output == call.output),
    ) else {
        return Err(corrupt("a split along a dimension that the map does not have"));
    };
    let whole = i64::from(sizes[dim].max(1));
    let mut counts = match call.name {
        "SPLIT" => vec![whole / outputs.len() as i64; outputs.len()],
        _ => importer.constants.ints(call.input(1)?)?,
    };
    // One of the counts may be what is left.
    let given = counts.iter().filter(|&&count| count >= 0);
    let given = given.fold(0i64, |sum, &count| sum.saturating_add(count));
    if let Some(rest) = counts.iter_mut().find(|count| **count == -1) {
        *rest = whole.saturating_sub(given);
    }
    let sum = counts.iter().fold(0i64, |sum, &count| sum.saturating_add(count));
    if counts.len() != outputs.len() || counts.iter().any(|&count| count < 1) || sum != whole {
        return Err(corrupt(format!("a split of {whole} positions into parts of {counts:?}")));
    }
    let first: i64 = counts[..part].iter().sum();
    let range = |at: usize| match at == dim {
        true => Taken { first: first as usize, step: 1, count: counts[part] as usize },
        false => Taken { first: 0, step: 1, count: sizes[at].max(1) as usize },
    };
    let ranges: Vec<Taken> = (0..sizes.len()).map(range).collect();
    selected(importer, call, at, &ranges)
}

/// MIRROR_PAD: rows and columns of the map around it.
pub(super) fn mirror_pad(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
) -> Result<Made, Problem> {
    let at = call.input(0)?;
    let amounts = importer.constants.ints(call.input(1)?)?;
    same_quantization(importer, at, call.output)?;
    let symmetric = call.options().number(0, 0i8)? == 1;
    let sizes: Option<Vec<usize>> = amounts.iter().map(|&n| usize::try_from(n).ok()).collect();
    let pads = match sizes.as_deref() {
        Some(&[0, 0, left, right, 0, 0]) => [0, left, 0, right],
        Some(&[0, 0, top, bottom, left, right, 0, 0]) => [top, left, bottom, right],
        _ => {
            return Err(unsupported(
                format!("pads by {amounts:?} with values of the map"),
                "only height and width of a map can be padded so",
            ));
        }
    };
    let repeats = match symmetric {
        // The first row beyond the edge repeats the edge, the second its neighbour.
        true if pads.iter().any(|&pad| pad > 1) => {
            return Err(unsupported(
                "pads by more than one symmetrically",
                "mode REFLECT is supported, and SYMMETRIC by one row or column",
            ));
        }
        true => Repeats::Edge,
        false => Repeats::Mirrored,
    };
    let node = importer.settle(importer.view(at)?, call.source, at)?;
    let [height, width, channels] = importer.layers[node].shape;
    let around = |size: usize, pads: [usize; 2]| pads.into_iter().fold(size, usize::saturating_add);
    let shape = [around(height, [pads[0], pads[2]]), around(width, [pads[1], pads[3]]), channels];
    check_extents(&shape, "output")?;
    let op = Computation::Border(Border { pads, repeats });
    Ok(Made::Layer(importer.push(call.layer(op, vec![node], shape, Activation::None))))
}

/// Positions along a dimension: `first`, `first + step`, …
#[derive(Clone, Copy, Debug)]
struct Taken {
    first: usize,
    step: i64,
    count: usize,
}

/// The positions of STRIDED_SLICE along each dimension.
fn ranges(
    importer: &Importer<'_, '_>,
    call: &Call<'_>,
    [begin, end, strides]: [&[i64]; 3],
) -> Result<Vec<Taken>, Problem> {
    let options = call.options();
    let [begins, ends, ellipsis, new, shrinks] = [0, 1, 2, 3, 4].map(|field| options.int(field, 0));
    let (begins, ends, shrinks) = (begins?, ends?, shrinks?);
    let sizes = &importer.graph.tensor(call.input(0)?)?.shape;
    let rank = sizes.len();
    let pixels: i64 = sizes.iter().rev().skip(1).map(|&size| i64::from(size.max(1))).product();
    if rank > 0 && shrinks & (1 << (rank - 1)) != 0 && pixels > 1 {
        return Err(unsupported(
            "takes a channel as a map without channels",
            "keep the dimension of the channels: x[..., :1] instead of x[..., 0]",
        ));
    }
    if [ellipsis?, new?] != [0, 0] || [begin.len(), end.len(), strides.len()] != [rank; 3] {
        return Err(unsupported(
            "slices a map with an ellipsis or a new dimension",
            "convert the network with all ranges given",
        ));
    }
    let range = |dim: usize| {
        let size = i64::from(sizes[dim].max(1));
        let has = |mask: i32| mask & (1 << dim) != 0;
        let from_end = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let step = strides[dim];
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let open = if step > 0 { [low, high] } else { [high, low] };
        let first = if has(begins) { open[0] } else { from_end(begin[dim]).clamp(low, high) };
        if has(shrinks) {
            return (first >= 0 && first < size).then_some(Taken {
                first: first as usize,
                step: 1,
                count: 1,
            });
        }
        let last = if has(ends) { open[1] } else { from_end(end[dim]).clamp(low, high) };
        let span = if step > 0 { last - first } else { first - last };
        let count = u64::try_from(span).ok()?.div_ceil(step.unsigned_abs().max(1));
        (step != 0 && count > 0 && first >= 0).then_some(Taken {
            first: first as usize,
            step,
            count: count as usize,
        })
    };
    let ranges: Option<Vec<Taken>> = (0..rank).map(range).collect();
    ranges.ok_or_else(|| unsupported("slices nothing of a map", "take at least one position"))
}

/// The layers that take these positions of a map.
fn selected(
    importer: &mut Importer<'_, '_>,
    call: &Call<'_>,
    at: i32,
    ranges: &[Taken],
) -> Result<Made, Problem> {
    let mut node = importer.settle(importer.view(at)?, call.source, at)?;
    let of = |axis: usize| {
        // A map with two dimensions has no rows, and a vector has neither rows nor columns.
        let dim = (axis + ranges.len()).checked_sub(3).filter(|&dim| dim > 0);
        dim.map_or(Taken { first: 0, step: 1, count: 1 }, |dim| ranges[dim])
    };
    let [rows, columns, channels] = [0, 1, 2].map(of);
    let refuse = || {
        unsupported(
            "slices a map to a part",
            "a range of rows, of columns or of channels, or every n-th of them, can be taken",
        )
    };
    let [height, width, all] = importer.layers[node].shape;
    if rows.step < 1 || columns.step < 1 || ranges.first().is_some_and(|batch| batch.count != 1) {
        return Err(refuse());
    }
    let span = |taken: Taken| (taken.count - 1) * taken.step as usize + 1;
    let behind = |size: usize, taken: Taken| size.checked_sub(taken.first + span(taken));
    let (Some(below), Some(right)) = (behind(height, rows), behind(width, columns)) else {
        return Err(refuse());
    };
    let mut add = |importer: &mut Importer<'_, '_>, conv: Conv, shape: Shape| {
        let layer = call.layer(Computation::Part(conv), vec![node], shape, Activation::None);
        node = importer.push(layer);
    };
    let mut size = [height, width];
    for (conv, part) in Conv::croppings(all, [rows.first, columns.first, below, right]) {
        size = std::array::from_fn(|axis| size[axis] - part[axis] - part[axis + 2]);
        add(importer, conv, [size[0], size[1], all]);
    }
    let place = |i: usize| (channels.first as i64 + i as i64 * channels.step) as usize;
    let chosen: Vec<usize> = (0..channels.count).map(place).collect();
    let stride = [rows.step as usize, columns.step as usize];
    if stride != [1, 1] || !chosen.iter().copied().eq(0..all) {
        if chosen.iter().any(|&channel| channel >= all) {
            return Err(refuse());
        }
        check_extents(&stride, "stride")?;
        let conv = Conv { stride, ..Conv::choosing(all, &chosen) };
        add(importer, conv, [rows.count, columns.count, chosen.len()]);
    }
    Ok(Made::Layer(node))
}

fn padded(view: View, amounts: &[i64]) -> Result<View, Problem> {
    let amounts: Option<Vec<usize>> = amounts.iter().map(|&n| usize::try_from(n).ok()).collect();
    match amounts.as_deref() {
        Some(&[0, 0, left, right, before, after]) => {
            view.padded([0, left, 0, right], [before, after])
        }
        Some(&[0, 0, top, bottom, left, right, before, after]) => {
            view.padded([top, left, bottom, right], [before, after])
        }
        _ => Err(unsupported(
            format!("pads by {amounts:?}"),
            "only height, width and channels of a map can be padded",
        )),
    }
}

/// TFLite's copies keep their scale, so a file in which they do not is broken.
fn same_quantization(importer: &Importer<'_, '_>, input: i32, output: i32) -> Result<(), Problem> {
    let (from, to) = (importer.graph.tensor(input)?, importer.graph.tensor(output)?);
    if (&from.scales, &from.zero_points) == (&to.scales, &to.zero_points) {
        return Ok(());
    }
    Err(corrupt("a copy of a map has another scale"))
}

/// The slices x[:, ::2, ::2, :] of option A.
fn taken(
    view: View,
    begin: &[i64],
    end: &[i64],
    strides: &[i64],
    options: Options<'_>,
) -> Result<View, Problem> {
    let masks = (options.int(0, 0)?, options.int(1, 0)?);
    let others = [options.int(2, 0)?, options.int(3, 0)?, options.int(4, 0)?];
    let [height, width, channels] = view.shape();
    let whole = |dim: usize, size: usize| {
        (masks.0 & (1 << dim) != 0 || begin[dim] == 0)
            && (masks.1 & (1 << dim) != 0 || end[dim] >= size as i64)
    };
    let sizes = [1, height, width, channels];
    let lists = [begin.len(), end.len(), strides.len()] == [4; 3] && others == [0; 3];
    match *strides {
        [1, down, across, 1] if lists && (0..4).all(|dim| whole(dim, sizes[dim])) => {
            let stride = [down, across].map(|step| usize::try_from(step).unwrap_or(0));
            view.subsampled(stride)
        }
        _ => Err(unsupported(
            "slices a map to a part",
            "only every n-th row or column, from the first, is a view",
        )),
    }
}
