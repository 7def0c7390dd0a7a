//! QEMU's RISC-V machine `virt`, in machine mode. It has no GPIO, so its pins have no connection.

use brooklet_app::kernels::Backend;
use brooklet_app::{About, Buffers};
use riscv::register::mstatus;

use crate::{memory, minstret::Retired, pin::unconnected, stack, uart::Ns16550};

/// Address of the machine's UART (QEMU, hw/riscv/virt.c, memory map).
const UART: *const Ns16550 = core::ptr::without_provenance(0x1000_0000);

/// Runs the application, which is the whole task of `main`.
///
/// # Safety
///
/// This runs on such a machine. `slot` (address, bytes) is DRAM after the part that the linker
/// gives to this firmware. A loader has filled it before the core started.
pub unsafe fn run<const REQUEST: usize>(
    about: About<impl Backend + Copy>,
    (slot_address, slot_bytes): (usize, usize),
    ram: (&mut [u8], Buffers<'_, REQUEST>),
) -> ! {
    stack::paint();
    // SAFETY: by this function's contract the UART is at this address, with the layout of
    // `Ns16550`, whose registers are bytes. It is accessed only through `VolatileCell`s.
    let uart = unsafe { &*UART };
    let parts = unconnected(uart.enable(), Retired::new());
    // SAFETY: by this function's contract nothing writes to it.
    let slot = unsafe { memory::slot(slot_address, slot_bytes) };
    memory::run(parts, about, slot, ram)
}

/// Switches the core's vector unit on. Only kernels use it, not the code that the compiler
/// generates.
///
/// # Safety
///
/// The core must have one.
pub unsafe fn enable_vectors() {
    // SAFETY: this changes only whether vector instructions trap, and they exist.
    unsafe { mstatus::set_vs(mstatus::VS::Initial) }
}
