//! Inputs of a command, as its arguments name them.

use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

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

/// Data that a command reads: a file, a folder, or a word such as `random:4`.
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
pub fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
