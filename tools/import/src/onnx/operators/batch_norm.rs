//! Batch norms.

use crate::error::{Problem, unsupported};
use crate::network::{BatchNorm, Op};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;
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
