//! Small networks with large numbers, for programs that count in too few bits.
//!
//! Sizes are just above 2³² bytes more often than random ones would be. The sizes in the file are
//! cut to 32 bits, as by a program that does not notice.

use brooklet::format::{Header, LayerRecord, NONE, Operator, Packing, SegmentRecord, flags};
use brooklet::ops::{Derived, scratch_bytes};
use brooklet::quant::Multiplier;
use brooklet::{ARENA_ALIGN, Shape};
use fixed::types::I1F31;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{F32, I32, U16};

use crate::draft::{Draft, row_bytes};
use crate::random::Random;

/// Maximum number of bytes of the weights.
const LARGEST: u64 = 1 << 18;

/// The free parameters: rows, columns and channels of the image, channels of the convolution.
type Numbers = [u16; 4];

/// The structure of the network.
struct Form {
    kernel: u8,
    stride: u8,
    packing: Packing,
    int16: bool,
    beside: Option<Operator>,
}

/// A network.
pub(crate) fn network(random: &mut Random) -> Draft {
    loop {
        let raised = random.of(&[Size::Row, Size::Row, Size::Scratch, Size::Tensor, Size::Any]);
        let int16 = raised != Size::Scratch && random.one_in(2);
        // One kind of scratch memory grows with the columns, without limit.
        let packing = match raised {
            _ if int16 => Packing::Ohwi,
            Size::Scratch if !random.one_in(3) => Packing::WinogradInt8,
            _ => random.of(&Packing::ALL),
        };
        let tiles = packing.rows_a_step() > 1;
        let form = Form {
            kernel: if tiles { 3 } else { random.of(&[1, 1, 3, 5, 8]) },
            stride: if tiles { 1 } else { random.of(&[1, 1, 1, 2, 255]) },
            packing,
            int16,
            beside: random.of(&[
                None,
                Some(Operator::BatchNorm),
                Some(Operator::Add),
                Some(Operator::MaxPool),
            ]),
        };
        let rows = random.of(&[1, 1, 2, 5]);
        let mut numbers = [rows, number(random), number(random), number(random)];
        if raised == Size::Scratch {
            numbers[3] = 1 + random.below(4) as u16;
        }
        if raised != Size::Any {
            // One large number does not suffice.
            let large = 1 + random.below(3);
            numbers[large] = random.of(&[4096, 32_768, 65_534, 65_535]);
            let other = 1 + (large + random.below(2)) % 3;
            if !raise(&form, &mut numbers, other, raised) {
                continue;
            }
        }
        let layers = layers(&form, numbers);
        let weights = layers.iter().map(|layer| layer.weight_bytes.get()).max();
        if weights.is_some_and(|bytes| u64::from(bytes) <= LARGEST) {
            return file(layers);
        }
    }
}

/// The quantity that should exceed 2³² bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Row,
    Scratch,
    Tensor,
    Any,
}

fn number(random: &mut Random) -> u16 {
    let ends = [1, 2, 3, 4, 16, 255, 256, 257, 4096, 32_767, 32_768, 32_769, 65_534, 65_535];
    match random.below(3) {
        0 => random.of(&ends),
        1 => 1 + random.below(20) as u16,
        _ => ((1 + random.below(0xffff)) >> random.below(16)).max(1) as u16,
    }
}

/// Makes one of the numbers so large that a size of some layer is just over 2³² bytes. Returns
/// false if no value does.
fn raise(form: &Form, numbers: &mut Numbers, which: usize, size: Size) -> bool {
    let reaches = |value: u16| {
        let mut numbers = *numbers;
        numbers[which] = value;
        let layers = layers(form, numbers);
        let sizes = layers.iter().map(|layer| {
            let input = layers[usize::from(layer.input.get())].shape();
            match size {
                Size::Scratch => scratch_bytes(layer, input) as u64,
                Size::Tensor => row_bytes(layer) * u64::from(layer.rows.get()),
                Size::Row | Size::Any => row_bytes(layer),
            }
        });
        sizes.max().is_some_and(|bytes| bytes >= 1 << 32)
    };
    let (mut below, mut above) = (0, u16::MAX);
    if !reaches(above) {
        return false;
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        (below, above) = if reaches(middle) { (below, middle) } else { (middle, above) };
    }
    numbers[which] = above;
    true
}

/// The layers: an image, a convolution, an optional one beside it, a mean, and a convolution for
/// the logits.
fn layers(form: &Form, [rows, columns, channels, outputs]: Numbers) -> Vec<LayerRecord> {
    let int16 = if form.int16 { flags::INT16 | flags::HAS_INT16 } else { 0 };
    let shape = Shape::new(rows, columns, channels);
    let mut layers = vec![record(Operator::Input, 0, shape, 0)];
    let pad = form.kernel / 2;
    let axis = |length: u16| {
        let padded = usize::from(length) + 2 * usize::from(pad);
        let steps = padded.saturating_sub(form.kernel.into()) / usize::from(form.stride);
        (steps + 1).min(0xffff) as u16
    };
    let shape = Shape::new(axis(rows), axis(columns), outputs);
    let mut conv = record(Operator::Conv, 0, shape, int16);
    (conv.kernel, conv.stride, conv.pads) = ([form.kernel; 2], [form.stride; 2], [pad; 4]);
    conv.packing = form.packing as u8;
    layers.push(conv);
    if let Some(operator) = form.beside {
        let mut layer = record(operator, 1, shape, int16);
        if operator == Operator::Add {
            (layer.shortcut, layer.shortcut_stride) = (U16::new(1), 1);
        } else if operator == Operator::MaxPool {
            (layer.kernel, layer.stride) = ([1; 2], [1; 2]);
        }
        layers.push(layer);
    }
    let last = layers.len() as u16 - 1;
    // A layer that reads int16 is marked; a layer that makes int8 from it has no further marks.
    let wide = int16 & flags::HAS_INT16;
    layers.push(record(Operator::AveragePool, last, Shape::new(1, 1, outputs), wide));
    let mut logits = record(Operator::Conv, last + 1, Shape::new(1, 1, 3), 0);
    (logits.kernel, logits.stride) = ([1; 2], [1; 2]);
    layers.push(logits);
    for index in 0..layers.len() {
        let input = layers[usize::from(layers[index].input.get())].shape();
        Derived::of(&layers[index], input).set(&mut layers[index]);
        layers[index].last_reader.set(index as u16 + 1);
    }
    if let Some(logits) = layers.last_mut() {
        logits.last_reader.set(NONE);
    }
    layers
}

fn record(operator: Operator, input: u16, shape: Shape, flags: u8) -> LayerRecord {
    let mut record = LayerRecord::new();
    (record.operator, record.flags) = (operator as u8, flags);
    record.rows.set(shape.rows);
    record.columns.set(shape.columns);
    record.channels.set(shape.channels);
    record.input.set(input);
    record.shortcut.set(NONE);
    (record.clamp_min, record.clamp_max, record.scale) = (-128, 127, F32::new(0.05));
    let multiplier = Multiplier { mantissa: I1F31::from_bits(1 << 30), shift: -8 };
    let needs = match operator {
        Operator::Add => 2,
        Operator::AveragePool => 1,
        _ => 0,
    };
    for i in 0..needs {
        record.set_multiplier(i, multiplier);
    }
    record
}

/// The file: zeros for weights, biases and tables of all layers, with places one after the other.
fn file(mut layers: Vec<LayerRecord>) -> Draft {
    let mut draft = Draft(vec![0; size_of::<Header>()]);
    let channels = layers.iter().map(|layer| layer.channels.get()).max().unwrap_or(0);
    let weights = layers.iter().map(|layer| layer.weight_bytes.get()).max().unwrap_or(0);
    let zeros = (weights as usize).max(4 * usize::from(channels)).max(2048);
    let zeros = draft.append(&vec![0; zeros], ARENA_ALIGN);
    let mantissas = vec![I32::new(1 << 30); channels.into()];
    let mantissas = draft.append(mantissas.as_bytes(), 4);
    for layer in &mut layers {
        let needs = match layer.operator() {
            Operator::Conv | Operator::BatchNorm => [zeros, mantissas, 0],
            Operator::Add => [0, 0, zeros],
            _ => [0; 3],
        };
        layer.weights.set(needs[0]);
        layer.bias.set(needs[0]);
        layer.mantissas.set(needs[1]);
        layer.shifts.set(needs[0]);
        layer.table.set(needs[2]);
    }
    let count = layers.len() as u16;
    draft.change_header(|header| {
        header.magic = brooklet::format::MAGIC;
        header.version.set(brooklet::format::VERSION);
        header.logits.set(count - 1);
        header.output.set(count - 1);
    });
    draft.set_layers(&layers);
    let all = SegmentRecord { first_layer: U16::new(0), layer_count: U16::new(count) };
    draft.set_segments(&[all]);
    draft.put_apart();
    draft.lengthen();
    draft
}
