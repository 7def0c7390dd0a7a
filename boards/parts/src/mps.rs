//! What Arm's MPS boards have in common: UART, LEDs, timer. Their memory maps differ.
//!
//! Arm's application notes 385, 386, 500, 505 and 547 describe the FPGA images.

use core::convert::Infallible;

use brooklet_app::kernels::Backend;
use brooklet_app::line::Line;
use brooklet_app::{About, Buffers, Counter, Parts};
use embedded_hal::digital::OutputPin;
use embedded_io::ErrorType;
use vcell::VolatileCell;

use crate::{memory, pin::Bit, stack, systick::Ticks, uart::Cmsdk};

/// Addresses of the peripherals of an MPS board that this module drives.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// UART 0.
    uart: usize,
    /// The user LEDs: bit 0 and bit 1 of the FPGA system control's first register, which reads
    /// back.
    leds: usize,
}

/// The MPS2 with FPGA image AN385, AN386 or AN500 (their application notes, memory map).
pub const MPS2: Map = Map { uart: 0x4000_4000, leds: 0x4002_8000 };

/// The MPS2 with FPGA image AN505, its secure addresses (application note 505, memory map).
pub const AN505: Map = Map { uart: 0x5020_0000, leds: 0x5030_2000 };

/// The MPS3 with FPGA image AN547 (application note 547, memory map).
pub const AN547: Map = Map { uart: 0x4930_3000, leds: 0x4930_2000 };

/// What the application needs of the board. LED 0 is the status, and LED 1 is on during an
/// inference.
///
/// # Safety
///
/// `map` is the map of the board on which this runs.
unsafe fn parts(
    map: Map,
    clock_hz: u32,
) -> Parts<impl Line + ErrorType<Error = Infallible>, impl Counter, impl OutputPin, impl OutputPin>
{
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("main runs once") };
    let uart = core::ptr::with_exposed_provenance::<Cmsdk>(map.uart);
    let leds = core::ptr::with_exposed_provenance::<VolatileCell<u32>>(map.leds);
    // SAFETY: by this function's contract UART 0 is at this address, which is aligned; it is always
    // there, with the layout of `Cmsdk`. It is accessed only through `VolatileCell`s, here and
    // elsewhere.
    let uart = unsafe { &*uart };
    // SAFETY: the same holds for the LEDs.
    let leds = unsafe { &*leds };
    Parts {
        link: uart.enable(clock_hz),
        counter: Ticks::new(core.SYST, clock_hz),
        busy: Bit::new(leds, 1),
        status: Bit::new(leds, 0),
        stack_bytes: stack::high_water,
    }
}

/// Runs the application, which is the whole task of `main`.
///
/// # Safety
///
/// `map` is the map of the board on which this runs. `slot` (address, bytes) is memory. A loader
/// has filled it before the core started, and nothing writes to it afterwards.
pub unsafe fn run<const REQUEST: usize>(
    map: Map,
    about: About<impl Backend + Copy>,
    clock_hz: u32,
    (slot_address, slot_bytes): (usize, usize),
    ram: (&mut [u8], Buffers<'_, REQUEST>),
) -> ! {
    // SAFETY: by this function's contract it is the board's map.
    let parts = unsafe { parts(map, clock_hz) };
    // SAFETY: by this function's contract the slot is readable and constant.
    let slot = unsafe { memory::slot(slot_address, slot_bytes) };
    memory::run(parts, about, slot, ram)
}

/// Runs the application for MLPerf Tiny's runner; `image` has room for its images.
///
/// # Safety
///
/// As for [`run`].
#[cfg(feature = "mlperf")]
pub unsafe fn run_mlperf(
    map: Map,
    about: About<impl Backend + Copy>,
    benchmark: brooklet_app::mlperf::Benchmark,
    (slot_address, slot_bytes): (usize, usize),
    arena: &mut [u8],
    image: &mut [u8],
) -> ! {
    // SAFETY: by this function's contract it is the board's map.
    let Parts { link, counter, .. } = unsafe { parts(map, benchmark.clock_hz) };
    // SAFETY: by this function's contract the slot is readable and constant.
    let slot = unsafe { memory::slot(slot_address, slot_bytes) };
    let (Ok(never) | Err(never)) =
        brooklet_app::mlperf::run(link, counter, about, benchmark, slot, arena, image);
    match never {}
}

/// Runs the application that accepts signed models over its link, and writes them to the halves of
/// the slot.
///
/// # Safety
///
/// `map` is the map of the board on which this runs. `slot` (address, bytes) is RAM that nothing
/// else uses.
#[cfg(feature = "updates")]
pub unsafe fn run_from_slots<
    const ROW: usize,
    const REQUEST: usize,
    const QUEUE: usize,
    const LAYERS: usize,
>(
    map: Map,
    about: About<impl Backend + Copy>,
    clock_hz: u32,
    (slot_address, slot_bytes): (usize, usize),
    key: &[u8; 32],
    ram: (&mut [u8], &mut brooklet_app::Storage<ROW, REQUEST, QUEUE, LAYERS>),
) -> ! {
    // SAFETY: by this function's contract it is the board's map.
    let parts = unsafe { parts(map, clock_hz) };
    let start = core::ptr::with_exposed_provenance_mut(slot_address);
    // SAFETY: by this function's contract, nothing else uses this RAM; bytes have no alignment and
    // no invalid values.
    let memory = unsafe { core::slice::from_raw_parts_mut(start, slot_bytes) };
    let (first, second) = memory.split_at_mut(slot_bytes / 2);
    let mut slots = [first, second].map(brooklet_app::updates::InMemory);
    memory::run_from_slots(parts, about, &mut slots, key, ram)
}
