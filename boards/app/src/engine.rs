//! Takes rows from the queue, runs the network a step at a time, and keeps count.

use brooklet::{Step, kernels::Portable};
use embedded_hal::digital::OutputPin;
use heapless::{Vec, spsc::Consumer};

use crate::{Counter, PROFILED_LAYERS, Row, log};

/// A session on this firmware's kernels.
pub type Session<'a> = brooklet::Session<'a, 'a, Portable>;

/// What a picture has cost so far.
#[derive(Debug)]
pub struct Tally {
    /// Instructions of all calls of the session since the picture's first row.
    pub total: u64,
    /// Those of each layer's steps.
    pub layers: Vec<u64, PROFILED_LAYERS>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { total: 0, layers: Vec::new() }
    }

    fn clear(&mut self) {
        self.total = 0;
        self.layers.fill(0);
    }
}

/// What the engine is at. Kept here, and not asked from the session over and over, so that
/// the count does not depend on how long the host let it wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The session wants its next row; `begun` if it has had one of this picture.
    WantsRow { begun: bool },
    /// A step can be done.
    Running,
    /// The logits are there.
    Done,
}

/// The network, and what feeds and measures it.
pub struct Engine<'a, C, P> {
    session: Session<'a>,
    rows: Consumer<'a, Row>,
    counter: C,
    busy: P,
    tally: &'a mut Tally,
    state: State,
}

impl<'a, C: Counter, P: OutputPin> Engine<'a, C, P> {
    /// Before the first picture.
    pub(crate) fn new(
        session: Session<'a>,
        rows: Consumer<'a, Row>,
        counter: C,
        busy: P,
        tally: &'a mut Tally,
    ) -> Self {
        Self { session, rows, counter, busy, tally, state: State::WantsRow { begun: false } }
    }

    /// Is there anything to do before more rows come?
    pub(crate) fn can_work(&self) -> bool {
        match self.state {
            State::WantsRow { .. } => self.rows.ready(),
            State::Running => true,
            State::Done => false,
        }
    }

    /// Are the logits there?
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Does one bounded piece of work, if there is any: a step of one operator, or a row
    /// taken in.
    pub(crate) fn turn(&mut self) {
        match self.state {
            State::WantsRow { begun } => {
                let Some(row) = self.rows.dequeue() else { return };
                if !begun {
                    self.tally.clear();
                    let _ = self.busy.set_high();
                }
                self.counter.start();
                let pushed = self.session.push_row(&row);
                self.tally.total += self.counter.stop();
                // The link lets only rows of the right length and number through.
                debug_assert!(pushed.is_ok());
                self.state = State::Running;
            }
            State::Running => {
                self.counter.start();
                let step = self.session.step();
                let spent = self.counter.stop();
                self.tally.total += spent;
                match step {
                    Step::Ran { layer } => self.charge(layer, spent),
                    Step::NeedsRow => self.state = State::WantsRow { begun: true },
                    Step::Done => {
                        self.state = State::Done;
                        let _ = self.busy.set_low();
                        log::info!("inference done: {=u64} instructions", self.tally.total);
                    }
                }
            }
            State::Done => {}
        }
    }

    /// Adds to a layer's count. The table grows to the highest layer that has run.
    fn charge(&mut self, layer: u16, spent: u64) {
        let layer = usize::from(layer);
        if layer >= self.tally.layers.len() {
            // Fails beyond the table's end; the total has the instructions all the same.
            let _ = self.tally.layers.resize(layer + 1, 0);
        }
        if let Some(count) = self.tally.layers.get_mut(layer) {
            *count += spent;
        }
    }

    /// Forgets the picture that is under way, and the rows that wait.
    pub(crate) fn reset(&mut self) {
        while self.rows.dequeue().is_some() {}
        self.session.reset();
        let _ = self.busy.set_low();
        self.state = State::WantsRow { begun: false };
    }

    /// Works until the logits are there. The link calls this when all rows have come.
    pub(crate) fn finish(&mut self) {
        while self.can_work() {
            self.turn();
        }
    }

    pub(crate) fn session(&mut self) -> &mut Session<'a> {
        &mut self.session
    }

    pub(crate) fn tally(&self) -> &Tally {
        self.tally
    }
}
