//! Firmware for ST's NUCLEO-H743ZI: an STM32H743ZI, with embassy's HAL.
//!
//! USART 3 is the serial port of the ST-LINK, at 115,200 baud; an interrupt reads received bytes
//! from it. Arena and stack are in the core's own memory (DTCM). LD1 (PB0) is the status, LD3
//! (PB14) is on during an inference. SysTick counts cycles.
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
use embassy_stm32::peripherals::USART3;
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, HSIPrescaler, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk,
    VoltageScale,
};
use embassy_stm32::usart::{BufferedInterruptHandler, BufferedUart, Config, Error};
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

bind_interrupts!(struct Interrupts {
    USART3 => BufferedInterruptHandler<USART3>;
});

static MEMORY: board::Memory = board::Memory::new();
/// The driver sends nothing before it has taken all that it is given, so a whole answer fits.
static SENT: ConstStaticCell<[u8; ANSWER_BYTES]> = ConstStaticCell::new([0; ANSWER_BYTES]);
static RECEIVED: ConstStaticCell<board::Received> =
    ConstStaticCell::new([0; size_of::<board::Received>()]);

/// 400 MHz from the chip's internal 64 MHz; buses at a half and a quarter of it.
fn clocks() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    config.rcc.hsi = Some(HSIPrescaler::DIV1);
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL50,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config.rcc.voltage_scale = VoltageScale::Scale1;
    config
}

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(mut core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let chip = embassy_stm32::init(clocks());
    // Code and weights are in flash.
    core.SCB.enable_icache();
    let uart = |room: &'static mut [u8]| {
        let (uart, to, from) = (chip.USART3, chip.PD8, chip.PD9);
        BufferedUart::new(uart, from, to, SENT.take(), room, Interrupts, Config::default())
            .unwrap_or_else(|_| unreachable!("a usual rate"))
    };
    let parts = Parts {
        link: Kept::new(RECEIVED.take(), uart, overrun_is(Error::Overrun)),
        counter: Cycles::new(core.SYST),
        busy: Output::new(chip.PB14, Level::Low, Speed::Low),
        status: Output::new(chip.PB0, Level::Low, Speed::Low),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is flash (RM0433, from sector 2 on), readable at any time. This firmware
    // does not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    let (_, buffers) = MEMORY.take();
    // SAFETY: by the linker script made from `board.toml`, nothing else uses the beginning of the
    // DTCM: the stack ends after it. `main` runs once, and nothing else calls this.
    let arena = unsafe { memory::arena(board::ARENA_ADDRESS, board::ARENA_BYTES) };
    memory::run(parts, board::ABOUT, slot, (arena, buffers))
}
