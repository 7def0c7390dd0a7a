//! Firmware for QEMU's RISC-V machine `virt`: RV32IMAC in machine mode.
#![no_std]
#![no_main]

use brooklet_parts::virt;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use riscv_rt::entry;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    let slot = (board::SLOT_ADDRESS, board::SLOT_BYTES);
    // SAFETY: this board is such a machine, and its slot is a part of the DRAM that nothing else
    // uses.
    unsafe { virt::run(board::ABOUT, slot, MEMORY.take()) }
}
