//! Which instructions ran on a board, how often, and in which function: by a plugin of QEMU's
//! (`tools/plugin`).

use std::path::{Path, PathBuf};
use std::process::Command;

use board_build::Spec;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::{FirmwareError, Registry, compile};

/// The register of the timer by which Arm boards count: `SYST_CVR` (Armv7-M Architecture Reference
/// Manual, B3.3.5). Firmware begins a span by clearing it, and ends it by reading it.
const TIMER: u64 = 0xe000_e018;

/// What firmware for RISC-V writes as a span begins, and reads as it ends.
const BEGAN: &str = "brooklet_parts::minstret::BEGAN";

/// A cache in front of flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// All of it, in bytes.
    pub bytes: u32,
    /// Lines of a set.
    pub ways: u32,
    /// Bytes of a line.
    pub line: u32,
}

impl Cache {
    /// As the plugin reads it: in front of a board's flash, and of the slot of models.
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

/// What the plugin shall look at.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Spans begin with a store there, and end with a load.
    mark: u64,
    /// In front of flash.
    cache: Option<String>,
}

impl Marks {
    /// Those of a firmware.
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

/// Where something of that name is.
fn symbol(firmware: &Path, name: &str) -> Result<Option<u64>, FirmwareError> {
    let bytes = file(firmware)?;
    let elf = elf(firmware, &bytes)?;
    let is = |symbol: &object::Symbol<'_, '_>| {
        let mangled = symbol.name().unwrap_or("?");
        let demangled = format!("{:#}", rustc_demangle::demangle(mangled));
        // What was a struct of one number has a suffix of LLVM's.
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
    /// Where it is.
    pub address: u64,
    /// Its bytes.
    pub code: Vec<u8>,
    /// How often it ran.
    pub executed: u64,
    /// How often the next to run was another than that behind it.
    pub left: u64,
    /// The function that it is of, by its number in [`Counts`].
    pub function: Option<usize>,
}

/// What ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By address.
    pub instructions: Vec<Counted>,
    /// Names of functions.
    pub functions: Vec<String>,
    /// Lines of flash, of code and data, that were read and were not in the cache, if there was one.
    pub misses: Option<u64>,
}

/// The plugin, built, for an emulator that takes it.
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

/// Reads what the plugin wrote of a firmware.
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
            // Bit 0 says that it is Thumb code.
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

/// A line of the plugin's.
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

/// The plugin's, which has no test program of its own: what it calls is QEMU's.
#[cfg(test)]
#[path = "../../plugin/src/cache.rs"]
mod cache;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_without_plugins_is_named() {
        let registry = Registry::find().unwrap();
        // It has no help to offer.
        let error = plugin(&registry, "true").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`true` was built without plugins, and instructions are counted by one"
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
