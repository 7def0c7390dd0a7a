//! The place of real networks and data.

pub(crate) mod project;

use std::io::Write;
use std::path::{Path, PathBuf};

/// Number of tries of a test: `many` if `BROOKLET_THOROUGH` is set, as `cargo xtask test --all`
/// does, otherwise `few`.
pub(crate) fn tries<T>(few: T, many: T) -> T {
    if std::env::var_os("BROOKLET_THOROUGH").is_some() { many } else { few }
}

/// Prints that something is left out, past the test harness's capture, which hides the output of
/// passing tests.
pub(crate) fn skipped(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
}

/// The folder of shared data: `$BROOKLET_DATA`, or `../shared/data` from the repository's root.
/// Without it, this prints a message, and the caller passes without having tested anything.
pub(crate) fn shared_data(test: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("BROOKLET_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    if folder.join("models").is_dir() {
        return Some(folder);
    }
    skipped(&format!("{test} needs shared data (set BROOKLET_DATA to its folder)"));
    None
}

/// The folder of shared cases, beside that of data; without it, as [`shared_data`].
pub(crate) fn shared_cases(test: &str) -> Option<PathBuf> {
    let data = shared_data(test)?;
    let folder = data.parent()?.join("cases/networks");
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&format!("{test} needs shared cases beside the shared data"));
    None
}
