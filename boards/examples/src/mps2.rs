//! Arm's MPS2 board with FPGA image AN386: a serial port, a timer, and memory that a loader has filled.

use core::cell::Cell;
use core::convert::Infallible;

use brooklet_parts::{memory, uart};
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;
use critical_section::Mutex;
use embedded_io::Write;
use vcell::VolatileCell;

use crate::Chip;

pub use cortex_m_rt::entry;

/// Clock of the core and the timer.
const CLOCK_HZ: u32 = 25_000_000;

/// The timer's registers (Arm DDI 0479, APB timer).
#[repr(C)]
struct Timer {
    control: VolatileCell<u32>,
    value: VolatileCell<u32>,
    reload: VolatileCell<u32>,
    interrupt: VolatileCell<u32>,
}

/// Timer 0 (Arm application note 386, memory map).
const TIMER: *const Timer = core::ptr::without_provenance(0x4000_0000);

/// The interrupt of timer 0.
#[derive(Clone, Copy)]
struct Timer0;

// SAFETY: interrupt 8 is that of timer 0 (Arm application note 386, interrupts).
unsafe impl InterruptNumber for Timer0 {
    fn number(self) -> u16 {
        8
    }
}

/// The function that the timer's interrupt calls.
static TICK: Mutex<Cell<fn()>> = Mutex::new(Cell::new(|| {}));

/// The serial port.
pub fn console() -> impl Write<Error = Infallible> {
    let port = core::ptr::without_provenance::<uart::Cmsdk>(0x4000_4000);
    // SAFETY: UART 0 is at this address (Arm application note 386, memory map), aligned and laid out as
    // `uart::Cmsdk`. All access to it is through `VolatileCell`s.
    let port = unsafe { &*port };
    port.enable(CLOCK_HZ)
}

/// Lets an interrupt call `tick` a thousand times per second.
pub fn every_millisecond(tick: fn()) {
    critical_section::with(|section| TICK.borrow(section).set(tick));
    // SAFETY: timer 0 is at this address, aligned and laid out as `Timer`. It is only accessed
    // through `VolatileCell`s.
    let timer = unsafe { &*TIMER };
    timer.reload.set(CLOCK_HZ / 1_000 - 1);
    timer.value.set(CLOCK_HZ / 1_000 - 1);
    // The timer runs (bit 0) and raises its interrupt (bit 3).
    timer.control.set(0b1001);
    // SAFETY: the interrupt and the program only share data behind critical sections.
    unsafe { NVIC::unmask(Timer0) }
}

// Without a device crate, the vector table of `cortex-m-rt` names no interrupts, so all of them call this.
#[exception]
unsafe fn DefaultHandler(_: i16) {
    // SAFETY: as in `every_millisecond`.
    let timer = unsafe { &*TIMER };
    timer.interrupt.set(1);
    critical_section::with(|section| TICK.borrow(section).get())();
}

/// Sleeps until an interrupt has been served.
pub fn wait() {
    cortex_m::asm::wfi();
}

/// The flash that holds the model. The board has no SPI flash. A part of its PSRAM, which a loader has
/// filled, stands for one.
pub fn spi_flash() -> Chip {
    // SAFETY: 16 MiB of PSRAM are at this address (Arm application note 386, memory map), and nothing
    // writes there after the loader.
    Chip(unsafe { memory::slot(0x2100_0000, 1 << 24) })
}
