//! Named weights from a PyTorch checkpoint, by a reader that knows a closed set of opcodes and
//! cannot run code.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use pytorch_reader::{DType, PytorchError, PytorchReader};

use super::tensors::{Tensors, ignored};
use crate::error::{AtLayer, LayerProblem, Problem};

/// Keys under which training scripts nest the weights, beside epoch numbers and optimizers.
const NESTS: [&str; 3] = ["state_dict.", "model_state_dict.", "model."];

/// Every float tensor of the state dictionary.
pub(crate) fn read(path: &Path) -> Result<Tensors, LayerProblem> {
    let corrupt = |detail: String| Problem::Corrupt { format: "PyTorch checkpoint", detail };
    let reader =
        PytorchReader::new(path).map_err(|error: PytorchError| corrupt(error.to_string()))?;
    let nest =
        NESTS.into_iter().find(|nest| reader.tensors().keys().any(|key| key.starts_with(nest)));
    let mut tensors = BTreeMap::new();
    // By name, so that of several mistakes always the same is told.
    let sorted: BTreeMap<_, _> = reader.tensors().iter().collect();
    for (key, tensor) in sorted {
        let Some(name) = key.strip_prefix(nest.unwrap_or("")) else {
            continue;
        };
        if ignored(name) {
            continue;
        }
        if tensor.dtype() != DType::F32 {
            return Err(Problem::ElementType { found: format!("{:?}", tensor.dtype()) }).at(name);
        }
        let bytes = tensor.read().map_err(|error| corrupt(error.to_string())).at(name)?;
        let values = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let array = ArrayD::from_shape_vec(IxDyn(tensor.shape()), values)
            .map_err(|error| corrupt(error.to_string()))
            .at(name)?;
        tensors.insert(name.to_owned(), array);
    }
    Ok(Tensors::new(tensors))
}
