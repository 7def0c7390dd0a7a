//! The emulated RP2040: npm's `rp2040js`, in a program of ours that adds boot ROM and serial line.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use board_build::Spec;
use tempfile::NamedTempFile;

use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, npm, once, uf2};

const RUNNER: &str = "runner.mjs";

/// The program.
const PROGRAM: &str = include_str!("../rp2040/runner.mjs");

/// Its dependencies.
const PACKAGES: [&str; 2] =
    [include_str!("../rp2040/package.json"), include_str!("../rp2040/package-lock.json")];

fn folder(registry: &Registry) -> PathBuf {
    registry.target_dir().join("rp2040")
}

/// Finds or installs Node.js, and lets npm install the emulator beside the build.
pub(crate) fn ensure(
    registry: &Registry,
    spec: &Spec,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    let folder = folder(registry);
    npm::install(&folder, PACKAGES, "rp2040js", &format!("to emulate {}", spec.name), report)?;
    let runner = folder.join(RUNNER);
    if fs::read_to_string(&runner).is_ok_and(|found| found == PROGRAM) {
        return Ok(());
    }
    once::write(&runner, PROGRAM)
}

/// The command that runs an image, and the file that must exist until the board answers.
pub(crate) fn command(
    registry: &Registry,
    spec: &Spec,
    image: &FlashImage,
) -> Result<(Command, NamedTempFile), FirmwareError> {
    let no_uf2 = || FirmwareError::NoEmulator { board: spec.name.clone() };
    let uf2 = spec.uf2.as_ref().ok_or_else(no_uf2)?;
    let file = NamedTempFile::with_suffix(".uf2")
        .and_then(|file| fs::write(file.path(), uf2::encode(image, uf2)).map(|()| file))
        .map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })?;
    let mut command = Command::new("node");
    command
        .arg(folder(registry).join(RUNNER))
        .arg("--flash")
        .arg(file.path())
        .args(["--baud", &spec.baud.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok((command, file))
}
