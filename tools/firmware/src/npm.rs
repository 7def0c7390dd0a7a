//! Installs npm packages beside the build.

use std::path::Path;
use std::process::Command;

use crate::{FirmwareError, Report, apt, compile, once};

/// Finds or installs Node.js, and lets npm install the packages of a `package.json` and its
/// `package-lock.json` into a folder, once.
///
/// `what` they are, and `why` they are needed, is shown to people.
///
/// # Errors
///
/// [`FirmwareError`] if there is no Node.js, or npm fails.
pub fn install(
    folder: &Path,
    [package, packages]: [&str; 2],
    what: &str,
    why: &str,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    node(why, report)?;
    once::install(folder, packages, || {
        for (name, text) in [("package.json", package), ("package-lock.json", packages)] {
            once::write(&folder.join(name), text)?;
        }
        report(&format!("installing {what} with npm, {why}"));
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        let (done, said) = compile::run(&mut npm)?;
        if !done {
            let (program, reason) = (what.to_owned(), compile::tail(&said, 6));
            return Err(FirmwareError::NoProgram { program, packages: "npm".to_owned(), reason });
        }
        Ok(())
    })
}

/// Finds or installs Node.js and npm.
fn node(why: &str, report: Report<'_>) -> Result<(), FirmwareError> {
    let present = || ["node", "npm"].iter().all(|program| apt::runs(program, &["--version"]));
    if present() {
        return Ok(());
    }
    let reason = match apt::install(&["nodejs", "npm"], why, report) {
        Ok(()) if present() => return Ok(()),
        Ok(()) => "the packages do not contain it".to_owned(),
        Err(said) => said,
    };
    let packages = "nodejs and npm".to_owned();
    Err(FirmwareError::NoProgram { program: "node".to_owned(), packages, reason })
}
