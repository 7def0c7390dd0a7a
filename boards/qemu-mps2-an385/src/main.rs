//! Firmware for Arm's MPS2 board with FPGA image AN385: Cortex-M3.
#![no_std]
#![no_main]

use brooklet::Arena;
use brooklet_app::Buffers;
use brooklet_parts::{mps2, stack};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

static ARENA: ConstStaticCell<Arena<{ board::ARENA_BYTES }>> = ConstStaticCell::new(Arena::new());
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let parts = mps2::start(core, board::CLOCK_HZ);
    // SAFETY: the slot is PSRAM, which is there from start to end (application note, memory
    // map); a loader fills it before the core starts, and nothing writes to it after.
    let slot = unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance(board::SLOT_ADDRESS),
            board::SLOT_BYTES,
        )
    };
    let (Ok(never) | Err(never)) =
        brooklet_app::run(parts, board::ABOUT, slot, ARENA.take(), BUFFERS.take());
    match never {}
}
