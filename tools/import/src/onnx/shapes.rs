//! Computes shapes as ONNX's operators do.

use super::constant::MAX_ELEMENTS;
use super::node::corrupt;
use crate::error::Problem;
use crate::network::too_many_elements;

/// The shape to which both can be broadcast.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Problem> {
    let rank = a.len().max(b.len());
    let at =
        |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let shape: Vec<usize> = (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (1, n) | (n, 1) => n,
            (n, _) => n,
        })
        .collect();
    checked_count(&shape)?;
    Ok(shape)
}

pub(super) fn checked_count(shape: &[usize]) -> Result<usize, Problem> {
    let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let count = count.filter(|&count| count <= MAX_ELEMENTS);
    count.ok_or_else(|| corrupt(format!("a tensor of shape {shape:?}")))
}

/// Refuses a tensor with more elements than `room`.
pub(super) fn within(elements: usize, room: usize) -> Result<usize, Problem> {
    if elements <= room { Ok(elements) } else { Err(too_many_elements()) }
}

pub(super) fn shape(values: &[i64], room: usize) -> Result<Vec<usize>, Problem> {
    let shape = values.iter().map(|&value| usize::try_from(value).ok());
    let shape: Option<Vec<usize>> = shape.collect();
    let shape = shape.ok_or_else(|| corrupt(format!("a shape of {values:?}")))?;
    within(checked_count(&shape)?, room)?;
    Ok(shape)
}

pub(super) fn range_count(start: i64, limit: i64, step: i64) -> Result<usize, Problem> {
    if step == 0 {
        return Err(corrupt("a range with step 0"));
    }
    let (span, step) = (i128::from(limit) - i128::from(start), i128::from(step));
    let count = if span.signum() == step.signum() {
        span.unsigned_abs().div_ceil(step.unsigned_abs())
    } else {
        0
    };
    let count = usize::try_from(count).ok().filter(|&count| count <= MAX_ELEMENTS);
    count.ok_or_else(|| corrupt("a range without end"))
}

/// A dimension, which may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let found = usize::try_from(from_start).ok().filter(|&axis| axis < rank);
    found.ok_or_else(|| corrupt(format!("dimension {axis} of {rank}")))
}

/// The target shape of a Reshape: 0 keeps a size, −1 takes the remaining elements.
pub(super) fn reshape_target(
    sizes: &[usize],
    target: &[i64],
    allow_zero: bool,
) -> Result<Vec<usize>, Problem> {
    let refuse = || corrupt(format!("reshapes {sizes:?} to {target:?}"));
    let mut result = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &size) in target.iter().enumerate() {
        result.push(match size {
            0 if !allow_zero => *sizes.get(i).ok_or_else(refuse)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            size => usize::try_from(size).map_err(|_| refuse())?,
        });
    }
    let (all, known) = (checked_count(sizes)?, checked_count(&result)?);
    if let Some(i) = open {
        result[i] = all.checked_div(known).filter(|rest| rest * known == all).ok_or_else(refuse)?;
    }
    Ok(result)
}

/// The shape after Squeeze (`remove`) or Unsqueeze; without axes, all of size 1 are removed.
pub(super) fn squeezed(sizes: &[usize], axes: &[i64], remove: bool) -> Result<Vec<usize>, Problem> {
    let rank = if remove { sizes.len() } else { sizes.len() + axes.len() };
    let axes = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    if remove {
        let drop = |dim: &usize| axes.contains(dim) || (axes.is_empty() && sizes[*dim] == 1);
        if let Some(&dim) = axes.iter().find(|&&dim| sizes[dim] != 1) {
            return Err(corrupt(format!("squeezes dimension {dim} of {sizes:?}")));
        }
        return Ok((0..rank).filter(|dim| !drop(dim)).map(|dim| sizes[dim]).collect());
    }
    let mut left = sizes.iter().copied();
    let size = |dim| {
        if axes.contains(&dim) { Some(1) } else { left.next() }
    };
    let sizes = (0..rank).map(size).collect::<Option<Vec<_>>>();
    sizes.filter(|_| left.next().is_none()).ok_or_else(|| corrupt("unsqueezes a dimension twice"))
}

/// The order of a Transpose; reversed by default.
pub(super) fn permutation(perm: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    if perm.is_empty() {
        return Ok((0..rank).rev().collect());
    }
    let order = perm.iter().map(|&p| axis(p, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(corrupt(format!("transposes {rank} dimensions by {perm:?}")));
    }
    Ok(order)
}

/// The `count` positions `start`, `start + step`, …, which are all valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) step: i64,
    pub(super) count: usize,
}

/// A Slice's ranges for all dimensions.
pub(super) fn ranges(
    sizes: &[usize],
    starts: &[i64],
    ends: &[i64],
    axes: Option<&[i64]>,
    steps: Option<&[i64]>,
) -> Result<Vec<Range>, Problem> {
    let fits = |list: Option<&[i64]>| list.is_none_or(|list| list.len() == starts.len());
    if ends.len() != starts.len() || !fits(axes) || !fits(steps) {
        return Err(corrupt("a slice with lists of different lengths"));
    }
    let mut result: Vec<Range> =
        sizes.iter().map(|&size| Range { start: 0, step: 1, count: size }).collect();
    for i in 0..starts.len() {
        let dim = axis(axes.map_or(i as i64, |axes| axes[i]), sizes.len())?;
        let step = steps.map_or(1, |steps| steps[i]);
        let size = sizes[dim] as i64;
        let from_end = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let start = from_end(starts[i]).clamp(low.max(0), high.max(0));
        let end = from_end(ends[i]).clamp(low, high);
        let count = if size == 0 { 0 } else { range_count(start, end, step)? };
        result[dim] = Range { start: start as usize, step, count };
    }
    Ok(result)
}
