//! Firmware for Nordic's nRF54L15-DK, with embassy's HAL.
//!
//! UARTE 20 is the second serial port of the board's debugger, at 115,200 baud, with DMA. LED 0 is
//! the status, LED 1 is on during an inference. SysTick counts cycles.
#![no_std]
#![no_main]

use brooklet_app::Parts;
use brooklet_app::kept::{Kept, Waiting};
use brooklet_app::line::Bad;
use brooklet_parts::{memory, stack, systick::Cycles};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_rtt as _;
use embassy_nrf::bind_interrupts;
use embassy_nrf::buffered_uarte::{BufferedUarte, Error, InterruptHandler};
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::peripherals::SERIAL20;
use embassy_nrf::uarte::Config;
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

bind_interrupts!(struct Interrupts {
    SERIAL20 => InterruptHandler<SERIAL20>;
});

static MEMORY: board::Memory = board::Memory::new();
static SENT: ConstStaticCell<[u8; 64]> = ConstStaticCell::new([0; 64]);
static RECEIVED: ConstStaticCell<board::Received> =
    ConstStaticCell::new([0; size_of::<board::Received>()]);

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let chip = embassy_nrf::init(Default::default());
    let uart = |room: &'static mut [u8]| {
        Waiting(BufferedUarte::new(
            chip.SERIAL20,
            chip.P1_05,
            chip.P1_04,
            Interrupts,
            Config::default(),
            room,
            SENT.take(),
        ))
    };
    let parts = Parts {
        // The driver reports no other errors.
        link: Kept::new(RECEIVED.take(), uart, |_: &Error| Bad::Overrun),
        counter: Cycles::new(core.SYST),
        busy: Output::new(chip.P1_10, Level::Low, OutputDrive::Standard),
        status: Output::new(chip.P2_09, Level::Low, OutputDrive::Standard),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is RRAM, readable at any time. This firmware does not program it, so nothing
    // writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
