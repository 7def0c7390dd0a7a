//! Firmware for the BBC micro:bit: an nRF51822, as QEMU emulates it.
//!
//! Memory is the real chip's, to the byte, 16 KiB of RAM. QEMU's chip needs no clock to be
//! started and no pins to be chosen for its UART; firmware for the silicon would do both, and
//! take its pins, with nrf51-hal. SysTick and the chip's own timers tick at the same 16 MHz.
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

/// Where the UART is.
const UART: *const Nrf51 = core::ptr::without_provenance(0x4000_2000);

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    // SAFETY: the UART is at this address (nRF51 reference manual, instantiation), aligned and
    // laid out as `Nrf51`. All access to it is through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = unconnected(uart.enable(), Ticks::new(core.SYST, board::CLOCK_HZ));
    // SAFETY: the slot is flash (the same manual, memory map), readable at any time; this
    // firmware does not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
