//! Layers that change a map's layout, pad it, or only matter in training.

use serde_json::Value;

use super::Map;
use super::conv::dimensions;
use crate::error::{Problem, unsupported};
use crate::keras::corrupt;
use crate::keras::graph::{Call, Walk};
use crate::network::{Conv, Op, Pads, Shape};
use crate::rewrite::view::View;

/// Layers that only matter in training: noise, dropout, augmentation.
pub(super) fn same(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    walk.only(call).copied()
}

pub(super) fn flatten(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    call.layer.require_channels_last()?;
    Ok(Map { dimensions: 1, ..*walk.only(call)? })
}

/// Reshapes to a vector, or to a map of one pixel; the input can be reshaped to any shape, and the
/// rows and columns of the last map can be joined.
pub(super) fn reshape(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let from = map.view.shape();
    let elements: usize = from.iter().product();
    let wrong = || corrupt(format!("a target shape of {}", call.layer.config["target_shape"]));
    let target = call.layer.config["target_shape"].as_array().ok_or_else(wrong)?;
    let known: i64 = target.iter().filter_map(Value::as_i64).filter(|&size| size > 0).product();
    let size = |size: &Value| match size.as_i64()? {
        -1 => (elements as i64).checked_div(known).and_then(|rest| usize::try_from(rest).ok()),
        size => usize::try_from(size).ok(),
    };
    let sizes: Vec<usize> = target.iter().map(size).collect::<Option<_>>().ok_or_else(wrong)?;
    let to: Shape = match sizes[..] {
        [height, width, channels] => [height, width, channels],
        [width, channels] => [1, width, channels],
        [channels] => [1, 1, channels],
        _ => return Err(wrong()),
    };
    if to.iter().product::<usize>() != elements {
        return Err(wrong());
    }
    let dimensions = sizes.len();
    let joins = to == [1, from[0] * from[1], from[2]] && walk.network()?.nodes.len() > 1;
    if to == from || dimensions == 1 || joins {
        return Ok(Map { view: map.view, dimensions });
    }
    let network = walk.network()?;
    if map.view == View::new(0, network.input) && network.nodes.len() == 1 {
        crate::network::check_extents(&to, "input size")?;
        (network.input, network.nodes[0].shape) = (to, to);
        return Ok(Map { view: View::new(0, to), dimensions });
    }
    Err(unsupported(
        format!("reshapes a map of {from:?} to {to:?}"),
        "only flattening, or a new shape of the input, is supported",
    ))
}

/// Permute, from channels, rows, columns to rows, columns, channels at the input.
pub(super) fn permute(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let order: Option<Vec<u64>> = call.layer.config["dims"]
        .as_array()
        .map(|dims| dims.iter().filter_map(Value::as_u64).collect());
    let [a, b, c] = map.view.shape();
    let network = walk.network()?;
    let untouched = map.view == View::new(0, network.input) && network.nodes.len() == 1;
    match order.as_deref() {
        Some([1, 2, 3]) => Ok(map),
        Some([2, 3, 1]) if untouched => {
            let to = [b, c, a];
            (network.input, network.nodes[0].shape) = (to, to);
            Ok(Map { view: View::new(0, to), dimensions: 3 })
        }
        _ => Err(unsupported(
            format!("exchanges the dimensions of a map by {}", call.layer.config["dims"]),
            "only an input with channels first can be brought to rows, columns, channels",
        )),
    }
}

/// Resizing and CenterCrop, to the size that the image has already or, for a crop, to a smaller one.
pub(super) fn resize(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let [height, width, _] = map.view.shape();
    let size = [call.layer.extent("height", height)?, call.layer.extent("width", width)?];
    if size == [height, width] {
        return Ok(map);
    }
    let crops = call.layer.class == "CenterCrop" && size[0] <= height && size[1] <= width;
    if !crops {
        return Err(unsupported(
            format!("resizes a map of {height}×{width} to {}×{}", size[0], size[1]),
            "leave it out of the network, and resize the images: --resize, --crop",
        ));
    }
    let (top, left) = ((height - size[0]) / 2, (width - size[1]) / 2);
    let edges = [top, left, height - size[0] - top, width - size[1] - left];
    cropped(walk, call, &map, edges)
}

/// Top, left, bottom, right of a layer's `padding` or `cropping`.
fn sides(call: &Call<'_>, key: &str) -> Result<Pads, Problem> {
    let value = &call.layer.config[key];
    let one = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([before, behind]) => Some([one(before)?, one(behind)?]),
        Some(_) => None,
        None => one(value).map(|both| [both, both]),
    };
    let sides = match (dimensions(call), value.as_array().map(Vec::as_slice)) {
        (2, Some([rows, columns])) => pair(rows).zip(pair(columns)),
        (2, None) => pair(value).zip(pair(value)),
        (1, _) => pair(value).map(|columns| ([0, 0], columns)),
        _ => None,
    };
    let wrong = || corrupt(format!("`{key}` is {value}"));
    let ([top, bottom], [left, right]) = sides.ok_or_else(wrong)?;
    Ok([top, left, bottom, right])
}

pub(super) fn pad(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    super::conv::require(call, &map)?;
    let view = map.view.padded(sides(call, "padding")?, [0, 0])?;
    Ok(Map { view, ..map })
}

pub(super) fn crop(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    super::conv::require(call, &map)?;
    let sides = sides(call, "cropping")?;
    crate::network::check_extents(&sides.map(|side| side.saturating_add(1)), "cropping")?;
    cropped(walk, call, &map, sides)
}

/// A map without these rows and columns.
fn cropped(walk: &mut Walk, call: &Call<'_>, map: &Map, edges: Pads) -> Result<Map, Problem> {
    let mut made = *map;
    for (conv, _) in Conv::croppings(map.view.shape()[2], edges) {
        made = walk.elementwise(Op::Conv(conv), &made, call)?;
    }
    Ok(made)
}
