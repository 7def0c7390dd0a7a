//! Random small residual networks, and a backend that tests can observe.

#![allow(unreachable_pub, reason = "the other files of the tests use it")]

pub mod families;
mod stream16;

use brooklet::Shape;
use brooklet::format::{LayerRecord, Operator, Packing, flags};
use brooklet::kernels::{Backend, Isa};
use brooklet::ops::conv::Conv;
use brooklet::ops::softmax::Softmax;
use brooklet::ops::{Rows, Shortcut};
use brooklet::quant::Multiplier;
use brooklet_plan::program::{Layer, Program, Table};
use zerocopy::little_endian::{F32, I32, U16};

#[allow(unused_imports, reason = "the other files of the tests use it")]
pub use stream16::with_stream16;

/// Reports that a test is left out. It writes past the test harness's capture, which hides the
/// output of passing tests.
pub fn skipped(what: &str) {
    use std::io::Write;
    let line = format!("SKIPPED: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
}

/// Number of tries of a test: `many` if `BROOKLET_THOROUGH` is set, as `cargo xtask test --all`
/// does, otherwise `few`.
pub fn tries<T>(few: T, many: T) -> T {
    if std::env::var_os("BROOKLET_THOROUGH").is_some() { many } else { few }
}

/// Pseudorandom numbers (splitmix64).
pub struct Generator(pub u64);

impl Generator {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn int8(&mut self) -> i8 {
        self.next() as i8
    }
}

/// A backend, with a function that is called for each convolution and its row. Models must be
/// aligned to `ALIGN`.
pub struct Watched<B, F, const ALIGN: usize = 1>(pub B, pub F);

impl<B: Backend, F: Fn(&Conv<'_>, &mut [i8]), const ALIGN: usize> Backend for Watched<B, F, ALIGN> {
    const ISA: &'static Isa = &Isa { align: ALIGN, ..*B::ISA };

    fn runs(&self, packing: Packing) -> bool {
        self.0.runs(packing)
    }

    fn conv(
        &self,
        conv: &Conv<'_>,
        rows: &Rows<'_>,
        shortcut: &Shortcut<'_>,
        scratch: &mut [u8],
        output: &mut [i8],
    ) {
        self.0.conv(conv, rows, shortcut, scratch, output);
        (self.1)(conv, output);
    }
}

/// A network that is built layer by layer.
struct Builder {
    program: Program,
    g: Generator,
}

impl Builder {
    fn shape(&self, layer: usize) -> Shape {
        self.program.layers[layer].record.shape()
    }

    fn push(&mut self, operator: Operator, input: usize, shape: Shape) -> &mut Layer {
        let index = self.program.layers.len();
        let mut layer = Layer::new(format!("layer{index}"), operator, input, shape);
        layer.record.scale = F32::new(0.05);
        layer.record.zero_point = self.g.int8();
        self.program.layers.push(layer);
        &mut self.program.layers[index]
    }

    fn last(&self) -> usize {
        self.program.layers.len() - 1
    }

    fn conv(&mut self, input: usize, outputs: u16, kernel: u8, stride: u8, pads: [u8; 4]) -> usize {
        let from = self.shape(input);
        let axis = |length: u16, a: u8, b: u8| {
            (length + u16::from(a) + u16::from(b) - u16::from(kernel)) / u16::from(stride) + 1
        };
        let shape = Shape::new(
            axis(from.rows, pads[0], pads[2]),
            axis(from.columns, pads[1], pads[3]),
            outputs,
        );
        let taps = usize::from(kernel).pow(2) * usize::from(from.channels);
        let g = &mut self.g;
        let weights: Vec<i8> =
            (0..taps * usize::from(outputs)).map(|_| g.int8().max(-127)).collect();
        let bias = (0..outputs).map(|_| g.below(4001) as i32 - 2000).collect();
        let multipliers = (0..outputs)
            .map(|_| {
                let real = (0.5 + g.below(100) as f64 / 100.0) / (90.0 * (taps as f64).sqrt());
                Multiplier::from_real(real).unwrap()
            })
            .collect();
        let padding_values =
            (input == 0 && g.chance()).then(|| (0..from.channels).map(|_| g.int8()).collect());
        let clamp_min = if g.chance() { -128 } else { -100 };
        let layer = self.push(Operator::Conv, input, shape);
        layer.record.kernel = [kernel; 2];
        layer.record.stride = [stride; 2];
        layer.record.pads = pads;
        layer.record.clamp_min = clamp_min;
        layer.weights = weights;
        layer.bias = bias;
        layer.multipliers = multipliers;
        layer.padding_values = padding_values;
        self.last()
    }

    /// Joins the last layer, a convolution, with `shortcut`.
    fn join(&mut self, shortcut: usize) {
        let bits = self.g.below(13) as u8;
        let unit = f64::from(1u32 << bits);
        let (from, last) = (self.shape(shortcut), self.last());
        let layer = &mut self.program.layers[last];
        let to = layer.record.shape();
        let table = (0..256).map(|q| (f64::from(q - 128) * 0.7 * unit) as i32).collect();
        layer.table = Some(Table::Terms(table));
        layer.record.join_bits = bits;
        for multiplier in &mut layer.multipliers {
            multiplier.shift += bits as i8;
        }
        set_shortcut(&mut layer.record, shortcut, from, to);
    }

    fn add(&mut self, input: usize, shortcut: usize) -> usize {
        let (from, to) = (self.shape(shortcut), self.shape(input));
        let term = |q: i32, factor: f64| (f64::from(q << 20) * factor) as i32;
        let terms = |factor| (-100..156).map(move |q| term(q, factor));
        let terms = terms(0.5).chain(terms(0.31)).collect();
        let multiplier = Multiplier::from_real(1.0 / f64::from(1u32 << 19)).unwrap();
        let layer = self.push(Operator::Add, input, to);
        set_shortcut(&mut layer.record, shortcut, from, to);
        layer.table = Some(Table::Terms(terms));
        layer.record.set_multiplier(0, multiplier);
        self.last()
    }

    fn batch_norm(&mut self, input: usize) -> usize {
        let shape = self.shape(input);
        let mut numbers = || self.g.int8();
        let weights: Vec<i8> = (0..shape.channels).map(|_| numbers().max(-127)).collect();
        let bias = weights.iter().map(|_| 50 * i32::from(numbers())).collect();
        let zero_point = numbers();
        let layer = self.push(Operator::BatchNorm, input, shape);
        let multiplier = Multiplier::from_real(0.01).unwrap();
        layer.multipliers = vec![multiplier; weights.len()];
        (layer.weights, layer.bias, layer.record.zero_point) = (weights, bias, zero_point);
        self.last()
    }

    /// A residual block; returns its output.
    fn block(&mut self, input: usize) -> usize {
        let from = self.shape(input);
        let shrink = from.rows > 3 && from.columns > 3 && self.g.below(3) == 0;
        let pads = match (shrink, self.g.chance()) {
            (true, true) if from.rows.is_multiple_of(2) && from.columns.is_multiple_of(2) => {
                [0, 0, 1, 1]
            }
            _ => [1; 4],
        };
        let stride = if shrink { 2 } else { 1 };
        let grow = if shrink { 1 + self.g.below(3) as u16 } else { 0 };
        let outputs = from.channels + grow;
        let shortcut = match self.g.below(3) {
            // A projection, if the shapes match.
            0 if pads == [1; 4] || shrink => Some(self.conv(input, outputs, 1, stride, [0; 4])),
            _ => None,
        };
        // Pre-activation: a batch norm before the block.
        let mut inner = if self.g.below(3) == 0 { self.batch_norm(input) } else { input };
        let length = 1 + self.g.below(3);
        for i in 0..length {
            let (stride, pads) = if i == 0 { (stride, pads) } else { (1, [1; 4]) };
            inner = self.conv(inner, outputs, 3, stride, pads);
        }
        let shortcut = shortcut.unwrap_or(input);
        if self.g.chance() {
            self.join(shortcut);
            inner
        } else {
            self.add(inner, shortcut)
        }
    }
}

fn set_shortcut(record: &mut LayerRecord, shortcut: usize, from: Shape, to: Shape) {
    record.shortcut = U16::new(shortcut as u16);
    record.shortcut_stride = if from.rows == to.rows { 1 } else { 2 };
    record.shortcut_channels_before = U16::new((to.channels - from.channels) / 2);
}

/// A residual network of one block and a projection, with `channels` channels and half of them.
pub fn wide_network(seed: u64, channels: u16) -> Program {
    let mut b = Builder { program: Program::default(), g: Generator(seed) };
    b.push(Operator::Input, 0, Shape::new(6, 6, 3));
    let stem = b.conv(0, channels / 2, 3, 1, [1; 4]);
    let shortcut = b.conv(stem, channels, 1, 2, [0; 4]);
    let inner = b.conv(stem, channels, 3, 2, [1; 4]);
    b.conv(inner, channels, 3, 1, [1; 4]);
    b.join(shortcut);
    let joined = b.last();
    let zero_point = b.program.layers[joined].record.zero_point;
    let pool = b.push(Operator::AveragePool, joined, Shape::new(1, 1, channels));
    pool.record.zero_point = zero_point;
    let pooled = b.last();
    let logits = b.conv(pooled, 10, 1, 1, [0; 4]);
    b.program.logits = logits;
    b.program
}

/// A residual network of `blocks` blocks with random shapes and values.
pub fn network(seed: u64, blocks: usize) -> Program {
    let mut b = Builder { program: Program::default(), g: Generator(seed) };
    let stream = b.stream(blocks);
    b.vector(stream);
    b.program
}

/// The same without a mean, so that it ends in a map; in some of them, another map is an output,
/// too.
pub fn network_of_maps(seed: u64, blocks: usize) -> Program {
    let mut b = Builder { program: Program::default(), g: Generator(seed) };
    let stream = b.stream(blocks);
    let channels = 1 + b.g.below(9) as u16;
    let features = b.conv(stream, channels, 1, 1, [0; 4]);
    if b.g.chance() {
        b.program.layers[features].record.flags |= flags::OUTPUT;
    }
    let classes = 1 + b.g.below(5) as u16;
    b.scores(features, classes);
    b.program
}

impl Builder {
    /// The input, and `blocks` blocks; returns the last.
    fn stream(&mut self, blocks: usize) -> usize {
        let b = self;
        let (rows, columns) = (5 + b.g.below(9) as u16, 5 + b.g.below(9) as u16);
        let shape = Shape::new(rows, columns, 1 + b.g.below(3) as u16);
        let table: Vec<i8> = (0..256 * usize::from(shape.channels)).map(|_| b.g.int8()).collect();
        let with_table = b.g.chance();
        let input = b.push(Operator::Input, 0, shape);
        input.table = with_table.then_some(Table::Bytes(table));
        let channels = 1 + b.g.below(5) as u16;
        let mut stream = match b.g.below(3) {
            0 => b.conv(0, channels, 5, 1, [2; 4]),
            1 => b.conv(0, channels, 1, 1, [0; 4]),
            _ => b.conv(0, channels, 3, 1, [1; 4]),
        };
        if b.g.below(3) == 0 {
            let from = b.shape(stream);
            let (zero_point, scale) = {
                let record = &b.program.layers[stream].record;
                (record.zero_point, record.scale)
            };
            let halve = |n: u16| (n + 2 - 3) / 2 + 1;
            let shape = Shape::new(halve(from.rows), halve(from.columns), from.channels);
            let pool = b.push(Operator::MaxPool, stream, shape);
            (pool.record.kernel, pool.record.stride, pool.record.pads) = ([3; 2], [2; 2], [1; 4]);
            (pool.record.zero_point, pool.record.scale) = (zero_point, scale);
            stream = b.last();
        }
        for _ in 0..blocks {
            stream = b.block(stream);
        }
        stream
    }

    /// The mean of a map, and scores.
    fn vector(&mut self, stream: usize) {
        let b = self;
        let from = b.shape(stream);
        let own_scale = b.g.chance();
        let zero_point = b.program.layers[stream].record.zero_point;
        let pool = b.push(Operator::AveragePool, stream, Shape::new(1, 1, from.channels));
        if own_scale {
            let real = 1.7 / (f64::from(from.rows) * f64::from(from.columns));
            pool.record.set_multiplier(0, Multiplier::from_real(real.min(0.9)).unwrap());
        } else {
            pool.record.zero_point = zero_point;
        }
        let classes = 2 + b.g.below(9) as u16;
        let pooled = b.last();
        let logits = b.scores(pooled, classes);
        b.program.layers[logits].record.flags |= flags::FULLY_CONNECTED;
    }

    /// Scores of each pixel, with a softmax or without; returns the layer of the scores.
    fn scores(&mut self, input: usize, classes: u16) -> usize {
        let b = self;
        let logits = b.conv(input, classes, 1, 1, [0; 4]);
        b.program.logits = logits;
        if b.g.chance() {
            let multiplier = Multiplier::from_real(0.1 * f64::from(1u32 << 26)).unwrap();
            let shape = b.shape(logits);
            let softmax = b.push(Operator::Softmax, logits, shape);
            softmax.record.set_multiplier(0, multiplier);
            softmax.record.parameter = I32::new(Softmax::smallest_difference(multiplier));
        }
        logits
    }
}

/// The network with as many upper bits of its convolutions' weights as the packing has.
pub fn in_bits_of(mut program: Program, packing: Packing) -> Program {
    for layer in &mut program.layers {
        if layer.record.operator() == Operator::Conv {
            layer.weights.iter_mut().for_each(|weight| *weight >>= 8 - packing.bits());
        }
    }
    program.packed(packing)
}

/// The network with some of its tensors in int16, and matching multipliers.
pub fn with_int16(mut program: Program, seed: u64) -> Program {
    let mut g = Generator(seed ^ 0x1616);
    let mut int16: Vec<bool> = Vec::new();
    for index in 0..program.layers.len() {
        let [input, shortcut] = {
            let record = &program.layers[index].record;
            [Some(usize::from(record.input.get())), record.shortcut()]
        };
        let is = |of: Option<usize>| of.is_some_and(|of| of < index && int16[of]);
        let [from, beside] = [input, shortcut].map(is);
        let (zero_point, scale) = {
            let record = &program.layers[input.unwrap()].record;
            (record.zero_point, record.scale)
        };
        let layer = &mut program.layers[index];
        let own = match layer.record.operator() {
            Operator::Input | Operator::Softmax => false,
            Operator::MaxPool => from,
            _ => g.chance(),
        };
        int16.push(own);
        if layer.record.operator() == Operator::MaxPool {
            (layer.record.zero_point, layer.record.scale) = (zero_point, scale);
        }
        if !(own || from || beside) {
            continue;
        }
        layer.record.flags |= flags::HAS_INT16;
        if own {
            layer.record.flags |= flags::INT16;
            layer.record.zero_point = 0;
        }
        let finer = |is: bool| if is { 8 } else { 0 };
        let unit = |finer: i32| f64::from(finer).exp2();
        // The largest number of extra bits for which there is room.
        let bits = layer.record.join_bits.min(6);
        let fewer = i32::from(layer.record.join_bits - bits);
        if shortcut.is_some() {
            layer.record.join_bits = bits;
            layer.table = None;
            let real = 0.7 * unit(finer(own) - finer(beside) + i32::from(bits));
            layer.record.set_multiplier(0, Multiplier::from_real(real).unwrap());
        }
        for multiplier in &mut layer.multipliers {
            multiplier.shift += (finer(own) - finer(from) - fewer) as i8;
        }
        match layer.record.operator() {
            Operator::Add => {
                let real = 0.9 * unit(finer(own) - finer(from) + i32::from(bits));
                layer.record.set_multiplier(1, Multiplier::from_real(real).unwrap());
            }
            Operator::AveragePool => {
                let shape = program.layers[input.unwrap()].record.shape();
                let pixels = f64::from(shape.rows) * f64::from(shape.columns);
                let real = 1.7 / pixels * unit(finer(own) - finer(from));
                let multiplier = Multiplier::from_real(real).unwrap();
                program.layers[index].record.set_multiplier(0, multiplier);
            }
            Operator::Softmax => {
                let multiplier = Multiplier::from_real(0.1 * unit(26 - finer(from))).unwrap();
                layer.record.set_multiplier(0, multiplier);
                layer.record.parameter = I32::new(Softmax::smallest_difference(multiplier));
            }
            _ => {}
        }
    }
    program
}

/// An image of noise for the network.
pub fn image(program: &Program, seed: u64) -> Vec<u8> {
    let mut g = Generator(seed);
    (0..program.layers[0].record.shape().bytes()).map(|_| g.int8() as u8).collect()
}

/// A model file of a network, and its bytes.
pub fn model_file(program: &Program) -> Vec<u8> {
    let plan = brooklet_plan::plan::plan(program, brooklet_plan::plan::Goal::Size)
        .expect("a residual network can be cut");
    program.write(&plan)
}

/// The file with the correct checksum for its contents.
pub fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    if file.len() >= 20 {
        let crc = brooklet::format::crc(&file[20..]);
        file[16..20].copy_from_slice(&crc.to_le_bytes());
    }
    file
}
