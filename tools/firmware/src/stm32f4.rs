//! The emulated STM32F446: PyPI's `unicorn`, in a program of ours that adds the rest of the chip.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use board_build::Spec;
use tempfile::NamedTempFile;

use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, compile, once, python};

/// The program, the packages that it needs, and the source of its clock.
const FILES: [(&str, &str); 5] = [
    ("runner.py", include_str!("../stm32f4/runner.py")),
    ("chip.py", include_str!("../stm32f4/chip.py")),
    ("core.py", include_str!("../stm32f4/core.py")),
    ("requirements.txt", include_str!("../stm32f4/requirements.txt")),
    ("clock.rs", include_str!("../stm32f4/clock.rs")),
];

/// What an earlier program has left in the flash.
const GARBAGE: u8 = 0xa5;

/// The clock is compiled for the emulator. Here it is compiled for lints and its test.
#[cfg(test)]
#[path = "../stm32f4/clock.rs"]
mod clock;

fn folder(registry: &Registry) -> PathBuf {
    registry.target_dir().join("stm32f4")
}

fn clock_library(registry: &Registry) -> PathBuf {
    folder(registry).join(format!("{DLL_PREFIX}clock{DLL_SUFFIX}"))
}

/// Finds or installs Python, lets pip install the emulated core beside the build, and compiles its
/// clock.
pub(crate) fn ensure(
    registry: &Registry,
    spec: &Spec,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    let folder = folder(registry);
    let sources = FILES.map(|(name, text)| format!("{name}\n{text}")).concat();
    once::install(&folder, &sources, || {
        for (name, text) in FILES {
            once::write(&folder.join(name), text)?;
        }
        python::install(&folder, "unicorn", &format!("to emulate {}", spec.name), report)?;
        let mut rustc = Command::new("rustc");
        rustc
            .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "clock.rs", "-o"])
            .arg(clock_library(registry))
            .current_dir(&folder)
            .env_remove("RUSTC_BOOTSTRAP");
        match compile::run(&mut rustc)? {
            (true, _) => Ok(()),
            (false, output) => Err(FirmwareError::Build {
                what: "the emulator's clock".to_owned(),
                target: "this computer".to_owned(),
                output: compile::tail(&output, 40),
            }),
        }
    })
}

/// The command that runs an image, and the file that must exist until the board answers.
pub(crate) fn command(
    registry: &Registry,
    spec: &Spec,
    image: &FlashImage,
) -> Result<(Command, NamedTempFile), FirmwareError> {
    let file = NamedTempFile::with_suffix(".bin")
        .and_then(|file| fs::write(file.path(), contents(spec, image)).map(|()| file))
        .map_err(|source| FirmwareError::Create { path: std::env::temp_dir(), source })?;
    let folder = folder(registry);
    let mut command = Command::new(python::program(&folder));
    command
        .arg("-B") // no files beside the program, whose folder parallel processes share
        .arg(folder.join("runner.py"))
        .arg("--flash")
        .arg(file.path())
        .args(["--baud", &spec.baud.to_string(), "--clock"])
        .arg(clock_library(registry))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok((command, file))
}

/// All bytes of the flash.
fn contents(spec: &Spec, image: &FlashImage) -> Vec<u8> {
    let mut bytes = vec![GARBAGE; spec.flash.bytes as usize];
    for (address, part) in image.parts() {
        let start = address.saturating_sub(spec.flash.address) as usize;
        if let Some(place) = bytes.get_mut(start..start + part.len()) {
            place.copy_from_slice(part);
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
