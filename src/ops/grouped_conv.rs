//! Convolution in groups: each group of output channels reads its own input channels, as in ResNeXt
//! (Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural Networks").
//!
//! ```text
//! for group g, of I = input channels / groups and O = output channels / groups:
//!     output[y, x, g·O … g·O + O] = conv of input[y, x, g·I … g·I + I]
//! ```
//!
//! Each group is a [convolution](super::conv) without a join, and runs as one. The group's input
//! channels are copied from the rows under the kernel, the backend's kernels make a row of O
//! channels, and its values are copied to their positions in the output.
//!
//! ```text
//! scratch │ row 0, I channels │ row 1 … │ output row, O channels │ scratch of the convolution │
//! ```
//!
//! The weights of each group are in the layer's [packing](crate::format::Packing), and begin at a
//! multiple of 16 bytes. Groups of one channel run faster as a [depthwise
//! convolution](super::depthwise_conv).

use core::ops::Range;

use super::conv::check::{can_be_addressed, check_channels, check_numbers, packing_of};
use super::conv::{self, Conv, Padding};
use super::{Known, RowList, Rows, Shortcut, Window, check_window, int8_mut, weights_section};
use crate::error::{Fault, Section};
use crate::format::{LayerRecord, Packing, WEIGHTS_ALIGN};
use crate::kernels::Backend;
use crate::model::Model;
use crate::proved::proved;
use crate::shape::Shape;

/// A grouped convolution, ready to run.
#[derive(Debug, Clone)]
pub struct GroupedConv<'m> {
    /// The whole layer, with the weights of the groups one after the other.
    pub conv: Conv<'m>,
    /// Number of groups.
    pub groups: usize,
    /// The groups whose weights are present.
    pub(crate) part: Range<usize>,
}

/// The window of one of `groups` groups.
fn window_of_group(window: &Window, groups: usize) -> Window {
    let part = |shape: Shape| {
        let channels = usize::from(shape.channels) / groups.max(1);
        Shape::new(shape.rows, shape.columns, channels as u16)
    };
    Window { input: part(window.input), output: part(window.output), ..*window }
}

/// Distance in bytes from the weights of one group to those of the next; `window` is that of one
/// group.
fn group_distance(window: &Window, packing: Packing) -> usize {
    conv::weight_bytes(window, packing).next_multiple_of(WEIGHTS_ALIGN)
}

/// The number of groups in a record.
pub(crate) fn groups(layer: &LayerRecord) -> usize {
    usize::try_from(layer.parameter.get()).unwrap_or(0)
}

/// Number of bytes of the weights of all groups.
pub(super) fn weight_bytes(layer: &LayerRecord, input: Shape) -> usize {
    let window = window_of_group(&Window::over(input, layer), groups(layer));
    group_distance(&window, layer.packing()).saturating_mul(groups(layer))
}

/// Numbers of bytes of the copied rows, and of the row that is made.
fn row_bytes(window: &Window) -> [u64; 2] {
    let bytes = |shape: Shape| {
        let bytes = u64::from(shape.columns) * u64::from(shape.channels);
        bytes.next_multiple_of(crate::arena::ARENA_ALIGN as u64)
    };
    [window.kernel[0] as u64 * bytes(window.input), bytes(window.output)]
}

/// Number of bytes of scratch memory.
pub(super) fn scratch_bytes(layer: &LayerRecord, input: Shape) -> u64 {
    let window = window_of_group(&Window::over(input, layer), groups(layer));
    let [inputs, output] = row_bytes(&window);
    inputs + output + conv::scratch::scratch_for(layer.packing(), &window)
}

impl<'m> GroupedConv<'m> {
    /// The convolution of a checked record.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        Self::of(Conv::new(model, layer), groups(layer).max(1))
    }

    /// A grouped convolution, from one over all channels and the number of groups.
    pub fn of(conv: Conv<'m>, groups: usize) -> Self {
        Self { conv, groups, part: 0..groups }
    }

    /// The groups of the output channels `channels`, whose weights are `weights`.
    #[cfg(feature = "weights-window")]
    pub(crate) fn of_channels(self, channels: Range<usize>, weights: &'m [i8]) -> Self {
        let outputs = usize::from(self.conv.window.output.channels);
        let outputs = outputs.checked_div(self.groups).unwrap_or(0).max(1);
        let part = channels.start / outputs..channels.end.div_ceil(outputs);
        Self { conv: Conv { weights, ..self.conv }, part, ..self }
    }

    /// Group `g` as a convolution of its own.
    #[inline(never)]
    pub fn group(&self, g: usize) -> Conv<'m> {
        let whole = &self.conv;
        let window = window_of_group(&whole.window, self.groups);
        let (inputs, outputs) =
            (usize::from(window.input.channels), usize::from(window.output.channels));
        let first = g * outputs;
        let bytes = conv::weight_bytes(&window, whole.packing);
        let distance = group_distance(&window, whole.packing);
        Conv {
            window,
            weights: part_of(whole.weights, (g - self.part.start) * distance, bytes),
            bias: part_of(whole.bias, first, outputs),
            mantissas: part_of(whole.mantissas, first, outputs),
            shifts: part_of(whole.shifts, first, outputs),
            padding: match whole.padding {
                Padding::Same(value) => Padding::Same(value),
                Padding::PerChannel(values) => {
                    Padding::PerChannel(part_of(values, g * inputs, inputs))
                }
            },
            ..*whole
        }
    }

    /// Number of bytes of scratch memory.
    pub fn scratch_bytes(&self) -> usize {
        let window = window_of_group(&self.conv.window, self.groups);
        let [inputs, output] = row_bytes(&window);
        (inputs + output + conv::scratch::scratch_for(self.conv.packing, &window)) as usize
    }

    /// Makes one output row; `scratch` has [`scratch_bytes`](super::scratch_bytes) bytes.
    pub fn run(
        &self,
        backend: &impl Backend,
        rows: &Rows<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        let window = window_of_group(&self.conv.window, self.groups);
        let [inputs, made] = row_bytes(&window).map(|bytes| bytes as usize);
        let (copies, rest) = proved!(scratch.split_at_mut_checked(inputs)).unwrap_or_default();
        let (made, rest) = proved!(rest.split_at_mut_checked(made)).unwrap_or_default();
        let row = window.output.row_bytes();
        let made = proved!(int8_mut(made).get_mut(..row)).unwrap_or_default();
        for g in self.part.clone() {
            let under = self.under(g, &window, rows, copies);
            backend.conv(&self.group(g), &under, &Shortcut::InPlace, rest, made);
            let outputs = usize::from(window.output.channels).max(1);
            let all = usize::from(self.conv.window.output.channels).max(1);
            let mut pixels = output.chunks_exact_mut(all);
            for made in made.chunks_exact(outputs) {
                let pixel = proved!(pixels.next()).unwrap_or_default();
                copy(made, pixel.iter_mut().skip(g * outputs));
            }
        }
    }

    /// Copies of the rows with only the channels of group `g`; rows of padding stay empty.
    fn under<'a>(
        &self,
        g: usize,
        window: &Window,
        rows: &Rows<'_>,
        copies: &'a mut [u8],
    ) -> RowList<'a> {
        let bytes = window.input.row_bytes();
        let inputs = usize::from(window.input.channels).max(1);
        let all = usize::from(self.conv.window.input.channels).max(1);
        let distance = bytes.next_multiple_of(crate::arena::ARENA_ALIGN).max(1);
        let mut under = RowList::new();
        let places = copies.chunks_exact_mut(distance);
        for (row, room) in rows.iter().take(window.kernel[0]).zip(places) {
            if row.is_empty() {
                let _ = under.push(&[]);
                continue;
            }
            let place = proved!(int8_mut(room).get_mut(..bytes)).unwrap_or_default();
            let mut pixels = row.chunks_exact(all);
            for to in place.chunks_exact_mut(inputs) {
                let pixel = proved!(pixels.next()).unwrap_or_default();
                copy(part_of(pixel, g * inputs, inputs), to);
            }
            let _ = under.push(place);
        }
        under
    }
}

/// Copies values one by one, because there are few.
#[inline(always)]
fn copy<'t>(from: &[i8], to: impl IntoIterator<Item = &'t mut i8>) {
    to.into_iter().zip(from).for_each(|(to, &from)| *to = from);
}

/// `length` items from index `start` on; empty if there are fewer.
fn part_of<T>(items: &[T], start: usize, length: usize) -> &[T] {
    proved!(items.get(start..start + length)).unwrap_or(&[])
}

pub(super) fn check(
    model: &Model<'_>,
    layer: &LayerRecord,
    known: &mut Known,
) -> Result<(), Fault> {
    let (groups, input) = (groups(layer), model.input_of(layer));
    let divides = |channels: u16| groups > 0 && usize::from(channels).is_multiple_of(groups);
    if !divides(input.channels.get()) || !divides(layer.channels.get()) {
        return Err(Fault::Shape);
    }
    check_window(model, layer)?;
    let packing = packing_of(layer)?;
    if packing.rows_a_step() > 1 {
        return Err(Fault::Packing(packing));
    }
    let whole = Window::of(model, layer);
    if !can_be_addressed(&whole) {
        return Err(Fault::OutOfBounds(Section::Weights));
    }
    let bytes = weight_bytes(layer, input.shape());
    weights_section(model, layer.weights, bytes)?;
    // The record's number of bytes is checked last, but groups are cut out of the weights before.
    if layer.weight_bytes.get() as usize != bytes {
        return Err(Fault::Derived);
    }
    check_numbers(model, layer)?;
    if model.is_windowed() {
        return Ok(());
    }
    check_groups(&GroupedConv::new(model, layer), known)
}

/// Checks weights, multipliers and sums of the groups whose weights are present.
pub(super) fn check_groups(conv: &GroupedConv<'_>, known: &mut Known) -> Result<(), Fault> {
    for g in conv.part.clone() {
        let group = conv.group(g);
        let first = g * usize::from(group.window.output.channels);
        check_channels(&group, first as u16, 128, known)?;
    }
    Ok(())
}
