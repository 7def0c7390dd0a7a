//! The operators: what each computes, which rows it reads, and when its record is valid.
//!
//! Each operator has a file. Its documentation is the specification, and the [reference
//! backend](crate::kernels::reference) is the definition.
//!
//! # int16
//!
//! With the crate's feature `int16` a layer can read and make int16 instead of int8. It then runs
//! in the module `int16`, the same for all backends.

pub mod add;
pub mod average_pool;
pub mod batch_norm;
pub mod border;
pub mod concat;
pub mod conv;
pub mod depthwise_conv;
pub mod grouped_conv;
pub mod input;
#[cfg(feature = "int16")]
pub mod int16;
pub mod lookup;
pub mod max_pool;
pub mod multiply;
pub mod softmax;
pub mod stream16;
mod weights;
pub mod window_average;
mod work;

use core::ops::Range;

use zerocopy::little_endian::{I32, U32};

use crate::error::{Fault, Section};
use crate::feature::Feature;
use crate::format::{LayerRecord, NONE, Operator};
use crate::model::Model;
use crate::proved::proved;
use crate::shape::Shape;
#[cfg(feature = "weights-window")]
pub(crate) use weights::check_weights;
use weights::weights_section;

pub use crate::format::MAX_STEP_ROWS;
pub use crate::steps::{MAX_KERNEL, can_update};
pub(crate) use work::{Known, named_bytes};

/// Rows that a step reads, from top to bottom, each with columns × channels int8. A row of padding
/// is empty.
pub type Rows<'a> = [&'a [i8]];

/// [`Rows`] with room for the rows of the largest kernel.
pub(crate) type RowList<'a> = heapless::Vec<&'a [i8], MAX_KERNEL>;

/// Rows that a step makes, from top to bottom; a row beyond the end of the output is empty.
pub type Outputs<'a> = [&'a mut [i8]; MAX_STEP_ROWS];

/// The shortcuts of these rows.
pub type Shortcuts<'a> = [Shortcut<'a>; MAX_STEP_ROWS];

/// How an operator's kernel walks over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
    /// Number of rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Stride in rows and in columns.
    pub stride: [usize; 2],
    /// Padding on the left, in columns. Padding on top shows in the rows, and the rest follows.
    pub pad_left: usize,
}

impl Window {
    fn of(model: &Model<'_>, layer: &LayerRecord) -> Self {
        Self::over(model.input_of(layer).shape(), layer)
    }

    /// The window of a layer whose input has the shape `input`.
    pub fn over(input: Shape, layer: &LayerRecord) -> Self {
        Self {
            input,
            output: layer.shape(),
            kernel: layer.kernel.map(usize::from),
            stride: layer.stride.map(usize::from),
            pad_left: usize::from(layer.pads[1]),
        }
    }

    /// The kernel columns of output column `x` that lie on the input, and the input column
    /// under the first of them.
    #[inline]
    pub fn columns_on_input(&self, x: usize) -> (Range<usize>, usize) {
        let left = x * self.stride[1];
        let from = self.pad_left.saturating_sub(left);
        let to =
            (self.input.columns as usize + self.pad_left).saturating_sub(left).min(self.kernel[1]);
        (from..to.max(from), left + from - self.pad_left.min(left + from))
    }
}

/// One row of the second operand of an add or a join.
///
/// With stride s, output column `x` reads column `s·x`. Output channel `c` reads channel
/// `c − before`. If there is no such channel, the operand is zero (shortcut option A of He et al.
/// 2015, section 3.3, without a tensor of its own).
#[derive(Debug, Clone, Copy)]
pub enum Shortcut<'a> {
    /// The row is at the output's position.
    InPlace,
    /// The row is elsewhere.
    Row {
        /// Columns × channels of int8.
        row: &'a [i8],
        /// The lower bytes of [a 16-bit stream](stream16), if the output is one; otherwise empty.
        lower: &'a [i8],
        /// Number of channels of the row.
        channels: usize,
        /// Distance between the columns that are read.
        stride: usize,
        /// Number of output channels before the row's first channel.
        before: usize,
        /// The zero point, which stands in for channels that the row does not have.
        zero: i8,
    },
}

impl Shortcut<'_> {
    /// The operand at column `x` and channel `c`.
    ///
    /// `here` is the value at the output's position.
    #[inline]
    pub fn at(&self, x: usize, c: usize, here: i8) -> i8 {
        match *self {
            Self::InPlace => here,
            Self::Row { row, channels, stride, before, zero, .. } => match c.checked_sub(before) {
                Some(c) if c < channels => {
                    proved!(row.get(x * stride * channels + c)).copied().unwrap_or(zero)
                }
                _ => zero,
            },
        }
    }

    /// The operand as a value of [a 16-bit stream](stream16).
    ///
    /// `here` is the value at the output's position.
    #[inline]
    pub fn number_at(&self, x: usize, c: usize, here: i32) -> i32 {
        match *self {
            Self::InPlace => here,
            Self::Row { lower, channels, stride, before, .. } => {
                let index = c.checked_sub(before).filter(|&c| c < channels);
                let lower = index.and_then(|c| lower.get(x * stride * channels + c)).copied();
                stream16::number([self.at(x, c, 0), lower.unwrap_or(stream16::EXACT as i8)])
            }
        }
    }
}

/// The fields of a record that follow from the other fields: how steps make the layer, and how much
/// memory this takes. They are stored so that running need not ask the operator. Tools set them,
/// and [`Model::parse`](crate::Model::parse) checks them.
///
/// ```text
///          input                                        output
/// step 0   ┐ pads[0]  ┐                                 ┐ step_rows
///          │ step_span│ step_stride                     ┘
/// step 1   ┘    ┐     ┘                                 ┐ step_rows
///               │ step_span                             ┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    steps: u16,
    step_rows: u8,
    step_stride: u8,
    step_span: u8,
    /// In 64 bits; a record cannot hold more than 32.
    weight_bytes: u64,
    scratch_bytes: u64,
}

impl Derived {
    /// The derived fields of a layer whose input has the shape `input`.
    pub fn of(layer: &LayerRecord, input: Shape) -> Self {
        let [stride, kernel] = [layer.stride[0], layer.kernel[0]];
        let window = |rows: u8| {
            let steps = layer.rows.get().div_ceil(u16::from(rows));
            (
                steps,
                rows,
                rows.wrapping_mul(stride),
                (rows - 1).wrapping_mul(stride).wrapping_add(kernel),
            )
        };
        let (steps, step_rows, step_stride, step_span) = match layer.operator() {
            Operator::Conv => window(layer.packing().rows_a_step() as u8),
            operator if operator.has_window() => window(1),
            // Each step sums a row, and the last step makes the means.
            Operator::AveragePool => (input.rows, 0, 1, 1),
            _ => (layer.rows.get(), 1, 1, 1),
        };
        let weight_bytes = match layer.operator() {
            Operator::Conv => conv::weight_bytes(&Window::over(input, layer), layer.packing()),
            Operator::BatchNorm => usize::from(layer.channels.get()),
            Operator::GroupedConv => grouped_conv::weight_bytes(layer, input),
            Operator::DepthwiseConv => depthwise_conv::weight_bytes(layer),
            Operator::Lookup => lookup::number_bytes(layer),
            _ => 0,
        };
        Self {
            steps,
            step_rows,
            step_stride,
            step_span,
            weight_bytes: weight_bytes as u64,
            scratch_bytes: scratch_bytes_in_full(layer, input),
        }
    }

    /// Writes the fields into the layer's record.
    ///
    /// Values beyond 32 bits are replaced by the largest, which
    /// [`Model::parse`](crate::Model::parse) refuses.
    pub fn set(self, layer: &mut LayerRecord) {
        layer.steps.set(self.steps);
        layer.step_rows = self.step_rows;
        layer.step_stride = self.step_stride;
        layer.step_span = self.step_span;
        layer.weight_bytes.set(u32::try_from(self.weight_bytes).unwrap_or(u32::MAX));
        layer.scratch_bytes.set(u32::try_from(self.scratch_bytes).unwrap_or(u32::MAX));
    }

    /// The derived fields in a record.
    fn from(layer: &LayerRecord) -> Self {
        Self {
            steps: layer.steps.get(),
            step_rows: layer.step_rows,
            step_stride: layer.step_stride,
            step_span: layer.step_span,
            weight_bytes: layer.weight_bytes.get().into(),
            scratch_bytes: layer.scratch_bytes.get().into(),
        }
    }
}

/// The shortcut's row in the form that kernels take.
pub(crate) fn shortcut<'a>(model: &Model<'_>, layer: &LayerRecord, row: &'a [i8]) -> Shortcut<'a> {
    let operand = model.layer(proved!(layer.shortcut()).unwrap_or(0));
    let (row, lower) = match operand.is_stream16() {
        true => stream16::halves(row),
        false => (row, &[][..]),
    };
    Shortcut::Row {
        row,
        lower: if layer.is_stream16() { lower } else { &[] },
        channels: operand.channels.get() as usize,
        stride: layer.shortcut_stride as usize,
        before: layer.shortcut_channels_before.get() as usize,
        zero: operand.zero_point,
    }
}

/// Number of bytes of scratch memory that a layer needs; saturates at the largest `usize`. Planning
/// and checking both call this.
pub fn scratch_bytes(layer: &LayerRecord, input: Shape) -> usize {
    usize::try_from(scratch_bytes_in_full(layer, input)).unwrap_or(usize::MAX)
}

/// [`scratch_bytes`] in 64 bits.
fn scratch_bytes_in_full(layer: &LayerRecord, input: Shape) -> u64 {
    match layer.operator() {
        Operator::Conv => conv::scratch_bytes(layer, input),
        Operator::GroupedConv => grouped_conv::scratch_bytes(layer, input),
        Operator::AveragePool => 4 * u64::from(input.channels),
        _ => 0,
    }
}

/// Whether the scratch memory keeps something from one step to the next.
pub fn scratch_persists(layer: &LayerRecord) -> bool {
    matches!(layer.operator(), Operator::AveragePool)
}

/// Checks the fields that all operators have, then those of the layer's operator. What is `known`
/// is not checked again.
pub(crate) fn check(model: &Model<'_>, index: usize, known: &mut Known) -> Result<(), Fault> {
    let layer = model.layer(index);
    let mut missing = Feature::ALL.into_iter().filter(|feature| !feature.is_on());
    if let Some(feature) = missing.find(|feature| feature.is_needed_by(layer)) {
        return Err(Fault::Feature(feature));
    }
    let operator =
        Operator::from_number(layer.operator).ok_or(Fault::UnknownOperator(layer.operator))?;
    let shape = layer.shape();
    if shape.rows == 0 || shape.columns == 0 || shape.channels == 0 {
        return Err(Fault::Shape);
    }
    let scale = layer.scale.get();
    if !(scale.is_finite() && scale > 0.0) || layer.clamp_min > layer.clamp_max {
        return Err(Fault::Quantization);
    }
    if (operator == Operator::Input) != (index == 0)
        || (index > 0 && layer.input.get() as usize >= index)
        || (index == 0 && layer.input.get() != 0)
        || layer.shortcut().is_some_and(|shortcut| shortcut >= index)
    {
        return Err(Fault::Operands);
    }
    if layer.shortcut().is_some() && !operator.takes_shortcut() {
        return Err(Fault::Operands);
    }
    check_shortcut(model, layer)?;
    #[cfg(feature = "int16")]
    int16::check(model, layer)?;
    stream16::check(layer)?;
    if !layer.has_int16() {
        match operator {
            Operator::Input => input::check(model, layer)?,
            Operator::Conv => conv::check::check(model, layer, known)?,
            Operator::Add => add::check(model, layer)?,
            Operator::MaxPool => max_pool::check(model, layer)?,
            Operator::AveragePool => average_pool::check(model, layer)?,
            Operator::Softmax => softmax::check(model, layer)?,
            Operator::BatchNorm => batch_norm::check(model, layer)?,
            Operator::GroupedConv => grouped_conv::check(model, layer, known)?,
            Operator::DepthwiseConv => depthwise_conv::check(model, layer)?,
            Operator::Lookup => lookup::check(model, layer)?,
            Operator::Multiply => multiply::check(model, layer)?,
            Operator::Concat => concat::check(model, layer)?,
            Operator::WindowAverage => window_average::check(model, layer)?,
            Operator::Border => border::check(model, layer)?,
        }
    }
    if Derived::from(layer) != Derived::of(layer, model.input_of(layer).shape()) {
        return Err(Fault::Derived);
    }
    if has_no_unused(layer) { Ok(()) } else { Err(Fault::Unused) }
}

/// Whether all fields that the operator does not use are zero.
fn has_no_unused(layer: &LayerRecord) -> bool {
    let operator = layer.operator();
    let is = |operators: &[Operator]| operators.contains(&operator);
    let joins = operator == Operator::Conv && layer.shortcut().is_some();
    let int16_sum = layer.has_int16() && layer.shortcut().is_some();
    let multipliers = match operator {
        Operator::Add if layer.has_int16() => {
            if layer.parameter.get() == 0 {
                2
            } else {
                3
            }
        }
        _ if layer.is_stream16() => 2,
        Operator::Add | Operator::AveragePool | Operator::Softmax | Operator::Multiply => 1,
        _ if int16_sum => 1,
        _ => 0,
    };
    let has_channels = operator.has_channels();
    let has_weights = has_channels || operator == Operator::Lookup;
    let has_padding = is(&[Operator::Conv, Operator::GroupedConv, Operator::DepthwiseConv]);
    let has_parameter = is(&[
        Operator::Softmax,
        Operator::GroupedConv,
        Operator::Lookup,
        Operator::WindowAverage,
        Operator::Border,
    ]) || layer.has_int16() && is(&[Operator::Add, Operator::AveragePool]);
    let has_table = match layer.has_int16() || layer.is_stream16() {
        true => operator == Operator::Input,
        false => joins || is(&[Operator::Input, Operator::Add, Operator::Lookup, Operator::Concat]),
    };
    let no = |used: bool, words: &[U32]| used || words.iter().all(|word| word.get() == 0);
    no(layer.scratch_bytes.get() != 0, &[layer.scratch_offset])
        && no(has_weights, &[layer.weights])
        && no(has_channels, &[layer.bias, layer.mantissas, layer.shifts])
        && no(has_padding, &[layer.padding_values])
        && no(operator.has_packing(), &[U32::new(layer.packing.into())])
        && no(has_table, &[layer.table])
        && (operator.has_window()
            || [layer.kernel, layer.stride] == [[0; 2]; 2] && layer.pads == [0; 4])
        && (joins || int16_sum || layer.is_stream16() || layer.join_bits == 0)
        && (has_parameter || layer.parameter.get() == 0)
        && layer.multiplier_mantissas.iter().skip(multipliers).all(|bits| bits.get() == 0)
        && layer.multiplier_shifts.iter().skip(multipliers).all(|&shift| shift == 0)
}

/// The shortcut must have a row, column and channel wherever the output asks for one.
fn check_shortcut(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let Some(shortcut) = layer.shortcut() else {
        let unused = layer.shortcut.get() == NONE
            && layer.shortcut_stride == 0
            && layer.shortcut_channels_before.get() == 0;
        return if unused { Ok(()) } else { Err(Fault::Shortcut) };
    };
    let (operand, output) = (model.layer(shortcut).shape(), layer.shape());
    let stride = u32::from(layer.shortcut_stride);
    let fits = |output: u16, operand: u16| (u32::from(output) - 1) * stride < u32::from(operand);
    // A shortcut of one pixel for all has a stride of 0.
    let one_pixel =
        layer.operator() == Operator::Multiply && multiply::is_of_one_pixel(layer, operand);
    if (stride == 0 && !one_pixel)
        || !fits(output.rows, operand.rows)
        || !fits(output.columns, operand.columns)
        || u32::from(operand.channels) + u32::from(layer.shortcut_channels_before.get())
            > u32::from(output.channels)
    {
        return Err(Fault::Shortcut);
    }
    Ok(())
}

/// Checks that the output has the number of rows and columns that follow from the window and the
/// input.
fn check_window(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let (input, output) = (model.input_of(layer).shape(), layer.shape());
    let [top, left, bottom, right] = layer.pads.map(u32::from);
    let axis = |input: u16, output: u16, axis: usize, pads: [u32; 2]| {
        let (kernel, stride) = (u32::from(layer.kernel[axis]), u32::from(layer.stride[axis]));
        if kernel == 0 || kernel as usize > MAX_KERNEL {
            return Err(Fault::Kernel);
        }
        let padded = u32::from(input) + pads[0] + pads[1];
        // With a pad as wide as the kernel, some outputs would see only padding.
        if stride == 0 || pads[0] >= kernel || pads[1] >= kernel || padded < kernel {
            return Err(Fault::Shape);
        }
        if (padded - kernel) / stride + 1 == u32::from(output) { Ok(()) } else { Err(Fault::Shape) }
    };
    axis(input.rows, output.rows, 0, [top, bottom])?;
    axis(input.columns, output.columns, 1, [left, right])
}

/// The bytes of a section of the file to which a layer refers.
fn section<'m>(
    model: &Model<'m>,
    section: Section,
    offset: U32,
    bytes: usize,
    align: usize,
) -> Result<&'m [u8], Fault> {
    let there = model.bytes(offset.get(), bytes);
    let aligned = there.filter(|_| (offset.get() as usize).is_multiple_of(align));
    aligned.ok_or(Fault::OutOfBounds(section))
}

/// `bytes` as little-endian words; up to three bytes at the end are left out.
#[inline]
pub(crate) fn words(bytes: &[u8]) -> &[I32] {
    let (words, _) = bytes.as_chunks::<4>();
    zerocopy::transmute_ref!(words)
}

/// `bytes` as int8.
#[inline]
pub(crate) fn int8(bytes: &[u8]) -> &[i8] {
    zerocopy::transmute_ref!(bytes)
}

/// `bytes` as int8, to write.
#[inline]
pub(crate) fn int8_mut(bytes: &mut [u8]) -> &mut [i8] {
    zerocopy::transmute_mut!(bytes)
}
