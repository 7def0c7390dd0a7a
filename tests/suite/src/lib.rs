//! The cases that every backend must compute as the reference does, byte for byte, on the host and
//! on every board.
//!
//! A case is a convolution, add or pool with a shape that is easy to get wrong: not a multiple of
//! any block, one column wide, padded on one side, strided. Weights, activations and multipliers
//! include the ends of their ranges. Values come from a small generator, so nothing has to be
//! stored. Nothing is allocated: [`Memory`] holds the largest case.

#![no_std]

mod cases;
mod conv;
mod name;
mod operators;
mod outcome;

use brooklet::Shape;
use brooklet::kernels::{Backend, Reference};
use brooklet::ops::add::Add;
use brooklet::ops::average_pool::AveragePool;
use brooklet::ops::batch_norm::BatchNorm;
use brooklet::ops::max_pool::MaxPool;
use brooklet::ops::softmax::Softmax;
use brooklet::ops::stream16::{MAX_FACTOR, Stream16};
use brooklet::ops::{MAX_KERNEL, Shortcut, Window};
use brooklet::quant::{Clamp, Multiplier};
use zerocopy::little_endian::I32;

use name::{Name, each};
use outcome::difference;

pub use name::CaseNumber;
pub use outcome::{Difference, Failure, Outcome};

/// Largest number of output channels of a case.
const CHANNELS: usize = 66;
/// Largest number of weights of a case.
const WEIGHTS: usize = 7 * 1024;
/// Largest number of bytes of the weights in any packing.
const PACKED: usize = 14 * 1024;
/// Largest number of bytes of scratch memory.
const SCRATCH: usize = 18_496;
/// Largest number of bytes of a row.
const ROW: usize = 640;
/// Number of output rows of this size that there is room for. A step of more rows makes shorter ones.
const LONG_ROWS: usize = 4;
/// Largest number of rows of the input.
const ROWS: usize = 12;

/// Room for a case.
#[derive(Debug)]
pub struct Memory {
    weights: [i8; WEIGHTS],
    packed: Aligned<[i8; PACKED]>,
    bias: Aligned<[I32; CHANNELS]>,
    mantissas: Aligned<[I32; CHANNELS]>,
    shifts: [i8; CHANNELS],
    table: Aligned<[I32; 512]>,
    rows: [[i8; ROW]; ROWS],
    shortcuts: [[i8; ROW]; LONG_ROWS],
    expected: [[i8; ROW]; LONG_ROWS],
    outputs: [[i8; ROW]; LONG_ROWS],
    scratch: Aligned<[u8; SCRATCH]>,
}

/// Aligned as the arena and weights are.
#[derive(Debug)]
#[repr(align(16))]
struct Aligned<T>(T);

impl Memory {
    /// Empty memory; a `static` on a board.
    pub const fn new() -> Self {
        Self {
            weights: [0; WEIGHTS],
            packed: Aligned([0; PACKED]),
            bias: Aligned([I32::ZERO; CHANNELS]),
            mantissas: Aligned([I32::ZERO; CHANNELS]),
            shifts: [0; CHANNELS],
            table: Aligned([I32::ZERO; 512]),
            rows: [[0; ROW]; ROWS],
            shortcuts: [[0; ROW]; LONG_ROWS],
            expected: [[0; ROW]; LONG_ROWS],
            outputs: [[0; ROW]; LONG_ROWS],
            scratch: Aligned([0x5a; SCRATCH]),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The outcome of a case; `None` if the backend does not run the case.
type Tried = Option<Option<Difference>>;

/// Pseudorandom numbers (xorshift32).
struct Generator(u32);

impl Generator {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.next() % bound
    }

    fn int8(&mut self) -> i8 {
        self.next() as i8
    }
}

/// How the values of a case are chosen.
#[derive(Clone, Copy)]
enum Values {
    /// From the whole range.
    Any,
    /// Only the ends of the range.
    Extreme,
    /// Weights at one end, activations at the other, for the largest sums.
    Largest,
}

impl Values {
    fn weight(self, generator: &mut Generator) -> i8 {
        match self {
            Self::Any => generator.int8().max(-127),
            Self::Extreme => [-127, 127][generator.below(2) as usize],
            Self::Largest => -127,
        }
    }

    fn activation(self, generator: &mut Generator) -> i8 {
        match self {
            Self::Any => generator.int8(),
            Self::Extreme => [-128, 127][generator.below(2) as usize],
            Self::Largest => -128,
        }
    }
}

/// Runs all cases.
pub fn run(backend: &impl Backend, memory: &mut Memory) -> Outcome {
    run_one_in(1, backend, memory)
}

/// Runs one in this number of cases, always the same ones, for boards whose emulators are slow.
pub fn run_one_in(share: u32, backend: &impl Backend, memory: &mut Memory) -> Outcome {
    let mut outcome = Outcome::default();
    let mut generator = Generator(0x9e37_79b9);
    let mut number = 0;
    each(|name| {
        let case = CaseNumber(number);
        number += 1;
        if share > 1 && generator.below(share) > 0 {
            return;
        }
        let Some(difference) = tried(backend, memory, name, &mut generator) else { return };
        outcome.cases += 1;
        if let Some(difference) = difference {
            outcome.failures += 1;
            outcome.first.get_or_insert(Failure { case, difference });
        }
    });
    outcome
}

/// Runs a case.
fn tried(backend: &impl Backend, memory: &mut Memory, name: Name, g: &mut Generator) -> Tried {
    match name {
        // A packing that the backend does not run is not a case for it.
        Name::Conv { packing, .. } | Name::GroupedConv(_, packing) if !backend.runs(packing) => {
            None
        }
        Name::Conv { case, values, packing, operand, stream16: false } => {
            // Weights of less than eight bits are unpacked for kernels that are tried with all
            // operands. Only one operand in four is tried, because the reference looks up each
            // weight in its planes.
            if packing.unpacked().is_some() && g.below(4) > 0 {
                return None;
            }
            conv::run(backend, memory, case, values, packing, operand, None, g)
        }
        Name::Conv { case, values, packing, operand, .. } => {
            // A 16-bit stream, in builds with this feature: one of two operands is tried.
            let tried = operand % 2 == g.below(2);
            let factor = g.below(1 + MAX_FACTOR as u32) as i32;
            let factor = if operand == 0 { 0 } else { factor };
            let stream = Stream16::new(factor, g.next() as i32 >> 12).filter(Stream16::is_valid);
            let stream = stream.filter(|_| tried && packing.unpacked().is_none())?;
            conv::run(backend, memory, case, values, packing, operand, Some(stream), g)
        }
        Name::Add(shape) => Some(add(backend, memory, shape, g)),
        Name::BatchNorm(shape) => Some(batch_norm(backend, memory, shape, g)),
        Name::Pools(shape) => Some(pools(backend, memory, shape, g)),
        Name::Softmax(channels) => Some(softmax(backend, memory, channels.into(), g)),
        other => Some(operators::run(backend, memory, other, g)),
    }
}

fn multiplier(generator: &mut Generator, shifts: core::ops::Range<i32>) -> Multiplier {
    let span = (shifts.end - shifts.start) as u32;
    let real = f64::from(generator.next() >> 2 | 1 << 30) / f64::from(1u32 << 31);
    let shift = shifts.start + generator.below(span) as i32;
    let power = if shift < 0 { 1.0 / f64::from(1u32 << -shift) } else { f64::from(1u32 << shift) };
    Multiplier::from_real(real * power).unwrap_or(Multiplier::from_real(0.5).expect("in range"))
}

fn add(
    backend: &impl Backend,
    memory: &mut Memory,
    shape: Shape,
    g: &mut Generator,
) -> Option<Difference> {
    for word in &mut memory.table.0 {
        *word = I32::new(g.next() as i32 >> 4);
    }
    let add = Add {
        shape,
        table: &memory.table.0,
        multiplier: multiplier(g, -20..-16),
        zero_point: i32::from(g.int8()),
        clamp: [Clamp::FULL, Clamp { min: g.int8().min(0), max: 127 }][g.below(2) as usize],
    };
    let length = shape.row_bytes();
    for i in 0..length {
        memory.rows[0][i] = g.int8();
        memory.shortcuts[0][i] = g.int8();
    }
    [false, true].into_iter().find_map(|in_place| {
        let shortcut = if in_place {
            Shortcut::InPlace
        } else {
            Shortcut::Row {
                row: &memory.shortcuts[0][..length],
                lower: &[],
                channels: usize::from(shape.channels),
                stride: 1,
                before: 0,
                zero: 0,
            }
        };
        for output in [&mut memory.expected[0], &mut memory.outputs[0]] {
            output[..length].copy_from_slice(&memory.shortcuts[0][..length]);
        }
        let input = &memory.rows[0][..length];
        Reference.add(&add, input, &shortcut, &mut memory.expected[0][..length]);
        backend.add(&add, input, &shortcut, &mut memory.outputs[0][..length]);
        difference(&memory.expected[0][..length], &memory.outputs[0][..length])
    })
}

fn batch_norm(
    backend: &impl Backend,
    memory: &mut Memory,
    shape: Shape,
    g: &mut Generator,
) -> Option<Difference> {
    let channels = usize::from(shape.channels);
    for c in 0..channels {
        memory.weights[c] = Values::Extreme.weight(g);
        memory.bias.0[c] = I32::new(g.next() as i32 >> 12);
        memory.mantissas.0[c] = I32::new((g.next() >> 2 | 1 << 30) as i32);
        memory.shifts[c] = -(g.below(14) as i8);
    }
    let norm = BatchNorm {
        shape,
        weights: &memory.weights[..channels],
        bias: &memory.bias.0[..channels],
        mantissas: &memory.mantissas.0[..channels],
        shifts: &memory.shifts[..channels],
        zero_point: i32::from(g.int8()),
        clamp: Clamp { min: g.int8().min(0), max: 127 },
    };
    let length = shape.row_bytes();
    for value in &mut memory.rows[0][..length] {
        *value = g.int8();
    }
    let input = &memory.rows[0][..length];
    Reference.batch_norm(&norm, input, &mut memory.expected[0][..length]);
    backend.batch_norm(&norm, input, &mut memory.outputs[0][..length]);
    difference(&memory.expected[0][..length], &memory.outputs[0][..length])
}

fn pools(
    backend: &impl Backend,
    memory: &mut Memory,
    input: Shape,
    g: &mut Generator,
) -> Option<Difference> {
    let length = input.row_bytes();
    for row in &mut memory.rows {
        for value in &mut row[..length] {
            *value = g.int8();
        }
    }
    let columns = input.columns.div_ceil(2);
    let window = Window {
        input,
        output: Shape::new(3, columns, input.channels),
        kernel: [3, 3],
        stride: [2, 2],
        pad_left: 1,
    };
    let pool = MaxPool { window, clamp: Clamp { min: -100, max: 120 } };
    let mut rows: [&[i8]; MAX_KERNEL] = [&[]; MAX_KERNEL];
    rows[1] = &memory.rows[1][..length];
    rows[2] = &memory.rows[2][..length];
    let written = window.output.row_bytes();
    Reference.max_pool(&pool, &rows[..3], &mut memory.expected[0][..written]);
    backend.max_pool(&pool, &rows[..3], &mut memory.outputs[0][..written]);
    let max_pool = difference(&memory.expected[0][..written], &memory.outputs[0][..written]);
    let channels = usize::from(input.channels);
    let mut sums = [[0i32; CHANNELS]; 2];
    let average = [None, Some(multiplier(g, -8..-2))].into_iter().find_map(|multiplier| {
        let average = AveragePool {
            window: Window { output: Shape::new(1, 1, input.channels), ..window },
            zero_points: [3, -5],
            multiplier,
            clamp: Clamp::FULL,
        };
        for (y, row) in memory.rows.iter().take(usize::from(input.rows)).enumerate() {
            Reference.sum_row(y == 0, &row[..length], &mut sums[0][..channels]);
            backend.sum_row(y == 0, &row[..length], &mut sums[1][..channels]);
        }
        Reference.average(&average, &sums[0][..channels], &mut memory.expected[0][..channels]);
        backend.average(&average, &sums[1][..channels], &mut memory.outputs[0][..channels]);
        let [expected, computed] = [&memory.expected, &memory.outputs].map(|of| &of[0][..channels]);
        difference(&sums[0], &sums[1]).or_else(|| difference(expected, computed))
    });
    max_pool.or(average)
}

fn softmax(
    backend: &impl Backend,
    memory: &mut Memory,
    channels: usize,
    g: &mut Generator,
) -> Option<Difference> {
    let multiplier = multiplier(g, 20..26);
    let softmax = Softmax { multiplier, diff_min: Softmax::smallest_difference(multiplier) };
    for value in &mut memory.rows[0][..channels] {
        *value = g.int8();
    }
    let input = &memory.rows[0][..channels];
    Reference.softmax(&softmax, input, &mut memory.expected[0][..channels]);
    backend.softmax(&softmax, input, &mut memory.outputs[0][..channels]);
    difference(&memory.expected[0][..channels], &memory.outputs[0][..channels])
}
