//! What firmware has besides its parts: RAM for the application, and the slot for a model.

use core::convert::Infallible;

/// Aligned memory.
pub use brooklet::Arena;
use brooklet_app::kernels::Backend;
use brooklet_app::line::Line;
use brooklet_app::{About, Buffers, Counter, Parts, Storage};
use embedded_hal::digital::OutputPin;
use embedded_io::ErrorType;
use static_cell::ConstStaticCell;

/// The application's RAM except its stack. A board's crate has one, in a `static`. Its sizes, those
/// of [`Storage`], come from `board.toml`.
pub struct Memory<
    const ARENA: usize,
    const ROW: usize,
    const REQUEST: usize,
    const QUEUE: usize,
    const LAYERS: usize,
> {
    arena: ConstStaticCell<Arena<ARENA>>,
    storage: ConstStaticCell<Storage<ROW, REQUEST, QUEUE, LAYERS>>,
}

impl<
    const ARENA: usize,
    const ROW: usize,
    const REQUEST: usize,
    const QUEUE: usize,
    const LAYERS: usize,
> Memory<ARENA, ROW, REQUEST, QUEUE, LAYERS>
{
    /// Empty.
    #[expect(clippy::new_without_default, reason = "belongs into a static")]
    pub const fn new() -> Self {
        Self {
            arena: ConstStaticCell::new(Arena::new()),
            storage: ConstStaticCell::new(Storage::new()),
        }
    }

    /// Arena and buffers.
    ///
    /// # Panics
    ///
    /// If called again, which `main` cannot do.
    pub fn take(&'static self) -> (&'static mut [u8], Buffers<'static, REQUEST>) {
        (self.arena.take(), self.storage.take().view())
    }

    /// Arena and storage, for an application that restarts.
    ///
    /// # Panics
    ///
    /// If called again, or after [`take`](Self::take).
    #[cfg(feature = "updates")]
    pub fn take_storage(
        &'static self,
    ) -> (&'static mut [u8], &'static mut Storage<ROW, REQUEST, QUEUE, LAYERS>) {
        (self.arena.take(), self.storage.take())
    }
}

/// Memory for the rows that two cores make in a convolution.
pub type Room<const BYTES: usize> = ConstStaticCell<Arena<BYTES>>;

/// Runs the application forever, in the memory that was taken, on a link that cannot fail.
pub fn run<B, L, C, P, S, const REQUEST: usize>(
    parts: Parts<L, C, P, S>,
    about: About<B>,
    slot: &[u8],
    (arena, buffers): (&mut [u8], Buffers<'_, REQUEST>),
) -> !
where
    B: Backend + Copy,
    L: ErrorType<Error = Infallible> + Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
{
    let (Ok(never) | Err(never)) = brooklet_app::run(parts, about, slot, arena, buffers);
    match never {}
}

/// Runs the application that accepts signed models over its link, and writes them to the slots.
#[cfg(feature = "updates")]
pub fn run_from_slots<
    B,
    L,
    C,
    P,
    S,
    F,
    const ROW: usize,
    const REQUEST: usize,
    const QUEUE: usize,
    const LAYERS: usize,
>(
    parts: Parts<L, C, P, S>,
    about: About<B>,
    slots: &mut [F; 2],
    key: &[u8; 32],
    (arena, storage): (&mut [u8], &mut Storage<ROW, REQUEST, QUEUE, LAYERS>),
) -> !
where
    B: Backend + Copy,
    L: ErrorType<Error = Infallible> + Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
    F: brooklet_app::updates::Slot,
{
    let board = brooklet_app::run_from_slots(parts, about, slots, key, arena, storage);
    let (Ok(never) | Err(never)) = brooklet_app::block_on(board);
    match never {}
}

/// Runs the application forever, with a model behind a driver.
#[cfg(feature = "weights-window")]
pub fn run_from_source<B, L, C, P, S, R, const REQUEST: usize>(
    parts: Parts<L, C, P, S>,
    about: About<B>,
    weights: brooklet_app::WeightsWindow<'_, R>,
    resident: &mut [u8],
    (arena, buffers): (&mut [u8], Buffers<'_, REQUEST>),
) -> !
where
    B: Backend + Copy,
    L: ErrorType<Error = Infallible> + Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
    R: brooklet_app::WeightsSource,
{
    let (Ok(never) | Err(never)) =
        brooklet_app::run_from_source(parts, about, weights, resident, arena, buffers);
    match never {}
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

/// The bytes of an arena in a memory of its own, all zero.
///
/// # Safety
///
/// These addresses are RAM, aligned to [`brooklet::ARENA_ALIGN`], and nothing else uses them: no
/// static, no stack, no second call.
#[cfg(target_os = "none")]
pub unsafe fn arena(address: usize, bytes: usize) -> &'static mut [u8] {
    let start = core::ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: by this function's contract, nothing else uses this RAM. Its contents are arbitrary
    // at power-on, and are written before they are read.
    unsafe {
        start.write_bytes(0, bytes);
        core::slice::from_raw_parts_mut(start, bytes)
    }
}
