//! What a model is planned for: a board, or a chip without one, and the memory that the model may
//! have of it.

use brooklet::kernels::Isa;
use brooklet_firmware::{Region, Registry, Spec};

use super::bytes;
use crate::failure::{Failure, Result, failure};

/// A board or a chip, with its memory.
#[derive(Debug, clap::Args)]
pub(super) struct Device {
    /// The board that the plan is for; `brooklet boards` lists them. Default: $BROOKLET_BOARD.
    #[arg(long, group = "device")]
    pub(super) board: Option<String>,
    /// A chip without a board, by its core, such as cortex-m4 or rv32imac; with --ram and --flash. A
    /// command with debug probes takes the names of chips, too, such as STM32F446RETx.
    #[arg(long, group = "device")]
    pub(super) chip: Option<String>,
    /// RAM that the arena may have, such as 192K. Default: what the board has for it.
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "device")]
    pub(super) ram: Option<u32>,
    /// Flash that the model file may have, such as 256K. Default: the board's slot. `quantize`
    /// gives weights 4 bits, layer by layer, until it fits.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(super) flash: Option<u32>,
    /// Cycles that the core waits where flash has to be read, for `--optimize speed`. Default: what
    /// the board's flash takes, or none.
    #[arg(long, value_name = "CYCLES", requires = "device")]
    pub(super) flash_wait: Option<u32>,
    /// The cache in front of that flash, such as 16K. Default: the board's, or none.
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "device")]
    pub(super) cache: Option<u32>,
}

impl Device {
    /// The board, with a flash that waits as the options say.
    fn waiting(&self, mut spec: Spec) -> Spec {
        spec.flash_wait = self.flash_wait.unwrap_or(spec.flash_wait);
        // Whole lines.
        let cache = self.cache.map(|bytes| bytes - bytes % spec.flash_line);
        spec.flash_cache = cache.unwrap_or(spec.flash_cache);
        spec
    }

    /// The board, with as much memory as the options say.
    pub(super) fn spec(&self) -> Result<Option<Spec>> {
        if let Some(chip) = &self.chip {
            return board(chip, self.ram, self.flash).map(|spec| Some(self.waiting(spec)));
        }
        // Read here, and not by the parser, where it would be at odds with --chip.
        let usual = std::env::var("BROOKLET_BOARD").ok();
        let Some(name) = self.board.as_ref().or(usual.as_ref()) else { return Ok(None) };
        let mut spec = Registry::find()?.board(name)?.clone();
        spec.arena_bytes = self.ram.unwrap_or(spec.arena_bytes);
        spec.slot.bytes = self.flash.unwrap_or(spec.slot.bytes);
        Ok(Some(self.waiting(spec)))
    }
}

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
fn board(chip: &str, ram: Option<u32>, flash: Option<u32>) -> Result<Spec> {
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
        hot_section: false,
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
        weights_window: None,
        memories: Vec::new(),
        sections: Vec::new(),
        flash_wait: 0,
        flash_line: LINE,
        flash_cache: 0,
        baud: 0,
        qemu: None,
        emulator: None,
        second_core: None,
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
