//! The emulated RP2040: npm's `rp2040js`, in a program of ours that adds boot ROM and wire.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use board_build::{Spec, Uf2};
use tempfile::NamedTempFile;

use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, apt, compile, uf2};

const RUNNER: &str = "runner.mjs";

/// The program, and what it depends on.
const FILES: [(&str, &str); 3] = [
    (RUNNER, include_str!("../rp2040/runner.mjs")),
    ("package.json", include_str!("../rp2040/package.json")),
    ("package-lock.json", include_str!("../rp2040/package-lock.json")),
];

fn folder(registry: &Registry) -> PathBuf {
    registry.target_dir().join("rp2040")
}

/// Finds Node.js, or installs it, and has npm put the emulator beside what is built.
pub(crate) fn ensure(
    registry: &Registry,
    spec: &Spec,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    node(spec, report)?;
    let folder = folder(registry);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FirmwareError::Create { path, source }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    // Processes that start boards at the same time install it once.
    let lock = folder.join("lock");
    let lock =
        File::create(&lock).and_then(|lock| lock.lock().map(|()| lock)).map_err(failed(&lock))?;
    let installed = folder.join("installed");
    let is = |path: &Path, text: &str| fs::read_to_string(path).is_ok_and(|found| found == text);
    let [runner, package, packages] = FILES;
    let write = |(name, text): (&str, &str)| {
        let path = folder.join(name);
        if is(&path, text) { Ok(()) } else { fs::write(&path, text).map_err(failed(&path)) }
    };
    write(runner)?;
    if !is(&installed, packages.1) {
        write(package)?;
        write(packages)?;
        report(&format!("installing rp2040js with npm, to emulate {}", spec.name));
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder);
        let (done, said) = compile::run(&mut npm)?;
        if !done {
            let (program, reason) = ("rp2040js".to_owned(), compile::tail(&said, 6));
            return Err(FirmwareError::NoProgram { program, packages: "npm".to_owned(), reason });
        }
        fs::write(&installed, packages.1).map_err(failed(&installed))?;
    }
    drop(lock);
    Ok(())
}

/// Finds Node.js and npm, or installs them.
fn node(spec: &Spec, report: Report<'_>) -> Result<(), FirmwareError> {
    let present = || ["node", "npm"].iter().all(|program| apt::runs(program, &["--version"]));
    if present() {
        return Ok(());
    }
    let why = format!("to emulate {}", spec.name);
    let reason = match apt::install(&["nodejs", "npm"], &why, report) {
        Ok(()) if present() => return Ok(()),
        Ok(()) => "the packages do not have it".to_owned(),
        Err(said) => said,
    };
    let packages = "nodejs and npm".to_owned();
    Err(FirmwareError::NoProgram { program: "node".to_owned(), packages, reason })
}

/// The command that runs an image, and the file that has to be there until the board answers.
pub(crate) fn command(
    registry: &Registry,
    baud: u32,
    uf2: &Uf2,
    image: &FlashImage,
) -> Result<(Command, NamedTempFile), FirmwareError> {
    let file = NamedTempFile::with_suffix(".uf2")
        .and_then(|file| fs::write(file.path(), uf2::encode(image, uf2)).map(|()| file))
        .map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })?;
    let mut command = Command::new("node");
    command
        .arg(folder(registry).join(RUNNER))
        .arg("--flash")
        .arg(file.path())
        .args(["--baud", &baud.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok((command, file))
}
