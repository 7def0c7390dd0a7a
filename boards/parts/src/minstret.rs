//! The instruction counter of RISC-V: `minstret`, which counts retired instructions.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use brooklet_app::{Counter, Unit};
use riscv::register::minstret;

/// The lower half of the counter at the start of a span. It is written when each span begins, and
/// read when it ends, so that an observer outside can detect the spans (`tools/plugin`).
static BEGAN: AtomicU32 = AtomicU32::new(0);

/// Counts retired instructions.
#[derive(Debug, Default)]
pub struct Retired {
    /// The upper half.
    began: u32,
}

impl Retired {
    /// The counter of this hart.
    pub const fn new() -> Self {
        Self { began: 0 }
    }
}

impl Counter for Retired {
    const UNIT: Unit = Unit::Instructions;

    fn start(&mut self) {
        let now = minstret::read64();
        self.began = (now >> 32) as u32;
        BEGAN.store(now as u32, Relaxed);
    }

    fn stop(&mut self) -> u64 {
        let now = minstret::read64();
        now - (u64::from(self.began) << 32 | u64::from(BEGAN.load(Relaxed)))
    }
}
