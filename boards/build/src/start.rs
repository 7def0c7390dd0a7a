//! The ways to start a board: each is there or not.

use serde::Deserialize;

/// How QEMU emulates a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// The program.
    pub binary: String,
    /// Its arguments that choose the machine.
    pub args: Vec<String>,
}

/// An emulator of the chip that is not QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// Which.
    pub runner: Runner,
}

/// An emulator that the host knows how to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// The RP2040 in JavaScript, from npm.
    Rp2040js,
}

/// How a debug probe writes to a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// probe-rs's name of the chip.
    pub chip: String,
}

/// How a boot loader that is a drive takes firmware.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uf2 {
    /// The family that the blocks are marked with.
    pub family: u32,
    /// What the drive is called.
    pub drive: String,
}

/// How Espressif's boot loader takes firmware.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Espflash {
    /// espflash's name of the chip.
    pub chip: String,
}
