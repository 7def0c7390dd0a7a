//! QuantizeLinear and DequantizeLinear of maps.

use crate::error::Problem;
use crate::network::{Op, Subsample};
use crate::onnx::call::Call;
use crate::onnx::importer::Importer;
use crate::onnx::map::Map;

pub(super) fn quantize(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Map, Problem> {
    let map = call.map(0)?;
    let zero = call.inputs.get(2).map(|_| call.constant(2)).transpose()?;
    let parameters = [Some(call.constant(1)?), zero];
    let id = map.view.node;
    let whole = map.view == importer.view(id);
    let Err(problem) = importer.qdq.map(call.node, parameters, id, whole) else {
        importer.qdq.dequantizes(call.node);
        return Ok(map.clone());
    };
    // What was quantized before, or a part of it, may be quantized again with another scale.
    if !importer.qdq.is_quantized_again(call.node, id, whole) {
        return Err(problem);
    }
    let copy = match whole {
        true => {
            let copy = Subsample { stride: [1, 1], channels_before: 0, channels_after: 0 };
            importer.network.push(Op::Subsample(copy), &[id], &call.name)?
        }
        false => importer.settle(map, &call.name)?,
    };
    importer.qdq.map(call.node, parameters, copy, true)?;
    Ok(Map { view: importer.view(copy), dims: map.dims.clone() })
}
