//! Firmware for boards with an ESP32-C3, with the chip's HAL.
//!
//! UART 0 is on GPIO21 (to the host) and GPIO20 (from it), at 115,200 baud, for the adapter of
//! Espressif's boards. GPIO7 is high if the model can run, GPIO10 during an inference.
#![no_std]
#![no_main]

use brooklet_esp::{Outputs, Wires};
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

// The descriptor that the boot loader looks for at the start of the application.
esp_bootloader_esp_idf::esp_app_desc!();

static MEMORY: board::Memory = board::Memory::new();
static RING: ConstStaticCell<board::Ring> = ConstStaticCell::new(board::Ring::new());

#[esp_hal::main]
fn main() -> ! {
    let chip = brooklet_esp::start();
    let outputs = Outputs { busy: chip.GPIO10.into(), status: chip.GPIO7.into() };
    let wires = Wires { to_host: chip.GPIO21.into(), from_host: chip.GPIO20.into() };
    let parts = brooklet_esp::parts(chip.UART0, wires, outputs, board::BAUD, RING.take());
    // SAFETY: the offset of the slot in flash comes from `board.toml`, and nothing else is at the
    // addresses to which it is mapped. This firmware does not program flash.
    let slot =
        unsafe { brooklet_esp::slot(board::SLOT_OFFSET, board::SLOT_ADDRESS, board::SLOT_BYTES) };
    brooklet_parts::memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
