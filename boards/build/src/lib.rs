//! The description of a board: the contents of its `board.toml`.
//!
//! Everything that several places need to know about a board is written once, in
//! `boards/NAME/board.toml`. Two readers share this crate. The board's build script ([`generate`])
//! makes the linker's `memory.x` and the firmware's constants from it. The host (`tools/firmware`)
//! lists the boards, plans for them and starts them.
#![forbid(unsafe_code)]

mod firmware;
mod memory;
mod start;

use std::fs;
use std::path::Path;

use serde::Deserialize;

pub use firmware::generate;
pub use memory::{Holds, Memory, Region, SecondCore, Section, WeightsWindow};
pub use start::{Emulator, Espflash, Probe, Qemu, Runner, Uf2};

/// The environment variables with which the host builds firmware for a board with less RAM than its
/// `board.toml` says: the number of bytes of its RAM, and of the arena in it.
pub const LIMITS: [&str; 2] = ["BROOKLET_RAM_BYTES", "BROOKLET_ARENA_BYTES"];

/// Number of bytes of stack that firmware takes with kernels whose steps make several rows: the
/// largest measured value, 5,100 on a Cortex-M0, and a reserve.
const SEVERAL_ROWS_STACK: u32 = 6_144;

/// A board, as described in its `board.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name of the board, of its crate, and of its folder.
    pub name: String,
    /// A description in one line.
    pub description: String,
    /// The processor core.
    pub core: String,
    /// The compiler's name for the target.
    pub target: String,
    /// Clock frequency of the core.
    pub clock_hz: u32,
    /// The kernels in the firmware.
    pub backend: String,
    /// Whether the firmware runs layers that read or make int16.
    ///
    /// This is the feature `int16` of `brooklet-app`, which the board's crate must also enable.
    #[serde(default)]
    pub int16: bool,
    /// Whether its crate has the feature `updates`: firmware that accepts signed models over its
    /// link.
    #[serde(default)]
    pub updates: bool,
    /// Whether the firmware's kernels are in RAM.
    ///
    /// This is the feature `hot-section` of `brooklet-app`, which the board's crate must also
    /// enable.
    #[serde(default)]
    pub hot_section: bool,
    /// Whether it is built and run only by `--all`, which tests everything: a board whose chip no
    /// emulator has, or whose kernels and drivers other boards have, too.
    #[serde(default)]
    pub only_in_all: bool,
    /// The memory for firmware. If it also contains the model's slot, the firmware's part ends
    /// there.
    pub flash: Region,
    /// The memory for the application's buffers, and for arena and stack unless another memory
    /// holds them.
    pub ram: Region,
    /// The memory for a model.
    pub slot: Region,
    /// Number of bytes of RAM for a model's arena.
    pub arena_bytes: u32,
    /// Number of bytes of the longest image row that it accepts.
    pub row_bytes: u32,
    /// Number of rows of this length that are queued while the network runs.
    pub queued_rows: u32,
    /// Number of layers in a profile; later layers count only in its total.
    pub profiled_layers: u32,
    /// Number of bytes that must be left for the stack; otherwise the link fails.
    pub stack_bytes: u32,
    /// If the slot is behind a driver: the RAM for weights that go through a window. The slot's
    /// address is then the one in the driver's flash.
    pub weights_window: Option<WeightsWindow>,
    /// If its crate has the feature `two-cores`: the RAM that such firmware keeps for the second
    /// core.
    pub second_core: Option<SecondCore>,
    /// Memories besides `flash` and `ram`.
    #[serde(default, rename = "memory")]
    pub memories: Vec<Memory>,
    /// Sections that the chip requires in its flash, besides those of any firmware.
    #[serde(default, rename = "section")]
    pub sections: Vec<Section>,
    /// Number of cycles that the core waits to read flash that is not in a cache.
    #[serde(default)]
    pub flash_wait: u32,
    /// Number of bytes of such a read: a line of the cache, or the width of the flash.
    #[serde(default = "usual_line")]
    pub flash_line: u32,
    /// Number of bytes of the cache for code and weights in flash; 0 if weights have none.
    #[serde(default)]
    pub flash_cache: u32,
    /// Bits per second on the line between host and board.
    #[serde(default = "usual_baud")]
    pub baud: u32,
    /// How QEMU emulates it.
    pub qemu: Option<Qemu>,
    /// How another emulator emulates it.
    pub emulator: Option<Emulator>,
    /// How a debug probe writes to it.
    pub probe: Option<Probe>,
    /// How a boot loader that appears as a drive takes firmware.
    pub uf2: Option<Uf2>,
    /// How Espressif's boot loader takes it.
    pub espflash: Option<Espflash>,
}

/// Cache line of the RP2040 and RP2350.
const fn usual_line() -> u32 {
    8
}

/// The rate that firmware sets up by default.
const fn usual_baud() -> u32 {
    115_200
}

impl Spec {
    /// Reads a `board.toml`. The error is a text that says what is wrong, without the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let spec = Self::parse(&text)?;
        if path.parent().and_then(Path::file_name).is_none_or(|folder| *folder != *spec.name) {
            return Err(format!("the name `{}` is not that of its folder", spec.name));
        }
        Ok(spec)
    }

    /// A board from the text of its `board.toml`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        spec.check()?;
        Ok(spec)
    }

    /// The same board with less RAM.
    pub fn limited(mut self, ram_bytes: u32, arena_bytes: u32) -> Self {
        // Stacks begin at a multiple of 16 bytes.
        self.ram.bytes = ram_bytes / 16 * 16;
        self.arena_bytes = arena_bytes;
        self
    }

    /// Whether an emulator can run it.
    pub fn is_emulated(&self) -> bool {
        self.qemu.is_some() || self.emulator.is_some()
    }

    /// Whether its stack has room for kernels whose steps make several rows.
    pub fn makes_several_rows(&self) -> bool {
        self.stack_bytes >= SEVERAL_ROWS_STACK
    }

    /// The part of the flash that firmware may fill: all of it, or the part before the slot.
    pub fn firmware(&self) -> Region {
        let Region { address, bytes } = self.flash;
        if self.flash.contains(self.slot.address) {
            Region { address, bytes: self.slot.address - address }
        } else {
            Region { address, bytes }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = r#"
        name = "n"
        description = "d"
        core = "c"
        target = "thumbv7em-none-eabihf"
        clock_hz = 1
        backend = "portable"
        flash = { address = 0x0800_0000, bytes = 1048576 }
        ram = { address = 0x2000_0000, bytes = 131072 }
        slot = { address = 0x0802_0000, bytes = 917504 }
        arena_bytes = 1024
        row_bytes = 1
        queued_rows = 1
        profiled_layers = 1
        stack_bytes = 2048
        "#;

    fn board(more: &str) -> Spec {
        toml::from_str(&format!("{BOARD}{more}")).unwrap()
    }

    #[test]
    fn a_slot_in_the_flash_ends_the_firmware() {
        let spec = board("");
        assert_eq!(spec.check(), Ok(()), "no way to start it has to be known");
        assert_eq!(spec.firmware(), Region { address: 0x0800_0000, bytes: 0x0002_0000 });
        let beside = Spec { slot: Region { address: 0x2100_0000, bytes: 1 }, ..spec.clone() };
        assert_eq!(beside.firmware(), spec.flash);
    }

    #[test]
    fn memories_hold_what_is_said() {
        let tcm = |bytes: u32, holds: &str| {
            format!(
                "[[memory]]\nname = \"DTCM\"\naddress = 0x3000_0000\nbytes = {bytes}\nholds = {holds}\n"
            )
        };
        let script = board(&tcm(65_536, r#"["arena", "stack"]"#)).memory_x();
        assert!(script.contains("  DTCM : ORIGIN = 0x30000000, LENGTH = 65536\n"), "{script}");
        assert!(script.contains("_stack_start = ORIGIN(DTCM) + LENGTH(DTCM);"), "{script}");
        assert!(script.contains("_stack_end = ORIGIN(DTCM) + 1024;"), "{script}");
        assert!(!board(&tcm(65_536, r#"["arena"]"#)).memory_x().contains("_stack_start ="));

        let refused = |more: &str| board(more).check().unwrap_err();
        let small = refused(&tcm(512, r#"["arena"]"#));
        assert_eq!(small, "`DTCM` has 512 bytes, but must hold 1024");
        let other = tcm(65_536, r#"["stack"]"#).replace("DTCM", "CCM").replace("0x3000", "0x1000");
        let both = refused(&(tcm(65_536, r#"["stack"]"#) + &other));
        assert_eq!(both, "`DTCM` and `CCM` cannot both hold the stack");
        let over = refused(&tcm(65_536, "[]").replace("0x3000_0000", "0x2001_0000"));
        assert_eq!(over, "the memories `DTCM` and `ram` overlap");
    }

    #[test]
    fn firmware_and_slot_have_a_place_in_the_flash_chip() {
        let place = |chip: u32, firmware: u32, slot: u32| {
            board(&format!(
                "[espflash]\nchip = \"c\"\nflash_bytes = {chip}\nfirmware_offset = {firmware}\n\
                 slot_offset = {slot}\n"
            ))
        };
        let good = place(0x40_0000, 0x1_0000, 0x10_0000);
        assert_eq!(good.check(), Ok(()));
        assert!(
            good.stack_x(16).contains("_stack_start - _stack_end >= 2064"),
            "{}",
            good.stack_x(16)
        );
        let refused = |chip, firmware, slot| place(chip, firmware, slot).check().unwrap_err();
        assert!(refused(0x40_0000, 0x1_0000, 0x10_0001).contains("multiples of 65536"));
        let overlap = "firmware, slot and the boot loader overlap in flash";
        assert_eq!(refused(0x40_0000, 0x1_0000, 0x2_0000), overlap);
        assert_eq!(refused(0x40_0000, 0, 0x10_0000), overlap);
        let large = refused(0x10_0000, 0x1_0000, 0x10_0000);
        assert_eq!(large, "firmware and slot do not fit 1048576 bytes of flash");
    }

    #[test]
    fn sections_of_the_boot_rom_are_placed() {
        let boot2 = board("[[section]]\nname = \".boot2\"\nbytes = 256\n");
        assert_eq!(boot2.check(), Ok(()));
        let script = boot2.memory_x();
        assert!(script.contains("  BOOT2 : ORIGIN = 0x08000000, LENGTH = 256\n"), "{script}");
        assert!(script.contains("  FLASH : ORIGIN = 0x08000100, LENGTH = 130816\n"), "{script}");
        let block = "[[section]]\nname = \".start_block\"\nafter = \".vector_table\"\n";
        let script = board(block).memory_x();
        assert!(script.contains("INSERT AFTER .vector_table;"), "{script}");
        assert!(board(&format!("{block}bytes = 4\n")).check().is_err());
    }
}
