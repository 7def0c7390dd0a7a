//! QuantizeLinear and DequantizeLinear of maps.

use crate::error::Problem;
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;

pub(super) fn quantize(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let zero = call.inputs.get(2).map(|_| call.constant(2)).transpose()?;
    let parameters = [Some(call.constant(1)?), zero];
    let whole = map.view == importer.view(map.view.node);
    importer.qdq.map(call.node, parameters, map.view.node, whole)?;
    Ok(map.clone())
}
