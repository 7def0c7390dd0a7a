//! Where the real networks and data are.

use std::io::Write;
use std::path::{Path, PathBuf};

/// How often a test tries: `many` times where `BROOKLET_THOROUGH` is set, as
/// `cargo xtask test --all` does, else `few`.
pub(crate) fn tries<T>(few: T, many: T) -> T {
    if std::env::var_os("BROOKLET_THOROUGH").is_some() { many } else { few }
}

/// Says that something is left out: past the capture of the test harness, which hides what passing
/// tests print.
pub(crate) fn skipped(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
}

/// The folder of shared data: `$BROOKLET_DATA`, or `../shared/data` from the repository's root.
/// Where there is none, says so, and the caller passes without having tested anything.
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

/// The folder of shared cases, beside that of data; where there is none, as [`shared_data`].
pub(crate) fn shared_cases(test: &str) -> Option<PathBuf> {
    let data = shared_data(test)?;
    let folder = data.parent()?.join("cases/networks");
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&format!("{test} needs shared cases beside the shared data"));
    None
}
