//! Memories, their contents, and the linker script made from them.

use serde::Deserialize;

use crate::{Espflash, Spec};

/// Number of bytes that an entry of the MMU of Espressif's caches maps.
const MMU_PAGE: u32 = 0x1_0000;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The first address.
    pub address: u32,
    /// Number of bytes.
    pub bytes: u32,
}

impl Region {
    /// Whether this address is in it.
    pub fn contains(&self, address: u32) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.bytes)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

/// RAM for a model whose weights are behind a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsWindow {
    /// Number of bytes for weights that are read.
    pub bytes: u32,
    /// Number of bytes for the part of the file before the weights.
    pub resident_bytes: u32,
}

/// RAM for a second core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondCore {
    /// Number of bytes for the rows that both cores make in a convolution.
    pub room_bytes: u32,
    /// Number of bytes of its stack.
    pub stack_bytes: u32,
}

/// What a memory can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// The arena, at its start.
    Arena,
    /// The stack, after the arena if both are there.
    Stack,
}

/// A memory besides the main RAM, such as a core's TCM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its name in the linker script.
    pub name: String,
    /// The first address.
    pub address: u32,
    /// Number of bytes.
    pub bytes: u32,
    /// What it holds.
    pub holds: Vec<Holds>,
}

impl Memory {
    fn region(&self) -> Region {
        Region { address: self.address, bytes: self.bytes }
    }
}

/// A section that a chip's boot ROM looks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Its name, such as `.boot2`.
    pub name: String,
    /// The section that it follows.
    ///
    /// Without it, the section begins the flash, and has `bytes` bytes.
    pub after: Option<String>,
    /// Number of bytes of flash that are kept for it.
    #[serde(default)]
    pub bytes: u32,
}

impl Section {
    /// Its name as the name of a region or symbol.
    fn symbol(&self) -> String {
        self.name.trim_start_matches('.').to_uppercase()
    }
}

impl Spec {
    /// Whether the memories agree. The error says which do not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let line = self.flash_line;
        if !line.is_power_of_two() || !self.flash_cache.is_multiple_of(line) {
            let cache = self.flash_cache;
            return Err(format!(
                "a flash_cache of {cache} bytes cannot have lines of {line} bytes"
            ));
        }
        for (index, memory) in self.memories.iter().enumerate() {
            let others = self.memories[..index].iter().map(|other| (&*other.name, other.region()));
            let all = others.chain([("ram", self.ram), ("flash", self.flash)]);
            for (name, other) in all {
                if memory.region().overlaps(&other) || memory.name == name {
                    return Err(format!("the memories `{}` and `{name}` overlap", memory.name));
                }
            }
            // Arenas and stacks are aligned to at most 16 bytes.
            if memory.address % 16 != 0 || memory.bytes % 16 != 0 {
                return Err(format!("the memory `{}` is not aligned to 16 bytes", memory.name));
            }
        }
        for what in [Holds::Arena, Holds::Stack] {
            let of: Vec<_> = self.memories.iter().filter(|m| m.holds.contains(&what)).collect();
            let needed = match what {
                Holds::Arena => self.arena_bytes,
                Holds::Stack => self.stack_bytes,
            };
            match of[..] {
                [] => {}
                [memory] if memory.bytes >= needed => {}
                [memory] => {
                    let (name, bytes) = (&memory.name, memory.bytes);
                    return Err(format!("`{name}` has {bytes} bytes, but must hold {needed}"));
                }
                [first, second, ..] => {
                    let names = format!("`{}` and `{}`", first.name, second.name);
                    let what = if what == Holds::Arena { "arena" } else { "stack" };
                    return Err(format!("{names} cannot both hold the {what}"));
                }
            }
        }
        if let Some(espflash) = &self.espflash {
            self.check_espflash(espflash)?;
        }
        for section in &self.sections {
            if section.after.is_some() == (section.bytes > 0) {
                return Err(format!(
                    "the section `{}` must have either `after` or `bytes`",
                    section.name
                ));
            }
        }
        Ok(())
    }

    /// Whether application and slot fit into the flash chip, in whole pages of the cache's MMU.
    fn check_espflash(&self, espflash: &Espflash) -> Result<(), String> {
        let &Espflash { flash_bytes, firmware_offset, slot_offset, .. } = espflash;
        let whole = |offset: u32| offset.is_multiple_of(MMU_PAGE);
        let words = [firmware_offset, slot_offset, self.slot.address, self.slot.bytes];
        if !words.into_iter().all(whole) {
            return Err(format!("firmware and slot do not begin at multiples of {MMU_PAGE} bytes"));
        }
        let firmware = Region { address: firmware_offset, bytes: self.firmware().bytes };
        let slot = Region { address: slot_offset, bytes: self.slot.bytes };
        if firmware_offset < MMU_PAGE || firmware.overlaps(&slot) {
            return Err("firmware, slot and the boot loader overlap in flash".to_owned());
        }
        let end = |region: Region| u64::from(region.address) + u64::from(region.bytes);
        match end(firmware).max(end(slot)) <= flash_bytes.into() {
            true => Ok(()),
            false => Err(format!("firmware and slot do not fit {flash_bytes} bytes of flash")),
        }
    }

    /// The memory besides `ram` that holds this, if there is one.
    pub fn holding(&self, what: Holds) -> Option<&Memory> {
        self.memories.iter().find(|memory| memory.holds.contains(&what))
    }

    /// The linker script with the memories.
    pub fn memory_x(&self) -> String {
        let is_riscv = self.target.starts_with("riscv");
        let mut regions = Vec::new();
        let mut flash = self.firmware();
        let mut sections = String::new();
        for section in &self.sections {
            let (name, symbol) = (&section.name, section.symbol());
            match &section.after {
                None => {
                    let Region { address, .. } = flash;
                    regions.push((symbol.clone(), Region { address, bytes: section.bytes }));
                    flash.address += section.bytes;
                    flash.bytes -= section.bytes;
                    sections += &format!(
                        "SECTIONS {{\n  {name} ORIGIN({symbol}) : {{ KEEP(*({name})); }} > {symbol}\n}} \
                         INSERT BEFORE .text;\n"
                    );
                }
                Some(after) => {
                    sections += &format!(
                        "SECTIONS {{\n  {name} : ALIGN(4) {{ KEEP(*({name})); }} > FLASH\n}} \
                         INSERT AFTER {after};\n_stext = ADDR({name}) + SIZEOF({name});\n"
                    );
                }
            }
        }
        regions.push(("FLASH".to_owned(), flash));
        regions.push(("RAM".to_owned(), self.ram));
        regions.extend(self.memories.iter().map(|memory| (memory.name.clone(), memory.region())));
        let regions: String = regions
            .iter()
            .map(|(name, Region { address, bytes })| {
                format!("  {name} : ORIGIN = {address:#010x}, LENGTH = {bytes}\n")
            })
            .collect();
        let (aliases, stack_end) = if is_riscv {
            (
                "REGION_ALIAS(\"REGION_TEXT\", FLASH);\nREGION_ALIAS(\"REGION_RODATA\", FLASH);\n\
                 REGION_ALIAS(\"REGION_DATA\", RAM);\nREGION_ALIAS(\"REGION_BSS\", RAM);\n\
                 REGION_ALIAS(\"REGION_HEAP\", RAM);\nREGION_ALIAS(\"REGION_STACK\", RAM);\n",
                "__estack",
            )
        } else {
            ("", "_stack_end")
        };
        let stack = self.holding(Holds::Stack).map_or(String::new(), |memory| {
            let name = &memory.name;
            let below = if memory.holds.contains(&Holds::Arena) { self.arena_bytes } else { 0 };
            format!(
                "_stack_start = ORIGIN({name}) + LENGTH({name});\n_stack_end = ORIGIN({name}) + {below};\n"
            )
        });
        let stack_check = stack_check(stack_end, self.stack_bytes);
        format!(
            "/* From board.toml. */\nMEMORY\n{{\n{regions}}}\n{aliases}{stack}{sections}{stack_check}"
        )
    }

    /// What a linker script with its own memory map lacks: the name of the stack's end, and the
    /// check that the stack has room. The board has `less` bytes less RAM than the script assumes.
    pub fn stack_x(&self, less: u32) -> String {
        let check = stack_check("_stack_end", self.stack_bytes + less);
        format!("/* From board.toml. */\n__estack = _stack_end;\n{check}")
    }
}

/// The linker's check that the stack has room.
fn stack_check(end: &str, bytes: u32) -> String {
    format!(
        "ASSERT(_stack_start - {end} >= {bytes}, \
         \"The arena and buffers leave less RAM for the stack than board.toml's stack_bytes.\");\n"
    )
}
