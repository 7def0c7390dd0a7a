//! Identifies the file that a path leads to, however the path is spelled and whatever links it
//! contains.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::path::folder;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// An existing file, on a device.
    #[cfg(unix)]
    Node { device: u64, inode: u64 },
    /// The path of a file that does not exist, or of any file where files have no numbers.
    Place(PathBuf),
}

impl Identity {
    /// The identity of an existing file; `None` for devices and pipes, which nothing replaces.
    pub(crate) fn of(path: &Path, metadata: &Metadata) -> Option<Self> {
        if !metadata.is_file() {
            return None;
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let _ = path;
            Some(Self::Node { device: metadata.dev(), inode: metadata.ino() })
        }
        #[cfg(not(unix))]
        fs::canonicalize(path).ok().map(Self::Place)
    }
}

/// The kind of something that is neither a file nor a folder.
pub(crate) fn kind(metadata: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    let _ = metadata;
    "a device"
}

/// Maximum number of symbolic links that are followed, as in Linux.
const LINKS: usize = 40;

/// The file that `path` leads to through symbolic links, and its metadata if it exists: a link may
/// lead to a file that is yet to be made.
pub(crate) fn target(path: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    let mut path = path.to_owned();
    for _ in 0..=LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => path = folder(&path).join(fs::read_link(&path)?),
            Ok(found) => return Ok((fs::canonicalize(path)?, Some(found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
                return Ok((fs::canonicalize(folder(&path))?.join(name), None));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}
