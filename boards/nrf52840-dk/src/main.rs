//! Firmware for Nordic's nRF52840-DK, with embassy's HAL.
//!
//! UARTE 0 is the serial port of the board's debugger, at 115,200 baud, with DMA: timer 1 and two
//! channels of PPI count received bytes. LED 1 is the status, LED 2 is on during an inference; both
//! are on when their pins are low. SysTick counts cycles.
#![no_std]
#![no_main]

use brooklet_app::Parts;
use brooklet_app::kept::{Kept, Waiting};
use brooklet_app::line::Bad;
use brooklet_parts::{memory, pin::Inverted, stack, systick::Cycles};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_rtt as _;
use embassy_nrf::bind_interrupts;
use embassy_nrf::buffered_uarte::{BufferedUarte, Error, InterruptHandler};
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::peripherals::UARTE0;
use embassy_nrf::uarte::Config;
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

bind_interrupts!(struct Interrupts {
    UARTE0 => InterruptHandler<UARTE0>;
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
            chip.UARTE0,
            chip.TIMER1,
            chip.PPI_CH0,
            chip.PPI_CH1,
            chip.PPI_GROUP0,
            chip.P0_08,
            chip.P0_06,
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
        busy: Inverted(Output::new(chip.P0_14, Level::High, OutputDrive::Standard)),
        status: Inverted(Output::new(chip.P0_13, Level::High, OutputDrive::Standard)),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is flash, readable at any time. This firmware does not program flash, so
    // nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
