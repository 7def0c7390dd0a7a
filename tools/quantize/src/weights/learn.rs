//! Learns the weights of a quantized network, layer after layer.
//!
//! The float and the quantized network run over the images side by side. Each convolution learns
//! from the outputs of the quantized layers before it, with the outputs of the float network as
//! targets. So a layer also corrects errors of the layers before it. At the end of a residual block
//! the target is the float sum minus the quantized shortcut. A convolution that shares an earlier
//! one's weights keeps their integers and only learns biases.

use std::collections::HashMap;

use nalgebra::DMatrix;
use ndarray::{Array2, Array4, ArrayView4, Axis, s};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use crate::data::{Dataset, Preprocess};
use crate::error::{DataError, EngineError, QuantizeError};
use crate::forward::{BATCH, FloatModel};
use crate::fuse::{Fused, Unit};
use crate::memory::Memory;
use crate::network::{Conv, Network, NodeId, Op};
use crate::program::Layer;
use crate::ranges::{Ranges, energy, weight};
use crate::weights::rounding;
use crate::weights::rounding::{Bits, Means, Moments, Trained};
use crate::weights::{Affine, Learned, Weights, input_scales, smallest_scale};

/// Number of taps up to which rounding is learned, as its cost grows with their cube.
const MOST_TAPS: usize = 2400;

/// What is learned, and from how much data.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether weights are rounded so that the outputs' errors are small, or to the nearest.
    pub rounding: bool,
    /// Whether biases correct the mean error of the outputs.
    pub bias_correction: bool,
    /// Maximum number of images.
    pub images: usize,
    /// Maximum number of outputs per channel that a layer learns from.
    pub samples: usize,
    /// Seed of the choice of these outputs.
    pub seed: u64,
    /// Limit of the bytes of the maps of all images; the samples of a layer may take as many again.
    pub memory: Memory,
    /// Whether every fourth image is held out: the error of the logits is then that of these
    /// images.
    pub hold_out: bool,
}

impl Options {
    fn holds_out(&self, image: usize) -> bool {
        self.hold_out && image % 4 == 3
    }
}

/// The maps of a unit for a batch, `[images, channels, height, width]`.
struct Maps {
    float: Array4<f32>,
    quantized: Array4<f32>,
    /// The map as layers that read int8 see it, if that is different.
    read: Option<Array4<f32>>,
}

impl Maps {
    fn read(&self) -> &Array4<f32> {
        self.read.as_ref().unwrap_or(&self.quantized)
    }
}

/// The maps of the units that are still read, one per batch.
type Live = HashMap<usize, Vec<Maps>>;

/// Learns the weights of a network's convolutions; calls `done` after each unit.
///
/// Also returns the squared error of the logits for each image that was held out, or for all
/// images.
///
/// # Errors
///
/// [`QuantizeError`] says what went wrong.
pub fn learn(
    network: &Network,
    fused: &Fused<'_>,
    ranges: &Ranges,
    preprocess: &Preprocess,
    data: &Dataset,
    options: &Options,
    mut done: impl FnMut(),
) -> Result<(Learned, Vec<f64>), QuantizeError> {
    let float = FloatModel::new(network)?;
    let mut learned = Learned::new();
    let mut layers: Vec<Layer> = Vec::new();
    let mut live = Live::new();
    let last_readers = fused.last_readers();
    let logits = network.logits();
    let mut errors = Vec::new();
    let most = options.memory.0 / fused.live_bytes().max(1);
    let images = data.spread(options.images.min(most.max(1)));
    for (index, unit) in fused.units.iter().enumerate() {
        if index == 0 {
            let batches = images.chunks(BATCH).map(|images| {
                let batch = data.batch(images.iter().copied())?;
                let planes = batch.permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned();
                Ok(Maps { float: planes.clone(), quantized: planes, read: None })
            });
            live.insert(0, batches.collect::<Result<_, DataError>>()?);
            layers.push(fused.layer(unit, &layers, ranges, preprocess, &learned)?);
            done();
            continue;
        }
        let mut quantized = None;
        if let Op::Conv(conv) = &network.nodes[unit.node].op {
            let pixels = (unit.input == 0).then_some(preprocess);
            let input_scales = input_scales(conv.weights.dim().3, &layers[unit.input], pixels);
            let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
            rng.set_stream(index as u64);
            let targets = targets(&float, network, fused, unit, &live)?;
            let inputs: Vec<_> = live[&unit.input].iter().map(Maps::read).collect();
            let bits = fused.bits(unit.node);
            let again = fused.weights_used_again(unit, conv, &layers, &learned);
            let shares = shares(&live[&unit.input]);
            let learner = Learner { options, bits, input_scales: &input_scales, shares: &shares };
            let weights = learner.conv(conv, again, &inputs, &targets, rng);
            let op = Op::Conv(weights.dequantize(conv, &input_scales));
            learned.insert(unit.node, weights);
            let nodes = unit.node..=unit.output;
            quantized = Some(FloatModel::part_with(network, &[(unit.node, op)], nodes)?);
        }
        let layer = fused.layer(unit, &layers, ranges, preprocess, &learned)?;
        let model = quantized.as_ref().unwrap_or(&float);
        let batches = (0..live[&unit.input].len()).map(|batch| {
            let output = float.output(&given(fused, unit, &live, batch, false), unit.output)?;
            let mut quantized =
                model.output(&given(fused, unit, &live, batch, true), unit.output)?;
            let affine = Affine::of(&layer);
            quantized.mapv_inplace(|value| affine.round(value));
            let read = affine.read().map(|read| quantized.mapv(read));
            Ok(Maps { float: output, quantized, read })
        });
        let batches = batches.collect::<Result<Vec<Maps>, EngineError>>()?;
        if unit.output == logits {
            let images = batches
                .iter()
                .flat_map(|maps| maps.float.outer_iter().zip(maps.quantized.outer_iter()));
            errors = images
                .enumerate()
                .filter(|&(image, _)| !options.hold_out || options.holds_out(image))
                .map(|(_, (float, quantized))| {
                    let pairs = float.into_iter().zip(quantized);
                    pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
                })
                .collect();
        }
        live.insert(index, batches);
        layers.push(layer);
        live.retain(|&unit, _| last_readers[unit] > index);
        done();
    }
    Ok((learned, errors))
}

/// The maps that a unit reads, with the nodes whose outputs they are.
fn given<'m>(
    fused: &Fused<'_>,
    unit: &Unit,
    live: &'m Live,
    batch: usize,
    quantized: bool,
) -> Vec<(NodeId, ArrayView4<'m, f32>)> {
    let shortcut = unit.shortcut.map(|(shortcut, _)| shortcut);
    let read = [Some(unit.input), shortcut.filter(|&shortcut| shortcut != unit.input)];
    read.into_iter()
        .flatten()
        .map(|read| {
            let maps = &live[&read][batch];
            let map = match quantized {
                true if read == unit.input && !fused.reads_both(unit) => maps.read(),
                true => &maps.quantized,
                false => &maps.float,
            };
            (fused.units[read].output, map.view())
        })
        .collect()
}

/// The target of a convolution: its output in the float network, and at the end of a block also the
/// error of the quantized shortcut.
fn targets(
    float: &FloatModel,
    network: &Network,
    fused: &Fused<'_>,
    unit: &Unit,
    live: &Live,
) -> Result<Vec<Array4<f32>>, EngineError> {
    let joins =
        |node: &&crate::network::Node| matches!(node.op, Op::Add) && node.inputs[0] == unit.node;
    let operand = network.nodes.iter().find(joins).map(|add| add.inputs[1]);
    (0..live[&unit.input].len())
        .map(|batch| {
            let mut target = float.output(&given(fused, unit, live, batch, false), unit.node)?;
            if let (Some(operand), Some((shortcut, _))) = (operand, unit.shortcut) {
                let maps = &live[&shortcut][batch];
                let mut lacks = &maps.float - &maps.quantized;
                let from = fused.units[shortcut].output;
                if operand != from {
                    // The shortcut is subsampled, which is linear.
                    lacks = float.output(&[(from, lacks.view())], operand)?;
                }
                target += &lacks;
            }
            Ok(target)
        })
        .collect()
}

/// For each image, the share of the usual number of outputs from which a layer that reads these
/// maps learns.
///
/// It is less than one for images of unusually large values, which would otherwise decide on the
/// weights.
fn shares(maps: &[Maps]) -> Vec<f64> {
    let images = maps.iter().flat_map(|maps| maps.float.outer_iter());
    let energies: Vec<f64> = images.map(energy).collect();
    let mean = energies.iter().sum::<f64>() / energies.len() as f64;
    energies.iter().map(|&energy| if energy > 0.0 { weight(energy, mean) } else { 1.0 }).collect()
}

/// Learns the weights of a layer.
struct Learner<'l> {
    options: &'l Options,
    bits: Bits,
    /// Scale and zero point of each input channel.
    input_scales: &'l [(f64, f64)],
    /// For each image, the share of the usual number of outputs from which it learns.
    shares: &'l [f64],
}

impl Learner<'_> {
    /// Learns a convolution in groups, one group at a time.
    fn groups(
        &self,
        conv: &Conv,
        again: Option<Weights>,
        inputs: &[&Array4<f32>],
        targets: &[Array4<f32>],
        rng: &ChaCha8Rng,
    ) -> Weights {
        let (outputs, _, _, depth) = conv.weights.dim();
        let each = outputs / conv.groups;
        let mut learned = Weights { channels: Vec::new(), bias: Vec::new() };
        for group in 0..conv.groups {
            let (made, read) =
                (group * each..(group + 1) * each, group * depth..(group + 1) * depth);
            let part = Conv {
                weights: conv.weights.slice(s![made.clone(), .., .., ..]).to_owned(),
                bias: conv.bias[made.clone()].to_vec(),
                groups: 1,
                ..conv.clone()
            };
            let of = |maps: &Array4<f32>, channels: &std::ops::Range<usize>| {
                maps.slice(s![.., channels.clone(), .., ..]).to_owned()
            };
            let inputs: Vec<_> = inputs.iter().map(|maps| of(maps, &read)).collect();
            let targets: Vec<_> = targets.iter().map(|maps| of(maps, &made)).collect();
            let inputs: Vec<_> = inputs.iter().collect();
            let again = again.as_ref().map(|again| Weights {
                channels: again.channels[made.clone()].to_vec(),
                bias: again.bias[made.clone()].to_vec(),
            });
            let weights = self.conv(&part, again, &inputs, &targets, rng.clone());
            learned.channels.extend(weights.channels);
            learned.bias.extend(weights.bias);
        }
        learned
    }

    /// Learns a convolution from its inputs and targets. If it shares the weights of an earlier
    /// one, given as `again`, only the biases are learned.
    fn conv(
        &self,
        conv: &Conv,
        again: Option<Weights>,
        inputs: &[&Array4<f32>],
        targets: &[Array4<f32>],
        mut rng: ChaCha8Rng,
    ) -> Weights {
        let Self { options, bits, input_scales, shares } = *self;
        if conv.groups > 1 {
            return self.groups(conv, again, inputs, targets, &rng);
        }
        let rounding = options.rounding && again.is_none();
        let nearest = again.unwrap_or_else(|| Weights::nearest(conv, input_scales, bits));
        let all: usize = inputs.iter().map(|batch| batch.len_of(Axis(0))).sum();
        let images = (0..all).filter(|&image| !options.holds_out(image)).count();
        if !(rounding || options.bias_correction) || images < 2 {
            return nearest;
        }
        let (channels, kernel_rows, kernel_columns, depth) = conv.weights.dim();
        let (_, _, height, width) = targets[0].dim();
        let taps = kernel_rows * kernel_columns * depth;
        let samples = options.samples.min(options.memory.0 / (size_of::<f32>() * taps));
        let each = samples.div_ceil(images).min(height * width);
        let factors: Vec<f32> =
            input_scales.iter().map(|&(scale, _)| (1.0 / scale) as f32).collect();
        let mut halves = [0, 1].map(|half| {
            let count = each * ((images + 1 - half) / 2);
            (Array2::zeros((count, taps)), Array2::zeros((count, channels)), 0)
        });
        let all = inputs.iter().zip(targets);
        let all = all.flat_map(|(input, target)| input.outer_iter().zip(target.outer_iter()));
        let seen = all.zip(shares).enumerate().filter(|&(image, _)| !options.holds_out(image));
        for (image, (_, ((input, target), share))) in seen.enumerate() {
            let (x, t, row) = &mut halves[image % 2];
            let count = (each as f64 * share).ceil() as usize;
            for place in sample(&mut rng, height * width, count) {
                let (top, left) = (place / width * conv.stride[0], place % width * conv.stride[1]);
                t.row_mut(*row).assign(&target.slice(s![.., place / width, place % width]));
                let mut taps = x.row_mut(*row).into_iter();
                for ky in 0..kernel_rows {
                    let y = (top + ky).checked_sub(conv.pads[0]);
                    for kx in 0..kernel_columns {
                        let x = (left + kx).checked_sub(conv.pads[1]);
                        for ((i, factor), tap) in factors.iter().enumerate().zip(&mut taps) {
                            // Outside of the map there are zeros.
                            let value = y.zip(x).and_then(|(y, x)| input.get((i, y, x)));
                            *tap = value.map_or(0.0, |value| value * factor);
                        }
                    }
                }
                *row += 1;
            }
        }
        let halves = halves.each_ref().map(|(x, t, rows)| {
            let rows = s![..*rows, ..];
            (x.slice(rows), t.slice(rows))
        });
        let mut weights = nearest;
        if rounding && taps <= MOST_TAPS {
            let trained: Vec<f64> = conv
                .weights
                .iter()
                .zip(input_scales.iter().cycle())
                .map(|(&weight, &(scale, _))| f64::from(weight) * scale)
                .collect();
            let trained = Trained {
                weights: DMatrix::from_column_slice(taps, channels, &trained),
                bias: weights.bias.clone(),
                smallest_scales: weights.bias.iter().map(|&bias| smallest_scale(bias)).collect(),
                free_bias: options.bias_correction,
                bits,
            };
            let [a, b] = halves.map(|(x, t)| Moments::new(x, t));
            weights.channels = rounding::learn([&a, &b], &trained);
        }
        if options.bias_correction {
            let [a, b] = halves.map(|(x, t)| Means::new(x, t));
            let means = a.with(&b);
            for (o, (channel, bias)) in weights.channels.iter().zip(&mut weights.bias).enumerate() {
                *bias = means.bias(o, channel.reals());
            }
        }
        weights
    }
}
