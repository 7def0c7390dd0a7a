//! Operators that keep shape and layout, of one map.

use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Op};
use crate::onnx::importer::{Importer, Inputs};
use crate::onnx::map::{Channel, Map};
use crate::onnx::node::{float, int, node_name};
use crate::proto::NodeProto;

pub(super) fn batch_norm(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let name = &node_name(node);
    if int(node, "training_mode", 0) != 0 {
        return Err(unsupported(
            "the batch norm is in training mode",
            "call model.eval() before the export",
        ));
    }
    let map = inputs.map(0)?;
    importer.elementwise(
        map,
        Op::BatchNorm(BatchNorm {
            scale: inputs.floats(1)?,
            shift: inputs.floats(2)?,
            mean: inputs.floats(3)?,
            var: inputs.floats(4)?,
            eps: float(node, "epsilon", 1e-5),
        }),
        name,
    )
}

pub(super) fn relu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let name = &node_name(node);
    importer.elementwise(inputs.map(0)?, Op::Relu, name)
}

pub(super) fn clip(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let name = &node_name(node);
    // Bounds are attributes up to opset 10, inputs since.
    let low = inputs.scalar(1)?.unwrap_or(float(node, "min", f32::MIN));
    let high = inputs.scalar(2)?.unwrap_or(float(node, "max", f32::MAX));
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
    importer.elementwise(inputs.map(0)?, op, name)
}

pub(super) fn softmax(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let name = &node_name(node);
    let map = inputs.map(0)?;
    let axis = map.axis(int(node, "axis", -1))?;
    if map.size(axis) != map.extent(Channel) {
        return Err(unsupported(
            format!("softmax over dimension {axis}"),
            "only a softmax over the classes is supported",
        ));
    }
    importer.elementwise(map, Op::Softmax, name)
}
