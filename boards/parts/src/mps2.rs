//! What the two MPS2 boards have in common: memory map, UART, LEDs, timer.
//!
//! Arm's application notes 385 and 386 describe the FPGA images. Code starts in the first
//! 4 MiB of memory (ZBT SSRAM 1), which the real board's controller loads at power-on, as
//! QEMU does here; RAM is the other 4 MiB (SSRAM 2 and 3); the 16 MiB of PSRAM hold the
//! model, in place of a flash that these boards have not.

use brooklet_app::{About, Parts};
use vcell::VolatileCell;

use crate::{
    memory::{self, Memory},
    pin::Bit,
    stack,
    systick::Ticks,
    uart::Cmsdk,
};

/// Where UART 0 is.
const UART0: *const Cmsdk = core::ptr::without_provenance(0x4000_4000);

/// Where the FPGA's user LEDs are: bit 0 and bit 1 of a register that reads back.
const LEDS: *const VolatileCell<u32> = core::ptr::without_provenance(0x4002_8000);

/// Runs the application on either board, with the model in the PSRAM: all that `main` does.
/// LED 0 is the status, LED 1 is on during an inference.
///
/// # Safety
///
/// The board is one of the two, and `slot` (address, bytes) lies in its PSRAM.
pub unsafe fn run<const ARENA_BYTES: usize>(
    memory: &'static Memory<ARENA_BYTES>,
    about: About,
    clock_hz: u32,
    (slot_address, slot_bytes): (usize, usize),
) -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    // SAFETY: on both boards this is the address of UART 0 (application notes 385 and 386,
    // memory map), which is always there, aligned, and laid out as `Cmsdk`. All access to
    // it, here and anywhere, is through `VolatileCell`s.
    let uart = unsafe { &*UART0 };
    // SAFETY: likewise the FPGA's system control, whose first register are the LEDs.
    let leds = unsafe { &*LEDS };
    let parts = Parts {
        link: uart.enable(),
        counter: Ticks::new(core.SYST, clock_hz),
        busy: Bit::new(leds, 1),
        status: Bit::new(leds, 0),
        stack_bytes: stack::high_water,
    };
    // SAFETY: PSRAM is there from start to end (the same memory map); a loader fills it before
    // the core starts, and nothing writes to it after.
    let slot = unsafe { memory::slot(slot_address, slot_bytes) };
    memory.run(parts, about, slot)
}
