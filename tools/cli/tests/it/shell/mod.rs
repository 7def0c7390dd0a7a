//! Runs the command as a shell would.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The command's output in a folder if it succeeds, or else its error.
pub(crate) fn brooklet(folder: &Path, line: &str) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    let output = command.current_dir(folder).args(line.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The command's output in a folder, where it must succeed.
pub(crate) fn succeed(folder: &Path, line: &str) -> String {
    brooklet(folder, line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The report of a command as JSON, which must match its schema.
pub(crate) fn json(folder: &Path, line: &str) -> Value {
    let report = succeed(folder, &format!("{line} --json"));
    crate::schema::checked(serde_json::from_str(&report).unwrap())
}

/// A folder with `a.safetensors`, an untrained ResNet-8.
pub(crate) fn resnet8() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "new resnet8 -o a.safetensors");
    folder
}
