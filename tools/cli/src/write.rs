//! Files that are written whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView2;
use ndarray_npy::WriteNpyExt;
use tempfile::NamedTempFile;

/// A file that cannot be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{}: cannot be written: {reason}", file.display())]
#[diagnostic(help("{}", remedy(file)))]
pub struct WriteError {
    /// The file.
    pub file: PathBuf,
    /// What the operating system said.
    pub reason: io::Error,
}

fn remedy(file: &Path) -> String {
    let folder = folder(file);
    if file.is_dir() {
        "give the name of a file, not of a folder".to_owned()
    } else if !folder.exists() {
        format!("make the folder first: mkdir -p {}", folder.display())
    } else {
        format!("check the permissions of {}, and the space that is left", folder.display())
    }
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Finds out whether [`write_whole`] could write `path`: to be asked before long work whose
/// result goes there.
///
/// # Errors
///
/// [`WriteError`] if not.
pub fn writable(path: &Path) -> Result<(), WriteError> {
    let reason = match beside(path) {
        Ok(_) => return Ok(()),
        Err(reason) => reason,
    };
    Err(WriteError { file: path.to_owned(), reason })
}

/// Writes a file whole or not at all: to a temporary file beside it, then renamed.
///
/// # Errors
///
/// [`WriteError`]; what was there before is untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let write = || match beside(path)? {
        Place::Device(mut device) => device.write_all(bytes),
        Place::Beside(mut file, path) => {
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map(|_| ()).map_err(|error| error.error)
        }
    };
    write().map_err(|reason| WriteError { file: path.to_owned(), reason })
}

/// Writes logits, a row a picture, as an `.npy` file of int8, or of int16 if they are.
///
/// # Errors
///
/// [`WriteError`]; what was there before is untouched.
pub fn write_logits(
    path: &Path,
    logits: ArrayView2<'_, i16>,
    int16: bool,
) -> Result<(), WriteError> {
    let mut bytes = Vec::new();
    let written = match int16 {
        true => logits.write_npy(&mut bytes),
        false => logits.mapv(|logit| logit as i8).write_npy(&mut bytes),
    };
    written
        .map_err(|error| WriteError { file: path.to_owned(), reason: io::Error::other(error) })?;
    write_whole(path, &bytes)
}

/// Where bytes go.
enum Place {
    /// Into a temporary file, which then takes this path.
    Beside(NamedTempFile, PathBuf),
    /// Into what cannot be replaced by a file, such as `/dev/null`.
    Device(File),
}

fn beside(path: &Path) -> io::Result<Place> {
    // Behind a symbolic link is the file that is meant.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&path) {
        Ok(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(old) if !old.is_file() => {
            return File::options().write(true).open(path).map(Place::Device);
        }
        _ => {}
    }
    let mut builder = tempfile::Builder::new();
    // Temporary files are for their owner's eyes; this one becomes a file like any other.
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    // The temporary file's own name would only confuse in a message.
    let plain = |error: io::Error| match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    };
    let file = builder.prefix(".brooklet-").tempfile_in(folder(&path)).map_err(plain)?;
    Ok(Place::Beside(file, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        writable(&path).unwrap();
        assert!(!path.exists());
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&path, "one").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_whole(&link, b"two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
