//! Firmware for Arm's MPS2 board with FPGA image AN505: Cortex-M33.
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

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    let slot = (board::SLOT_ADDRESS, board::SLOT_BYTES);
    // SAFETY: this board is an MPS2 with AN505, and its slot is the PSRAM's 16 MiB at 0x8000_0000.
    unsafe { mps::run(mps::AN505, board::ABOUT, board::CLOCK_HZ, slot, MEMORY.take()) }
}
