//! Firmware for QEMU's machine `sifive_e`, modelled on the HiFive1: an E31 core, RV32IMAC in
//! machine mode, with 16 KiB of RAM.
//!
//! The emulated UART needs no pins; the GPIO block is not used.
#![no_std]
#![no_main]

use brooklet_parts::{memory, minstret::Retired, pin::unconnected, stack, uart::SiFive};
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use riscv_rt::entry;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Address of UART 0.
const UART: *const SiFive = core::ptr::without_provenance(0x1001_3000);

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    stack::paint();
    // SAFETY: UART 0 is at this address (SiFive FE310-G000 manual, memory map), aligned and with
    // the layout of `SiFive`. It is accessed only through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = unconnected(uart.enable(board::CLOCK_HZ), Retired::new());
    // SAFETY: the slot is SPI flash (the same map), readable at any time. This firmware does not
    // program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
