//! A chip without a board: its core, and the memory that a model may have of it.

use brooklet::kernels::Isa;
use brooklet_firmware::{Region, Spec};

use crate::failure::{Failure, Result, failure};

/// A core by the word of `--chip`.
struct Core {
    word: &'static str,
    name: &'static str,
    kernels: Isa,
}

const CORES: [Core; 11] = [
    Core { word: "cortex-m0", name: "Cortex-M0", kernels: Isa::ARMV6M },
    Core { word: "cortex-m0+", name: "Cortex-M0+", kernels: Isa::ARMV6M },
    Core { word: "cortex-m3", name: "Cortex-M3", kernels: Isa::ARMV7M },
    Core { word: "cortex-m4", name: "Cortex-M4", kernels: Isa::ARMV7EM },
    Core { word: "cortex-m7", name: "Cortex-M7", kernels: Isa::ARMV7EM },
    Core { word: "cortex-m33", name: "Cortex-M33", kernels: Isa::ARMV7EM },
    Core { word: "cortex-m55", name: "Cortex-M55", kernels: Isa::HELIUM },
    Core { word: "cortex-m85", name: "Cortex-M85", kernels: Isa::HELIUM },
    Core { word: "rv32imc", name: "RV32IMC", kernels: Isa::RV32 },
    Core { word: "rv32imac", name: "RV32IMAC", kernels: Isa::RV32 },
    Core { word: "rv32imac+v", name: "RV32IMAC + V", kernels: Isa::RVV },
];

/// Bytes of stack of a chip about which nothing is said: enough for any kernels.
const STACK: u32 = 8_192;

/// Bytes of a line of flash about which nothing is said: what serial flash's caches have.
const LINE: u32 = 8;

/// A chip as the board that it would be, of which a model has this RAM and flash.
pub(super) fn board(chip: &str, ram: Option<u32>, flash: Option<u32>) -> Result<Spec> {
    let known = CORES.iter().find(|core| core.word.eq_ignore_ascii_case(chip));
    let (core, ram, flash) = match known {
        Some(core) => (core, ram, flash),
        None => {
            let (word, has_ram, has_flash) = by_name(chip)?;
            let core = CORES.iter().find(|core| core.word == word).ok_or_else(|| unknown(chip))?;
            (core, ram.or(Some(has_ram)), flash.or(Some(has_flash)))
        }
    };
    let (Some(ram), Some(flash)) = (ram, flash) else {
        return Err(failure!(
            help = "such as --ram 96K --flash 384K: what application, stack and firmware leave of the chip's",
            "--chip {chip}: how much RAM and flash the model may have is not said"
        ));
    };
    Ok(Spec {
        name: chip.to_owned(),
        description: format!("a {} without a board", core.name),
        core: core.name.to_owned(),
        target: core.kernels.target.unwrap_or_default().to_owned(),
        clock_hz: 0,
        backend: core.kernels.name.to_owned(),
        int16: true,
        updates: false,
        only_in_all: false,
        flash: Region { address: 0, bytes: flash },
        ram: Region { address: 0, bytes: ram },
        slot: Region { address: 0, bytes: flash },
        arena_bytes: ram,
        // A row that RAM has no room for has no arena, either.
        row_bytes: ram,
        queued_rows: 1,
        profiled_layers: 0,
        stack_bytes: STACK,
        memories: Vec::new(),
        sections: Vec::new(),
        flash_wait: 0,
        flash_line: LINE,
        flash_cache: 0,
        baud: 0,
        qemu: None,
        emulator: None,
        probe: None,
        uf2: None,
        espflash: None,
    })
}

fn unknown(chip: &str) -> Failure {
    let words: Vec<&str> = CORES.iter().map(|core| core.word).collect();
    let also = if cfg!(feature = "probe") { ", or a chip that probe-rs knows" } else { "" };
    failure!(
        help = format!("name its core: {}{also}", words.join(", ")),
        "--chip {chip}: there is no such core"
    )
}

/// A chip that probe-rs knows: the word of its core, its RAM and its flash.
#[cfg(feature = "probe")]
fn by_name(chip: &str) -> Result<(&'static str, u32, u32)> {
    let known = brooklet_firmware::probe::chip(chip);
    known.ok_or_else(|| unknown(chip))
}

#[cfg(not(feature = "probe"))]
fn by_name(chip: &str) -> Result<(&'static str, u32, u32)> {
    Err(unknown(chip))
}
