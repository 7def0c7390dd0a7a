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
use esp_hal::peripherals::{Peripherals, UART0};

pub use cycles::Cycles;
pub use mapping::slot;
pub use serial::{Sender, Wires};

/// Pins that indicate the state of the application.
#[derive(Debug)]
pub struct Outputs {
    /// High during an inference.
    pub busy: AnyPin<'static>,
    /// High if the model can run.
    pub status: AnyPin<'static>,
}

/// Starts the chip, at its full clock. It must be called first in `main`.
pub fn start() -> Peripherals {
    // This comes before the HAL watches the word at the stack's end, because painting overwrites
    // it.
    stack::paint();
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()))
}

/// The parts for the application, after the chip has started.
pub fn parts<const ROOM: usize>(
    uart: UART0<'static>,
    wires: Wires,
    outputs: Outputs,
    baud: u32,
    ring: &'static mut Ring<ROOM>,
) -> Parts<Buffered<'static, Sender, ROOM>, Cycles, Output<'static>, Output<'static>> {
    let low = |pin| Output::new(pin, Level::Low, OutputConfig::default());
    let (inlet, link) = ring.split(Sender);
    serial::receive(uart, wires, baud, inlet);
    Parts {
        link,
        counter: Cycles::new(),
        busy: low(outputs.busy),
        status: low(outputs.status),
        stack_bytes: stack::high_water,
    }
}
