//! What boards with an Espressif chip share: start-up, serial port, counter, and the model's slot.
//!
//! An interrupt reads received bytes from UART 0. The core counts its cycles.
#![no_std]

mod cycles;
mod mapping;
mod serial;

use brooklet_app::Parts;
use brooklet_app::line::{Buffered, Ring};
use brooklet_parts::stack;
#[cfg(feature = "defmt")]
use defmt_rtt as _;
use esp_hal::clock::CpuClock;
use esp_hal::gpio::{AnyPin, Level, Output, OutputConfig};
use esp_hal::peripherals::Peripherals;

pub use cycles::Cycles;
pub use mapping::slot;
pub use serial::Sender;
use serial::Wires;

/// Starts the chip, at its full clock. It must be called first in `main`.
pub fn start() -> Peripherals {
    // This comes before the HAL watches the word at the stack's end, because painting overwrites
    // it.
    stack::paint();
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()))
}

/// The parts for the application, after the chip has started.
///
/// GPIO7 is high if the model can run, GPIO10 during an inference. UART 0 is on the pins to which
/// Espressif's boards connect their adapter: on the ESP32-C3 GPIO21 (to the host) and GPIO20 (from
/// it), on the ESP32-C6 GPIO16 and GPIO17.
pub fn parts<const ROOM: usize>(
    chip: Peripherals,
    baud: u32,
    ring: &'static mut Ring<ROOM>,
) -> Parts<Buffered<'static, Sender, ROOM>, Cycles, Output<'static>, Output<'static>> {
    #[cfg(feature = "esp32c3")]
    let wires = Wires { to_host: chip.GPIO21.into(), from_host: chip.GPIO20.into() };
    #[cfg(feature = "esp32c6")]
    let wires = Wires { to_host: chip.GPIO16.into(), from_host: chip.GPIO17.into() };
    let low = |pin: AnyPin<'static>| Output::new(pin, Level::Low, OutputConfig::default());
    let (inlet, link) = ring.split(Sender);
    serial::receive(chip.UART0, wires, baud, inlet);
    Parts {
        link,
        counter: Cycles::new(),
        busy: low(chip.GPIO10.into()),
        status: low(chip.GPIO7.into()),
        stack_bytes: stack::high_water,
    }
}
