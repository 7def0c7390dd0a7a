//! Firmware for QEMU's RISC-V machine `virt`: RV32IMAC in machine mode.
//!
//! The machine has no GPIO, so its pins lead nowhere.
#![no_std]
#![no_main]

use brooklet_parts::{memory, minstret::Retired, pin::unconnected, stack, uart::Ns16550};
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use riscv_rt::entry;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Where the machine's UART is.
const UART: *const Ns16550 = core::ptr::without_provenance(0x1000_0000);

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    stack::paint();
    // SAFETY: the UART is at this address (QEMU, hw/riscv/virt.c, memory map) and laid out as
    // `Ns16550`, whose registers are bytes. All access to it is through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = unconnected(uart.enable(), Retired::new());
    // SAFETY: the slot is DRAM (the same map) behind what the linker gives to this firmware, so
    // nothing writes to it; a loader fills it before the core starts.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
