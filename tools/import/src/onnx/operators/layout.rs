//! Operators that only lay a map out in another way.

use crate::error::Problem;
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;
use crate::onnx::node::{int, ints, op_type};
use crate::onnx::shapes;

/// What changes nothing; or, as the last one, stands for its argument.
pub(super) fn keep(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    Ok(call.map(0)?.clone())
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

pub(super) fn reshape(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let sizes = map.sizes();
    let allow_zero = int(call.node, "allowzero", 0) != 0;
    let target = shapes::reshape_target(&sizes, &call.ints(1)?, allow_zero)?;
    map.reshaped(&target)
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
