//! Remedies for errors of networks.

use brooklet_files::{FileProblem, text};
use brooklet_import::Arch;
use brooklet_import::error::{ImportError, Problem};

use super::Remedy;

/// Number of characters that names from a file may take in a remedy.
const NAMES: usize = 400;

impl Remedy for ImportError {
    fn remedy(&self) -> Option<String> {
        let list = Arch::list;
        Some(match &self.problem {
            Problem::File(problem) => return problem.remedy(),
            Problem::Companion { problem, .. } => match problem {
                FileProblem::Replaced { .. } => return problem.remedy(),
                _ => "keep that file beside the network, or export with all weights in one file"
                    .to_owned(),
            },
            Problem::UnsupportedOperator { remedy, .. } | Problem::Unsupported { remedy, .. } => {
                remedy.clone()
            }
            Problem::ArchNeeded => format!("name its architecture with --arch: {}", list()),
            Problem::UnknownArch { .. } => format!("--arch takes one of {}", list()),
            Problem::NoVariant { option, .. } => {
                format!("leave out {option}, or choose another of {}", list())
            }
            // A remedy may have several lines; names from a file may not.
            Problem::NoOutput { names, .. } => {
                format!("give --outputs of {}", text::line(names, NAMES))
            }
            Problem::MissingTensor { holds, .. } => {
                format!("check --arch; the file holds {}", text::line(holds, NAMES))
            }
            other => fixed(other)?.to_owned(),
        })
    }
}

/// Remedies that do not depend on the error's details.
fn fixed(problem: &Problem) -> Option<&'static str> {
    Some(match problem {
        Problem::UnknownType { .. } => {
            "give an .onnx, .tflite, .keras, .h5 or .safetensors file or a PyTorch checkpoint (.pt, \
             .pth, .th); a TensorFlow SavedModel can be converted to .onnx with tf2onnx"
        }
        Problem::WrongType { .. } => "give the file its right extension, or fetch it again",
        Problem::Corrupt { .. } => "the file is damaged or incomplete: fetch or export it again",
        Problem::DynamicShape { .. } => {
            "export the network with a fixed height, width and number of channels (only the batch \
             size may stay open)"
        }
        Problem::QuantizedOnnx { .. } => {
            "quantize it with QuantizeLinear and DequantizeLinear around float operators (with \
             ONNX Runtime: quantize_static, QuantFormat.QDQ), or give the float network, which \
             brooklet quantizes itself"
        }
        Problem::NotFinite { .. } => {
            "training diverged or the file is damaged: use an earlier checkpoint"
        }
        Problem::Shape { .. } => "the network is inconsistent: export it again",
        Problem::Topology { .. } => "brooklet runs networks of at least one layer",
        Problem::TensorShape { .. } => {
            "check --arch, and that the network's widths are the standard ones"
        }
        Problem::LeftOver { .. } => "check --arch: the file holds a larger or a different network",
        Problem::ElementType { .. } => "save the weights as float32",
        _ => return None,
    })
}
