//! The files that a command reads and writes.
//!
//! Each command declares them by the types of its arguments: [`InputPath`], [`InputData`] and
//! [`OutputPath`]. The tool finds them by these types, whatever the command, and has them checked
//! before it runs ([`check`]): no output replaces an input, nor another output, and each can be
//! written. What is read
//! goes through [`read`], which has a limit for each kind of file; what is written through
//! [`OutputPath::write`], which writes it whole or not at all.

mod check;
mod identity;
mod input;
mod output;
mod temporary;
pub mod text;

use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

pub use check::check;
pub use input::{FileProblem, Limit, open, read, take};
pub use output::{OutputPath, WriteError};
pub use temporary::{TemporaryFolder, remove_on_signals};

/// A file or folder that a command reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputPath(PathBuf);

impl From<OsString> for InputPath {
    fn from(path: OsString) -> Self {
        Self(path.into())
    }
}

impl Deref for InputPath {
    type Target = PathBuf;

    fn deref(&self) -> &PathBuf {
        &self.0
    }
}

impl AsRef<Path> for InputPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// Data that a command reads: a file, a folder, or words that name neither, such as `random:4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputData(String);

impl From<&str> for InputData {
    fn from(spec: &str) -> Self {
        Self(spec.to_owned())
    }
}

impl Deref for InputData {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InputData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The folder that a file is, or would be, in.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
