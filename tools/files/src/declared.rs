//! The outputs of the command that runs, which no reading may mistake for an input.

use std::fs::Metadata;
use std::path::Path;
use std::sync::OnceLock;

use super::identity::Identity;

/// Outputs of the command, by option.
static OUTPUTS: OnceLock<Vec<(String, Identity)>> = OnceLock::new();

/// The option whose output would replace a file that is read. This finds what only reading finds:
/// a network may name other files.
pub(crate) fn replaced_by(path: &Path, metadata: &Metadata) -> Option<String> {
    let outputs = OUTPUTS.get()?;
    let identity = Identity::of(path, metadata)?;
    outputs.iter().find(|(_, output)| *output == identity).map(|(option, _)| option.clone())
}

/// Notes the outputs of the command. A process has one command: only the first counts.
pub(crate) fn declare(outputs: Vec<(String, Identity)>) {
    let _ = OUTPUTS.set(outputs);
}
