//! Firmware for ST's NUCLEO-F446RE: an STM32F446RE, with embassy's HAL.
//!
//! USART 2 is the serial port of the ST-LINK, at 115,200 baud; an interrupt reads received bytes
//! from it. LD2 (PA5) is the status, D2 (PA10) is high during an inference. SysTick counts cycles.
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
use embassy_stm32::peripherals::USART2;
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Pll, PllMul, PllPDiv, PllPreDiv, PllSource, Sysclk,
};
use embassy_stm32::usart::{BufferedInterruptHandler, BufferedUart, Config, Error};
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

bind_interrupts!(struct Interrupts {
    USART2 => BufferedInterruptHandler<USART2>;
});

static MEMORY: board::Memory = board::Memory::new();
/// The driver sends nothing before it has taken all that it is given, so a whole answer fits.
static SENT: ConstStaticCell<[u8; ANSWER_BYTES]> = ConstStaticCell::new([0; ANSWER_BYTES]);
static RECEIVED: ConstStaticCell<board::Received> =
    ConstStaticCell::new([0; size_of::<board::Received>()]);

/// 180 MHz from the chip's internal 16 MHz; half of it for the fast peripherals, a quarter for the
/// slow ones.
fn clocks() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    config.rcc.hsi = true;
    config.rcc.pll_src = PllSource::HSI;
    config.rcc.pll = Some(Pll {
        prediv: PllPreDiv::DIV8,
        mul: PllMul::MUL180,
        divp: Some(PllPDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV1;
    config.rcc.apb1_pre = APBPrescaler::DIV4;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config
}

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let chip = embassy_stm32::init(clocks());
    let uart = |room: &'static mut [u8]| {
        let (uart, to, from) = (chip.USART2, chip.PA2, chip.PA3);
        BufferedUart::new(uart, from, to, SENT.take(), room, Interrupts, Config::default())
            .unwrap_or_else(|_| unreachable!("a usual rate"))
    };
    let parts = Parts {
        link: Kept::new(RECEIVED.take(), uart, overrun_is(Error::Overrun)),
        counter: Cycles::new(core.SYST),
        busy: Output::new(chip.PA10, Level::Low, Speed::Low),
        status: Output::new(chip.PA5, Level::Low, Speed::Low),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is flash (RM0390, sectors 5 to 7), readable at any time. This firmware does
    // not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
