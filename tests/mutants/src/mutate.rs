//! Makes mutants: model files with one or several changes, most of which look plausible to a
//! reader.

use brooklet::format::{LayerRecord, MAGIC, NONE, Operator, SegmentRecord};
use zerocopy::little_endian::U16;

use crate::data;
use crate::draft::{Draft, row_bytes, seal};
use crate::extremes;
use crate::fields::{self, any, other};
use crate::random::Random;
use crate::structure;

macro_rules! kinds {
    ($($kind:ident $weight:literal $text:literal),* $(,)?) => {
        /// What is changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $(#[doc = $text] $kind),* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Relative frequency of the kind.
            const WEIGHTS: &[usize] = &[$($weight),*];

            /// The name of the kind.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $text),* }
            }
        }
    };
}

kinds! {
    Header 4 "a field of the header",
    Field 12 "a field of a layer",
    FieldOfAnother 4 "a field from another layer",
    Operands 4 "operands, last readers",
    Places 14 "places of rows",
    Scratch 8 "place of scratch memory",
    Arena 3 "bytes of the arena",
    Swap 3 "records swapped or copied",
    Segments 6 "segments",
    Parts 8 "offsets of parts",
    Numbers 10 "weights, biases, multipliers, tables",
    RecordNumbers 6 "numbers of a record",
    Preprocessing 1 "preprocessing",
    SelfTest 2 "test images",
    Texts 2 "names and labels",
    Packing 10 "packing, weights packed anew",
    Window 8 "kernel, stride, padding",
    Shapes 6 "shapes, followed through the network",
    Repeat 3 "layers repeated",
    Bytes 5 "bytes anywhere",
    Length 1 "length of the file",
    Extreme 8 "a network at the ends of its ranges",
}

/// A changed file.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Its bytes.
    pub file: Vec<u8>,
    /// What was changed.
    pub kinds: Vec<Kind>,
}

/// Mutant `number` of these seeds; it is always the same for the same number.
pub fn mutant(seeds: &[Vec<u8>], number: u64) -> Mutant {
    let mut random = Random::new(number);
    let seed = &seeds[random.below(seeds.len())];
    changed(seed, &mut random)
}

/// A file with one or several changes.
pub fn changed(seed: &[u8], random: &mut Random) -> Mutant {
    let mut draft = Draft(seed.to_vec());
    let count = random.of(&[1, 1, 1, 1, 2, 2, 3, 4]);
    let mut kinds = Vec::new();
    for _ in 0..count {
        let kind = chosen(random);
        // Other changes can follow a new network, but not precede it.
        if kind != Kind::Extreme || kinds.is_empty() {
            change(kind, &mut draft, random);
            kinds.push(kind);
        }
    }
    if !random.one_in(4) {
        structure::derive(&mut draft);
    }
    let mut file = draft.0;
    if !kinds.contains(&Kind::Length) {
        file = Draft(file).sealed();
    }
    if random.one_in(100) {
        // A file that is not sealed is refused, whatever its other contents.
        let at = random.below(file.len());
        if let Some(byte) = file.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    } else if file.len() >= 20 {
        seal(&mut file);
    }
    Mutant { file, kinds }
}

fn chosen(random: &mut Random) -> Kind {
    let mut left = random.below(Kind::WEIGHTS.iter().sum());
    for (kind, weight) in Kind::ALL.iter().zip(Kind::WEIGHTS) {
        match left.checked_sub(*weight) {
            Some(less) => left = less,
            None => return *kind,
        }
    }
    Kind::Bytes
}

fn change(kind: Kind, draft: &mut Draft, random: &mut Random) {
    let layers = draft.len();
    match kind {
        Kind::Header => {
            let field = random.of(fields::HEADER);
            set_field(draft, 0, field, random);
        }
        Kind::Bytes => bytes(draft, random),
        Kind::Length => length(draft, random),
        Kind::Arena => arena(draft, random),
        Kind::Segments => segments(draft, random),
        Kind::SelfTest => data::self_test(draft, random),
        Kind::Preprocessing => data::preprocessing(draft, random),
        Kind::Extreme => *draft = extremes::network(random),
        Kind::Shapes => structure::shapes(draft, random),
        Kind::Repeat => structure::repeat(draft, random),
        _ => {
            let Some(layer) = any(random, layers) else { return };
            match kind {
                Kind::Field => {
                    let field = random.of(fields::LAYER);
                    set_field(draft, draft.layer_offset(layer), field, random);
                }
                Kind::FieldOfAnother => {
                    let field = random.of(fields::LAYER);
                    copy_field(draft, [random.below(layers), layer], [field; 2]);
                }
                Kind::Parts => data::parts(draft, layer, random),
                Kind::Operands => operands(draft, layer, random),
                Kind::Places => places(draft, layer, random),
                Kind::Scratch => scratch(draft, layer, random),
                Kind::Swap => swap(draft, [layer, random.below(layers)], random),
                Kind::Numbers => data::numbers(draft, layer, random),
                Kind::RecordNumbers => data::record_numbers(draft, layer, random),
                Kind::Texts => data::texts(draft, layer, random),
                Kind::Packing => structure::packing(draft, layer, random),
                _ => structure::window(draft, layer, random),
            }
        }
    }
}

/// Reads a little-endian number.
fn number(draft: &Draft, at: usize, bytes: usize) -> u32 {
    let there = draft.0.get(at..).and_then(|rest| rest.get(..bytes)).unwrap_or(&[]);
    there.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

pub(crate) fn set_number(draft: &mut Draft, at: usize, bytes: usize, value: u32) {
    if let Some(there) = draft.0.get_mut(at..).and_then(|rest| rest.get_mut(..bytes)) {
        there.copy_from_slice(&value.to_le_bytes()[..bytes]);
    }
}

pub(crate) fn set_field(
    draft: &mut Draft,
    record: usize,
    (offset, bytes): fields::Field,
    r: &mut Random,
) {
    let at = record + offset;
    let value = other(r, number(draft, at, bytes), bytes, draft.0.len());
    set_number(draft, at, bytes, value);
}

/// Copies a field of one layer over one of another: `layers` and `fields` are source and
/// destination.
pub(crate) fn copy_field(draft: &mut Draft, layers: [usize; 2], fields: [fields::Field; 2]) {
    let [from, to] = [0, 1].map(|i| draft.layer_offset(layers[i]) + fields[i].0);
    let value = number(draft, from, fields[0].1);
    set_number(draft, to, fields[1].1, value);
}

fn bytes(draft: &mut Draft, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        // The tables more often than the rest; they lie at the end.
        let length = draft.0.len();
        let tables = draft.header().layers_offset.get() as usize;
        let from = if random.one_in(2) && tables < length { tables } else { MAGIC.len() };
        let at = from + random.below(length.saturating_sub(from));
        let byte = random.bits() as u8;
        draft.write(at, &byte);
    }
}

fn length(draft: &mut Draft, random: &mut Random) {
    let length = draft.0.len();
    let new = match random.below(3) {
        0 => random.below(length + 1),
        1 => length - random.below(20).min(length),
        _ => length + random.below(100),
    };
    if random.one_in(2) {
        draft.change_header(|header| header.length.set(new as u32));
    } else {
        draft.0.resize(new, 0xff);
    }
}

fn arena(draft: &mut Draft, random: &mut Random) {
    let old = draft.header().arena_bytes.get();
    let new = match random.below(4) {
        0 => other(random, old, 4, draft.0.len()),
        // A larger arena is as good, whatever its size.
        1 => old.saturating_add(random.below(1000) as u32),
        2 => old - (random.below(64) as u32).min(old),
        _ => old.saturating_add(4095) & !4095,
    };
    draft.change_header(|header| header.arena_bytes.set(new));
}

/// A valid or nearly valid place of a row in the arena.
fn some_place(draft: &Draft, random: &mut Random) -> u32 {
    let layer = random.below(draft.len());
    let record = draft.layer(layer);
    let row = random.below(record.rows.get().into());
    let there = draft.place(layer, row).unwrap_or(0);
    match random.below(8) {
        0 => (random.below(draft.header().arena_bytes.get() as usize + 16) & !15) as u32,
        1 => there.wrapping_add(16),
        2 => there.wrapping_sub(16),
        3 => there.wrapping_add(row_bytes(&record) as u32).wrapping_add(15) & !15,
        // In the middle of a row.
        4 => there.wrapping_add((random.below(row_bytes(&record) as usize) & !15) as u32),
        5 => record.scratch_offset.get(),
        6 => record.scratch_offset.get().wrapping_add(random.below(64) as u32 & !15),
        _ => there,
    }
}

fn places(draft: &mut Draft, layer: usize, random: &mut Random) {
    for _ in 0..random.of(&[1, 1, 2, 5]) {
        let rows = usize::from(draft.layer(layer).rows.get());
        let row = random.below(rows);
        match random.below(6) {
            0 => {
                let raw = draft.place(layer, row).unwrap_or(0);
                let raw = other(random, raw, 4, draft.header().arena_bytes.get() as usize);
                draft.set_place(layer, row, raw);
            }
            1 => {
                // A ring with another number of rows.
                let round = 1 + random.below(4);
                let from = draft.place(layer, row).unwrap_or(0);
                if let Some(to) = row.checked_add(round).filter(|&to| to < rows) {
                    draft.set_place(layer, to, from);
                }
            }
            2 => {
                let with = random.below(rows);
                if let [Some(a), Some(b)] = [row, with].map(|row| draft.place(layer, row)) {
                    draft.set_place(layer, row, b);
                    draft.set_place(layer, with, a);
                }
            }
            3 => {
                draft.put_apart();
            }
            _ => {
                let place = some_place(draft, random);
                draft.set_place(layer, row, place);
            }
        }
    }
}

fn scratch(draft: &mut Draft, layer: usize, random: &mut Random) {
    // Layers without scratch memory are as likely as others.
    let place = match random.below(5) {
        0 => other(random, draft.layer(layer).scratch_offset.get(), 4, draft.0.len()),
        1 => draft.header().arena_bytes.get() & !15,
        _ => some_place(draft, random),
    };
    draft.change_layer(layer, |record| record.scratch_offset.set(place));
    if random.one_in(8) {
        let bytes = other(random, draft.layer(layer).scratch_bytes.get(), 4, draft.0.len());
        draft.change_layer(layer, |record| record.scratch_bytes.set(bytes));
    }
}

fn operands(draft: &mut Draft, layer: usize, random: &mut Random) {
    let layers = draft.len();
    let any = random.below(layers) as u16;
    let some = random.of(&[any, layer as u16, layers as u16, NONE]);
    let before = random.below(layer.max(1)) as u16;
    let near = random.of(&[1, 2, u16::MAX]);
    let choice = random.below(8);
    draft.change_layer(layer, |record| match choice {
        0 => record.last_reader.set(some),
        1 => record.last_reader.set(record.last_reader.get().wrapping_add(near)),
        2 => record.input.set(before),
        3 => record.input.set(some),
        4 => record.shortcut.set(before),
        5 => record.shortcut.set(some),
        6 => record.shortcut_stride = near as u8,
        _ => record.shortcut_channels_before.set(near),
    });
    if random.one_in(2) {
        structure::set_readers(draft);
    }
}

fn swap(draft: &mut Draft, [a, b]: [usize; 2], random: &mut Random) {
    let [of_a, of_b] = [a, b].map(|layer| draft.layer(layer));
    draft.change_layer(a, |record| *record = of_b);
    if random.one_in(2) {
        draft.change_layer(b, |record| *record = of_a);
    }
    if random.one_in(2) {
        structure::set_readers(draft);
    }
}

fn segments(draft: &mut Draft, random: &mut Random) {
    let mut segments = draft.segments();
    let Some(index) = any(random, segments.len()) else { return };
    let [first, count] = [segments[index].first_layer.get(), segments[index].layer_count.get()];
    let segment = |first: u16, count: u16| SegmentRecord {
        first_layer: U16::new(first),
        layer_count: U16::new(count),
    };
    match random.below(9) {
        // Cut in two: the layers before are complete when the rest begins.
        0..=2 => {
            let at = 1 + random.below(usize::from(count.max(2)) - 1) as u16;
            segments[index] = segment(first, at);
            segments.insert(index + 1, segment(first.wrapping_add(at), count.wrapping_sub(at)));
        }
        3 | 4 if index + 1 < segments.len() => {
            let next = segments.remove(index + 1);
            segments[index] = segment(first, count.wrapping_add(next.layer_count.get()));
        }
        5 => segments[index] = segment(first, count.wrapping_add(random.of(&[1, 0xffff]))),
        6 => segments[index] = segment(first.wrapping_add(random.of(&[1, 0xffff])), count),
        7 => {
            segments.insert(index, segments[index]);
        }
        _ => {
            segments.remove(index);
        }
    }
    draft.set_segments(&segments);
    if random.one_in(2) {
        draft.put_apart();
    }
}

/// Whether a record is that of a convolution.
pub(crate) fn is_conv(record: &LayerRecord) -> bool {
    record.operator == Operator::Conv as u8
}
