//! Steps that are proved without walking through them, because the schedule repeats itself.
//!
//! After some rows of the image, most networks do the same again and again: in a *period*, each
//! layer does a fixed number of steps, and its rows go where those of the period before went.
//!
//! # What a period proves
//!
//! A row of the image is asked for when no other layer of the first segment can do a step. So when
//! row `y` is asked for, each layer has done all steps whose operands follow from `y` rows of the
//! image. How many these are depends on `y` alone, not on the order of steps. This is also true of
//! layers on demand: what such a step waits for is a number of steps of its reader, so it is one
//! more operand.
//!
//! Let a period have `q` rows of the image, and let each layer do `d` steps in it. For each tensor
//! that a layer reads, these `d` steps must move on by as many rows as are made of the tensor in a
//! period. (This gives `d` for each layer, in the order of layers; it is 0 if no rows are made.) No
//! step of the periods that are compared may lie on padding or be the layer's last. Then what a
//! layer can do follows from differences between counts of rows, which are the same in all periods.
//! So at row `y − q` each layer had done `d` steps less than at row `y`, and from row `y` to `y + q`
//! the steps are those from `y − q` to `y`, in the same order, plus `d`.
//!
//! If the rows that are needed from `y − q` on, and the rows that are made, also have the places of
//! the rows a period before, then each step writes the bytes that were written a period before,
//! while the same bytes are needed. The walk found that those steps overwrite nothing, so no step
//! of the next period does. At its end the same bytes are taken as at its start. The same is true
//! of further periods, up to the first in which a condition fails.

use super::flows::Flows;
use crate::format::{LayerRecord, MAX_SEGMENT_LAYERS};
use crate::model::Model;
use crate::schedule::Schedule;

/// Number of rows that each layer of the first segment makes in a period.
type Made = [u8; MAX_SEGMENT_LAYERS];

/// Number of rows of the image in a period: a multiple of many strides, and of the numbers of
/// places on which the rows of many tensors lie in turn.
const PERIOD: u8 = 24;

impl Model<'_> {
    /// Counts the steps of periods that need not be walked through as done, when a row of the image
    /// is asked for. Returns the number of these steps.
    ///
    /// This is tried after a power of two of periods, and skips up to as many. The work is therefore
    /// in proportion to the number of rows.
    #[inline(never)]
    pub(super) fn skip_periods(&self, schedule: &mut Schedule, flows: &mut Flows) -> usize {
        let rows = schedule.done(0);
        let times = rows / u16::from(PERIOD);
        let mut skipped = 0;
        if !times.is_power_of_two() || times * u16::from(PERIOD) != rows {
            return skipped;
        }
        let mut made = [0; MAX_SEGMENT_LAYERS];
        let times = self.periods(schedule, times, &mut made);
        for layer in schedule.layers() {
            let record = self.layer(layer);
            let steps = times * steps(record, &made) as u16;
            schedule.skip(layer, steps);
            if let Some(flow) = flows.get_mut(layer) {
                flow.advance(record, schedule.done(layer), self.input_of(record));
            }
            skipped += usize::from(steps);
        }
        // All other layers have done what they can, as before.
        debug_assert!(
            schedule.layers().skip(1).all(|layer| !schedule.can_run(self.graph(), layer))
        );
        #[cfg(test)]
        tests::count(skipped);
        skipped
    }

    /// How many periods can be skipped, up to `times`. The number of rows that each layer makes in a
    /// period is left in `made`.
    fn periods(&self, schedule: &Schedule, times: u16, made: &mut Made) -> u16 {
        let graph = self.graph();
        let mut times = i32::from(times);
        // The input layer is its own input, and reads a row in each step.
        made[0] = PERIOD;
        for layer in schedule.layers() {
            let record = graph.layer(layer);
            let rows_of = |of: usize| made.get(of).map_or(0, |&rows| i32::from(rows));
            let (input, stride) = (usize::from(record.input.get()), i32::from(record.step_stride));
            let (moved, steps) = (rows_of(input), steps(record, made));
            let rows = steps * i32::from(record.step_rows);
            let shortcut = record.shortcut().map_or(0, rows_of);
            // Without a shortcut, its stride is 0.
            if steps * stride != moved || rows * i32::from(record.shortcut_stride) != shortcut {
                return 0;
            }
            if steps == 0 {
                continue;
            }
            // The step before the period before must not lie on padding, nor may the step after
            // the last period, and that must not be the layer's last.
            let done = i32::from(schedule.done(layer));
            let (pad, span) = (i32::from(record.pads[0]), i32::from(record.step_span));
            let first = done - steps - 1;
            let below = i32::from(graph.layer(input).rows.get()) + pad - done * stride - span;
            let after = i32::from(record.steps.get()) - done - 2;
            if (first | (first * stride - pad) | below | after) < 0 {
                return 0;
            }
            times = times.min(below / moved.max(1)).min(after / steps);
            if rows > 0 {
                // The rows that are needed in the period before, and those made up to the last.
                let end = done * i32::from(record.step_rows);
                let needed = i32::from(schedule.needed_from(graph, layer, None, 0));
                let places = self.units(record);
                let mut y = (needed.min(end) - rows).max(0);
                while y < end + (times - 1) * rows
                    && places.row(y as u16) == places.row((y + rows) as u16)
                {
                    y += 1;
                }
                times = times.min((y + rows - end) / rows);
            }
            let (Some(made), Ok(rows)) = (made.get_mut(layer), u8::try_from(rows)) else {
                return 0;
            };
            if times <= 0 {
                return 0;
            }
            *made = rows;
        }
        times as u16
    }
}

/// Number of steps of a layer in a period.
fn steps(layer: &LayerRecord, made: &Made) -> i32 {
    let moved = made.get(usize::from(layer.input.get())).map_or(0, |&rows| i32::from(rows));
    moved / i32::from(layer.step_stride).max(1)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::thread_local;

    thread_local! {
        static SKIPPED: Cell<usize> = const { Cell::new(0) };
    }

    /// Number of steps that this thread has skipped.
    pub(in super::super) fn skipped() -> usize {
        SKIPPED.get()
    }

    pub(super) fn count(skipped: usize) {
        SKIPPED.set(SKIPPED.get() + skipped);
    }
}
