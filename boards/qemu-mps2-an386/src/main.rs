//! Firmware for Arm's MPS2 board with FPGA image AN386: Cortex-M4F.
#![no_std]
#![no_main]

use brooklet_parts::mps;
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// The key of those who sign models.
#[cfg(feature = "updates")]
const KEY: [u8; 32] = brooklet_app::updates::key_of_hex(env!("BROOKLET_PUBLIC_KEY"));

static MEMORY: board::Memory = board::Memory::new();

#[entry]
fn main() -> ! {
    let slot = (board::SLOT_ADDRESS, board::SLOT_BYTES);
    #[cfg(feature = "updates")]
    // SAFETY: this board is an MPS2, and its slot the PSRAM's 16 MiB at 0x2100_0000, of which nothing
    // else knows.
    unsafe {
        let ram = MEMORY.take_storage();
        mps::run_from_slots(mps::MPS2, board::ABOUT, board::CLOCK_HZ, slot, &KEY, ram)
    }
    #[cfg(not(feature = "updates"))]
    // SAFETY: this board is an MPS2, and its slot the PSRAM's 16 MiB at 0x2100_0000.
    unsafe {
        mps::run(mps::MPS2, board::ABOUT, board::CLOCK_HZ, slot, MEMORY.take())
    }
}
