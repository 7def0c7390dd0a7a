//! Random small networks of other families, with groups, gates, concatenations, averages, and
//! several outputs.

use brooklet::Shape;
use brooklet::format::{Operator, flags};
use brooklet::quant::Multiplier;
use brooklet_plan::program::{Program, Table};
use brooklet_plan::records::{set_border, set_lookup};
use zerocopy::little_endian::{I32, U16};

use super::{Builder, Generator};

/// Kernel, stride and pads of a window, the same on both axes except for the last pad.
struct Window {
    kernel: u8,
    stride: u8,
    pads: [u8; 4],
}

impl Window {
    fn any(g: &mut Generator, shape: Shape) -> Self {
        let smallest = shape.rows.min(shape.columns).min(5) as u64;
        let kernel = 1 + g.below(smallest) as u8;
        let stride = if shape.rows > 4 && g.below(3) == 0 { 2 } else { 1 };
        let pads = std::array::from_fn(|_| g.below(u64::from(kernel)) as u8);
        Self { kernel, stride, pads }
    }

    fn output(&self, from: Shape, channels: u16) -> Shape {
        let axis = |length: u16, before: u8, after: u8| {
            let padded = length + u16::from(before) + u16::from(after);
            (padded - u16::from(self.kernel)) / u16::from(self.stride) + 1
        };
        let [top, left, bottom, right] = self.pads;
        Shape::new(axis(from.rows, top, bottom), axis(from.columns, left, right), channels)
    }
}

impl Builder {
    /// A convolution whose output channels each read `reads` input channels.
    fn part_conv(&mut self, operator: Operator, input: usize, outputs: u16, reads: u16) -> usize {
        let from = self.shape(input);
        let window = Window::any(&mut self.g, from);
        let g = &mut self.g;
        let taps = usize::from(window.kernel).pow(2) * usize::from(reads);
        let count = taps * usize::from(outputs);
        let weights: Vec<i8> = (0..count).map(|_| g.int8().max(-127)).collect();
        let bias = (0..outputs).map(|_| g.below(4001) as i32 - 2000).collect();
        let multipliers = (0..outputs).map(|_| {
            let real = (0.5 + g.below(100) as f64 / 100.0) / (90.0 * (taps as f64).sqrt());
            Multiplier::from_real(real).unwrap()
        });
        let multipliers = multipliers.collect();
        let padding_values = g.chance().then(|| (0..from.channels).map(|_| g.int8()).collect());
        let layer = self.push(operator, input, window.output(from, outputs));
        layer.record.kernel = [window.kernel; 2];
        layer.record.stride = [window.stride; 2];
        layer.record.pads = window.pads;
        layer.record.clamp_min = -120;
        (layer.weights, layer.bias, layer.multipliers) = (weights, bias, multipliers);
        layer.padding_values = padding_values;
        self.last()
    }

    fn depthwise(&mut self, input: usize) -> usize {
        let times = 1 + self.g.below(2) as u16;
        let outputs = times * self.shape(input).channels;
        self.part_conv(Operator::DepthwiseConv, input, outputs, 1)
    }

    fn grouped(&mut self, input: usize) -> usize {
        let channels = self.shape(input).channels;
        let divides = |groups: &u16| channels.is_multiple_of(*groups);
        let groups = (2..=channels).find(divides).unwrap_or(1);
        let outputs = groups * (1 + self.g.below(9) as u16);
        let conv = self.part_conv(Operator::GroupedConv, input, outputs, channels / groups);
        self.program.layers[conv].record.parameter = I32::new(groups.into());
        conv
    }

    fn lookup(&mut self, input: usize) -> usize {
        let shape = self.shape(input);
        let g = &mut self.g;
        let mut table = || std::array::from_fn(|_| g.int8());
        let two: [[i8; 256]; 2] = [table(), table()];
        let channels = if g.chance() { usize::from(shape.channels) } else { 1 };
        let tables: Vec<[i8; 256]> = (0..channels).map(|_| two[g.below(2) as usize]).collect();
        let layer = self.push(Operator::Lookup, input, shape);
        set_lookup(layer, &tables).unwrap();
        self.last()
    }

    /// A lookup that makes each row one pixel.
    fn flatten(&mut self, input: usize) -> usize {
        let from = self.shape(input);
        let table = std::array::from_fn(|_| self.g.int8());
        let layer = self.push(
            Operator::Lookup,
            input,
            Shape::new(from.rows, 1, from.columns * from.channels),
        );
        set_lookup(layer, &[table]).unwrap();
        self.last()
    }

    /// A product with another tensor of the same shape, or with one pixel.
    fn multiply(&mut self, input: usize, by: usize) -> usize {
        let (shape, operand) = (self.shape(input), self.shape(by));
        let pixel = (operand.rows, operand.columns) == (1, 1);
        let layer = self.push(Operator::Multiply, input, shape);
        layer.record.set_multiplier(0, Multiplier::from_real(0.011).unwrap());
        layer.record.shortcut = U16::new(by as u16);
        layer.record.shortcut_stride = u8::from(!pixel);
        self.last()
    }

    /// The factors of squeeze-and-excite for a tensor: its means, after a convolution and a
    /// function.
    fn squeeze(&mut self, input: usize) -> usize {
        let from = self.shape(input);
        let zero_point = self.program.layers[input].record.zero_point;
        let pool = self.push(Operator::AveragePool, input, Shape::new(1, 1, from.channels));
        pool.record.zero_point = zero_point;
        let mean = self.last();
        let inner = self.conv(mean, from.channels, 1, 1, [0; 4]);
        self.lookup(inner)
    }

    fn concat(&mut self, input: usize, beside: usize) -> usize {
        let (from, other) = (self.shape(input), self.shape(beside));
        let table = (0..512).map(|_| self.g.int8()).collect();
        let channels = from.channels + other.channels;
        let layer = self.push(Operator::Concat, input, Shape { channels, ..from });
        layer.table = Some(Table::Bytes(table));
        layer.record.shortcut = U16::new(beside as u16);
        layer.record.shortcut_stride = 1;
        layer.record.shortcut_channels_before = U16::new(from.channels);
        self.last()
    }

    fn border(&mut self, input: usize) -> usize {
        let from = self.shape(input);
        let most = from.rows.min(from.columns).min(4) as u64;
        let [top, left, bottom, right] = std::array::from_fn(|_| self.g.below(most) as u8);
        let (top, bottom) = (top.min(2), bottom.min(3));
        let mode = self.g.below(2) as u8;
        let zero_point = self.program.layers[input].record.zero_point;
        let shape = Shape::new(
            from.rows + u16::from(top) + u16::from(bottom),
            from.columns + u16::from(left) + u16::from(right),
            from.channels,
        );
        let layer = self.push(Operator::Border, input, shape);
        layer.record.zero_point = zero_point;
        set_border(layer, [top, left, bottom, right], mode == 0);
        self.last()
    }

    fn window_average(&mut self, input: usize) -> usize {
        let from = self.shape(input);
        let window = Window::any(&mut self.g, from);
        let pixels = i32::from(window.kernel).pow(2);
        let divisor = if self.g.chance() { pixels } else { 0 };
        let zero_point = self.program.layers[input].record.zero_point;
        let output = window.output(from, from.channels);
        let layer = self.push(Operator::WindowAverage, input, output);
        layer.record.kernel = [window.kernel; 2];
        layer.record.stride = [window.stride; 2];
        layer.record.pads = window.pads;
        layer.record.zero_point = zero_point;
        layer.record.parameter = I32::new(divisor);
        self.last()
    }
}

/// A network of `parts` parts of other families, with an output after some of them.
pub fn network_of_families(seed: u64, parts: usize) -> Program {
    let mut b = Builder { program: Program::default(), g: Generator(seed) };
    let (rows, columns) = (5 + b.g.below(9) as u16, 5 + b.g.below(9) as u16);
    let colours = 1 + b.g.below(3) as u16;
    b.push(Operator::Input, 0, Shape::new(rows, columns, colours));
    let channels = 2 + b.g.below(5) as u16;
    let mut stream = b.conv(0, channels, 3, 1, [1; 4]);
    let mut outputs = Vec::new();
    for _ in 0..parts {
        stream = match b.g.below(10) {
            0 => b.depthwise(stream),
            1 => b.grouped(stream),
            2 => b.lookup(stream),
            3 => {
                let gate = b.lookup(stream);
                let inner = b.conv(stream, b.shape(stream).channels, 3, 1, [1; 4]);
                b.multiply(inner, gate)
            }
            4 => {
                let squeezed = b.squeeze(stream);
                b.multiply(stream, squeezed)
            }
            5 => {
                let grown = b.conv(stream, 2, 3, 1, [1; 4]);
                if b.g.chance() { b.concat(stream, grown) } else { b.concat(grown, stream) }
            }
            6 => b.window_average(stream),
            8 => b.border(stream),
            7 => {
                // A kernel as large as the input, with padding around it.
                let shape = b.shape(stream);
                let kernel = shape.rows.min(shape.columns).min(15) as u8;
                b.conv(stream, 3, kernel, 1, [kernel / 2; 4])
            }
            _ => {
                // A fork in a fork.
                let same = b.shape(stream).channels;
                let outer = b.conv(stream, same, 3, 1, [1; 4]);
                let inner = b.lookup(outer);
                let inner = b.add(inner, outer);
                b.add(inner, stream)
            }
        };
        if b.g.below(4) == 0 {
            outputs.push(b.squeeze(stream));
        }
    }
    if seed.is_multiple_of(3) {
        stream = b.flatten(stream);
    }
    for output in outputs {
        b.program.layers[output].record.flags |= flags::OUTPUT;
    }
    let logits = b.squeeze(stream);
    b.program.logits = logits;
    b.program
}
