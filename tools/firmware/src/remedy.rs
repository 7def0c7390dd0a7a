//! Remedies for errors.

use crate::error::FirmwareError;

impl FirmwareError {
    /// What the user can do about the error, if that is known.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoCheckout => "firmware is built from source: run this inside of a checkout, or set BROOKLET_BOARDS \
         to the path of its `boards` folder; or give firmware that was built before, with --firmware FILE.elf, \
         or by the folder in BROOKLET_FIRMWARE, which `cargo xtask firmware` fills".to_owned(),
            Self::BoardToml { .. } => "`boards/build` documents the keys of a board.toml".to_owned(),
            Self::UnknownBoard { known, .. } => format!("the boards are: {}", known.join(", ")),
            Self::NoToolchain { target, .. } => format!("with rustup: `rustup target add {target}`"),
            Self::NoProgram { packages, .. } => format!("install it with your system's package manager (on Debian: {packages})"),
            Self::Stack { board, .. } => format!("raise `stack_bytes` in boards/{board}/board.toml, or plan for less RAM"),
            Self::Build { output, .. } => output.clone(),
            Self::Read { .. } => "check the path and its permissions".to_owned(),
            Self::Create { .. } => "check the path, its permissions, and the free space".to_owned(),
            Self::ModelTooLarge { .. } => "choose a board with more flash (`brooklet boards`), or a smaller network".to_owned(),
            Self::ArenaTooLarge { .. } => "choose a board with more RAM (`brooklet boards`), a smaller network, or a smaller input".to_owned(),
            Self::LimitTooLarge { .. } => "choose fewer bytes, or a board with more RAM (`brooklet boards`)".to_owned(),
            Self::SeveralMemories { board } => format!("change `memory` in boards/{board}/board.toml"),
            Self::RamTooSmall { .. } => "allow it more RAM, or choose a smaller network or a smaller input".to_owned(),
            Self::Ended { .. } => "QEMU 7.2 or newer, or Node.js 18, is needed; its own message is above".to_owned(),
            Self::NoPort { .. } => "name it with --port".to_owned(),
            Self::Port { .. } => "check that it is there, that no other program has it, and that you may use it (on Linux: \
         the group `dialout`)".to_owned(),
            Self::Probe { .. } => "check that it is plugged in and that you may use it (on Linux: probe-rs's udev rules); \
         if there are several, name one: --probe VID:PID or VID:PID:SERIAL".to_owned(),
            Self::Espflash { .. } => "check that the port is the board's; if it does not answer, hold its BOOT button while you press \
         RESET, and try again".to_owned(),
            Self::NoDrive { .. } => "hold the board's BOOTSEL button while you plug it in, and mount the drive that appears; \
         --drive DIR says where it is, --uf2 FILE writes a file for it".to_owned(),
            Self::NotStarted { board, .. } => format!("it does not fit the board, or fails its self-test: `brooklet plan MODEL --board {board}` \
         packs a model for it"),
            Self::NoEmulator { .. } => "boards that can be emulated are those whose board.toml has `qemu` or \
         `emulator`; `brooklet boards` lists all boards".to_owned(),
            Self::NoPlugins { .. } => "use Debian's QEMU, or build QEMU with --enable-plugins".to_owned(),
            Self::NoCounts { .. } => "version 1 of QEMU's plugin interface is needed, as in QEMU 7.2".to_owned(),
            Self::Silent { .. } => "the firmware has stopped, or the network is very large: BROOKLET_TIMEOUT sets the \
         seconds to wait".to_owned(),
            Self::Protocol { .. } => "write firmware of this version to it: `brooklet flash`".to_owned(),
            Self::Confused { .. } => "firmware and host differ: write firmware of this version to it".to_owned(),
            Self::Model { .. } => "`brooklet inspect` checks the file on the host; quantize it again for this board".to_owned(),
            Self::ModelChanged { .. } => "its flash was written to or is failing, and the board gives no more results: write the \
         model again, and restart the board".to_owned(),
            Self::RowTooLong { board, .. } => format!("choose a board that takes longer rows (`brooklet boards`) or a narrower input, or raise \
         `row_bytes` in boards/{board}/board.toml"),
            Self::Run { .. } | Self::Write { .. } | Self::Refused { .. } | Self::Elf { .. } => {
                return None;
            }
        })
    }
}
