//! Values that are computed from a map on the way to something that is one operator here: a
//! comparison on the way to an activation, or the length of a vector on the way to its
//! normalization.

use super::call::Call;
use super::constant::Constant;
use super::importer::{Derived, Importer, Kind, Value};
use super::map::{Channel, Height, Map, Width};
use super::node::{ints, op_type};
use super::operators::{blocks_as_channels, channels};
use super::shapes::reshape_target;
use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Ending, Function, Op};

/// The largest number that can be added to a length, or bound it, and still count as a guard
/// against division by zero.
const GUARD: f32 = 1e-3;

/// The number from which on a softplus is its input, to the precision of floats.
const STRAIGHT: f32 = 16.0;

/// The value of a node that begins, continues or ends such a computation.
pub(super) fn derived(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
) -> Result<Option<Value>, Problem> {
    let op = op_type(call.node);
    let input = |index: usize| call.inputs.get(index).and_then(Option::as_ref);
    let value = |kind: Kind, of: &Map| Ok(Some(Value::Derived(Derived { kind, of: of.clone() })));
    let number = |index: usize| match input(index) {
        Some(Value::Constant(constant)) => single(constant),
        _ => None,
    };
    match (op, input(0), input(1)) {
        ("Greater" | "GreaterOrEqual", Some(Value::Map(map)), Some(Value::Constant(_)))
            if number(1) == Some(0.0) =>
        {
            value(Kind::Positive, map)
        }
        ("Less" | "LessOrEqual", Some(Value::Constant(_)), Some(Value::Map(map)))
            if number(0) == Some(0.0) =>
        {
            value(Kind::Positive, map)
        }
        ("Greater" | "GreaterOrEqual", Some(Value::Map(map)), Some(Value::Constant(_)))
            if number(1).is_some_and(|number| number >= STRAIGHT) =>
        {
            value(Kind::Straight, map)
        }
        // PyTorch leaves out the bend of a softplus of large numbers.
        ("Where", Some(Value::Derived(mask)), Some(Value::Map(_)))
            if mask.kind == Kind::Straight =>
        {
            match input(2) {
                Some(Value::Map(bend)) if bends(importer, bend, &mask.of) => {
                    Ok(Some(Value::Map(bend.clone())))
                }
                _ => Err(mask.misplaced()),
            }
        }
        ("ReduceL2", Some(Value::Map(map)), _) if over_channels(call, map)? => {
            value(Kind::Length(1), map)
        }
        ("ReduceSumSquare", Some(Value::Map(map)), _) if over_channels(call, map)? => {
            value(Kind::Length(2), map)
        }
        ("ReduceSum", Some(Value::Map(map)), _) if over_channels(call, map)? => {
            let node = &importer.network.nodes[map.view.node];
            match (&node.op, &node.inputs[..]) {
                (Op::Multiply, &[a, b]) if a == b => {
                    let of = Map { view: importer.view(a), dims: map.dims.clone() };
                    value(Kind::Length(2), &of)
                }
                _ => Ok(None),
            }
        }
        ("LpNormalization", Some(Value::Map(map)), _) => {
            let axis = map.axis(super::node::int(call.node, "axis", -1))?;
            let fits = super::node::int(call.node, "p", 2) == 2;
            if !fits || !map.is_over_channels(axis..axis + 1) {
                return Err(unsupported(
                    "a normalization other than by the length of the vector of channels",
                    "only an L2 normalization of the last layer's output is supported",
                ));
            }
            normalized(importer, map, call)
        }
        ("Where", Some(Value::Derived(mask)), _) if mask.kind == Kind::Positive => {
            chosen(importer, call, &mask.of).map(Some)
        }
        ("Mul", Some(Value::Derived(mask)), Some(Value::Map(map)))
        | ("Mul", Some(Value::Map(map)), Some(Value::Derived(mask)))
            if mask.kind == Kind::Positive && mask.of.view == map.view =>
        {
            importer.elementwise(map, Op::Relu, &call.name).map(|map| Some(Value::Map(map)))
        }
        ("Div", Some(Value::Map(map)), Some(Value::Derived(length)))
            if length.kind == Kind::Length(1) && length.of.view == map.view =>
        {
            normalized(importer, map, call)
        }
        ("Mul", Some(Value::Map(map)), Some(Value::Derived(length)))
        | ("Mul", Some(Value::Derived(length)), Some(Value::Map(map)))
            if length.kind == Kind::Length(-1) && length.of.view == map.view =>
        {
            normalized(importer, map, call)
        }
        ("Reshape", Some(Value::Map(map)), _) => match (groups(call, map)?, blocks(call, map)?) {
            (Some(groups), _) => value(Kind::Grouped(groups), map),
            (None, Some(block)) => value(Kind::Blocks(block), map),
            (None, None) => Ok(None),
        },
        ("Transpose", Some(Value::Derived(Derived { kind: Kind::Blocks(block), of })), _)
            if [[0, 1, 3, 5, 2, 4], [0, 3, 5, 1, 2, 4]]
                .iter()
                .any(|order| ints(call.node, "perm") == order) =>
        {
            let innermost = ints(call.node, "perm")[1] == 3;
            value(Kind::Gathered { block: *block, innermost }, of)
        }
        (
            "Reshape",
            Some(Value::Derived(Derived { kind: Kind::Gathered { block, innermost }, of })),
            _,
        ) => gathered(importer, call, of, *block, *innermost).map(Some),
        ("Transpose", Some(Value::Derived(Derived { kind: Kind::Grouped(groups), of })), _)
            if ints(call.node, "perm") == [0, 2, 1, 3, 4] =>
        {
            value(Kind::Shuffled(*groups), of)
        }
        ("Reshape", Some(Value::Derived(Derived { kind: Kind::Shuffled(groups), of })), _) => {
            shuffled(importer, call, of, *groups).map(Some)
        }
        // A reshaped map is quantized with the scale of the map.
        ("QuantizeLinear" | "DequantizeLinear", Some(Value::Derived(derived)), _)
            if matches!(
                derived.kind,
                Kind::Grouped(_)
                    | Kind::Vector { .. }
                    | Kind::Shuffled(_)
                    | Kind::Blocks(_)
                    | Kind::Gathered { .. }
            ) =>
        {
            let zero = call.inputs.get(2).map(|_| call.constant(2)).transpose()?;
            let parameters = [Some(call.constant(1)?), zero];
            importer.qdq.map(call.node, parameters, derived.of.view.node, true)?;
            value(derived.kind, &derived.of)
        }
        (_, Some(Value::Derived(derived)), _) => {
            let kept = match (op, derived.kind) {
                ("Cast" | "Identity", kind) => Some(kind),
                ("Expand" | "Unsqueeze" | "Reshape", kind @ (Kind::Positive | Kind::Length(_))) => {
                    Some(kind)
                }
                ("Sqrt", Kind::Length(2)) => Some(Kind::Length(1)),
                ("Reciprocal", Kind::Length(1)) => Some(Kind::Length(-1)),
                ("Pow", Kind::Length(2)) if number(1) == Some(0.5) => Some(Kind::Length(1)),
                ("Pow", Kind::Length(2)) if number(1) == Some(-0.5) => Some(Kind::Length(-1)),
                ("Add" | "Max" | "Clip", Kind::Length(1 | 2))
                    if number(1).is_some_and(|guard| (0.0..=GUARD).contains(&guard)) =>
                {
                    Some(derived.kind)
                }
                ("Clip", Kind::Length(1 | 2)) => {
                    let low = super::node::float(call.node, "min", 0.0);
                    ((0.0..=GUARD).contains(&low) && call.inputs.len() == 1).then_some(derived.kind)
                }
                _ => None,
            };
            match kept {
                Some(kind) => value(kind, &derived.of),
                None => Err(derived.misplaced()),
            }
        }
        (_, _, Some(Value::Derived(derived))) => Err(derived.misplaced()),
        _ => Ok(None),
    }
}

/// Whether a map is a softplus of another map, or a factor times it.
fn bends(importer: &Importer<'_>, bend: &Map, of: &Map) -> bool {
    let nodes = &importer.network.nodes;
    let mut node = &nodes[bend.view.node];
    if matches!(node.op, Op::BatchNorm(_)) {
        node = &nodes[node.inputs[0]];
    }
    node.op == Op::Function(Function::Softplus) && node.inputs == [of.view.node]
}

/// The only number of a constant.
fn single(constant: &Constant) -> Option<f32> {
    match constant {
        Constant::Floats(array) if array.len() == 1 => array.first().copied(),
        Constant::Ints(array) if array.len() == 1 => array.first().map(|&int| int as f32),
        _ => None,
    }
}

/// The number of groups, if a Reshape divides a map's channels into groups.
fn groups(call: &Call<'_>, map: &Map) -> Result<Option<usize>, Problem> {
    let [batch, channels, height, width] = map.sizes()[..] else { return Ok(None) };
    if map.require_nchw().is_err() {
        return Ok(None);
    }
    let allow_zero = super::node::int(call.node, "allowzero", 0) != 0;
    let target = reshape_target(&map.sizes(), &call.ints(1)?, allow_zero)?;
    Ok(match target[..] {
        [n, groups, each, h, w]
            if [n, h, w] == [batch, height, width]
                && groups > 1
                && each > 1
                && groups.checked_mul(each) == Some(channels) =>
        {
            Some(groups)
        }
        _ => None,
    })
}

/// A channel shuffle: first the first channel of each group, then the second channel of each, and so on.
fn shuffled(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    map: &Map,
    groups: usize,
) -> Result<Value, Problem> {
    let each = map.extent(Channel) / groups;
    let sizes = [1, each, groups, map.extent(Height), map.extent(Width)];
    if reshape_target(&sizes, &call.ints(1)?, false)? != map.sizes() {
        return Err(Derived { kind: Kind::Shuffled(groups), of: map.clone() }.misplaced());
    }
    let chosen: Vec<usize> =
        (0..each * groups).map(|place| place % groups * each + place / groups).collect();
    channels(importer, map, &chosen, call).map(Value::Map)
}

/// The size of a block, if a Reshape divides a map's rows and columns into blocks.
fn blocks(call: &Call<'_>, map: &Map) -> Result<Option<usize>, Problem> {
    if map.dims.len() != 4 || map.require_nchw().is_err() {
        return Ok(None);
    }
    let allow_zero = super::node::int(call.node, "allowzero", 0) != 0;
    let sizes = map.sizes();
    let target = reshape_target(&sizes, &call.ints(1)?, allow_zero)?;
    Ok(match target[..] {
        [n, channels, rows, block, columns, across]
            if [n, channels] == sizes[..2]
                && block == across
                && block > 1
                && rows.checked_mul(block) == Some(sizes[2])
                && columns.checked_mul(block) == Some(sizes[3]) =>
        {
            Some(block)
        }
        _ => None,
    })
}

/// The pixels of blocks as channels.
fn gathered(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    of: &Map,
    block: usize,
    innermost: bool,
) -> Result<Value, Problem> {
    let made = blocks_as_channels(importer, of, block, innermost, &call.name)?;
    let [channels, rows, columns] = [Channel, Height, Width].map(|axis| made.extent(axis));
    let each = of.extent(Channel);
    let sizes = match innermost {
        true => [1, block, block, each, rows, columns],
        false => [1, each, block, block, rows, columns],
    };
    if reshape_target(&sizes, &call.ints(1)?, false)? != [1, channels, rows, columns] {
        let kind = Kind::Gathered { block, innermost };
        return Err(Derived { kind, of: of.clone() }.misplaced());
    }
    Ok(Value::Map(made))
}

/// Whether a reduction is over all channels of a map with one pixel.
fn over_channels(call: &Call<'_>, map: &Map) -> Result<bool, Problem> {
    let axes = match call.optional_ints(1)? {
        Some(axes) => axes,
        None => ints(call.node, "axes").to_vec(),
    };
    let dims = axes.iter().map(|&axis| map.axis(axis)).collect::<Result<Vec<_>, _>>()?;
    let sizes: usize = dims.iter().map(|&dim| map.size(dim)).product();
    Ok(map.view.shape()[..2] == [1, 1] && sizes == map.extent(Channel))
}

fn normalized(
    importer: &mut Importer<'_>,
    map: &Map,
    call: &Call<'_>,
) -> Result<Option<Value>, Problem> {
    let made = importer.elementwise(map, Op::Ending(Ending::UnitLength), &call.name)?;
    Ok(Some(Value::Map(made)))
}

/// Where(x > 0, x, …): a ReLU; or a LeakyReLU or PReLU, if the other case is x times slopes.
fn chosen(importer: &mut Importer<'_>, call: &Call<'_>, of: &Map) -> Result<Value, Problem> {
    let refuse = || {
        unsupported(
            "chooses between values in a way that is not an activation",
            "write the activation as ReLU, LeakyReLU or PReLU",
        )
    };
    let map = call.map(1)?;
    if map.view != of.view {
        return Err(refuse());
    }
    let op = match call.inputs.get(2) {
        Some(Some(Value::Constant(zero))) if single(zero) == Some(0.0) => Op::Relu,
        Some(Some(Value::Map(other))) => {
            let node = &importer.network.nodes[other.view.node];
            match &node.op {
                Op::BatchNorm(norm) if node.inputs == [map.view.node] => {
                    slopes(norm).ok_or_else(refuse)?
                }
                _ => return Err(refuse()),
            }
        }
        _ => return Err(refuse()),
    };
    importer.elementwise(map, op, &call.name).map(Value::Map)
}

/// The activation that multiplies negative values like this norm, which must add nothing.
fn slopes(norm: &BatchNorm) -> Option<Op> {
    let affine: Vec<(f64, f64)> = (0..norm.scale.len()).map(|c| norm.affine(c)).collect();
    let slopes: Vec<f32> = affine.iter().map(|&(slope, _)| slope as f32).collect();
    let slope = *slopes.first()?;
    let plain = affine.iter().all(|&(_, offset)| offset == 0.0);
    plain.then(|| match slopes.iter().all(|&other| other == slope) {
        true => Op::Function(Function::LeakyRelu { slope }),
        false => Op::PRelu(slopes),
    })
}
