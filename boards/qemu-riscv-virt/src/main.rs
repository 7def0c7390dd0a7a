//! Firmware for QEMU's RISC-V machine `virt`: RV32IMAC in machine mode.
//!
//! The machine has no GPIO, so its pins lead nowhere.
#![no_std]
#![no_main]

use brooklet::Arena;
use brooklet_app::{Buffers, Parts};
use brooklet_parts::{minstret::Retired, pin::Unconnected, stack, uart::Ns16550};
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use riscv_rt::entry;
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Where the machine's UART is.
const UART: *const Ns16550 = core::ptr::without_provenance(0x1000_0000);

static ARENA: ConstStaticCell<Arena<{ board::ARENA_BYTES }>> = ConstStaticCell::new(Arena::new());
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

#[entry]
fn main() -> ! {
    stack::paint();
    // SAFETY: the UART is at this address (QEMU, hw/riscv/virt.c, memory map) and laid out as
    // `Ns16550`, whose registers are bytes. All access to it is through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = Parts {
        link: uart.enable(),
        counter: Retired::new(),
        busy: Unconnected,
        status: Unconnected,
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is the second bank of the machine's flash (the same map), readable at
    // any time; this firmware does not program flash, so nothing writes to it while it runs.
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
