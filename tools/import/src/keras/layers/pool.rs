//! Poolings.

use super::Map;
use super::conv::{dimensions, padding, require};
use crate::error::Problem;
use crate::keras::graph::{Call, Walk};
use crate::network::{AveragePool, Op, Pads, Window};

/// Whether the layer computes means.
fn averages(call: &Call<'_>) -> bool {
    call.layer.class.contains("Average")
}

pub(super) fn pool(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = *walk.only(call)?;
    require(call, &map)?;
    let axes = dimensions(call);
    let kernel = call.layer.pair("pool_size", axes, 2)?;
    crate::network::check_extents(&kernel, "kernel")?;
    let stride = match call.layer.config.get("strides").filter(|value| !value.is_null()) {
        Some(_) => call.layer.pair("strides", axes, 1)?,
        None => kernel,
    };
    crate::network::check_extents(&stride, "stride")?;
    let mut pads = padding(call, &map, kernel, stride)?;
    let mut counted = [0; 4];
    let [height, width, _] = map.view.shape();
    if averages(call) && kernel == [height, width] && pads == [0; 4] {
        return whole(walk, call, &map, map.dimensions);
    }
    // Zeros around a map without negative values never win a maximum, just as padding does not. In
    // a mean they count, unlike the layer's own padding.
    let joins =
        if averages(call) { pads == [0; 4] } else { walk.network()?.is_positive(map.view.node) };
    let added = map.view.pads();
    let both: Pads = std::array::from_fn(|side| pads[side] + added[side]);
    if joins && (0..4).all(|side| both[side] < kernel[side % 2]) {
        map.view.take_pads();
        (pads, counted) = (both, added);
    }
    let window = Window { kernel, stride, pads };
    window.check()?;
    let node = walk.settle(&map, call.layer.name)?;
    let op = match averages(call) {
        true => Op::AveragePool(AveragePool { window, counted }),
        false => Op::MaxPool(window),
    };
    walk.push(op, &[node], call, map.dimensions)
}

/// Pools the whole map, to one pixel or to a vector.
pub(super) fn global(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    require(call, &map)?;
    let kept = call.layer.flag("keepdims", false);
    whole(walk, call, &map, if kept { map.dimensions } else { 1 })
}

fn whole(walk: &mut Walk, call: &Call<'_>, map: &Map, dimensions: usize) -> Result<Map, Problem> {
    let node = walk.settle(map, call.layer.name)?;
    let [height, width, _] = map.view.shape();
    let op = match averages(call) {
        true => Op::GlobalAveragePool,
        false => Op::MaxPool(Window { kernel: [height, width], stride: [1, 1], pads: [0; 4] }),
    };
    walk.push(op, &[node], call, dimensions)
}
