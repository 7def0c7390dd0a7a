//! QuantizeLinear and DequantizeLinear of maps.

use crate::error::Problem;
use crate::onnx::importer::{Importer, Inputs};
use crate::onnx::map::Map;
use crate::proto::NodeProto;

pub(super) fn quantize(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    inputs: &Inputs,
) -> Result<Map, Problem> {
    let map = inputs.map(0)?;
    if node.input.first().is_some_and(|name| importer.squashed.contains(name)) {
        // How probabilities are quantized says nothing of their argument.
        return Ok(map.clone());
    }
    let zero = inputs.0.get(2).map(|_| inputs.constant(2)).transpose()?;
    let parameters = [Some(inputs.constant(1)?), zero];
    let whole = map.view == importer.view(map.view.node);
    importer.qdq.map(node, parameters, map.view.node, whole)?;
    Ok(map.clone())
}
