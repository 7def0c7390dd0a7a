//! A build script that plans a model for the board of its firmware.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use brooklet_plan::model_file::ModelFile;
use brooklet_plan::packing::Kernels;
use brooklet_plan::plan::Goal;
use brooklet_plan::program::Program;
use brooklet_plan::{Spec, cost, self_test};

/// `model.brook` and `board.toml` lie beside the build script.
fn main() -> Result<(), Box<dyn Error>> {
    // `OUT_DIR` is set only for build scripts.
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else { return Ok(()) };
    let [model, board] = ["model.brook", "board.toml"].map(Path::new);
    for file in [model, board] {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    replan(model, board, &out.join("model.brook"))
}

/// Packs the model for the kernels of the board, so that it runs fast within the board's memory.
pub(crate) fn replan(model: &Path, board: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    let spec = Spec::read(board)?;
    let file = ModelFile::open(model)?;
    let kernels = Kernels::of(&spec)?;
    let costs = cost::similar(&spec, kernels.packing());
    let goal = Goal::Speed { arena_bytes: spec.arena_bytes as usize };
    let program = Program::read(&file.model());
    let (program, plan) = kernels.plan(program, goal, spec.slot.bytes as usize, &costs)?;
    if plan.arena_bytes > spec.arena_bytes as usize {
        let (needed, board) = (plan.arena_bytes, spec.name);
        return Err(
            format!("{}: {needed} bytes of arena do not fit {board}", model.display()).into()
        );
    }
    // The model is checked, and the answers of its test images, if it has some, are computed again.
    let planned = self_test::build(&program, &plan, output)?;
    Ok(fs::write(output, planned.bytes())?)
}
