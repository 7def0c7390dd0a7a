//! Sums, products and concatenations of maps.

use super::Map;
use crate::error::{Problem, unsupported};
use crate::keras::corrupt;
use crate::keras::graph::{Call, Walk};
use crate::network::{BatchNorm, Conv, NodeId, Op};

/// The nodes of the inputs, of which there must be several.
fn nodes(walk: &mut Walk, call: &Call<'_>) -> Result<Vec<NodeId>, Problem> {
    if call.inputs.len() < 2 {
        return Err(corrupt(format!("{} of one input", call.layer.class)));
    }
    call.inputs.iter().map(|map| walk.settle(map, call.layer.name)).collect()
}

/// Combines the inputs one after another with an operator that takes two.
fn folded(walk: &mut Walk, call: &Call<'_>, op: &Op) -> Result<Map, Problem> {
    let mut nodes = nodes(walk, call)?;
    let sizes = call.inputs.iter().map(|map| map.view.shape().iter().product::<usize>());
    let largest = sizes.clone().max();
    let whole = sizes.into_iter().position(|size| Some(size) == largest).unwrap_or(0);
    let (mut made, whole) = (call.inputs[whole], nodes[whole]);
    for node in &mut nodes {
        *node = walk.network()?.enlarged(*node, whole, call.layer.name)?;
    }
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

/// The maximum of maps, `a + max(b − a, 0)`, or their minimum, `a − max(a − b, 0)`.
pub(super) fn larger(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let largest = call.layer.class == "Maximum";
    let mut made = call.inputs[0];
    for &other in &call.inputs[1..] {
        let pair = |a: Map, b: Map| Call { inputs: vec![a, b], ..call.of(a) };
        let (from, less) = if largest { (other, made) } else { (made, other) };
        let difference = subtract(walk, &pair(from, less))?;
        let more = walk.elementwise(Op::Relu, &difference, call)?;
        let both = pair(made, more);
        made = if largest { add(walk, &both)? } else { subtract(walk, &both)? };
    }
    Ok(made)
}

/// An operation on a map and a number, which becomes a factor and an offset.
pub(super) fn with_number(walk: &mut Walk, call: &Call<'_>) -> Result<Map, Problem> {
    let (&[map], &[(before, number)]) = (&call.inputs[..], &call.constants[..]) else {
        return Err(unsupported(
            format!("{} of several maps and numbers", call.layer.class),
            "write it as layers of two maps, or of a map and a number",
        ));
    };
    let (factor, offset) = match (call.layer.class, before) {
        ("Add", _) => (1.0, number),
        ("Subtract", 1) => (1.0, -number),
        ("Subtract", _) => (-1.0, number),
        ("Multiply", _) => (number, 0.0),
        ("TrueDivide" | "Divide", 1) => (number.recip(), 0.0),
        ("Maximum" | "Minimum", _) => {
            let largest = call.layer.class == "Maximum";
            let bounds = if largest { [number, f32::MAX] } else { [f32::MIN, number] };
            return match Op::clip(bounds) {
                Some(op) => walk.elementwise(op, &map, call),
                None => Ok(map),
            };
        }
        (class, _) => {
            return Err(unsupported(
                format!("{class} with a number"),
                "write it as a layer: Rescaling multiplies and adds numbers",
            ));
        }
    };
    let norm = BatchNorm::affine_of(&[factor], &[offset], map.view.shape()[2]);
    walk.elementwise(Op::BatchNorm(norm), &map, call)
}

/// A product of maps of the same shape, or of a map with one value per channel or per pixel.
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
    let mut nodes = [walk.settle(&a, call.layer.name)?, walk.settle(&b, call.layer.name)?];
    if small == [large[0], large[1], 1] {
        let spread = Op::Conv(Conv::spreading(large[2]));
        nodes[1] = walk.push(spread, &[nodes[1]], call, b.dimensions)?.view.node;
    } else if small != [1, 1, large[2]] {
        return Err(unsupported(
            format!("multiplies maps of {large:?} and {small:?}"),
            "a map can be multiplied by a map of its shape, or by one value per channel or per pixel",
        ));
    }
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
