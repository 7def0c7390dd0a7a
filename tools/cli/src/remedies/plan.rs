//! Of model files, and of their plans.

use brooklet::Error;
use brooklet_plan::ensemble::Misfit;
use brooklet_plan::model_file::{ModelError, ModelProblem};
use brooklet_plan::packing::{NoSuchBackend, PackError};
use brooklet_plan::plan::Uncuttable;

use super::Remedy;

impl Remedy for ModelError {
    fn remedy(&self) -> Option<String> {
        let remedy = match &self.problem {
            ModelProblem::File(problem) => return problem.remedy(),
            ModelProblem::Uncuttable(_) => "check that the network is built of residual blocks",
            ModelProblem::Backend { .. } => "without --backend, the fastest that it has is taken",
            ModelProblem::Refused { error } => refused(error),
        };
        Some(remedy.to_owned())
    }
}

/// What to do about a file that the core refuses.
fn refused(error: &Error) -> &'static str {
    match error {
        Error::BadMagic => "give a .brook file; `brooklet quantize` makes one from a network",
        Error::TooShort { .. } | Error::Checksum { .. } => {
            "the file was damaged on its way: copy or quantize it again"
        }
        Error::UnsupportedVersion { .. } => {
            "quantize the network again with this version of brooklet"
        }
        Error::Packing { .. } => {
            "pack it for the kernels that shall run it: brooklet plan MODEL --backend NAME -o PACKED"
        }
        _ => "quantize the network again; if it happens again, report it with the network",
    }
}

impl Remedy for Uncuttable {
    fn remedy(&self) -> Option<String> {
        None
    }
}

impl Remedy for NoSuchBackend {
    fn remedy(&self) -> Option<String> {
        Some("`brooklet plan --help` lists those that there are".to_owned())
    }
}

impl Remedy for PackError {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::NoSuchBackend(error) => error.remedy(),
            Self::Model(error) => error.remedy(),
        }
    }
}

impl Remedy for Misfit {
    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Input => "quantize all members with the same input size, --mean and --std",
            Self::Preprocessing => {
                "quantize all members with the same --resize, --crop, --mean and --std"
            }
            Self::Classes => "an ensemble's members tell the same classes apart, in the same order",
            Self::Scores => {
                "an ensemble's members have a score for each class, of which one is right"
            }
            Self::Layers => "leave out a member",
            Self::Logits => "quantize it again, on images like those it will see",
        };
        Some(remedy.to_owned())
    }
}
