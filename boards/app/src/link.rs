//! Receives requests over the serial link, and answers each of them.

use core::fmt::Write as _;

use brooklet::kernels::Backend;
use brooklet::{Map, RowError, SelfTest, Weights};
#[cfg(feature = "updates")]
use brooklet_protocol::SlotsState;
use brooklet_protocol::{
    Accepted, Counts, Fault, FrameError, Frames, Identity, LAYERS_PER_PAGE, LineErrors, Loaded,
    ProfilePage, REASON_BYTES, Request, Response, Unit, VALUES_PER_PAGE, ValuesPage, decode,
    encode,
};
use embedded_hal::digital::OutputPin;
use heapless::{String, spsc::Producer};

use crate::engine::Engine;
use crate::line::Line;
use crate::loader::Refusal;
#[cfg(feature = "updates")]
use crate::updates::Installer;
use crate::{About, Counter, log};

/// The board's memory, as reported to the host.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Number of bytes of the model's slot.
    pub slot: usize,
    /// Number of bytes of RAM for an arena.
    pub arena: usize,
    /// Number of bytes of the longest row.
    pub row: usize,
    /// The maximum depth of the stack so far.
    pub stack_bytes: fn() -> u32,
}

/// The host's side of the application.
pub struct Link<'a, B, L> {
    io: L,
    frames: Frames<&'a mut [u8]>,
    sending: &'a mut [u8],
    desk: Desk<'a, B>,
    /// The request that waits until the engine is ready.
    waiting: Option<Waiting>,
}

/// A request for which the engine has to work first. Nothing else is read from the line in the
/// meantime.
#[derive(Clone, Copy)]
enum Waiting {
    /// A request for results, until the network has run.
    Results(Request<'static>),
    /// A row, until there is room for it: its index, and the position of its pixels in the frame.
    Row { y: u16, first: usize, bytes: usize },
    /// A check, until the model has been read again.
    Check,
}

/// Everything except the transport, kept apart so that a frame can be borrowed while it is
/// answered.
struct Desk<'a, B> {
    pixels: Producer<'a, u8>,
    /// Number of rows of the current image that have been accepted.
    seen: u16,
    about: About<B>,
    memory: Memory,
    loaded: Result<Loaded, Refusal>,
    unit: Unit,
    /// The count for checking what is in the slot.
    check_count: u64,
    /// Errors of the line, as of the current request.
    errors: LineErrors,
    #[cfg(feature = "updates")]
    installer: Option<&'a mut dyn Installer>,
}

impl<'a, B: Backend, L: Line> Link<'a, B, L> {
    /// A link over `io`, for a board that counts in `unit`.
    #[expect(clippy::too_many_arguments, reason = "called once, with what `run` has")]
    pub(crate) fn new(
        io: L,
        unit: Unit,
        frames: Frames<&'a mut [u8]>,
        sending: &'a mut [u8],
        pixels: Producer<'a, u8>,
        about: About<B>,
        memory: Memory,
        loaded: Result<Loaded, Refusal>,
        check_count: u64,
    ) -> Self {
        let errors = LineErrors::default();
        let desk = Desk {
            pixels,
            seen: 0,
            about,
            memory,
            loaded,
            unit,
            check_count,
            errors,
            #[cfg(feature = "updates")]
            installer: None,
        };
        Self { io, frames, sending, desk, waiting: None }
    }

    /// Accepts models over the link.
    #[cfg(feature = "updates")]
    pub(crate) fn with_installer(&mut self, installer: &'a mut dyn Installer) {
        self.desk.installer = Some(installer);
    }

    /// Whether a model was installed, with which the board now starts.
    #[cfg(feature = "updates")]
    pub(crate) fn is_over(&self) -> bool {
        self.desk.installer.as_ref().is_some_and(|installer| installer.is_installed())
    }

    /// Reads received bytes, and answers if they complete a request, or if the engine is ready for
    /// a waiting one. Returns whether it did anything.
    pub(crate) fn serve<C: Counter, P: OutputPin, W: Weights>(
        &mut self,
        engine: Option<&mut Engine<'_, B, C, P, W>>,
    ) -> Result<bool, L::Error> {
        let (Self { io, frames, sending, desk, waiting }, mut engine) = (self, engine);
        let mut text = String::new();
        let response = if let Some(request) = *waiting {
            if !desk.is_ready(request, engine.as_deref_mut()) {
                return Ok(false);
            }
            *waiting = None;
            match request {
                Waiting::Results(request) => desk.answer(request, engine, &mut text),
                Waiting::Check => desk.answer(Request::Check, engine, &mut text),
                Waiting::Row { y, first, bytes } => {
                    let pixels = frames.last(first..first + bytes);
                    desk.answer(Request::Row { y, pixels }, engine, &mut text)
                }
            }
        } else {
            if !io.read_ready()? {
                return Ok(false);
            }
            let mut byte = [0];
            if io.read(&mut byte)? == 0 {
                return Ok(true);
            }
            let Some(frame) = frames.push(byte[0]) else { return Ok(true) };
            desk.errors = io.errors();
            let start = frame.as_ref().map_or(0, |frame| frame.as_ptr().addr());
            match frame.and_then(decode::<Request<'_>>) {
                Ok(request) => {
                    *waiting = Waiting::of(request, start);
                    if let Some(request) = *waiting {
                        desk.begin(request, engine.as_deref_mut());
                        if !desk.is_ready(request, engine.as_deref_mut()) {
                            return Ok(true);
                        }
                        *waiting = None;
                    }
                    desk.answer(request, engine, &mut text)
                }
                Err(FrameError::Garbled) => Err(Fault::Garbled),
                Err(FrameError::TooLong) => Err(Fault::FrameTooLong),
            }
        };
        let response = response.unwrap_or_else(|fault| {
            log::error!("request refused: {}", fault);
            Response::Failed(fault)
        });

        let bytes = match encode(&response, sending) {
            Ok(bytes) => bytes,
            // The protocol's tests show that every message fits; but without an answer the host
            // would wait for nothing.
            Err(_) => {
                let fault = Fault::Internal { reason: "the answer is too long" };
                encode(&Response::Failed(fault), sending).unwrap_or_default()
            }
        };
        io.write_all(bytes)?;
        io.flush()?;
        Ok(true)
    }
}

impl Waiting {
    /// The request in a frame that begins at address `start`, if it may have to wait.
    fn of(request: Request<'_>, start: usize) -> Option<Self> {
        Some(match request {
            Request::Logits { first } => Self::Results(Request::Logits { first }),
            Request::Output { first } => Self::Results(Request::Output { first }),
            Request::Profile { first } => Self::Results(Request::Profile { first }),
            Request::Row { y, pixels } => Self::Row {
                y,
                first: pixels.as_ptr().addr().saturating_sub(start),
                bytes: pixels.len(),
            },
            Request::Check => Self::Check,
            _ => return None,
        })
    }
}

/// Room for a reason in words.
type Text = String<REASON_BYTES>;

impl<B: Backend> Desk<'_, B> {
    /// Starts the work for which a request waits.
    fn begin<C: Counter, P: OutputPin, W: Weights>(
        &mut self,
        request: Waiting,
        engine: Option<&mut Engine<'_, B, C, P, W>>,
    ) {
        let Some(engine) = engine else { return };
        match request {
            Waiting::Check => engine.begin_verifying(),
            // Row 0 begins an image: queued rows of another image are dropped.
            Waiting::Row { y: 0, bytes, .. } if self.takes(0, bytes).is_ok() => engine.reset(),
            _ => {}
        }
    }

    /// Whether a request can be answered now. A check reads a piece of the model each time it is
    /// asked.
    fn is_ready<C: Counter, P: OutputPin, W: Weights>(
        &self,
        request: Waiting,
        engine: Option<&mut Engine<'_, B, C, P, W>>,
    ) -> bool {
        // Without a model, or if the request will be refused, there is nothing to wait for.
        let Some(engine) = engine else { return true };
        match request {
            Waiting::Check => engine.verify(),
            Waiting::Results(_) => self.has_all_rows().is_err() || !engine.can_work(),
            // While there is no room, the queue holds a complete row, so the engine has work until
            // it takes the row.
            Waiting::Row { y, bytes, .. } => {
                let room = self.pixels.capacity() - self.pixels.len();
                self.takes(y, bytes).is_err() || room >= bytes || !engine.can_work()
            }
        }
    }

    fn answer<'r, C: Counter, P: OutputPin, W: Weights>(
        &'r mut self,
        request: Request<'_>,
        engine: Option<&'r mut Engine<'_, B, C, P, W>>,
        text: &'r mut Text,
    ) -> Result<Response<'r>, Fault<'r>> {
        if let Request::Suite { one_in } = request {
            return suite(&self.about.kernels, one_in);
        }
        if let Request::Line = request {
            return Ok(Response::Line(self.errors));
        }
        if let Request::Identify = request {
            return Ok(Response::Identity(Identity {
                protocol: brooklet_protocol::VERSION,
                board: self.about.board,
                core: self.about.core,
                backend: B::ISA.name,
                firmware: self.about.firmware,
                slot_bytes: self.memory.slot as u32,
                arena_bytes: self.memory.arena as u32,
                row_bytes: self.memory.row as u32,
                unit: self.unit,
                check_count: self.check_count,
            }));
        }
        if let Request::Slots
        | Request::Update { .. }
        | Request::Part { .. }
        | Request::Install { .. } = request
        {
            return self.update(request, text);
        }
        // All other requests need the model.
        let (loaded, engine) = match (self.loaded, engine) {
            (Ok(loaded), Some(engine)) => (loaded, engine),
            (Err(Refusal::RowTooLong { bytes, limit }), _) => {
                return Err(Fault::RowTooLong { bytes: bytes as u32, limit: limit as u32 });
            }
            (Err(Refusal::Model(error)), _) => {
                // Truncated if it does not fit, which is better than nothing.
                let _ = write!(text, "{error}");
                return Err(Fault::Model { reason: text });
            }
            (Ok(_), None) => return Err(Fault::Internal { reason: "a model without a session" }),
        };
        // The answer is about the present contents of flash, not about those at start-up.
        if engine.is_changed() {
            return Err(Fault::ModelChanged);
        }
        match request {
            Request::Check => Ok(Response::Loaded(loaded)),
            Request::Identify
            | Request::Suite { .. }
            | Request::Line
            | Request::Slots
            | Request::Update { .. }
            | Request::Part { .. }
            | Request::Install { .. } => Err(Fault::Internal { reason: "answered before" }),
            Request::SelfTest => {
                self.seen = 0;
                let (images, differs) = match engine.self_test() {
                    SelfTest::NoneStored => (0, None),
                    SelfTest::Passed { images } => (images, None),
                    SelfTest::Differs { image } => {
                        (engine.session().model().test_images().len() as u16, Some(image))
                    }
                };
                Ok(Response::SelfTest { images, differs })
            }
            Request::Row { y, pixels } => self.row(y, pixels),
            Request::Logits { first } => {
                self.complete(engine)?;
                values(engine.session().logits_map(), first)
            }
            Request::Output { first } => {
                self.complete(engine)?;
                values(engine.session().map(), first)
            }
            Request::Profile { first } => {
                self.complete(engine)?;
                Ok(Response::Profile(self.profile(first, &loaded, engine)))
            }
            Request::Reset => {
                self.seen = 0;
                engine.reset();
                Ok(Response::Ready)
            }
        }
    }

    /// Answers requests about slots.
    #[cfg(feature = "updates")]
    fn update<'r>(
        &mut self,
        request: Request<'_>,
        text: &'r mut Text,
    ) -> Result<Response<'r>, Fault<'r>> {
        let installer = self.installer.as_deref_mut().ok_or(Fault::NoUpdates)?;
        let unit = installer.unit();
        let slots = |running| Response::Slots(SlotsState { running, unit });
        let done = match request {
            Request::Update { bytes } => installer.begin(bytes).map(|()| Response::Ready),
            Request::Part { offset, bytes } => {
                installer.part(offset, bytes).map(|()| Response::Ready)
            }
            Request::Install { counter, signature } => {
                installer.install(counter, signature).map(|()| slots(Some(counter)))
            }
            _ => Ok(slots(installer.running())),
        };
        done.map_err(|fault| {
            let _ = write!(text, "{fault}");
            Fault::Update { reason: text }
        })
    }

    /// Firmware without the feature takes no updates.
    #[cfg(not(feature = "updates"))]
    fn update<'r>(&mut self, _: Request<'_>, _: &'r mut Text) -> Result<Response<'r>, Fault<'r>> {
        Err(Fault::NoUpdates)
    }

    /// Whether row `y` is the expected one, and has the right number of bytes.
    fn takes(&self, y: u16, bytes: usize) -> Result<(), Fault<'static>> {
        let Ok(loaded) = self.loaded else {
            return Err(Fault::Internal { reason: "a row without a model" });
        };
        // Row 0 begins an image, whatever the state of the one before.
        let expected = if self.seen == loaded.rows || y == 0 { 0 } else { self.seen };
        if y != expected {
            return Err(Fault::RowOutOfOrder { expected });
        }
        let expected = u32::from(loaded.columns) * u32::from(loaded.channels);
        if bytes != expected as usize {
            return Err(Fault::RowBytes { expected });
        }
        Ok(())
    }

    /// Accepts a row for which there is room.
    fn row<'r>(&mut self, y: u16, pixels: &[u8]) -> Result<Response<'r>, Fault<'r>> {
        self.takes(y, pixels.len())?;
        for &pixel in pixels {
            self.pixels
                .enqueue(pixel)
                .map_err(|_| Fault::Internal { reason: "the queue stalls" })?;
        }
        self.seen = y + 1;
        Ok(Response::Accepted(Accepted { rows: self.seen }))
    }

    /// Whether all rows of the image have arrived.
    fn has_all_rows(&self) -> Result<(), Fault<'static>> {
        match self.loaded {
            Ok(loaded) if self.seen != loaded.rows => {
                Err(Fault::RowsMissing { seen: self.seen, of: loaded.rows })
            }
            _ => Ok(()),
        }
    }

    /// Whether the image is complete, and the network has run.
    fn complete<C: Counter, P: OutputPin, W: Weights>(
        &self,
        engine: &mut Engine<'_, B, C, P, W>,
    ) -> Result<(), Fault<'static>> {
        self.has_all_rows()?;
        if engine.is_done() {
            Ok(())
        } else {
            Err(Fault::Internal { reason: "the network stalls" })
        }
    }

    fn profile<C: Counter, P: OutputPin, W: Weights>(
        &self,
        first: u16,
        loaded: &Loaded,
        engine: &Engine<'_, B, C, P, W>,
    ) -> ProfilePage {
        let tally = engine.tally();
        let counts: Counts =
            tally.layers.iter().skip(first.into()).take(LAYERS_PER_PAGE).copied().collect();
        ProfilePage {
            total: tally.total,
            stack_bytes: (self.memory.stack_bytes)(),
            layers: loaded.layers,
            first,
            counts,
        }
    }
}

/// The page of results that begins at `first`; it ends where a row of a map ends.
fn values<'r>(results: Result<Map<'r>, RowError>, first: u32) -> Result<Response<'r>, Fault<'r>> {
    let reason = |error| match error {
        #[cfg(feature = "weights-window")]
        RowError::Weights => "the weights could not be read",
        _ => "the network ended without results",
    };
    let map = results.map_err(|error| Fault::Internal { reason: reason(error) })?;
    let (mut page, mut count): (&[u8], _) = (&[], 0);
    for row in map.rows() {
        if let Some(rest) = (first as usize).checked_sub(count).and_then(|at| row.get(at..)) {
            page = rest.get(..VALUES_PER_PAGE).unwrap_or(rest);
        }
        count += row.len();
    }
    Ok(Response::Values(ValuesPage { count: count as u32, first, values: page }))
}

/// Runs one in this number of cases of the kernels' suite on this core.
#[cfg(feature = "suite")]
fn suite<'r>(kernels: &impl Backend, one_in: u32) -> Result<Response<'r>, Fault<'r>> {
    use brooklet_protocol::SuiteFailure;
    use brooklet_suite::{Memory, run_one_in};
    use static_cell::{ConstStaticCell, StaticCell};

    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    let memory = MEMORY.try_take().ok_or(Fault::Internal { reason: "the suite ran before" })?;
    let outcome = run_one_in(one_in, kernels, memory);
    static FIRST: StaticCell<[u8; 16]> = StaticCell::new();
    let first = outcome.first.map(|brooklet_suite::Failure { case, difference }| SuiteFailure {
        case: case.0,
        row: difference.row,
        index: difference.index,
        expected: difference.expected,
        computed: difference.computed,
    });
    let first: &[u8] = match first {
        Some(first) => FIRST.init(first.to_bytes()),
        None => &[],
    };
    Ok(Response::Suite { cases: outcome.cases, failures: outcome.failures, first })
}

/// Firmware without the feature has no suite.
#[cfg(not(feature = "suite"))]
fn suite<'r>(_: &impl Backend, _: u32) -> Result<Response<'r>, Fault<'r>> {
    Err(Fault::Internal { reason: "this firmware is built without its feature `suite`" })
}
