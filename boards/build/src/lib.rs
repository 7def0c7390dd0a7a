//! What a board is: the contents of its `board.toml`.
//!
//! Everything that more than one place must know about a board is said once, in
//! `boards/NAME/board.toml`. Two readers share this crate: the board's build script
//! ([`generate`]), which makes the linker's `memory.x` and the firmware's constants of it,
//! and the host (`tools/firmware`), which lists the boards, plans for them and starts them.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

/// The environment variables by which the host builds firmware for a board with less RAM than
/// its `board.toml` says: bytes of its RAM, and of the arena in it.
pub const LIMITS: [&str; 2] = ["BROOKLET_RAM_BYTES", "BROOKLET_ARENA_BYTES"];

/// Bytes of stack that firmware takes with kernels whose steps make several rows: the most that was
/// measured, 5,100 on a Cortex-M0, and some.
const SEVERAL_ROWS_STACK: u32 = 6_144;

/// A board, as its `board.toml` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name of the board, of its crate, and of its folder.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The processor core.
    pub core: String,
    /// The compiler's name for it.
    pub target: String,
    /// What the core is clocked at.
    pub clock_hz: u32,
    /// The kernels that the firmware has.
    pub backend: String,
    /// Whether the firmware runs layers that read or make int16: the feature `int16` of
    /// `brooklet-app`, which its crate asks for, too.
    #[serde(default)]
    pub int16: bool,
    /// Where firmware lies. If the model's slot is in here, too, it ends the firmware's part.
    pub flash: Region,
    /// Where the arena, the application's buffers and the stack live.
    pub ram: Region,
    /// Where a model lies.
    pub slot: Region,
    /// Bytes of RAM for a model's arena.
    pub arena_bytes: u32,
    /// The longest row of an image that it takes, in bytes.
    pub row_bytes: u32,
    /// How many such rows wait while the network runs.
    pub queued_rows: u32,
    /// How many layers a profile tells apart; later ones are in its total only.
    pub profiled_layers: u32,
    /// Bytes that must be left for the stack: the link fails if they are not.
    pub stack_bytes: u32,
    /// How to emulate it.
    pub qemu: Qemu,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The first address.
    pub address: u32,
    /// How many bytes follow.
    pub bytes: u32,
}

impl Region {
    fn contains(&self, address: u32) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.bytes)
    }
}

/// How a board is emulated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// The program.
    pub binary: String,
    /// Its arguments that choose the machine.
    pub args: Vec<String>,
}

impl Spec {
    /// Reads a `board.toml`. The error is a text that names what is wrong, not the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let spec: Self = toml::from_str(&text).map_err(|error| error.to_string())?;
        if path.parent().and_then(Path::file_name).is_none_or(|folder| *folder != *spec.name) {
            return Err(format!("the name `{}` is not that of its folder", spec.name));
        }
        Ok(spec)
    }

    /// The same board, as if it had less RAM.
    pub fn limited(mut self, ram_bytes: u32, arena_bytes: u32) -> Self {
        // Stacks begin at a multiple of 16 bytes.
        self.ram.bytes = ram_bytes / 16 * 16;
        self.arena_bytes = arena_bytes;
        self
    }

    /// Whether its stack has room for kernels whose steps make several rows.
    pub fn makes_several_rows(&self) -> bool {
        self.stack_bytes >= SEVERAL_ROWS_STACK
    }

    /// The part of the flash that firmware may fill: all of it, or what lies before the slot.
    pub fn firmware(&self) -> Region {
        let Region { address, bytes } = self.flash;
        if self.flash.contains(self.slot.address) {
            Region { address, bytes: self.slot.address - address }
        } else {
            Region { address, bytes }
        }
    }

    /// The linker script that tells memory apart.
    fn memory_x(&self) -> String {
        let Region { address: flash, bytes: flash_bytes } = self.firmware();
        let Region { address: ram, bytes: ram_bytes } = self.ram;
        let stack_bytes = self.stack_bytes;
        let (aliases, stack_end) = if self.target.starts_with("riscv") {
            (
                "REGION_ALIAS(\"REGION_TEXT\", FLASH);\nREGION_ALIAS(\"REGION_RODATA\", FLASH);\n\
                 REGION_ALIAS(\"REGION_DATA\", RAM);\nREGION_ALIAS(\"REGION_BSS\", RAM);\n\
                 REGION_ALIAS(\"REGION_HEAP\", RAM);\nREGION_ALIAS(\"REGION_STACK\", RAM);\n",
                "__estack",
            )
        } else {
            ("", "_stack_end")
        };
        format!(
            "/* From board.toml. */\nMEMORY\n{{\n  \
             FLASH : ORIGIN = {flash:#010x}, LENGTH = {flash_bytes}\n  \
             RAM : ORIGIN = {ram:#010x}, LENGTH = {ram_bytes}\n}}\n{aliases}\
             ASSERT(_stack_start - {stack_end} >= {stack_bytes}, \
             \"The arena and buffers leave less RAM for the stack than board.toml's stack_bytes.\");\n"
        )
    }

    /// The firmware's constants.
    fn board_rs(&self) -> String {
        let Self { name, core, backend, slot, clock_hz, .. } = self;
        let Self { arena_bytes, row_bytes, queued_rows, profiled_layers, .. } = self;
        let Region { address, bytes } = slot;
        // The queue's last place stays free, so that full and empty differ.
        let queue_bytes = row_bytes * queued_rows + 1;
        // The type of a backend is its name, capitalized.
        let kernels =
            format!("brooklet_app::kernels::{}{}", backend[..1].to_uppercase(), &backend[1..]);
        let (kernels, value) = match self.makes_several_rows() {
            true => (kernels.clone(), kernels),
            false => {
                let direct = "brooklet_app::kernels::Direct";
                (format!("{direct}<{kernels}>"), format!("{direct}({kernels})"))
            }
        };
        // That it is as `Cargo.toml` says.
        let int16 = format!(
            "const _: () = assert!({}brooklet_app::INT16, \
             \"board.toml and Cargo.toml differ in int16\");\n",
            if self.int16 { "" } else { "!" }
        );
        format!(
            "{int16}/// What the board is.\n\
             pub(crate) const ABOUT: brooklet_app::About<{kernels}> = brooklet_app::About {{\n\
             board: {name:?}, core: {core:?}, kernels: {value},\n\
             firmware: env!(\"CARGO_PKG_VERSION\"),\n}};\n\
             /// Where the model's slot begins.\npub(crate) const SLOT_ADDRESS: usize = {address:#010x};\n\
             /// Bytes of the slot.\npub(crate) const SLOT_BYTES: usize = {bytes};\n\
             /// Arena and buffers.\npub(crate) type Memory = brooklet_parts::memory::Memory<\n\
             {arena_bytes}, {row_bytes}, {{ brooklet_app::request_bytes({row_bytes}) }},\n\
             {queue_bytes}, {profiled_layers},\n>;\n\
             /// What the core is clocked at.\n#[allow(dead_code)]\npub(crate) const CLOCK_HZ: u32 = {clock_hz};\n"
        )
    }
}

/// What a board's build script does: `memory.x` for the linker, `board.rs` for the firmware,
/// and the linker's arguments.
///
/// # Panics
///
/// If `board.toml` cannot be read or the results not written. In a build script, that is an
/// error message.
pub fn generate() {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("run by cargo"));
    let path = folder.join("board.toml");
    let spec = Spec::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let limit = |name| {
        println!("cargo:rerun-if-env-changed={name}");
        env::var(name).ok().map(|bytes| bytes.parse().expect("a number of bytes"))
    };
    let spec = match LIMITS.map(limit) {
        [Some(ram_bytes), Some(arena_bytes)] => spec.limited(ram_bytes, arena_bytes),
        _ => spec,
    };

    // A board is linked for its own target only; built for any other, say by an editor on
    // the host, it should at least say so.
    let target = env::var("TARGET").expect("run by cargo");
    assert_eq!(target, spec.target, "`{}` is built from its own folder, for its target", spec.name);

    fs::write(out.join("memory.x"), spec.memory_x()).expect("OUT_DIR can be written");
    fs::write(out.join("board.rs"), spec.board_rs()).expect("OUT_DIR can be written");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=board.toml");

    if spec.target.starts_with("riscv") {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    if env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
    // Sections need not begin at pages: there are none on a microcontroller.
    println!("cargo:rustc-link-arg-bins=--nmagic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_the_flash_ends_the_firmware() {
        let spec: Spec = toml::from_str(
            r#"
            name = "n"
            description = "d"
            core = "c"
            target = "thumbv7em-none-eabihf"
            clock_hz = 1
            backend = "portable"
            flash = { address = 0x0800_0000, bytes = 1048576 }
            ram = { address = 0x2000_0000, bytes = 131072 }
            slot = { address = 0x0802_0000, bytes = 917504 }
            arena_bytes = 1
            row_bytes = 1
            queued_rows = 1
            profiled_layers = 1
            stack_bytes = 1
            qemu = { binary = "b", args = [] }
            "#,
        )
        .unwrap();
        assert_eq!(spec.firmware(), Region { address: 0x0800_0000, bytes: 0x0002_0000 });
        let beside = Spec { slot: Region { address: 0x2100_0000, bytes: 1 }, ..spec.clone() };
        assert_eq!(beside.firmware(), spec.flash);
    }
}
