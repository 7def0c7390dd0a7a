//! Firmware for Arm's MPS3 board with FPGA image AN547: Cortex-M55.
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
    // SAFETY: this board is an MPS3 with AN547, and its slot is the first 64 MiB of its DDR at
    // 0x6000_0000, which no other part of this firmware uses.
    unsafe { mps::run(mps::AN547, board::ABOUT, board::CLOCK_HZ, slot, MEMORY.take()) }
}
