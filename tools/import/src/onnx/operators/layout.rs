//! Operators that only change the layout of a map.

use crate::error::{Problem, unsupported};
use crate::network::{Conv, Network, Op};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::input::Layout;
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
            // Its quantized form is read by a multiplication, too.
            let ends = ["Mul", "Add", "Sub", "Div", "QuantizeLinear", "DequantizeLinear"];
            readers.iter().all(|op| ends.contains(op))
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
    let nchw = map.dims.len() == 4
        && !map.is_upright()
        && map.require_nchw().is_ok()
        && map.extent(Channel) == 1;
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
    shaped(importer, call, map, &target)
}

/// A map with other dimensions. If it is the input, and becomes an image only by this, it is the image.
fn shaped(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    map: &Map,
    target: &[usize],
) -> Result<Map, Problem> {
    let made = map.reshaped(target);
    let untouched = importer.network.nodes.len() == 1 && map.view == importer.view(0);
    let is_vector = map.view.shape()[..2] == [1, 1];
    // A single channel has the order of the input, whatever the input's dimensions are called.
    let image = match *target {
        [1, channels, height, width]
            if (is_vector && made.is_err())
                || (channels == 1 && importer.layout == Layout::OneChannel) =>
        {
            Some(([height, width, channels], 4))
        }
        [1, 1, width] if importer.layout == Layout::OneChannel => Some(([1, width, 1], 3)),
        _ => None,
    };
    match (made, image) {
        (_, Some((shape, dimensions))) if untouched => {
            let source = importer.network.nodes[0].source.clone();
            importer.network = Network::new(shape, &source)?;
            let view = importer.view(0);
            let alone = Map { view, dims: vec![vec![], vec![Channel], vec![Width]] };
            Ok(if dimensions == 4 { Map::nchw(view) } else { alone })
        }
        // The answer is a vector, however a file divides it.
        (Err(_), _) if is_vector && importer.is_output(call) => {
            Ok(Map { view: map.view, dims: vec![vec![], vec![Channel]] })
        }
        (made, _) => made,
    }
}

pub(super) fn squeeze(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let axes = match call.optional_ints(1)? {
        Some(axes) => axes,
        None => ints(call.node, "axes").to_vec(),
    };
    let target = shapes::squeezed(&map.sizes(), &axes, op_type(call.node) == "Squeeze")?;
    shaped(importer, call, map, &target)
}

pub(super) fn transpose(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let order = shapes::permutation(ints(call.node, "perm"), map.dims.len())?;
    let dims = order.into_iter().map(|dim| map.dims[dim].clone()).collect();
    Ok(Map { view: map.view, dims })
}
