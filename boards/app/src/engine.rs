//! Takes rows from the queue, runs the network one step at a time, and counts what it costs.

use brooklet::kernels::Backend;
use brooklet::{Mapped, RowError, SelfTest, Session, Step, Verification, Weights};
use embedded_hal::digital::OutputPin;
use heapless::spsc::Consumer;

use crate::{Counter, log};

/// The cost of an image so far, in the counter's unit.
#[derive(Debug)]
pub struct Tally<'b> {
    /// The cost of all calls of the session since the image's first row.
    pub total: u64,
    /// The cost of each layer's steps, for as many layers as there is room for.
    pub layers: &'b mut [u64],
}

impl<'b> Tally<'b> {
    pub(crate) fn new(counts: &'b mut [u64], layers: usize) -> Self {
        let room = counts.len();
        Self { total: 0, layers: counts.get_mut(..layers.min(room)).unwrap_or_default() }
    }

    fn clear(&mut self) {
        self.total = 0;
        self.layers.fill(0);
    }

    /// Adds to a layer's count. Layers beyond the table count only in the total.
    fn charge(&mut self, layer: u16, spent: u64) {
        if let Some(count) = self.layers.get_mut(usize::from(layer)) {
            *count += spent;
        }
    }
}

/// The state of the engine. It is kept here, so that the session is not asked for it repeatedly,
/// and the count does not depend on how long the host waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The session needs its next row; `begun` if it has had one of this image.
    WantsRow { begun: bool },
    /// A step can run.
    Running,
    /// The logits are ready.
    Done,
}

/// Number of bytes of the model that are read again in a turn of the idle loop. This takes fewer
/// instructions than the serial line takes for a byte.
const SCRUBBED: usize = 64;

/// Number of bytes that are read in a turn while the host waits for the whole model to be checked.
const VERIFIED: usize = 4096;

/// The network, with the queue that feeds it and the counter that measures it.
pub struct Engine<'a, B, C, P, W = Mapped> {
    session: Session<'a, 'a, B, W>,
    pixels: Consumer<'a, u8>,
    /// The complete row that is pushed next.
    row: &'a mut [u8],
    counter: C,
    busy: P,
    tally: Tally<'a>,
    state: State,
    /// Whether the model in flash was found to differ from the one at start-up.
    changed: bool,
}

impl<'a, B: Backend, C: Counter, P: OutputPin, W: Weights> Engine<'a, B, C, P, W> {
    /// The state before the first image. `row` has room for one row of the model's input.
    pub(crate) fn new(
        session: Session<'a, 'a, B, W>,
        pixels: Consumer<'a, u8>,
        row: &'a mut [u8],
        counter: C,
        busy: P,
        tally: Tally<'a>,
    ) -> Self {
        let row = row.get_mut(..session.model().input().row_bytes()).unwrap_or_default();
        let state = State::WantsRow { begun: false };
        Self { session, pixels, row, counter, busy, tally, state, changed: false }
    }

    /// Whether there is anything to do before more rows arrive.
    pub(crate) fn can_work(&self) -> bool {
        match self.state {
            State::WantsRow { .. } => self.pixels.len() >= self.row.len(),
            State::Running => true,
            State::Done => false,
        }
    }

    /// Whether the logits are ready.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Does one bounded piece of work, if there is any: runs a step of one operator, or pushes a
    /// row.
    pub(crate) fn turn(&mut self) {
        match self.state {
            State::WantsRow { begun } => {
                if !self.can_work() {
                    return;
                }
                for (pixel, queued) in
                    self.row.iter_mut().zip(core::iter::from_fn(|| self.pixels.dequeue()))
                {
                    *pixel = queued;
                }
                if !begun {
                    self.tally.clear();
                    let _ = self.busy.set_high();
                }
                self.counter.start();
                let pushed = self.session.push_row(self.row);
                self.tally.total += self.counter.stop();
                // The link accepts only rows with the right length and index.
                debug_assert!(!matches!(pushed, Err(RowError::Length { .. } | RowError::Complete)));
                self.state = State::Running;
            }
            State::Running => {
                self.counter.start();
                let step = self.session.step();
                let spent = self.counter.stop();
                self.tally.total += spent;
                match step {
                    Step::Ran { layer } => self.tally.charge(layer, spent),
                    Step::NeedsRow => self.state = State::WantsRow { begun: true },
                    Step::Done => {
                        self.state = State::Done;
                        let _ = self.busy.set_low();
                        log::info!("inference done: {=u64} counted", self.tally.total);
                    }
                }
            }
            State::Done => {}
        }
    }

    /// Reads a piece of the model again, in turns in which there is nothing else to do.
    pub(crate) fn scrub(&mut self) {
        let found = self.session.verify_weights(SCRUBBED);
        self.note(found);
    }

    /// Starts to read the whole model again.
    pub(crate) fn begin_verifying(&mut self) {
        self.session.restart_verification();
    }

    /// Reads a piece of it. Returns whether that was the last piece.
    pub(crate) fn verify(&mut self) -> bool {
        let found = self.session.verify_weights(VERIFIED);
        self.note(found);
        !matches!(found, Verification::InProgress { .. })
    }

    fn note(&mut self, found: Verification) {
        if found == Verification::Corrupt && !self.changed {
            self.changed = true;
            log::error!("the model in flash changed since start-up: no results until a restart");
        }
    }

    /// Whether the model was found to have changed since start-up. If so, no result can be trusted.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Runs the test images in the model.
    pub(crate) fn self_test(&mut self) -> SelfTest {
        self.reset();
        let found = self.session.self_test();
        log::info!("self-test: {}", found);
        found
    }

    /// Drops the unfinished image, and the queued rows.
    pub(crate) fn reset(&mut self) {
        while self.pixels.dequeue().is_some() {}
        self.session.reset();
        let _ = self.busy.set_low();
        self.state = State::WantsRow { begun: false };
    }

    pub(crate) fn session(&mut self) -> &mut Session<'a, 'a, B, W> {
        &mut self.session
    }

    pub(crate) fn tally(&self) -> &Tally<'a> {
        &self.tally
    }
}
