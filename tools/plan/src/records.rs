//! Fields of layer records that several tools compute.

use brooklet::format::{LayerRecord, NONE, Operator, flags};
use brooklet::ops::add::LEFT_SHIFT;
use brooklet::ops::border::rows_under;
use brooklet::ops::softmax::Softmax;
use brooklet::quant::{Multiplier, requantize};
use zerocopy::little_endian::I32;

use crate::program::{Layer, Table};

/// Sets table and multiplier of an addition of two operands, each given by scale and zero point, in
/// the arithmetic of TFLite's `ADD`: both terms have twice the larger scale.
///
/// `None` if the scales are out of proportion.
pub fn set_add(layer: &mut Layer, operands: [(f32, i32); 2]) -> Option<()> {
    let output = f64::from(layer.record.scale.get());
    let [a, b] = operands.map(|(scale, _)| f64::from(scale));
    let twice_larger = 2.0 * a.max(b);
    let unit = f64::from(1u32 << LEFT_SHIFT);
    let mut terms = Vec::with_capacity(512);
    for (scale, zero_point) in operands {
        let multiplier = Multiplier::from_real(f64::from(scale) / twice_larger)?;
        terms.extend((-128..128).map(|q| requantize((q - zero_point) << LEFT_SHIFT, multiplier)));
    }
    layer.table = Some(Table::Terms(terms));
    layer.record.set_multiplier(0, Multiplier::from_real(twice_larger / (unit * output))?);
    Some(())
}

/// Sets the multiplier of a softmax of logits with this scale; `None` if that is out of range.
pub fn set_softmax(layer: &mut Layer, scale: f32) -> Option<()> {
    let unit = f64::from(1u32 << (31 - Softmax::DIFFERENCE_BITS));
    let multiplier = Multiplier::from_real((f64::from(scale) * unit).min(f64::from(i32::MAX)))?;
    layer.record.set_multiplier(0, multiplier);
    layer.record.parameter = I32::new(Softmax::smallest_difference(multiplier));
    Some(())
}

/// Sets the multiplier of a product of two operands with these scales, as TFLite's `MUL` does;
/// `None` if the scales are out of proportion.
pub fn set_multiply(layer: &mut Layer, scales: [f32; 2]) -> Option<()> {
    let [a, b] = scales.map(f64::from);
    let multiplier = Multiplier::from_real(a * b / f64::from(layer.record.scale.get()))?;
    layer.record.set_multiplier(0, multiplier);
    multiplier.holds(255 * 255, 128).then_some(())
}

/// Makes a layer a lookup, whose outputs depend on one number each: `tables` has one table for all
/// channels, or one per channel, and equal tables are stored once.
pub fn set_lookup(layer: &mut Layer, tables: &[[i8; 256]]) -> Option<()> {
    let mut different: Vec<[i8; 256]> = Vec::new();
    let mut numbers = Vec::with_capacity(tables.len());
    for table in tables {
        let number = different.iter().position(|other| other == table).unwrap_or_else(|| {
            different.push(*table);
            different.len() - 1
        });
        numbers.push(u8::try_from(number).ok()? as i8);
    }
    layer.record.parameter = I32::new(different.len() as i32);
    layer.table = Some(Table::Bytes(different.concat()));
    layer.weights = if different.len() > 1 { numbers } else { Vec::new() };
    Some(())
}

/// Makes a layer repeat rows and columns of its input around it: a mirrored map, or its edges.
pub fn set_border(layer: &mut Layer, [top, left, bottom, right]: [u8; 4], mirrored: bool) {
    let [above, rows] = rows_under(top, bottom);
    let record = &mut layer.record;
    (record.kernel, record.stride) = ([rows, 1], [1, 1]);
    let below = (top + bottom + rows).saturating_sub(above + 1);
    record.pads = [above, left, below, right];
    record.parameter = I32::from_bytes([u8::from(!mirrored), top, bottom, 0]);
}

/// The kind of a layer in reports.
pub fn kind(layer: &LayerRecord) -> &'static str {
    match layer.operator() {
        Operator::Input => "input",
        Operator::Conv if layer.flags & flags::FULLY_CONNECTED != 0 => "fully_connected",
        Operator::Conv if layer.shortcut.get() != NONE => "conv+add",
        Operator::Conv => "conv",
        Operator::Add => "add",
        Operator::MaxPool => "max_pool",
        Operator::BatchNorm => "batch_norm",
        Operator::AveragePool => "average_pool",
        Operator::Softmax => "softmax",
        Operator::GroupedConv => "grouped_conv",
        Operator::DepthwiseConv => "depthwise_conv",
        Operator::Lookup => "lookup",
        Operator::Multiply => "multiply",
        Operator::Concat => "concat",
        Operator::WindowAverage => "window_average",
        Operator::Border => "border",
    }
}
