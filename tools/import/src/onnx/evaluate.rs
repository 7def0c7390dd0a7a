//! Evaluates what a graph computes from constants alone: shapes and paddings, which exporters write
//! operator by operator.

use std::path::Path;

use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use super::constant::{Constant, each};
use super::node::{attribute, corrupt, float, int, ints, op_type};
use super::shapes::{
    axis, broadcast, checked_count, permutation, range_count, ranges, reshape_target, shape,
    squeezed, within,
};
use super::tensor;
use crate::error::{Problem, unsupported};
use crate::proto::{NodeProto, data_type};

/// A node whose inputs are all constant.
pub(super) struct Given<'a> {
    /// The node.
    pub(super) node: &'a NodeProto,
    /// Its inputs; `None` for one that is left out.
    pub(super) inputs: &'a [Option<&'a Constant>],
    /// Maximum number of elements of its value.
    pub(super) room: usize,
}

impl<'a> Given<'a> {
    fn input(&self, index: usize) -> Result<&'a Constant, Problem> {
        let input = self.inputs.get(index).copied().flatten();
        input.ok_or_else(|| corrupt(format!("input {index} is missing")))
    }

    fn optional(&self, index: usize) -> Result<Option<Vec<i64>>, Problem> {
        self.inputs.get(index).copied().flatten().map(Constant::to_ints).transpose()
    }
}

/// Computes an operator's value.
type Evaluate = fn(&Given<'_>) -> Result<Constant, Problem>;

/// The operators that work on constants.
const OPERATORS: [(&str, Evaluate); 32] = [
    ("BatchNormalization", batch_norm),
    ("Constant", |given| literal(given.node)),
    ("Identity", identity),
    ("Shape", shape_of),
    ("Cast", cast),
    ("ConstantOfShape", constant_of_shape),
    ("Expand", expand),
    ("Range", range),
    ("Add", arithmetic),
    ("Sub", arithmetic),
    ("Mul", arithmetic),
    ("Div", arithmetic),
    ("Clip", bounded),
    ("Max", bounded),
    ("Min", bounded),
    ("Neg", each_value),
    ("Sqrt", each_value),
    ("Reciprocal", each_value),
    ("Flatten", flatten),
    ("Concat", concat),
    ("Gather", gather),
    ("Slice", slice),
    ("Reshape", reshape),
    ("Squeeze", squeeze),
    ("Unsqueeze", squeeze),
    ("Transpose", transpose),
    ("Equal", equal),
    ("Where", chosen),
    ("ReduceMean", reduce),
    ("ReduceProd", reduce),
    ("ReduceSum", reduce),
    ("Pow", power),
];

/// The value of a node whose inputs are all constant.
pub(super) fn evaluate(given: &Given<'_>) -> Result<Constant, Problem> {
    let op = op_type(given.node);
    match OPERATORS.iter().find(|(name, _)| *name == op) {
        Some((_, evaluate)) => evaluate(given),
        None => Err(Problem::UnsupportedOperator {
            op: op.into(),
            remedy: "it only works on constants: export the network with constants folded \
                     (PyTorch's do_constant_folding, onnx-simplifier)"
                .into(),
        }),
    }
}

fn identity(given: &Given<'_>) -> Result<Constant, Problem> {
    within(given.input(0)?.elements(), given.room)?;
    given.input(0).cloned()
}

fn shape_of(given: &Given<'_>) -> Result<Constant, Problem> {
    let sizes: Vec<i64> = given.input(0)?.shape().iter().map(|&n| n as i64).collect();
    Ok(Constant::ints(from_to(given.node, &sizes)))
}

/// The part of a shape that a Shape selects.
pub(super) fn from_to(node: &NodeProto, sizes: &[i64]) -> Vec<i64> {
    let rank = sizes.len() as i64;
    let place = |name: &str, open: i64| {
        let at = int(node, name, open);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    sizes.get(place("start", 0)..place("end", rank)).unwrap_or(&[]).to_vec()
}

fn cast(given: &Given<'_>) -> Result<Constant, Problem> {
    const FLOATS: [i64; 4] = [
        data_type::FLOAT as i64,
        data_type::DOUBLE as i64,
        data_type::FLOAT16 as i64,
        data_type::BFLOAT16 as i64,
    ];
    Ok(given.input(0)?.cast(FLOATS.contains(&int(given.node, "to", 0))))
}

fn constant_of_shape(given: &Given<'_>) -> Result<Constant, Problem> {
    let shape = shape(&given.input(0)?.to_ints()?, given.room)?;
    Ok(match attribute(given.node, "value") {
        None => Constant::Floats(ArrayD::zeros(IxDyn(&shape))),
        Some(_) => each!(literal(given.node)?, array => {
            let value = array.first().copied().unwrap_or_default();
            ArrayD::from_elem(IxDyn(&shape), value)
        }),
    })
}

fn expand(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let shape = shape(&given.input(1)?.to_ints()?, given.room)?;
    let detail = || corrupt(format!("expands {:?} to {shape:?}", constant.shape()));
    Ok(each!(constant, array => {
        array.broadcast(IxDyn(&shape)).ok_or_else(detail)?.to_owned()
    }))
}

fn range(given: &Given<'_>) -> Result<Constant, Problem> {
    let bounds = [given.input(0)?, given.input(1)?, given.input(2)?].map(Constant::to_ints);
    let [start, limit, step] = bounds.map(|bound| {
        bound.and_then(|bound| bound.first().copied().ok_or_else(|| corrupt("a range")))
    });
    let (start, limit, step) = (start?, limit?, step?);
    let count = within(range_count(start, limit, step)?, given.room)?;
    let value = |i: usize| start.wrapping_add((i as i64).wrapping_mul(step));
    Ok(Constant::ints((0..count).map(value).collect()))
}

fn concat(given: &Given<'_>) -> Result<Constant, Problem> {
    let axis = axis(int(given.node, "axis", 0), given.input(0)?.rank())?;
    let all =
        (0..given.inputs.len()).map(|index| given.input(index)).collect::<Result<Vec<_>, _>>()?;
    within(all.iter().fold(0, |sum, one| one.elements().saturating_add(sum)), given.room)?;
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

fn gather(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let axis = axis(int(given.node, "axis", 0), constant.rank())?;
    let size = constant.shape()[axis];
    let indices = given.input(1)?;
    let places = indices.to_ints()?.into_iter().map(|index| {
        let index = if index < 0 { index + size as i64 } else { index };
        usize::try_from(index).ok().filter(|&index| index < size)
    });
    let places = places.collect::<Option<Vec<_>>>();
    let places = places.ok_or_else(|| corrupt("gathers beyond the end"))?;
    let mut shape = constant.shape().to_vec();
    shape.splice(axis..=axis, indices.shape().iter().copied());
    within(checked_count(&shape)?, given.room)?;
    each!(constant, array => array.select(Axis(axis), &places)).reshaped(&shape)
}

fn slice(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let (starts, ends) = (given.input(1)?.to_ints()?, given.input(2)?.to_ints()?);
    let (axes, steps) = (given.optional(3)?, given.optional(4)?);
    let ranges = ranges(constant.shape(), &starts, &ends, axes.as_deref(), steps.as_deref())?;
    let mut result = constant.clone();
    for (dim, range) in ranges.into_iter().enumerate() {
        let places: Vec<usize> = (0..range.count)
            .map(|i| (range.start as i64 + i as i64 * range.step) as usize)
            .collect();
        result = each!(&result, array => array.select(Axis(dim), &places));
    }
    Ok(result)
}

fn reshape(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let allow_zero = int(given.node, "allowzero", 0) != 0;
    let target = reshape_target(constant.shape(), &given.input(1)?.to_ints()?, allow_zero)?;
    constant.reshaped(&target)
}

fn flatten(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let shape = constant.shape();
    let at = match int(given.node, "axis", 1) {
        at if at == shape.len() as i64 => shape.len(),
        at => axis(at, shape.len())?,
    };
    constant.reshaped(&[shape[..at].iter().product(), shape[at..].iter().product()])
}

/// Clip by two numbers, Max and Min with one.
fn bounded(given: &Given<'_>) -> Result<Constant, Problem> {
    let node = given.node;
    let numbers = |index: usize| given.inputs.get(index).copied().flatten();
    let (low, high) = match op_type(node) {
        "Clip" => (numbers(1), numbers(2)),
        "Max" => (numbers(1), None),
        _ => (None, numbers(1)),
    };
    Ok(match given.input(0)? {
        Constant::Floats(array) => {
            let bound = |bound: Option<&Constant>, name: &str, open: f32| match bound {
                Some(bound) => single(bound.floats()?.iter()),
                None => Ok(float(node, name, open)),
            };
            let (low, high) = (bound(low, "min", f32::MIN)?, bound(high, "max", f32::MAX)?);
            Constant::Floats(array.mapv(|value| value.max(low).min(high)))
        }
        Constant::Ints(array) => {
            let bound = |bound: Option<&Constant>, open: i64| match bound {
                Some(bound) => single(bound.to_ints()?.iter()),
                None => Ok(open),
            };
            let (low, high) = (bound(low, i64::MIN)?, bound(high, i64::MAX)?);
            Constant::Ints(array.mapv(|value| value.max(low).min(high)))
        }
    })
}

/// The only number of a constant.
fn single<'a, T: Copy + 'a>(mut numbers: impl Iterator<Item = &'a T>) -> Result<T, Problem> {
    match (numbers.next(), numbers.next()) {
        (Some(&number), None) => Ok(number),
        _ => Err(corrupt("a bound that is not one number")),
    }
}

fn each_value(given: &Given<'_>) -> Result<Constant, Problem> {
    let op = op_type(given.node);
    match given.input(0)? {
        Constant::Ints(array) if op == "Neg" => {
            Ok(Constant::Ints(array.mapv(|value| value.wrapping_neg())))
        }
        constant => Ok(Constant::Floats(constant.floats()?.mapv(|value| match op {
            "Neg" => -value,
            "Sqrt" => value.sqrt(),
            _ => value.recip(),
        }))),
    }
}

fn squeeze(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let axes = given.optional(1)?.unwrap_or_else(|| ints(given.node, "axes").to_vec());
    let target = squeezed(constant.shape(), &axes, op_type(given.node) == "Squeeze")?;
    constant.reshaped(&target)
}

fn transpose(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let order = permutation(ints(given.node, "perm"), constant.rank())?;
    Ok(each!(constant, array => array.clone().permuted_axes(IxDyn(&order))))
}

/// The value in a Constant's or ConstantOfShape's attribute.
fn literal(node: &NodeProto) -> Result<Constant, Problem> {
    let Some(value) = node.attribute.first() else {
        return Err(corrupt("an empty constant"));
    };
    match value.name.as_deref() {
        Some("value") => {
            let tensor = value.t.as_ref().ok_or_else(|| corrupt("an empty constant"))?;
            tensor::read(tensor, Path::new(""))
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

fn arithmetic(given: &Given<'_>) -> Result<Constant, Problem> {
    let (op, a, b) = (op_type(given.node), given.input(0)?, given.input(1)?);
    let shape = broadcast(a.shape(), b.shape())?;
    within(checked_count(&shape)?, given.room)?;
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

/// Compares two constants: 1 where their numbers are equal, otherwise 0.
fn equal(given: &Given<'_>) -> Result<Constant, Problem> {
    let [a, b] = both(given.input(0)?, given.input(1)?, given.room)?;
    let values = a.iter().zip(&b).map(|(a, b)| i64::from(a == b)).collect();
    let shape = a.raw_dim();
    Ok(Constant::Ints(ArrayD::from_shape_vec(shape, values).expect("as many elements")))
}

/// The operator Where: numbers of the second input where the first input is not 0, otherwise of the third.
fn chosen(given: &Given<'_>) -> Result<Constant, Problem> {
    let (a, b) = (given.input(1)?, given.input(2)?);
    let [mask, _] = both(given.input(0)?, a, given.room)?;
    let [mask, _] = both(&Constant::Floats(mask), b, given.room)?;
    let shape = mask.raw_dim();
    let broad = || corrupt("shapes that do not broadcast");
    match (a, b) {
        (Constant::Ints(a), Constant::Ints(b)) => {
            let a = a.broadcast(shape.clone()).ok_or_else(broad)?;
            let b = b.broadcast(shape.clone()).ok_or_else(broad)?;
            let values = mask.iter().zip(a.iter().zip(&b));
            let values = values.map(|(&mask, (&a, &b))| if mask != 0.0 { a } else { b }).collect();
            Ok(Constant::Ints(ArrayD::from_shape_vec(shape, values).expect("as many elements")))
        }
        _ => Err(unsupported(
            "chooses between constants that are not integers",
            "export the network with constants folded",
        )),
    }
}

/// Two constants, broadcast to a common shape.
fn both(a: &Constant, b: &Constant, room: usize) -> Result<[ArrayD<f32>; 2], Problem> {
    let shape = broadcast(a.shape(), b.shape())?;
    within(checked_count(&shape)?, room)?;
    let wide = |constant: &Constant| {
        let numbers = match constant {
            Constant::Floats(array) => array.clone(),
            Constant::Ints(array) => array.mapv(|value| value as f32),
        };
        let wide = numbers.broadcast(IxDyn(&shape)).map(|view| view.to_owned());
        wide.ok_or_else(|| corrupt("shapes that do not broadcast"))
    };
    Ok([wide(a)?, wide(b)?])
}

/// A sum, mean or product along dimensions. If no dimensions are named, it is along all of them.
fn reduce(given: &Given<'_>) -> Result<Constant, Problem> {
    let constant = given.input(0)?;
    let rank = constant.rank();
    let named = given.optional(1)?.unwrap_or_else(|| ints(given.node, "axes").to_vec());
    let mut axes = named.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    axes.dedup();
    let keep = int(given.node, "keepdims", 1) != 0;
    let op = op_type(given.node);
    let mut result = constant.clone();
    for &at in axes.iter().rev() {
        result = match (result, op) {
            (Constant::Floats(array), "ReduceProd") => {
                Constant::Floats(array.fold_axis(Axis(at), 1.0, |&product, &value| product * value))
            }
            (Constant::Floats(array), "ReduceSum") => Constant::Floats(array.sum_axis(Axis(at))),
            (Constant::Floats(array), _) => {
                let mean = array.mean_axis(Axis(at));
                Constant::Floats(mean.ok_or_else(|| corrupt("the mean of nothing"))?)
            }
            (Constant::Ints(array), "ReduceProd") => {
                let product = |&product: &i64, &value: &i64| product.wrapping_mul(value);
                Constant::Ints(array.fold_axis(Axis(at), 1, product))
            }
            (Constant::Ints(array), "ReduceSum") => {
                let sum = |&sum: &i64, &value: &i64| sum.wrapping_add(value);
                Constant::Ints(array.fold_axis(Axis(at), 0, sum))
            }
            (Constant::Ints(_), op) => return Err(corrupt(format!("{op} of integers"))),
        };
        if keep {
            result = each!(result, array => array.insert_axis(Axis(at)));
        }
    }
    Ok(result)
}

/// A batch norm of weights: in training mode it standardizes them by their own mean and deviation.
fn batch_norm(given: &Given<'_>) -> Result<Constant, Problem> {
    let weights = given.input(0)?.floats()?;
    if weights.ndim() < 2 || weights.is_empty() {
        return Err(corrupt("a batch norm of a tensor without channels"));
    }
    let own = int(given.node, "training_mode", 0) != 0;
    let eps = f64::from(float(given.node, "epsilon", 1e-5));
    let numbers: Vec<_> =
        (1..5).map(|at| given.input(at)?.floats()).collect::<Result<_, Problem>>()?;
    if numbers.iter().any(|numbers| numbers.len() != weights.len_of(Axis(1))) {
        return Err(corrupt("a batch norm with numbers for other channels"));
    }
    let mut made = weights.clone();
    for (channel, mut values) in made.axis_iter_mut(Axis(1)).enumerate() {
        let number = |at: usize| numbers[at].iter().nth(channel).map_or(0.0, |&n| f64::from(n));
        let mean_of = |value: &dyn Fn(f64) -> f64| {
            values.iter().map(|&x| value(x.into())).sum::<f64>() / values.len() as f64
        };
        let (mean, variance) = match own {
            true => {
                let mean = mean_of(&|x| x);
                (mean, mean_of(&|x| (x - mean).powi(2)))
            }
            false => (number(2), number(3)),
        };
        let factor = number(0) / (variance + eps).sqrt();
        values.mapv_inplace(|x| ((f64::from(x) - mean) * factor + number(1)) as f32);
    }
    Ok(Constant::Floats(made))
}

fn power(given: &Given<'_>) -> Result<Constant, Problem> {
    let [base, exponent] = both(given.input(0)?, given.input(1)?, given.room)?;
    let values = base.iter().zip(&exponent).map(|(&base, &by)| base.powf(by)).collect();
    let shape = base.raw_dim();
    Ok(Constant::Floats(ArrayD::from_shape_vec(shape, values).expect("as many elements")))
}
