//! What boards with a chip of Espressif's have in common: start-up, serial port, counter, and the model's slot.
//!
//! An interrupt takes out of UART 0 what comes. The core counts its cycles.
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

/// Pins that show what goes on.
#[derive(Debug)]
pub struct Outputs {
    /// High during an inference.
    pub busy: AnyPin<'static>,
    /// High if the model can run.
    pub status: AnyPin<'static>,
}

/// Starts the chip, at its full clock. To be called first in `main`.
pub fn start() -> Peripherals {
    // Before the HAL watches the word at the stack's end: painting writes it, too.
    stack::paint();
    esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()))
}

/// What the application needs, once the chip has started.
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
