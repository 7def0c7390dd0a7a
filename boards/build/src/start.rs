//! The ways to start a board, each of which is optional.

use serde::Deserialize;

/// How QEMU emulates a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// The program.
    pub binary: String,
    /// The arguments that choose the machine.
    pub args: Vec<String>,
}

/// An emulator of the chip that is not QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// Which emulator.
    pub runner: Runner,
}

/// An emulator that the host knows how to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// The RP2040 in JavaScript, from npm.
    Rp2040js,
    /// The STM32F446 around a core from PyPI.
    Unicorn,
}

impl Runner {
    /// The name of the library that emulates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rp2040js => "rp2040js",
            Self::Unicorn => "unicorn",
        }
    }
}

/// How a debug probe writes to a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The name of the chip in probe-rs.
    pub chip: String,
}

/// How a boot loader that appears as a drive takes firmware.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uf2 {
    /// The family ID of the blocks.
    pub family: u32,
    /// The name of the drive.
    pub drive: String,
}

/// How Espressif's boot loader takes firmware: over a serial port, into flash that the cache's MMU
/// maps into memory. The chip's HAL has the linker script.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Espflash {
    /// The name of the chip in espflash.
    pub chip: String,
    /// Minimum number of bytes of the flash chip.
    pub flash_bytes: u32,
    /// Offset of the application in the flash chip.
    pub firmware_offset: u32,
    /// Offset of the model's slot in the flash chip.
    pub slot_offset: u32,
}
