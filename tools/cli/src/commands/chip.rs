//! What a model is planned for: a board, or a chip without one, and the memory that the model may
//! use.

use brooklet::kernels::Isa;
use brooklet_firmware::{Region, Registry, Spec};

use super::bytes;
use crate::failure::{Failure, Result, failure};

/// A board or a chip, with its memory.
#[derive(Debug, clap::Args)]
pub(super) struct Device {
    /// The board to plan for; `brooklet boards` lists them. Default: $BROOKLET_BOARD.
    #[arg(long, group = "device")]
    pub(super) board: Option<String>,
    /// A chip without a board, named by its core, such as cortex-m4 or rv32imac; needs --ram and
    /// --flash. A command built with debug probes also takes the name of a chip, such as
    /// STM32F446RETx.
    #[arg(long, group = "device")]
    pub(super) chip: Option<String>,
    /// RAM for the arena, such as 192K. Default: what the board sets aside for it.
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "device")]
    pub(super) ram: Option<u32>,
    /// Flash for the model file, such as 256K. Default: the board's slot. `quantize` gives layers
    /// weights of fewer bits until the file fits.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(super) flash: Option<u32>,
    /// Cycles that the core waits for a read of flash, for `--optimize speed`. Default: those of
    /// the board's flash, or none.
    #[arg(long, value_name = "CYCLES", requires = "device")]
    pub(super) flash_wait: Option<u32>,
    /// Size of the cache in front of that flash, such as 16K. Default: the board's, or none.
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "device")]
    pub(super) cache: Option<u32>,
}

impl Device {
    /// The board, with the waits and the cache of its flash as the options say.
    fn waiting(&self, mut spec: Spec) -> Spec {
        spec.flash_wait = self.flash_wait.unwrap_or(spec.flash_wait);
        // A cache consists of whole lines.
        let cache = self.cache.map(|bytes| bytes - bytes % spec.flash_line);
        spec.flash_cache = cache.unwrap_or(spec.flash_cache);
        spec
    }

    /// The board, with as much memory as the options say.
    pub(super) fn spec(&self) -> Result<Option<Spec>> {
        if let Some(chip) = &self.chip {
            return board(chip, self.ram, self.flash).map(|spec| Some(self.waiting(spec)));
        }
        // The parser does not read the variable, because it would then conflict with --chip.
        let usual = std::env::var("BROOKLET_BOARD").ok();
        let Some(name) = self.board.as_ref().or(usual.as_ref()) else { return Ok(None) };
        let mut spec = Registry::find()?.board(name)?.clone();
        spec.arena_bytes = self.ram.unwrap_or(spec.arena_bytes);
        spec.slot.bytes = self.flash.unwrap_or(spec.slot.bytes);
        Ok(Some(self.waiting(spec)))
    }
}

/// A core, and its name in `--chip`.
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

/// Stack of a chip that is known by its core only, in bytes: enough for all kernels.
const STACK: u32 = 8_192;

/// Number of bytes in a line of such a chip's flash, as in the caches of serial flash.
const LINE: u32 = 8;

/// A chip, described as a board with this RAM and flash for the model.
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
            help = "such as --ram 96K --flash 384K: the memory that firmware, application and stack leave",
            "--chip {chip}: needs the RAM and flash that the model may use"
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
        // A longer row would not fit the arena either.
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
        "--chip {chip}: is not a known core"
    )
}

/// A chip that probe-rs knows: the name of its core, its RAM and its flash.
#[cfg(feature = "probe")]
fn by_name(chip: &str) -> Result<(&'static str, u32, u32)> {
    let known = brooklet_firmware::probe::chip(chip);
    known.ok_or_else(|| unknown(chip))
}

#[cfg(not(feature = "probe"))]
fn by_name(chip: &str) -> Result<(&'static str, u32, u32)> {
    Err(unknown(chip))
}
