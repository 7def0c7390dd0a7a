//! Firmware for ST's NUCLEO-U575ZI-Q: an STM32U575ZI, with embassy's HAL.
//!
//! USART 1 is the serial port of the ST-LINK, at 115,200 baud; an interrupt reads received bytes
//! from it. LD1 (PC7) is the status, LD2 (PB7) is on during an inference. SysTick counts cycles.
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
use embassy_stm32::rcc::{Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale};
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

/// 160 MHz from the chip's internal 16 MHz.
fn clocks() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    config.rcc.hsi = true;
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV1,
        mul: PllMul::MUL10,
        divp: None,
        divq: None,
        divr: Some(PllDiv::DIV1),
    });
    config.rcc.sys = Sysclk::PLL1_R;
    config.rcc.voltage_range = VoltageScale::RANGE1;
    config
}

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let chip = embassy_stm32::init(clocks());
    let uart = |room: &'static mut [u8]| {
        let (uart, to, from) = (chip.USART1, chip.PA9, chip.PA10);
        BufferedUart::new(uart, from, to, SENT.take(), room, Interrupts, Config::default())
            .unwrap_or_else(|_| unreachable!("a usual rate"))
    };
    let parts = Parts {
        link: Kept::new(RECEIVED.take(), uart, overrun_is(Error::Overrun)),
        counter: Cycles::new(core.SYST),
        busy: Output::new(chip.PB7, Level::Low, Speed::Low),
        status: Output::new(chip.PC7, Level::Low, Speed::Low),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is flash (RM0456, its second bank), readable at any time. This firmware does
    // not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
