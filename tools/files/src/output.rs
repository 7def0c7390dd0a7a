//! Files that are written whole or not at all.

use std::ffi::OsString;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::identity::{kind, target};
use super::path::InputPath;
use super::temporary::TemporaryFile;

/// A file that a command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPath(PathBuf);

impl From<OsString> for OutputPath {
    fn from(path: OsString) -> Self {
        Self(path.into())
    }
}

impl Deref for OutputPath {
    type Target = PathBuf;

    fn deref(&self) -> &PathBuf {
        &self.0
    }
}

impl AsRef<Path> for OutputPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// An output that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct WriteError {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: WriteProblem,
}

/// What is wrong with an output.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    /// The error of the operating system.
    #[error("cannot be written: {0}")]
    Io(io::Error),
    /// It is a folder, or its name is that of a folder.
    #[error("cannot be written: it is a folder")]
    Folder,
    /// It is a pipe, a socket or a disk.
    #[error("cannot be written: it is {what}")]
    Kind {
        /// Description of what it is.
        what: &'static str,
    },
    /// There is a file that is write-protected.
    #[error("is not replaced: the file there is write-protected ({0})")]
    Protected(io::Error),
    /// It would replace an input.
    #[error("{option} would replace the input {}", input.display())]
    Input {
        /// The option that names it.
        option: String,
        /// The input, as the user named it.
        input: PathBuf,
    },
    /// It would replace the file that the report is printed to.
    #[error("{option} would replace the file that the report is printed to")]
    Stream {
        /// The option that names it.
        option: String,
    },
    /// Two outputs are the same file.
    #[error("{} and {} would both write it", options[0], options[1])]
    Twice {
        /// The options that name it.
        options: [String; 2],
    },
}

// Implemented by hand, since the error would otherwise be shown twice, also as the source.
impl From<io::Error> for WriteProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl OutputPath {
    /// An output that replaces an input because the user asks for it.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if it could not be written.
    pub fn in_place(input: &InputPath) -> Result<Self, WriteError> {
        let output = Self(input.to_path_buf());
        output.check()?;
        Ok(output)
    }

    /// Checks that [`OutputPath::write`] could write it.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if it could not.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        self.place().map(|_| ()).map_err(|problem| self.error(problem))
    }

    /// Writes the file whole or not at all: to a temporary file beside it, which then replaces it
    /// and takes over its permissions.
    ///
    /// Symbolic links are kept, and the file that they lead to is written.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file that was there before is untouched.
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_with(bytes, None)
    }

    /// Writes it in the same way, but so that only its owner may read it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the file that was there before is untouched.
    pub fn write_secret(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_with(bytes, owners())
    }

    /// Writes the file with the chosen permissions, or else with those that it has.
    fn write_with(&self, bytes: &[u8], chosen: Option<Permissions>) -> Result<(), WriteError> {
        let write = || match self.place()? {
            Place::Device(mut device) => Ok(device.write_all(bytes)?),
            Place::Beside { mut temporary, target, permissions } => {
                // The permissions are set before the file has contents.
                if let Some(permissions) = chosen.or(permissions) {
                    temporary.file().set_permissions(permissions)?;
                }
                temporary.file().write_all(bytes)?;
                temporary.file().sync_all()?;
                Ok(temporary.persist(&target)?)
            }
        };
        write().map_err(|problem| self.error(problem))
    }

    fn error(&self, problem: WriteProblem) -> WriteError {
        WriteError { file: self.0.clone(), problem }
    }

    /// The place that its bytes go to.
    fn place(&self) -> Result<Place, WriteProblem> {
        // Checked by the name, since a `Path` drops the end of `folder/` and `folder/.`.
        let name = self.0.as_os_str().as_encoded_bytes();
        let ends = |end: &str| name.ends_with(end.as_bytes());
        let dots = name == b"." || ends("/.") || name == b".." || ends("/..");
        if ends("/") || ends(std::path::MAIN_SEPARATOR_STR) || dots {
            return Err(WriteProblem::Folder);
        }
        let (target, old) = target(&self.0)?;
        if let Some(old) = &old {
            if old.is_dir() {
                return Err(WriteProblem::Folder);
            }
            if !old.is_file() {
                return device(&target, old);
            }
            if let Err(error) = File::options().append(true).open(&target) {
                return Err(WriteProblem::Protected(error));
            }
        }
        let temporary = TemporaryFile::beside(&target)?;
        let permissions = old.map(|old| old.permissions());
        Ok(Place::Beside { temporary, target, permissions })
    }
}

/// Permissions with which only the owner may read a file, where the system has them.
fn owners() -> Option<Permissions> {
    #[cfg(unix)]
    return Some(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600));
    #[cfg(not(unix))]
    None
}

/// The place that bytes go to.
enum Place {
    /// A temporary file, which then replaces the path.
    Beside { temporary: TemporaryFile, target: PathBuf, permissions: Option<Permissions> },
    /// A device that a file cannot replace, such as `/dev/null`.
    Device(File),
}

/// Opens a character device, which takes bytes as they come. A pipe may wait for ever, and a disk
/// may hold a file system that would be lost.
fn device(target: &Path, found: &Metadata) -> Result<Place, WriteProblem> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.file_type().is_char_device() {
            return Ok(Place::Device(File::options().write(true).open(target)?));
        }
    }
    let _ = target;
    Err(WriteProblem::Kind { what: kind(found) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn output(path: &Path) -> OutputPath {
        OutputPath(path.to_owned())
    }

    #[test]
    fn nothing_is_left_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        output(&path).check().unwrap();
        assert!(!path.exists());
        output(&path).write(b"one").unwrap();
        output(&path).write(b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_devices_and_permissions_stay_what_they_are() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        symlink("a", &link).unwrap();
        for bytes in [b"one", b"two"] {
            // The first time the link leads to no file.
            output(&link).write(bytes).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read(&path).unwrap(), bytes);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        output(&path).write(b"three").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        output(&path).write_secret(b"four").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        output(Path::new("/dev/null")).write(b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
