//! What a graph computes from constants alone: shapes and paddings, spelled out operator by
//! operator by exporters.

use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use super::{attribute, corrupt, int, ints, op_type};
use crate::error::{Problem, unsupported};
use crate::proto::{NodeProto, data_type};

/// Largest constant, in elements: a gigabyte of floats.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

/// A constant tensor; integers of all widths and booleans are held as i64.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Floats(ArrayD<f32>),
    Ints(ArrayD<i64>),
}

/// The same expression on either kind of array.
macro_rules! each {
    ($constant:expr, $array:ident => $result:expr) => {
        match $constant {
            Constant::Floats($array) => Constant::Floats($result),
            Constant::Ints($array) => Constant::Ints($result),
        }
    };
}

impl Constant {
    /// A vector of integers.
    pub(super) fn ints(values: Vec<i64>) -> Constant {
        Constant::Ints(ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).expect("a vector"))
    }

    /// Floats of a shape.
    pub(super) fn of_floats(shape: &[usize], values: Vec<f32>) -> Result<Constant, Problem> {
        let array = ArrayD::from_shape_vec(IxDyn(shape), values);
        array.map(Constant::Floats).map_err(|_| corrupt("a tensor of another size"))
    }

    /// Integers of a shape.
    pub(super) fn of_ints(shape: &[usize], values: Vec<i64>) -> Result<Constant, Problem> {
        let array = ArrayD::from_shape_vec(IxDyn(shape), values);
        array.map(Constant::Ints).map_err(|_| corrupt("a tensor of another size"))
    }

    pub(super) fn floats(&self) -> Result<&ArrayD<f32>, Problem> {
        match self {
            Constant::Floats(array) => Ok(array),
            Constant::Ints(_) => Err(corrupt("integers in the place of weights")),
        }
    }

    /// The integers in order.
    pub(super) fn to_ints(&self) -> Result<Vec<i64>, Problem> {
        match self {
            Constant::Ints(array) => Ok(array.iter().copied().collect()),
            Constant::Floats(_) => Err(corrupt("fractions in the place of a shape")),
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.shape().len()
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Constant::Floats(array) => array.shape(),
            Constant::Ints(array) => array.shape(),
        }
    }

    pub(super) fn elements(&self) -> usize {
        match self {
            Constant::Floats(array) => array.len(),
            Constant::Ints(array) => array.len(),
        }
    }

    fn reshaped(&self, shape: &[usize]) -> Result<Constant, Problem> {
        if shape.iter().product::<usize>() != self.shape().iter().product::<usize>() {
            return Err(corrupt(format!("reshapes {:?} to {shape:?}", self.shape())));
        }
        Ok(each!(self, array => {
            let values = array.iter().copied().collect();
            ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many elements")
        }))
    }
}

/// The value of a node whose inputs are all constant (`None`: left out), if it has at most `room`
/// elements.
pub(super) fn evaluate(
    node: &NodeProto,
    inputs: &[Option<&Constant>],
    room: usize,
) -> Result<Constant, Problem> {
    let input = |index: usize| -> Result<&Constant, Problem> {
        let input = inputs.get(index).copied().flatten();
        input.ok_or_else(|| corrupt(format!("input {index} is missing")))
    };
    let optional = |index: usize| -> Result<Option<Vec<i64>>, Problem> {
        inputs.get(index).copied().flatten().map(Constant::to_ints).transpose()
    };
    match op_type(node) {
        "Constant" => literal(node),
        "Identity" => {
            within(input(0)?.elements(), room)?;
            input(0).cloned()
        }
        "Shape" => Ok(Constant::ints(input(0)?.shape().iter().map(|&n| n as i64).collect())),
        "Cast" => {
            const FLOATS: [i64; 2] = [data_type::FLOAT as i64, data_type::DOUBLE as i64];
            Ok(match (input(0)?, FLOATS.contains(&int(node, "to", 0))) {
                (Constant::Ints(array), true) => Constant::Floats(array.mapv(|x| x as f32)),
                (Constant::Floats(array), false) => Constant::Ints(array.mapv(|x| x as i64)),
                (same, _) => same.clone(),
            })
        }
        "ConstantOfShape" => {
            let shape = shape(&input(0)?.to_ints()?, room)?;
            Ok(match attribute(node, "value") {
                None => Constant::Floats(ArrayD::zeros(IxDyn(&shape))),
                Some(_) => each!(literal(node)?, array => {
                    let value = array.first().copied().unwrap_or_default();
                    ArrayD::from_elem(IxDyn(&shape), value)
                }),
            })
        }
        "Expand" => {
            let constant = input(0)?;
            let shape = shape(&input(1)?.to_ints()?, room)?;
            let detail = || corrupt(format!("expands {:?} to {shape:?}", constant.shape()));
            Ok(each!(constant, array => {
                array.broadcast(IxDyn(&shape)).ok_or_else(detail)?.to_owned()
            }))
        }
        "Range" => {
            let bounds = [input(0)?, input(1)?, input(2)?].map(Constant::to_ints);
            let [start, limit, step] = bounds.map(|bound| {
                bound.and_then(|bound| bound.first().copied().ok_or_else(|| corrupt("a range")))
            });
            let (start, limit, step) = (start?, limit?, step?);
            let count = within(range_count(start, limit, step)?, room)?;
            let value = |i: usize| start.wrapping_add((i as i64).wrapping_mul(step));
            Ok(Constant::ints((0..count).map(value).collect()))
        }
        "Add" | "Sub" | "Mul" | "Div" => arithmetic(op_type(node), input(0)?, input(1)?, room),
        "Concat" => {
            let axis = axis(int(node, "axis", 0), input(0)?.rank())?;
            let all = (0..inputs.len()).map(input).collect::<Result<Vec<_>, _>>()?;
            within(all.iter().fold(0, |sum, one| one.elements().saturating_add(sum)), room)?;
            let detail = |_| corrupt("joins tensors that do not fit");
            if let Constant::Floats(_) = all[0] {
                let arrays = all.iter().map(|c| c.floats().map(|array| array.view()));
                let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
                concatenate(Axis(axis), &arrays).map_err(detail).map(Constant::Floats)
            } else {
                let arrays = all.iter().map(|constant| match constant {
                    Constant::Ints(array) => Ok(array.view()),
                    Constant::Floats(_) => Err(corrupt("joins integers and fractions")),
                });
                let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
                concatenate(Axis(axis), &arrays).map_err(detail).map(Constant::Ints)
            }
        }
        "Gather" => {
            let constant = input(0)?;
            let axis = axis(int(node, "axis", 0), constant.rank())?;
            let size = constant.shape()[axis];
            let indices = input(1)?;
            let places = indices.to_ints()?.into_iter().map(|index| {
                let index = if index < 0 { index + size as i64 } else { index };
                usize::try_from(index).ok().filter(|&index| index < size)
            });
            let places = places.collect::<Option<Vec<_>>>();
            let places = places.ok_or_else(|| corrupt("gathers beyond the end"))?;
            let mut shape = constant.shape().to_vec();
            shape.splice(axis..=axis, indices.shape().iter().copied());
            within(checked_count(&shape)?, room)?;
            each!(constant, array => array.select(Axis(axis), &places)).reshaped(&shape)
        }
        "Slice" => {
            let constant = input(0)?;
            let (starts, ends) = (input(1)?.to_ints()?, input(2)?.to_ints()?);
            let (axes, steps) = (optional(3)?, optional(4)?);
            let ranges =
                ranges(constant.shape(), &starts, &ends, axes.as_deref(), steps.as_deref())?;
            let mut result = constant.clone();
            for (dim, range) in ranges.into_iter().enumerate() {
                let places: Vec<usize> = (0..range.count)
                    .map(|i| (range.start as i64 + i as i64 * range.step) as usize)
                    .collect();
                result = each!(&result, array => array.select(Axis(dim), &places));
            }
            Ok(result)
        }
        "Reshape" => {
            let constant = input(0)?;
            let allow_zero = int(node, "allowzero", 0) != 0;
            let target = reshape_target(constant.shape(), &input(1)?.to_ints()?, allow_zero)?;
            constant.reshaped(&target)
        }
        "Squeeze" | "Unsqueeze" => {
            let constant = input(0)?;
            let axes = optional(1)?.unwrap_or_else(|| ints(node, "axes").to_vec());
            let target = squeezed(constant.shape(), &axes, op_type(node) == "Squeeze")?;
            constant.reshaped(&target)
        }
        "Transpose" => {
            let constant = input(0)?;
            let order = permutation(ints(node, "perm"), constant.rank())?;
            Ok(each!(constant, array => array.clone().permuted_axes(IxDyn(&order))))
        }
        op => Err(Problem::UnsupportedOperator {
            op: op.into(),
            remedy: "it only works on constants: export the network with constants folded \
                     (PyTorch's do_constant_folding, onnx-simplifier)"
                .into(),
        }),
    }
}

/// The value in a Constant's or ConstantOfShape's attribute.
fn literal(node: &NodeProto) -> Result<Constant, Problem> {
    let Some(value) = node.attribute.first() else {
        return Err(corrupt("an empty constant"));
    };
    match value.name.as_deref() {
        Some("value") => {
            let tensor = value.t.as_ref().ok_or_else(|| corrupt("an empty constant"))?;
            super::tensor::read(tensor, std::path::Path::new(""))
        }
        Some("value_float") => {
            Ok(Constant::Floats(ArrayD::from_elem(IxDyn(&[]), value.f.unwrap_or(0.0))))
        }
        Some("value_floats") => Ok(Constant::Floats(
            ArrayD::from_shape_vec(IxDyn(&[value.floats.len()]), value.floats.clone())
                .expect("a vector"),
        )),
        Some("value_int") => {
            Ok(Constant::Ints(ArrayD::from_elem(IxDyn(&[]), value.i.unwrap_or(0))))
        }
        Some("value_ints") => Ok(Constant::ints(value.ints.clone())),
        _ => Err(unsupported(
            "a constant that is neither a number nor a tensor",
            "export the network with constants folded",
        )),
    }
}

fn arithmetic(op: &str, a: &Constant, b: &Constant, room: usize) -> Result<Constant, Problem> {
    let shape = broadcast(a.shape(), b.shape())?;
    within(checked_count(&shape)?, room)?;
    let shape = IxDyn(&shape);
    match (a, b) {
        (Constant::Ints(a), Constant::Ints(b)) => {
            let (Some(a), Some(b)) = (a.broadcast(shape.clone()), b.broadcast(shape.clone()))
            else {
                return Err(corrupt("shapes that do not broadcast"));
            };
            let value = |(&a, &b): (&i64, &i64)| match op {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                _ => a.checked_div(b),
            };
            let values = a.iter().zip(&b).map(value).collect::<Option<Vec<_>>>();
            let values = values.ok_or_else(|| corrupt("arithmetic that overflows"))?;
            Ok(Constant::Ints(ArrayD::from_shape_vec(shape, values).expect("as many elements")))
        }
        (Constant::Floats(a), Constant::Floats(b)) => {
            let (Some(a), Some(b)) = (a.broadcast(shape.clone()), b.broadcast(shape.clone()))
            else {
                return Err(corrupt("shapes that do not broadcast"));
            };
            let value = |(&a, &b): (&f32, &f32)| match op {
                "Add" => a + b,
                "Sub" => a - b,
                "Mul" => a * b,
                _ => a / b,
            };
            let values = a.iter().zip(&b).map(value).collect();
            Ok(Constant::Floats(ArrayD::from_shape_vec(shape, values).expect("as many elements")))
        }
        _ => Err(corrupt("arithmetic on integers and fractions")),
    }
}

/// The shape to which both broadcast.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Problem> {
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

fn checked_count(shape: &[usize]) -> Result<usize, Problem> {
    let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let count = count.filter(|&count| count <= MAX_ELEMENTS);
    count.ok_or_else(|| corrupt(format!("a tensor of shape {shape:?}")))
}

/// Refuses a tensor of more elements than there is room for.
fn within(elements: usize, room: usize) -> Result<usize, Problem> {
    if elements <= room { Ok(elements) } else { Err(crate::network::too_many_elements()) }
}

fn shape(values: &[i64], room: usize) -> Result<Vec<usize>, Problem> {
    let shape = values.iter().map(|&value| usize::try_from(value).ok());
    let shape: Option<Vec<usize>> = shape.collect();
    let shape = shape.ok_or_else(|| corrupt(format!("a shape of {values:?}")))?;
    within(checked_count(&shape)?, room)?;
    Ok(shape)
}

fn range_count(start: i64, limit: i64, step: i64) -> Result<usize, Problem> {
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

/// A dimension that may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let found = usize::try_from(from_start).ok().filter(|&axis| axis < rank);
    found.ok_or_else(|| corrupt(format!("dimension {axis} of {rank}")))
}

/// The shape that a Reshape asks for: 0 keeps a size, −1 takes what is left.
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

/// The shape after Squeeze (`remove`) or Unsqueeze; no axes: all of size 1.
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

/// A Transpose's order; none given: reversed.
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

/// Positions `start`, `start + step`, …, `count` of them, all inside.
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
