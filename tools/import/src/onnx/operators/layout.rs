//! Operators that only change the layout of a map.

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Network, Op};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Channel, Height, Map, Width};
use crate::onnx::node::{extent, int, ints, op_type};
use crate::onnx::shapes;

/// Operators that change nothing.
pub(super) fn keep(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    Ok(call.map(0)?.clone())
}

/// Enlarges a map of one pixel to another map's size.
///
/// Its readers, which add or multiply, do that themselves, so nothing is computed.
pub(super) fn expand(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let target = call.ints(1)?;
    let more = target.len().checked_sub(map.dims.len());
    let sizes = map.sizes();
    // A target size of 1 keeps the size of the map.
    let keeps = |(&size, &to): (&usize, &i64)| to <= 1 || size as i64 == to;
    if more == Some(0) && sizes.iter().zip(&target).all(keeps) {
        return Ok(map.clone());
    }
    if let Some(made) = repeated(importer, call, map, &target)? {
        return Ok(made);
    }
    let fits = |more: usize| {
        sizes
            .iter()
            .zip(&target[more..])
            .all(|(&size, &to)| to <= 1 || size == 1 || size as i64 == to)
    };
    let ends = |name: &String| {
        importer.readers.get(name.as_str()).is_some_and(|readers| {
            readers.iter().all(|op| matches!(*op, "Mul" | "Add" | "Sub" | "Div"))
        })
    };
    if !more.is_some_and(fits) || !call.node.output.first().is_some_and(ends) {
        return Err(unsupported(
            format!("enlarges a map of {sizes:?} to {target:?}"),
            "only a map that another map is multiplied by can be enlarged",
        ));
    }
    let more = vec![vec![]; target.len() - map.dims.len()];
    Ok(Map { view: map.view, dims: [more, map.dims.clone()].concat() })
}

/// A map whose only channel is repeated. Networks for colour images repeat a grey image like this.
fn repeated(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    map: &Map,
    target: &[i64],
) -> Result<Option<Map>, Problem> {
    let [n, channels, height, width] = target[..] else { return Ok(None) };
    let nchw = map.dims.len() == 4 && map.require_nchw().is_ok() && map.extent(Channel) == 1;
    let pixels = [(height, map.extent(Height)), (width, map.extent(Width))];
    let more = pixels.iter().all(|&(to, size)| size > 1 && (to <= 1 || to == size as i64));
    if !nchw || !more || n > 1 || channels < 2 {
        return Ok(None);
    }
    let channels = extent(channels)?;
    crate::network::check_extents(&[channels], "number of channels")?;
    importer.take(channels)?;
    let view = Map::nchw(map.view);
    importer.elementwise(&view, Op::Conv(Conv::spreading(channels)), &call.name).map(Some)
}

/// Tile, which may only repeat the channel of a map with one channel.
pub(super) fn tile(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let times = call.ints(1)?;
    if times.iter().all(|&times| times == 1) {
        return Ok(map.clone());
    }
    let ones = times.iter().enumerate().all(|(dim, &times)| dim == 1 || times == 1);
    let made = if ones { repeated(importer, call, map, &times)? } else { None };
    made.ok_or_else(|| {
        unsupported(
            format!("repeats a map of {:?} by {times:?}", map.sizes()),
            "only a map of one channel can be repeated, along its channels",
        )
    })
}

pub(super) fn flatten(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let at = match int(call.node, "axis", 1) {
        axis if axis == map.dims.len() as i64 => map.dims.len(),
        axis => map.axis(axis)?,
    };
    let dims = vec![map.dims[..at].concat(), map.dims[at..].concat()];
    Ok(Map { view: map.view, dims })
}

pub(super) fn reshape(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let sizes = map.sizes();
    let allow_zero = int(call.node, "allowzero", 0) != 0;
    let target = shapes::reshape_target(&sizes, &call.ints(1)?, allow_zero)?;
    let made = map.reshaped(&target);
    // If the input is a vector that is reshaped to a map, the map is the image.
    let untouched = importer.network.nodes.len() == 1 && map.view == importer.view(0);
    match (made, &target[..]) {
        (Err(_), &[1, channels, height, width]) if untouched && map.view.shape()[..2] == [1, 1] => {
            let source = importer.network.nodes[0].source.clone();
            importer.network = Network::new([height, width, channels], &source)?;
            Ok(Map::nchw(importer.view(0)))
        }
        (made, _) => made,
    }
}

pub(super) fn squeeze(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let axes = match call.optional_ints(1)? {
        Some(axes) => axes,
        None => ints(call.node, "axes").to_vec(),
    };
    let target = shapes::squeezed(&map.sizes(), &axes, op_type(call.node) == "Squeeze")?;
    map.reshaped(&target)
}

pub(super) fn transpose(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let order = shapes::permutation(ints(call.node, "perm"), map.dims.len())?;
    let dims = order.into_iter().map(|dim| map.dims[dim].clone()).collect();
    Ok(Map { view: map.view, dims })
}
