//! Operators that only change the layout of a map.

use crate::error::{Problem, unsupported};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;
use crate::onnx::node::{int, ints, op_type};
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
            "only what a map is multiplied by can be enlarged",
        ));
    }
    let more = vec![vec![]; target.len() - map.dims.len()];
    Ok(Map { view: map.view, dims: [more, map.dims.clone()].concat() })
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
