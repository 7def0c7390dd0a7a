//! The walk over the schedule, which checks that no step writes bytes that are still needed.

use core::ops::Range;

use super::flows::{Flow, Flows, always};
use super::taken::Taken;
use crate::arena::ARENA_ALIGN;
use crate::error::{Error, Fault};
use crate::format::LayerRecord;
use crate::graph::Graph;
use crate::model::Model;
use crate::ops;
use crate::schedule::{Next, Ready, Schedule};
use crate::steps;

/// The schedule may have one step for each `BYTES_A_STEP` bytes of the file.
const BYTES_A_STEP: usize = 1;

/// A walk over the schedule.
///
/// It borrows its parts, because moving them into it would need their room on the stack twice.
struct Walk<'w, 'm> {
    model: &'w Model<'m>,
    taken: &'w mut Taken,
    flows: &'w mut Flows,
}

impl Ready for Walk<'_, '_> {
    fn enter(&mut self, _: &Graph<'_>, schedule: &Schedule) {
        self.flows.enter(self.model, schedule, self.taken.top());
    }

    #[inline(always)]
    fn can_run(&self, graph: &Graph<'_>, schedule: &Schedule, layer: usize) -> bool {
        self.flows.can_run(graph, schedule, layer)
    }
}

impl Model<'_> {
    /// Walks the schedule, and checks that no step writes bytes that are still needed.
    ///
    /// A byte is needed if it belongs to a finished row that a later step reads, or to scratch
    /// memory that keeps something. Every write is checked against all needed bytes, so every step
    /// finds the rows that it reads unchanged.
    ///
    /// A walk checks a [window](super::taken) of the arena. This is the whole arena, unless rows
    /// are scattered.
    #[inline(never)]
    pub(super) fn check_schedule(&self) -> Result<(), Error> {
        let graph = self.graph();
        let mut steps = self.length() / BYTES_A_STEP;
        let mut window = Some(0);
        let mut flows = Flows::new();
        while let Some(start) = window {
            let mut taken = Taken::from(start);
            let mut walk = Walk { model: self, taken: &mut taken, flows: &mut flows };
            let mut schedule = Schedule::new(graph);
            walk.enter(graph, &schedule);
            loop {
                let (layer, step) = match schedule.next_by(graph, &mut walk) {
                    Next::Row { row } => {
                        let skipped = self.skip_periods(&mut schedule, walk.flows);
                        steps = steps.checked_sub(skipped).ok_or(Error::Work)?;
                        if skipped > 0 {
                            continue;
                        }
                        (0, row)
                    }
                    Next::Run { layer, step } => (layer, step),
                    Next::Done => break,
                    Next::Stalled => {
                        return Err(Error::Stalls { segment: schedule.segment() as u16 });
                    }
                };
                steps = steps.checked_sub(1).ok_or(Error::Work)?;
                if !self.check_step(&mut walk, &mut schedule, layer, step) {
                    return Err(Error::layer(layer, Fault::Overwrites));
                }
            }
            window = taken.end();
        }
        Ok(())
    }

    /// Does a step; returns `false` if it writes bytes that are still needed.
    #[inline(always)]
    fn check_step(
        &self,
        walk: &mut Walk<'_, '_>,
        schedule: &mut Schedule,
        layer: usize,
        step: u16,
    ) -> bool {
        let graph = self.graph();
        let segment = schedule.layers().start;
        let (Some(record), Some(flow)) =
            (graph.layers.get(layer), walk.flows.get_mut(layer - segment))
        else {
            return false;
        };
        let Flow { always, places, .. } = *flow;
        flow.advance(record, step + 1, graph.input_of(record));
        let end = flow.made;
        schedule.complete(graph, layer);
        if always & always::IS_RING != 0 {
            let reader = usize::from(record.last_reader.get()).wrapping_sub(segment);
            let needed = walk.flows.get(reader).map_or(0, |flow| flow.from);
            if end.wrapping_sub(needed) > u16::from(places) {
                return false;
            }
        }
        always & always::ALL == always::NOTHING || self.check_arena(walk, schedule, layer, step)
    }

    /// Takes and frees what a step does in the arena, if its rows are no ring; returns `false` if
    /// something is taken already.
    #[inline(never)]
    fn check_arena(
        &self,
        walk: &mut Walk<'_, '_>,
        schedule: &Schedule,
        layer: usize,
        step: u16,
    ) -> bool {
        let graph = self.graph();
        let record = graph.layer(layer);
        let Walk { taken, flows, .. } = walk;
        let Some(&Flow { made: end, always, .. }) = flows.get(layer - schedule.layers().start)
        else {
            return false;
        };
        let first = steps::rows_made(record, step);
        // Scratch memory that keeps something is taken from the first step of the layer to its
        // last.
        let keeps = ops::scratch_persists(record);
        let has_scratch = always & always::HAS_SCRATCH != 0;
        if has_scratch && !(keeps && step > 0) && !taken.take(self.scratch_units(record)) {
            return false;
        }
        // After the step, the rows that it has read are free, unless another layer still needs
        // them.
        let mut others = u16::MAX;
        if let Some(shortcut) = record.shortcut() {
            if always & always::READS_SHORTCUT_ALONE == 0 {
                others = schedule.needed_from(graph, shortcut, Some(layer), first);
            }
            self.free_shortcut(taken, record, first..end.min(others), first..end.min(others), true);
        }
        let places = self.units(record);
        if always & always::IS_RING == 0 {
            for y in first..end {
                if !taken.take(places.row(y)) {
                    return false;
                }
            }
        }
        if let Some(shortcut) = record.shortcut().filter(|_| record.shortcut != record.input) {
            let rows = used_up(graph, schedule, record, step, shortcut, others);
            self.free_shortcut(taken, record, rows, first..end.min(others), false);
        }
        if always & always::KEEPS_INPUT == 0 {
            let input = record.input.get().into();
            let mut rows = used_up(graph, schedule, record, step, input, u16::MAX);
            if always & always::READS_ALONE == 0 && !rows.is_empty() {
                rows.end =
                    rows.end.min(schedule.needed_from(graph, input, Some(layer), rows.start));
            }
            let places = self.units(graph.layer(input));
            for y in rows {
                taken.free(places.row(y));
            }
        }
        // Rows that no layer reads are free at once.
        if always & always::IS_READ == 0 {
            let needed = schedule.needed_from(graph, layer, None, first);
            (first..end.min(needed)).for_each(|y| taken.free(places.row(y)));
        }
        if has_scratch && !(keeps && schedule.underway(graph, layer)) {
            taken.free(self.scratch_units(record));
        }
        true
    }

    /// Frees those of the shortcut's `rows` that become the output's, or those that do not. Rows of
    /// `made`, which no other layer needs, become the output's if they have the same place.
    #[inline(never)]
    fn free_shortcut(
        &self,
        taken: &mut Taken,
        layer: &LayerRecord,
        rows: Range<u16>,
        made: Range<u16>,
        become_output: bool,
    ) {
        let Some(shortcut) = layer.shortcut() else { return };
        let updates = steps::can_update(self.graph(), layer);
        let (from, to) = (self.units(self.layer(shortcut)), self.units(layer));
        for y in rows {
            let becomes_output = updates && made.contains(&y) && from.row(y) == to.row(y);
            if becomes_output == become_output {
                taken.free(from.row(y));
            }
        }
    }

    /// The units of the rows of a layer's output.
    #[inline(never)]
    pub(super) fn units(&self, layer: &LayerRecord) -> RowUnits<'_> {
        let (words, _) = self.file().as_chunks::<4>();
        let places = layer.places.get() as usize / 4;
        RowUnits { words, places, units: units(0..layer.row_bytes()).end }
    }

    /// The units of a layer's scratch memory.
    #[inline(never)]
    fn scratch_units(&self, layer: &LayerRecord) -> Range<u32> {
        units(self.scratch(layer))
    }
}

/// The units of the arena that a place uses. A place begins at a multiple of [`ARENA_ALIGN`], so
/// that no other row uses the rest of its last unit.
fn units(place: Range<usize>) -> Range<u32> {
    (place.start / ARENA_ALIGN) as u32..place.end.div_ceil(ARENA_ALIGN) as u32
}

/// The units of rows.
pub(super) struct RowUnits<'m> {
    /// The file.
    words: &'m [[u8; 4]],
    /// The index of the first row's place in the file.
    places: usize,
    /// Number of units of a row.
    units: u32,
}

impl RowUnits<'_> {
    #[inline]
    pub(super) fn row(&self, y: u16) -> Range<u32> {
        let start = self.words.get(self.places + usize::from(y));
        let start = start.map_or(0, |&place| u32::from_le_bytes(place));
        let start = start / ARENA_ALIGN as u32;
        start..start + self.units
    }
}

/// The rows of tensor `of` that the reader needs up to this step and no longer. Rows from `others`
/// on, which other layers need, and rows that are not made yet are left out.
#[inline(never)]
fn used_up(
    graph: &Graph<'_>,
    schedule: &Schedule,
    reader: &LayerRecord,
    step: u16,
    of: usize,
    others: u16,
) -> Range<u16> {
    let tensor = graph.layer(of);
    let before = steps::first_needed(reader, step, of, tensor);
    let now = steps::first_needed(reader, step + 1, of, tensor);
    before..now.min(others).min(schedule.made(graph, of))
}
