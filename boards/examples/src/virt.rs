//! QEMU's RISC-V machine `virt`: a serial port, a timer, and memory that a loader has filled.

use core::cell::Cell;
use core::convert::Infallible;

use brooklet_parts::{memory, uart};
use critical_section::Mutex;
use embedded_io::Write;
use riscv::interrupt::Interrupt;
use vcell::VolatileCell;

use crate::Chip;

pub use riscv_rt::entry;

/// Ticks of the timer in a millisecond.
const MILLISECOND: u64 = 10_000;

/// The timer's compare register of core 0, and its time: the low word, and the high one (QEMU,
/// hw/riscv/virt.c, memory map; the timer is SiFive's CLINT).
const COMPARE: *const [VolatileCell<u32>; 2] = core::ptr::without_provenance(0x0200_4000);
const TIME: *const [VolatileCell<u32>; 2] = core::ptr::without_provenance(0x0200_bff8);

/// The function that the timer's interrupt calls, and the time of the next call.
#[derive(Clone, Copy)]
struct Tick {
    call: fn(),
    due: u64,
}

static TICK: Mutex<Cell<Tick>> = Mutex::new(Cell::new(Tick { call: || {}, due: 0 }));

/// The serial port.
pub fn console() -> impl Write<Error = Infallible> {
    let port = core::ptr::without_provenance::<uart::Ns16550>(0x1000_0000);
    // SAFETY: the UART is at this address (QEMU, hw/riscv/virt.c, memory map), laid out as
    // `uart::Ns16550`, whose registers are bytes. All access to it is through `VolatileCell`s.
    let port = unsafe { &*port };
    port.enable()
}

/// Lets an interrupt call `tick` a thousand times per second.
pub fn every_millisecond(tick: fn()) {
    let due = now() + MILLISECOND;
    critical_section::with(|section| TICK.borrow(section).set(Tick { call: tick, due }));
    interrupt_at(due);
    // SAFETY: the interrupt and the program only share data behind critical sections.
    unsafe {
        riscv::register::mie::set_mtimer();
        riscv::interrupt::enable();
    }
}

#[riscv_rt::core_interrupt(Interrupt::MachineTimer)]
fn timer() {
    let tick = critical_section::with(|section| {
        let Tick { call, due } = TICK.borrow(section).get();
        // A call that was missed is not repeated.
        let due = due.max(now()) + MILLISECOND;
        TICK.borrow(section).set(Tick { call, due });
        interrupt_at(due);
        call
    });
    tick();
}

/// The timer's time.
fn now() -> u64 {
    // SAFETY: the time is at this address, aligned. It is only read through `VolatileCell`s.
    let [low, high] = unsafe { &*TIME };
    loop {
        let (before, word) = (high.get(), low.get());
        if before == high.get() {
            return u64::from(before) << 32 | u64::from(word);
        }
    }
}

/// Sets the time of the timer's next interrupt.
fn interrupt_at(time: u64) {
    // SAFETY: the compare register is at this address, aligned. It is only accessed through
    // `VolatileCell`s.
    let [low, high] = unsafe { &*COMPARE };
    // While the words are written one after the other, the time must never be too early.
    high.set(u32::MAX);
    low.set(time as u32);
    high.set((time >> 32) as u32);
}

/// Sleeps until an interrupt is due.
pub fn wait() {
    riscv::asm::wfi();
}

/// The flash that holds the model. The machine has no SPI flash. A part of its DRAM, which a loader has
/// filled, stands for one.
pub fn spi_flash() -> Chip {
    // SAFETY: with 128 MiB of DRAM these addresses are memory (`board.toml`), and nothing writes there after
    // the loader.
    Chip(unsafe { memory::slot(0x8400_0000, 1 << 24) })
}
