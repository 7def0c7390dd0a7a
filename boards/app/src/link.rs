//! Takes requests from the serial link, and answers each.

use core::fmt::Write as _;

use brooklet::Error;
use brooklet_protocol::{
    Accepted, Counts, Fault, FrameError, Frames, Identity, LAYERS_PER_PAGE, LOGITS_PER_PAGE,
    Loaded, LogitsPage, ProfilePage, Request, Response, decode, encode,
};
use embedded_hal::digital::OutputPin;
use embedded_io::{Read, ReadReady, Write};
use heapless::{String, Vec, spsc::Producer};

use crate::{About, Counter, Row, engine::Engine, log};

/// The board's memory, as the host is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes of the model's slot.
    pub slot: usize,
    /// Bytes of RAM for an arena.
    pub arena: usize,
    /// The deepest that the stack has been.
    pub stack_bytes: fn() -> u32,
}

/// The host's side of the application.
pub struct Link<'a, L> {
    io: L,
    frames: &'a mut Frames,
    sending: &'a mut [u8],
    desk: Desk<'a>,
}

/// Everything but the transport, apart so that a frame can be borrowed while it is answered.
struct Desk<'a> {
    rows: Producer<'a, Row>,
    /// Rows of the current picture that have been taken.
    seen: u16,
    about: About,
    memory: Memory,
    loaded: Result<Loaded, Error>,
}

impl<'a, L: Read + ReadReady + Write> Link<'a, L> {
    /// A link over `io`.
    pub(crate) fn new(
        io: L,
        frames: &'a mut Frames,
        sending: &'a mut [u8],
        rows: Producer<'a, Row>,
        about: About,
        memory: Memory,
        loaded: Result<Loaded, Error>,
    ) -> Self {
        let desk = Desk { rows, seen: 0, about, memory, loaded };
        Self { io, frames, sending, desk }
    }

    /// Has the host sent something?
    pub(crate) fn has_bytes(&mut self) -> Result<bool, L::Error> {
        self.io.read_ready()
    }

    /// Reads what has come, at least one byte; answers if that completes a request.
    pub(crate) fn serve<C: Counter, P: OutputPin>(
        &mut self,
        engine: Option<&mut Engine<'_, C, P>>,
    ) -> Result<(), L::Error> {
        let mut byte = [0];
        if self.io.read(&mut byte)? == 0 {
            return Ok(());
        }
        let Some(frame) = self.frames.push(byte[0]) else { return Ok(()) };

        let request = frame.and_then(decode::<Request<'_>>);
        let mut room = Room::default();
        let response = match request {
            Ok(request) => self.desk.answer(request, engine, &mut room),
            Err(FrameError::Garbled) => Err(Fault::Garbled),
            Err(FrameError::TooLong) => Err(Fault::FrameTooLong),
        };
        let response = response.unwrap_or_else(|fault| {
            log::error!("request refused: {}", fault);
            Response::Failed(fault)
        });

        let bytes = match encode(&response, self.sending) {
            Ok(bytes) => bytes,
            // The protocol's tests show that every message fits; without an answer, though,
            // a host would wait in vain.
            Err(_) => {
                let fault = Fault::Internal { reason: "the answer is too long" };
                encode(&Response::Failed(fault), self.sending).unwrap_or_default()
            }
        };
        self.io.write_all(bytes)?;
        self.io.flush()
    }
}

/// Room for the parts of an answer that are made for it.
#[derive(Default)]
struct Room {
    text: String<192>,
    logits: Vec<u8, LOGITS_PER_PAGE>,
    output: Vec<u8, LOGITS_PER_PAGE>,
}

impl Desk<'_> {
    fn answer<'r, C: Counter, P: OutputPin>(
        &'r mut self,
        request: Request<'_>,
        engine: Option<&mut Engine<'_, C, P>>,
        room: &'r mut Room,
    ) -> Result<Response<'r>, Fault<'r>> {
        if let Request::SelfTest = request {
            return self_test();
        }
        if let Request::Identify = request {
            return Ok(Response::Identity(Identity {
                protocol: brooklet_protocol::VERSION,
                board: self.about.board,
                core: self.about.core,
                backend: self.about.backend,
                firmware: self.about.firmware,
                slot_bytes: self.memory.slot as u32,
                arena_bytes: self.memory.arena as u32,
            }));
        }
        // All other requests are about the model.
        let (loaded, engine) = match (self.loaded, engine) {
            (Ok(loaded), Some(engine)) => (loaded, engine),
            (Err(error), _) => {
                let Room { text, .. } = room;
                // Cut short if it does not fit: better than nothing.
                let _ = write!(text, "{error}");
                return Err(Fault::Model { reason: text });
            }
            (Ok(_), None) => return Err(Fault::Internal { reason: "a model without a session" }),
        };
        match request {
            Request::Identify | Request::SelfTest | Request::Check => Ok(Response::Loaded(loaded)),
            Request::Row { y, pixels } => self.row(y, pixels, &loaded, engine),
            Request::Logits { first } => self.logits(first, &loaded, engine, room),
            Request::Profile { first } => {
                self.complete(&loaded, engine)?;
                Ok(Response::Profile(self.profile(first, &loaded, engine)))
            }
            Request::Reset => {
                self.seen = 0;
                engine.reset();
                Ok(Response::Ready)
            }
        }
    }

    fn row<'r, C: Counter, P: OutputPin>(
        &mut self,
        y: u16,
        pixels: &[u8],
        loaded: &Loaded,
        engine: &mut Engine<'_, C, P>,
    ) -> Result<Response<'r>, Fault<'r>> {
        // Row 0 begins a picture, whatever became of the one before.
        let expected = if self.seen == loaded.rows || y == 0 { 0 } else { self.seen };
        if y != expected {
            return Err(Fault::RowOutOfOrder { expected });
        }
        let length = loaded.columns.saturating_mul(loaded.channels);
        if pixels.len() != usize::from(length) {
            return Err(Fault::RowBytes { expected: length });
        }
        if y == 0 {
            engine.reset();
        }
        while !self.rows.ready() {
            // The queue is full of rows, so the engine has work until one is taken.
            engine.turn();
        }
        let Ok(row) = Row::from_slice(pixels) else {
            return Err(Fault::Internal { reason: "a row longer than the queue's" });
        };
        // There is room, as was just seen to.
        let _ = self.rows.enqueue(row);
        self.seen = y + 1;
        Ok(Response::Accepted(Accepted { rows: self.seen }))
    }

    /// Lets the engine finish the picture, if all of its rows have come.
    fn complete<C: Counter, P: OutputPin>(
        &self,
        loaded: &Loaded,
        engine: &mut Engine<'_, C, P>,
    ) -> Result<(), Fault<'static>> {
        if self.seen != loaded.rows {
            return Err(Fault::RowsMissing { seen: self.seen, of: loaded.rows });
        }
        engine.finish();
        if engine.is_done() {
            Ok(())
        } else {
            Err(Fault::Internal { reason: "the network stalls" })
        }
    }

    fn logits<'r, C: Counter, P: OutputPin>(
        &self,
        first: u16,
        loaded: &Loaded,
        engine: &mut Engine<'_, C, P>,
        room: &'r mut Room,
    ) -> Result<Response<'r>, Fault<'r>> {
        self.complete(loaded, engine)?;
        let session = engine.session();
        let missing = Fault::Internal { reason: "no results at the network's end" };
        let logits = session.logits().map_err(|_| missing)?;
        let classes = logits.as_slice().len() as u16;
        fill(&mut room.logits, logits.as_slice(), first);
        let output = session.output().map_err(|_| missing)?;
        fill(&mut room.output, output.as_slice(), first);
        let Room { logits, output, .. } = room;
        Ok(Response::Logits(LogitsPage { classes, first, logits, output }))
    }

    fn profile<C: Counter, P: OutputPin>(
        &self,
        first: u16,
        loaded: &Loaded,
        engine: &Engine<'_, C, P>,
    ) -> ProfilePage {
        let tally = engine.tally();
        let counts: Counts =
            tally.layers.iter().skip(first.into()).take(LAYERS_PER_PAGE).copied().collect();
        ProfilePage {
            instructions: tally.total,
            stack_bytes: (self.memory.stack_bytes)(),
            layers: loaded.layers,
            first,
            counts,
        }
    }
}

/// Copies a page of values that begins at `first`.
fn fill(page: &mut Vec<u8, LOGITS_PER_PAGE>, values: &[i8], first: u16) {
    page.extend(
        values.iter().skip(first.into()).take(LOGITS_PER_PAGE).map(|value| value.cast_unsigned()),
    );
}

/// Runs every case of the kernels' suite on this core.
#[cfg(feature = "suite")]
fn self_test<'r>() -> Result<Response<'r>, Fault<'r>> {
    use brooklet_suite::{Memory, run};
    use static_cell::ConstStaticCell;

    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    let memory = MEMORY.try_take().ok_or(Fault::Internal { reason: "the suite ran before" })?;
    let outcome = run(&brooklet::kernels::Portable, memory);
    Ok(Response::SelfTest { cases: outcome.cases, failures: outcome.failures })
}

/// Firmware for use has no suite.
#[cfg(not(feature = "suite"))]
fn self_test<'r>() -> Result<Response<'r>, Fault<'r>> {
    Err(Fault::Internal { reason: "this firmware is built without its feature `suite`" })
}
