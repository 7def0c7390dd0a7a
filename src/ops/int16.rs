//! Layers that read or make int16.
//!
//! They have one portable implementation, the same for every backend.
//!
//! ```text
//! conv:          acc = bias[o] + Σ weight · input            as in int8, in 64 bits
//! batch norm:    acc = bias[c] + weight[c] · input
//! add:           acc = input − its zero point
//! average pool:  acc = Σ (input − its zero point)
//!
//! sum = requantize_int16(acc, m) + requantize_int16(shortcut − its zero point, multiplier 0)
//! output = clamp(zero point + ((sum + half) >> join_bits))
//! ```
//!
//! An add or an average pool whose parameter is [`AS_TFLITE`] reads and makes only int16, with the
//! roundings of TFLite's 16x8:
//!
//! ```text
//! add:           sum = requantize(input · 2¹⁵, multiplier 1) + requantize(shortcut · 2¹⁵, multiplier 0)
//!                output = clamp(requantize(sum, multiplier 2))
//! average pool:  output = clamp(requantize(Σ input, multiplier 0))
//! ```
//!
//! *m* is the channel's multiplier; in an add it is multiplier 1, in a pool multiplier 0. Without a
//! shortcut there is no second term, and `join_bits` and *half*, 2^(join_bits − 1), are 0. The end
//! of a residual block is thus rounded once, like the [join](super::conv) in int8, but needs no
//! table. The values outside of the input are those of a convolution in int8. Max-pool and softmax
//! are those of int8, with more values.
//!
//! Weights are int8 in [`Packing::Ohwi`]. Every sum stays below 2⁴⁶: 2²² weights of 2⁷, values of
//! 2¹⁵, and a bias of 2³¹. Only the ranges of the multipliers have to be checked.
//!
//! The nearest relative is TFLite's 16x8 quantization specification: int8 weights, int16
//! activations whose zero point is 0, and sums in 64 bits. There, all activations of a network are
//! int16, biases are int64, and multipliers have 16 bits. Here, any tensor but the image can be
//! int8 or int16, biases are int32, and multipliers have 31 bits ([`requantize_int16`]). A
//! convolution whose multipliers' lower 16 bits are zero gives the results of TFLite's.

mod convolution;

use core::ops::Range;

use zerocopy::FromBytes;

use super::average_pool::AveragePool;
use super::batch_norm::{self, BatchNorm};
use super::conv::{self, Conv, MAX_JOIN_BITS};
use super::softmax::Softmax;
use super::{MAX_KERNEL, Window, int8, int8_mut};
use crate::error::Fault;
use crate::format::{LayerRecord, Operator, Packing};
use crate::model::Model;
use crate::proved::proved;
use crate::quant::{Multiplier, requantize, requantize_int16};
use crate::rows::Carved;
use crate::weights::Weights;

/// The parameter of an add or an average pool with TFLite's roundings.
pub const AS_TFLITE: i32 = 1;

/// Number of bits by which TFLite's `ADD` for int16 shifts both operands before they are scaled.
pub const LEFT_SHIFT: u32 = 15;

/// Largest magnitude of the sum of two operands that were shifted and then scaled by at most ½.
const LARGEST_SUM: u32 = 2 * ((1 << (15 + LEFT_SHIFT - 1)) + 1);

/// Number of products of int8 and int16 whose sum fits into 32 bits.
const PRODUCTS: usize = 256;

/// The values of a row.
#[derive(Debug, Clone, Copy)]
enum Numbers<'a> {
    Int8(&'a [i8]),
    Int16(&'a [i16]),
}

impl<'a> Numbers<'a> {
    /// An empty row, which stands for padding.
    const NONE: Self = Self::Int8(&[]);

    /// The values of a row of the layer's output.
    fn of(layer: &LayerRecord, row: &'a [u8]) -> Self {
        if layer.is_int16() {
            // Rows are aligned to 16 bytes, as the arena is.
            Self::Int16(proved!(<[i16]>::ref_from_bytes(row)).unwrap_or_default())
        } else {
            // Of a 16-bit stream, only the upper bytes.
            Self::Int8(int8(row.get(..layer.shape().row_bytes()).unwrap_or(row)))
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Int8(row) => row.len(),
            Self::Int16(row) => row.len(),
        }
    }

    fn at(self, index: usize) -> i32 {
        match self {
            Self::Int8(row) => proved!(row.get(index)).map_or(0, |&q| q.into()),
            Self::Int16(row) => proved!(row.get(index)).map_or(0, |&q| q.into()),
        }
    }

    /// Multiplies the `weights` of two channels by the values from two indices on, and adds the
    /// products.
    fn multiply(self, weights: [&[i8]; 2], from: [usize; 2], acc: &mut Sums) {
        let length = weights[0].len();
        match self {
            Self::Int8(row) => {
                let under = |at: usize| proved!(row.get(at..at + length)).unwrap_or(&[]);
                multiply(weights, [under(from[0]), under(from[1])], acc);
            }
            Self::Int16(row) => {
                let under = |at: usize| proved!(row.get(at..at + length)).unwrap_or(&[]);
                multiply(weights, [under(from[0]), under(from[1])], acc);
            }
        }
    }
}

/// Sums of two output channels for each of two columns.
type Sums = [[i64; 2]; 2];

fn multiply<T: Copy + Into<i32>>(weights: [&[i8]; 2], values: [&[T]; 2], acc: &mut Sums) {
    let ([a, b], [v, w]) = (weights, values);
    let mut from = 0;
    while from < a.len() {
        let part = from..a.len().min(from + PRODUCTS);
        from = part.end;
        let (a, b) = (proved!(a.get(part.clone())), proved!(b.get(part.clone())));
        let (v, w) = (proved!(v.get(part.clone())), proved!(w.get(part)));
        let (Some(a), Some(b), Some(v), Some(w)) = (a, b, v, w) else { return };
        let [p, q, r, s] = products(a, b, v, w);
        let [[acc_p, acc_q], [acc_r, acc_s]] = acc;
        *acc_p += i64::from(p);
        *acc_q += i64::from(q);
        *acc_r += i64::from(r);
        *acc_s += i64::from(s);
    }
}

/// Sums of the products of `a` and `b` with `v` and with `w`. It is a function of its own so that
/// all its variables are in registers.
#[inline(never)]
fn products<T: Copy + Into<i32>>(a: &[i8], b: &[i8], v: &[T], w: &[T]) -> [i32; 4] {
    let length = a.len();
    if !proved!(b.len() == length && v.len() == length && w.len() == length) {
        return [0; 4];
    }
    let mut sums = [0i32; 4];
    for i in 0..length {
        // One by one, because mapping over an array becomes a loop when the compiler optimizes for
        // size.
        let (a, b) = (i32::from(a[i]), i32::from(b[i]));
        let (v, w) = (v[i].into(), w[i].into());
        sums[0] = sums[0].wrapping_add(a * v);
        sums[1] = sums[1].wrapping_add(b * v);
        sums[2] = sums[2].wrapping_add(a * w);
        sums[3] = sums[3].wrapping_add(b * w);
    }
    sums
}

/// The row to make, and how sums become its values.
struct Output<'a> {
    row: Row<'a>,
    channels: usize,
    shortcut: Option<Shortcut<'a>>,
    bits: u32,
    zero_point: i64,
    range: [i64; 2],
}

enum Row<'a> {
    Int8(&'a mut [i8]),
    Int16(&'a mut [i16]),
}

/// The second operand of an add or a join.
struct Shortcut<'a> {
    /// Its row; `None` if it is at the output's position.
    row: Option<Numbers<'a>>,
    channels: usize,
    stride: usize,
    before: usize,
    zero_point: i32,
    multiplier: Multiplier,
}

impl<'a> Output<'a> {
    fn new(
        model: &Model<'_>,
        layer: &LayerRecord,
        y: u16,
        place: &Range<usize>,
        read: &Carved<'a>,
        row: &'a mut [u8],
    ) -> Self {
        let shortcut = layer.shortcut().map(|of| {
            let operand = model.layer(of);
            let there = model.row(of, crate::steps::shortcut_row(layer, y));
            Shortcut {
                row: (there != *place).then(|| Numbers::of(operand, read.bytes(there))),
                channels: usize::from(operand.channels.get()),
                stride: usize::from(layer.shortcut_stride),
                before: usize::from(layer.shortcut_channels_before.get()),
                zero_point: operand.zero_point.into(),
                multiplier: layer.multiplier(0),
            }
        });
        let clamp = layer.clamp();
        let (row, range) = if layer.is_int16() {
            // If this step makes no row, the slice is empty and may be unaligned.
            let row = <[i16]>::mut_from_bytes(row).unwrap_or_default();
            (Row::Int16(row), clamp.int16().map(i64::from))
        } else {
            (Row::Int8(int8_mut(row)), [clamp.min, clamp.max].map(i64::from))
        };
        Self {
            row,
            channels: usize::from(layer.channels.get()),
            bits: if shortcut.is_some() { layer.join_bits.into() } else { 0 },
            shortcut,
            zero_point: layer.zero_point.into(),
            range,
        }
    }

    /// Writes the value for a sum.
    #[inline(never)]
    fn set(&mut self, x: usize, c: usize, acc: i64, multiplier: Multiplier) {
        let mut sum = requantize_int16(acc, multiplier);
        let index = x * self.channels + c;
        if let Some(shortcut) = &self.shortcut {
            let centred = i64::from(self.operand(shortcut, x, c));
            let half = 1i64.wrapping_shl(self.bits) >> 1;
            sum += requantize_int16(centred, shortcut.multiplier) + half;
        }
        self.put(index, sum);
    }

    /// The shortcut's value at column `x` and channel `c`, minus its zero point.
    fn operand(&self, shortcut: &Shortcut<'_>, x: usize, c: usize) -> i32 {
        let index = x * self.channels + c;
        let operand = match (shortcut.row, c.checked_sub(shortcut.before)) {
            (None, _) => match &self.row {
                Row::Int8(row) => Numbers::Int8(row).at(index),
                Row::Int16(row) => Numbers::Int16(row).at(index),
            },
            (Some(row), Some(c)) if c < shortcut.channels => {
                row.at(x * shortcut.stride * shortcut.channels + c)
            }
            _ => shortcut.zero_point,
        };
        operand - shortcut.zero_point
    }

    /// Writes the sum of an int16 and the shortcut's value with TFLite's roundings.
    fn set_as_tflite(&mut self, x: usize, c: usize, input: i32, layer: &LayerRecord) {
        let Some(shortcut) = &self.shortcut else { return };
        let term = |operand: i32, multiplier: Multiplier| {
            requantize(operand.wrapping_shl(LEFT_SHIFT), multiplier)
        };
        let other = term(self.operand(shortcut, x, c), shortcut.multiplier);
        let sum = term(input, layer.multiplier(1)).wrapping_add(other);
        self.put(x * self.channels + c, requantize(sum, layer.multiplier(2)).into());
    }

    /// Writes the value at an index of the row, after adding the zero point.
    fn put(&mut self, index: usize, sum: i64) {
        let [min, max] = self.range;
        let value = (self.zero_point + sum.wrapping_shr(self.bits)).max(min).min(max);
        match &mut self.row {
            Row::Int8(row) => {
                proved!(row.get_mut(index)).into_iter().for_each(|q| *q = value as i8)
            }
            Row::Int16(row) => {
                proved!(row.get_mut(index)).into_iter().for_each(|q| *q = value as i16)
            }
        }
    }
}

/// Runs a step of a layer in the arena.
#[inline(never)]
pub(crate) fn run(
    model: &Model<'_>,
    index: usize,
    step: u16,
    arena: &mut [u8],
    weights: &mut impl Weights,
) {
    let layer = model.layer(index);
    let input = model.input_of(layer);
    let made = crate::steps::rows_made(layer, step);
    let makes = made < crate::steps::rows_made(layer, step + 1);
    let place = if makes { model.row(index, made) } else { 0..0 };
    let mut read = Carved::default();
    let [output, scratch] = read.cut(arena, &[place.clone(), model.scratch(layer)]);
    let places = model.places(input);
    let row = |y: u16| Numbers::of(input, read.bytes(places.row(y)));
    let mut output = Output::new(model, layer, made, &place, &read, output);
    let as_tflite = layer.parameter.get() == AS_TFLITE;
    let channels = output.channels.max(1);
    let columns = 0..usize::from(layer.columns.get());
    let pixels = columns.flat_map(|x| (0..channels).map(move |c| (x, c)));
    match layer.operator() {
        Operator::Conv | Operator::MaxPool => {
            let mut rows = [Numbers::NONE; MAX_KERNEL];
            let above = crate::steps::rows_above(layer, step);
            let under = crate::steps::rows_read(layer, step, input.rows.get());
            for (slot, y) in rows.iter_mut().skip(above).zip(under) {
                *slot = row(y);
            }
            if layer.operator() == Operator::Conv {
                convolution::run(weights, model, index, &rows, &mut output);
            } else {
                max_pool(&Window::of(model, layer), &rows, &mut output);
            }
        }
        Operator::Add => {
            let (row, zero_point) = (row(step), i32::from(input.zero_point));
            for (i, (x, c)) in (0..row.len()).zip(pixels) {
                let centred = row.at(i) - zero_point;
                if as_tflite {
                    output.set_as_tflite(x, c, centred, layer);
                } else {
                    output.set(x, c, centred.into(), layer.multiplier(1));
                }
            }
        }
        Operator::BatchNorm => {
            let (row, norm) = (row(step), BatchNorm::new(model, layer));
            for (i, (x, c)) in (0..row.len()).zip(pixels) {
                let weight = proved!(norm.weights.get(c)).map_or(0, |&weight| i64::from(weight));
                let bias = proved!(norm.bias.get(c)).map_or(0, |bias| i64::from(bias.get()));
                let acc = bias + weight * i64::from(row.at(i));
                output.set(x, c, acc, norm.multiplier(c));
            }
        }
        Operator::AveragePool => {
            let (row, sums) =
                (row(step), proved!(<[i32]>::mut_from_bytes(scratch)).unwrap_or_default());
            if step == 0 {
                sums.fill(0);
            }
            for (c, sum) in sums.iter_mut().enumerate() {
                for i in (c..row.len()).step_by(channels) {
                    *sum = sum.wrapping_add(row.at(i));
                }
            }
            if makes {
                let pool = AveragePool::new(model, layer);
                let zeros = i64::from(pool.pixels()) * i64::from(input.zero_point);
                for (c, &sum) in sums.iter().enumerate() {
                    if as_tflite {
                        output.put(c, requantize(sum, layer.multiplier(0)).into());
                    } else {
                        output.set(0, c, i64::from(sum) - zeros, layer.multiplier(0));
                    }
                }
            }
        }
        Operator::Softmax => {
            if let (row, Row::Int8(output)) = (row(step), output.row) {
                let (softmax, channels) =
                    (Softmax::new(layer), usize::from(layer.channels.get()).max(1));
                for (x, output) in output.chunks_mut(channels).enumerate() {
                    let pixel = x * channels..(x + 1) * channels;
                    softmax.run_on(pixel.map(|i| row.at(i)), output);
                }
            }
        }
        _ => {}
    }
}

fn max_pool(window: &Window, rows: &[Numbers<'_>; MAX_KERNEL], output: &mut Output<'_>) {
    let channels = output.channels;
    for x in 0..usize::from(window.output.columns) {
        let (columns, first) = window.columns_on_input(x);
        for c in 0..channels {
            let under = rows.iter().take(window.kernel[0]).filter(|row| row.len() > 0);
            let values = under.flat_map(|row| {
                (first..first + columns.len()).map(|column| row.at(column * channels + c))
            });
            // `put` adds the zero point, which is 0 for int16.
            output.put(x * channels + c, values.max().map_or(i64::MIN >> 1, i64::from));
        }
    }
}

pub(super) fn check(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let input = model.input_of(layer);
    let require = |holds: bool, cause| if holds { Ok(()) } else { Err(cause) };
    let operator = layer.operator();
    let int16_shortcut = layer.shortcut().is_some_and(|of| model.layer(of).is_int16());
    let reads = operator != Operator::Input && (input.is_int16() || int16_shortcut);
    let can_make = matches!(
        operator,
        Operator::Conv
            | Operator::Add
            | Operator::MaxPool
            | Operator::AveragePool
            | Operator::BatchNorm
    );
    let can_read = can_make || operator == Operator::Softmax;
    require(layer.has_int16() == (reads || layer.is_int16()), Fault::Int16Flags)?;
    require(!layer.is_int16() || (can_make && layer.zero_point == 0), Fault::Int16Flags)?;
    require(!reads || can_read, Fault::Int16Flags)?;
    if !layer.has_int16() {
        return Ok(());
    }
    if matches!(operator, Operator::Add | Operator::AveragePool) && layer.parameter.get() != 0 {
        return check_as_tflite(model, layer);
    }
    if layer.shortcut().is_some() {
        let valid = layer.join_bits <= MAX_JOIN_BITS && layer.multiplier(0).is_valid_int16();
        require(valid, Fault::Quantization)?;
    }
    let same_shape = || require(input.shape() == layer.shape(), Fault::Shape);
    match operator {
        Operator::Conv => {
            let (_, packing) = conv::check::check_parts(model, layer)?;
            require(packing == Packing::Ohwi, Fault::Packing(packing))?;
            let conv = Conv::new(model, layer);
            let valid = |o| conv.multiplier(usize::from(o)).is_valid_int16();
            require((0..layer.channels.get()).all(valid), Fault::Quantization)
        }
        Operator::BatchNorm => {
            same_shape()?;
            batch_norm::check_parts(model, layer)?;
            let norm = BatchNorm::new(model, layer);
            let valid = |c| norm.multiplier(usize::from(c)).is_valid_int16();
            require((0..layer.channels.get()).all(valid), Fault::Quantization)
        }
        Operator::Add => {
            same_shape()?;
            require(layer.shortcut().is_some(), Fault::Operands)?;
            require(layer.multiplier(1).is_valid_int16(), Fault::Quantization)
        }
        Operator::MaxPool => {
            require(layer.is_int16() == input.is_int16(), Fault::Int16Flags)?;
            super::max_pool::check(model, layer)
        }
        Operator::AveragePool => {
            super::average_pool::check_shape(model, layer)?;
            // Sums must fit into 32 bits.
            let bound = i64::from(AveragePool::new(model, layer).pixels()) << 15;
            let valid = layer.multiplier(0).is_valid_int16() && bound <= i64::from(i32::MAX);
            require(valid, Fault::Quantization)
        }
        Operator::Softmax => super::softmax::check(model, layer),
        _ => Ok(()),
    }
}

/// Checks an add or an average pool with TFLite's roundings: all of them must fit into 32 bits.
fn check_as_tflite(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let require = |holds: bool, cause| if holds { Ok(()) } else { Err(cause) };
    let input = model.input_of(layer);
    let int16 = |of: Option<usize>| of.is_none_or(|of| model.layer(of).is_int16());
    let all = layer.is_int16() && input.is_int16() && int16(layer.shortcut());
    require(layer.parameter.get() == AS_TFLITE && all, Fault::Int16Flags)?;
    if layer.operator() == Operator::Add {
        require(input.shape() == layer.shape(), Fault::Shape)?;
        require(layer.shortcut().is_some(), Fault::Operands)?;
        // The multipliers must be at most one half.
        let halves =
            [0, 1].map(|operand| layer.multiplier(operand)).into_iter().all(|multiplier| {
                let half = multiplier.shift == 0 && multiplier.mantissa.to_bits() == 1 << 30;
                multiplier.is_valid() && (multiplier.shift < 0 || half)
            });
        let valid = halves && layer.join_bits == 0 && layer.multiplier(2).takes(LARGEST_SUM);
        return require(valid, Fault::Quantization);
    }
    super::average_pool::check_shape(model, layer)?;
    let bound = AveragePool::new(model, layer).pixels().saturating_mul(1 << 15);
    let valid = layer.multiplier(0).takes_of_any_mantissa(bound);
    require(valid, Fault::Quantization)
}
