//! The fields of header and layer records, and values to write into them.

use std::mem::offset_of;

use brooklet::format::{Header, LayerRecord};

use crate::random::Random;

/// Offset and bytes of a field.
pub(crate) type Field = (usize, usize);

macro_rules! fields {
    ($record:ty: $($field:ident $bytes:literal $(+ $next:literal)*),* $(,)?) => {
        &[$(
            (offset_of!($record, $field), $bytes),
            $((offset_of!($record, $field) + $next, $bytes),)*
        )*]
    };
}

/// The fields of the header, except magic, length and checksum.
pub(crate) const HEADER: &[Field] = fields!(Header:
    version 2, reserved 2, arena_bytes 4, segments_offset 4, segment_count 2, layer_count 2,
    layers_offset 4, logits 2, output 2, names_offset 4, names_bytes 4, labels_offset 4,
    labels_bytes 4, preprocessing_offset 4, self_test_offset 4,
);

/// The fields of a layer.
pub(crate) const LAYER: &[Field] = fields!(LayerRecord:
    operator 1, flags 1, zero_point 1, packing 1, rows 2, columns 2, channels 2,
    shortcut_channels_before 2, places 4, scratch_offset 4, input 2, shortcut 2, last_reader 2,
    clamp_min 1, clamp_max 1, scale 4, name_offset 4, name_bytes 2, kernel 1 + 1, stride 1 + 1,
    pads 1 + 1 + 2 + 3, shortcut_stride 1, join_bits 1, weights 4, bias 4, mantissas 4, shifts 4,
    padding_values 4, table 4, multiplier_mantissas 4 + 4 + 8, multiplier_shifts 1 + 1 + 2,
    step_rows 1, parameter 4, steps 2, step_stride 1, step_span 1, weight_bytes 4, scratch_bytes 4,
);

/// The fields that are offsets of parts of the file.
pub(crate) const PARTS: &[Field] = fields!(LayerRecord:
    places 4, weights 4, bias 4, mantissas 4, shifts 4, padding_values 4, table 4, name_offset 4,
);

/// Another value for a field of `bytes` bytes whose value is `old`, in a file of `length` bytes.
pub(crate) fn other(random: &mut Random, old: u32, bytes: usize, length: usize) -> u32 {
    let bits = 8 * bytes as u32;
    let top = 1u32 << (bits - 1);
    match random.below(12) {
        0 => random.of(&[0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 65]),
        1 => random.of(&[top - 1, top, top + 1, top | (top - 1), (top - 1) | (top - 2)]),
        2 => random.of(&[0xff, 0x100, 0x101, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff, 0x1_0000]),
        3 => old ^ (1 << random.below(bits as usize)),
        4 => old.wrapping_add(random.of(&[1, 2, 4, 16])),
        5 => old.wrapping_sub(random.of(&[1, 2, 4, 16])),
        6 => old.wrapping_mul(2),
        7 => old / 2,
        8 => old.wrapping_neg(),
        // Near the end of the file, for offsets.
        9 => (length as u32).wrapping_add(16).wrapping_sub(random.below(33) as u32),
        10 => (random.below(length.max(1)) & !15) as u32,
        _ => random.bits() as u32,
    }
}

/// An index into a list: `None` if it is empty.
pub(crate) fn any(random: &mut Random, length: usize) -> Option<usize> {
    (length > 0).then(|| random.below(length))
}
