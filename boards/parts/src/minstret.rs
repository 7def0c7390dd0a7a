//! The instruction counter of RISC-V: `minstret`, which counts just that.

use brooklet_app::{Counter, Unit};
use riscv::register::minstret;

/// Counts retired instructions.
#[derive(Debug)]
pub struct Retired {
    start: u64,
}

impl Retired {
    /// The counter of this hart.
    pub fn new() -> Self {
        Self { start: minstret::read64() }
    }
}

impl Default for Retired {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter for Retired {
    const UNIT: Unit = Unit::Instructions;

    fn start(&mut self) {
        self.start = minstret::read64();
    }

    fn stop(&mut self) -> u64 {
        minstret::read64() - self.start
    }
}
