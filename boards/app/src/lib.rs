//! The application that every brooklet board runs.
//!
//! A board's crate starts its chip, and passes to [`run`] what this chip has: a serial link, two
//! pins, an instruction counter, the flash slot for a model, and RAM for its arena. The application
//! does the rest, and is the same on every board:
//!
//! - [`loader`] checks the model in the slot at start-up;
//! - [`line`](mod@line) keeps the bytes that the serial line receives while nobody reads; in some
//!   chips' crates the driver does this ([`kept`]);
//! - [`link`](mod@link) receives requests over the serial link, queues rows, and answers;
//! - [`engine`] takes rows from the queue and runs the network, one bounded step at a time. When
//!   there is nothing to run, it reads the model in flash again, piece by piece; if the model
//!   changed, the board says so, and gives no more results.
//!
//! The link and the engine share a queue of pixels ([`heapless::spsc`]). With a camera, its
//! interrupt would put the rows there instead of the link. The link is served between any two steps
//! of the network, so a host is answered while the network runs.
//!
//! The board determines the sizes of all memory: a [`Storage`] with its constants. The application
//! uses it through [`Buffers`], views of any length.
#![no_std]
#![cfg_attr(not(test), forbid(unsafe_code))]
#![cfg_attr(test, deny(unsafe_code))]

#[cfg(test)]
extern crate std;

pub mod engine;
pub mod kept;
pub mod line;
pub mod link;
pub mod loader;
mod log;
#[cfg(feature = "mlperf")]
pub mod mlperf;
#[cfg(feature = "updates")]
pub mod updates;

use brooklet::kernels::Backend;
use brooklet::{Error, Mapped, Session, Weights};
#[cfg(feature = "weights-window")]
pub use brooklet::{Flash, WeightsSource, WeightsWindow};
use brooklet_protocol::Frames;
pub use embassy_futures::block_on;
use embassy_futures::yield_now;
use embedded_hal::digital::OutputPin;
use heapless::spsc::{Consumer, Producer, Queue};

/// Whether the runtime has layers that read or make int16.
pub const INT16: bool = cfg!(feature = "int16");

/// Whether the kernels are in RAM.
pub const HOT_SECTION: bool = cfg!(feature = "hot-section");

pub use brooklet::kernels;
pub use brooklet_protocol::{ANSWER_BYTES, LineErrors, Unit, line_bytes, request_bytes};
use engine::{Engine, Tally};
use line::Line;
use link::Link;

/// Counts the cost of a span.
///
/// It counts spans instead of a running total: a timer that counts several instructions in one tick
/// repeats exactly only if its tick begins with the span.
pub trait Counter {
    /// The unit of its counts.
    const UNIT: Unit;
    /// Begins a span.
    fn start(&mut self);
    /// Ends the span: the count since [`start`](Self::start).
    fn stop(&mut self) -> u64;
}

impl<C: Counter> Counter for &mut C {
    const UNIT: Unit = C::UNIT;

    fn start(&mut self) {
        (**self).start();
    }

    fn stop(&mut self) -> u64 {
        (**self).stop()
    }
}

/// What the board's crate knows about the board, from its `board.toml`.
#[derive(Clone, Copy, Debug)]
pub struct About<B> {
    /// The board's name.
    pub board: &'static str,
    /// Its processor core.
    pub core: &'static str,
    /// The kernels in the firmware.
    pub kernels: B,
    /// The firmware's version.
    pub firmware: &'static str,
}

impl<B> About<B> {
    /// The same board with other kernels.
    pub fn with_kernels<K>(self, kernels: K) -> About<K> {
        let Self { board, core, firmware, .. } = self;
        About { board, core, kernels, firmware }
    }
}

/// What the board's crate has initialized.
#[derive(Debug)]
pub struct Parts<L, C, P, S> {
    /// The serial link to the host.
    pub link: L,
    /// The counter.
    pub counter: C,
    /// High from the first row pushed until the logits are ready.
    pub busy: P,
    /// The status LED: on if the model can run.
    pub status: S,
    /// The maximum depth of the stack so far, in bytes.
    pub stack_bytes: fn() -> u32,
}

/// Memory of the application that is not on the stack, so that the stack's high-water mark shows
/// what calls need, not what buffers take.
///
/// `ROW` is the number of bytes of the longest image row that the board accepts, `REQUEST` its
/// [`request_bytes`], `QUEUE` the number of queued pixel bytes plus one, and `LAYERS` the number of
/// layers in a profile: later layers count only in its total.
#[derive(Debug)]
pub struct Storage<const ROW: usize, const REQUEST: usize, const QUEUE: usize, const LAYERS: usize>
{
    row: [u8; ROW],
    request: [u8; REQUEST],
    answer: [u8; ANSWER_BYTES],
    queue: Queue<u8, QUEUE>,
    counts: [u64; LAYERS],
}

impl<const ROW: usize, const REQUEST: usize, const QUEUE: usize, const LAYERS: usize>
    Storage<ROW, REQUEST, QUEUE, LAYERS>
{
    /// Empty.
    pub const fn new() -> Self {
        const {
            assert!(REQUEST >= request_bytes(ROW), "a request holds a row");
            assert!(QUEUE > ROW, "a row finds room in the queue");
        }
        Self {
            row: [0; ROW],
            request: [0; REQUEST],
            answer: [0; ANSWER_BYTES],
            queue: Queue::new(),
            counts: [0; LAYERS],
        }
    }

    /// The application's view of it.
    pub fn view(&mut self) -> Buffers<'_, REQUEST> {
        let Self { row, request, answer, queue, counts } = self;
        let (pixels_in, pixels_out) = queue.split();
        Buffers { row, request, answer, pixels_in, pixels_out, counts }
    }
}

impl<const ROW: usize, const REQUEST: usize, const QUEUE: usize, const LAYERS: usize> Default
    for Storage<ROW, REQUEST, QUEUE, LAYERS>
{
    fn default() -> Self {
        Self::new()
    }
}

/// Views of a [`Storage`].
pub struct Buffers<'b, const REQUEST: usize> {
    row: &'b mut [u8],
    request: &'b mut [u8; REQUEST],
    answer: &'b mut [u8],
    pixels_in: Producer<'b, u8>,
    pixels_out: Consumer<'b, u8>,
    counts: &'b mut [u64],
}

/// Runs the application until the link fails; a board's UART never does.
///
/// A link that keeps fewer bytes than a request has does not compile, because bytes would be lost
/// while the network computes. So this does not compile:
///
/// ```compile_fail
/// # use brooklet_app::{About, Counter, Parts, Storage, Unit, kernels::Portable, line::Ring, line_bytes};
/// # struct None;
/// # impl Counter for None {
/// #     const UNIT: Unit = Unit::Cycles;
/// #     fn start(&mut self) {}
/// #     fn stop(&mut self) -> u64 { 0 }
/// # }
/// # impl embedded_hal::digital::ErrorType for None { type Error = core::convert::Infallible; }
/// # impl embedded_hal::digital::OutputPin for None {
/// #     fn set_low(&mut self) -> Result<(), Self::Error> { Ok(()) }
/// #     fn set_high(&mut self) -> Result<(), Self::Error> { Ok(()) }
/// # }
/// const ROOM: usize = line_bytes(96); // one too few: a ring keeps a byte less
/// let mut ring = Ring::<ROOM>::new();
/// # let mut sent = [0_u8; 9];
/// let (_inlet, link) = ring.split(&mut sent[..]);
/// # let parts = Parts { link, counter: None, busy: None, status: None, stack_bytes: || 0 };
/// # let about = About { board: "", core: "", kernels: Portable, firmware: "" };
/// # let mut storage = Storage::<96, { brooklet_app::request_bytes(96) }, 97, 1>::new();
/// # if std::env::args().count() > 9 {
/// brooklet_app::run(parts, about, &[], &mut [], storage.view());
/// # }
/// ```
///
/// With `line_bytes(96) + 1` it compiles:
///
/// ```
/// # use brooklet_app::{About, Counter, Parts, Storage, Unit, kernels::Portable, line::Ring, line_bytes};
/// # struct None;
/// # impl Counter for None {
/// #     const UNIT: Unit = Unit::Cycles;
/// #     fn start(&mut self) {}
/// #     fn stop(&mut self) -> u64 { 0 }
/// # }
/// # impl embedded_hal::digital::ErrorType for None { type Error = core::convert::Infallible; }
/// # impl embedded_hal::digital::OutputPin for None {
/// #     fn set_low(&mut self) -> Result<(), Self::Error> { Ok(()) }
/// #     fn set_high(&mut self) -> Result<(), Self::Error> { Ok(()) }
/// # }
/// const ROOM: usize = line_bytes(96) + 1;
/// let mut ring = Ring::<ROOM>::new();
/// # let mut sent = [0_u8; 9];
/// let (_inlet, link) = ring.split(&mut sent[..]);
/// # let parts = Parts { link, counter: None, busy: None, status: None, stack_bytes: || 0 };
/// # let about = About { board: "", core: "", kernels: Portable, firmware: "" };
/// # let mut storage = Storage::<96, { brooklet_app::request_bytes(96) }, 97, 1>::new();
/// # if std::env::args().count() > 9 {
/// brooklet_app::run(parts, about, &[], &mut [], storage.view());
/// # }
/// ```
///
/// `slot` is the flash for a model. Its contents are checked before they are used. `arena` is
/// aligned to [`brooklet::ARENA_ALIGN`].
pub fn run<B, L, C, P, S, const REQUEST: usize>(
    parts: Parts<L, C, P, S>,
    about: About<B>,
    slot: &[u8],
    arena: &mut [u8],
    buffers: Buffers<'_, REQUEST>,
) -> Result<core::convert::Infallible, L::Error>
where
    B: Backend + Copy,
    L: Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
{
    let mut board = Board::start(parts, about, slot, arena, buffers);
    loop {
        board.turn()?;
    }
}

/// [`run`] with a model behind a driver: its weights go through a window, and everything before
/// them stays in `resident`.
///
/// # Errors
///
/// The link's.
#[cfg(feature = "weights-window")]
pub fn run_from_source<B, L, C, P, S, R, const REQUEST: usize>(
    parts: Parts<L, C, P, S>,
    about: About<B>,
    mut weights: WeightsWindow<'_, R>,
    resident: &mut [u8],
    arena: &mut [u8],
    buffers: Buffers<'_, REQUEST>,
) -> Result<core::convert::Infallible, L::Error>
where
    B: Backend + Copy,
    L: Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
    R: WeightsSource,
{
    let slot = weights.source().capacity();
    let load = |counter: &mut C, arena| {
        counter.start();
        let model = weights.parse(resident);
        let check_count = counter.stop();
        counter.start();
        let session =
            model.and_then(|model| Session::with_weights(&model, about.kernels, arena, weights));
        (session, check_count)
    };
    let mut board = Board::start_with(parts, about, slot, arena, buffers, load);
    loop {
        board.turn()?;
    }
}

/// [`run`] as a task of an executor. The other tasks have their turn after each step of the
/// network, even if the host is waiting for its answer. Three things take longer than a step: the
/// check of the model at start-up, a self-test, and a line that cannot take an answer at once.
///
/// The task never sleeps: when there is nothing else to do, it reads the model in flash again.
pub async fn run_async<B, L, C, P, S, const REQUEST: usize>(
    parts: Parts<L, C, P, S>,
    about: About<B>,
    slot: &[u8],
    arena: &mut [u8],
    buffers: Buffers<'_, REQUEST>,
) -> Result<core::convert::Infallible, L::Error>
where
    B: Backend + Copy,
    L: Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
{
    let mut board = Board::start(parts, about, slot, arena, buffers);
    loop {
        board.turn()?;
        yield_now().await;
    }
}

/// [`run_async`] with the newest good model of two [slots](brooklet_slots). A signed model that
/// arrives over the link is written to the other slot; then the board starts with it, without a
/// reset.
///
/// `key` is the public key of the signers of models.
///
/// # Errors
///
/// The link's.
#[cfg(feature = "updates")]
pub async fn run_from_slots<
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
    mut parts: Parts<L, C, P, S>,
    about: About<B>,
    slots: &mut [F; 2],
    key: &[u8; 32],
    arena: &mut [u8],
    storage: &mut Storage<ROW, REQUEST, QUEUE, LAYERS>,
) -> Result<core::convert::Infallible, L::Error>
where
    B: Backend + Copy,
    L: Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
    F: updates::Slot,
{
    loop {
        let (slot, mut other) = updates::start(slots, key, about.kernels, ROW, arena);
        let Parts { link, counter, busy, status, stack_bytes } = &mut parts;
        let parts = Parts { link, counter, busy, status, stack_bytes: *stack_bytes };
        let mut board = Board::start(parts, about, slot, arena, storage.view());
        board.link.with_installer(&mut other);
        while !board.link.is_over() {
            board.turn()?;
            yield_now().await;
        }
    }
}

/// The running application.
struct Board<'b, B, L, C, P, S, W = Mapped> {
    engine: Option<Engine<'b, B, C, P, W>>,
    link: Link<'b, B, L>,
    status: S,
}

impl<'b, B, L, C, P, S> Board<'b, B, L, C, P, S>
where
    B: Backend + Copy,
    L: Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
{
    /// Checks the model, and makes a session from it. It is made in the caller's frame, because not
    /// every stack has room for two.
    #[inline(always)]
    fn start<const REQUEST: usize>(
        parts: Parts<L, C, P, S>,
        about: About<B>,
        slot: &'b [u8],
        arena: &'b mut [u8],
        buffers: Buffers<'b, REQUEST>,
    ) -> Self {
        let load = |counter: &mut C, arena| {
            counter.start();
            let model = loader::load(slot);
            let check_count = counter.stop();
            // A tool that counts these spans from outside discards this one: none ends between it
            // and the next.
            counter.start();
            let session = match &model {
                Ok(model) => Session::new(model, about.kernels, arena),
                Err(error) => Err(*error),
            };
            (session, check_count)
        };
        Self::start_with(parts, about, slot.len(), arena, buffers, load)
    }
}

impl<'b, B, L, C, P, S, W> Board<'b, B, L, C, P, S, W>
where
    B: Backend + Copy,
    L: Line,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
    W: Weights,
{
    /// [`start`](Board::start) with a model of at most `slot` bytes. `load` makes a session from
    /// it, and returns its count for the check.
    #[inline(always)]
    fn start_with<const REQUEST: usize>(
        parts: Parts<L, C, P, S>,
        about: About<B>,
        slot: usize,
        arena: &'b mut [u8],
        buffers: Buffers<'b, REQUEST>,
        load: impl FnOnce(&mut C, &'b mut [u8]) -> (Result<Session<'b, 'b, B, W>, Error>, u64),
    ) -> Self {
        const {
            assert!(L::KEEPS > REQUEST, "the link keeps a request and the zero before it");
        }
        let Parts { link, mut counter, busy, mut status, stack_bytes } = parts;
        log::info!("{=str}: {=str}, backend {=str}", about.board, about.core, B::ISA.name);

        let Buffers { row, request, answer, pixels_in, pixels_out, counts } = buffers;
        let memory = link::Memory { slot, arena: arena.len(), row: row.len(), stack_bytes };
        let (session, check_count) = load(&mut counter, arena);
        let loaded = loader::report(&session, row.len(), check_count);
        match &loaded {
            Ok(loaded) => log::info!(
                "model checked: {=u32} bytes, {=u16} layers, arena {=u32}",
                loaded.model_bytes,
                loaded.layers,
                loaded.arena_bytes
            ),
            Err(refusal) => log::error!("no model that can run here: {}", refusal),
        }
        // A pin that cannot be set is no reason to stop: pins only indicate.
        let _ = if loaded.is_ok() { status.set_high() } else { status.set_low() };

        let engine = match (session, &loaded) {
            (Ok(session), Ok(_)) => {
                let tally = Tally::new(counts, session.model().layers().len());
                Some(Engine::new(session, pixels_out, row, counter, busy, tally))
            }
            _ => None,
        };
        let frames = Frames::new(&mut request[..]);
        let link =
            Link::new(link, C::UNIT, frames, answer, pixels_in, about, memory, loaded, check_count);
        Self { engine, link, status }
    }

    /// Serves the link, and does a piece of the engine's work.
    #[inline(always)]
    fn turn(&mut self) -> Result<(), L::Error> {
        let served = self.link.serve(self.engine.as_mut())?;
        if let Some(engine) = &mut self.engine {
            if engine.can_work() {
                engine.turn();
            } else if !served {
                engine.scrub();
            }
            if engine.is_changed() {
                let _ = self.status.set_low();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod paced;
#[cfg(test)]
mod tests;
