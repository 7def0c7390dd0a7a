//! Sums, products and concatenations of maps.

use super::Map;
use crate::error::{Problem, unsupported};
use crate::keras::corrupt;
use crate::keras::graph::{Call, Walk};
use crate::network::{BatchNorm, NodeId, Op};

/// The nodes of the inputs, of which there must be several.
fn nodes(walk: &mut Walk, call: &Call<'_>) -> Result<Vec<NodeId>, Problem> {
    if call.inputs.len() < 2 {
        return Err(corrupt(format!("{} of one input", call.layer.class)));
    }
    call.inputs.iter().map(|map| walk.settle(map, call.layer.name)).collect()
}

/// Combines the inputs one after another with an operator that takes two.
fn folded(walk: &mut Walk, call: &Call<'_>, op: &Op) -> Result<Map, Problem> {
    let shape = call.inputs[0].view.shape();
    if let Some(other) = call.inputs.iter().find(|map| map.view.shape() != shape) {
        return Err(unsupported(
            format!("{} of maps of {shape:?} and {:?}", call.layer.class, other.view.shape()),
            "only maps of one shape are supported",
        ));
    }
    let nodes = nodes(walk, call)?;
    let mut made = call.inputs[0];
    let mut sum = nodes[0];
    for &node in &nodes[1..] {
        made = walk.push(op.clone(), &[sum, node], call, made.dimensions)?;
        sum = made.view.node;
    }
    Ok(made)
}

pub(super) fn add(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    folded(walk, call, &Op::Add)
}

pub(super) fn average(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let sum = folded(walk, call, &Op::Add)?;
    let factor = 1.0 / call.inputs.len() as f32;
    let norm = BatchNorm::affine_of(&[factor], &[0.0], sum.view.shape()[2]);
    walk.elementwise(Op::BatchNorm(norm), &sum, call)
}

pub(super) fn subtract(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let [first, second] = call.inputs[..] else {
        return Err(corrupt("a difference is of two inputs"));
    };
    let norm = BatchNorm::affine_of(&[-1.0], &[0.0], second.view.shape()[2]);
    let negative = walk.elementwise(Op::BatchNorm(norm), &second, call)?;
    let call = Call { inputs: vec![first, negative], ..call.of(first) };
    folded(walk, &call, &Op::Add)
}

/// Multiplies maps of the same shape, or a map by one value per channel.
pub(super) fn multiply(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let [first, second] = call.inputs[..] else {
        return folded(walk, call, &Op::Multiply);
    };
    let (mut a, mut b) = (first, second);
    if a.view.shape().iter().product::<usize>() < b.view.shape().iter().product() {
        (a, b) = (b, a);
    }
    let (large, small) = (a.view.shape(), b.view.shape());
    if large == small {
        return folded(walk, call, &Op::Multiply);
    }
    if small != [1, 1, large[2]] {
        return Err(unsupported(
            format!("multiplies maps of {large:?} and {small:?}"),
            "a map is multiplied by a map of its shape, or by one value per channel",
        ));
    }
    let nodes = [walk.settle(&a, call.layer.name)?, walk.settle(&b, call.layer.name)?];
    walk.push(Op::Multiply, &nodes, call, a.dimensions)
}

pub(super) fn concatenate(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let dimensions = call.inputs[0].dimensions;
    let axis = call.layer.config["axis"].as_i64().unwrap_or(-1);
    if axis != -1 && axis != dimensions as i64 {
        return Err(unsupported(
            format!("joins maps along dimension {axis}"),
            "only channels can be joined",
        ));
    }
    let nodes = nodes(walk, call)?;
    walk.push(Op::Concat, &nodes, call, dimensions)
}
