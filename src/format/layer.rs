//! The record of a layer.

use fixed::types::I1F31;
use zerocopy::little_endian::{F32, I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Packing;
use crate::feature::Feature;
use crate::proved::proved;
use crate::quant::{Clamp, Multiplier, Quantization};
use crate::shape::Shape;

/// Stands for no layer, in [`shortcut`](LayerRecord::shortcut) and
/// [`last_reader`](LayerRecord::last_reader).
pub const NONE: u16 = u16::MAX;

/// Bits of [`LayerRecord::flags`]; all have a meaning.
pub mod flags {
    /// A convolution that is fully connected in the network: for reports only.
    pub const FULLY_CONNECTED: u8 = 1;
    /// The outputs are probabilities, as those of a softmax always are: for reports only.
    pub const PROBABILITIES: u8 = 2;
    /// The output is int16.
    ///
    /// Only builds with the crate's feature `int16` run it.
    pub const INT16: u8 = 4;
    /// The layer reads or makes int16: it is [another kind](crate::ops#int16) of its operator.
    pub const HAS_INT16: u8 = 8;
    /// The scores are arguments of a sigmoid, 1 / (1 + e^−score), which gives each class a
    /// probability of its own.
    ///
    /// This is for reports only: the output is the scores.
    pub const SIGMOID: u8 = 16;
    /// The output is [a 16-bit stream](crate::ops::stream16).
    ///
    /// Only builds with the crate's feature `stream16` run it.
    pub const STREAM16: u8 = 32;
    /// The output is one of the network's outputs, besides the last layer's: it is kept to the end.
    pub const OUTPUT: u8 = 64;
    /// The layer makes a row only when its last reader, whose shortcut it is, waits for it.
    ///
    /// Other layers make rows as soon as they can. See [`schedule`](crate::schedule).
    pub const ON_DEMAND: u8 = 128;
}

/// What a layer does. The values are the operator numbers in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operator {
    /// [`ops::input`](crate::ops::input)
    Input = 0,
    /// [`ops::conv`](crate::ops::conv)
    Conv = 1,
    /// [`ops::add`](crate::ops::add)
    Add = 2,
    /// [`ops::max_pool`](crate::ops::max_pool)
    MaxPool = 3,
    /// [`ops::average_pool`](crate::ops::average_pool)
    AveragePool = 4,
    /// [`ops::softmax`](crate::ops::softmax)
    Softmax = 5,
    /// [`ops::batch_norm`](crate::ops::batch_norm)
    BatchNorm = 6,
    /// [`ops::grouped_conv`](crate::ops::grouped_conv)
    GroupedConv = 7,
    /// [`ops::depthwise_conv`](crate::ops::depthwise_conv)
    DepthwiseConv = 8,
    /// [`ops::lookup`](crate::ops::lookup)
    Lookup = 9,
    /// [`ops::multiply`](crate::ops::multiply)
    Multiply = 10,
    /// [`ops::concat`](crate::ops::concat)
    Concat = 11,
    /// [`ops::window_average`](crate::ops::window_average)
    WindowAverage = 12,
    /// [`ops::border`](crate::ops::border)
    Border = 13,
}

impl Operator {
    /// The operator with this number, if [this build has it](Self::feature).
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Input,
            1 => Self::Conv,
            2 => Self::Add,
            3 => Self::MaxPool,
            4 => Self::AveragePool,
            5 => Self::Softmax,
            6 if Feature::BatchNorm.is_on() => Self::BatchNorm,
            7 if Feature::GroupedConv.is_on() => Self::GroupedConv,
            8 if Feature::DepthwiseConv.is_on() => Self::DepthwiseConv,
            9 if Feature::Lookup.is_on() => Self::Lookup,
            10 if Feature::Multiply.is_on() => Self::Multiply,
            11 if Feature::Concat.is_on() => Self::Concat,
            12 if Feature::WindowAverage.is_on() => Self::WindowAverage,
            13 if Feature::Border.is_on() => Self::Border,
            _ => return None,
        })
    }

    /// The feature of the crate that an operator needs; `None` if every build runs it.
    pub const fn feature(number: u8) -> Option<Feature> {
        Some(match number {
            6 => Feature::BatchNorm,
            7 => Feature::GroupedConv,
            8 => Feature::DepthwiseConv,
            9 => Feature::Lookup,
            10 => Feature::Multiply,
            11 => Feature::Concat,
            12 => Feature::WindowAverage,
            13 => Feature::Border,
            _ => return None,
        })
    }

    /// Whether its weights are in one of the [packings](Packing).
    #[inline]
    pub const fn has_packing(self) -> bool {
        matches!(self, Self::Conv | Self::GroupedConv)
    }

    /// Whether it has a bias and a multiplier for each output channel.
    #[inline]
    pub const fn has_channels(self) -> bool {
        matches!(self, Self::Conv | Self::GroupedConv | Self::DepthwiseConv | Self::BatchNorm)
    }

    /// Whether its weights are kernels. Kernels are most of a file, and can lie behind a driver.
    /// The weights of a batch norm are as few as its biases.
    #[inline]
    pub const fn has_kernels(self) -> bool {
        matches!(self, Self::Conv | Self::GroupedConv | Self::DepthwiseConv)
    }

    /// Whether it reads rows under a kernel.
    #[inline]
    pub const fn has_window(self) -> bool {
        matches!(
            self,
            Self::Conv
                | Self::GroupedConv
                | Self::DepthwiseConv
                | Self::MaxPool
                | Self::WindowAverage
                | Self::Border
        )
    }

    /// Whether it can have a second operand, the record's shortcut.
    #[inline]
    pub const fn takes_shortcut(self) -> bool {
        matches!(self, Self::Conv | Self::Add | Self::Multiply | Self::Concat)
    }
}

/// The 104 bytes that describe a layer. Fields that an operator does not use are zero.
///
/// ```text
///  0  operator 1   flags 1   zero_point 1   packing 1
///  4  rows 2       columns 2                 8  channels 2    10  shortcut_channels_before 2
/// 12  places 4                              16  scratch_offset 4
/// 20  input 2      shortcut 2               24  last_reader 2 26  clamp_min 1  clamp_max 1
/// 28  scale 4 (float)
/// 32  name_offset 4                         36  name_bytes 2  38  kernel 2: rows, columns
/// 40  stride 2: rows, columns               42  pads 4: top, left, bottom, right
/// 46  shortcut_stride 1   join_bits 1
/// 48  weights 4    52  bias 4    56  mantissas 4    60  shifts 4
/// 64  padding_values 4           68  table 4
/// 72  multiplier_mantissas 4 · 3            84  multiplier_shifts 1 · 3       87  step_rows 1
/// 88  parameter 4  92  steps 2              94  step_stride 1   step_span 1
/// 96  weight_bytes 4                       100  scratch_bytes 4
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LayerRecord {
    /// The number of the [`Operator`].
    pub operator: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Zero point of the output; 0 for int16.
    pub zero_point: i8,
    /// The number of the weights' [`Packing`].
    pub packing: u8,
    /// Number of rows of the output.
    pub rows: U16,
    /// Number of columns of the output.
    pub columns: U16,
    /// Number of channels of the output.
    pub channels: U16,
    /// Index of the first output channel that the shortcut has.
    ///
    /// For the other output channels the shortcut is zero.
    pub shortcut_channels_before: U16,
    /// Offset in the file of the positions of the output's rows in the arena, one offset for each
    /// row.
    pub places: U32,
    /// Offset of the layer's scratch memory in the arena; a multiple of 16.
    pub scratch_offset: U32,
    /// The layer whose output is read; 0 in the input's own record.
    pub input: U16,
    /// The layer whose output is the second operand of an add, a join, a product or a
    /// concatenation; [`NONE`] if there is no second operand.
    pub shortcut: U16,
    /// The last layer that reads the output; [`NONE`] if the output is kept to the end.
    pub last_reader: U16,
    /// Smallest output; for int16, 1/256 of it.
    pub clamp_min: i8,
    /// Largest output; for int16, 1/256 of it, rounded down: 127 stands for 32,767.
    pub clamp_max: i8,
    /// Scale of the output.
    pub scale: F32,
    /// Offset of the name from the start of the names.
    pub name_offset: U32,
    /// Number of bytes of the name.
    pub name_bytes: U16,
    /// Number of rows and columns of the kernel.
    pub kernel: [u8; 2],
    /// Stride in rows and in columns.
    pub stride: [u8; 2],
    /// Padding at the top, left, bottom and right.
    pub pads: [u8; 4],
    /// Stride in rows and in columns at which the shortcut is read; 0 if there is no shortcut, or
    /// if a product takes one pixel of it for all pixels.
    pub shortcut_stride: u8,
    /// Number of extra fractional bits in the sum of a join.
    pub join_bits: u8,
    /// Offset of the weights, a multiple of 16. For a lookup: the index of each channel's table.
    pub weights: U32,
    /// Offset of the biases, an int32 for each channel.
    pub bias: U32,
    /// Offset of the multipliers' mantissas, a Q31 for each channel.
    pub mantissas: U32,
    /// Offset of the multipliers' shifts, an int8 for each channel.
    pub shifts: U32,
    /// Offset of the padding values, an int8 for each input channel; 0 if all are the input's zero
    /// point.
    pub padding_values: U32,
    /// Offset of the table of a join (int32 · 256), an add (int32 · 512), the input (int8 · 256 for
    /// each channel), a lookup (int8 · 256 for each table), or a concatenation (int8 · 512).
    pub table: U32,
    /// Mantissas of up to three multipliers. The operators specify which of them they use.
    pub multiplier_mantissas: [I32; 3],
    /// Shifts of these multipliers.
    pub multiplier_shifts: [i8; 3],
    /// Number of output rows that a step makes; the last step makes the remaining rows.
    ///
    /// If 0, the last step makes all rows.
    pub step_rows: u8,
    /// One more value, for operators that need it. Softmax: logits whose difference to the largest
    /// is below this have no weight. Grouped convolution: number of groups. Lookup: number of
    /// tables. Window average: the divisor of the sums, or 0. Border: what it repeats, and its
    /// height. Add and average pool with int16: 1 for TFLite's roundings.
    pub parameter: I32,
    /// Number of steps that make the output. This field, `step_rows` and all fields below can be
    /// [derived](crate::ops::Derived).
    pub steps: U16,
    /// Number of input rows from one step to the next.
    pub step_stride: u8,
    /// Number of input rows under a step, including those on padding.
    pub step_span: u8,
    /// Number of bytes of the weights.
    pub weight_bytes: U32,
    /// Number of bytes of the scratch memory.
    pub scratch_bytes: U32,
}

impl LayerRecord {
    /// A record of zeros.
    pub fn new() -> Self {
        zerocopy::FromZeros::new_zeroed()
    }

    /// The operator. A checked record always has a valid one.
    #[inline]
    pub fn operator(&self) -> Operator {
        Operator::from_number(self.operator).unwrap_or(Operator::Input)
    }

    /// Shape of the output.
    #[inline]
    pub fn shape(&self) -> Shape {
        Shape::new(self.rows.get(), self.columns.get(), self.channels.get())
    }

    /// Whether the output is int16.
    #[inline]
    pub fn is_int16(&self) -> bool {
        Feature::Int16.is_on() && self.flags & flags::INT16 != 0
    }

    /// Whether the layer reads or makes int16.
    #[inline]
    pub fn has_int16(&self) -> bool {
        Feature::Int16.is_on() && self.flags & flags::HAS_INT16 != 0
    }

    /// Whether the output is [a 16-bit stream](crate::ops::stream16).
    #[inline]
    pub fn is_stream16(&self) -> bool {
        Feature::Stream16.is_on() && self.flags & flags::STREAM16 != 0
    }

    /// Whether a row is made only when the last reader waits for it.
    #[inline(always)]
    pub fn is_on_demand(&self) -> bool {
        self.flags & flags::ON_DEMAND != 0
    }

    /// Number of bytes of a row of the output. In a checked record it fits into 32 bits.
    #[inline]
    pub fn row_bytes(&self) -> usize {
        self.shape().row_bytes() << u32::from(self.is_int16() || self.is_stream16())
    }

    /// [`row_bytes`](Self::row_bytes) of any record, in 64 bits on every core.
    pub(crate) fn row_bytes_in_full(&self) -> u64 {
        let numbers = u64::from(self.columns.get()) * u64::from(self.channels.get());
        numbers << u32::from(self.is_int16() || self.is_stream16())
    }

    /// Quantization of the output; for a 16-bit stream, that of the 16-bit scores.
    pub fn quantization(&self) -> Quantization {
        let scale = self.scale.get();
        let scale = if self.is_stream16() { scale / 256.0 } else { scale };
        Quantization { scale, zero_point: self.zero_point }
    }

    /// Whether the outputs are probabilities.
    pub fn has_probabilities(&self) -> bool {
        self.operator() == Operator::Softmax || self.flags & flags::PROBABILITIES != 0
    }

    /// Whether the outputs are arguments of a sigmoid.
    pub fn has_sigmoid(&self) -> bool {
        self.flags & flags::SIGMOID != 0
    }

    /// Range of the output.
    #[inline]
    pub fn clamp(&self) -> Clamp {
        Clamp { min: self.clamp_min, max: self.clamp_max }
    }

    /// Packing of the weights. A checked record always has a valid one.
    #[inline]
    pub fn packing(&self) -> Packing {
        Packing::from_number(self.packing).unwrap_or(Packing::Ohwi)
    }

    /// Multiplier `i`, for `i` in 0…2.
    #[inline]
    pub fn multiplier(&self, i: usize) -> Multiplier {
        Multiplier {
            mantissa: I1F31::from_bits(
                proved!(self.multiplier_mantissas.get(i)).map_or(0, |m| m.get()),
            ),
            shift: proved!(self.multiplier_shifts.get(i)).copied().unwrap_or(0),
        }
    }

    /// Sets multiplier `i`, for `i` in 0…2.
    pub fn set_multiplier(&mut self, i: usize, multiplier: Multiplier) {
        if let (Some(mantissa), Some(shift)) =
            (self.multiplier_mantissas.get_mut(i), self.multiplier_shifts.get_mut(i))
        {
            mantissa.set(multiplier.mantissa.to_bits());
            *shift = multiplier.shift;
        }
    }

    /// The index of the layer of the second operand.
    #[inline]
    pub fn shortcut(&self) -> Option<usize> {
        let shortcut = self.shortcut.get();
        (shortcut != NONE).then_some(shortcut as usize)
    }
}

impl Default for LayerRecord {
    fn default() -> Self {
        Self::new()
    }
}

impl Feature {
    /// Whether a layer needs this feature.
    pub fn is_needed_by(self, layer: &LayerRecord) -> bool {
        match self {
            Self::Int16 => layer.flags & (flags::INT16 | flags::HAS_INT16) != 0,
            Self::Stream16 => layer.flags & flags::STREAM16 != 0,
            Self::Int4 | Self::SubByte => {
                let packed = [Operator::Conv as u8, Operator::GroupedConv as u8];
                packed.contains(&layer.operator) && Packing::feature(layer.packing) == Some(self)
            }
            _ => Operator::feature(layer.operator) == Some(self),
        }
    }
}
