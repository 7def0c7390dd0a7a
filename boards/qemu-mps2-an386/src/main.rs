//! Firmware for Arm's MPS2 board with FPGA image AN386: Cortex-M4F.
#![no_std]
#![no_main]

use brooklet_parts::{memory::Memory, mps2};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

static MEMORY: Memory<{ board::ARENA_BYTES }> = Memory::new();

#[entry]
fn main() -> ! {
    let slot = (board::SLOT_ADDRESS, board::SLOT_BYTES);
    // SAFETY: this board is one of the two, and its slot the PSRAM's 16 MiB at 0x2100_0000.
    unsafe { mps2::run(&MEMORY, board::ABOUT, board::CLOCK_HZ, slot) }
}
