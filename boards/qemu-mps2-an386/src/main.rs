//! Firmware for Arm's MPS2 board with FPGA image AN386: Cortex-M4F.
#![no_std]
#![no_main]

use brooklet_parts::mps;
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// The key of the signers of models.
#[cfg(feature = "updates")]
const KEY: [u8; 32] = brooklet_app::updates::key_of_hex(env!("BROOKLET_PUBLIC_KEY"));

static MEMORY: board::Memory = board::Memory::new();

/// Address and size of the model's slot.
const SLOT: (usize, usize) = (board::SLOT_ADDRESS, board::SLOT_BYTES);

#[cfg(not(any(feature = "mlperf", feature = "updates")))]
#[entry]
fn main() -> ! {
    // SAFETY: this board is an MPS2, and its slot is the PSRAM's 16 MiB at 0x2100_0000.
    unsafe { mps::run(mps::MPS2, board::ABOUT, board::CLOCK_HZ, SLOT, MEMORY.take()) }
}

#[cfg(feature = "updates")]
#[entry]
fn main() -> ! {
    let ram = MEMORY.take_storage();
    // SAFETY: this board is an MPS2, and its slot is the PSRAM's 16 MiB at 0x2100_0000, which
    // nothing else uses.
    unsafe { mps::run_from_slots(mps::MPS2, board::ABOUT, board::CLOCK_HZ, SLOT, &KEY, ram) }
}

#[cfg(all(feature = "mlperf", not(feature = "updates")))]
#[entry]
fn main() -> ! {
    use brooklet_app::mlperf::Benchmark;
    use static_cell::ConstStaticCell;

    /// Room for an image of the largest of MLPerf Tiny's networks: 96 × 96 × 3.
    static IMAGE: ConstStaticCell<[u8; 27_648]> = ConstStaticCell::new([0; 27_648]);

    let benchmark = Benchmark { model: "ic01", clock_hz: board::CLOCK_HZ };
    let (arena, _) = MEMORY.take();
    // SAFETY: this board is an MPS2, and its slot is the PSRAM's 16 MiB at 0x2100_0000.
    unsafe { mps::run_mlperf(mps::MPS2, board::ABOUT, benchmark, SLOT, arena, IMAGE.take()) }
}
