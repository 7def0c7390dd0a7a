//! Runs a model.

mod layers;

use crate::arena::ARENA_ALIGN;
use crate::error::{Error, RowError};
use crate::kernels::Backend;
use crate::logits::Logits;
use crate::map::Map;
use crate::model::Model;
use crate::ops;
use crate::schedule::{Next, Schedule};
#[cfg(feature = "self-test")]
use crate::scrub::{Scrub, Verification};
use crate::weights::{Mapped, Weights};
#[cfg(feature = "weights-window")]
use crate::window::{WeightsSource, WeightsWindow};

/// What a call of [`step`](Session::step) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step {
    /// It made one row of this layer, or the several rows of one step.
    Ran {
        /// The layer.
        layer: u16,
    },
    /// It cannot continue before the next row of the image is pushed.
    NeedsRow,
    /// Everything is done: the logits are ready.
    Done,
}

/// A model that runs in an arena.
///
/// ```
/// use brooklet::{Arena, Model, Session, kernels::Portable};
///
/// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// # fn main() -> Result<(), brooklet::Error> {
/// let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
/// let model = Model::parse(MODEL)?;
/// let mut session = Session::new(&model, Portable, &mut arena)?;
/// # let camera = vec![vec![100u8; 24]; 8];
/// for row in camera {
///     session.push_row(&row).expect("a row of columns × 3 bytes");
/// }
/// let best = session.logits().expect("all rows are pushed").top_k::<3>();
/// # assert!(!best.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session<'m, 'a, B, W = Mapped> {
    model: Model<'m>,
    arena: &'a mut [u8],
    schedule: Schedule,
    #[cfg(feature = "self-test")]
    scrub: Scrub,
    backend: B,
    weights: W,
}

impl<'m, 'a, B: Backend> Session<'m, 'a, B> {
    /// Makes a session that computes in `arena` with the kernels of `backend`.
    ///
    /// # Errors
    ///
    /// [`Error::ArenaTooSmall`], [`Error::ArenaMisaligned`], [`Error::ModelMisaligned`], or
    /// [`Error::Packing`] if the weights are packed for another backend.
    pub fn new(model: &Model<'m>, backend: B, arena: &'a mut [u8]) -> Result<Self, Error> {
        #[cfg(feature = "weights-window")]
        if model.is_windowed() {
            return Err(Error::WeightsElsewhere);
        }
        Self::with(model, backend, arena, Mapped)
    }
}

#[cfg(feature = "weights-window")]
impl<'m, 'a, 'w, B: Backend, S: WeightsSource> Session<'m, 'a, B, WeightsWindow<'w, S>> {
    /// Makes a session whose weights are behind a driver, and go through the window that [checked
    /// the model](WeightsWindow::parse).
    ///
    /// Its results are the same bytes as with weights in memory. If weights cannot be read, the
    /// image is lost, and [`RowError::Weights`] says so.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and [`Error::WeightsElsewhere`].
    pub fn with_weights(
        model: &Model<'m>,
        backend: B,
        arena: &'a mut [u8],
        weights: WeightsWindow<'w, S>,
    ) -> Result<Self, Error> {
        if !weights.has_checked(model) {
            return Err(Error::WeightsElsewhere);
        }
        Self::with(model, backend, arena, weights)
    }

    /// The window that the weights go through.
    pub fn weights(&self) -> &WeightsWindow<'w, S> {
        &self.weights
    }
}

impl<'m, 'a, B: Backend, W: Weights> Session<'m, 'a, B, W> {
    #[inline(always)]
    fn with(model: &Model<'m>, backend: B, arena: &'a mut [u8], weights: W) -> Result<Self, Error> {
        let (needed, got) = (model.arena_bytes(), arena.len());
        let arena = arena.get_mut(..needed).ok_or(Error::ArenaTooSmall { needed, got })?;
        if !arena.as_ptr().addr().is_multiple_of(ARENA_ALIGN) {
            return Err(Error::ArenaMisaligned);
        }
        if !model.file().as_ptr().addr().is_multiple_of(B::ISA.align) {
            return Err(Error::ModelMisaligned { align: B::ISA.align, backend: B::ISA.name });
        }
        if let Some((layer, packing)) = model.first_packing(|packing| backend.runs(packing)) {
            return Err(Error::Packing { layer, packing: packing.name(), backend: B::ISA.name });
        }
        #[cfg(feature = "defmt")]
        defmt::debug!("session: {=usize} bytes of arena, {}", needed, model.input());
        Ok(Self {
            model: *model,
            arena,
            schedule: Schedule::new(model.graph()),
            #[cfg(feature = "self-test")]
            scrub: Scrub::new(model.header()),
            backend,
            weights,
        })
    }

    /// The model that runs.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// Begins the next image. Rows of an unfinished image are dropped.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// # let [row, other] = [[1; 24], [2; 24]];
    /// session.push_row(&row)?;
    /// session.reset(); // the camera begins anew
    /// session.push_row(&other)?;
    /// assert_eq!(session.rows_missing(), 7);
    /// # Ok::<(), brooklet::RowError>(())
    /// ```
    pub fn reset(&mut self) {
        self.weights.recover();
        self.schedule = Schedule::new(self.model.graph());
    }

    /// Runs one step and returns: one row of one layer, or up to eight rows if the packing makes
    /// several at once.
    ///
    /// The amount of work is bounded.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// # use brooklet::Step;
    /// # let (mut rows, mut fed) = (0, 0);
    /// # let mut feed_the_watchdog = || fed += 1;
    /// loop {
    ///     match session.step() {
    ///         Step::Ran { .. } => feed_the_watchdog(),
    ///         Step::NeedsRow => session.push_row(&[100; 24])?,
    ///         Step::Done => break,
    ///     }
    /// }
    /// assert_eq!(session.logits()?.len(), 6);
    /// # assert!(fed > 8);
    /// # Ok::<(), brooklet::RowError>(())
    /// ```
    pub fn step(&mut self) -> Step {
        if self.weights.has_failed() {
            return Step::Done;
        }
        match self.schedule.next(self.model.graph()) {
            Next::Run { layer, step } => {
                if W::MAPPED {
                    self.run_step(layer, step);
                    self.schedule.complete(self.model.graph(), layer);
                } else {
                    self.schedule.complete(self.model.graph(), layer);
                    let follows = self.follows();
                    self.weights.follows(follows);
                    self.run_step(layer, step);
                }
                Step::Ran { layer: layer as u16 }
            }
            Next::Row { .. } => Step::NeedsRow,
            Next::Done | Next::Stalled => Step::Done,
        }
    }

    /// The layer that runs next, if it needs no further row of the image.
    fn follows(&mut self) -> Option<usize> {
        match self.schedule.next(self.model.graph()) {
            Next::Run { layer, .. } => Some(layer),
            _ => None,
        }
    }

    /// Takes the next row of the image: columns × channels bytes, channels in the order of the
    /// network (red, green, blue).
    ///
    /// First runs all steps that are possible without the row, then takes it. To do this in
    /// portions, call [`step`](Self::step) until it asks for a row.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// # use brooklet::RowError;
    /// assert_eq!(session.push_row(&[0; 23]), Err(RowError::Length { needed: 24, got: 23 }));
    /// for _ in 0..8 {
    ///     session.push_row(&[0; 24])?;
    /// }
    /// assert_eq!(session.push_row(&[0; 24]), Err(RowError::Complete));
    /// # Ok::<(), RowError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RowError`] if the row has a wrong length, or the image is complete; then nothing changes.
    pub fn push_row(&mut self, row: &[u8]) -> Result<(), RowError> {
        let input = self.model.input();
        let needed = input.row_bytes();
        if row.len() != needed {
            return Err(RowError::Length { needed, got: row.len() });
        }
        if self.rows_missing() == 0 {
            return Err(RowError::Complete);
        }
        while let Step::Ran { .. } = self.step() {}
        if let Next::Row { row: y } = self.schedule.next(self.model.graph()) {
            let layer = self.model.layer(0);
            if let Some(place) = self.arena.get_mut(self.model.row(0, y)) {
                let table = ops::input::table(&self.model, layer);
                let channels = input.channels as usize;
                ops::input::convert(row, channels, table, ops::int8_mut(place));
            }
            self.schedule.complete(self.model.graph(), 0);
        }
        self.have_read()?;
        if !W::MAPPED
            && let Some(layer) = self.follows()
        {
            self.weights.announce(&self.model, layer);
        }
        Ok(())
    }

    /// Whether all weights could be read so far.
    #[inline(always)]
    fn have_read(&self) -> Result<(), RowError> {
        #[cfg(feature = "weights-window")]
        if self.weights.has_failed() {
            return Err(RowError::Weights);
        }
        Ok(())
    }

    /// Classifies one image: rows × columns × channels bytes.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// let image = vec![100; model.input().bytes()];
    /// let best = session.run_image(&image)?.top_k::<1>()[0].class;
    /// # assert_eq!(best, 2);
    /// # Ok::<(), brooklet::RowError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RowError::Length`] if the image has another size; `needed` and `got` are those of the row
    /// at which it ends. [`RowError::Map`] if the output is no vector: the image has run then, and
    /// [`map`](Self::map) returns the results.
    pub fn run_image(&mut self, image: &[u8]) -> Result<Logits<'_>, RowError> {
        self.push_image(image)?;
        self.logits()
    }

    /// Begins an image, and pushes all of its rows: rows × columns × channels bytes. The results are
    /// those of [`logits`](Self::logits), [`map`](Self::map) and the like.
    ///
    /// # Errors
    ///
    /// [`RowError::Length`] if the image has another size; `needed` and `got` are those of the row
    /// at which it ends.
    pub fn push_image(&mut self, image: &[u8]) -> Result<(), RowError> {
        self.reset();
        let needed = self.model.input().row_bytes();
        image.chunks(needed.max(1)).try_for_each(|row| self.push_row(row))
    }

    /// Reads up to `budget` further bytes of the model file, and says what is known about it.
    ///
    /// A pass over the whole file computes its checksum, and compares it and the header with those
    /// that the file had when the session was made.
    ///
    /// Firmware calls this in the background, between images or between steps. It changes nothing
    /// of the current image, and takes 7 to 12 instructions for each byte. A pass ends with
    /// [`Verification::Verified`] or [`Verification::Corrupt`], and the next call begins another.
    /// With a budget of 0 nothing is read.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, Verification, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// // In the idle loop.
    /// match session.verify_weights(256) {
    ///     Verification::InProgress { .. } | Verification::Verified => {}
    ///     Verification::Corrupt => panic!("the model in flash changed: restart"),
    /// }
    /// ```
    #[cfg(feature = "self-test")]
    pub fn verify_weights(&mut self, budget: usize) -> Verification {
        self.weights.verify(&self.model, &mut self.scrub, budget)
    }

    /// Begins a pass of [`verify_weights`](Self::verify_weights), and drops an unfinished one.
    #[cfg(feature = "self-test")]
    pub fn restart_verification(&mut self) {
        self.scrub.restart();
    }

    /// Reads the whole model file in one call: the result of a pass of
    /// [`verify_weights`](Self::verify_weights) that begins now.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// use brooklet::Verification;
    ///
    /// assert_eq!(session.verify_all(), Verification::Verified);
    /// ```
    #[cfg(feature = "self-test")]
    pub fn verify_all(&mut self) -> Verification {
        self.restart_verification();
        self.verify_weights(usize::MAX)
    }

    /// Number of rows of the image that are still to be pushed.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// assert_eq!(session.rows_missing(), 8);
    /// session.push_row(&[0; 24])?;
    /// assert_eq!(session.rows_missing(), 7);
    /// # Ok::<(), brooklet::RowError>(())
    /// ```
    pub fn rows_missing(&self) -> u16 {
        self.model.input().rows.saturating_sub(self.schedule.made(self.model.graph(), 0))
    }

    /// Runs the remaining steps, and returns the logits.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing, [`RowError::Map`] if the logits are a map.
    pub fn logits(&mut self) -> Result<Logits<'_>, RowError> {
        self.logits_map()?.only().ok_or(RowError::Map)
    }

    /// Runs the remaining steps, and returns the last layer's output: the probabilities if the
    /// network ends in a softmax, otherwise the logits.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing, [`RowError::Map`] if the output is a map.
    pub fn output(&mut self) -> Result<Logits<'_>, RowError> {
        self.map()?.only().ok_or(RowError::Map)
    }

    /// Runs the remaining steps, and returns the last layer's output as a [map](Map) of cells, as
    /// networks for segmentation and detection have it: the probabilities if the network ends in a
    /// softmax, otherwise the logits.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing.
    pub fn map(&mut self) -> Result<Map<'_>, RowError> {
        self.finish(self.model.output())
    }

    /// Runs the remaining steps, and returns the logits as a [map](Map) of cells.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing.
    pub fn logits_map(&mut self) -> Result<Map<'_>, RowError> {
        self.finish(self.model.logits())
    }

    /// Runs the remaining steps, and returns the outputs of a network that has several, each with
    /// the index of its layer.
    ///
    /// The [output of the last layer](Self::map) comes last.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing.
    pub fn outputs(&mut self) -> Result<impl Iterator<Item = (usize, Map<'_>)>, RowError> {
        self.map()?;
        let (model, arena) = (self.model, &*self.arena);
        Ok(model.outputs().map(move |layer| {
            let record = model.layer(layer);
            (layer, Map::new(arena, model.places(record), record))
        }))
    }

    fn finish(&mut self, layer: usize) -> Result<Map<'_>, RowError> {
        while let Step::Ran { .. } = self.step() {}
        self.have_read()?;
        match self.rows_missing() {
            0 => {
                let record = self.model.layer(layer);
                Ok(Map::new(self.arena, self.model.places(record), record))
            }
            rows => Err(RowError::Missing { rows }),
        }
    }
}
