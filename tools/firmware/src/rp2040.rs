//! The emulated RP2040: npm's `rp2040js`, in a program of ours that adds boot ROM and serial line.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use board_build::{Spec, Uf2};
use tempfile::NamedTempFile;

use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, npm, uf2};

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
    fs::write(&runner, PROGRAM).map_err(|source| FirmwareError::Create { path: runner, source })
}

/// The command that runs an image, and the file that must exist until the board answers.
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
