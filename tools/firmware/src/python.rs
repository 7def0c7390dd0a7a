//! Installs Python packages beside the build.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{FirmwareError, Report, apt, compile};

/// The Python of a folder that [`install`] made.
pub(crate) fn program(folder: &Path) -> PathBuf {
    folder.join("environment").join("bin").join("python")
}

/// Makes a virtual environment in a folder, and lets pip install the packages of the folder's
/// `requirements.txt`, which has their hashes.
///
/// `what` they are, and `why` they are needed, is shown to people.
pub(crate) fn install(
    folder: &Path,
    what: &str,
    why: &str,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    python(why, report)?;
    report(&format!("installing {what} with pip, {why}"));
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear", "environment"]).current_dir(folder);
    let mut pip = Command::new(program(folder));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.txt"])
        .current_dir(folder);
    for command in [&mut venv, &mut pip] {
        let (done, said) = compile::run(command)?;
        if !done {
            let (program, reason) = (what.to_owned(), compile::tail(&said, 6));
            let packages = "python3-venv".to_owned();
            return Err(FirmwareError::NoProgram { program, packages, reason });
        }
    }
    Ok(())
}

/// Finds or installs Python, with what makes virtual environments.
fn python(why: &str, report: Report<'_>) -> Result<(), FirmwareError> {
    let present = || apt::runs("python3", &["-c", "import ensurepip, venv"]);
    if present() {
        return Ok(());
    }
    let reason = match apt::install(&["python3-venv"], why, report) {
        Ok(()) if present() => return Ok(()),
        Ok(()) => "the package does not contain it".to_owned(),
        Err(said) => said,
    };
    let packages = "python3-venv".to_owned();
    Err(FirmwareError::NoProgram { program: "python3 -m venv".to_owned(), packages, reason })
}
