//! The application that every brooklet board runs.
//!
//! A board's crate starts its chip, and hands [`run`] what this chip has: a serial link, two
//! pins, an instruction counter, the flash slot that a model may be in, and RAM for its
//! arena. The application does the rest, the same on every board:
//!
//! - [`loader`] checks the model in the slot, once, at start-up;
//! - [`link`](mod@link) takes requests from the serial link, queues rows, and answers;
//! - [`engine`] takes rows from the queue and runs the network, a bounded step at a time.
//!
//! The link and the engine meet in a queue of rows ([`heapless::spsc`]), which is where a
//! camera's interrupt would put its rows in the link's stead. Between any two steps of the
//! network the link is looked after, so a host is answered while the network runs.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod engine;
pub mod link;
pub mod loader;
mod log;

use brooklet::kernels::Portable;
use brooklet_protocol::{FRAME_BYTES, Frames, ROW_BYTES};
use embedded_hal::digital::OutputPin;
use embedded_io::{Read, ReadReady, Write};
use heapless::spsc::Queue;

use engine::{Engine, Session, Tally};
use link::Link;

/// One row of pixels.
pub type Row = heapless::Vec<u8, ROW_BYTES>;

/// Slots of the row queue. One stays free, so that full and empty differ.
pub const QUEUE_SLOTS: usize = 3;

/// Layers that a profile tells apart; later ones are in its total only.
pub const PROFILED_LAYERS: usize = 256;

/// Counts the instructions of a span.
///
/// Spans, and not a running total, because a timer that counts several instructions a tick
/// can only repeat exactly if its tick begins with the span.
pub trait Counter {
    /// Begins a span.
    fn start(&mut self);
    /// Ends it: instructions since [`start`](Self::start).
    fn stop(&mut self) -> u64;
}

/// What the board's crate knows about itself, from its `board.toml`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The board's name.
    pub board: &'static str,
    /// Its processor core.
    pub core: &'static str,
    /// The kernels that the firmware has.
    pub backend: &'static str,
    /// The firmware's version.
    pub firmware: &'static str,
}

/// What the board's crate has brought up.
#[derive(Debug)]
pub struct Parts<L, C, P, S> {
    /// The serial link to the host.
    pub link: L,
    /// The instruction counter.
    pub counter: C,
    /// High from the first row pushed until the logits are ready.
    pub busy: P,
    /// The status LED: on if the model can run.
    pub status: S,
    /// The deepest that the stack has been, in bytes.
    pub stack_bytes: fn() -> u32,
}

/// Memory of the application that does not live on the stack, so that the stack's high-water
/// mark tells what calls need, not what buffers take.
#[derive(Debug)]
pub struct Buffers {
    frames: Frames,
    sending: [u8; FRAME_BYTES],
    rows: Queue<Row, QUEUE_SLOTS>,
    tally: Tally,
}

impl Buffers {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            frames: Frames::new(),
            sending: [0; FRAME_BYTES],
            rows: Queue::new(),
            tally: Tally::new(),
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs the application until the link fails, which a board's UART never does.
///
/// `slot` is the flash that a model may be in: whatever it holds, it is checked before it is
/// used. `arena` is aligned to [`brooklet::ARENA_ALIGN`].
pub fn run<L, C, P, S>(
    parts: Parts<L, C, P, S>,
    about: About,
    slot: &[u8],
    arena: &mut [u8],
    buffers: &mut Buffers,
) -> Result<core::convert::Infallible, L::Error>
where
    L: Read + ReadReady + Write,
    C: Counter,
    P: OutputPin,
    S: OutputPin,
{
    let Parts { link, counter, busy, mut status, stack_bytes } = parts;
    log::info!("{=str}: {=str}, backend {=str}", about.board, about.core, about.backend);

    let arena_bytes = arena.len();
    let model = loader::load(slot);
    let session = match &model {
        Ok(model) => Session::new(model, Portable, arena),
        Err(error) => Err(*error),
    };
    let loaded = loader::report(&model, &session);
    match &loaded {
        Ok(loaded) => log::info!(
            "model checked: {=u32} bytes, {=u16} layers, arena {=u32}",
            loaded.model_bytes,
            loaded.layers,
            loaded.arena_bytes
        ),
        Err(error) => log::error!("no model that can run here: {}", error),
    }
    // A pin that cannot be set is no reason to stop: pins only show.
    let _ = if loaded.is_ok() { status.set_high() } else { status.set_low() };

    let (producer, consumer) = buffers.rows.split();
    let mut engine = session
        .ok()
        .map(|session| Engine::new(session, consumer, counter, busy, &mut buffers.tally));
    let mut link = Link::new(
        link,
        &mut buffers.frames,
        &mut buffers.sending,
        producer,
        about,
        link::Memory { slot: slot.len(), arena: arena_bytes, stack_bytes },
        loaded,
    );

    loop {
        let can_work = engine.as_ref().is_some_and(Engine::can_work);
        // Nothing to compute: wait for a byte. Something to compute: only look for one.
        if !can_work || link.has_bytes()? {
            link.serve(engine.as_mut())?;
        }
        if let Some(engine) = &mut engine {
            engine.turn();
        }
    }
}

#[cfg(test)]
mod tests;
