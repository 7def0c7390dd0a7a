//! Weights in the order that a device's kernels want.

use std::path::Path;

use brooklet::format::{LayerRecord, Operator, Packing};
use brooklet_firmware::Spec;
use miette::miette;

use crate::model_file::ModelFile;
use crate::plan::{Goal, plan};
use crate::program::Program;
use crate::write::write_whole;

/// The kernels that a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernels {
    /// Any core.
    Portable,
    /// Cortex-M4, M7, M33: with DSP instructions.
    Armv7em,
}

impl Kernels {
    /// Those of a board.
    ///
    /// # Errors
    ///
    /// If its `board.toml` names others.
    pub fn of(spec: &Spec) -> miette::Result<Self> {
        <Self as clap::ValueEnum>::from_str(&spec.backend, false).map_err(|_| {
            miette!(
                help = "`brooklet plan --help` lists those that there are",
                "boards/{}/board.toml: there is no backend `{}`",
                spec.name,
                spec.backend
            )
        })
    }

    /// The packing for kernels and strides of any kind: the smallest.
    pub fn packing(self) -> Packing {
        match self {
            Self::Portable => Packing::Ohwi,
            Self::Armv7em => Packing::Pairs,
        }
    }

    /// Packings that take more flash and fewer instructions.
    pub fn quicker(self) -> &'static [Packing] {
        match self {
            Self::Portable => &[Packing::Winograd],
            Self::Armv7em => &[Packing::WidePairs, Packing::Winograd],
        }
    }

    /// Whether they run that packing.
    pub fn runs(self, packing: Packing) -> bool {
        packing == self.packing() || self.quicker().contains(&packing)
    }

    /// The model packed for them, in a file of `folder`; nothing if it already is.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn pack(self, file: &ModelFile, folder: &Path) -> miette::Result<Option<ModelFile>> {
        let model = file.model();
        let other =
            |layer: &LayerRecord| layer.operator() == Operator::Conv && !self.runs(layer.packing());
        if !model.layers().iter().any(other) {
            return Ok(None);
        }
        let mut program = Program::read(&model);
        for layer in program.layers.iter_mut().filter(|layer| other(&layer.record)) {
            layer.record.packing = self.packing() as u8;
        }
        let plan = plan(&program, Goal::Size)
            .map_err(|error| miette!("{}: {error}", file.path().display()))?;
        let path = folder.join(file.path().file_name().unwrap_or("model.brook".as_ref()));
        let packed = ModelFile::new(&path, program.write(&plan))?;
        write_whole(&path, packed.bytes())?;
        Ok(Some(packed))
    }
}
