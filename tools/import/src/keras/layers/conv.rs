//! Convolutions and linear layers.

use ndarray::{Array4, ArrayD, Ix4};

use super::Map;
use super::activation::activated;
use crate::error::{Problem, unsupported};
use crate::keras::corrupt;
use crate::keras::graph::{Call, Walk};
use crate::network::{Conv, Op, Pads, dilated, same_pads};

/// Number of spatial dimensions, which is part of the class's name.
pub(super) fn dimensions(call: &Call<'_>) -> usize {
    if call.layer.class.contains("1D") { 1 } else { 2 }
}

/// Refuses an input with another number of dimensions.
pub(super) fn require(call: &Call<'_>, map: &Map) -> Result<(), Problem> {
    call.layer.require_channels_last()?;
    match map.dimensions == dimensions(call) + 1 {
        true => Ok(()),
        false => Err(corrupt(format!("{} of {} dimensions", call.layer.class, map.dimensions))),
    }
}

/// The four pads of the layer's `padding`, for a kernel that spans `reach` rows and columns.
pub(super) fn padding(
    call: &Call<'_>,
    map: &Map,
    reach: [usize; 2],
    stride: [usize; 2],
) -> Result<Pads, Problem> {
    match call.layer.text("padding") {
        Some("same") => Ok(same_pads(map.view.shape(), reach, stride, true)),
        Some("causal") => Ok([0, reach[1].saturating_sub(1), 0, 0]),
        Some("valid") | None => Ok([0; 4]),
        Some(other) => Err(corrupt(format!("a padding of `{other}`"))),
    }
}

/// Weights as rows, columns, inputs, outputs; those of a single dimension have no rows.
fn kernel(weights: ArrayD<f32>, dimensions: usize) -> Result<Array4<f32>, Problem> {
    let shape = weights.shape().to_vec();
    let weights = if dimensions == 1 { weights.insert_axis(ndarray::Axis(0)) } else { weights };
    let weights = weights.into_dimensionality::<Ix4>();
    weights.map_err(|_| corrupt(format!("weights of shape {shape:?}")))
}

/// The same in OHWI, for a filter of each input channel.
fn depthwise_kernel(weights: Array4<f32>) -> Result<Array4<f32>, Problem> {
    let (rows, columns, inputs, each) = weights.dim();
    let weights = weights.as_standard_layout().into_owned();
    let weights = weights.into_shape_with_order((rows, columns, inputs * each, 1));
    let weights = weights.map_err(|error| corrupt(error.to_string()))?;
    Ok(ohwi(weights.permuted_axes([0, 1, 3, 2])))
}

/// Reorders rows, columns, inputs, outputs to OHWI.
fn ohwi(weights: Array4<f32>) -> Array4<f32> {
    weights.permuted_axes([3, 0, 1, 2]).as_standard_layout().into_owned()
}

/// One bias per channel, or zeros if the layer has none.
fn bias(
    walk: &mut Walk,
    call: &Call<'_>,
    number: usize,
    outputs: usize,
) -> Result<Vec<f32>, Problem> {
    if !call.layer.flag("use_bias", true) {
        return Ok(vec![0.0; outputs]);
    }
    let bias = walk.weight(call, &["bias"], number)?;
    match bias.len() == outputs {
        true => Ok(bias.iter().copied().collect()),
        false => Err(corrupt(format!("{} biases for {outputs} channels", bias.len()))),
    }
}

/// A convolution with the layer's stride, dilation and padding; padding of the input becomes its
/// own.
fn windowed(
    walk: &mut Walk,
    call: &Call<'_>,
    map: &Map,
    weights: Array4<f32>,
    bias: Vec<f32>,
    groups: usize,
) -> Result<Map, Problem> {
    let axes = dimensions(call);
    let stride = call.layer.pair("strides", axes, 1)?;
    let dilation = call.layer.pair("dilation_rate", axes, 1)?;
    let (_, rows, columns, inputs) = weights.dim();
    crate::network::check_extents(&[rows, columns], "kernel")?;
    crate::network::check_extents(&[stride, dilation].concat(), "stride")?;
    if inputs.checked_mul(groups) != Some(map.view.shape()[2]) {
        let channels = map.view.shape()[2];
        return Err(corrupt(format!("weights for {inputs} of {channels} channels")));
    }
    let reach = [dilated(rows, dilation[0]), dilated(columns, dilation[1])];
    let own = padding(call, map, reach, stride)?;
    let mut map = *map;
    let added = map.view.take_pads();
    let pads = std::array::from_fn(|side| own[side] + added[side]);
    let node = walk.settle(&map, call.layer.name)?;
    let conv = Conv { weights, bias, stride, pads, dilation, groups, fully_connected: false };
    walk.push(Op::Conv(conv), &[node], call, map.dimensions)
}

pub(super) fn conv(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    require(call, &map)?;
    let weights = ohwi(kernel(walk.weight(call, &["kernel"], 0)?, dimensions(call))?);
    let bias = bias(walk, call, 1, weights.dim().0)?;
    let groups = call.layer.extent("groups", 1)?;
    let made = windowed(walk, call, &map, weights, bias, groups)?;
    activated(walk, made, call)
}

pub(super) fn depthwise(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    require(call, &map)?;
    let weights = walk.weight(call, &["depthwise_kernel", "kernel"], 0)?;
    let weights = depthwise_kernel(kernel(weights, dimensions(call))?)?;
    let bias = bias(walk, call, 1, weights.dim().0)?;
    let made = windowed(walk, call, &map, weights, bias, map.view.shape()[2])?;
    activated(walk, made, call)
}

/// A depthwise convolution, followed by a 1×1 convolution.
pub(super) fn separable(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    require(call, &map)?;
    let axes = dimensions(call);
    let first = depthwise_kernel(kernel(walk.weight(call, &["depthwise_kernel"], 0)?, axes)?)?;
    let second = ohwi(kernel(walk.weight(call, &["pointwise_kernel"], 1)?, axes)?);
    let bias = bias(walk, call, 2, second.dim().0)?;
    let zeros = vec![0.0; first.dim().0];
    let made = windowed(walk, call, &map, first, zeros, map.view.shape()[2])?;
    let node = walk.settle(&made, call.layer.name)?;
    let conv = pointwise(second, bias, false);
    let made = walk.push(Op::Conv(conv), &[node], call, map.dimensions)?;
    activated(walk, made, call)
}

fn pointwise(weights: Array4<f32>, bias: Vec<f32>, fully_connected: bool) -> Conv {
    Conv {
        weights,
        bias,
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
        fully_connected,
    }
}

/// A linear layer, which reads a vector, a flattened map, or each pixel of a map.
pub(super) fn dense(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let map = *walk.only(call)?;
    let node = walk.settle(&map, call.layer.name)?;
    let shape = map.view.shape();
    let kernel = walk.weight(call, &["kernel"], 0)?;
    let &[inputs, outputs] = kernel.shape() else {
        return Err(corrupt(format!("weights of shape {:?}", kernel.shape())));
    };
    let [rows, columns] = if map.dimensions == 1 { [shape[0], shape[1]] } else { [1, 1] };
    if rows * columns * shape[2] != inputs {
        return Err(unsupported(
            format!("a linear layer of {inputs} inputs of a map of {shape:?}"),
            "flatten or pool the map before it",
        ));
    }
    let weights = kernel.into_shape_with_order((rows, columns, shape[2], outputs));
    let weights = ohwi(weights.map_err(|error| corrupt(error.to_string()))?);
    let bias = bias(walk, call, 1, outputs)?;
    let whole = [rows, columns] == [shape[0], shape[1]];
    let conv = pointwise(weights, bias, whole);
    let made = walk.push(Op::Conv(conv), &[node], call, map.dimensions)?;
    activated(walk, made, call)
}
