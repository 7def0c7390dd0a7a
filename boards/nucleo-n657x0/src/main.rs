//! Firmware for ST's NUCLEO-N657X0-Q: an STM32N657X0, with embassy's HAL.
//!
//! USART 1 is the serial port of the ST-LINK, at 115,200 baud; an interrupt reads received bytes
//! from it. The green LED (PG0) is the status, the blue one (PG8) is on during an inference.
//! SysTick counts cycles. The chip has no flash: everything is in RAM, and is lost without power.
#![no_std]
#![no_main]

use brooklet_app::kept::{Kept, overrun_is};
use brooklet_app::{ANSWER_BYTES, Parts};
use brooklet_parts::{memory, stack, systick::Cycles};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_rtt as _;
use embassy_stm32::bind_interrupts;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::peripherals::USART1;
use embassy_stm32::usart::{BufferedInterruptHandler, BufferedUart, Config, Error};
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

bind_interrupts!(struct Interrupts {
    USART1 => BufferedInterruptHandler<USART1>;
});

static MEMORY: board::Memory = board::Memory::new();
/// The driver sends nothing before it has taken all that it is given, so a whole answer fits.
static SENT: ConstStaticCell<[u8; ANSWER_BYTES]> = ConstStaticCell::new([0; ANSWER_BYTES]);
static RECEIVED: ConstStaticCell<board::Received> =
    ConstStaticCell::new([0; size_of::<board::Received>()]);

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    // The chip's internal 64 MHz.
    let chip = embassy_stm32::init(Default::default());
    let uart = |room: &'static mut [u8]| {
        let (uart, to, from) = (chip.USART1, chip.PE5, chip.PE6);
        BufferedUart::new(uart, from, to, SENT.take(), room, Interrupts, Config::default())
            .unwrap_or_else(|_| unreachable!("a usual rate"))
    };
    let parts = Parts {
        link: Kept::new(RECEIVED.take(), uart, overrun_is(Error::Overrun)),
        counter: Cycles::new(core.SYST),
        busy: Output::new(chip.PG8, Level::Low, Speed::Low),
        status: Output::new(chip.PG0, Level::Low, Speed::Low),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is a part of AXISRAM 2 (RM0486) that the linker does not use, readable at
    // any time. This firmware does not write to it.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
