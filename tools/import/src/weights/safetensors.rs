//! Reads named weights from a safetensors file.

use std::collections::BTreeMap;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};

use super::tensors::{Tensors, halves, ignored};
use crate::error::{AtLayer, LayerProblem, Problem};

/// Every float tensor in the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Tensors, LayerProblem> {
    let corrupt = |detail: String| Problem::Corrupt { format: "safetensors", detail };
    let file = SafeTensors::deserialize(bytes).map_err(|error| corrupt(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if ignored(name) {
            continue;
        }
        let values = match view.dtype() {
            Dtype::F32 => {
                view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            Dtype::F16 => halves(view.data(), |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => halves(view.data(), |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => {
                view.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()
            }
            other => {
                return Err(Problem::ElementType { found: format!("{other:?}") }).at(name);
            }
        };
        let tensor = ArrayD::from_shape_vec(IxDyn(view.shape()), values)
            .map_err(|error| corrupt(error.to_string()))
            .at(name)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(Tensors::new(tensors))
}
