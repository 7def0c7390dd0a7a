//! Operators that pad a map, or take a part of it.

use ndarray::Axis as NdAxis;

use crate::error::{Problem, unsupported};
use crate::onnx::call::Call;
use crate::onnx::importer::{Importer, Value};
use crate::onnx::map::{Channel, Height, Map, Width};
use crate::onnx::node::{corrupt, extent, float, int, ints, text};
use crate::onnx::shapes;

pub(super) fn pad(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let mode = text(call.node, "mode");
    let value = call.scalar(2)?.unwrap_or(float(call.node, "value", 0.0));
    if !matches!(mode, "" | "constant") || value != 0.0 {
        return Err(unsupported(
            format!("pads by mode {mode:?} with {value}"),
            "only padding with zeros is supported",
        ));
    }
    let amounts = match call.optional_ints(1)? {
        Some(amounts) => amounts,
        None => ints(call.node, "pads").to_vec(),
    };
    let dims: Vec<usize> = match call.optional_ints(3)? {
        Some(axes) => axes.iter().map(|&axis| map.axis(axis)).collect::<Result<_, _>>()?,
        None => (0..map.dims.len()).collect(),
    };
    if amounts.len() != 2 * dims.len() {
        return Err(corrupt(format!("pads {amounts:?} for {} dimensions", dims.len())));
    }
    let (mut pads, mut channels) = ([0; 4], [0; 2]);
    for (i, &dim) in dims.iter().enumerate() {
        let [before, after] = [extent(amounts[i])?, extent(amounts[i + dims.len()])?];
        match map.dims[dim][..] {
            _ if (before, after) == (0, 0) => {}
            [Height] => (pads[0], pads[2]) = (before, after),
            [Width] => (pads[1], pads[3]) = (before, after),
            [Channel] => channels = [before, after],
            _ => {
                return Err(unsupported(
                    format!("pads dimension {dim}"),
                    "only height, width and channels can be padded",
                ));
            }
        }
    }
    Ok(Map { view: map.view.padded(pads, channels)?, dims: map.dims.clone() })
}

/// The part of a map that keeps every `step`-th of all positions along a dimension.
fn subsampled(map: &Map, dim: usize, step: usize) -> Result<Map, Problem> {
    let stride = match map.dims[dim][..] {
        _ if step == 1 => [1, 1],
        [Height] => [step, 1],
        [Width] => [1, step],
        _ => {
            return Err(unsupported(
                format!("takes a part of dimension {dim}"),
                "only rows and columns can be subsampled",
            ));
        }
    };
    Ok(Map { view: map.view.subsampled(stride)?, dims: map.dims.clone() })
}

pub(super) fn slice(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut map = call.map(0)?.clone();
    let sizes = map.sizes();
    for (dim, range) in slices(call, &sizes)?.into_iter().enumerate() {
        if range.start != 0
            || range.step < 1
            || range.count != sizes[dim].div_ceil(range.step as usize)
        {
            return Err(unsupported(
                format!("slices dimension {dim} to a part"),
                "only every n-th row or column, from the first, can be taken",
            ));
        }
        map = subsampled(&map, dim, extent(range.step)?)?;
    }
    Ok(map)
}

/// A Slice's ranges for all dimensions.
fn slices(call: &Call<'_>, sizes: &[usize]) -> Result<Vec<shapes::Range>, Problem> {
    let (starts, ends, axes, steps) = if call.inputs.len() > 1 {
        (call.ints(1)?, call.ints(2)?, call.optional_ints(3)?, call.optional_ints(4)?)
    } else {
        let axes = ints(call.node, "axes").to_vec();
        (ints(call.node, "starts").to_vec(), ints(call.node, "ends").to_vec(), Some(axes), None)
    };
    shapes::ranges(sizes, &starts, &ends, axes.as_deref(), steps.as_deref())
}

/// Some exporters write x[:, :, ::2] as a Gather of 0, 2, 4, ….
pub(super) fn gather(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let dim = map.axis(int(call.node, "axis", 0))?;
    let indices = call.constant(1)?;
    let list = indices.to_ints()?;
    let step = if list.len() > 1 { list[1].saturating_sub(list[0]) } else { 1 };
    let regular = (0..).step_by(usize::try_from(step).ok().filter(|&n| n > 0).unwrap_or(1));
    let all = step > 0 && list.len() == map.size(dim).div_ceil(step as usize);
    if indices.rank() != 1 || !all || !list.iter().copied().eq(regular.take(list.len())) {
        return Err(unsupported(
            format!("gathers positions {list:?} of dimension {dim}"),
            "only every n-th row or column, from the first, can be taken",
        ));
    }
    subsampled(map, dim, extent(step)?)
}

/// Zero channels before and after a map.
pub(super) fn concat(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let refuse = || {
        unsupported(
            "joins maps",
            "only zero channels can be joined to a map (the shortcut called option A)",
        )
    };
    let is_map = |input: &Option<Value>| matches!(input, Some(Value::Map(_)));
    let position = call.inputs.iter().position(is_map).ok_or_else(refuse)?;
    let map = call.map(position)?;
    let dim = map.axis(int(call.node, "axis", 0))?;
    if map.dims[dim] != [Channel] {
        return Err(refuse());
    }
    let mut channels = [0, 0];
    for (index, input) in call.inputs.iter().enumerate().filter(|&(index, _)| index != position) {
        let Some(Value::Constant(zeros)) = input else {
            return Err(refuse());
        };
        let zeros = zeros.floats()?;
        let mut shape = map.sizes();
        shape[dim] = zeros.shape().get(dim).copied().unwrap_or(0);
        if zeros.shape() != shape || zeros.iter().any(|&zero| zero != 0.0) {
            return Err(refuse());
        }
        channels[usize::from(index > position)] += zeros.len_of(NdAxis(dim));
    }
    Ok(Map { view: map.view.padded([0; 4], channels)?, dims: map.dims.clone() })
}
