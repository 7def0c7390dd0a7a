//! Firmware for the Netduino Plus 2: an STM32F405RG, as QEMU emulates it.
//!
//! Memory is the real chip's, to the byte. QEMU's chip has no clock tree and no pins: it runs at
//! 168 MHz from reset, its USART needs no pin functions, and it has no GPIO. Firmware for the
//! silicon would set up clocks and pin functions, and get its pins from stm32f4xx-hal.
#![no_std]
#![no_main]

use brooklet_parts::{memory, pin::unconnected, stack, systick::Ticks, uart::Stm32f4};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Address of USART 1.
const USART1: *const Stm32f4 = core::ptr::without_provenance(0x4001_1000);

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    // SAFETY: USART 1 is at this address (reference manual RM0090, memory map), aligned and with
    // the layout of `Stm32f4`. It is accessed only through `VolatileCell`s.
    let usart = unsafe { &*USART1 };
    // USART 1 is on APB2, at half the core's clock.
    let parts =
        unconnected(usart.enable(board::CLOCK_HZ / 2), Ticks::new(core.SYST, board::CLOCK_HZ));
    // SAFETY: the slot is flash (RM0090, sectors 5 to 11), readable at any time. This firmware does
    // not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
