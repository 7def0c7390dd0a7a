//! Runs a step of a layer: cuts the step's rows out of the arena, and passes them to the backend.

use core::ops::Range;

use zerocopy::FromBytes;

use super::Session;
use crate::feature::Feature;
use crate::format::{LayerRecord, Operator};
use crate::kernels::Backend;
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
use crate::ops::{self, MAX_STEP_ROWS, Outputs, RowList, Shortcut};
use crate::proved::proved;
use crate::rows::Carved;
use crate::steps;
use crate::weights::Weights;
#[cfg(feature = "weights-window")]
use crate::window::run;

/// Whether this build has window operators other than those of residual networks.
const OTHER_WINDOWS: bool = Feature::GroupedConv.is_on()
    || Feature::DepthwiseConv.is_on()
    || Feature::WindowAverage.is_on()
    || Feature::Border.is_on();
/// Whether this build has operators, other than those of residual networks, that read a single row.
const OTHER_ROWS: bool =
    Feature::Lookup.is_on() || Feature::Multiply.is_on() || Feature::Concat.is_on();

impl<B: Backend, W: Weights> Session<'_, '_, B, W> {
    /// Runs a step of a layer. Each kind of step has a stack frame of its own, so that a layer
    /// takes only the stack that it needs, not that of the largest.
    pub(super) fn run_step(&mut self, index: usize, step: u16) {
        let layer = self.model.layer(index);
        #[cfg(feature = "int16")]
        if layer.has_int16() {
            return ops::int16::run(&self.model, index, step, self.arena, &mut self.weights);
        }
        match layer.operator() {
            // The packing was checked before. With this condition, a backend without such packings
            // links no code for them.
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
        let Self { model, arena, backend, weights, .. } = self;
        let layer = model.layer(index);
        let first = steps::rows_made(layer, step);
        let end = steps::rows_made(layer, step + 1);
        // The scratch memory, and the rows. Most steps make fewer than there is room for.
        let mut places: [Range<usize>; 1 + MAX_STEP_ROWS] = Default::default();
        let [scratch, rows @ ..] = &mut places;
        *scratch = model.scratch(layer);
        let own = model.places(layer);
        rows.iter_mut().zip(first..end).for_each(|(place, y)| *place = own.row(y));
        let made = usize::from(end.saturating_sub(first));
        let places = proved!(places.get(..=made)).unwrap_or(&places);
        let mut read = Carved::default();
        let mut cuts: [_; 1 + MAX_STEP_ROWS] = read.cut(arena, places);
        let [scratch, cuts @ ..] = &mut cuts;
        let scratch = core::mem::take(scratch);
        let mut outputs: Outputs<'_> = Default::default();
        let mut shortcuts = [Shortcut::InPlace; MAX_STEP_ROWS];
        let rows = outputs.iter_mut().zip(cuts).zip(&mut shortcuts);
        for ((y, place), ((output, cut), there)) in (first..).zip(places.iter().skip(1)).zip(rows) {
            *output = ops::int8_mut(core::mem::take(cut));
            if layer.shortcut().is_some() {
                *there = shortcut(model, layer, &read, y, place);
            }
        }
        let mut under = RowList::new();
        rows_under(model, layer, step, &read, &mut under);
        #[cfg(feature = "weights-window")]
        if !W::MAPPED {
            let outputs = &mut outputs;
            return run::conv_rows(
                weights, model, index, backend, &under, &shortcuts, scratch, outputs,
            );
        }
        let _ = weights;
        let conv = Conv::new(model, layer);
        backend.conv_rows(&conv, &under, &shortcuts, scratch, &mut outputs);
    }

    /// Runs a step of a layer whose kernel covers several rows.
    #[inline(never)]
    fn window(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, weights, .. } = self;
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
        #[cfg(feature = "weights-window")]
        if !W::MAPPED {
            return run::conv(weights, model, index, backend, &under, &shortcut, scratch, output);
        }
        let _ = weights;
        let conv = Conv::new(model, layer);
        backend.conv(&conv, &under, &shortcut, scratch, output);
    }

    /// As [`window`](Self::window), for operators that not every build has.
    #[inline(never)]
    fn other_window(&mut self, index: usize, step: u16) {
        let Self { model, arena, backend, weights, .. } = self;
        let layer = model.layer(index);
        let mut read = Carved::default();
        let [output, scratch] = read.cut(arena, &[model.row(index, step), model.scratch(layer)]);
        let output = ops::int8_mut(output);
        let mut under = RowList::new();
        rows_under(model, layer, step, &read, &mut under);
        #[cfg(feature = "weights-window")]
        if !W::MAPPED && layer.operator().has_kernels() {
            return run::other(weights, model, index, backend, &under, scratch, output);
        }
        let _ = weights;
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

    /// As [`row`](Self::row), for operators that not every build has.
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
            Operator::Softmax => {
                let (softmax, channels) = (Softmax::new(layer), layer.channels.get().max(1));
                let pixels = row.chunks(channels.into()).zip(output.chunks_mut(channels.into()));
                pixels.for_each(|(pixel, output)| backend.softmax(&softmax, pixel, output));
            }
            Operator::BatchNorm if Feature::BatchNorm.is_on() => {
                backend.batch_norm(&BatchNorm::new(model, layer), row, output)
            }
            _ => {}
        }
    }
}

/// The shortcut of output row `y`, which is at `place`.
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

/// The int8 values of a row; of a 16-bit stream these are the upper bytes.
#[inline(always)]
fn upper<'a>(layer: &LayerRecord, row: &'a [i8]) -> &'a [i8] {
    if layer.is_stream16() { ops::stream16::halves(row).0 } else { row }
}

/// Fills the list with the input rows under the kernel; rows on padding are empty.
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
