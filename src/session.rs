//! Runs a model.

use core::ops::Range;

use zerocopy::FromBytes;

use crate::arena::ARENA_ALIGN;
use crate::error::{Error, RowError};
use crate::feature::Feature;
use crate::format::{LayerRecord, Operator};
use crate::kernels::Backend;
use crate::logits::Logits;
use crate::model::Model;
use crate::ops::add::Add;
use crate::ops::average_pool::AveragePool;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::border::Border;
use crate::ops::concat::Concat;
use crate::ops::conv::Conv;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::grouped_conv::GroupedConv;
use crate::ops::lookup::Lookup;
use crate::ops::max_pool::MaxPool;
use crate::ops::multiply::Multiply;
use crate::ops::softmax::Softmax;
use crate::ops::window_average::WindowAverage;
use crate::ops::{self, MAX_STEP_ROWS, RowList, Shortcut};
use crate::proved::proved;
use crate::rows::Carved;
use crate::schedule::{Next, Schedule};
#[cfg(feature = "self-test")]
use crate::scrub::{Scrub, Verification};
use crate::steps;

/// Whether this build has operators beside those of residual networks that read rows under a kernel.
const OTHER_WINDOWS: bool = Feature::GroupedConv.is_on()
    || Feature::DepthwiseConv.is_on()
    || Feature::WindowAverage.is_on()
    || Feature::Border.is_on();
/// Whether it has such that read a row.
const OTHER_ROWS: bool =
    Feature::Lookup.is_on() || Feature::Multiply.is_on() || Feature::Concat.is_on();

/// What a [`step`](Session::step) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step {
    /// It made a row of this layer, or a few.
    Ran {
        /// The layer.
        layer: u16,
    },
    /// It cannot go on before the next row of the image is pushed.
    NeedsRow,
    /// All is done: the logits are there.
    Done,
}

/// A model at work in an arena.
///
/// ```
/// use brooklet::{Arena, Model, Session, kernels::Portable};
///
/// const MODEL: &[u8] = brooklet::include_model!("../tests/golden/tiny.brook");
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
pub struct Session<'m, 'a, B> {
    model: Model<'m>,
    arena: &'a mut [u8],
    schedule: Schedule,
    #[cfg(feature = "self-test")]
    scrub: Scrub,
    backend: B,
}

impl<'m, 'a, B: Backend> Session<'m, 'a, B> {
    /// A session that computes in `arena`, with the kernels of `backend`.
    ///
    /// # Errors
    ///
    /// [`Error::ArenaTooSmall`], [`Error::ArenaMisaligned`], [`Error::ModelMisaligned`], or
    /// [`Error::Packing`] if the weights are packed for another backend.
    pub fn new(model: &Model<'m>, backend: B, arena: &'a mut [u8]) -> Result<Self, Error> {
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
        })
    }

    /// The model that runs.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// Begins the next image. Rows that were pushed and not used up are dropped.
    pub fn reset(&mut self) {
        self.schedule = Schedule::new(self.model.graph());
    }

    /// Makes one row of one layer, or the four of a packing for these, and returns: a bounded
    /// amount of work.
    pub fn step(&mut self) -> Step {
        match self.schedule.next(self.model.graph()) {
            Next::Run { layer, step } => {
                self.run_step(layer, step);
                self.schedule.complete(self.model.graph(), layer);
                Step::Ran { layer: layer as u16 }
            }
            Next::Row { .. } => Step::NeedsRow,
            Next::Done | Next::Stalled => Step::Done,
        }
    }

    /// Takes the next row of the image: columns × channels bytes, channels in the order
    /// of the network (red, green, blue).
    ///
    /// The row is taken when no layer can run without it; until then this runs them. To do
    /// so in portions, call [`step`](Self::step) until it asks for a row.
    ///
    /// # Errors
    ///
    /// [`RowError`] if the row has a wrong length, or the image is complete; nothing is
    /// changed then.
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
        Ok(())
    }

    /// Classifies one image: rows × columns × channels bytes.
    ///
    /// # Errors
    ///
    /// [`RowError::Length`] if it has another size; `needed` and `got` are then those of the
    /// row at which it ends.
    pub fn run_image(&mut self, image: &[u8]) -> Result<Logits<'_>, RowError> {
        self.reset();
        let needed = self.model.input().row_bytes();
        for row in image.chunks(needed.max(1)) {
            self.push_row(row)?;
        }
        self.logits()
    }

    /// Reads up to `budget` bytes more of the model file, and says what is known of it: a pass
    /// over the whole file computes its checksum, and compares that and the header with those
    /// that the session was made with.
    ///
    /// Firmware calls this in the background, between images or between steps: it changes
    /// nothing of the image that is under way, and takes 7 to 12 instructions a byte. A pass ends
    /// with [`Verification::Verified`] or [`Verification::Corrupt`], and the next call begins
    /// another. With a budget of 0 nothing is read.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, Verification, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("../tests/golden/tiny.brook");
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
        self.scrub.advance(self.model.file(), budget)
    }

    /// Begins a pass of [`verify_weights`](Self::verify_weights); one that was under way is dropped.
    #[cfg(feature = "self-test")]
    pub fn restart_verification(&mut self) {
        self.scrub.restart();
    }

    /// Reads the whole model file in one call: what a pass of
    /// [`verify_weights`](Self::verify_weights) finds that begins now.
    #[cfg(feature = "self-test")]
    pub fn verify_all(&mut self) -> Verification {
        self.restart_verification();
        self.verify_weights(usize::MAX)
    }

    /// Rows of the image that are still to be pushed.
    pub fn rows_missing(&self) -> u16 {
        self.model.input().rows.saturating_sub(self.schedule.made(self.model.graph(), 0))
    }

    /// Runs what is left to run, and returns the logits.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing.
    pub fn logits(&mut self) -> Result<Logits<'_>, RowError> {
        self.finish(self.model.logits())
    }

    /// Runs what is left to run, and returns the last layer's output: the probabilities, if
    /// the network ends in a softmax, or else the logits.
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing.
    pub fn output(&mut self) -> Result<Logits<'_>, RowError> {
        self.finish(self.model.output())
    }

    /// Runs what is left to run, and returns the outputs of a network that has several, each with the
    /// number of its layer: those beside the last, and the [last](Self::output).
    ///
    /// # Errors
    ///
    /// [`RowError::Missing`] while rows are missing.
    pub fn outputs(&mut self) -> Result<impl Iterator<Item = (usize, Logits<'_>)>, RowError> {
        self.finish(self.model.output())?;
        let (model, arena) = (self.model, &*self.arena);
        Ok(model.outputs().map(move |layer| {
            let row = proved!(arena.get(model.row(layer, 0))).unwrap_or(&[]);
            (layer, Logits::new(row, model.layer(layer)))
        }))
    }

    fn finish(&mut self, layer: usize) -> Result<Logits<'_>, RowError> {
        while let Step::Ran { .. } = self.step() {}
        match self.rows_missing() {
            0 => {
                let row = proved!(self.arena.get(self.model.row(layer, 0))).unwrap_or(&[]);
                let record = self.model.layer(layer);
                Ok(Logits::new(row, record))
            }
            rows => Err(RowError::Missing { rows }),
        }
    }

    /// Runs a step of a layer. What runs has a frame of its own on the stack, so that it takes as
    /// much as this layer needs, and not as the greediest does.
    fn run_step(&mut self, index: usize, step: u16) {
        let layer = self.model.layer(index);
        #[cfg(feature = "int16")]
        if layer.has_int16() {
            return ops::int16::run(&self.model, index, step, self.arena);
        }
        match layer.operator() {
            // That it runs the packing was checked. So asked, a backend without such links nothing.
            Operator::Conv if B::SEVERAL_ROWS && layer.packing().rows_a_step() > 1 => {
                self.conv_rows(index, step);
            }
            Operator::Conv | Operator::MaxPool => self.window(index, step),
            operator if OTHER_WINDOWS && operator.has_window() => self.other_window(index, step),
            Operator::Lookup | Operator::Multiply | Operator::Concat if OTHER_ROWS => {
                self.other_row(index, step);
            }
            _ => self.row(index, step),
        }
    }

    /// Runs a step of a convolution that makes several rows.
    #[inline(never)]
    fn conv_rows(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, .. } = self;
        let layer = model.layer(index);
        let first = steps::rows_made(layer, step);
        let end = steps::rows_made(layer, step + 1);
        let place = |y: u16| if y < end { model.row(index, y) } else { 0..0 };
        let places: [_; MAX_STEP_ROWS] = core::array::from_fn(|i| place(first + i as u16));
        let [a, b, c, d] = places.clone();
        let mut read = Carved::default();
        let [a, b, c, d, scratch] = read.cut(arena, &[a, b, c, d, model.scratch(layer)]);
        let mut outputs = [a, b, c, d].map(ops::int8_mut);
        let shortcuts = core::array::from_fn(|i| {
            let place = proved!(places.get(i)).cloned().unwrap_or_default();
            shortcut(model, layer, &read, first + i as u16, &place)
        });
        let mut under = RowList::new();
        rows_under(model, layer, step, &read, &mut under);
        let conv = Conv::new(model, layer);
        backend.conv_rows(&conv, &under, &shortcuts, scratch, &mut outputs);
    }

    /// Runs a step of a layer whose kernel lies on several rows.
    #[inline(never)]
    fn window(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, .. } = self;
        let layer = model.layer(index);
        let place = model.row(index, step);
        let mut read = Carved::default();
        let [output, scratch] = read.cut(arena, &[place.clone(), model.scratch(layer)]);
        let output = ops::int8_mut(output);
        let mut under = RowList::new();
        rows_under(model, layer, step, &read, &mut under);
        if layer.operator() == Operator::MaxPool {
            return backend.max_pool(&MaxPool::new(model, layer), &under, output);
        }
        let shortcut = shortcut(model, layer, &read, step, &place);
        let conv = Conv::new(model, layer);
        backend.conv(&conv, &under, &shortcut, scratch, output);
    }

    /// [`window`](Self::window) of operators that not every build has.
    #[inline(never)]
    fn other_window(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, .. } = self;
        let layer = model.layer(index);
        let mut read = Carved::default();
        let [output, scratch] = read.cut(arena, &[model.row(index, step), model.scratch(layer)]);
        let output = ops::int8_mut(output);
        let mut under = RowList::new();
        rows_under(model, layer, step, &read, &mut under);
        match layer.operator() {
            Operator::GroupedConv if Feature::GroupedConv.is_on() => {
                GroupedConv::new(model, layer).run(backend, &under, scratch, output);
            }
            Operator::DepthwiseConv if Feature::DepthwiseConv.is_on() => {
                backend.depthwise_conv(&DepthwiseConv::new(model, layer), &under, output);
            }
            Operator::Border if Feature::Border.is_on() => {
                Border::new(model, layer).run(step, &under, output);
            }
            Operator::WindowAverage if Feature::WindowAverage.is_on() => {
                backend.window_average(&WindowAverage::new(model, layer), &under, output);
            }
            _ => {}
        }
    }

    /// [`row`](Self::row) of operators that not every build has.
    #[inline(never)]
    fn other_row(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, .. } = self;
        let layer = model.layer(index);
        let place = model.row(index, step);
        let mut read = Carved::default();
        let [output] = read.cut(arena, core::array::from_ref(&place));
        let output = ops::int8_mut(output);
        let row = ops::int8(read.bytes(model.row(layer.input.get() as usize, step)));
        match layer.operator() {
            Operator::Lookup if Feature::Lookup.is_on() => {
                backend.lookup(&Lookup::new(model, layer), row, output);
            }
            Operator::Multiply if Feature::Multiply.is_on() => {
                let shortcut = shortcut(model, layer, &read, step, &place);
                backend.multiply(&Multiply::new(model, layer), row, &shortcut, output);
            }
            Operator::Concat if Feature::Concat.is_on() => {
                let shortcut = shortcut(model, layer, &read, step, &place);
                Concat::new(model, layer).run(row, &shortcut, output);
            }
            _ => {}
        }
    }

    /// Runs a step of a layer that reads one row.
    #[inline(never)]
    fn row(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, .. } = self;
        let layer = model.layer(index);
        let made = steps::rows_made(layer, step);
        let makes = made < steps::rows_made(layer, step + 1);
        let place = if makes { model.row(index, made) } else { 0..0 };
        let mut read = Carved::default();
        let [output, scratch] = read.cut(arena, &[place.clone(), model.scratch(layer)]);
        let output = ops::int8_mut(output);
        let both = ops::int8(read.bytes(model.row(layer.input.get() as usize, step)));
        let row = upper(model.input_of(layer), both);
        match layer.operator() {
            Operator::Add => {
                let shortcut = shortcut(model, layer, &read, made, &place);
                backend.add(&Add::new(model, layer), row, &shortcut, output);
            }
            Operator::AveragePool => {
                // The arena is aligned to 16 bytes and so is the scratch memory in it.
                let sums = proved!(<[i32]>::mut_from_bytes(scratch)).unwrap_or_default();
                if ops::stream16::reads_both(model, layer) {
                    ops::stream16::sum_row(step == 0, both, sums);
                } else {
                    backend.sum_row(step == 0, row, sums);
                }
                if makes {
                    backend.average(&AveragePool::new(model, layer), sums, output);
                }
            }
            Operator::Softmax => backend.softmax(&Softmax::new(layer), row, output),
            Operator::BatchNorm if Feature::BatchNorm.is_on() => {
                backend.batch_norm(&BatchNorm::new(model, layer), row, output)
            }
            _ => {}
        }
    }
}

/// The shortcut of row `y`, whose place is `place`.
fn shortcut<'a>(
    model: &Model<'_>,
    layer: &LayerRecord,
    read: &Carved<'a>,
    y: u16,
    place: &Range<usize>,
) -> Shortcut<'a> {
    match layer.shortcut() {
        Some(operand) => match model.row(operand, steps::shortcut_row(layer, y)) {
            there if there == *place => Shortcut::InPlace,
            there => ops::shortcut(model, layer, ops::int8(read.bytes(there))),
        },
        None => Shortcut::InPlace,
    }
}

/// The numbers of a row in int8: of a stream in 16 bits its upper bytes.
#[inline(always)]
fn upper<'a>(layer: &LayerRecord, row: &'a [i8]) -> &'a [i8] {
    if layer.is_stream16() { ops::stream16::halves(row).0 } else { row }
}

/// Fills the list with the input's rows under a kernel, where it lies; those on padding are empty.
#[inline(never)]
fn rows_under<'a>(
    model: &Model<'_>,
    layer: &LayerRecord,
    step: u16,
    read: &Carved<'a>,
    under: &mut RowList<'a>,
) {
    let input = model.input_of(layer);
    let (above, places) = (steps::rows_above(layer, step), model.places(input));
    let mut rows = steps::rows_read(layer, step, input.rows.get());
    for slot in 0..usize::from(layer.step_span) {
        let row: &[i8] = match if slot < above { None } else { rows.next() } {
            Some(y) => upper(input, ops::int8(read.bytes(places.row(y)))),
            None => &[],
        };
        // There is room for the rows of the largest kernel.
        let _ = under.push(row);
    }
}
