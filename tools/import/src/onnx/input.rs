//! The graph's input.

use std::collections::HashMap;

use super::importer::Value;
use super::map::{Axis, Channel, Height, Map, Width};
use super::node::{ints, op_type};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};
use crate::network::{Network, Shape};
use crate::proto::{DimensionProto, GraphProto, ValueInfoProto};
use crate::rewrite::view::View;

/// Where the channels of the input are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layout {
    /// Where the first operator shows.
    Shown,
    /// In the last dimension.
    ChannelsLast,
    /// There is one, in a dimension that an operator adds.
    OneChannel,
}

/// The graph's only input: its name, its map, and a network with only that input.
pub(super) fn input(
    graph: &GraphProto,
    values: &HashMap<String, Value>,
    layout: Layout,
) -> Result<(String, Map, Network), LayerProblem> {
    let name = |info: &ValueInfoProto| info.name.clone().unwrap_or_default();
    let inputs: Vec<_> =
        graph.input.iter().filter(|&info| !values.contains_key(&name(info))).collect();
    let [info] = inputs[..] else {
        return Err(unsupported(
            format!("the network has {} inputs", inputs.len()),
            "export it with the image as its only input",
        )
        .into());
    };
    let name = name(info);
    let dims = dimensions(info);
    let text = dims.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", ");
    let shape = if dims.is_empty() { "not given".into() } else { format!("[{text}]") };
    if dims.is_empty() || dims.iter().skip(1).any(|(value, _)| value.is_none()) {
        return Err(Problem::DynamicShape { shape }).at(&name);
    }
    let (Some((batch, _)), 2..=4) = (dims.first(), dims.len()) else {
        return Err(unsupported(
            format!("the input has shape {shape}"),
            "brooklet runs networks that take one image, [N, channels, height, width], or features, \
             [N, channels, length] or [N, features]",
        ))
        .at(&name);
    };
    if batch.is_some_and(|batch| batch != 1) {
        return Err(unsupported(
            format!("the input has a fixed batch: its shape is {shape}"),
            "export the network with a batch of one, or an open one",
        ))
        .at(&name);
    }
    let sizes: Vec<usize> = dims.iter().skip(1).map(|dim| dim.0.unwrap_or(0) as usize).collect();
    // Networks from Keras take N, H, W, C and begin with a transposition.
    let first = graph.node.iter().find(|node| node.input.first() == Some(&name));
    let order = first.filter(|node| op_type(node) == "Transpose").map(|node| ints(node, "perm"));
    let last = layout == Layout::ChannelsLast;
    let (shape, axes): (Shape, &[Axis]) = match (&sizes[..], order) {
        (&[height, width, channels], _) if last => {
            ([height, width, channels], &[Height, Width, Channel])
        }
        (&[length, channels], _) if last => ([1, length, channels], &[Width, Channel]),
        (&[height, width, channels], Some([0, 3, 1, 2])) => {
            ([height, width, channels], &[Height, Width, Channel])
        }
        (&[length, channels], Some([0, 2, 1])) => ([1, length, channels], &[Width, Channel]),
        (&[channels, height, width], _) => ([height, width, channels], &[Channel, Height, Width]),
        (&[channels, length], _) => ([1, length, channels], &[Channel, Width]),
        _ => ([1, 1, sizes[0]], &[Channel]),
    };
    let mut dims = vec![vec![]];
    dims.extend(axes.iter().map(|&axis| vec![axis]));
    let network = Network::new(shape, &name).at(&name)?;
    Ok((name, Map { view: View::new(0, shape), dims }, network))
}

/// The dimensions of a tensor, where they are known, each with its text.
fn dimensions(info: &ValueInfoProto) -> Vec<(Option<i64>, String)> {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dim = |dim: &DimensionProto| {
        let known = dim.dim_value.filter(|&value| value > 0);
        let symbol = dim.dim_param.clone().filter(|symbol| !symbol.is_empty());
        let text = known.map(|value| value.to_string());
        (known, text.or(symbol).unwrap_or_else(|| "?".into()))
    };
    shape.map(|shape| shape.dim.iter().map(dim).collect()).unwrap_or_default()
}
