//! What the runtime takes of a board's flash.
//!
//! In a firmware the runtime cannot be told apart by symbols: the linker's optimizer inlines
//! it into the application, merges its constants, and shares `memcpy`. So it is measured
//! alone. `boards/no-panic` is a program that does all that a firmware asks of the runtime,
//! and nothing else: check a model, push rows, step, read and rank the results. It is compiled
//! for the board's target with the firmware's profile, kernels and toolchain, unused code is
//! dropped, and its sections are added up: the runtime, the crates it depends on, and what it
//! needs of `core` and of the compiler's support.

use std::path::{Path, PathBuf};

use board_build::Spec;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use crate::{FirmwareError, Registry, Report, compile};

/// Bytes of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Instructions, with the constants between them.
    pub text_bytes: u64,
    /// Read-only data.
    pub rodata_bytes: u64,
    /// Statics, in RAM.
    pub ram_bytes: u64,
    /// Functions, largest first.
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

/// The runtime alone, as compiled for the board, with further features of `boards/no-panic`.
pub fn runtime(
    registry: &Registry,
    spec: &Spec,
    features: &[&str],
    report: Report<'_>,
) -> Result<Sizes, FirmwareError> {
    let features = [&[spec.backend.as_str()], features].concat();
    measure(&compile::runtime(registry, &spec.target, &features, report)?)
}

/// The board's whole firmware: runtime, application, drivers, start-up.
pub fn firmware(
    registry: &Registry,
    spec: &Spec,
    report: Report<'_>,
) -> Result<Sizes, FirmwareError> {
    measure(&compile::firmware(registry, spec, &[], report)?)
}

/// Sections that only name what other sections leave of RAM.
const STACK: [&str; 2] = [".stack", ".heap"];

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
        // Tables for unwinding, which firmware never does, are no part of what is flashed.
        if section.name().is_ok_and(|name| name.starts_with(".eh_")) {
            continue;
        }
        match section.kind() {
            SectionKind::Text => sizes.text_bytes += section.size(),
            SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => {
                sizes.rodata_bytes += section.size();
            }
            SectionKind::Data | SectionKind::UninitializedData
                if !section.name().is_ok_and(|name| STACK.contains(&name)) =>
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
