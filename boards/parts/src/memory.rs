//! What firmware has besides its parts: RAM for the application, and the slot that a model is in.

use core::convert::Infallible;

use brooklet::Arena;
use brooklet_app::{About, Buffers, Counter, Parts};
use embedded_hal::digital::OutputPin;
use embedded_io::{ErrorType, Read, ReadReady, Write};
use static_cell::ConstStaticCell;

/// The application's RAM but for its stack. A board's crate has one, in a `static`.
pub struct Memory<const ARENA_BYTES: usize> {
    arena: ConstStaticCell<Arena<ARENA_BYTES>>,
    buffers: ConstStaticCell<Buffers>,
}

impl<const ARENA_BYTES: usize> Memory<ARENA_BYTES> {
    /// Empty.
    #[expect(clippy::new_without_default, reason = "belongs into a static")]
    pub const fn new() -> Self {
        Self {
            arena: ConstStaticCell::new(Arena::new()),
            buffers: ConstStaticCell::new(Buffers::new()),
        }
    }

    /// Runs the application on these parts for good.
    ///
    /// # Panics
    ///
    /// If called again, which `main` cannot.
    pub fn run<L, C, P, S>(&'static self, parts: Parts<L, C, P, S>, about: About, slot: &[u8]) -> !
    where
        L: ErrorType<Error = Infallible> + Read + ReadReady + Write,
        C: Counter,
        P: OutputPin,
        S: OutputPin,
    {
        let (arena, buffers) = (self.arena.take(), self.buffers.take());
        let (Ok(never) | Err(never)) = brooklet_app::run(parts, about, slot, arena, buffers);
        match never {}
    }
}

/// The bytes of a model's slot.
///
/// # Safety
///
/// From now on these addresses can be read, and nothing writes to them.
pub unsafe fn slot(address: usize, bytes: usize) -> &'static [u8] {
    // SAFETY: readable and constant by this function's contract; bytes have no alignment and
    // no invalid values.
    unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), bytes) }
}
