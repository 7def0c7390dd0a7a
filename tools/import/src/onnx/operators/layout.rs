//! Operators that only lay a map out in another way.

use crate::error::Problem;
use crate::onnx::importer::{Importer, Inputs};
use crate::onnx::map::Map;
use crate::onnx::node::{int, ints, op_type};
use crate::onnx::shapes;
use crate::proto::NodeProto;

/// What changes nothing; or, as the last one, stands for its argument.
pub(super) fn keep(_: &mut Importer<'_>, _: &NodeProto, inputs: &Inputs) -> Result<Map, Problem> {
    Ok(inputs.map(0)?.clone())
}

pub(super) fn flatten(
    _: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    let at = match int(node, "axis", 1) {
        axis if axis == map.dims.len() as i64 => map.dims.len(),
        axis => map.axis(axis)?,
    };
    let dims = vec![map.dims[..at].concat(), map.dims[at..].concat()];
    Ok(Map { view: map.view, dims })
}

pub(super) fn reshape(
    _: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    let sizes = map.sizes();
    let allow_zero = int(node, "allowzero", 0) != 0;
    let target = shapes::reshape_target(&sizes, &inputs.ints(1)?, allow_zero)?;
    map.reshaped(&target)
}

pub(super) fn squeeze(
    _: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    let axes = match inputs.optional_ints(1)? {
        Some(axes) => axes,
        None => ints(node, "axes").to_vec(),
    };
    let target = shapes::squeezed(&map.sizes(), &axes, op_type(node) == "Squeeze")?;
    map.reshaped(&target)
}

pub(super) fn transpose(
    _: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    let order = shapes::permutation(ints(node, "perm"), map.dims.len())?;
    let dims = order.into_iter().map(|dim| map.dims[dim].clone()).collect();
    Ok(Map { view: map.view, dims })
}
