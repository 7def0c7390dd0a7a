//! Channels in groups that are a dimension of their own, as selective kernels (SK) and split
//! attention (ResNeSt) have them: branches are stacked, weighed by a softmax over the branches, and
//! added.
//!
//! Groups are channels one after another, so that operators of groups are operators of the whole
//! map.

use ndarray::Array4;

use super::call::Call;
use super::importer::{Derived, Importer, Kind, Value};
use super::map::{Channel, Height, Map, Width};
use super::node::{corrupt, int, ints, op_type};
use super::operators::{channels, larger, product};
use super::shapes::{axis, reshape_target};
use crate::error::{Problem, unsupported};
use crate::network::{Conv, Function, Op, check_extents};

/// The value of a node that begins, continues or ends such a computation.
pub(super) fn grouped(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
) -> Result<Option<Value>, Problem> {
    let op = op_type(call.node);
    let input = |index: usize| call.inputs.get(index).and_then(Option::as_ref);
    match (op, input(0), input(1)) {
        ("Concat", Some(Value::Map(_)), _) => stacked(importer, call),
        ("Reshape", Some(Value::Map(map)), _) => {
            let sizes = map.sizes();
            // Features may be an image that the file has as a vector.
            if importer.network.nodes[map.view.node].op == Op::Input {
                return Ok(None);
            }
            if map.view.shape()[..2] != [1, 1]
                || sizes.iter().filter(|&&size| size > 1).count() != 1
            {
                return Ok(None);
            }
            let target = target(call, &sizes)?;
            Ok(divided(&target, map.extent(Channel)).map(|kind| value(kind, map)))
        }
        (
            "Reshape",
            Some(Value::Derived(Derived { kind: Kind::Vector { groups, at, rank }, of })),
            _,
        ) => {
            let each = of.extent(Channel) / groups;
            let mut sizes = vec![1; *rank];
            (sizes[at[0]], sizes[at[1]]) = (*groups, each);
            if at[0] > at[1] {
                return Ok(None);
            }
            let target = target(call, &sizes)?;
            let whole = Map::nchw(of.view);
            match divided(&target, of.extent(Channel)) {
                Some(kind) => Ok(Some(value(kind, of))),
                None => whole.reshaped(&target).map(|map| Some(Value::Map(map))),
            }
        }
        (
            "Transpose",
            Some(Value::Derived(Derived { kind: Kind::Vector { groups, at, rank }, of })),
            _,
        ) => {
            let order = ints(call.node, "perm");
            let now = at.map(|at| order.iter().position(|&old| old == at as i64));
            let [Some(first), Some(second)] = now else { return Ok(None) };
            let kind = Kind::Vector { groups: *groups, at: [first, second], rank: *rank };
            Ok(Some(value(kind, of)))
        }
        ("Softmax", Some(Value::Derived(Derived { kind, of })), _) => {
            let (groups, dim, rank) = match *kind {
                Kind::Grouped(groups) => (groups, 1, 5),
                Kind::Vector { groups, at, rank } => (groups, at[0], rank),
                _ => return Ok(None),
            };
            if axis(int(call.node, "axis", -1), rank)? != dim {
                return Ok(None);
            }
            if groups != 2 {
                return Err(unsupported(
                    format!("a softmax over {groups} branches"),
                    "a softmax over two branches is supported",
                ));
            }
            let whole = Map::nchw(of.view);
            let difference = difference(importer, &whole, &call.name)?;
            let sigmoid = Op::Function(Function::Sigmoid);
            let shares = importer.elementwise(&difference, sigmoid, &call.name)?;
            Ok(Some(value(*kind, &shares)))
        }
        ("Mul", Some(Value::Derived(a)), Some(Value::Derived(b)))
            if matches!(a.kind, Kind::Grouped(_)) && a.kind == b.kind =>
        {
            let [one, two] = [a, b].map(|derived| Map::nchw(derived.of.view));
            let product = product(importer, &one, &two, &call.name)?;
            Ok(Some(value(a.kind, &product)))
        }
        (
            "ReduceSum" | "ReduceMean",
            Some(Value::Derived(Derived { kind: Kind::Grouped(groups), of })),
            _,
        ) => {
            let axes = match call.optional_ints(1)? {
                Some(axes) => axes,
                None => ints(call.node, "axes").to_vec(),
            };
            let &[over] = &axes[..] else { return Ok(None) };
            if axis(over, 5)? != 1 {
                return Ok(None);
            }
            let share = if op == "ReduceMean" { 1.0 / *groups as f32 } else { 1.0 };
            let mut sum = added(importer, of, *groups, share, &call.name)?;
            if int(call.node, "keepdims", 1) != 0 {
                sum.dims.insert(1, vec![]);
            }
            Ok(Some(Value::Map(sum)))
        }
        // The largest of each group's channels, or of the groups.
        ("ReduceMax", Some(Value::Derived(Derived { kind: Kind::Grouped(groups), of })), _) => {
            let axes = match call.optional_ints(1)? {
                Some(axes) => axes,
                None => ints(call.node, "axes").to_vec(),
            };
            let &[over] = &axes[..] else { return Ok(None) };
            let each = of.extent(Channel) / groups;
            let (count, kept, steps) = match axis(over, 5)? {
                1 => (*groups, each, [each, 1]),
                2 => (each, *groups, [1, each]),
                _ => return Ok(None),
            };
            if count > MOST_PARTS {
                return Ok(None);
            }
            let whole = Map::nchw(of.view);
            let mut most: Option<Map> = None;
            for part in 0..count {
                let chosen: Vec<usize> =
                    (0..kept).map(|place| part * steps[0] + place * steps[1]).collect();
                let part = channels(importer, &whole, &chosen, call)?;
                most = Some(match most {
                    None => part,
                    Some(most) => larger(importer, &most, &part, true, &call.name)?,
                });
            }
            let mut most = most.ok_or_else(|| corrupt("it has no channels"))?;
            if int(call.node, "keepdims", 1) != 0 {
                most.dims.insert(axis(over, 5)?, vec![]);
            }
            Ok(Some(Value::Map(most)))
        }
        _ => Ok(None),
    }
}

/// Largest number of maps of which the maximum is taken one after another.
const MOST_PARTS: usize = 8;

fn value(kind: Kind, of: &Map) -> Value {
    Value::Derived(Derived { kind, of: of.clone() })
}

fn target(call: &Call<'_>, sizes: &[usize]) -> Result<Vec<usize>, Problem> {
    let allow_zero = int(call.node, "allowzero", 0) != 0;
    reshape_target(sizes, &call.ints(1)?, allow_zero)
}

/// The groups into which a shape divides the channels of a vector.
fn divided(target: &[usize], channels: usize) -> Option<Kind> {
    let wide: Vec<usize> = (0..target.len()).filter(|&dim| target[dim] > 1).collect();
    let &[first, second] = &wide[..] else { return None };
    let groups = target[first];
    if groups.checked_mul(target[second]) != Some(channels) {
        return None;
    }
    Some(match (first, second, target.len()) {
        (1, 2, 5) => Kind::Grouped(groups),
        _ => Kind::Vector { groups, at: [first, second], rank: target.len() },
    })
}

/// Maps that are joined along a dimension of their own, before the channels.
fn stacked(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Option<Value>, Problem> {
    let mut maps = Vec::with_capacity(call.inputs.len());
    for input in &call.inputs {
        let Some(Value::Map(map)) = input else { return Ok(None) };
        let plain = map.is_laid_out(&[&[], &[], &[Channel], &[Height], &[Width]]);
        if !plain || map.view.shape() != first_shape(&maps, map) {
            return Ok(None);
        }
        maps.push(map.clone());
    }
    if maps.len() < 2 || axis(int(call.node, "axis", 1), 5)? != 1 {
        return Ok(None);
    }
    let channels = maps[0].extent(Channel).saturating_mul(maps.len());
    check_extents(&[channels], "output")?;
    let mut ids = Vec::with_capacity(maps.len());
    for map in &maps {
        ids.push(importer.settle(map, &call.name)?);
    }
    let id = importer.network.push(Op::Concat, &ids, &call.name)?;
    Ok(Some(value(Kind::Grouped(maps.len()), &Map::nchw(importer.view(id)))))
}

fn first_shape(maps: &[Map], own: &Map) -> [usize; 3] {
    maps.first().unwrap_or(own).view.shape()
}

/// For the channels of two groups, each minus the other: the sigmoid of these is a softmax over the
/// groups.
fn difference(importer: &mut Importer<'_>, of: &Map, name: &str) -> Result<Map, Problem> {
    let channels = of.extent(Channel);
    importer.take(channels.saturating_mul(channels))?;
    let each = channels / 2;
    let mut weights = Array4::zeros((channels, 1, 1, channels));
    for channel in 0..channels {
        weights[[channel, 0, 0, channel]] = 1.0;
        weights[[channel, 0, 0, (channel + each) % channels]] = -1.0;
    }
    weighted(importer, of, weights, name)
}

/// The sum of the groups, times a factor.
fn added(
    importer: &mut Importer<'_>,
    of: &Map,
    groups: usize,
    factor: f32,
    name: &str,
) -> Result<Map, Problem> {
    let channels = of.extent(Channel);
    let each = channels / groups;
    importer.take(channels.saturating_mul(each))?;
    let mut weights = Array4::zeros((each, 1, 1, channels));
    for channel in 0..channels {
        weights[[channel % each, 0, 0, channel]] = factor;
    }
    weighted(importer, of, weights, name)
}

fn weighted(
    importer: &mut Importer<'_>,
    of: &Map,
    weights: Array4<f32>,
    name: &str,
) -> Result<Map, Problem> {
    let out = weights.dim().0;
    let conv = Conv { weights, groups: 1, ..Conv::padding(out, [0; 4]) };
    importer.elementwise(&Map::nchw(of.view), Op::Conv(conv), name)
}
