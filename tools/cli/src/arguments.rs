//! The files among a command's arguments, found by their types.

use std::path::PathBuf;

use brooklet_files::{InputData, InputPath, OutputPath, WriteError, check};
use clap::{ArgMatches, Command};

/// Checks the files that a command reads and writes, before the command runs.
///
/// # Errors
///
/// [`WriteError`] if an output cannot be written, or would replace an input or another output.
pub fn check_files(command: &Command, matches: &ArgMatches) -> Result<(), WriteError> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let command = command.find_subcommand(name);
    let mut inputs: Vec<PathBuf> = Vec::new();
    let mut outputs: Vec<(String, &OutputPath)> = Vec::new();
    for id in matches.ids().map(clap::Id::as_str) {
        // An argument of another type is not a file.
        if let Ok(Some(paths)) = matches.try_get_many::<InputPath>(id) {
            inputs.extend(paths.map(|path| path.to_path_buf()));
        }
        if let Ok(Some(data)) = matches.try_get_many::<InputData>(id) {
            inputs.extend(data.map(|data| PathBuf::from(&**data)));
        }
        if let Ok(Some(paths)) = matches.try_get_many::<OutputPath>(id) {
            let argument = command.and_then(|c| c.get_arguments().find(|a| a.get_id() == id));
            let long = argument.and_then(|argument| argument.get_long()).unwrap_or(id);
            outputs.extend(paths.map(|path| (format!("--{long}"), path)));
        }
    }
    check(&inputs, &outputs)
}
