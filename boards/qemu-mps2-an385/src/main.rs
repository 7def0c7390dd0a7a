//! Firmware for Arm's MPS2 board with FPGA image AN385: Cortex-M3.
#![no_std]
#![no_main]

use brooklet_parts::{memory, memory::Memory, mps2, stack};
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
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let parts = mps2::start(core, board::CLOCK_HZ);
    // SAFETY: the slot is PSRAM, which is there from start to end (application note, memory
    // map); a loader fills it before the core starts, and nothing writes to it after.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    MEMORY.run(parts, board::ABOUT, slot)
}
