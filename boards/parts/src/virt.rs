//! QEMU's RISC-V machine `virt`, in machine mode. It has no GPIO, so its pins lead nowhere.

use brooklet_app::kernels::Backend;
use brooklet_app::{About, Buffers};
use riscv::register::mstatus;

use crate::{memory, minstret::Retired, pin::unconnected, stack, uart::Ns16550};

/// Where the machine's UART is (QEMU, hw/riscv/virt.c, memory map).
const UART: *const Ns16550 = core::ptr::without_provenance(0x1000_0000);

/// Runs the application: all that `main` does.
///
/// # Safety
///
/// This runs on such a machine. `slot` (address, bytes) is DRAM behind what the linker gives to
/// this firmware; a loader has filled it before the core started.
pub unsafe fn run<const REQUEST: usize>(
    about: About<impl Backend + Copy>,
    (slot_address, slot_bytes): (usize, usize),
    ram: (&mut [u8], Buffers<'_, REQUEST>),
) -> ! {
    stack::paint();
    // SAFETY: by this function's contract the UART is at this address, and laid out as `Ns16550`,
    // whose registers are bytes. All access to it is through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = unconnected(uart.enable(), Retired::new());
    // SAFETY: by this function's contract nothing writes to it.
    let slot = unsafe { memory::slot(slot_address, slot_bytes) };
    memory::run(parts, about, slot, ram)
}

/// Switches the core's vector unit on. What the compiler makes does not use it, only kernels do.
///
/// # Safety
///
/// The core has one.
pub unsafe fn enable_vectors() {
    // SAFETY: this changes nothing but whether vector instructions trap, and they exist.
    unsafe { mstatus::set_vs(mstatus::VS::Initial) }
}
