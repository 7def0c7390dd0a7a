//! Changes the data to which layers and header refer: values, texts, and their offsets.

use brooklet::format::{PreprocessingRecord, SelfTestRecord};
use brooklet::quant::Multiplier;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{F32, I32, U16};

use crate::draft::{Draft, row_bytes};
use crate::fields;
use crate::mutate::{copy_field, set_field, set_number};
use crate::random::Random;

pub(crate) fn parts(draft: &mut Draft, layer: usize, random: &mut Random) {
    let [from, to] = [(); 2].map(|()| random.of(fields::PARTS));
    match random.below(4) {
        0 => set_field(draft, draft.layer_offset(layer), to, random),
        1 => copy_field(draft, [random.below(draft.len()), layer], [from, to]),
        // The same part of another layer, because parts may be shared.
        2 => {
            copy_field(draft, [random.below(draft.len()), layer], [to, to]);
            draft.lengthen();
        }
        _ => {
            let length = random.below(4096);
            let offset = draft.append(&random.bytes(length), 16);
            let at = draft.layer_offset(layer) + to.0;
            set_number(draft, at, 4, offset);
        }
    }
}

/// A valid or nearly valid mantissa of a multiplier.
fn mantissa(random: &mut Random) -> i32 {
    let usual = (1 << 30) + random.below(1 << 30) as i32;
    random.of(&[usual, usual, 1 << 30, i32::MAX, 0, -usual, i32::MIN, (1 << 30) - 1])
}

pub(crate) fn numbers(draft: &mut Draft, layer: usize, random: &mut Random) {
    let record = draft.layer(layer);
    let channel = random.below(record.channels.get().into());
    for _ in 0..random.of(&[1, 1, 3]) {
        let bias = random.of(&[0, 1 << 10, 1 << 20, 1 << 25, 1 << 30, i32::MAX, i32::MIN]);
        match random.below(7) {
            0 => {
                let at = record.bias.get() as usize + 4 * channel;
                draft.write(at, &I32::new(bias.wrapping_sub(random.below(3) as i32 * 4000)));
            }
            1 => {
                let mantissa = mantissa(random);
                draft.write(record.mantissas.get() as usize + 4 * channel, &I32::new(mantissa));
            }
            2 => {
                let shift = random.below(64) as u8;
                draft.write(record.shifts.get() as usize + channel, &shift.wrapping_sub(32));
            }
            3 if record.padding_values.get() != 0 => {
                let value = random.bits() as u8;
                draft.write(record.padding_values.get() as usize + channel, &value);
            }
            4 if record.table.get() != 0 => {
                let term = bias.wrapping_add(random.bits() as i32 >> 12);
                let at = record.table.get() as usize + 4 * random.below(512);
                draft.write(at, &I32::new(term));
            }
            _ => {
                let any = random.bits() as u8;
                let weight = random.of(&[0, 1, 127, 128, 129, 255, any]);
                let bytes = record.weight_bytes.get() as usize;
                draft.write(record.weights.get() as usize + random.below(bytes), &weight);
            }
        }
    }
}

pub(crate) fn record_numbers(draft: &mut Draft, layer: usize, random: &mut Random) {
    let (number, mantissa) = (random.below(3), mantissa(random));
    let shift = random.of(&[0, 0, 1, 5, 22, 31, 32, -1, -8, -31, -32, 127, -128]);
    let byte = random.bits() as i8;
    let scale = random.of(&[0.5, 1e-38, 1e-45, 3e38, 0.0, -1.0, f32::NAN, f32::INFINITY]);
    let bits = random.below(20) as u8;
    let choice = random.below(7);
    draft.change_layer(layer, |record| match choice {
        0 => record.set_multiplier(
            number,
            Multiplier { mantissa: fixed_bits(mantissa), shift: record.multiplier(number).shift },
        ),
        1 => record.multiplier_shifts[number] = shift,
        2 => record.zero_point = byte,
        3 => (record.clamp_min, record.clamp_max) = (byte.min(0), byte.max(0)),
        4 => record.scale = F32::new(scale),
        5 => record.join_bits = bits,
        _ => record.parameter = I32::new(mantissa.wrapping_neg() >> (shift & 15)),
    });
}

/// A mantissa with these bits, in the form of a record.
fn fixed_bits(bits: i32) -> fixed::types::I1F31 {
    fixed::types::I1F31::from_bits(bits)
}

pub(crate) fn preprocessing(draft: &mut Draft, random: &mut Random) {
    let mut short = || U16::new(random.of(&[0, 1, 8, 32, 224, 256, 4096, 32_767, 65_535]));
    let [resize, crop_rows, crop_columns, settings] = [short(), short(), short(), short()];
    let mut float = || F32::new(random.of(&[0.0, 0.5, 1.0, -1.0, 1e-45, 3e38, f32::NAN]));
    let mean = [float(), float(), float()];
    let std = [float(), float(), float()];
    let record = PreprocessingRecord { resize, crop_rows, crop_columns, settings, mean, std };
    let offset = draft.append(record.as_bytes(), 4);
    let offset = offset.wrapping_add(random.of(&[0, 0, 0, 1, 16]));
    draft.change_header(|header| header.preprocessing_offset.set(offset));
}

pub(crate) fn texts(draft: &mut Draft, layer: usize, random: &mut Random) {
    let text: &[u8] = match random.below(4) {
        0 => b"\xff\xfe\x80",
        1 => b"\x1b[2J\n\n\n",
        2 => "é\u{202e}漢".as_bytes(),
        _ => b"",
    };
    let offset = draft.append(text, 1);
    let bytes = text.len() as u32;
    let header = draft.header();
    match random.below(4) {
        0 => draft.change_header(|header| {
            header.labels_offset.set(offset);
            header.labels_bytes.set(bytes);
        }),
        1 => draft.change_header(|header| {
            header.names_offset.set(offset);
            header.names_bytes.set(bytes);
        }),
        2 => {
            let at = header.names_offset.get() as usize;
            let count = header.names_bytes.get() as usize;
            draft.write(at + random.below(count), &random.of(&[0xffu8, 0x80, 0xc3, 0]));
        }
        _ => {
            let (offset, bytes) = (random.below(40) as u32, random.below(40) as u16);
            draft.change_layer(layer, |record| {
                record.name_offset.set(offset);
                record.name_bytes.set(bytes);
            });
        }
    }
}

/// Adds test images with random results: all runs must agree about them.
pub(crate) fn self_test(draft: &mut Draft, random: &mut Random) {
    let header = draft.header();
    let [input, logits, output] =
        [0, header.logits.get(), header.output.get()].map(|layer| draft.layer(layer.into()));
    let output = if header.logits == header.output { 0 } else { row_bytes(&output) };
    let each = row_bytes(&input) * u64::from(input.rows.get()) + row_bytes(&logits) + output;
    let count = random.of(&[0, 1, 1, 2, 4, 5, 65_535]);
    let needed = each.saturating_mul(count.into()).min(1 << 16) as usize;
    let length = random.of(&[needed, needed, needed, needed.saturating_sub(1)]);
    let reserved = random.of(&[0, 0, 0, 0, 1]);
    let record = SelfTestRecord { count: U16::new(count), reserved: U16::new(reserved) };
    let offset = draft.append(record.as_bytes(), 1);
    draft.append(&random.bytes(length), 1);
    draft.change_header(|header| header.self_test_offset.set(offset));
}
