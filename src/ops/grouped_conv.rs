//! Convolution in groups: each group of output channels reads its own input channels, as those of
//! ResNeXt (Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural Networks").
//!
//! ```text
//! for group g, of I = input channels / groups and O = output channels / groups:
//!     output[y, x, g·O … g·O + O] = conv of input[y, x, g·I … g·I + I]
//! ```
//!
//! What a group computes is a [convolution](super::conv) without a join, and is run as one: its
//! channels of the rows under the kernel are copied side by side, the backend's kernels make a row of
//! O channels of them, and its numbers go to their places in the output.
//!
//! ```text
//! scratch │ row 0, I channels │ row 1 … │ output row, O channels │ scratch of the convolution │
//! ```
//!
//! The weights of a group are in the layer's [packing](crate::format::Packing), each group's from a
//! multiple of 16 bytes on. Groups of one channel are faster as a
//! [depthwise convolution](super::depthwise_conv).

use core::ops::Range;

use super::conv::check::{can_be_addressed, check_channels, check_numbers, packing_of};
use super::conv::{self, Conv, Padding};
use super::{Known, RowList, Rows, Shortcut, Window, check_window, int8_mut, weights_part};
use crate::error::{Fault, Part};
use crate::format::{LayerRecord, Packing, WEIGHTS_ALIGN};
use crate::kernels::Backend;
use crate::model::Model;
use crate::proved::proved;
use crate::shape::Shape;

/// A grouped convolution, ready to run.
#[derive(Debug, Clone)]
pub struct GroupedConv<'m> {
    /// All of it, but that its weights are those of the groups one after another.
    pub conv: Conv<'m>,
    /// Number of groups.
    pub groups: usize,
    /// Of these, those whose weights there are.
    pub(crate) part: Range<usize>,
}

/// The window of one of `groups`.
fn window_of_group(window: &Window, groups: usize) -> Window {
    let part = |shape: Shape| {
        let channels = usize::from(shape.channels) / groups.max(1);
        Shape::new(shape.rows, shape.columns, channels as u16)
    };
    Window { input: part(window.input), output: part(window.output), ..*window }
}

/// Bytes from the weights of a group to those of the next, in a window of one group.
fn group_distance(window: &Window, packing: Packing) -> usize {
    conv::weight_bytes(window, packing).next_multiple_of(WEIGHTS_ALIGN)
}

/// Number of groups that a record says.
pub(crate) fn groups(layer: &LayerRecord) -> usize {
    usize::try_from(layer.parameter.get()).unwrap_or(0)
}

/// Bytes of the weights of all groups.
pub(super) fn weight_bytes(layer: &LayerRecord, input: Shape) -> usize {
    let window = window_of_group(&Window::over(input, layer), groups(layer));
    group_distance(&window, layer.packing()).saturating_mul(groups(layer))
}

/// Bytes of the rows that are copied, and of the row that is made.
fn row_bytes(window: &Window) -> [u64; 2] {
    let bytes = |shape: Shape| {
        let bytes = u64::from(shape.columns) * u64::from(shape.channels);
        bytes.next_multiple_of(crate::arena::ARENA_ALIGN as u64)
    };
    [window.kernel[0] as u64 * bytes(window.input), bytes(window.output)]
}

/// Bytes of the scratch memory.
pub(super) fn scratch_bytes(layer: &LayerRecord, input: Shape) -> u64 {
    let window = window_of_group(&Window::over(input, layer), groups(layer));
    let [inputs, output] = row_bytes(&window);
    inputs + output + conv::scratch::scratch_for(layer.packing(), &window)
}

impl<'m> GroupedConv<'m> {
    /// The convolution of a record that was checked.
    pub(crate) fn new(model: &Model<'m>, layer: &LayerRecord) -> Self {
        Self::of(Conv::new(model, layer), groups(layer).max(1))
    }

    /// That of all of it, and the number of groups.
    pub fn of(conv: Conv<'m>, groups: usize) -> Self {
        Self { conv, groups, part: 0..groups }
    }

    /// The groups of these output channels, which have these weights.
    #[cfg(feature = "weights-window")]
    pub(crate) fn of_channels(self, channels: Range<usize>, weights: &'m [i8]) -> Self {
        let outputs = usize::from(self.conv.window.output.channels);
        let outputs = outputs.checked_div(self.groups).unwrap_or(0).max(1);
        let part = channels.start / outputs..channels.end.div_ceil(outputs);
        Self { conv: Conv { weights, ..self.conv }, part, ..self }
    }

    /// Group `g`, as a convolution by itself.
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

    /// Bytes of scratch memory.
    pub fn scratch_bytes(&self) -> usize {
        let window = window_of_group(&self.conv.window, self.groups);
        let [inputs, output] = row_bytes(&window);
        (inputs + output + conv::scratch::scratch_for(self.conv.packing, &window)) as usize
    }

    /// One output row; `scratch` is what [`scratch_bytes`](super::scratch_bytes) says.
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

    /// The rows with the channels of a group alone, copied; rows of padding stay empty.
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

/// Copies numbers one by one: there are few.
#[inline(always)]
fn copy<'t>(from: &[i8], to: impl IntoIterator<Item = &'t mut i8>) {
    to.into_iter().zip(from).for_each(|(to, &from)| *to = from);
}

/// `length` items from `start`; none if there are fewer.
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
        return Err(Fault::OutOfBounds(Part::Weights));
    }
    let bytes = weight_bytes(layer, input.shape());
    weights_part(model, layer.weights, bytes)?;
    // What the record says of it is compared last, but groups are cut out of that before.
    if layer.weight_bytes.get() as usize != bytes {
        return Err(Fault::Derived);
    }
    check_numbers(model, layer)?;
    if model.is_windowed() {
        return Ok(());
    }
    check_groups(&GroupedConv::new(model, layer), known)
}

/// Checks weights, multipliers and sums of the groups whose weights there are.
pub(super) fn check_groups(conv: &GroupedConv<'_>, known: &mut Known) -> Result<(), Fault> {
    for g in conv.part.clone() {
        let group = conv.group(g);
        let first = g * usize::from(group.window.output.channels);
        check_channels(&group, first as u16, 128, known)?;
    }
    Ok(())
}
