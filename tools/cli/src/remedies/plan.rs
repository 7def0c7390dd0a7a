//! Remedies for errors of model files, and of their plans.

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
            ModelProblem::Backend { .. } => {
                "leave out --backend: then the fastest backend of this computer is used"
            }
            ModelProblem::Refused { error } => refused(error),
        };
        Some(remedy.to_owned())
    }
}

/// The remedy for a file that the core refuses.
fn refused(error: &Error) -> &'static str {
    match error {
        Error::BadMagic => "give a .brook file; `brooklet quantize` makes one from a network",
        Error::TooShort { .. } | Error::Checksum { .. } => {
            "the file is damaged: copy it again, or quantize the network again"
        }
        Error::UnsupportedVersion { .. } => {
            "quantize the network again with this version of brooklet"
        }
        Error::Packing { .. } => {
            "pack it for the kernels that will run it: brooklet plan MODEL --backend NAME -o PACKED"
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
        Some("`brooklet plan --help` lists the backends".to_owned())
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
            Self::Classes => {
                "the members of an ensemble must have the same classes, in the same order"
            }
            Self::Scores => {
                "the members of an ensemble must have one score per class, and one right class per image"
            }
            Self::Layers => "leave out a member",
            Self::Logits => "quantize it again, on images like those it will see",
        };
        Some(remedy.to_owned())
    }
}
