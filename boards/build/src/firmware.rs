//! What a board's build script makes from its `board.toml`.

use std::path::PathBuf;
use std::{env, fs};

use crate::{Holds, LIMITS, Region, SecondCore, Spec, WeightsWindow};

/// Number of bytes of stack that firmware with the feature `updates` takes, when it checks a
/// signature: 10.5 KB on a Cortex-M0+, and some for interrupts.
const UPDATES_STACK: u32 = 12_288;

impl Spec {
    /// The firmware's constants.
    fn board_rs(&self) -> String {
        let Self { name, core, backend, slot, clock_hz, baud, .. } = self;
        let Self { arena_bytes, row_bytes, queued_rows, profiled_layers, .. } = self;
        let Region { address, bytes } = slot;
        // An arena in a memory of its own is not a static, because the linker would store it in the
        // file.
        let (arena, arena_bytes) = match self.holding(Holds::Arena) {
            Some(memory) => (
                format!(
                    "/// Address of the arena.\npub(crate) const ARENA_ADDRESS: usize = {:#010x};\n\
                     /// Number of bytes of the arena.\npub(crate) const ARENA_BYTES: usize = {arena_bytes};\n",
                    memory.address
                ),
                &0,
            ),
            None => (String::new(), arena_bytes),
        };
        // The queue's last entry stays free, to distinguish full from empty.
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
        // Asserts that it agrees with `Cargo.toml`.
        let int16 = format!(
            "const _: () = assert!({}brooklet_app::INT16, \
             \"board.toml and Cargo.toml differ in int16\");\n",
            if self.int16 { "" } else { "!" }
        );
        let hot = format!(
            "const _: () = assert!({}brooklet_app::HOT_SECTION, \
             \"board.toml and Cargo.toml differ in hot_section\");\n",
            if self.hot_section { "" } else { "!" }
        );
        let window = self.weights_window.map_or(String::new(), |window| {
            let WeightsWindow { bytes, resident_bytes } = window;
            format!(
                "/// Number of bytes of the window.\npub(crate) const WINDOW_BYTES: usize = {bytes};\n\
                 /// Number of bytes before the weights.\n\
                 pub(crate) const RESIDENT_BYTES: usize = {resident_bytes};\n"
            )
        });
        let mapped = self.espflash.as_ref().map_or(String::new(), |espflash| {
            format!(
                "/// Offset of the slot in the flash chip.\npub(crate) const SLOT_OFFSET: usize = {:#x};\n",
                espflash.slot_offset
            )
        });
        let second = self.second_core.map_or(String::new(), |core| {
            let SecondCore { room_bytes, stack_bytes } = core;
            format!(
                "/// Room for the rows of both cores.\n#[allow(dead_code)]\n\
                 pub(crate) type Room = brooklet_parts::memory::Room<{room_bytes}>;\n\
                 /// Bytes of the second core's stack.\n#[allow(dead_code)]\n\
                 pub(crate) const SECOND_STACK_BYTES: usize = {stack_bytes};\n"
            )
        });
        format!(
            "{int16}{hot}{arena}{window}{mapped}{second}/// What the board is.\n\
             pub(crate) const ABOUT: brooklet_app::About<{kernels}> = brooklet_app::About {{\n\
             board: {name:?}, core: {core:?}, kernels: {value},\n\
             firmware: env!(\"CARGO_PKG_VERSION\"),\n}};\n\
             /// Address of the model's slot.\npub(crate) const SLOT_ADDRESS: usize = {address:#010x};\n\
             /// Number of bytes of the slot.\npub(crate) const SLOT_BYTES: usize = {bytes};\n\
             /// Arena and buffers.\npub(crate) type Memory = brooklet_parts::memory::Memory<\n\
             {arena_bytes}, {row_bytes}, {{ brooklet_app::request_bytes({row_bytes}) }},\n\
             {queue_bytes}, {profiled_layers},\n>;\n\
             /// Keeps received bytes while the network computes.\n#[allow(dead_code)]\npub(crate) type Ring =\n\
             brooklet_app::line::Ring<{{ brooklet_app::line_bytes({row_bytes}) + 1 }}>;\n\
             /// The same for a chip's crate with its own ring; an even number of bytes.\n\
             #[allow(dead_code)]\npub(crate) type Received =\n\
             [u8; (brooklet_app::line_bytes({row_bytes}) + 1).next_multiple_of(2)];\n\
             /// Clock frequency of the core.\n#[allow(dead_code)]\npub(crate) const CLOCK_HZ: u32 = {clock_hz};\n\
             /// Bits per second on the line to the host.\n#[allow(dead_code)]\npub(crate) const BAUD: u32 = {baud};\n"
        )
    }
}

/// The task of a board's build script: it writes `memory.x` for the linker and `board.rs` for the
/// firmware, and sets the linker's arguments.
///
/// # Panics
///
/// If `board.toml` cannot be read, or the results cannot be written. In a build script, this is an
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
    let ram_bytes = spec.ram.bytes;
    let spec = match LIMITS.map(limit) {
        [Some(ram_bytes), Some(arena_bytes)] => spec.limited(ram_bytes, arena_bytes),
        _ => spec,
    };
    let least = if env::var_os("CARGO_FEATURE_UPDATES").is_some() { UPDATES_STACK } else { 0 };
    let spec = Spec { stack_bytes: spec.stack_bytes.max(least), ..spec };

    // A board is linked only for its own target. Built for another target, for example by an editor
    // on the host, it should at least say so.
    let target = env::var("TARGET").expect("run by cargo");
    assert_eq!(target, spec.target, "`{}` is built from its own folder, for its target", spec.name);

    // The HAL of Espressif's chips has a linker script of its own, which includes a `memory.x`.
    // This script therefore has another name.
    let (memory, name, script) = match &spec.espflash {
        Some(_) => (spec.stack_x(ram_bytes - spec.ram.bytes), "stack-check.x", "linkall.x"),
        None => (spec.memory_x(), "memory.x", "link.x"),
    };
    fs::write(out.join(name), memory).expect("OUT_DIR can be written");
    fs::write(out.join("board.rs"), spec.board_rs()).expect("OUT_DIR can be written");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=board.toml");

    if spec.target.starts_with("riscv") {
        println!("cargo:rustc-link-arg-bins=-T{name}");
    }
    println!("cargo:rustc-link-arg-bins=-T{script}");
    if env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
    // Sections need not begin at pages, because a microcontroller has none.
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
