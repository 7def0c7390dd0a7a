//! The counter of Arm boards: SysTick.
//!
//! On a chip, [`Cycles`] counts cycles. In QEMU, [`Ticks`] counts instructions: under QEMU's
//! `-icount shift=0` an instruction takes a nanosecond of the machine's time, so a tick of a clock
//! of *f* Hz is 10⁹/*f* instructions: 62.5 at 16 MHz, 40 at 25 MHz, just under 6 at 168 MHz. A span
//! begins by clearing the timer, which also aligns the tick with the start of the span. Spans
//! therefore repeat exactly, however long the firmware waited before; each is rounded down to a
//! whole tick.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use brooklet_app::{Counter, Unit};
use cortex_m::peripheral::{SCB, SYST, syst::SystClkSource};
use cortex_m_rt::exception;

/// The timer is 24 bits wide, and counts down.
const TOP: u32 = 0x00ff_ffff;

/// Virtual nanoseconds, and therefore instructions, in a second.
const INSTRUCTIONS_PER_SECOND: u64 = 1_000_000_000;

/// Number of times that the timer has wrapped since it was cleared.
static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // There is one writer, which nothing interrupts, and every core has a load and a store.
    WRAPS.store(WRAPS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Counts cycles with the SysTick timer of a chip.
pub struct Cycles {
    start: u64,
}

impl Cycles {
    /// Takes the timer.
    pub fn new(timer: SYST) -> Self {
        started(timer);
        Self { start: 0 }
    }
}

impl Counter for Cycles {
    const UNIT: Unit = Unit::Cycles;

    fn start(&mut self) {
        self.start = now();
    }

    fn stop(&mut self) -> u64 {
        now() - self.start
    }
}

/// The timer, counting the core's cycles.
fn started(mut timer: SYST) -> SYST {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(TOP);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    timer
}

/// Number of ticks since the timer was cleared.
fn now() -> u64 {
    loop {
        let wraps = WRAPS.load(Relaxed);
        let current = SYST::get_current();
        // Read again if the timer wrapped in the meantime, or if a wrap is still pending.
        if wraps == WRAPS.load(Relaxed) && !SCB::is_pendst_pending() {
            // The first tick after clearing goes from 0 to the top.
            let down = if current == 0 { 0 } else { TOP - current + 1 };
            return u64::from(wraps) * (u64::from(TOP) + 1) + u64::from(down);
        }
    }
}

/// Counts instructions with the SysTick timer of an emulated board.
pub struct Ticks {
    timer: SYST,
    clock_hz: u32,
}

impl Ticks {
    /// Takes the timer of a core with a clock of `clock_hz`.
    pub fn new(timer: SYST, clock_hz: u32) -> Self {
        Self { timer: started(timer), clock_hz }
    }
}

impl Counter for Ticks {
    const UNIT: Unit = Unit::Instructions;

    fn start(&mut self) {
        WRAPS.store(0, Relaxed);
        self.timer.clear_current();
    }

    fn stop(&mut self) -> u64 {
        now() * INSTRUCTIONS_PER_SECOND / u64::from(self.clock_hz)
    }
}
