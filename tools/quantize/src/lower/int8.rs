//! Lowers an int8 TFLite or ONNX network to a [`Program`], and keeps its scales, zero points,
//! weights and roundings.

mod join;

use std::borrow::Cow;

use brooklet::format::{Operator, flags};
use brooklet::quant::Multiplier;
use fixed::types::I1F31;
use ndarray::{Array4, s};
use zerocopy::little_endian::F32;

use super::constant::{self, TooLarge};
use super::elements::{set_average, set_concat, set_functions, set_product, table};
use super::{
    READ_ON, answer_last, int16, known, operator_of_conv, set_groups, set_kernel, set_shortcut,
    set_window, shape, tflite,
};
use crate::error::Unrepresentable;
use crate::network::{
    Activation, NodeId, QuantizedConv, QuantizedNetwork, QuantizedNode, QuantizedOp, Subsample,
    TfliteFunction,
};
use crate::program::{Layer, Program, Table};
use crate::units::is_plain;
use brooklet_plan::Preprocess;
use brooklet_plan::records::{set_add, set_softmax};

/// Lowers a quantized network to the core's records.
///
/// `preprocess` gives the units of pixels for the network: with the input's scale and zero point it
/// becomes a table from u8 to int8 per channel.
///
/// # Errors
///
/// [`Unrepresentable`], with the layer.
pub fn lower(
    network: &QuantizedNetwork,
    preprocess: &Preprocess,
) -> Result<Program, Unrepresentable> {
    known::int8(network)?;
    let mut program = Program::default();
    // For each node its layer; a subsampled shortcut is part of the addition that reads it.
    let mut layer_of = vec![0; network.nodes.len()];
    for (id, node) in network.nodes.iter().enumerate() {
        if matches!(node.op, QuantizedOp::Subsample(_)) {
            continue;
        }
        let input = node.inputs.first().copied().unwrap_or(0);
        let subsampled = |place: usize, of: &NodeId| {
            let shortcut = place == 1 && node.op == QuantizedOp::Add;
            !shortcut && matches!(network.nodes[*of].op, QuantizedOp::Subsample(_))
        };
        if node.inputs.iter().enumerate().any(|(place, of)| subsampled(place, of)) {
            return Err(Unrepresentable::new(
                &node.name,
                "reads a subsampled map on its main path",
            ));
        }
        // A rounding behind an addition is part of the layer that adds.
        if node.summed {
            continue;
        }
        let summed = node.inputs.iter().position(|&of| network.nodes[of].summed);
        if let (QuantizedOp::Add, Some(place)) = (&node.op, summed) {
            let operands = [node.inputs[place], node.inputs[1 - place]];
            program.layers.push(join::joined(network, &program, &layer_of, node, operands)?);
            layer_of[id] = program.layers.len() - 1;
            continue;
        }
        let operator = match &node.op {
            QuantizedOp::Input => Operator::Input,
            QuantizedOp::Conv(_) if node.int16 || network.nodes[input].int16 => Operator::Conv,
            QuantizedOp::Conv(conv) => operator_of_conv(conv.groups, network.nodes[input].shape[2]),
            QuantizedOp::Function(_)
            | QuantizedOp::PRelu(_)
            | QuantizedOp::Tflite(_)
            | QuantizedOp::Divide
            | QuantizedOp::Requantize => Operator::Lookup,
            QuantizedOp::Multiply => Operator::Multiply,
            QuantizedOp::Concat => Operator::Concat,
            QuantizedOp::AveragePool(_) => Operator::WindowAverage,
            QuantizedOp::Add | QuantizedOp::Subtract => Operator::Add,
            QuantizedOp::MaxPool(_) => Operator::MaxPool,
            QuantizedOp::GlobalAveragePool | QuantizedOp::Mean | QuantizedOp::TfliteMean => {
                Operator::AveragePool
            }
            QuantizedOp::Softmax => Operator::Softmax,
            QuantizedOp::Subsample(_) => continue,
        };
        let mut layer = Layer::new(&node.name, operator, layer_of[input], shape(node.shape));
        set_quantization(&mut layer, node)?;
        let from = &network.nodes[input];
        if from.int16 && id > 0 {
            layer.record.flags |= flags::HAS_INT16;
        }
        match &node.op {
            QuantizedOp::Input if node.int16 => {
                program.layers.extend(int16::input(node, preprocess)?);
                layer_of[id] = program.layers.len() - 1;
                continue;
            }
            QuantizedOp::Input => layer.table = pixel_table(node, preprocess),
            QuantizedOp::Conv(conv) => set_conv(&mut layer, conv, from, node)?,
            QuantizedOp::Add => {
                let shortcut = resolve(network, node.inputs[1]);
                set_shortcut(&mut layer, layer_of[shortcut.0], shortcut.1)?;
                let operands = [from, &network.nodes[node.inputs[1]]];
                if operands.iter().any(|operand| operand.int16 != node.int16) {
                    let what = "adds maps of 8 and of 16 bits";
                    return Err(Unrepresentable::new(&node.name, what));
                }
                let set = match node.int16 {
                    true => int16::set_add(&mut layer, operands.map(|node| node.scale)),
                    false => {
                        set_add(&mut layer, operands.map(|node| (node.scale, node.zero_point)))
                    }
                };
                set.ok_or_else(|| out_of_proportion(node))?;
            }
            QuantizedOp::Subtract => {
                let of = resolve(network, node.inputs[1]);
                set_shortcut(&mut layer, layer_of[of.0], of.1)?;
                let operands = [from, &network.nodes[node.inputs[1]]];
                tflite::set_subtract(
                    &mut layer,
                    operands.map(|node| (node.scale, node.zero_point)),
                )
                .ok_or_else(|| out_of_proportion(node))?;
            }
            QuantizedOp::Tflite(function) => {
                let tables = tflite::tables(function, from, node, layer.record.clamp())
                    .ok_or_else(|| out_of_proportion(node))?;
                set_functions(&mut layer, &tables)?;
            }
            QuantizedOp::Function(function) => {
                let of = &program.layers[layer_of[input]];
                let table = table(of, &layer, |real| function.value(real));
                let table = clipped(table, &layer);
                set_functions(&mut layer, &[table])?;
            }
            QuantizedOp::Requantize | QuantizedOp::Divide => {
                let table = table(&program.layers[layer_of[input]], &layer, |real| real);
                let table = clipped(table, &layer);
                set_functions(&mut layer, &[table])?;
            }
            QuantizedOp::PRelu(slopes) => {
                let of = &program.layers[layer_of[input]];
                let slope = |slope: f64| {
                    let function = |real: f64| real.max(0.0) + real.min(0.0) * slope;
                    clipped(table(of, &layer, function), &layer)
                };
                let tables: Vec<_> = slopes
                    .values
                    .iter()
                    .map(|&value| {
                        slope(
                            f64::from(slopes.scale)
                                * f64::from(i32::from(value) - slopes.zero_point),
                        )
                    })
                    .collect();
                set_functions(&mut layer, &tables)?;
            }
            QuantizedOp::Multiply => {
                let of = layer_of[node.inputs[1]];
                set_product(&mut layer, &program.layers[layer_of[input]], of, &program.layers[of])?;
            }
            QuantizedOp::Concat => {
                let mut parts = node.inputs.iter().map(|&part| layer_of[part]);
                let mut joined = parts.next().unwrap_or(0);
                let last = node.inputs.len() - 2;
                for (place, part) in parts.enumerate() {
                    let (first, second) = (&program.layers[joined], &program.layers[part]);
                    let mut both = layer.clone();
                    let channels = first.record.channels.get() + second.record.channels.get();
                    both.record.channels.set(channels);
                    both.record.input.set(joined as u16);
                    set_concat(&mut both, first, part, second)?;
                    if place == last {
                        layer = both;
                        break;
                    }
                    both.name = format!("{}.{place}", layer.name);
                    joined = program.layers.len();
                    program.layers.push(both);
                }
            }
            QuantizedOp::AveragePool(pool) => set_average(&mut layer, pool)?,
            QuantizedOp::MaxPool(window) => set_window(&mut layer, window)?,
            QuantizedOp::TfliteMean => {
                let [rows, columns, _] = from.shape;
                let scales = multiplier(node, f64::from(from.scale) / f64::from(node.scale))?;
                let mean = mean_multiplier(scales, (rows * columns) as i64);
                layer.record.set_multiplier(0, mean);
                if node.int16 {
                    int16::set_mean(&mut layer);
                }
            }
            QuantizedOp::GlobalAveragePool if node.int16 => {
                let [rows, columns, _] = from.shape;
                let real = 1.0 / (rows * columns) as f64;
                layer.record.set_multiplier(0, multiplier(node, real)?);
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
    for output in network.outputs.iter().skip(1) {
        program.layers[layer_of[output.node]].record.flags |= flags::OUTPUT;
    }
    if network.sigmoid() {
        program.layers[program.logits].record.flags |= flags::SIGMOID;
    }
    if let QuantizedOp::Tflite(TfliteFunction::Logistic) = network.nodes[network.logits()].op {
        program.layers[program.logits].record.flags |= flags::PROBABILITIES;
    }
    in_order(program, network)
}

/// The program with its main answer last, since a model ends in it.
fn in_order(mut program: Program, network: &QuantizedNetwork) -> Result<Program, Unrepresentable> {
    let reads: Vec<Vec<usize>> = program
        .layers
        .iter()
        .map(|layer| {
            let shortcut = layer.record.shortcut();
            [Some(usize::from(layer.record.input.get())), shortcut].into_iter().flatten().collect()
        })
        .collect();
    let is_output = |layer: &Layer| layer.record.flags & flags::OUTPUT != 0;
    let others: Vec<bool> = program.layers.iter().map(is_output).collect();
    let Some(order) = answer_last(&reads, others, program.logits) else {
        let name = &network.nodes[network.logits()].name;
        return Err(Unrepresentable::new(name, READ_ON));
    };
    let mut now = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &old)| now[old] = place);
    let mut layers: Vec<Option<Layer>> = program.layers.into_iter().map(Some).collect();
    let moved = |&old: &usize| {
        let mut layer = layers[old].take().expect("each layer has one place");
        let record = &mut layer.record;
        record.input.set(now[usize::from(record.input.get())] as u16);
        if let Some(shortcut) = record.shortcut() {
            record.shortcut.set(now[shortcut] as u16);
        }
        layer
    };
    program.layers = order.iter().map(moved).collect();
    program.logits = now[program.logits];
    Ok(program)
}

/// A dilated convolution as one with zeros between its weights.
fn spread(conv: &QuantizedConv) -> Cow<'_, QuantizedConv> {
    let [down, across] = conv.dilation;
    if conv.dilation == [1, 1] {
        return Cow::Borrowed(conv);
    }
    let (outputs, rows, columns, inputs) = conv.weights.dim();
    let size = (outputs, (rows - 1) * down + 1, (columns - 1) * across + 1, inputs);
    let mut weights = Array4::zeros(size);
    weights.slice_mut(s![.., ..;down, ..;across, ..]).assign(&conv.weights);
    Cow::Owned(QuantizedConv { weights, dilation: [1, 1], ..conv.clone() })
}

fn out_of_proportion(node: &QuantizedNode) -> Unrepresentable {
    Unrepresentable::new(&node.name, "its scales are out of proportion")
}

/// A table whose outputs are clipped as the layer does.
fn clipped(table: [i8; 256], layer: &Layer) -> [i8; 256] {
    let clamp = layer.record.clamp();
    table.map(|value| value.clamp(clamp.min, clamp.max))
}

/// The node that a shortcut reads, and how it is subsampled.
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

/// Sets kernel, groups and padding.
fn set_form(layer: &mut Layer, conv: &QuantizedConv) -> Result<(), Unrepresentable> {
    let (_, height, width, _) = conv.weights.dim();
    set_kernel(layer, [height, width], conv.stride, conv.pads)?;
    set_groups(layer, conv.groups);
    if conv.fully_connected {
        layer.record.flags |= flags::FULLY_CONNECTED;
    }
    layer.padding_values = conv.zeros.clone().filter(|_| conv.pads != [0; 4]);
    Ok(())
}

/// For each output channel its weights, its bias with the inputs' zero points absorbed, and the
/// real value of one step of its sum.
fn channels<'w>(
    conv: &'w QuantizedConv,
    weights: &'w [i8],
    input: &'w QuantizedNode,
) -> impl Iterator<Item = (&'w [i8], i64, f64)> {
    let outputs = conv.bias.len();
    let (taps, inputs) = (weights.len() / outputs, conv.weights.dim().3);
    let all = weights.chunks(taps).zip(&conv.bias).zip(&conv.scales).enumerate();
    all.map(move |(channel, ((weights, &bias), &scale))| {
        let group = channel * conv.groups / outputs;
        let zero = |tap: usize| match &conv.zeros {
            Some(zeros) => zeros.get(group * inputs + tap % inputs).map_or(0, |&zero| zero.into()),
            None => i64::from(input.zero_point),
        };
        let offset = weights.iter().enumerate().map(|(tap, &weight)| zero(tap) * i64::from(weight));
        let product = if conv.float_product {
            f64::from(input.scale * scale)
        } else {
            f64::from(input.scale) * f64::from(scale)
        };
        (weights, i64::from(bias) - offset.sum::<i64>(), product)
    })
}

fn set_conv(
    layer: &mut Layer,
    conv: &QuantizedConv,
    input: &QuantizedNode,
    node: &QuantizedNode,
) -> Result<(), Unrepresentable> {
    let conv = &spread(conv);
    let int16 = node.int16 || input.int16;
    let conv = &if int16 { int16::in_one_group(conv) } else { Cow::Borrowed(&**conv) };
    set_form(layer, conv)?;
    let weights: Vec<i8> = conv.weights.iter().copied().collect();
    for (o, (weights, bias, product)) in channels(conv, &weights, input).enumerate() {
        let factor = product / f64::from(node.scale);
        if int16 {
            let multiplier = multiplier(node, factor)?;
            let multiplier = if input.int16 { int16::short(multiplier) } else { multiplier };
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

/// The multiplier of a mean, as in TFLite's `MEAN`: that of the scales, divided by the number of
/// pixels in integers. First it is shifted left by one bit less than that number has.
fn mean_multiplier(scales: Multiplier, pixels: i64) -> Multiplier {
    let bits = 63 - pixels.max(1).leading_zeros() as i32;
    let bits = bits.min(31 + i32::from(scales.shift));
    let mantissa = (i64::from(scales.mantissa.to_bits()) << bits) / pixels.max(1);
    Multiplier {
        mantissa: I1F31::from_bits(mantissa as i32),
        shift: (i32::from(scales.shift) - bits) as i8,
    }
}

/// The table from pixels to the input's int8. `None` if pixel − 128 is right for every pixel to
/// half a level: devices feed that, and for x / 127.5 − 1 at scale 2/255 every pixel is a tie.
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
