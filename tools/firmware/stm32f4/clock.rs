//! The clock of an emulated core: a hook of Unicorn that counts instructions, and stops in time.
//!
//! Unicorn calls it before each instruction. In Python, it would take most of the time.

#![allow(unsafe_code, reason = "Unicorn's interface is in C")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// What the hook shares with `core.py`.
#[repr(C)]
struct Clock {
    /// Number of instructions that ran.
    now: Cell<u64>,
    /// The core stops when this many ran.
    deadline: Cell<u64>,
    /// The address of the latest instruction.
    address: Cell<u64>,
    /// Whether the core was told to stop, since it was started last.
    stopped: Cell<u64>,
    /// `uc_emu_stop`
    stop: extern "C" fn(*mut c_void) -> c_int,
}

/// Counts an instruction that is about to run, or stops the core before it.
///
/// Unicorn stops only behind an `IT` block: if instructions follow after all, they count.
#[unsafe(no_mangle)]
extern "C" fn instruction(core: *mut c_void, address: u64, _bytes: u32, clock: &Clock) {
    clock.address.set(address);
    let late = clock.now.get() >= clock.deadline.get();
    if late {
        let ran = clock.stopped.replace(1);
        clock.now.set(clock.now.get() + ran);
        (clock.stop)(core);
    } else {
        clock.now.set(clock.now.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    extern "C" fn stop(_: *mut c_void) -> c_int {
        0
    }

    #[test]
    fn instructions_count_if_they_run() {
        let clock = Clock {
            now: Cell::new(7),
            deadline: Cell::new(9),
            address: Cell::new(0),
            stopped: Cell::new(0),
            stop,
        };
        let states: Vec<_> = (0..5)
            .map(|call| {
                instruction(ptr::null_mut(), 2 * call, 2, &clock);
                (clock.now.get(), clock.stopped.get())
            })
            .collect();
        // The third is the one before which it stops. If two more follow, two have run after all.
        assert_eq!(states, [(8, 0), (9, 0), (9, 1), (10, 1), (11, 1)]);
        assert_eq!(clock.address.get(), 8);
    }
}
