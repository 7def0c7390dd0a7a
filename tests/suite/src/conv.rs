//! The cases that are convolutions.

use brooklet::format::Packing;
use brooklet::kernels::{Backend, reference};
use brooklet::ops::conv::{Conv, Finish, Padding};
use brooklet::ops::stream16::Stream16;
use brooklet::ops::{MAX_KERNEL, Outputs, Shortcut, Shortcuts};
use brooklet::quant::Clamp;
use zerocopy::little_endian::I32;

use crate::cases::Case;
use crate::outcome::difference;
use crate::{Difference, Generator, LONG_ROWS, Memory, ROW, Tried, Values};

/// Runs a convolution, and compares its rows with the reference's.
///
/// `operand` is the kind of shortcut: 0 for none, 1 in place, 2 in another row, and 3 subsampled with zero
/// channels around.
#[allow(clippy::too_many_arguments)]
pub(crate) fn run(
    backend: &impl Backend,
    memory: &mut Memory,
    case: &Case,
    values: Values,
    packing: Packing,
    operand: u32,
    stream: Option<Stream16>,
    generator: &mut Generator,
) -> Tried {
    let window = case.window();
    let columns = usize::from(window.output.columns);
    let (inputs, outputs) = (usize::from(case.inputs), usize::from(case.outputs));
    let taps = case.kernel[0] * case.kernel[1] * inputs;
    let row = case.kernel[1] * inputs;
    let kernel = [case.kernel[0], row];
    let packed = packing.bytes(outputs, kernel);
    memory.packed.0[..packed].fill(0);
    // The upper bits of the weights.
    let bits = packing.bits();
    for weight in &mut memory.weights[..taps * outputs] {
        *weight = values.weight(generator) >> (8 - bits);
    }
    // Only shifts to the right, only shifts to the left, or any.
    let lean = generator.below(4);
    for channel in 0..outputs {
        for tap in 0..taps {
            let weight = memory.weights[channel * taps + tap];
            let packed = &mut memory.packed.0[..packed];
            packing.put(packed, channel, tap / row, tap % row, kernel, weight);
        }
        memory.bias.0[channel] = I32::new(generator.next() as i32 >> 12);
        // Both ends of the range, and values between.
        memory.mantissas.0[channel] = I32::new(match generator.below(8) {
            0 => i32::MAX,
            1 => 1 << 30,
            _ => (generator.next() >> 2 | 1 << 30) as i32,
        });
        // From factors that leave a few steps to factors that saturate.
        let bits = ((taps as u32 * 127 * 128) >> (8 - bits)).ilog2() as i32;
        memory.shifts[channel] = match (lean, generator.below(4)) {
            (0, any) => -((bits - 8).max(1) as i8) - (any % 2) as i8,
            (1, _) | (_, 1) => (30 - bits).clamp(0, 3) as i8,
            (_, 0) => -31,
            _ => -((bits - 8).max(0) as i8) + generator.below(3) as i8 - 1,
        };
        // A 16-bit stream keeps more bits of a sum.
        let shift = &mut memory.shifts[channel];
        if stream.is_some() {
            *shift = (*shift + 10).min((30 - bits).clamp(0, 3) as i8);
        }
    }
    for word in &mut memory.table.0 {
        *word = I32::new(generator.next() as i32 >> 14);
    }
    for row in &mut memory.rows {
        for value in &mut row[..case.columns as usize * inputs] {
            *value = values.activation(generator);
        }
    }
    let padding_values: [i8; 3] = core::array::from_fn(|_| generator.int8());
    let join = operand > 0;
    let stride = if operand == 3 { 2 } else { 1 };
    let shortcut_channels = if operand == 3 { outputs.div_ceil(2) } else { outputs };
    for value in memory.shortcuts.as_flattened_mut() {
        *value = generator.int8();
    }
    let zero = values.activation(generator);
    let shortcut_columns = (columns - 1) * stride + 1;
    let needed = shortcut_columns * shortcut_channels;
    let length = columns * outputs * if stream.is_some() { 2 } else { 1 };
    // The last step of several rows makes fewer.
    let made = 1 + generator.below(packing.rows_a_step() as u32) as usize;
    let room = LONG_ROWS * ROW;
    let made = made.min((room / length.max(needed)).max(LONG_ROWS));
    let pitch = room / made.max(LONG_ROWS);
    let under = case.kernel[0] + (made - 1) * case.stride;
    let padded_rows = generator.below(case.kernel[0] as u32) as usize;
    let top = generator.below(2) == 0;
    let conv = Conv {
        window,
        packing,
        weights: &memory.packed.0[..packed],
        bias: &memory.bias.0[..outputs],
        mantissas: &memory.mantissas.0[..outputs],
        shifts: &memory.shifts[..outputs],
        padding: match inputs {
            1..=3 => Padding::PerChannel(&padding_values[..inputs]),
            _ => Padding::Same(zero),
        },
        finish: match (stream, join) {
            (Some(stream), _) => Finish::Stream(stream),
            (_, true) => Finish::Join { table: &memory.table.0[..256], bits: 10 },
            (_, false) => Finish::Requantize { zero_point: i32::from(zero) },
        },
        clamp: match generator.below(2) {
            0 => Clamp::FULL,
            _ => Clamp { min: zero.min(100), max: 101 },
        },
    };
    let mut rows: [&[i8]; MAX_KERNEL] = [&[]; MAX_KERNEL];
    for (y, row) in rows.iter_mut().take(under).enumerate() {
        let on_padding = if top { y < padded_rows } else { y >= under - padded_rows };
        if !on_padding {
            *row = &memory.rows[y][..case.columns as usize * inputs];
        }
    }
    let rows = &rows[..under];
    // The largest rows have no room for two bytes for each value.
    if length > ROW {
        return None;
    }
    // A shortcut may have one byte for each value.
    let both = stream.is_some() && 2 * needed <= pitch && generator.below(4) > 0;
    // Rows that the step does not make have the first one's.
    let all = memory.shortcuts.as_flattened();
    let shortcut_row = |row: usize| all.chunks_exact(pitch).nth(row).unwrap_or(&all[..pitch]);
    let shortcuts: Shortcuts<'_> = core::array::from_fn(|row| match operand {
        1 => Shortcut::InPlace,
        _ => Shortcut::Row {
            row: shortcut_row(row).get(..needed).unwrap_or(shortcut_row(row)),
            lower: if both { &shortcut_row(row)[needed..2 * needed] } else { &[] },
            channels: shortcut_channels,
            stride,
            before: (outputs - shortcut_channels) / 2,
            zero,
        },
    });
    // Two rows of tiles with this many channels have no room.
    let scratch = memory.scratch.0.get_mut(..conv.scratch_bytes())?;
    let mut run = |backend: &dyn Fn(&mut [u8], &mut Outputs<'_>), rows: &mut [[i8; ROW]]| {
        rows.copy_from_slice(&memory.shortcuts);
        let mut outputs: Outputs<'_> = Default::default();
        let rows = rows.as_flattened_mut().chunks_exact_mut(pitch);
        for (output, row) in outputs.iter_mut().zip(rows).take(made) {
            *output = &mut row[..length];
        }
        backend(scratch, &mut outputs);
    };
    let expected = |_: &mut [u8], outputs: &mut Outputs<'_>| {
        reference::conv_rows(&conv, rows, &shortcuts, outputs);
    };
    let computed = |scratch: &mut [u8], outputs: &mut Outputs<'_>| match outputs {
        [output, ..] if packing.rows_a_step() == 1 => {
            backend.conv(&conv, rows, &shortcuts[0], scratch, output);
        }
        outputs => backend.conv_rows(&conv, rows, &shortcuts, scratch, outputs),
    };
    run(&expected, &mut memory.expected);
    run(&computed, &mut memory.outputs);
    let [expected, computed] =
        [&memory.expected, &memory.outputs].map(|rows| rows.as_flattened().chunks_exact(pitch));
    let rows = expected.zip(computed).enumerate();
    let mut differences = rows.filter_map(|(row, (expected, output))| {
        Some(Difference { row: row as u16, ..difference(expected, output)? })
    });
    Some(differences.next())
}
