//! An interpreter for whole tensors, layer by layer: it knows nothing about rows, places, packings
//! or files.

use brooklet::format::{Operator, flags};
use brooklet::ops::softmax::Softmax;
use brooklet::quant::{Multiplier, requantize, rounding_divide};
use brooklet_plan::program::{Program, Table};

/// A sum times a multiplier, rounded once, half up, with as many bits as needed.
fn rounded_once(value: i64, multiplier: Multiplier) -> i64 {
    let product = i128::from(value) * i128::from(multiplier.mantissa.to_bits());
    let bits = 31 - i32::from(multiplier.shift);
    ((product + (1 << (bits - 1))) >> bits) as i64
}

/// A value of a 16-bit stream as layers read it in int8.
fn rounded(u: i16) -> i16 {
    (i32::from(u) + 256 * 128).div_euclid(256) as i16 - 128
}

/// All tensors of the network for an image, as a whole.
pub(crate) fn interpret(program: &Program, image: &[u8]) -> Vec<Vec<i16>> {
    let mut tensors: Vec<Vec<i16>> = Vec::new();
    for layer in &program.layers {
        let record = &layer.record;
        let shape = record.shape();
        let from = &program.layers[record.input.get() as usize].record;
        let input = tensors.get(record.input.get() as usize);
        let at = |y: i64, x: i64, c: usize| -> Option<i16> {
            let (rows, columns) = (i64::from(from.rows.get()), i64::from(from.columns.get()));
            let inside = (0..rows).contains(&y) && (0..columns).contains(&x);
            let index = (y * columns + x) * i64::from(from.channels.get()) + c as i64;
            let number = |index: i64| match input.unwrap()[index as usize] {
                u if from.is_stream16() => rounded(u),
                number => number,
            };
            inside.then(|| number(index))
        };
        let stream16 = record.flags & flags::STREAM16 != 0;
        let shortcut = |y: usize, x: usize, c: usize| -> i16 {
            let of = record.shortcut().unwrap();
            let operand = &program.layers[of].record;
            let (shape, stride) = (operand.shape(), usize::from(record.shortcut_stride));
            let channel = c.checked_sub(usize::from(record.shortcut_channels_before.get()));
            match channel.filter(|&c| c < usize::from(shape.channels)) {
                Some(c) => {
                    let pixel = y * stride * usize::from(shape.columns) + x * stride;
                    let number = tensors[of][pixel * usize::from(shape.channels) + c];
                    match (stream16, operand.is_stream16()) {
                        (false, true) => rounded(number),
                        (true, false) => 256 * number + 128,
                        _ => number,
                    }
                }
                None if stream16 => 256 * i16::from(operand.zero_point) + 128,
                None => operand.zero_point.into(),
            }
        };
        let (min, max) = (i64::from(record.clamp_min), i64::from(record.clamp_max));
        let int16 = record.flags & flags::INT16 != 0;
        let wide = record.flags & flags::HAS_INT16 != 0;
        let (min, max) = if int16 { (256 * min, 256 * max + 255) } else { (min, max) };
        let clamp64 = |value: i64| value.clamp(min, max) as i16;
        let clamp = |value: i32| clamp64(value.into());
        // The end of a layer that reads or makes int16: an optional shortcut, and rounding.
        let finish = |acc: i64, multiplier: Multiplier, y: usize, x: usize, c: usize| -> i16 {
            let mut sum = rounded_once(acc, multiplier);
            if let Some(of) = record.shortcut() {
                let zero = i64::from(program.layers[of].record.zero_point);
                sum += rounded_once(i64::from(shortcut(y, x, c)) - zero, record.multiplier(0));
                let steps = i64::from(1u32 << record.join_bits);
                sum = (sum + steps / 2).div_euclid(steps);
            }
            clamp64(sum + i64::from(record.zero_point))
        };
        let mut output = Vec::with_capacity(shape.bytes());
        for y in 0..usize::from(shape.rows) {
            for x in 0..usize::from(shape.columns) {
                for c in 0..usize::from(shape.channels) {
                    let pixel = || y * usize::from(shape.columns) + x;
                    output.push(match record.operator() {
                        Operator::Input => {
                            let byte = image[pixel() * usize::from(shape.channels) + c];
                            match &layer.table {
                                Some(Table::Bytes(t)) => t[256 * c + usize::from(byte)].into(),
                                _ => i16::from(byte) - 128,
                            }
                        }
                        Operator::Conv | Operator::GroupedConv | Operator::DepthwiseConv => {
                            let mut acc = i64::from(layer.bias[c]);
                            let all = usize::from(from.channels.get());
                            let channels = usize::from(shape.channels);
                            let inputs = layer.weights.len()
                                / channels
                                / record.kernel.map(usize::from).iter().product::<usize>();
                            // The first input channel of the output channel's group.
                            let first = c / (channels * inputs / all) * inputs;
                            let [kh, kw] = record.kernel.map(usize::from);
                            for ky in 0..kh {
                                for kx in 0..kw {
                                    for i in 0..inputs {
                                        let yy = (y * usize::from(record.stride[0]) + ky) as i64
                                            - i64::from(record.pads[0]);
                                        let xx = (x * usize::from(record.stride[1]) + kx) as i64
                                            - i64::from(record.pads[1]);
                                        let outside = layer
                                            .padding_values
                                            .as_ref()
                                            .map_or(from.zero_point, |values| values[first + i]);
                                        let value = at(yy, xx, first + i).unwrap_or(outside.into());
                                        let tap = ((c * kh + ky) * kw + kx) * inputs + i;
                                        acc += i64::from(layer.weights[tap]) * i64::from(value);
                                    }
                                }
                            }
                            if wide {
                                output.push(finish(acc, layer.multipliers[c], y, x, c));
                                continue;
                            }
                            let value = requantize(acc as i32, layer.multipliers[c]);
                            if stream16 {
                                let [factor, offset, _] = record.multiplier_mantissas;
                                let [factor, offset] = [factor, offset].map(|m| i64::from(m.get()));
                                let u =
                                    if record.shortcut().is_some() { shortcut(y, x, c) } else { 0 };
                                let term = (i64::from(u) * factor).div_euclid(1 << 10) + offset;
                                let s = (i64::from(value) + term).div_euclid(16);
                                output.push((s.clamp(256 * min, 256 * max + 127) + 128) as i16);
                                continue;
                            }
                            match &layer.table {
                                Some(Table::Terms(table)) => {
                                    let q = i32::from(shortcut(y, x, c)) + 128;
                                    clamp((value + table[q as usize]) >> record.join_bits)
                                }
                                _ => clamp(value + i32::from(record.zero_point)),
                            }
                        }
                        Operator::Add if wide => {
                            let value = i64::from(at(y as i64, x as i64, c).unwrap());
                            let centred = value - i64::from(from.zero_point);
                            finish(centred, record.multiplier(1), y, x, c)
                        }
                        Operator::Add => {
                            let Some(Table::Terms(terms)) = &layer.table else { panic!() };
                            let a = i32::from(at(y as i64, x as i64, c).unwrap()) + 128;
                            let b = i32::from(shortcut(y, x, c)) + 256 + 128;
                            let sum = terms[a as usize] + terms[b as usize];
                            let zero_point = i32::from(record.zero_point);
                            clamp(requantize(sum, record.multiplier(0)) + zero_point)
                        }
                        Operator::Lookup => {
                            let Some(Table::Bytes(tables)) = &layer.table else { panic!() };
                            let number = layer.weights.get(c).map_or(0, |&n| n as u8);
                            // A row may be divided otherwise.
                            let place = x * usize::from(shape.channels) + c;
                            let channels = usize::from(from.channels.get());
                            let (x, c) = (place / channels, place % channels);
                            let q = i32::from(at(y as i64, x as i64, c).unwrap()) + 128;
                            tables[256 * usize::from(number) + q as usize].into()
                        }
                        Operator::Multiply => {
                            let operand = &program.layers[record.shortcut().unwrap()].record;
                            let a = i32::from(at(y as i64, x as i64, c).unwrap());
                            let a = a - i32::from(from.zero_point);
                            let b = i32::from(shortcut(y, x, c)) - i32::from(operand.zero_point);
                            let value = requantize(a * b, record.multiplier(0));
                            clamp(value + i32::from(record.zero_point))
                        }
                        Operator::Concat => {
                            let Some(Table::Bytes(tables)) = &layer.table else { panic!() };
                            let (value, table) = match c < usize::from(from.channels.get()) {
                                true => (at(y as i64, x as i64, c).unwrap(), 0),
                                false => (shortcut(y, x, c), 256),
                            };
                            tables[(i32::from(value) + 128 + table) as usize].into()
                        }
                        Operator::Border => {
                            let [mode, top, ..] = record.parameter.get().to_le_bytes();
                            let inside = |i: i64, n: i64| match mode {
                                0 if i < 0 => -i,
                                0 if i >= n => 2 * (n - 1) - i,
                                _ => i.clamp(0, n - 1),
                            };
                            let (rows, columns) = (from.rows.get(), from.columns.get());
                            let yy = inside(y as i64 - i64::from(top), rows.into());
                            let xx = inside(x as i64 - i64::from(record.pads[1]), columns.into());
                            at(yy, xx, c).unwrap()
                        }
                        Operator::WindowAverage => {
                            let [top, left, ..] = record.pads.map(i64::from);
                            let [sy, sx] = record.stride.map(i64::from);
                            let [kh, kw] = record.kernel.map(i64::from);
                            let window = (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx)));
                            let values: Vec<i32> = window
                                .filter_map(|(ky, kx)| {
                                    at(y as i64 * sy + ky - top, x as i64 * sx + kx - left, c)
                                })
                                .map(i32::from)
                                .collect();
                            let (n, divisor) = (values.len() as i32, record.parameter.get());
                            let zeros = (divisor - n).max(0) * i32::from(from.zero_point);
                            let sum: i32 = values.iter().sum();
                            match divisor {
                                0 => clamp(rounding_divide(sum, n as u32)),
                                _ => clamp(rounding_divide(sum + zeros, divisor as u32)),
                            }
                        }
                        Operator::MaxPool => {
                            let [top, left, ..] = record.pads.map(i64::from);
                            let window = (0..i64::from(record.kernel[0])).flat_map(|ky| {
                                (0..i64::from(record.kernel[1])).map(move |kx| (ky, kx))
                            });
                            let [sy, sx] = record.stride.map(i64::from);
                            let values = window.filter_map(|(ky, kx)| {
                                at(y as i64 * sy + ky - top, x as i64 * sx + kx - left, c)
                            });
                            clamp(i32::from(values.max().unwrap()))
                        }
                        Operator::AveragePool => {
                            let channels = usize::from(shape.channels);
                            let values = input.unwrap().iter().skip(c).step_by(channels);
                            let both = from.is_stream16() && !wide;
                            let value = |&q: &i16| match q {
                                q if from.is_stream16() && wide => rounded(q).into(),
                                q => i32::from(q),
                            };
                            let zero = match both {
                                true => 256 * i32::from(from.zero_point) + 128,
                                false => from.zero_point.into(),
                            };
                            let sum: i32 = values.clone().map(value).sum();
                            let n = values.count() as i32;
                            let multiplier = record.multiplier(0);
                            if wide {
                                let zeros = n * zero;
                                output.push(finish(i64::from(sum - zeros), multiplier, y, x, c));
                                continue;
                            }
                            if multiplier.mantissa.to_bits() == 0 {
                                clamp(rounding_divide(sum, n as u32))
                            } else {
                                let centred = sum - n * zero;
                                clamp(
                                    requantize(centred, multiplier) + i32::from(record.zero_point),
                                )
                            }
                        }
                        Operator::BatchNorm => {
                            let value = i32::from(at(y as i64, x as i64, c).unwrap());
                            let acc = layer.bias[c] + i32::from(layer.weights[c]) * value;
                            if wide {
                                output.push(finish(acc.into(), layer.multipliers[c], y, x, c));
                                continue;
                            }
                            let value = requantize(acc, layer.multipliers[c]);
                            clamp(value + i32::from(record.zero_point))
                        }
                        Operator::Softmax => {
                            let softmax = Softmax {
                                multiplier: record.multiplier(0),
                                diff_min: record.parameter.get(),
                            };
                            let mut values = vec![0; usize::from(shape.channels)];
                            let numbers = (0..usize::from(shape.channels))
                                .map(|c| at(y as i64, x as i64, c).unwrap().into());
                            softmax.run_on(numbers, &mut values);
                            values[c].into()
                        }
                    });
                }
            }
        }
        tensors.push(output);
    }
    // Scores are relative to their zero.
    let layers = program.layers.iter().zip(program.last_readers());
    for (tensor, (layer, last)) in tensors.iter_mut().zip(layers) {
        if last == brooklet::format::NONE && layer.record.is_stream16() {
            tensor.iter_mut().for_each(|u| *u -= 128);
        }
    }
    tensors
}
