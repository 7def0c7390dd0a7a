//! Reads named weights from a PyTorch checkpoint, with a reader that knows a fixed set of opcodes
//! and cannot run code.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use pytorch_reader::{DType, PytorchError, PytorchReader};

use super::tensors::{Tensors, halves, ignored};
use crate::error::{AtLayer, LayerProblem, Problem, unsupported};

/// Keys under which training scripts store the weights, beside epoch numbers and optimizers.
const NESTS: [&str; 3] = ["state_dict.", "model_state_dict.", "model."];

/// Every float tensor of the state dictionary.
pub(crate) fn read(path: &Path) -> Result<Tensors, LayerProblem> {
    let corrupt = |detail: String| Problem::Corrupt { format: "PyTorch checkpoint", detail };
    let reader = PytorchReader::new(path).map_err(|error: PytorchError| {
        let detail = error.to_string();
        match detail.split_once("Expected a dictionary at the root") {
            Some((_, found)) => whole(found.rsplit(' ').next().unwrap_or("unknown")),
            None => corrupt(detail),
        }
    })?;
    let nest =
        NESTS.into_iter().find(|nest| reader.tensors().keys().any(|key| key.starts_with(nest)));
    let mut tensors = BTreeMap::new();
    // They are sorted by name, so that among several errors always the same one is reported.
    let sorted: BTreeMap<_, _> = reader.tensors().iter().collect();
    for (key, tensor) in sorted {
        let Some(name) = key.strip_prefix(nest.unwrap_or("")) else {
            continue;
        };
        if ignored(name) {
            continue;
        }
        let bytes = || tensor.read().map_err(|error| corrupt(error.to_string())).at(name);
        let values = match tensor.dtype() {
            DType::F32 => bytes()?.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            DType::F16 => halves(&bytes()?, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => halves(&bytes()?, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F64 => {
                bytes()?.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()
            }
            other => return Err(Problem::ElementType { found: format!("{other:?}") }).at(name),
        };
        let array = ArrayD::from_shape_vec(IxDyn(tensor.shape()), values)
            .map_err(|error| corrupt(error.to_string()))
            .at(name)?;
        tensors.insert(name.to_owned(), array);
    }
    Ok(Tensors::new(tensors))
}

/// Number of bytes at the end of an archive in which its table of contents is searched.
const CONTENTS: usize = 1 << 20;

/// Refuses archives that contain a program for PyTorch to run, instead of named weights.
///
/// # Errors
///
/// An error with the kind of archive, and how to convert it to ONNX.
pub(crate) fn refuse_programs(bytes: &[u8]) -> Result<(), Problem> {
    let contents = &bytes[bytes.len().saturating_sub(CONTENTS)..];
    let has = |name: &str| contents.windows(name.len()).any(|window| window == name.as_bytes());
    if !bytes.starts_with(b"PK") {
        return Ok(());
    }
    if has("/models/model.json") || has("serialized_exported_program.json") {
        return Err(program(
            "a program of torch.export (.pt2)",
            "torch.export.load(FILE).module()",
        ));
    }
    if has("/constants.pkl") {
        return Err(program("a TorchScript archive", "torch.jit.load(FILE).eval()"));
    }
    Ok(())
}

/// The error for a whole network that is an object of a Python class.
fn whole(class: &str) -> Problem {
    program(
        &format!("a whole Python object (of the class {class})"),
        "torch.load(FILE, weights_only=False).eval()",
    )
}

fn program(what: &str, load: &str) -> Problem {
    unsupported(
        format!("is {what}, which only Python can run"),
        format!(
            "export it as ONNX, with the size of your images:\n\
             import torch; model = {load}\n\
             x = torch.zeros(1, 3, 32, 32)\n\
             torch.onnx.export(model, x, \"model.onnx\")"
        ),
    )
}
