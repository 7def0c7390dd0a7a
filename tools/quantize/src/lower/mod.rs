//! Lowers networks to [programs](crate::program::Program): int8 networks as they are, float
//! networks with ranges and weights.

mod constant;
pub(crate) mod elements;
pub mod float;
mod int16;
pub mod int8;
pub(crate) mod known;
mod tflite;
mod weighted;

use brooklet::Shape;
use brooklet::format::Operator;
use zerocopy::little_endian::{I32, U16};

use crate::error::Unrepresentable;
use crate::network::{Pads, Subsample, Window};
use crate::program::Layer;

/// The core's shape; importers refuse larger shapes.
pub(crate) fn shape([rows, columns, channels]: [usize; 3]) -> Shape {
    Shape::new(rows as u16, columns as u16, channels as u16)
}

/// Sets the second operand.
pub(crate) fn set_shortcut(
    layer: &mut Layer,
    shortcut: usize,
    subsample: Option<Subsample>,
) -> Result<(), Unrepresentable> {
    let stride = subsample.map_or([1, 1], |s| s.stride);
    layer.record.shortcut = U16::new(shortcut as u16);
    layer.record.shortcut_stride = match u8::try_from(stride[0]) {
        Ok(rows) if stride[0] == stride[1] => rows,
        _ => {
            let what = format!("its shortcut has a stride of {}x{}", stride[0], stride[1]);
            return Err(Unrepresentable::new(&layer.name, what));
        }
    };
    layer.record.shortcut_channels_before =
        U16::new(subsample.map_or(0, |s| s.channels_before as u16));
    Ok(())
}

/// Sets kernel, stride and padding.
pub(crate) fn set_kernel(
    layer: &mut Layer,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: Pads,
) -> Result<(), Unrepresentable> {
    let extents = [&kernel[..], &stride, &pads].concat();
    if extents.iter().any(|&n| n > usize::from(u8::MAX)) {
        let what = "its kernel, stride or padding is larger than 255";
        return Err(Unrepresentable::new(&layer.name, what));
    }
    layer.record.kernel = kernel.map(|n| n as u8);
    layer.record.stride = stride.map(|n| n as u8);
    layer.record.pads = pads.map(|n| n as u8);
    Ok(())
}

/// The core's operator for a convolution in groups whose input has this number of channels.
pub(crate) fn operator_of_conv(groups: usize, channels: usize) -> Operator {
    match groups {
        1 => Operator::Conv,
        _ if groups == channels => Operator::DepthwiseConv,
        _ => Operator::GroupedConv,
    }
}

/// The error if the main answer cannot be the last layer.
pub(crate) const READ_ON: &str =
    "is the main output, and another output is computed from it: choose one with --outputs";

/// An order of layers in which those that only `answer` needs come last, and each layer comes after
/// those that it reads.
///
/// `others` are the other outputs. `None` if one of these needs the answer.
pub(crate) fn answer_last(
    reads: &[Vec<usize>],
    mut others: Vec<bool>,
    answer: usize,
) -> Option<Vec<usize>> {
    for (index, reads) in reads.iter().enumerate().rev() {
        if others[index] && index > 0 {
            reads.iter().for_each(|&of| others[of] = true);
        }
    }
    if others[answer] && answer > 0 {
        return None;
    }
    let mut order: Vec<usize> = (0..reads.len()).collect();
    order.sort_by_key(|&index| !others[index] && index > 0);
    Some(order)
}

/// Sets the number of groups, if the operator has one.
pub(crate) fn set_groups(layer: &mut Layer, groups: usize) {
    if layer.record.operator() == Operator::GroupedConv {
        layer.record.parameter = I32::new(groups as i32);
    }
}

pub(crate) fn set_window(layer: &mut Layer, window: &Window) -> Result<(), Unrepresentable> {
    set_kernel(layer, window.kernel, window.stride, window.pads)
}
