//! Counts how often each instruction ran on a board, and in which function, with a plugin for QEMU
//! (`tools/plugin`).

use std::path::{Path, PathBuf};
use std::process::Command;

use board_build::Spec;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::{FirmwareError, Registry, compile};

/// The register of the timer with which Arm boards count: `SYST_CVR` (Armv7-M Architecture
/// Reference Manual, B3.3.5). Firmware clears it to begin a span, and reads it to end the span.
const TIMER: u64 = 0xe000_e018;

/// The static that firmware for RISC-V writes to begin a span, and reads to end it.
const BEGAN: &str = "brooklet_parts::minstret::BEGAN";

/// A cache in front of flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its size in bytes.
    pub bytes: u32,
    /// Number of lines in a set.
    pub ways: u32,
    /// Size of a line in bytes.
    pub line: u32,
}

impl Cache {
    /// The plugin's option for this cache, in front of a board's flash and of the slot for models.
    fn option(self, spec: &Spec) -> String {
        let Self { bytes, ways, line } = self;
        let region = |region: board_build::Region| {
            format!(
                ":{:x}-{:x}",
                region.address,
                u64::from(region.address) + u64::from(region.bytes)
            )
        };
        format!("{bytes}:{ways}:{line}{}{}", region(spec.flash), region(spec.slot))
    }
}

/// The plugin's settings.
#[derive(Debug)]
pub(crate) struct Marks {
    /// The address at which a store begins a span, and a load ends it.
    mark: u64,
    /// The option of the cache in front of flash.
    cache: Option<String>,
}

impl Marks {
    /// The settings for a firmware.
    pub(crate) fn of(
        spec: &Spec,
        firmware: &Path,
        cache: Option<Cache>,
    ) -> Result<Self, FirmwareError> {
        let mark = match spec.target.starts_with("riscv") {
            false => TIMER,
            true => symbol(firmware, BEGAN)?.ok_or_else(|| FirmwareError::NoCounts {
                board: spec.name.clone(),
                reason: format!("its firmware has no {BEGAN}"),
            })?,
        };
        Ok(Self { mark, cache: cache.map(|cache| cache.option(spec)) })
    }

    /// The plugin's options.
    pub(crate) fn options(&self) -> String {
        let cache = self.cache.as_ref().map(|cache| format!(",cache={cache}"));
        format!("mark={:#x}{}", self.mark, cache.unwrap_or_default())
    }
}

/// The address of the symbol with this name.
fn symbol(firmware: &Path, name: &str) -> Result<Option<u64>, FirmwareError> {
    let bytes = file(firmware)?;
    let elf = elf(firmware, &bytes)?;
    let is = |symbol: &object::Symbol<'_, '_>| {
        let mangled = symbol.name().unwrap_or("?");
        let demangled = format!("{:#}", rustc_demangle::demangle(mangled));
        // LLVM adds a suffix to a static that was a struct with one number.
        demangled.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    Ok(elf.symbols().find(is).map(|symbol| symbol.address()))
}

fn file(firmware: &Path) -> Result<Vec<u8>, FirmwareError> {
    let path = firmware.to_owned();
    std::fs::read(firmware).map_err(|source| FirmwareError::Read { path, source })
}

fn elf<'f>(firmware: &Path, bytes: &'f [u8]) -> Result<object::File<'f>, FirmwareError> {
    object::File::parse(bytes).map_err(|error| FirmwareError::Elf {
        path: firmware.to_owned(),
        reason: error.to_string(),
    })
}

/// An instruction that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub code: Vec<u8>,
    /// Number of times that it ran.
    pub executed: u64,
    /// Number of times that the next instruction was not the one after it.
    pub left: u64,
    /// The index of its function in [`Counts`].
    pub function: Option<usize>,
}

/// The instructions that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The instructions, sorted by address.
    pub instructions: Vec<Counted>,
    /// Names of functions.
    pub functions: Vec<String>,
    /// Lines of flash, code and data, that were read and not found in the cache, if there was one.
    pub misses: Option<u64>,
}

/// Builds the plugin, if the emulator supports plugins.
pub(crate) fn plugin(registry: &Registry, program: &str) -> Result<PathBuf, FirmwareError> {
    let help = Command::new(program)
        .arg("-help")
        .output()
        .map_err(|source| FirmwareError::Run { program: program.to_owned(), source })?;
    if !String::from_utf8_lossy(&help.stdout).contains("-plugin ") {
        return Err(FirmwareError::NoPlugins { program: program.to_owned() });
    }
    compile::plugin(registry)
}

/// Reads the plugin's output for a firmware.
pub(crate) fn read(path: &Path, firmware: &Path, board: &str) -> Result<Counts, FirmwareError> {
    let fault = |reason: String| FirmwareError::NoCounts { board: board.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    let (text, misses) = match text.trim_end().rsplit_once("misses ") {
        Some((rest, misses)) => (rest, Some(misses)),
        None => (text.as_str(), None),
    };
    let misses = misses
        .map(|misses| misses.parse().map_err(|_| fault(format!("`misses {misses}`"))))
        .transpose()?;
    let mut instructions = text
        .lines()
        .map(|line| instruction(line).ok_or_else(|| fault(format!("`{line}`"))))
        .collect::<Result<Vec<_>, _>>()?;
    if instructions.is_empty() {
        return Err(fault("nothing ran between two readings of the timer".to_owned()));
    }
    let bytes = file(firmware)?;
    let elf = elf(firmware, &bytes)?;
    let mut symbols: Vec<_> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .map(|symbol| {
            // Bit 0 marks Thumb code.
            let start = symbol.address() & !1;
            let name = rustc_demangle::demangle(symbol.name().unwrap_or("?"));
            (start..start + symbol.size(), format!("{name:#}"))
        })
        .collect();
    symbols.sort_by_key(|(range, _)| range.start);
    for instruction in &mut instructions {
        let after = symbols.partition_point(|(range, _)| range.start <= instruction.address);
        let before = after.checked_sub(1);
        instruction.function =
            before.filter(|&index| symbols[index].0.contains(&instruction.address));
    }
    let functions = symbols.into_iter().map(|(_, name)| name).collect();
    Ok(Counts { instructions, functions, misses })
}

/// Parses a line of the plugin's output.
fn instruction(line: &str) -> Option<Counted> {
    let [address, code, executed, left] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let (pairs, rest) = code.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    Some(Counted {
        address: u64::from_str_radix(address, 16).ok()?,
        code: pairs.iter().map(byte).collect::<Option<_>>().filter(|_| rest.is_empty())?,
        executed: executed.parse().ok()?,
        left: left.parse().ok()?,
        function: None,
    })
}

/// The plugin's cache is tested here, as the plugin cannot have a test program: it calls QEMU.
#[cfg(test)]
#[path = "../../plugin/src/cache.rs"]
mod cache;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_without_plugins_is_named() {
        let registry = Registry::find().unwrap();
        // `true` prints no help.
        let error = plugin(&registry, "true").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`true` was built without plugins, but a plugin counts the instructions"
        );
    }

    #[test]
    fn lines_of_the_plugin() {
        let counted = Counted {
            address: 0x1a4,
            code: vec![0x51, 0xf8, 0x04, 0x0b],
            executed: 320,
            left: 1,
            function: None,
        };
        assert_eq!(instruction("1a4 51f8040b 320 1"), Some(counted));
        for bad in ["", "1a4 51f8040b 320", "1a4 51f 320 1", "1a4 51f8 x 1", "1a4 51f8 1 1 1"] {
            assert_eq!(instruction(bad), None, "{bad}");
        }
    }
}
