//! Firmware for the BBC micro:bit: an nRF51822, as QEMU emulates it.
//!
//! Memory is the real chip's, to the byte, with 16 KiB of RAM. In QEMU's chip, no clock has to be
//! started and no pins have to be chosen for its UART. Firmware for the silicon would do both, and
//! get its pins from nrf51-hal. SysTick and the chip's own timers tick at the same 16 MHz.
#![no_std]
#![no_main]

use brooklet_parts::{memory, pin::unconnected, stack, systick::Ticks, uart::Nrf51};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Address of the UART.
const UART: *const Nrf51 = core::ptr::without_provenance(0x4000_2000);

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    // SAFETY: the UART is at this address (nRF51 reference manual, instantiation), aligned and with
    // the layout of `Nrf51`. It is accessed only through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = unconnected(uart.enable(), Ticks::new(core.SYST, board::CLOCK_HZ));
    // SAFETY: the slot is flash (the same manual, memory map), readable at any time. This firmware
    // does not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
