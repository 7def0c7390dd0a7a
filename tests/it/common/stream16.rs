//! Random networks with a residual stream in 16 bits.

use brooklet::format::{NONE, Operator, flags};
use brooklet::ops::stream16::{DROPPED, EXACT, FRACTION, Stream16, TERM_SHIFT};
use brooklet::quant::Multiplier;
use brooklet_plan::program::{Program, largest_sum};

use super::Generator;

/// The network with the outputs of some convolutions in 16 bits, and matching multipliers.
pub fn with_stream16(mut program: Program, seed: u64) -> Program {
    let mut g = Generator(seed ^ 0x5716);
    let last_readers = program.last_readers();
    let one = f64::from(1u32 << (DROPPED + TERM_SHIFT));
    for (index, last) in last_readers.into_iter().enumerate() {
        let record = program.layers[index].record;
        let input = program.layers[usize::from(record.input.get())].record;
        if record.operator() == Operator::AveragePool && input.is_stream16() {
            let shape = input.shape();
            let pixels = f64::from(shape.rows) * f64::from(shape.columns);
            let multiplier = Multiplier::from_real(1.7 / 256.0 / pixels);
            // An int16 tensor has a finer unit.
            let finer = if record.is_int16() { 8 } else { 0 };
            let mut multiplier = multiplier.unwrap();
            multiplier.shift += finer;
            program.layers[index].record.set_multiplier(0, multiplier);
        }
        let is_conv = record.operator() == Operator::Conv && !record.has_int16();
        if !is_conv || g.below(4) == 0 {
            continue;
        }
        if last == NONE {
            // Scores must have the zero point 0.
            program.layers[index].record.zero_point = 0;
        }
        let record = program.layers[index].record;
        let operand = record.shortcut().map(|of| program.layers[of].record);
        let layer = &mut program.layers[index];
        layer.record.flags |= flags::STREAM16;
        let zero = |zero_point: i8| 256 * i32::from(zero_point);
        let ratio = if operand.is_some() { 0.25 + g.below(1000) as f64 / 600.0 } else { 0.0 };
        let mut factor = ((ratio * one) as i32).min(i16::MAX.into());
        let stream = loop {
            let u = operand.map_or(0, |of| zero(of.zero_point) + EXACT);
            let theirs = (factor * u) >> TERM_SHIFT;
            let offset = (zero(record.zero_point) << DROPPED) - theirs + 8;
            match Stream16::new(factor, offset).filter(Stream16::is_valid) {
                Some(stream) => break stream,
                None => factor = factor * 3 / 4,
            }
        };
        let (factor, offset, largest) = (stream.factor, stream.offset, stream.largest_term());
        for word in [(0, factor), (1, offset)] {
            layer.record.multiplier_mantissas[word.0].set(word.1);
        }
        let more = (FRACTION - record.join_bits) as i8;
        layer.record.join_bits = FRACTION;
        layer.table = None;
        let taps = layer.weights.len() / layer.bias.len();
        let channels = layer.weights.chunks(taps).zip(&layer.bias);
        for ((weights, &bias), multiplier) in channels.zip(&mut layer.multipliers) {
            multiplier.shift += more;
            while !multiplier.holds(largest_sum(weights, bias), largest) {
                multiplier.shift -= 1;
            }
        }
    }
    program
}
