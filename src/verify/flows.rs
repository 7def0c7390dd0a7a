//! What is known of the layers of a segment while its schedule is walked.
//!
//! All of it follows from the layers' records and the number of steps that are done. It is computed
//! when a segment begins and when a layer does a step, because a layer is asked more often than it
//! does a step.
//!
//! # Rings
//!
//! Most steps need not look at the arena if each layer of the segment has an area of its own: its
//! places and its scratch memory lie above those of the layers before it, and above all rows of
//! earlier segments. The rows of a tensor are then a *ring* of `n` places if row `y + n` has the
//! place of row `y`. A row of a ring can overwrite only the row `n` before it. It does so if more
//! than `n` rows are needed at the same time, and these are all rows from the first that the reader
//! still needs.
//!
//! A walk knows the rows of earlier segments only in its [window](super::taken): areas must lie
//! above `top`, the end of the highest units that are taken there. This is enough. If a row of a
//! ring overwrote a row of an earlier segment, they would share a unit, and that unit is in the
//! window of one of the walks. In that walk the unit is taken when the segment begins, so the area
//! does not lie above `top`, and the rows are looked for in the arena. Areas of the segment's own
//! layers are compared with each other in full, whatever the window.

use zerocopy::little_endian::U32;

use crate::format::{LayerRecord, MAX_SEGMENT_LAYERS};
use crate::graph::Graph;
use crate::model::Model;
use crate::schedule::Schedule;
use crate::steps;

/// Stands for a layer of an earlier segment, or for none: all of its rows are made.
const COMPLETE: u8 = MAX_SEGMENT_LAYERS as u8;
/// Stands for a layer of which no row is ever made.
const NEVER: u8 = COMPLETE + 1;

/// What is true of a layer in all of its steps.
pub(super) mod always {
    /// No step frees rows of the input: a later segment reads them, or they are a ring.
    pub(in super::super) const KEEPS_INPUT: u8 = 1;
    /// No other layer of the segment reads the input, and no later segment does.
    pub(in super::super) const READS_ALONE: u8 = 2;
    /// Each row of the output is read after it is made.
    pub(in super::super) const IS_READ: u8 = 4;
    /// The layer has a shortcut.
    pub(in super::super) const HAS_SHORTCUT: u8 = 8;
    /// No other layer of the segment reads the shortcut, and no later segment does.
    pub(in super::super) const READS_SHORTCUT_ALONE: u8 = 16;
    /// The layer has scratch memory.
    pub(in super::super) const HAS_SCRATCH: u8 = 32;
    /// The rows of the output are a ring.
    pub(in super::super) const IS_RING: u8 = 64;
    /// Of these [`ALL`], a layer has [`KEEPS_INPUT`], [`IS_READ`] and [`IS_RING`] if its steps
    /// neither take nor free anything.
    pub(in super::super) const NOTHING: u8 = KEEPS_INPUT | IS_READ | IS_RING;
    /// The layer waits for its last reader.
    pub(in super::super) const ON_DEMAND: u8 = 128;
    /// See [`NOTHING`].
    pub(in super::super) const ALL: u8 = NOTHING | HAS_SHORTCUT | HAS_SCRATCH;
}

/// The layers of a segment, and one entry each for [`COMPLETE`] and [`NEVER`].
pub(super) struct Flows([Flow; NEVER as usize + 1]);

/// A layer.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    /// Number of rows of the output that are made.
    pub(super) made: u16,
    /// The first row of the input that the next step reads.
    pub(super) from: u16,
    /// Number of rows of the input that the next step reads.
    reads: u8,
    /// Number of places, if the rows of the output are a ring of at most 255.
    pub(super) places: u8,
    /// The index of the input in the segment, or one of the above.
    input: u8,
    /// Bits of [`always`].
    pub(super) always: u8,
}

impl Flows {
    /// Before the first segment.
    #[inline(always)]
    pub(super) fn new() -> Self {
        let none = Flow { made: 0, from: 0, reads: 0, places: 0, input: 0, always: 0 };
        Self([none; NEVER as usize + 1])
    }

    /// The entry at an index.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<&Flow> {
        self.0.get(index)
    }

    /// The entry at an index.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Flow> {
        self.0.get_mut(index)
    }

    /// Whether a layer can run.
    #[inline(always)]
    pub(super) fn can_run(&self, graph: &Graph<'_>, schedule: &Schedule, layer: usize) -> bool {
        let flow = self.get(layer - schedule.layers().start);
        let can_run = flow.is_some_and(|flow| {
            let made = self.get(flow.input.into()).map_or(0, |input| input.made);
            made >= flow.from + u16::from(flow.reads)
                && (flow.always & (always::HAS_SHORTCUT | always::ON_DEMAND) == 0
                    || schedule.can_run(graph, layer))
        });
        debug_assert_eq!(can_run, schedule.can_run(graph, layer), "layer {layer}");
        can_run
    }

    /// Begins the schedule's segment; the rows of earlier segments that are still needed lie below
    /// `top`.
    #[inline(never)]
    pub(super) fn enter(&mut self, model: &Model<'_>, schedule: &Schedule, mut top: u32) {
        let Self(flows) = self;
        let graph = model.graph();
        let segment = schedule.layers();
        let mut ascend = true;
        if let Some(complete) = flows.get_mut(usize::from(COMPLETE)) {
            complete.made = u16::MAX;
        }
        for (layer, flow) in segment.clone().zip(flows.iter_mut()) {
            let record = graph.layer(layer);
            let input = usize::from(record.input.get());
            let tensor = graph.layer(input);
            // No layer of the segment has done a step, so others need rows if they read any.
            let alone = |of| schedule.needed_from(graph, of, Some(layer), 0) == u16::MAX;
            flow.input = match input.checked_sub(segment.start) {
                Some(index) if layer > 0 => index as u8,
                _ => COMPLETE,
            };
            let mut always = 0;
            if layer == 0 || usize::from(tensor.last_reader.get()) >= segment.end {
                always |= always::KEEPS_INPUT;
            }
            if alone(input) && record.shortcut != record.input {
                always |= always::READS_ALONE;
            }
            if is_read(graph, segment.end, layer) {
                always |= always::IS_READ;
            }
            if record.is_on_demand() {
                always |= always::ON_DEMAND;
            }
            if let Some(shortcut) = record.shortcut() {
                always |= always::HAS_SHORTCUT;
                if alone(shortcut) {
                    always |= always::READS_SHORTCUT_ALONE;
                }
            }
            let starts = model.places(record).starts();
            let row_bytes = record.row_bytes() as u32;
            let places = ring(starts, row_bytes);
            flow.places = u8::try_from(places).unwrap_or(0);
            let start = |y: usize| starts.get(y).map_or(0, |start| start.get());
            let mut area = (start(0), start(places.wrapping_sub(1)) + row_bytes);
            if record.scratch_bytes.get() > 0 {
                always |= always::HAS_SCRATCH;
                let scratch = record.scratch_offset.get();
                // Scratch memory below the rows.
                ascend &= area.1 <= scratch;
                area.1 = scratch + record.scratch_bytes.get();
            }
            ascend &= places > 0 && top <= area.0;
            top = area.1;
            flow.always = always;
            flow.advance(record, 0, tensor);
        }
        for reader in 0..if ascend { segment.len() } else { 0 } {
            let Some(&Flow { input, always, .. }) = flows.get(reader) else { return };
            let flow = flows.get_mut(usize::from(input)).filter(|flow| {
                always & always::READS_ALONE != 0
                    && flow.always & always::IS_READ != 0
                    && flow.places > 0
            });
            if let Some(flow) = flow {
                flow.always |= always::IS_RING;
                if let Some(flow) = flows.get_mut(reader) {
                    flow.always |= always::KEEPS_INPUT;
                }
            }
        }
    }
}

impl Flow {
    /// Sets the number of steps of the layer that are done; `tensor` is its input.
    #[inline(never)]
    pub(super) fn advance(&mut self, layer: &LayerRecord, done: u16, tensor: &LayerRecord) {
        self.made = steps::rows_made(layer, done);
        let read = steps::rows_read(layer, done, tensor.rows.get());
        (self.from, self.reads) = (read.start, read.len() as u8);
        if done >= layer.steps.get() {
            (self.input, self.from, self.reads) = (NEVER, u16::MAX, 0);
        }
    }
}

/// Number of places of the ring on which rows lie; 0 if they are no ring.
#[inline(never)]
fn ring(starts: &[U32], row_bytes: u32) -> usize {
    let first = starts.first();
    let again = starts.iter().skip(1).position(|start| Some(start) == first);
    let places = again.map_or(starts.len(), |before| before + 1);
    let (cycle, rest) = starts.split_at_checked(places).unwrap_or_default();
    let ascends = |(below, above): (&U32, &U32)| below.get() + row_bytes <= above.get();
    let is_ring = rest.iter().zip(starts).all(|(start, before)| start == before)
        && cycle.iter().zip(cycle.iter().skip(1)).all(ascends);
    if is_ring { places } else { 0 }
}

/// Whether each row of a layer's output is read after it is made: a later segment reads the output,
/// or the last reader reads all rows.
fn is_read(graph: &Graph<'_>, segment_end: usize, layer: usize) -> bool {
    let record = graph.layer(layer);
    let last = usize::from(record.last_reader.get());
    let (reader, rows) = (graph.layer(last), record.rows.get());
    let end = steps::rows_read(reader, reader.steps.get().saturating_sub(1), rows).end;
    last >= segment_end
        || usize::from(reader.input.get()) == layer
            && reader.step_stride <= reader.step_span
            && end == rows
}
