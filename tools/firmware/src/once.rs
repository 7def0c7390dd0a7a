//! Installs something beside the build, once.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::FirmwareError;

/// Installs into a folder, unless this was done before with the same `sources`.
///
/// Parallel processes that need the same folder install it once.
pub(crate) fn install(
    folder: &Path,
    sources: &str,
    install: impl FnOnce() -> Result<(), FirmwareError>,
) -> Result<(), FirmwareError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let lock = folder.join("lock");
    let _lock =
        File::create(&lock).and_then(|lock| lock.lock().map(|()| lock)).map_err(failed(&lock))?;
    let installed = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|found| found == sources) {
        return Ok(());
    }
    install()?;
    write(&installed, sources)
}

/// Writes a file of an installation.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FirmwareError> {
    fs::write(path, text).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FirmwareError {
    let path = path.to_owned();
    move |source| FirmwareError::Create { path: path.clone(), source }
}
