//! `brooklet inspect`: lists what is in a model file.

use brooklet_firmware::{Registry, Spec};

use super::Output;
use crate::failure::{Result, failure};
use crate::report::contents::Contents;
use brooklet_files::InputPath;
use brooklet_plan::cost;
use brooklet_plan::cost::Coefficients;
use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::packed_for;

/// Options of `brooklet inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file.
    model: InputPath,
    /// Predicts instructions on that board; `brooklet boards` lists them. If the weights are packed
    /// for other kernels, the prediction is for the file as `flash` packs it.
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
}

/// The costs of the kernels on that board.
pub(crate) fn costs(spec: &Spec) -> Result<Coefficients> {
    cost::of(spec).ok_or_else(|| {
        failure!(
            help = "the test `costs` of tools/cli counts all boards, and writes src/costs.json",
            "{}: the costs of backend `{}` are not known",
            spec.name,
            spec.backend
        )
    })
}

/// Runs the command.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let report = Contents::new(&file.model());
    let Some(board) = &args.board else { return output.print(&report) };
    let registry = Registry::find()?;
    let spec = registry.board(board)?;
    let packed = packed_for(spec, &file)?;
    let model = packed.as_ref().unwrap_or(&file).model();
    let packed_for = packed.as_ref().map(|_| spec.name.clone());
    output.print(&Contents { packed_for, ..report.on(&model, spec, &costs(spec)?) })
}
