//! The command, as a shell would run it.

use std::path::Path;
use std::process::Command;

/// What the command prints in a folder: on success, or else its error.
pub(crate) fn brooklet(folder: &Path, line: &str) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    let output = command.current_dir(folder).args(line.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
