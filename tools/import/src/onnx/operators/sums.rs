//! Additions, and arithmetic with constants.

use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Op};
use crate::onnx::call::Call;
use crate::onnx::importer::{Importer, Value};
use crate::onnx::map::{Channel, Map};
use crate::onnx::node::op_type;

pub(super) fn add(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let (Some(Some(Value::Map(a))), Some(Some(Value::Map(b)))) =
        (call.inputs.first(), call.inputs.get(1))
    else {
        return affine(importer, call);
    };
    let ids = [importer.settle(a, &call.name)?, importer.settle(b, &call.name)?];
    if a.dims != b.dims {
        return Err(unsupported(
            "adds maps of different layouts",
            "export the network in ONNX's own layout",
        ));
    }
    let id = importer.network.push(Op::Add, &ids, &call.name)?;
    Ok(Map { view: importer.view(id), dims: a.dims.clone() })
}

/// Addition of a constant, or multiplication with one: a bias, or part of a batch norm that
/// was taken apart.
pub(super) fn affine(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let (map, constant) = match (op_type(call.node), call.inputs.first(), call.inputs.get(1)) {
        (_, Some(Some(Value::Map(map))), Some(Some(Value::Constant(constant))))
        | ("Add" | "Mul", Some(Some(Value::Constant(constant))), Some(Some(Value::Map(map)))) => {
            (map, constant)
        }
        _ => {
            return Err(unsupported(
                format!("{} of two maps, or of a constant and a map", op_type(call.node)),
                "brooklet runs ResNets: maps are added, and scaled by constants",
            ));
        }
    };
    let constant = constant.floats()?;
    let dim = map.dims.iter().position(|dim| dim.contains(&Channel));
    // Broadcasting aligns the last dimensions.
    let along = dim.and_then(|dim| (dim + constant.ndim()).checked_sub(map.dims.len()));
    let channels = map.extent(Channel);
    let fits = constant.len() == 1
        || (constant.len() == channels
            && along.is_some_and(|dim| constant.shape()[dim] == channels));
    if !fits || map.view.node == 0 {
        return Err(unsupported(
            format!(
                "{} with a constant that is not a value a channel of a layer",
                op_type(call.node)
            ),
            "if it normalizes the image, export the network without it and give --mean and \
             --std instead",
        ));
    }
    let values = constant.iter().cycle().take(channels);
    let (factors, offsets): (Vec<f32>, Vec<f32>) = match op_type(call.node) {
        "Add" => values.map(|&value| (1.0, value)).unzip(),
        "Sub" => values.map(|&value| (1.0, -value)).unzip(),
        "Mul" => values.map(|&value| (value, 0.0)).unzip(),
        _ => values.map(|&value| (value.recip(), 0.0)).unzip(),
    };
    let map_input = call
        .node
        .input
        .iter()
        .find(|name| matches!(importer.values.get(*name), Some(Value::Map(_))));
    let once = map_input.is_some_and(|name| importer.uses.get(name.as_str()) == Some(&1));
    let is_sum = matches!(op_type(call.node), "Add" | "Sub");
    let open = !importer.qdq.is_quantized(map.view.node);
    if is_sum && once && open && map.view == importer.view(map.view.node) {
        // Into the layer that was just computed.
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
    let norm = BatchNorm {
        scale: factors,
        shift: offsets,
        mean: vec![0.0; channels],
        var: vec![1.0; channels],
        eps: 0.0,
    };
    importer.elementwise(map, Op::BatchNorm(norm), &call.name)
}
