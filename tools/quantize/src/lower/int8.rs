//! An int8 TFLite or ONNX network as a [`Program`]: its scales, zero points, weights and roundings kept.

use brooklet::format::{Operator, flags};
use brooklet::quant::Multiplier;
use fixed::types::I1F31;
use zerocopy::little_endian::F32;

use super::constant::{self, TooLarge};
use super::{known, set_kernel, set_shortcut, set_window, shape};
use crate::error::Unrepresentable;
use crate::network::Subsample;
use crate::network::{Activation, QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp};
use crate::program::{Layer, Program, Table};
use crate::units::is_plain;
use brooklet_plan::Preprocess;
use brooklet_plan::records::{set_add, set_softmax};

/// Brings a quantized network into the core's form.
///
/// `preprocess` says what a pixel is for the network: with the input's scale and zero point it
/// becomes a table from u8 to int8 for each channel.
///
/// # Errors
///
/// [`Unrepresentable`] names the layer.
pub fn lower(
    network: &QuantizedNetwork,
    preprocess: &Preprocess,
) -> Result<Program, Unrepresentable> {
    known::int8(network)?;
    let mut program = Program::default();
    // For each node its layer; a subsampled shortcut is part of the add that reads it.
    let mut layer_of = vec![0; network.nodes.len()];
    for (id, node) in network.nodes.iter().enumerate() {
        if matches!(node.op, QuantizedOp::Subsample(_)) {
            continue;
        }
        let input = node.inputs.first().copied().unwrap_or(0);
        if matches!(network.nodes[input].op, QuantizedOp::Subsample(_)) {
            return Err(Unrepresentable::new(
                &node.name,
                "reads a subsampled map on its main path",
            ));
        }
        let operator = match &node.op {
            QuantizedOp::Input => Operator::Input,
            QuantizedOp::Conv(_) => Operator::Conv,
            QuantizedOp::Add => Operator::Add,
            QuantizedOp::MaxPool(_) => Operator::MaxPool,
            QuantizedOp::GlobalAveragePool | QuantizedOp::Mean | QuantizedOp::TfliteMean => {
                Operator::AveragePool
            }
            QuantizedOp::Softmax => Operator::Softmax,
            QuantizedOp::Subsample(_) => continue,
            other => return Err(Unrepresentable::new(&node.name, other.name())),
        };
        let mut layer = Layer::new(&node.name, operator, layer_of[input], shape(node.shape));
        set_quantization(&mut layer, node)?;
        let from = &network.nodes[input];
        match &node.op {
            QuantizedOp::Input => layer.table = pixel_table(node, preprocess),
            QuantizedOp::Conv(conv) => set_conv(&mut layer, conv, from, node)?,
            QuantizedOp::Add => {
                let shortcut = resolve(network, node.inputs[1]);
                set_shortcut(&mut layer, layer_of[shortcut.0], shortcut.1)?;
                let operands = [from, &network.nodes[node.inputs[1]]];
                set_add(&mut layer, operands.map(|node| (node.scale, node.zero_point)))
                    .ok_or_else(|| {
                        Unrepresentable::new(&node.name, "its scales are out of proportion")
                    })?;
            }
            QuantizedOp::MaxPool(window) => set_window(&mut layer, window)?,
            QuantizedOp::TfliteMean => {
                let [rows, columns, _] = from.shape;
                let scales = multiplier(node, f64::from(from.scale) / f64::from(node.scale))?;
                let mean = mean_multiplier(scales, (rows * columns) as i64);
                layer.record.set_multiplier(0, mean);
            }
            QuantizedOp::Mean => {
                let [rows, columns, _] = from.shape;
                let pixels = (rows * columns) as f64;
                let real = f64::from(from.scale) / (pixels * f64::from(node.scale));
                layer.record.set_multiplier(0, multiplier(node, real)?);
            }
            QuantizedOp::Softmax => set_softmax(&mut layer, from.scale).ok_or_else(|| {
                Unrepresentable::new(&node.name, "the scale of its input is out of range")
            })?,
            _ => {}
        }
        layer_of[id] = program.layers.len();
        program.layers.push(layer);
    }
    program.logits = layer_of[network.logits()];
    if network.sigmoid() {
        program.layers[program.logits].record.flags |= flags::SIGMOID;
    }
    Ok(program)
}

/// The node that a shortcut reads, and how.
fn resolve(network: &QuantizedNetwork, id: usize) -> (usize, Option<Subsample>) {
    match network.nodes[id].op {
        QuantizedOp::Subsample(subsample) => (network.nodes[id].inputs[0], Some(subsample)),
        _ => (id, None),
    }
}

fn set_quantization(layer: &mut Layer, node: &QuantizedNode) -> Result<(), Unrepresentable> {
    let zero_point = i8::try_from(node.zero_point)
        .map_err(|_| Unrepresentable::new(&node.name, "its zero point is not within int8"))?;
    layer.record.scale = F32::new(node.scale);
    layer.record.zero_point = zero_point;
    if node.int16 {
        layer.record.flags |= flags::INT16 | flags::HAS_INT16;
    }
    let level = |real: f32| {
        let q = f64::from(real / node.scale).round() + f64::from(node.zero_point);
        q.clamp(-128.0, 127.0) as i8
    };
    if node.activation != Activation::None {
        let (min, max) = node.activation.range();
        layer.record.clamp_min = level(min);
        layer.record.clamp_max = level(max);
    }
    Ok(())
}

fn multiplier(node: &QuantizedNode, real: f64) -> Result<Multiplier, Unrepresentable> {
    Multiplier::from_real(real).ok_or_else(|| {
        Unrepresentable::new(&node.name, format!("its scales give a factor of {real}"))
    })
}

fn set_conv(
    layer: &mut Layer,
    conv: &QuantizedConv,
    input: &QuantizedNode,
    node: &QuantizedNode,
) -> Result<(), Unrepresentable> {
    let (_, height, width, _) = conv.weights.dim();
    set_kernel(layer, [height, width], conv.stride, conv.pads)?;
    if conv.fully_connected {
        layer.record.flags |= flags::FULLY_CONNECTED;
    }
    let weights: Vec<i8> = conv.weights.iter().copied().collect();
    let taps = weights.len() / conv.bias.len();
    let channels = weights.chunks(taps).zip(&conv.bias).zip(&conv.scales).enumerate();
    for (o, ((weights, &bias), &scale)) in channels {
        let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
        let bias = i64::from(bias) - i64::from(input.zero_point) * sum;
        // TFLite takes the product of the scales in float for a fully connected layer, and in
        // double for a convolution.
        let product = if conv.fully_connected {
            f64::from(input.scale * scale)
        } else {
            f64::from(input.scale) * f64::from(scale)
        };
        let factor = product / f64::from(node.scale);
        if node.int16 {
            let multiplier = multiplier(node, factor)?;
            let (true, Ok(bias)) = (multiplier.is_valid_int16(), i32::try_from(bias)) else {
                return Err(Unrepresentable::new(&node.name, "its scales are out of proportion"));
            };
            layer.weights.extend(weights);
            layer.bias.push(bias);
            layer.multipliers.push(multiplier);
            continue;
        }
        let (zero_point, clamp) = (layer.record.zero_point, layer.record.clamp());
        let channel =
            constant::channel(weights, bias, multiplier(node, factor)?, zero_point, clamp);
        let channel = channel.map_err(|TooLarge { sum }| {
            let what = format!(
                "the sum of output channel {o} can reach {sum} (its bias is {bias}, its factor \
                 {factor:e}); kernels take up to {}",
                i32::MAX / 2
            );
            Unrepresentable::new(&node.name, what)
        })?;
        layer.weights.extend(channel.weights);
        layer.bias.push(channel.bias);
        layer.multipliers.push(channel.multiplier);
    }
    Ok(())
}

/// The multiplier of a mean, as TFLite's `MEAN` has it: that of the scales, divided by the number of
/// pixels in whole numbers. As many bits are shifted in before as the number has, less one.
fn mean_multiplier(scales: Multiplier, pixels: i64) -> Multiplier {
    let bits = 63 - pixels.max(1).leading_zeros() as i32;
    let bits = bits.min(31 + i32::from(scales.shift));
    let mantissa = (i64::from(scales.mantissa.to_bits()) << bits) / pixels.max(1);
    Multiplier {
        mantissa: I1F31::from_bits(mantissa as i32),
        shift: (i32::from(scales.shift) - bits) as i8,
    }
}

/// From pixels to the input's int8; none where pixel − 128 is as near to half a level: that is what
/// devices feed, and x / 127.5 − 1 at scale 2/255 is a tie for every pixel.
fn pixel_table(node: &QuantizedNode, preprocess: &Preprocess) -> Option<Table> {
    let channels = node.shape[2];
    if is_plain(node, preprocess) {
        return None;
    }
    let table = (0..channels)
        .flat_map(|channel| (0..=255u8).map(move |pixel| (channel, pixel)))
        .map(|(channel, pixel)| {
            let real = f64::from(preprocess.normalize(pixel, channel));
            let q = (real / f64::from(node.scale)).round() + f64::from(node.zero_point);
            q.clamp(-128.0, 127.0) as i8
        });
    Some(Table::Bytes(table.collect()))
}
