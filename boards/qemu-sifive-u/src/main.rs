//! Firmware for QEMU's machine `sifive_u`, modelled on the HiFive Unleashed: its first core, in 32
//! bits and machine mode. The model is in the SPI flash, behind a driver that copies its bytes. Its
//! weights go through a window in RAM.
//!
//! The emulated UART needs no pins; the GPIO block is not used.
#![no_std]
#![no_main]

use brooklet::Arena;
use brooklet_app::{Flash, WeightsWindow};
use brooklet_parts::{memory, minstret::Retired, pin::unconnected, spi_flash, stack, uart};
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use riscv_rt::entry;
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Address of UART 0.
const UART: *const uart::SiFive = core::ptr::without_provenance(0x1001_0000);
/// Address of the SPI controller of the flash.
const SPI: *const spi_flash::SiFive = core::ptr::without_provenance(0x1004_0000);

static MEMORY: board::Memory = board::Memory::new();
static WINDOW: ConstStaticCell<Arena<{ board::WINDOW_BYTES }>> = ConstStaticCell::new(Arena::new());
static RESIDENT: ConstStaticCell<Arena<{ board::RESIDENT_BYTES }>> =
    ConstStaticCell::new(Arena::new());

#[entry]
fn main() -> ! {
    stack::paint();
    // SAFETY: UART 0 is at this address (SiFive FU540-C000 manual, memory map), aligned and with
    // the layout of `uart::SiFive`. It is accessed only through `VolatileCell`s.
    let uart = unsafe { &*UART };
    // SAFETY: the same holds for the SPI controller, with the layout of `spi_flash::SiFive`.
    let spi = unsafe { &*SPI };
    let parts = unconnected(uart.enable(board::CLOCK_HZ), Retired::new());
    let flash = Flash::new(spi.flash(3, board::SLOT_BYTES), board::SLOT_ADDRESS as u32);
    let weights = WeightsWindow::new(flash, WINDOW.take());
    memory::run_from_source(parts, board::ABOUT, weights, RESIDENT.take(), MEMORY.take())
}
