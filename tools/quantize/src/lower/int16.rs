//! Layers of networks that were quantized to 16 bits, in TFLite's roundings.

use std::borrow::Cow;

use brooklet::format::{Operator, flags};
use brooklet::ops::int16::{AS_TFLITE, LEFT_SHIFT};
use brooklet::quant::Multiplier;
use brooklet_plan::Preprocess;
use fixed::types::I1F31;
use ndarray::{Array4, s};
use zerocopy::little_endian::{F32, I32};

use super::shape;
use crate::error::Unrepresentable;
use crate::network::{QuantizedConv, QuantizedNode};
use crate::program::Layer;

/// The weight of a pixel, with which levels halfway between integers are exact, too.
const WEIGHT: i8 = 64;

/// The image, and the layer of its levels: bytes become int16 by a factor and an offset per
/// channel.
pub(super) fn input(
    node: &QuantizedNode,
    preprocess: &Preprocess,
) -> Result<[Layer; 2], Unrepresentable> {
    let mut image = Layer::new("image", Operator::Input, 0, shape(node.shape));
    image.record.scale = F32::new(1.0);
    image.record.zero_point = -128;
    let mut levels = Layer::new(&node.name, Operator::BatchNorm, 0, shape(node.shape));
    levels.record.scale = F32::new(node.scale);
    levels.record.flags |= flags::INT16 | flags::HAS_INT16;
    for channel in 0..node.shape[2] {
        let level = |pixel| f64::from(preprocess.normalize(pixel, channel)) / f64::from(node.scale);
        let (factor, offset) = ((level(255) - level(0)) / 255.0, level(0));
        let unit = factor.abs() / f64::from(WEIGHT);
        let multiplier = Multiplier::from_real(unit).filter(|m| m.is_valid_int16());
        let multiplier = multiplier.filter(|m| m.mantissa != I1F31::ZERO);
        let weight = if factor < 0.0 { -WEIGHT } else { WEIGHT };
        let bias = 128.0 * f64::from(weight) + offset / unit;
        let (Some(multiplier), true) = (multiplier, bias.abs() < f64::from(i32::MAX)) else {
            let what = "its scale does not fit the pixels: check --mean and --std";
            return Err(Unrepresentable::new(&node.name, what));
        };
        levels.weights.push(weight);
        levels.bias.push(bias.round() as i32);
        levels.multipliers.push(multiplier);
    }
    Ok([image, levels])
}

/// A multiplier of 16 bits, which TFLite uses for sums in 64 bits.
pub(super) fn short(multiplier: Multiplier) -> Multiplier {
    let bits = multiplier.mantissa.to_bits();
    let short = if bits < 0x7fff_0000 { (bits + (1 << 15)) >> 16 } else { 0x7fff };
    Multiplier { mantissa: I1F31::from_bits(short << 16), ..multiplier }
}

/// The convolution with its groups merged into one, as convolutions of int16 have only one.
pub(super) fn in_one_group(conv: &QuantizedConv) -> Cow<'_, QuantizedConv> {
    if conv.groups == 1 {
        return Cow::Borrowed(conv);
    }
    let (outputs, rows, columns, inputs) = conv.weights.dim();
    let mut weights = Array4::zeros((outputs, rows, columns, inputs * conv.groups));
    for output in 0..outputs {
        let first = output / (outputs / conv.groups) * inputs;
        let part = conv.weights.slice(s![output, .., .., ..]);
        weights.slice_mut(s![output, .., .., first..first + inputs]).assign(&part);
    }
    Cow::Owned(QuantizedConv { weights, groups: 1, ..conv.clone() })
}

/// Sets the multipliers of an addition whose operands have these scales; `None` if these are out of
/// proportion.
pub(super) fn set_add(layer: &mut Layer, [input, shortcut]: [f32; 2]) -> Option<()> {
    let twice_larger = 2.0 * f64::from(input.max(shortcut));
    let output = f64::from(1u32 << LEFT_SHIFT) * f64::from(layer.record.scale.get());
    let reals = [
        f64::from(shortcut) / twice_larger,
        f64::from(input) / twice_larger,
        twice_larger / output,
    ];
    for (place, real) in reals.into_iter().enumerate() {
        layer.record.set_multiplier(place, Multiplier::from_real(real)?);
    }
    layer.record.parameter = I32::new(AS_TFLITE);
    Some(())
}

/// Makes a layer a mean with TFLite's roundings.
pub(super) fn set_mean(layer: &mut Layer) {
    layer.record.parameter = I32::new(AS_TFLITE);
}
