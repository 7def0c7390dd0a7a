//! Firmware for the Raspberry Pi Pico 2: an RP2350 on its Cortex-M33, with embassy's HAL.
//!
//! UART 0 is on GP0 (to the host) and GP1 (from it), at 115,200 baud; an interrupt reads received
//! bytes from it. The LED is the status, GP15 is high during an inference. SysTick counts cycles.
//! With the feature `two-cores`, convolutions are divided between both cores.
#![no_std]
#![no_main]

#[cfg(feature = "two-cores")]
mod two_cores;

use brooklet_app::Parts;
use brooklet_app::kept::{Kept, overrun_is};
use brooklet_parts::{memory, stack, systick::Cycles};
use cortex_m_rt::entry;
#[cfg(feature = "defmt")]
use defmt_rtt as _;
use embassy_rp::bind_interrupts;
use embassy_rp::block::ImageDef;
use embassy_rp::gpio::{Level, Output};
use embassy_rp::peripherals::UART0;
use embassy_rp::uart::{BufferedInterruptHandler, BufferedUart, Config, Error};
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

bind_interrupts!(struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
});

/// The block that the boot ROM looks for in the first 4 KiB of the flash: secure code for the
/// Cortex-M33.
#[unsafe(link_section = ".start_block")]
#[used]
static IMAGE: ImageDef = ImageDef::secure_exe();

static MEMORY: board::Memory = board::Memory::new();
static SENT: ConstStaticCell<[u8; 64]> = ConstStaticCell::new([0; 64]);
static RECEIVED: ConstStaticCell<board::Received> =
    ConstStaticCell::new([0; size_of::<board::Received>()]);

#[entry]
fn main() -> ! {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    // Clocks as after power-on of a Pico 2: 150 MHz from a crystal of 12 MHz.
    let chip = embassy_rp::init(Default::default());
    let uart = |room: &'static mut [u8]| {
        let (uart, to, from) = (chip.UART0, chip.PIN_0, chip.PIN_1);
        BufferedUart::new(uart, to, from, Interrupts, SENT.take(), room, Config::default())
    };
    let parts = Parts {
        link: Kept::new(RECEIVED.take(), uart, overrun_is(Error::Overrun)),
        counter: Cycles::new(core.SYST),
        busy: Output::new(chip.PIN_15, Level::Low),
        status: Output::new(chip.PIN_25, Level::Low),
        stack_bytes: stack::high_water,
    };
    // SAFETY: the slot is flash after the firmware, executed in place and readable at any time.
    // This firmware does not program flash, so nothing writes to it while it runs.
    let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
    #[cfg(feature = "two-cores")]
    {
        let cores = two_cores::start(chip.CORE1);
        let kernels = brooklet_app::kernels::Split::new(board::ABOUT.kernels, &cores);
        memory::run(parts, board::ABOUT.with_kernels(kernels), slot, MEMORY.take())
    }
    #[cfg(not(feature = "two-cores"))]
    memory::run(parts, board::ABOUT, slot, MEMORY.take())
}
