//! Emulators other than QEMU: each is a program of ours around a library.

use std::process::Command;

use board_build::{Runner, Spec};
use brooklet_protocol::Unit;
use tempfile::NamedTempFile;

use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, rp2040, stm32f4};

/// Installs it.
pub(crate) fn ensure(
    registry: &Registry,
    spec: &Spec,
    runner: Runner,
    report: Report<'_>,
) -> Result<(), FirmwareError> {
    match runner {
        Runner::Rp2040js => rp2040::ensure(registry, spec, report),
        Runner::Unicorn => stm32f4::ensure(registry, spec, report),
    }
}

/// The command that runs an image, and the file that must exist until the board answers.
pub(crate) fn command(
    registry: &Registry,
    spec: &Spec,
    runner: Runner,
    image: &FlashImage,
) -> Result<(Command, NamedTempFile), FirmwareError> {
    match runner {
        Runner::Rp2040js => rp2040::command(registry, spec, image),
        Runner::Unicorn => stm32f4::command(registry, spec, image),
    }
}

/// What the emulator counts where firmware counts cycles of the chip, if these are not cycles.
pub(crate) fn unit(runner: Runner) -> Option<Unit> {
    match runner {
        Runner::Rp2040js => None,
        Runner::Unicorn => Some(Unit::Instructions),
    }
}
