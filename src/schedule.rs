//! The order in which the rows of a network are made.
//!
//! Every layer makes its output in *steps* of one row, from top to bottom. If its weights are
//! packed for several rows at once, a step makes [that number of
//! rows](crate::format::Packing::rows_a_step), and the last step the remaining ones. An average
//! pool reads one row of its input in each step, and makes its output in the last step. A step can
//! run when all rows that it reads are made. If the layer is [`ON_DEMAND`](flags::ON_DEMAND), a
//! step can run only if the last reader's next step also lacks rows of the layer:
//!
//! ```text
//! loop {
//!     of the segment's layers that can run, run a step of the deepest;
//!     if none can run: take the next row of the image (segment 0);
//!     if every layer is finished: begin the next segment;
//! }
//! ```
//!
//! A row is therefore used as soon as possible, and its memory becomes free early.
//!
//! The projection of a shortcut is a reason for [`ON_DEMAND`](flags::ON_DEMAND). It could run as
//! soon as the block's input has a row, which is long before the block's last convolution adds its
//! row. If it waits until the row before was added, it keeps one row less, and needs no row of the
//! input that the block's first convolution does not need, too.
//!
//! The order follows from the model file alone, not from when rows are pushed.
//! [`Model::parse`](crate::Model::parse) walks the same schedule that a [`Session`](crate::Session)
//! runs. It proves for each step that it overwrites nothing that is still needed, and proves that
//! the schedule ends.

use core::ops::Range;

#[cfg(doc)]
use crate::format::flags;
use crate::format::{LayerRecord, MAX_SEGMENT_LAYERS};
use crate::graph::Graph;
use crate::steps;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A step of a layer.
    Run {
        /// The layer.
        layer: usize,
        /// The step, from 0.
        step: u16,
    },
    /// A row of the image.
    Row {
        /// The row, from 0.
        row: u16,
    },
    /// Nothing: everything is done.
    Done,
    /// Nothing, although not everything is done. This never happens with a model that was checked.
    Stalled,
}

/// Which layers of the current segment can run.
pub(crate) trait Ready {
    /// The schedule has entered a segment.
    fn enter(&mut self, graph: &Graph<'_>, schedule: &Schedule);

    /// Whether a layer can run.
    fn can_run(&self, graph: &Graph<'_>, schedule: &Schedule, layer: usize) -> bool;
}

/// Asks the layers' records.
struct Records;

impl Ready for Records {
    fn enter(&mut self, _: &Graph<'_>, _: &Schedule) {}

    #[inline]
    fn can_run(&self, graph: &Graph<'_>, schedule: &Schedule, layer: usize) -> bool {
        schedule.can_run(graph, layer)
    }
}

/// How far each layer of the current segment has come.
#[derive(Debug, Clone)]
pub struct Schedule {
    segment: u16,
    first: u16,
    end: u16,
    /// The deepest layer that may be able to run.
    cursor: u16,
    /// Number of steps done, for each layer of the segment.
    done: [u16; MAX_SEGMENT_LAYERS],
}

impl Schedule {
    /// The start of the schedule.
    pub fn new(graph: &Graph<'_>) -> Self {
        let mut schedule =
            Self { segment: 0, first: 0, end: 0, cursor: 0, done: [0; MAX_SEGMENT_LAYERS] };
        schedule.enter(graph, 0);
        schedule
    }

    fn enter(&mut self, graph: &Graph<'_>, segment: u16) {
        let layers = graph.segment(segment as usize);
        self.segment = segment;
        self.first = layers.start as u16;
        self.end = layers.end as u16;
        self.cursor = self.end.saturating_sub(1);
        self.done = [0; MAX_SEGMENT_LAYERS];
    }

    /// The current segment.
    pub fn segment(&self) -> usize {
        self.segment as usize
    }

    /// What comes next. The counts of [`complete`](Self::complete) stay the same.
    pub fn next(&mut self, graph: &Graph<'_>) -> Next {
        self.next_by(graph, &mut Records)
    }

    /// What comes next, if `ready` says which layers can run.
    #[inline(always)]
    pub(crate) fn next_by(&mut self, graph: &Graph<'_>, ready: &mut impl Ready) -> Next {
        loop {
            while self.cursor >= self.first && self.cursor < self.end {
                let layer = self.cursor as usize;
                if ready.can_run(graph, self, layer) {
                    let step = self.done(layer);
                    return if layer == 0 {
                        Next::Row { row: step }
                    } else {
                        Next::Run { layer, step }
                    };
                }
                match self.cursor.checked_sub(1) {
                    Some(above) => self.cursor = above,
                    None => break,
                }
            }
            let finished = (self.first..self.end)
                .all(|i| self.done(i as usize) >= graph.layer(i as usize).steps.get());
            if !finished {
                return Next::Stalled;
            }
            if self.segment as usize + 1 >= graph.segments.len() {
                return Next::Done;
            }
            self.enter(graph, self.segment + 1);
            ready.enter(graph, self);
        }
    }

    /// The layers of the current segment.
    #[inline]
    pub(crate) fn layers(&self) -> Range<usize> {
        usize::from(self.first)..usize::from(self.end)
    }

    /// Counts a step of `layer` as done.
    pub fn complete(&mut self, graph: &Graph<'_>, layer: usize) {
        if let Some(done) =
            layer.checked_sub(self.first as usize).and_then(|i| self.done.get_mut(i))
        {
            *done = done.saturating_add(1);
        }
        // Only the layers that read the new row may have become able to run.
        self.cursor = graph.layer(layer).last_reader.get().min(self.end.saturating_sub(1));
    }

    /// Counts `steps` more steps of `layer` as done, which leave all layers as far from running as
    /// they were.
    pub(crate) fn skip(&mut self, layer: usize, steps: u16) {
        if let Some(done) =
            layer.checked_sub(self.first as usize).and_then(|i| self.done.get_mut(i))
        {
            *done = done.saturating_add(steps);
        }
    }

    /// Number of steps of `layer` that are done. Layers of earlier segments are finished.
    #[inline]
    pub(crate) fn done(&self, layer: usize) -> u16 {
        match layer.checked_sub(self.first as usize) {
            Some(i) => self.done.get(i).copied().unwrap_or(0),
            None => u16::MAX,
        }
    }

    /// Number of rows of `layer`'s output that are made.
    #[inline]
    pub fn made(&self, graph: &Graph<'_>, layer: usize) -> u16 {
        let record = graph.layer(layer);
        steps::rows_made(record, self.done(layer))
    }

    /// Whether a layer can run.
    pub(crate) fn can_run(&self, graph: &Graph<'_>, layer: usize) -> bool {
        let record = graph.layer(layer);
        let step = self.done(layer);
        if step >= record.steps.get() {
            return false;
        }
        if layer == 0 {
            return true;
        }
        let input = record.input.get() as usize;
        let needed = steps::rows_read(record, step, graph.layer(input).rows.get());
        self.made(graph, input) >= needed.end
            && record
                .shortcut()
                .is_none_or(|of| self.made(graph, of) >= steps::shortcut_rows(record, step).end)
            && (!record.is_on_demand() || self.is_awaited(graph, record, step))
    }

    /// Whether the last reader of a layer cannot run before the layer has done step `step`.
    ///
    /// Only the steps of a reader in this segment wait for a layer's.
    #[inline(never)]
    fn is_awaited(&self, graph: &Graph<'_>, record: &LayerRecord, step: u16) -> bool {
        let reader = usize::from(record.last_reader.get());
        if reader >= usize::from(self.end) {
            return true;
        }
        let (of, next) = (graph.layer(reader), self.done(reader));
        // Rows that no step reads are made at the end.
        next >= of.steps.get()
            || steps::rows_made(record, step) < steps::shortcut_rows(of, next).end
    }

    /// The first row of `layer`'s output that layers other than `besides` still need, in this
    /// segment or a later one.
    ///
    /// If that is at most `enough`, any needed row up to `enough` may be returned.
    #[inline(never)]
    pub fn needed_from(
        &self,
        graph: &Graph<'_>,
        layer: usize,
        besides: Option<usize>,
        enough: u16,
    ) -> u16 {
        let record = graph.layer(layer);
        let last = record.last_reader.get();
        if last >= self.end {
            return 0;
        }
        let mut needed = u16::MAX;
        let first = (layer + 1).max(usize::from(self.first));
        // The last reader is the one that most often needs the earliest row.
        for reader in (first..usize::from(last) + 1).rev() {
            let of = graph.layer(reader);
            let reads = usize::from(of.input.get()) == layer || of.shortcut() == Some(layer);
            if !reads || Some(reader) == besides {
                continue;
            }
            needed = needed.min(steps::first_needed(of, self.done(reader), layer, record));
            if needed <= enough {
                break;
            }
        }
        needed
    }

    /// Whether `layer` has begun and not finished.
    pub fn underway(&self, graph: &Graph<'_>, layer: usize) -> bool {
        (1..graph.layer(layer).steps.get()).contains(&self.done(layer))
    }
}
