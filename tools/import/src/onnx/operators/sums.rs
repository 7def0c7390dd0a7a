//! Additions and multiplications, of maps and with constants.

use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Function, NodeId, Op};
use crate::onnx::call::Call;
use crate::onnx::constant::Constant;
use crate::onnx::importer::{Importer, Value};
use crate::onnx::map::{Channel, Map};
use crate::onnx::node::op_type;

/// Add, Sub, Mul or Div.
pub(super) fn arithmetic(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let (Some(Some(Value::Map(a))), Some(Some(Value::Map(b)))) =
        (call.inputs.first(), call.inputs.get(1))
    else {
        return affine(importer, call);
    };
    match op_type(call.node) {
        "Add" => sum(importer, a, b, &call.name),
        "Mul" => product(importer, a, b, &call.name),
        "Sub" => {
            let norm = BatchNorm::affine_of(&[-1.0], &[0.0], b.extent(Channel));
            let negative = importer.elementwise(b, Op::BatchNorm(norm), &call.name)?;
            sum(importer, a, &negative, &call.name)
        }
        _ if !importer.network.is_above_zero(b.view.node) => Err(unsupported(
            "Div by a map that can be zero, or negative",
            "maps can be divided by constants, and by maps that are positive by their operators, \
             such as 1 + |x|",
        )),
        _ => {
            let reciprocal = Op::Function(Function::Power { exponent: -1.0 });
            let reciprocal = importer.elementwise(b, reciprocal, &call.name)?;
            product(importer, a, &reciprocal, &call.name)
        }
    }
}

/// Softsign: x / (1 + |x|).
pub(super) fn softsign(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let norm = BatchNorm::affine_of(&[1.0], &[1.0], map.extent(Channel));
    let mut factor = map.clone();
    let operators = [
        Op::Function(Function::Abs),
        Op::BatchNorm(norm),
        Op::Function(Function::Power { exponent: -1.0 }),
    ];
    for op in operators {
        factor = importer.elementwise(&factor, op, &call.name)?;
    }
    product(importer, map, &factor, &call.name)
}

/// Sum, of one or more maps and constants.
pub(super) fn sum_of_all(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let mut sum_of: Option<Map> = None;
    for index in 0..call.inputs.len() {
        let map = call.map(index)?;
        sum_of = Some(match sum_of {
            None => map.clone(),
            Some(before) => sum(importer, &before, map, &call.name)?,
        });
    }
    sum_of.ok_or_else(|| crate::onnx::node::corrupt("it has no input"))
}

pub(super) fn sum(
    importer: &mut Importer<'_>,
    a: &Map,
    b: &Map,
    name: &str,
) -> Result<Map, Problem> {
    let ids = [importer.settle(a, name)?, importer.settle(b, name)?];
    if ids[0] == ids[1] && a.dims == b.dims {
        let norm = BatchNorm::affine_of(&[2.0], &[0.0], a.extent(Channel));
        return importer.elementwise(a, Op::BatchNorm(norm), name);
    }
    if !(a.broadcasts(b) || b.broadcasts(a)) || a.dims.len() != b.dims.len() {
        return Err(unsupported(
            "adds maps of different layouts",
            "export the network in ONNX's own layout",
        ));
    }
    let size = |id: NodeId| importer.network.nodes[id].shape.iter().product::<usize>();
    let (whole, part) = if size(ids[0]) >= size(ids[1]) { (0, 1) } else { (1, 0) };
    let mut ids = ids;
    ids[part] = importer.network.enlarged(ids[part], ids[whole], name)?;
    let id = importer.network.push(Op::Add, &ids, name)?;
    let dims = if whole == 0 { &a.dims } else { &b.dims };
    Ok(Map { view: importer.view(id), dims: dims.clone() })
}

/// The maximum of two maps of the same shape, `a + max(b − a, 0)`, or their minimum, `a − max(a − b, 0)`.
pub(in crate::onnx) fn larger(
    importer: &mut Importer<'_>,
    a: &Map,
    b: &Map,
    largest: bool,
    name: &str,
) -> Result<Map, Problem> {
    let negative = |importer: &mut Importer<'_>, map: &Map| {
        let norm = BatchNorm::affine_of(&[-1.0], &[0.0], map.extent(Channel));
        importer.elementwise(map, Op::BatchNorm(norm), name)
    };
    let (from, less) = if largest { (b, a) } else { (a, b) };
    let less = negative(importer, less)?;
    let difference = sum(importer, from, &less, name)?;
    let mut more = importer.elementwise(&difference, Op::Relu, name)?;
    if !largest {
        more = negative(importer, &more)?;
    }
    sum(importer, a, &more, name)
}

/// The product of two maps, the larger first.
pub(in crate::onnx) fn product(
    importer: &mut Importer<'_>,
    a: &Map,
    b: &Map,
    name: &str,
) -> Result<Map, Problem> {
    let size = |map: &Map| map.view.shape().iter().product::<usize>();
    let (a, b) = if size(a) >= size(b) { (a, b) } else { (b, a) };
    if !a.broadcasts(b) {
        return Err(unsupported(
            format!("multiplies maps laid out as {:?} and {:?}", a.dims, b.dims),
            "a map is multiplied by a map of its shape, or by one value per channel",
        ));
    }
    let ids = [importer.settle(a, name)?, importer.settle(b, name)?];
    let ids = spread(importer, ids, name)?;
    let id = importer.network.push(Op::Multiply, &ids, name)?;
    Ok(Map { view: importer.view(id), dims: a.dims.clone() })
}

/// Both maps, the second [enlarged](crate::network::Network::enlarged) to the first unless it has one
/// value per channel, by which a map can be multiplied.
fn spread(
    importer: &mut Importer<'_>,
    [a, b]: [NodeId; 2],
    name: &str,
) -> Result<[NodeId; 2], Problem> {
    let [whole, part] = [a, b].map(|id| importer.network.nodes[id].shape);
    if part == [1, 1, whole[2]] {
        return Ok([a, b]);
    }
    importer.take(whole[2])?;
    Ok([a, importer.network.enlarged(b, a, name)?])
}

/// Addition of a constant, or multiplication by one: a bias, or a part of a batch norm that was
/// split up.
fn affine(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let (map, constant, first) = match (call.inputs.first(), call.inputs.get(1)) {
        (Some(Some(Value::Map(map))), Some(Some(Value::Constant(constant)))) => {
            (map, constant, true)
        }
        (Some(Some(Value::Constant(constant))), Some(Some(Value::Map(map))))
            if op_type(call.node) != "Div" =>
        {
            (map, constant, false)
        }
        _ => {
            return Err(unsupported(
                format!("{} of a constant by a map", op_type(call.node)),
                "maps are added, multiplied, and scaled by constants",
            ));
        }
    };
    let channels = map.extent(Channel);
    let Some(values) = call.a_channel(map, constant)? else {
        return Err(unsupported(
            format!(
                "{} with a constant of shape {:?}, which is not one value, or one per channel",
                op_type(call.node),
                constant.shape()
            ),
            "maps are added to and multiplied by one value per channel",
        ));
    };
    let values = values.iter().cycle().take(channels);
    let (factors, offsets): (Vec<f32>, Vec<f32>) = match (op_type(call.node), first) {
        ("Add", _) => values.map(|&value| (1.0, value)).unzip(),
        ("Sub", true) => values.map(|&value| (1.0, -value)).unzip(),
        ("Sub", false) => values.map(|&value| (-1.0, value)).unzip(),
        ("Mul", _) => values.map(|&value| (value, 0.0)).unzip(),
        _ => values.map(|&value| (value.recip(), 0.0)).unzip(),
    };
    let map_input = call
        .node
        .input
        .iter()
        .find(|name| matches!(importer.values.get(*name), Some(Value::Map(_))));
    let once = map_input.is_some_and(|name| importer.uses.get(name.as_str()) == Some(&1));
    let is_sum =
        factors.iter().all(|&factor| factor == 1.0) && matches!(op_type(call.node), "Add" | "Sub");
    let open = !importer.qdq.is_quantized(map.view.node);
    if is_sum && once && open && map.view == importer.view(map.view.node) {
        // A bias is added to the layer that was just appended.
        let bias = match &mut importer.network.nodes[map.view.node].op {
            Op::Conv(conv) => Some(&mut conv.bias),
            Op::BatchNorm(norm) => Some(&mut norm.shift),
            _ => None,
        };
        if let Some(bias) = bias {
            bias.iter_mut().zip(&offsets).for_each(|(bias, offset)| *bias += offset);
            return Ok(map.clone());
        }
    }
    let norm = BatchNorm::affine_of(&factors, &offsets, channels);
    importer.elementwise(map, Op::BatchNorm(norm), &call.name)
}

pub(super) fn negative(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let norm = BatchNorm::affine_of(&[-1.0], &[0.0], map.extent(Channel));
    importer.elementwise(map, Op::BatchNorm(norm), &call.name)
}

/// Largest whole exponent: a power is a product of as many factors.
const MOST_FACTORS: f32 = 8.0;

/// Pow by a constant.
pub(super) fn power(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let exponent = match call.constant(1)? {
        Constant::Floats(array) => array.first().copied(),
        Constant::Ints(array) => array.first().map(|&int| int as f32),
    };
    match exponent {
        // Whole powers are also of negative numbers.
        Some(exponent) if exponent.fract() == 0.0 && (1.0..=MOST_FACTORS).contains(&exponent) => {
            let more = 1..exponent as usize;
            let times = |made: Map, _| product(importer, &made, map, &call.name);
            more.into_iter().try_fold(map.clone(), times)
        }
        // Others are only of numbers that are not negative, such as those of generalized means.
        Some(exponent) if exponent.fract() != 0.0 && exponent > 0.0 => {
            let op = Op::Function(Function::Power { exponent });
            importer.elementwise(map, op, &call.name)
        }
        _ => Err(unsupported(
            format!("a map to the power of {}", exponent.unwrap_or(f32::NAN)),
            format!(
                "whole powers up to {MOST_FACTORS}, and others that are positive, are supported"
            ),
        )),
    }
}
