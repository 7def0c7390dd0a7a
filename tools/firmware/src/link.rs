//! The host's side of the protocol.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use brooklet_protocol::{
    ANSWER_BYTES, Fault, Frames, LineErrors, Loaded, Request, Response, SlotsState, SuiteFailure,
    Unit, VERSION, decode, encode, part_bytes, request_bytes,
};

use crate::FirmwareError;

/// The name of the request that may get more than one answer.
const IDENTIFY: &str = "identify";

/// A connection to a board.
pub struct Link {
    board: String,
    to: Box<dyn Write + Send>,
    from: Receiver<Vec<u8>>,
    /// Bytes that were received, but not parsed yet.
    waiting: VecDeque<u8>,
    frames: Frames<[u8; ANSWER_BYTES]>,
    /// The messages of the other end before it ended.
    last_words: Arc<Mutex<String>>,
    timeout: Duration,
    /// What the board counts, if that is not what its firmware says.
    unit: Option<Unit>,
}

/// The identity that a board reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardIdentity {
    /// The board's name.
    pub board: String,
    /// Its processor core.
    pub core: String,
    /// The kernels that its firmware has.
    pub backend: String,
    /// The firmware's version.
    pub firmware: String,
    /// Size of the model's slot in bytes.
    pub slot_bytes: u32,
    /// Size of the RAM for an arena in bytes.
    pub arena_bytes: u32,
    /// Size of the longest image row that it takes, in bytes.
    pub row_bytes: u32,
    /// The unit of its counts.
    pub unit: Unit,
    /// The cost of checking what is in the slot, at start-up, whether or not it runs there.
    pub check_count: u64,
}

/// A model file with its signature.
#[derive(Clone, Copy, Debug)]
pub struct SignedModel<'m> {
    /// Its version.
    pub counter: u32,
    /// The signature, 64 bytes.
    pub signature: &'m [u8],
    /// The model file.
    pub file: &'m [u8],
}

/// A board's answer to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The logits as they are in the board's memory: int8, or int16 if the model's are.
    pub logits: Vec<u8>,
    /// The outputs in the same form: after softmax, if the network has one.
    pub output: Vec<u8>,
}

/// The cost of an image, in the board's [`Unit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// From the first row pushed until the logits are ready, within the session's calls.
    pub total: u64,
    /// The greatest depth of the stack since start-up, in bytes: that of the whole firmware,
    /// including the session, which is on the stack.
    pub stack_bytes: u32,
    /// The cost of each layer's steps.
    pub layers: Vec<u64>,
}

/// How long to wait for an answer. Much of a network may run before a row or the logits are
/// answered.
fn timeout() -> Duration {
    let seconds = std::env::var("BROOKLET_TIMEOUT").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(300))
}

impl Link {
    pub(crate) fn new(
        board: String,
        to: Box<dyn Write + Send>,
        from: Receiver<Vec<u8>>,
        last_words: Arc<Mutex<String>>,
    ) -> Self {
        Self {
            board,
            to,
            from,
            waiting: VecDeque::new(),
            frames: Frames::new([0; ANSWER_BYTES]),
            last_words,
            timeout: timeout(),
            unit: None,
        }
    }

    /// The same to a board that counts this, whatever its firmware says.
    pub(crate) fn counting(self, unit: Option<Unit>) -> Self {
        Self { unit, ..self }
    }

    /// Calls the board until it answers.
    ///
    /// A board that is starting may miss requests: a serial port that is not enabled yet drops
    /// bytes, and half a frame gets no answer.
    pub(crate) fn hello(&mut self) -> Result<BoardIdentity, FirmwareError> {
        let patience = self.timeout;
        let deadline = Instant::now() + patience;
        self.timeout = Duration::from_millis(100);
        let identity = loop {
            match self.identify() {
                // Half a frame is answered with a fault; the answer to a whole frame follows.
                Err(FirmwareError::Silent { .. } | FirmwareError::Refused { .. })
                    if Instant::now() < deadline =>
                {
                    self.timeout = (2 * self.timeout).min(Duration::from_secs(2));
                }
                done => break done,
            }
        };
        self.timeout = patience;
        match identity {
            Err(FirmwareError::Silent { board, request, .. }) => {
                Err(FirmwareError::Silent { board, request, after: patience })
            }
            done => done,
        }
    }

    /// Asks a board for its identity.
    ///
    /// Fails if its protocol has another version.
    pub fn identify(&mut self) -> Result<BoardIdentity, FirmwareError> {
        let (ours, unit) = (VERSION, self.unit);
        let mut theirs = ours;
        let identity = self.ask(IDENTIFY, &Request::Identify, |response| match response {
            Response::Identity(identity) => {
                theirs = identity.protocol;
                Some(BoardIdentity {
                    board: identity.board.to_owned(),
                    core: identity.core.to_owned(),
                    backend: identity.backend.to_owned(),
                    firmware: identity.firmware.to_owned(),
                    slot_bytes: identity.slot_bytes,
                    arena_bytes: identity.arena_bytes,
                    row_bytes: identity.row_bytes,
                    unit: unit.unwrap_or(identity.unit),
                    check_count: identity.check_count,
                })
            }
            _ => None,
        })?;
        if theirs == ours {
            Ok(identity)
        } else {
            Err(FirmwareError::Protocol { board: self.board.clone(), theirs, ours })
        }
    }

    /// Runs the board's load check: which model is in the slot, or why it cannot run.
    pub fn check(&mut self) -> Result<Loaded, FirmwareError> {
        self.ask("check", &Request::Check, |response| match response {
            Response::Loaded(loaded) => Some(loaded),
            _ => None,
        })
    }

    /// Sends an image, row by row from the top, and waits for the results.
    pub fn infer<R: AsRef<[u8]>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Answer, FirmwareError> {
        for (y, row) in rows.into_iter().enumerate() {
            self.push(y as u16, row.as_ref())?;
        }
        self.answer()
    }

    /// Sends one row of an image; row 0 begins an image.
    pub fn push(&mut self, y: u16, pixels: &[u8]) -> Result<(), FirmwareError> {
        self.ask("row", &Request::Row { y, pixels }, |response| match response {
            Response::Accepted(accepted) if accepted.rows == y + 1 => Some(()),
            _ => None,
        })
    }

    /// The results of the image whose rows were sent.
    pub fn answer(&mut self) -> Result<Answer, FirmwareError> {
        let logits = self.values("logits", |first| Request::Logits { first })?;
        let output = self.values("output", |first| Request::Output { first })?;
        Ok(Answer { logits, output })
    }

    /// All bytes of a result, page by page.
    fn values(
        &mut self,
        name: &'static str,
        request: impl Fn(u32) -> Request<'static>,
    ) -> Result<Vec<u8>, FirmwareError> {
        let mut values = Vec::new();
        loop {
            let first = values.len();
            let complete = self.ask(name, &request(first as u32), |response| match response {
                Response::Values(page) if page.first as usize == first => {
                    values.extend_from_slice(page.values);
                    let (so_far, count) = (values.len(), page.count as usize);
                    // An empty page before the end would repeat for ever.
                    (so_far > first || so_far == count).then_some(so_far >= count)
                }
                _ => None,
            })?;
            if complete {
                return Ok(values);
            }
        }
    }

    /// The cost of the last image.
    pub fn profile(&mut self) -> Result<Profile, FirmwareError> {
        let mut profile = Profile { total: 0, stack_bytes: 0, layers: Vec::new() };
        loop {
            let first = profile.layers.len();
            let request = Request::Profile { first: first as u16 };
            let complete = self.ask("profile", &request, |response| match response {
                Response::Profile(page) if usize::from(page.first) == first => {
                    profile.total = page.total;
                    profile.stack_bytes = page.stack_bytes;
                    profile.layers.extend_from_slice(&page.counts);
                    // A board only counts the layers that its table has room for; pages stop there.
                    let layers = usize::from(page.layers);
                    Some(page.counts.is_empty() || profile.layers.len() >= layers)
                }
                _ => None,
            })?;
            if complete {
                return Ok(profile);
            }
        }
    }

    /// Discards the image that is being processed.
    pub fn reset(&mut self) -> Result<(), FirmwareError> {
        self.ask("reset", &Request::Reset, |response| match response {
            Response::Ready => Some(()),
            _ => None,
        })
    }

    /// Runs the test images that the model carries; returns their number, and the first image, if
    /// any, with other bytes than the stored ones.
    pub fn self_test(&mut self) -> Result<(u16, Option<u16>), FirmwareError> {
        self.ask("self-test", &Request::SelfTest, |response| match response {
            Response::SelfTest { images, differs } => Some((images, differs)),
            _ => None,
        })
    }

    /// Runs the kernels' test suite on the board, or one in this number of its cases; returns the
    /// number of cases, the number of failures, and the first failure.
    ///
    /// Needs firmware with [`Options::suite`](crate::Options::suite).
    pub fn suite(
        &mut self,
        one_in: u32,
    ) -> Result<(u32, u32, Option<SuiteFailure>), FirmwareError> {
        self.ask("suite", &Request::Suite { one_in }, |response| match response {
            Response::Suite { cases, failures, first } => {
                Some((cases, failures, SuiteFailure::from_bytes(first)))
            }
            _ => None,
        })
    }

    /// The errors on the line since the board started.
    pub fn line_errors(&mut self) -> Result<LineErrors, FirmwareError> {
        self.ask("line", &Request::Line, |response| match response {
            Response::Line(errors) => Some(errors),
            _ => None,
        })
    }

    /// The counter of the model that runs, if the board takes signed models and has one.
    pub fn running(&mut self) -> Result<Option<u32>, FirmwareError> {
        Ok(self.slots()?.running)
    }

    fn slots(&mut self) -> Result<SlotsState, FirmwareError> {
        self.ask("slots", &Request::Slots, |response| match response {
            Response::Slots(state) => Some(state),
            _ => None,
        })
    }

    /// Sends a signed model, as `boards/slots` describes it, into the slot that is not in use.
    ///
    /// When this returns, the board has started with it. `progress` gets the number of bytes that
    /// were sent.
    pub fn install(
        &mut self,
        model: &SignedModel<'_>,
        mut progress: impl FnMut(usize),
    ) -> Result<(), FirmwareError> {
        let row = self.identify()?.row_bytes as usize;
        let unit = self.slots()?.unit.max(1) as usize;
        let ready = |response: Response<'_>| matches!(response, Response::Ready).then_some(());
        self.ask("update", &Request::Update { bytes: model.file.len() as u32 }, ready)?;
        let part = part_bytes(row, unit).max(unit);
        for (i, bytes) in model.file.chunks(part).enumerate() {
            let offset = i * part;
            self.ask("part", &Request::Part { offset: offset as u32, bytes }, ready)?;
            progress(offset + bytes.len());
        }
        let SignedModel { counter, signature, .. } = *model;
        self.ask("install", &Request::Install { counter, signature }, |response| {
            matches!(response, Response::Slots(state) if state.running == Some(counter))
                .then_some(())
        })?;
        match self.running()? {
            Some(running) if running == counter => Ok(()),
            running => {
                Err(FirmwareError::NotStarted { board: self.board.clone(), counter, running })
            }
        }
    }

    /// Sends bytes as they are, followed by a frame's end, to test what a board does with noise.
    ///
    /// Returns the board's fault.
    pub fn send_noise(&mut self, noise: &[u8]) -> Result<(), FirmwareError> {
        self.send(noise)?;
        self.send(&[0])?;
        self.receive("noise", |_| None)
    }

    fn ask<T>(
        &mut self,
        name: &'static str,
        request: &Request<'_>,
        read: impl FnOnce(Response<'_>) -> Option<T>,
    ) -> Result<T, FirmwareError> {
        let row = match request {
            Request::Row { pixels: bytes, .. }
            | Request::Part { bytes, .. }
            | Request::Install { signature: bytes, .. } => bytes.len() + 4,
            _ => 0,
        };
        let mut buffer = vec![0; request_bytes(row)];
        let Ok(frame) = encode(request, &mut buffer) else {
            unreachable!("every request fits: the protocol's tests show it")
        };
        // An empty frame ends whatever is on the line, and is not answered.
        self.send(&[0])?;
        self.send(frame)?;
        self.receive(name, read)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), FirmwareError> {
        let sent = self.to.write_all(bytes).and_then(|()| self.to.flush());
        sent.map_err(|source| {
            if source.kind() != std::io::ErrorKind::BrokenPipe {
                return FirmwareError::Write { board: self.board.clone(), source };
            }
            // The other end no longer reads. Wait for its end, which comes with the reason.
            while self.from.recv_timeout(Duration::from_secs(2)).is_ok() {}
            self.ended()
        })
    }

    /// Waits for a response, and takes from it what is wanted.
    fn receive<T>(
        &mut self,
        request: &'static str,
        read: impl FnOnce(Response<'_>) -> Option<T>,
    ) -> Result<T, FirmwareError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            while let Some(byte) = self.waiting.pop_front() {
                let Some(frame) = self.frames.push(byte) else { continue };
                let confused = |answer: String| FirmwareError::Confused {
                    board: self.board.clone(),
                    request,
                    answer,
                };
                let response = match frame.and_then(decode::<Response<'_>>) {
                    Ok(response) => response,
                    Err(error) => return Err(confused(format!("{error:?}"))),
                };
                if request != IDENTIFY && matches!(response, Response::Identity(_)) {
                    // The board was called more than once before it answered.
                    continue;
                }
                let board = self.board.clone();
                return match response {
                    Response::Failed(Fault::Model { reason }) => {
                        Err(FirmwareError::Model { board, reason: reason.to_owned() })
                    }
                    Response::Failed(Fault::ModelChanged) => {
                        Err(FirmwareError::ModelChanged { board })
                    }
                    Response::Failed(Fault::RowTooLong { bytes, limit }) => {
                        Err(FirmwareError::RowTooLong { board, bytes, limit })
                    }
                    Response::Failed(fault) => {
                        Err(FirmwareError::Refused { board, request, reason: fault.to_string() })
                    }
                    response => {
                        let shown = format!("{response:?}");
                        read(response).ok_or_else(|| confused(shown))
                    }
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left) {
                Ok(bytes) => self.waiting.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {
                    let board = self.board.clone();
                    return Err(FirmwareError::Silent { board, request, after: self.timeout });
                }
            }
        }
    }

    fn ended(&self) -> FirmwareError {
        let said = self.last_words.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let said = said.trim();
        FirmwareError::Ended {
            board: self.board.clone(),
            output: if said.is_empty() { "without a message".into() } else { said.to_owned() },
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("board", &self.board).finish_non_exhaustive()
    }
}
