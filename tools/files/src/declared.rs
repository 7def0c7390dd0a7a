//! The outputs of the running command, which must not be read as inputs.

use std::fs::Metadata;
use std::path::Path;
use std::sync::OnceLock;

use super::identity::Identity;

/// Outputs of the command, with the options that name them.
static OUTPUTS: OnceLock<Vec<(String, Identity)>> = OnceLock::new();

/// The option whose output would replace a file that is read.
///
/// Some inputs are known only when they are read, as a network may name other files.
pub(crate) fn replaced_by(path: &Path, metadata: &Metadata) -> Option<String> {
    let outputs = OUTPUTS.get()?;
    let identity = Identity::of(path, metadata)?;
    outputs.iter().find(|(_, output)| *output == identity).map(|(option, _)| option.clone())
}

/// Sets the outputs of the command.
///
/// A process runs one command, so only the first call counts.
pub(crate) fn declare(outputs: Vec<(String, Identity)>) {
    let _ = OUTPUTS.set(outputs);
}
