//! Cases for the operators that not every network has.

use brooklet::Shape;
use brooklet::format::{Packing, WEIGHTS_ALIGN};
use brooklet::kernels::{Backend, Reference};
use brooklet::ops::conv::{Conv, Finish, Padding};
use brooklet::ops::depthwise_conv::DepthwiseConv;
use brooklet::ops::grouped_conv::GroupedConv;
use brooklet::ops::lookup::Lookup;
use brooklet::ops::multiply::Multiply;
use brooklet::ops::window_average::WindowAverage;
use brooklet::ops::{MAX_KERNEL, Shortcut, Window};
use brooklet::quant::Clamp;
use zerocopy::little_endian::I32;

use crate::name::Name;
use crate::{Difference, Generator, Memory, Values, difference, multiplier};

/// Runs a case of these operators; `None` for others.
pub(crate) fn run(
    backend: &impl Backend,
    memory: &mut Memory,
    name: Name,
    g: &mut Generator,
) -> Option<Difference> {
    match name {
        Name::DepthwiseConv(window, values) => depthwise_conv(backend, memory, &window, values, g),
        Name::GroupedConv(window, packing) => grouped_conv(backend, memory, &window, packing, g),
        Name::WindowAverage(window) => window_average(backend, memory, &window, g),
        Name::Lookup(shape) => lookup(backend, memory, shape, g),
        Name::Multiply(shape) => multiply(backend, memory, shape, g),
        _ => None,
    }
}

/// Fills the input's rows. Returns how many of them, and whether at the top or at the bottom, lie
/// on padding.
fn fill(memory: &mut Memory, window: &Window, values: Values, g: &mut Generator) -> (usize, bool) {
    for row in &mut memory.rows[..window.kernel[0]] {
        for value in &mut row[..window.input.row_bytes()] {
            *value = values.activation(g);
        }
    }
    (g.below(window.kernel[0] as u32) as usize, g.below(2) == 0)
}

fn under<'a>(
    memory: &'a [[i8; crate::ROW]],
    window: &Window,
    (padded, top): (usize, bool),
) -> [&'a [i8]; MAX_KERNEL] {
    let mut rows: [&[i8]; MAX_KERNEL] = [&[]; MAX_KERNEL];
    let count = window.kernel[0];
    for (y, (slot, row)) in rows.iter_mut().zip(memory).take(count).enumerate() {
        let on_padding = if top { y < padded } else { y >= count - padded };
        if !on_padding {
            *slot = &row[..window.input.row_bytes()];
        }
    }
    rows
}

/// Parameters of the output channels.
fn channels(memory: &mut Memory, outputs: usize, taps: usize, g: &mut Generator) {
    let bits = (taps as u32 * 127 * 128).ilog2() as i32;
    for channel in 0..outputs {
        memory.bias.0[channel] = I32::new(g.next() as i32 >> 12);
        memory.mantissas.0[channel] = I32::new((g.next() >> 2 | 1 << 30) as i32);
        memory.shifts[channel] = match g.below(4) {
            0 => -31,
            1 => (30 - bits).clamp(0, 3) as i8,
            _ => -((bits - 8).max(0) as i8) + g.below(3) as i8 - 1,
        };
    }
}

fn depthwise_conv(
    backend: &impl Backend,
    memory: &mut Memory,
    window: &Window,
    values: Values,
    g: &mut Generator,
) -> Option<Difference> {
    // Sometimes two output channels for each input channel.
    let times = 1 + u16::from(g.below(4) == 0 && window.output.channels < 20);
    let output = Shape { channels: times * window.output.channels, ..window.output };
    let window = Window { output, ..*window };
    let (outputs, taps) = (usize::from(output.channels), window.kernel[0] * window.kernel[1]);
    memory.packed.0[..taps * outputs].fill_with(|| values.weight(g));
    channels(memory, outputs, taps, g);
    let padded = fill(memory, &window, values, g);
    let padding_values: [i8; 3] = core::array::from_fn(|_| g.int8());
    let zero = values.activation(g);
    let conv = DepthwiseConv {
        window,
        weights: &memory.packed.0[..taps * outputs],
        bias: &memory.bias.0[..outputs],
        mantissas: &memory.mantissas.0[..outputs],
        shifts: &memory.shifts[..outputs],
        padding: match window.input.channels {
            3 => Padding::PerChannel(&padding_values),
            _ => Padding::Same(zero),
        },
        zero_point: i32::from(zero),
        clamp: [Clamp::FULL, Clamp { min: zero.min(100), max: 101 }][g.below(2) as usize],
    };
    let rows = under(&memory.rows, &window, padded);
    let rows = &rows[..window.kernel[0]];
    let length = output.row_bytes();
    Reference.depthwise_conv(&conv, rows, &mut memory.expected[0][..length]);
    backend.depthwise_conv(&conv, rows, &mut memory.outputs[0][..length]);
    difference(&memory.expected[0][..length], &memory.outputs[0][..length])
}

fn grouped_conv(
    backend: &impl Backend,
    memory: &mut Memory,
    window: &Window,
    packing: Packing,
    g: &mut Generator,
) -> Option<Difference> {
    let groups = 3;
    let (inputs, outputs) =
        (usize::from(window.input.channels) / groups, usize::from(window.output.channels) / groups);
    let kernel = [window.kernel[0], window.kernel[1] * inputs];
    let bytes = packing.bytes(outputs, kernel);
    let distance = bytes.next_multiple_of(WEIGHTS_ALIGN);
    memory.packed.0[..groups * distance].fill(0);
    for group in 0..groups {
        let packed = &mut memory.packed.0[group * distance..][..bytes];
        for channel in 0..outputs {
            for tap in 0..kernel[0] * kernel[1] {
                let weight = Values::Any.weight(g) >> (8 - packing.bits());
                packing.put(packed, channel, tap / kernel[1], tap % kernel[1], kernel, weight);
            }
        }
    }
    channels(memory, groups * outputs, kernel[0] * kernel[1], g);
    let padded = fill(memory, window, Values::Any, g);
    let zero = g.int8();
    let conv = Conv {
        window: *window,
        packing,
        weights: &memory.packed.0[..groups * distance],
        bias: &memory.bias.0[..groups * outputs],
        mantissas: &memory.mantissas.0[..groups * outputs],
        shifts: &memory.shifts[..groups * outputs],
        padding: Padding::Same(zero),
        finish: Finish::Requantize { zero_point: i32::from(zero) },
        clamp: Clamp::FULL,
    };
    let conv = GroupedConv::of(conv, groups);
    let rows = under(&memory.rows, window, padded);
    let rows = &rows[..window.kernel[0]];
    let length = window.output.row_bytes();
    let scratch = &mut memory.scratch.0[..conv.scratch_bytes()];
    conv.run(&Reference, rows, scratch, &mut memory.expected[0][..length]);
    conv.run(backend, rows, scratch, &mut memory.outputs[0][..length]);
    difference(&memory.expected[0][..length], &memory.outputs[0][..length])
}

fn window_average(
    backend: &impl Backend,
    memory: &mut Memory,
    window: &Window,
    g: &mut Generator,
) -> Option<Difference> {
    let padded = fill(memory, window, Values::Any, g);
    let rows = under(&memory.rows, window, padded);
    let rows = &rows[..window.kernel[0]];
    let pixels = (window.kernel[0] * window.kernel[1]) as u32;
    let pool = WindowAverage {
        window: *window,
        divisor: [0, pixels][g.below(2) as usize],
        zero_point: i32::from(g.int8()),
        clamp: Clamp { min: -120, max: 127 },
    };
    let length = window.output.row_bytes();
    Reference.window_average(&pool, rows, &mut memory.expected[0][..length]);
    backend.window_average(&pool, rows, &mut memory.outputs[0][..length]);
    difference(&memory.expected[0][..length], &memory.outputs[0][..length])
}

fn lookup(
    backend: &impl Backend,
    memory: &mut Memory,
    shape: Shape,
    g: &mut Generator,
) -> Option<Difference> {
    let channels = usize::from(shape.channels);
    memory.packed.0[..512].fill_with(|| g.int8());
    let mut numbers = [0u8; 64];
    numbers.fill_with(|| g.below(2) as u8);
    let (tables, _) = memory.packed.0[..512].as_chunks();
    let lookup =
        Lookup { shape, tables, numbers: if g.below(2) == 0 { &numbers[..channels] } else { &[] } };
    let length = shape.row_bytes();
    memory.rows[0][..length].fill_with(|| g.int8());
    let input = &memory.rows[0][..length];
    Reference.lookup(&lookup, input, &mut memory.expected[0][..length]);
    backend.lookup(&lookup, input, &mut memory.outputs[0][..length]);
    difference(&memory.expected[0][..length], &memory.outputs[0][..length])
}

fn multiply(
    backend: &impl Backend,
    memory: &mut Memory,
    shape: Shape,
    g: &mut Generator,
) -> Option<Difference> {
    let channels = usize::from(shape.channels);
    let multiply = Multiply {
        shape,
        zero_points: core::array::from_fn(|_| i32::from(g.int8())),
        multiplier: multiplier(g, -12..-4),
        clamp: [Clamp::FULL, Clamp { min: g.int8().min(0), max: 127 }][g.below(2) as usize],
    };
    let length = shape.row_bytes();
    memory.rows[0][..length].fill_with(|| g.int8());
    memory.shortcuts[0][..length].fill_with(|| g.int8());
    [0, 1, 2].into_iter().find_map(|operand| {
        // In place, a row, and one pixel.
        let (row, stride) = match operand {
            1 => (&memory.shortcuts[0][..length], 1),
            _ => (&memory.shortcuts[0][..channels], 0),
        };
        let shortcut = match operand {
            0 => Shortcut::InPlace,
            _ => Shortcut::Row { row, channels, stride, before: 0, zero: 0, lower: &[] },
        };
        for output in [&mut memory.expected[0], &mut memory.outputs[0]] {
            output[..length].copy_from_slice(&memory.shortcuts[0][..length]);
        }
        let input = &memory.rows[0][..length];
        Reference.multiply(&multiply, input, &shortcut, &mut memory.expected[0][..length]);
        backend.multiply(&multiply, input, &shortcut, &mut memory.outputs[0][..length]);
        difference(&memory.expected[0][..length], &memory.outputs[0][..length])
    })
}
