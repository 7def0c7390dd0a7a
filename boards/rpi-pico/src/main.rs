//! Firmware for the Raspberry Pi Pico: an RP2040, with its HAL.
//!
//! UART 0 is on GP0 (to the host) and GP1 (from it), at 115,200 baud; an interrupt reads received
//! bytes from it. The LED is the status, GP15 is high during an inference. SysTick counts cycles.
//! With the feature `two-cores`, convolutions are divided between both cores. With the feature
//! `updates`, signed models arrive over the link.
#![no_std]
#![no_main]

#[cfg(feature = "updates")]
mod half;
#[cfg(feature = "two-cores")]
mod two_cores;

use core::cell::RefCell;

use brooklet_app::Parts;
use brooklet_app::line::{Bad, Inlet};
use brooklet_parts::{memory, stack, systick::Cycles};
use critical_section::Mutex;
#[cfg(feature = "defmt")]
use defmt_rtt as _;
use rp2040_hal as hal;

use hal::Clock;
use hal::fugit::RateExtU32;
use hal::gpio::bank0::{Gpio0, Gpio1};
use hal::gpio::{FunctionUart, Pin, Pins, PullDown};
use hal::pac::interrupt;
use hal::uart::{DataBits, ReadErrorType, Reader, StopBits, UartConfig, UartPeripheral};
use static_cell::ConstStaticCell;

/// Constants from `board.toml`.
mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

/// Frequency of the board's crystal.
const CRYSTAL_HZ: u32 = 12_000_000;

/// The second-stage boot loader, for the flash chip of the Pico. The boot ROM checks its checksum.
#[unsafe(link_section = ".boot2")]
#[used]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// The key of the signers of models.
#[cfg(feature = "updates")]
const KEY: [u8; 32] = brooklet_app::updates::key_of_hex(env!("BROOKLET_PUBLIC_KEY"));

static MEMORY: board::Memory = board::Memory::new();
static RING: ConstStaticCell<board::Ring> = ConstStaticCell::new(board::Ring::new());

type UartPins = (Pin<Gpio0, FunctionUart, PullDown>, Pin<Gpio1, FunctionUart, PullDown>);

/// The data of the interrupt: the receiving half of the UART, and the destination of its bytes.
struct Receiver {
    uart: Reader<hal::pac::UART0, UartPins>,
    inlet: Inlet<'static>,
}

static RECEIVER: Mutex<RefCell<Option<Receiver>>> = Mutex::new(RefCell::new(None));

#[interrupt]
fn UART0_IRQ() {
    critical_section::with(|token| {
        let mut receiver = RECEIVER.borrow_ref_mut(token);
        let Some(Receiver { uart, inlet }) = receiver.as_mut() else { return };
        let mut byte = [0];
        loop {
            match uart.read_raw(&mut byte) {
                Ok(_) => inlet.receive(byte[0]),
                Err(nb::Error::WouldBlock) => break,
                Err(nb::Error::Other(error)) => {
                    // An overrun error comes with bytes that are good.
                    error.discarded.iter().for_each(|&byte| inlet.receive(byte));
                    inlet.note(match error.err_type {
                        ReadErrorType::Overrun => Bad::Overrun,
                        _ => Bad::Framing,
                    });
                }
            }
        }
    });
}

#[hal::entry]
fn main() -> ! {
    stack::paint();
    let Some(mut chip) = hal::pac::Peripherals::take() else { unreachable!("main runs once") };
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let mut watchdog = hal::Watchdog::new(chip.WATCHDOG);
    let Ok(clocks) = hal::clocks::init_clocks_and_plls(
        CRYSTAL_HZ,
        chip.XOSC,
        chip.CLOCKS,
        chip.PLL_SYS,
        chip.PLL_USB,
        &mut chip.RESETS,
        &mut watchdog,
    ) else {
        unreachable!("the crystal's frequency is one that the PLLs take")
    };
    #[cfg_attr(not(feature = "two-cores"), expect(unused_mut, reason = "core 1 is woken by it"))]
    let mut sio = hal::Sio::new(chip.SIO);
    let pins = Pins::new(chip.IO_BANK0, chip.PADS_BANK0, sio.gpio_bank0, &mut chip.RESETS);
    let uart_pins = (pins.gpio0.into_function(), pins.gpio1.into_function());
    let uart = UartPeripheral::new(chip.UART0, uart_pins, &mut chip.RESETS);
    let config = UartConfig::new(115_200.Hz(), DataBits::Eight, None, StopBits::One);
    let Ok(mut uart) = uart.enable(config, clocks.peripheral_clock.freq()) else {
        unreachable!("a usual rate")
    };
    uart.enable_rx_interrupt();
    let (uart, sender) = uart.split();
    let (inlet, link) = RING.take().split(sender);
    critical_section::with(|token| {
        RECEIVER.borrow_ref_mut(token).replace(Receiver { uart, inlet });
    });
    // SAFETY: the interrupt's data is there, and no critical section depends on its mask.
    unsafe { cortex_m::peripheral::NVIC::unmask(hal::pac::Interrupt::UART0_IRQ) };

    let parts = Parts {
        link,
        counter: Cycles::new(core.SYST),
        busy: pins.gpio15.into_push_pull_output(),
        status: pins.gpio25.into_push_pull_output(),
        stack_bytes: stack::high_water,
    };
    #[cfg(feature = "updates")]
    {
        // SAFETY: the slot is whole sectors of flash after the firmware, which nothing else uses.
        let mut halves = unsafe { half::Half::both(board::SLOT_ADDRESS, board::SLOT_BYTES) };
        memory::run_from_slots(parts, board::ABOUT, &mut halves, &KEY, MEMORY.take_storage())
    }
    #[cfg(not(feature = "updates"))]
    {
        // SAFETY: the slot is flash after the firmware, executed in place and readable at any time.
        // This firmware does not program flash, so nothing writes to it while it runs.
        let slot = unsafe { memory::slot(board::SLOT_ADDRESS, board::SLOT_BYTES) };
        #[cfg(feature = "two-cores")]
        {
            let cores = two_cores::start(&mut chip.PSM, &mut chip.PPB, &mut sio.fifo);
            let kernels = brooklet_app::kernels::Split::new(board::ABOUT.kernels, &cores);
            memory::run(parts, board::ABOUT.with_kernels(kernels), slot, MEMORY.take())
        }
        #[cfg(not(feature = "two-cores"))]
        memory::run(parts, board::ABOUT, slot, MEMORY.take())
    }
}
