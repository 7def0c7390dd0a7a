//! The cycle counter of RISC-V chips: `mcycle`.

use brooklet_app::{Counter, Unit};
use riscv::register::{mcountinhibit, mcycle};

/// Counts cycles.
#[derive(Debug)]
pub struct Cycles {
    began: u64,
}

impl Cycles {
    /// The counter of this hart.
    ///
    /// It may be stopped after a reset.
    pub fn new() -> Self {
        // SAFETY: counting affects only what is read from the counter.
        unsafe { mcountinhibit::clear_cy() };
        Self { began: 0 }
    }
}

impl Default for Cycles {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter for Cycles {
    const UNIT: Unit = Unit::Cycles;

    fn start(&mut self) {
        self.began = mcycle::read64();
    }

    fn stop(&mut self) -> u64 {
        mcycle::read64() - self.began
    }
}
