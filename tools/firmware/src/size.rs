//! Measures the flash that the runtime takes on a board.
//!
//! Within a firmware the runtime cannot be told apart by symbols: the linker's optimizer inlines it
//! into the application, merges its constants, and shares `memcpy`. So it is measured alone.
//! `boards/no-panic` is a program that does all that a firmware asks of the runtime, and nothing
//! else: it checks a model, pushes rows, steps, and reads and ranks the results. It is compiled for
//! the board's target with the firmware's profile, kernels and toolchain. Unused code is dropped,
//! and the sections are added up: the runtime, its dependencies, and the parts of `core` and of the
//! compiler's support that it needs.

use std::path::{Path, PathBuf};

use board_build::{Holds, Memory, Region, Spec};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use crate::flash_image::FlashImage;
use crate::{FirmwareError, Registry, Report, compile};

/// Sizes of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Instructions, with the constants between them.
    pub text_bytes: u64,
    /// Size of read-only data.
    pub rodata_bytes: u64,
    /// Size of statics, in RAM.
    pub ram_bytes: u64,
    /// Functions, the largest first.
    pub functions: Vec<Function>,
}

/// A function in flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its path.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Size of the runtime alone, compiled for the board, with further features of `boards/no-panic`.
pub fn runtime(
    registry: &Registry,
    spec: &Spec,
    features: &[&str],
    report: Report<'_>,
) -> Result<Sizes, FirmwareError> {
    let features = [&[spec.backend.as_str()], features].concat();
    measure(&compile::runtime(registry, &spec.target, &features, report)?)
}

/// Size of the board's whole firmware: runtime, application, drivers, start-up code.
pub fn firmware(
    registry: &Registry,
    spec: &Spec,
    report: Report<'_>,
) -> Result<Sizes, FirmwareError> {
    let path = compile::firmware(registry, spec, &[], report)?;
    for section in &spec.sections {
        has_section(spec, &path, &section.name)?;
    }
    if spec.uf2.as_ref().is_some_and(|uf2| RP2350.contains(&uf2.family)) {
        has_image_definition(spec, &path)?;
    }
    if let Some(memory) = spec.holding(Holds::Stack) {
        stack_is_in(memory, &path)?;
    }
    if spec.hot_section {
        kernels_are_in(&spec.ram, &path)?;
    }
    measure(&path)
}

/// A part of the path of each kernel in assembly, which nothing else has.
const KERNELS: [&str; 2] = ["::blocks", "::transform_tiles"];

/// Checks that kernels are in RAM, since a linker may expect another name of the section.
fn kernels_are_in(ram: &Region, path: &Path) -> Result<(), FirmwareError> {
    let fault = |reason: String| FirmwareError::Elf { path: path.to_owned(), reason };
    let bytes = std::fs::read(path)
        .map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    let elf = object::File::parse(bytes.as_slice()).map_err(|error| fault(error.to_string()))?;
    for kernel in KERNELS {
        let mut there = elf.symbols().filter_map(|symbol| {
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
            (name.contains("::kernels::") && name.ends_with(kernel)).then(|| symbol.address())
        });
        let address = there.next().ok_or_else(|| fault(format!("it has no kernel {kernel}")))?;
        if !u32::try_from(address).is_ok_and(|address| ram.contains(address)) {
            return Err(fault(format!("the kernel {kernel} is at {address:#x}, not in RAM")));
        }
    }
    Ok(())
}

/// Checks that the stack is in the memory that is meant for it.
fn stack_is_in(memory: &Memory, path: &Path) -> Result<(), FirmwareError> {
    let fault = |reason: String| FirmwareError::Elf { path: path.to_owned(), reason };
    let bytes = std::fs::read(path)
        .map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    let elf = object::File::parse(bytes.as_slice()).map_err(|error| fault(error.to_string()))?;
    let top = elf.symbols().find(|symbol| symbol.name() == Ok("_stack_start"));
    let top = top.map_or(0, |symbol| symbol.address());
    match top == u64::from(memory.address) + u64::from(memory.bytes) {
        true => Ok(()),
        false => Err(fault(format!("the stack begins at {top:#x}, not in `{}`", memory.name))),
    }
}

/// Size of the start of flash in which boot ROMs look for their sections, in bytes.
const BOOT_ROM_LOOKS: u64 = 4096;

/// The families of UF2 files whose firmware the RP2350's boot ROM takes: Arm, RISC-V.
const RP2350: [u32; 2] = [0xe48b_ff59, 0xe48b_ff5a];

/// Checks that the RP2350's boot ROM finds a block that tells it what to run, and on which of its
/// cores: its markers and its first item, IMAGE_TYPE (RP2350 datasheet, sections 5.1 and 5.9).
fn has_image_definition(spec: &Spec, path: &Path) -> Result<(), FirmwareError> {
    const START: u32 = 0xffff_ded3;
    const END: u32 = 0xab12_3579;
    const CPU: u32 = 0x0700_0000;
    let fault = |reason: &str| FirmwareError::Elf { path: path.to_owned(), reason: reason.into() };
    let image = FlashImage::new(spec, path, None)?;
    let looks = spec.flash.address..spec.flash.address + BOOT_ROM_LOOKS as u32;
    let pages = image.pages().into_iter().filter(|(address, _)| looks.contains(address));
    let bytes: Vec<u8> = pages.flat_map(|(_, page)| page).collect();
    let words: Vec<u32> =
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let block = words.iter().position(|word| *word == START).and_then(|at| words.get(at..at + 5));
    let Some(&[_, what, _, _, END]) = block else {
        return Err(fault("it has no block for the boot ROM in its first 4 KiB"));
    };
    let wanted = if spec.target.starts_with("riscv") { 0x0100_0000 } else { 0 };
    match what & CPU == wanted {
        true => Ok(()),
        false => Err(fault("its block for the boot ROM names other cores")),
    }
}

/// Checks that a section for the boot ROM exists, since a linker may drop it as unused.
fn has_section(spec: &Spec, path: &Path, name: &str) -> Result<(), FirmwareError> {
    let fault = |reason: String| FirmwareError::Elf { path: path.to_owned(), reason };
    let bytes = std::fs::read(path)
        .map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    let elf = object::File::parse(bytes.as_slice()).map_err(|error| fault(error.to_string()))?;
    let section = elf.section_by_name(name).filter(|section| section.size() > 0);
    let section = section.ok_or_else(|| fault(format!("it has nothing in the section {name}")))?;
    let end = section.address() + section.size();
    let flash = u64::from(spec.flash.address);
    match (flash..=flash + BOOT_ROM_LOOKS).contains(&end) {
        true => Ok(()),
        false => Err(fault(format!("{name} is not where the boot ROM looks: it ends at {end:#x}"))),
    }
}

/// Sections that only name RAM that other sections leave free, or addresses at which flash is not
/// mapped.
const NOT_TAKEN: [&str; 4] = [".stack", ".heap", ".text_gap", ".rotext_dummy"];

/// Adds up the sections of an ELF file.
fn measure(path: &Path) -> Result<Sizes, FirmwareError> {
    let bytes = std::fs::read(path)
        .map_err(|source| FirmwareError::Read { path: path.to_owned(), source })?;
    let elf = object::File::parse(bytes.as_slice()).map_err(|error| FirmwareError::Elf {
        path: PathBuf::from(path),
        reason: error.to_string(),
    })?;
    let mut sizes = Sizes::default();
    for section in elf.sections() {
        // Tables for unwinding are not flashed, as firmware never unwinds.
        if section.name().is_ok_and(|name| name.starts_with(".eh_")) {
            continue;
        }
        match section.kind() {
            SectionKind::Text => sizes.text_bytes += section.size(),
            SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => {
                sizes.rodata_bytes += section.size();
            }
            SectionKind::Data | SectionKind::UninitializedData
                if !section.name().is_ok_and(|name| NOT_TAKEN.contains(&name)) =>
            {
                sizes.ram_bytes += section.size();
            }
            _ => {} // debug information, which is not loaded
        }
    }
    sizes.functions = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .map(|symbol| Function {
            name: format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?"))),
            bytes: symbol.size(),
        })
        .collect();
    sizes.functions.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    // An alias is another name for the same bytes.
    sizes.functions.dedup();
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A boot ROM finds its section only at the start of flash.
    #[test]
    fn sections_of_boot_roms_are_looked_for() {
        let registry = Registry::find().unwrap();
        let spec = registry.board("rpi-pico").unwrap();
        let firmware = compile::firmware(&registry, spec, &[], &mut |_| {}).unwrap();
        has_section(spec, &firmware, ".boot2").unwrap();
        let reason = |name| has_section(spec, &firmware, name).unwrap_err().to_string();
        assert!(reason(".start_block").contains("nothing in the section .start_block"));
        assert!(reason(".rodata").contains("not where the boot ROM looks"));
        let error = has_image_definition(spec, &firmware).unwrap_err().to_string();
        assert!(error.contains("no block for the boot ROM"), "{error}");
        let ram = |address, bytes| {
            let name = "RAM".to_owned();
            stack_is_in(&Memory { name, address, bytes, holds: Vec::new() }, &firmware)
        };
        ram(spec.ram.address, spec.ram.bytes).unwrap();
        kernels_are_in(&spec.ram, &firmware).unwrap();
        let error = kernels_are_in(&spec.flash, &firmware).unwrap_err().to_string();
        assert!(error.contains("not in RAM"), "{error}");
        let error = ram(0x2004_0000, 4_096).unwrap_err().to_string();
        assert!(error.contains("not in `RAM`"), "{error}");
    }
}
