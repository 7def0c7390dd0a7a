//! The firmware of boards with an Espressif chip, with the chip's HAL. Each board is a package of
//! its own, with this program and its `board.toml`.
#![no_std]
#![no_main]

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
    let parts = brooklet_esp::parts(brooklet_esp::start(), board::BAUD, RING.take());
    // SAFETY: the offset of the slot in flash comes from `board.toml`, and nothing else is at the
    // addresses to which it is mapped. This firmware does not program flash.
    let slot =
        unsafe { brooklet_esp::slot(board::SLOT_OFFSET, board::SLOT_ADDRESS, board::SLOT_BYTES) };
    brooklet_parts::memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
