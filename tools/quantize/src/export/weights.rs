//! Exports layers with weights: convolutions, with or without a join, and batch norms.

use crate::proto::AttributeProto;
use brooklet::format::{Operator, flags};

use super::graph::{Dialect, Kind};
use super::layers::{Exporter, Map, pre, shape, spatial};
use crate::onnx::{Data, window};
use crate::program::Layer;

/// Weights of a layer in the form of ONNX.
struct Weights {
    /// `[outputs, inputs, rows, columns]`.
    integers: Vec<i8>,
    dims: [usize; 4],
    /// One scale per output channel.
    scales: Vec<f32>,
    /// The bias without the part of the inputs' zero points.
    bias: Vec<i64>,
}

impl Exporter<'_> {
    /// Adds the sums of a layer in float; returns their name, and whether they have no rows and
    /// columns.
    pub(super) fn weighted(&mut self, layer: &Layer, name: &str, from: &Map) -> (String, bool) {
        let (record, read) = (&layer.record, from.read());
        let pads = record.pads != [0; 4];
        // Padding of an image can have another value in each channel: each then has its own zero
        // point.
        let zeros = layer.padding_values.as_ref().filter(|_| pads);
        let weights = self.weights(layer, read, zeros.map(Vec::as_slice));
        let fully_connected = record.flags & flags::FULLY_CONNECTED != 0 && !pads;
        let input = match zeros {
            Some(zeros) => {
                let padded = format!("{name}.input");
                let scale = (read.scale.scale, &zeros[..]);
                self.graph.dequantized_by_channel(&read.integers, &padded, scale)
            }
            None if fully_connected => {
                let (value, flat) = (read.value.clone(), read.flat);
                self.flattened(&value, flat, name)
            }
            None => self.spatial(&read.clone(), name),
        };
        let dims = match fully_connected {
            true => vec![weights.dims[0], weights.dims[1..].iter().product()],
            false => weights.dims.to_vec(),
        };
        // ONNX has integers of four bits, but none of five or six.
        let halves = self.graph.dialect == Dialect::File
            && record.operator().has_packing()
            && record.packing().bits() <= 4;
        let data = match halves {
            true => Data::Int4(&weights.integers),
            false => Data::Int8(&weights.integers),
        };
        let kernel = self.graph.scaled(&format!("{name}.weight"), &dims, data, &weights.scales);
        let units: Vec<f32> =
            weights.scales.iter().map(|&scale| scale * read.scale.scale).collect();
        let bias = format!("{name}.bias");
        let whole: Option<Vec<i32>> =
            weights.bias.iter().map(|&bias| i32::try_from(bias).ok()).collect();
        let count = [units.len()];
        let bias = match whole {
            Some(whole) => self.graph.scaled(&bias, &count, Data::Int32(&whole), &units),
            None => {
                let reals = weights.bias.iter().zip(&units);
                let reals: Vec<f32> = reals.map(|(&bias, unit)| bias as f32 * unit).collect();
                self.graph.constant(&bias, &count, Data::Floats(&reals))
            }
        };
        let inputs = [&input, &kernel, &bias].map(String::as_str);
        let sums = if fully_connected {
            let transposed = vec![AttributeProto::int("transB", 1)];
            self.graph.node("Gemm", &inputs, &pre(name), transposed)
        } else {
            let mut attributes = match record.operator() {
                Operator::BatchNorm => window([1, 1], [1, 1], [0; 4]),
                _ => spatial(record),
            };
            let [.., channels] =
                shape(&self.program.layers[usize::from(record.input.get())].record);
            let groups = channels / weights.dims[1];
            attributes.push(AttributeProto::int("group", groups as i64));
            self.graph.node("Conv", &inputs, &pre(name), attributes)
        };
        if record.shortcut().is_none() {
            return (sums, fully_connected);
        }
        let shortcut = self.shortcut(record, name, fully_connected);
        let sum = self.graph.node("Add", &[&sums, &shortcut], &format!("{name}.sum"), vec![]);
        (sum, fully_connected)
    }

    fn weights(&self, layer: &Layer, read: &Map, zeros: Option<&[i8]>) -> Weights {
        let record = &layer.record;
        let outputs = layer.bias.len();
        let [rows, columns] = match record.operator() {
            Operator::BatchNorm => [1, 1],
            _ => record.kernel.map(usize::from),
        };
        let taps = layer.weights.len() / outputs;
        let inputs = taps / (rows * columns);
        let scale = f64::from(record.scale.get());
        // The multipliers include the extra bits of a stream and of a join.
        let unit = f64::from(1u32 << record.join_bits) * f64::from(read.scale.scale) / scale;
        let mut weights = Weights {
            integers: Vec::with_capacity(layer.weights.len()),
            dims: [outputs, inputs, rows, columns],
            scales: Vec::with_capacity(outputs),
            bias: Vec::with_capacity(outputs),
        };
        let channels = layer.weights.chunks(taps).zip(&layer.bias).zip(&layer.multipliers);
        for (channel, ((taps, &bias), multiplier)) in channels.enumerate() {
            let mantissa = f64::from(multiplier.mantissa.to_bits()) / f64::from(1u32 << 31);
            let factor = mantissa * f64::from(multiplier.shift).exp2();
            if factor == 0.0 {
                // The channel is always 0, and ONNX has no scale for that.
                weights.integers.extend(vec![0; taps.len()]);
                weights.scales.push(1.0);
                weights.bias.push(0);
                continue;
            }
            let by_input = |input: usize| taps.iter().skip(input).step_by(inputs).copied();
            weights.integers.extend((0..inputs).flat_map(by_input));
            weights.scales.push((factor / unit) as f32);
            let zero = |input: usize| match (read.scale.kind, zeros) {
                (Kind::Int16, _) => 0,
                (Kind::Int8, None) => i64::from(read.scale.zero),
                (Kind::Int8, Some(zeros)) => {
                    // Each group reads channels of its own.
                    let group = channel * (zeros.len() / inputs) / outputs;
                    i64::from(zeros[group * inputs + input])
                }
            };
            let offset = taps.iter().enumerate().map(|(tap, &w)| i64::from(w) * zero(tap % inputs));
            weights.bias.push(i64::from(bias) + offset.sum::<i64>());
        }
        weights
    }
}
