//! Operators that keep shape and layout, of one map.

use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Op};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::{Channel, Map};
use crate::onnx::node::{float, int};

pub(super) fn batch_norm(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    if int(call.node, "training_mode", 0) != 0 {
        return Err(unsupported(
            "the batch norm is in training mode",
            "call model.eval() before the export",
        ));
    }
    let map = call.map(0)?;
    importer.elementwise(
        map,
        Op::BatchNorm(BatchNorm {
            scale: call.floats(1)?,
            shift: call.floats(2)?,
            mean: call.floats(3)?,
            var: call.floats(4)?,
            eps: float(call.node, "epsilon", 1e-5),
        }),
        &call.name,
    )
}

pub(super) fn relu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    importer.elementwise(call.map(0)?, Op::Relu, &call.name)
}

pub(super) fn clip(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    // Bounds are attributes up to opset 10, inputs since.
    let low = call.scalar(1)?.unwrap_or(float(call.node, "min", f32::MIN));
    let high = call.scalar(2)?.unwrap_or(float(call.node, "max", f32::MAX));
    let op = match (low, high) {
        (0.0, 6.0) => Op::Relu6,
        (0.0, high) if high >= f32::MAX => Op::Relu,
        _ => {
            return Err(unsupported(
                format!("clips to {low}…{high}"),
                "only ReLU and ReLU6 are supported",
            ));
        }
    };
    importer.elementwise(call.map(0)?, op, &call.name)
}

pub(super) fn softmax(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let axis = map.axis(int(call.node, "axis", -1))?;
    if map.size(axis) != map.extent(Channel) {
        return Err(unsupported(
            format!("softmax over dimension {axis}"),
            "only a softmax over the classes is supported",
        ));
    }
    importer.elementwise(map, Op::Softmax, &call.name)
}
