//! The instruction counter of Arm boards: SysTick.
//!
//! Under QEMU's `-icount shift=0` an instruction takes a nanosecond of the machine's time, so
//! a tick of a clock of *f* Hz is 10⁹/*f* instructions: 62.5 at 16 MHz, 40 at 25 MHz, just
//! under 6 at 168 MHz.
//! A span begins by clearing the timer, which also puts the tick's phase at the span's
//! beginning. Spans therefore repeat exactly, however long the firmware waited before; each
//! is rounded down to a whole tick.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use brooklet_app::Counter;
use cortex_m::peripheral::{SCB, SYST, syst::SystClkSource};
use cortex_m_rt::exception;

/// The timer is 24 bits wide, and counts down.
const TOP: u32 = 0x00ff_ffff;

/// Virtual nanoseconds, and so instructions, of a second.
const INSTRUCTIONS_PER_SECOND: u64 = 1_000_000_000;

/// How often the timer has wrapped in this span.
static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // One writer, which nothing interrupts; and a load and a store exist on every core.
    WRAPS.store(WRAPS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Counts instructions by the SysTick timer.
pub struct Ticks {
    timer: SYST,
    clock_hz: u32,
}

impl Ticks {
    /// Takes the timer of a core that is clocked at `clock_hz`.
    pub fn new(mut timer: SYST, clock_hz: u32) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(TOP);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        Self { timer, clock_hz }
    }

    /// Ticks since the span began.
    fn elapsed(&self) -> u64 {
        loop {
            let wraps = WRAPS.load(Relaxed);
            let current = SYST::get_current();
            // Read again if the timer wrapped meanwhile, or has and is not served yet.
            if wraps == WRAPS.load(Relaxed) && !SCB::is_pendst_pending() {
                // The first tick after clearing goes from 0 to the top.
                let down = if current == 0 { 0 } else { TOP - current + 1 };
                return u64::from(wraps) * (u64::from(TOP) + 1) + u64::from(down);
            }
        }
    }
}

impl Counter for Ticks {
    fn start(&mut self) {
        WRAPS.store(0, Relaxed);
        self.timer.clear_current();
    }

    fn stop(&mut self) -> u64 {
        self.elapsed() * INSTRUCTIONS_PER_SECOND / u64::from(self.clock_hz)
    }
}
