//! Files and folders that are removed when the program ends: by itself, by an error, or by a
//! signal.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::{NamedTempFile, TempDir};

use super::path::folder;

/// Temporary files that exist now. The lock is held while a file is made, renamed or removed, so
/// that a signal finds exactly those that exist.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `make` and notes the path of what it made.
fn noted<T>(make: impl FnOnce() -> io::Result<T>, path: impl Fn(&T) -> &Path) -> io::Result<T> {
    let mut live = live();
    let made = make()?;
    live.push(path(&made).to_owned());
    Ok(made)
}

/// Runs `end`, which removes or renames what is at `path`.
fn ended<T>(path: &Path, end: impl FnOnce() -> T) -> T {
    let mut live = live();
    let result = end();
    live.retain(|kept| kept != path);
    result
}

/// A temporary file.
pub(crate) struct TemporaryFile(Option<NamedTempFile>);

impl TemporaryFile {
    /// A file in the folder of another file, which it can replace.
    pub(crate) fn beside(file: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        // Temporary files are private to their owner; this one gets the permissions of ordinary
        // files.
        #[cfg(unix)]
        builder
            .permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let make = || builder.prefix(".brooklet-").tempfile_in(folder(file));
        noted(make, NamedTempFile::path).map(|file| Self(Some(file))).map_err(plain)
    }

    /// The open file.
    pub(crate) fn file(&mut self) -> &mut File {
        self.0.as_mut().expect("until it is persisted").as_file_mut()
    }

    /// Moves it to another path, and replaces what is there.
    pub(crate) fn persist(mut self, path: &Path) -> io::Result<()> {
        let file = self.0.take().expect("until it is persisted");
        let from = file.path().to_owned();
        ended(&from, || file.persist(path).map(|_| ()).map_err(|error| plain(error.error)))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            let path = file.path().to_owned();
            ended(&path, || drop(file));
        }
    }
}

/// An error without the name of the temporary file, which would confuse users.
fn plain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}

/// A temporary folder.
pub struct TemporaryFolder(Option<TempDir>);

impl TemporaryFolder {
    /// A folder in the system's folder for temporary files.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn new() -> io::Result<Self> {
        noted(tempfile::tempdir, TempDir::path).map(|folder| Self(Some(folder)))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("until it is dropped").path()
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take() {
            let path = folder.path().to_owned();
            ended(&path, || drop(folder));
        }
    }
}

/// From now on, a signal that ends the program first removes temporary files.
///
/// # Errors
///
/// The error of the operating system if handlers cannot be set.
#[cfg(unix)]
pub fn remove_on_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored();
    // Signals that the parent process had ignored, as `nohup` does, stay ignored.
    let signals = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|n| ignored >> (n - 1) & 1 == 0);
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let live = live();
            for path in live.iter() {
                let _ = match path.is_dir() {
                    true => fs::remove_dir_all(path),
                    false => fs::remove_file(path),
                };
            }
            // The signal's default action lets the shell see what ended the program.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// The signals that this process was started to ignore, as a bit mask, if the system tells.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// From now on, a signal that ends the program first removes temporary files; on Unix only.
///
/// # Errors
///
/// Never.
#[cfg(not(unix))]
pub fn remove_on_signals() -> io::Result<()> {
    Ok(())
}
