//! The quantizer and its float engine: changes that keep what a network computes, and comparisons with
//! other engines, with files made by their tools and their answers.

mod absorption;
mod blocks;
mod equalization;
mod int8_networks;
mod made;
mod recursive;
mod tflm;
mod tflm_operators;

use std::fs;
use std::path::{Path, PathBuf};

use brooklet::kernels::Reference;
use brooklet::{Model, Session};
use brooklet_plan::plan::{Goal, plan};
use brooklet_plan::program::Program;

/// The files with one of these extensions in a folder beside this one, by name.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    });
    files.sort();
    files
}

/// What `run` returns with a session of a program, which is planned for little memory.
fn in_session<T>(
    program: &Program,
    run: impl FnOnce(&mut Session<'_, '_, Reference>) -> Result<T, String>,
) -> Result<T, String> {
    let plan = plan(program, Goal::Size).map_err(|error| error.to_string())?;
    let file = program.write(&plan);
    let model = Model::parse(&file).map_err(|error| error.to_string())?;
    let mut arena = vec![0u128; model.arena_bytes().div_ceil(16)];
    let arena = zerocopy::IntoBytes::as_mut_bytes(&mut arena[..]);
    run(&mut Session::new(&model, Reference, arena).map_err(|error| error.to_string())?)
}
