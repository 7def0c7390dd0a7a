//! The cycle counter of Espressif's RISC-V cores. They have no `mcycle`, but three registers of
//! their own (ESP32-C3 Technical Reference Manual, section 1.5, performance counter).

use brooklet_app::{Counter, Unit};

/// The register that selects what is counted.
const EVENTS: u16 = 0x7e0;
/// The register that enables counting.
const MODE: u16 = 0x7e1;
/// The register that counts, 32 bits.
const COUNT: u16 = 0x7e2;

/// Counts cycles, in spans of up to 26 s at 160 MHz.
#[derive(Debug)]
pub struct Cycles {
    began: u32,
}

impl Cycles {
    /// The counter of this core.
    pub fn new() -> Self {
        // SAFETY: counting affects only what is read from the counter, and all of Espressif's
        // RISC-V cores that this crate supports have these registers.
        unsafe {
            core::arch::asm!(
                "csrwi {events}, 1",
                "csrwi {mode}, 1",
                events = const EVENTS,
                mode = const MODE,
                options(nomem, nostack, preserves_flags)
            );
        }
        Self { began: 0 }
    }
}

impl Default for Cycles {
    fn default() -> Self {
        Self::new()
    }
}

fn count() -> u32 {
    let count;
    // SAFETY: this reads a register that these cores have.
    unsafe {
        core::arch::asm!(
            "csrr {count}, {register}",
            count = lateout(reg) count,
            register = const COUNT,
            options(nomem, nostack, preserves_flags)
        );
    }
    count
}

impl Counter for Cycles {
    const UNIT: Unit = Unit::Cycles;

    fn start(&mut self) {
        self.began = count();
    }

    fn stop(&mut self) -> u64 {
        count().wrapping_sub(self.began).into()
    }
}
