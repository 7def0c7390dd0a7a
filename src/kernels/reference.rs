//! The definition of every operator, naive and frozen.
//!
//! ```text
//! for each column x, for each output channel o:
//!     acc = bias[o]
//!     for each kernel row, kernel column, input channel:
//!         acc += weight · (input, or padding outside of it)
//!     output[x, o] = finish(acc)
//! ```
//!
//! Other backends are tested against these loops with `==`. The loops change only with the
//! arithmetic itself.

use super::{Backend, Isa};
use crate::ops::add::Add;
use crate::ops::average_pool::AveragePool;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::Conv;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::lookup::Lookup;
use crate::ops::max_pool::MaxPool;
use crate::ops::multiply::Multiply;
use crate::ops::softmax::Softmax;
use crate::ops::window_average::WindowAverage;
use crate::ops::{Outputs, Rows, Shortcut, Shortcuts};

/// The backend that defines the others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl Backend for Reference {
    const ISA: &'static Isa = &Isa::REFERENCE;

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        _: &mut [u8],
        output: &mut [i8],
    ) {
        let window = &conv.window;
        let inputs = window.input.channels as usize;
        if output.is_empty() {
            return;
        }
        for x in 0..window.output.columns as usize {
            for o in 0..window.output.channels as usize {
                let mut acc = conv.bias(o);
                for (ky, row) in rows.iter().take(window.kernel[0]).enumerate() {
                    for kx in 0..window.kernel[1] {
                        let column = (x * window.stride[1] + kx).checked_sub(window.pad_left);
                        for i in 0..inputs {
                            let value = column
                                .filter(|&column| column < window.input.columns as usize)
                                .and_then(|column| row.get(column * inputs + i).copied())
                                .unwrap_or(conv.padding.at(i));
                            let tap = kx * inputs + i;
                            acc += i32::from(conv.weight(o, ky, tap)) * i32::from(value);
                        }
                    }
                }
                conv.put(acc, conv.multiplier(o), shortcut, x, o, output);
            }
        }
    }

    fn multiply(
        &self,
        multiply: &Multiply,
        input: &[i8],
        shortcut: &Shortcut<'_>,
        output: &mut [i8],
    ) {
        self::multiply(multiply, input, shortcut, output);
    }

    fn depthwise_conv(&self, conv: &DepthwiseConv<'_>, rows: &Rows<'_>, output: &mut [i8]) {
        let outputs = usize::from(conv.window.output.channels).max(1);
        for (x, pixel) in output.chunks_exact_mut(outputs).enumerate() {
            for (o, out) in pixel.iter_mut().enumerate() {
                let mut acc = conv.bias(o);
                for (ky, row) in rows.iter().take(conv.window.kernel[0]).enumerate() {
                    for kx in 0..conv.window.kernel[1] {
                        let value = conv.value(row, x, kx, o / conv.outputs_an_input());
                        acc += i32::from(conv.weight(o, ky, kx)) * i32::from(value);
                    }
                }
                *out = conv.output(acc, o);
            }
        }
    }
}

/// See [`Backend::conv_rows`].
pub fn conv_rows(
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &Shortcuts<'_>,
    outputs: &mut Outputs<'_>,
) {
    for (r, (output, shortcut)) in outputs.iter_mut().zip(shortcuts).enumerate() {
        let under = rows.get(r * conv.window.stride[0]..).unwrap_or(&[]);
        Reference.conv(conv, under, shortcut, &mut [], output);
    }
}

/// See [`Backend::add`].
pub fn add(add: &Add<'_>, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
    let channels = (add.shape.channels as usize).max(1);
    let mut inputs = input.iter();
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        for (c, (out, &input)) in pixel.iter_mut().zip(inputs.by_ref()).enumerate() {
            *out = add.output(input, shortcut, x, c, *out);
        }
    }
}

/// See [`Backend::max_pool`].
pub fn max_pool(pool: &MaxPool, rows: &Rows<'_>, output: &mut [i8]) {
    let window = &pool.window;
    let channels = (window.output.channels as usize).max(1);
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let (columns, first) = window.columns_on_input(x);
        for (c, out) in pixel.iter_mut().enumerate() {
            let mut max = i8::MIN;
            for row in rows.iter().take(window.kernel[0]) {
                for column in first..first + columns.len() {
                    max = max.max(row.get(column * channels + c).copied().unwrap_or(i8::MIN));
                }
            }
            *out = pool.clamp.apply(i32::from(max));
        }
    }
}

/// See [`Backend::sum_row`].
pub fn sum_row(first: bool, row: &[i8], sums: &mut [i32]) {
    if first {
        sums.fill(0);
    }
    for pixel in row.chunks_exact(sums.len().max(1)) {
        // Four at a time take half of the instructions.
        let ((fours, rest), (values, last)) = (sums.as_chunks_mut::<4>(), pixel.as_chunks::<4>());
        for ([a, b, c, d], &[e, f, g, h]) in fours.iter_mut().zip(values) {
            *a += i32::from(e);
            *b += i32::from(f);
            *c += i32::from(g);
            *d += i32::from(h);
        }
        for (sum, &value) in rest.iter_mut().zip(last) {
            *sum += i32::from(value);
        }
    }
}

/// See [`Backend::average`].
pub fn average(pool: &AveragePool, sums: &[i32], output: &mut [i8]) {
    for (out, &sum) in output.iter_mut().zip(sums) {
        *out = pool.output(sum);
    }
}

/// See [`Backend::batch_norm`].
pub fn batch_norm(norm: &BatchNorm<'_>, input: &[i8], output: &mut [i8]) {
    let channels = (norm.shape.channels as usize).max(1);
    let mut inputs = input.iter();
    for pixel in output.chunks_exact_mut(channels) {
        for (c, (out, &input)) in pixel.iter_mut().zip(inputs.by_ref()).enumerate() {
            *out = norm.output(input, c);
        }
    }
}

/// See [`Backend::lookup`].
pub fn lookup(lookup: &Lookup<'_>, input: &[i8], output: &mut [i8]) {
    if lookup.numbers.is_empty() {
        let table = lookup.table(0);
        output.iter_mut().zip(input).for_each(|(out, &input)| *out = Lookup::output(table, input));
        return;
    }
    let channels = usize::from(lookup.shape.channels).max(1);
    let mut inputs = input.iter();
    for pixel in output.chunks_exact_mut(channels) {
        for (c, (out, &input)) in pixel.iter_mut().zip(inputs.by_ref()).enumerate() {
            *out = Lookup::output(lookup.table(c), input);
        }
    }
}

/// See [`Backend::multiply`].
pub fn multiply(multiply: &Multiply, input: &[i8], shortcut: &Shortcut<'_>, output: &mut [i8]) {
    let channels = usize::from(multiply.shape.channels).max(1);
    let mut inputs = input.iter();
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        for (c, (out, &input)) in pixel.iter_mut().zip(inputs.by_ref()).enumerate() {
            *out = multiply.output(input, shortcut, x, c, *out);
        }
    }
}

/// See [`Backend::window_average`].
pub fn window_average(pool: &WindowAverage, rows: &Rows<'_>, output: &mut [i8]) {
    let window = &pool.window;
    let channels = usize::from(window.output.channels).max(1);
    let on_input = rows.iter().take(window.kernel[0]).filter(|row| !row.is_empty());
    for (x, pixel) in output.chunks_exact_mut(channels).enumerate() {
        let (columns, first) = window.columns_on_input(x);
        let pixels = on_input.clone().count() * columns.len();
        for (c, out) in pixel.iter_mut().enumerate() {
            let mut sum = 0;
            for row in on_input.clone() {
                for column in first..first + columns.len() {
                    sum += row.get(column * channels + c).map_or(0, |&value| i32::from(value));
                }
            }
            *out = pool.output(sum, pixels as u32);
        }
    }
}

/// See [`Backend::softmax`].
pub fn softmax(softmax: &Softmax, input: &[i8], output: &mut [i8]) {
    softmax.run(input, output);
}
