//! A check of the schedule without shortcuts: it notes the row in each unit of the arena, and looks
//! at all of them in each step. `Model::parse` must give the same verdict.

use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{F32, I32, U16, U32};

use super::repeats::tests::skipped;
use crate::error::{Error, Fault};
use crate::format::{LayerRecord, NONE, Operator, Packing, SegmentRecord, Writer, flags};
use crate::model::Model;
use crate::ops::{self, Derived};
use crate::schedule::{Next, Schedule};
use crate::shape::Shape;

/// Random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as u32 % n
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// What makes a network.
struct Kind {
    /// Fewest rows of the image, and number of other numbers of rows.
    rows: [u32; 2],
    /// One in how many layers has rows that may overlap those of others.
    overlap: u32,
    /// Whether layers may add others, make several rows in a step, have the places of others, and
    /// run on demand.
    varied: bool,
}

/// Few rows.
const SHORT: Kind = Kind { rows: [4, 12], overlap: 16, varied: false };
/// So many rows that the schedule repeats itself.
const TALL: Kind = Kind { rows: [60, 150], overlap: 24, varied: true };

/// A file of pools, convolutions and sums, each of which reads the layer before it or the one
/// before that. Most have an area of their own in the arena, and a ring of a few places in it.
fn network(random: &mut Random, kind: &Kind) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 1 << 17];
    let mut writer = Writer::new(&mut buffer);
    let mut layers: Vec<LayerRecord> = vec![];
    let mut starts: Vec<Vec<u32>> = vec![];
    // So that no file refers to more bytes than it has.
    writer.append(&[0; 1 << 14], 1).unwrap();
    let (count, mut top) = (3 + random.below(6), 0);
    // Whether the layer before is a copy that later layers can only add, like a projection.
    let mut is_aside = false;
    for index in 0..count {
        let mut record = LayerRecord::new();
        record.shortcut = U16::new(NONE);
        (record.scale, record.clamp_min, record.clamp_max) = (F32::new(1.0), -128, 127);
        let last = index == count - 1;
        let two_before = index > 1 && !last && (is_aside || random.one_in(8));
        let input = layers.len().saturating_sub(if two_before { 2 } else { 1 });
        record.input = U16::new(input as u16);
        let varied = kind.varied && index > 1 && !last;
        is_aside = varied && !is_aside && random.one_in(4);
        let others = || (0..input).filter(|&of| layers[of].shape() == layers[input].shape());
        let added = if varied && !is_aside {
            others().next_back().filter(|_| random.one_in(3))
        } else {
            None
        };
        let convolves = varied && !is_aside && added.is_none() && random.one_in(6);
        let shape = match layers.get(input).map(LayerRecord::shape) {
            None => Shape::new((kind.rows[0] + random.below(kind.rows[1])) as u16, 1, 17),
            Some(_) if last => {
                (record.operator, record.multiplier_shifts[0]) = (Operator::AveragePool as u8, -20);
                record.multiplier_mantissas[0] = I32::new(1 << 30);
                Shape::new(1, 1, 17)
            }
            Some(from) if added.is_some() => {
                record.operator = Operator::Add as u8;
                (record.shortcut, record.shortcut_stride) = (U16::new(added? as u16), 1);
                record.table = writer.append(&[0; 2048], 4).unwrap();
                (record.multiplier_mantissas[0], record.multiplier_shifts[0]) =
                    (I32::new(1 << 30), 0);
                from
            }
            Some(from) if convolves => {
                record.operator = Operator::Conv as u8;
                (record.kernel, record.stride, record.pads) = ([3, 3], [1, 1], [1; 4]);
                record.packing = Packing::WinogradInt8 as u8;
                (record.rows, record.columns) = (U16::new(from.rows), U16::new(1));
                record.channels = U16::new(17);
                Derived::of(&record, from).set(&mut record);
                let weights = vec![0; record.weight_bytes.get() as usize];
                record.weights = writer.append(&weights, 16).unwrap();
                record.bias = writer.append([0i32; 17].as_bytes(), 4).unwrap();
                record.mantissas = writer.append([1i32 << 30; 17].as_bytes(), 4).unwrap();
                record.shifts = writer.append(&[0; 17], 1).unwrap();
                from
            }
            Some(from) if is_aside => {
                record.operator = Operator::MaxPool as u8;
                (record.kernel, record.stride) = ([1; 2], [1; 2]);
                from
            }
            Some(from) => {
                let wide = kind.varied && random.one_in(4);
                let [kernel, stride] =
                    if wide { [12, 5] } else { [3, 2] }.map(|most| 1 + random.below(most) as u16);
                let pads = [0; 2].map(|_| random.below(kernel.into()) as u16);
                let rows = (from.rows + pads[0] + pads[1]).checked_sub(kernel)? / stride + 1;
                record.operator = Operator::MaxPool as u8;
                (record.kernel, record.stride) = ([kernel as u8, 1], [stride as u8, 1]);
                record.pads = [pads[0] as u8, 0, pads[1] as u8, 0];
                Shape::new(rows, 1, 17)
            }
        };
        (record.rows, record.columns) = (U16::new(shape.rows), U16::new(1));
        record.channels = U16::new(17);
        let from = layers.get(input).map_or(shape, LayerRecord::shape);
        Derived::of(&record, from).set(&mut record);
        // Two units a row.
        let (rows, own) = (u32::from(shape.rows), !random.one_in(kind.overlap));
        // Tall images have most rings that a period of eight rows can have.
        let ring = if kind.varied && !random.one_in(8) {
            2 << random.below(3)
        } else {
            1 + random.below(5)
        };
        let ring = ring.min(rows);
        let base = if own { top } else { random.below(top + 1) };
        let mut places: Vec<_> = (0..rows).map(|y| 16 * (base + 2 * (y % ring))).collect();
        if kind.varied && random.one_in(4) {
            // The places of a layer before, or of the rows that are added.
            let of = added.unwrap_or(layers.len().saturating_sub(2));
            if let Some(of) = starts.get(of).and_then(|of| of.get(..rows as usize)) {
                places = of.to_vec();
            }
        }
        if random.one_in(kind.overlap) {
            places[random.below(rows) as usize] = 16 * random.below(top + 1);
        }
        top = places.iter().fold(top, |top, place| top.max(place / 16 + 2));
        starts.push(places.clone());
        let places: Vec<_> = places.into_iter().map(U32::new).collect();
        record.places = writer.append(places.as_bytes(), 4).unwrap();
        if record.scratch_bytes.get() > 0 {
            let at = if random.one_in(4) { random.below(top) } else { top };
            record.scratch_offset = U32::new(16 * at);
            top = top.max(at + record.scratch_bytes.get().div_ceil(16));
        }
        layers.push(record);
    }
    for index in 0..layers.len() {
        let reads = |at: &usize| {
            usize::from(layers[*at].input.get()) == index || layers[*at].shortcut() == Some(index)
        };
        let reader = (index + 1..layers.len()).rev().find(reads);
        layers[index].last_reader = U16::new(reader.map_or(NONE, |at| at as u16));
        let is_shortcut = reader.is_some_and(|at| layers[at].shortcut() == Some(index));
        if index > 0 && is_shortcut && random.one_in(2) {
            layers[index].flags = flags::ON_DEMAND;
        }
    }
    let cut = if kind.varied && !random.one_in(4) { 0 } else { random.below(count) as u16 };
    let segment = |first: u16, layers: u16| SegmentRecord {
        first_layer: U16::new(first),
        layer_count: U16::new(layers),
    };
    let segments = [segment(0, cut), segment(cut, count as u16 - cut)];
    let header = writer.header();
    header.arena_bytes = U32::new(16 * top);
    (header.logits, header.output) = (U16::new(count as u16 - 1), U16::new(count as u16 - 1));
    let length = writer.finish(&segments[usize::from(cut == 0)..], &layers).unwrap();
    buffer.truncate(length);
    Some(buffer)
}

/// The error if a layer overwrites what is still needed, or the schedule does not end.
fn verdict(file: &[u8]) -> Result<(), Error> {
    let header = crate::model::header(file).unwrap();
    let model = Model::with_tables(file, header).unwrap();
    let graph = model.graph();
    let mut units: Vec<Option<(usize, u16)>> = vec![None; model.arena_bytes() / 16];
    let mut schedule = Schedule::new(graph);
    loop {
        let (layer, step) = match schedule.next(graph) {
            Next::Row { row } => (0, row),
            Next::Run { layer, step } => (layer, step),
            Next::Done => return Ok(()),
            Next::Stalled => return Err(Error::Stalls { segment: schedule.segment() as u16 }),
        };
        // What `layer` has in the arena, by number: its rows, and its scratch memory.
        let record = model.layer(layer);
        let first = schedule.made(graph, layer);
        let scratch = model.scratch(record);
        let keeps = ops::scratch_persists(record);
        let mut writes = vec![(u16::MAX, scratch.clone())];
        writes.retain(|(_, scratch)| !(scratch.is_empty() || keeps && step > 0));
        schedule.complete(graph, layer);
        writes.extend((first..schedule.made(graph, layer)).map(|y| (y, model.row(layer, y))));
        for (y, place) in writes {
            // A row may take the place of the row that it is added to, if no other layer needs it.
            let updated = record.shortcut().filter(|&of| {
                ops::can_update(graph, record)
                    && model.row(of, y).start == place.start
                    && schedule.needed_from(graph, of, Some(layer), 0) > y
            });
            for unit in &mut units[place.start / 16..place.end.div_ceil(16)] {
                let before = unit.replace((layer, y));
                if before.is_some_and(|(of, row)| updated != Some(of) || row != y) {
                    return Err(Error::layer(layer, Fault::Overwrites));
                }
            }
        }
        let done = |of: usize| schedule.made(graph, of) == model.layer(of).rows.get();
        let kept = |of: usize| ops::scratch_persists(model.layer(of)) && !done(of);
        for unit in &mut units {
            *unit = unit.filter(|&(of, y)| match y {
                u16::MAX => kept(of),
                _ => y >= schedule.needed_from(graph, of, None, 0),
            });
        }
    }
}

/// Compares verdicts for networks of a kind: how many were refused and accepted.
fn compared(kind: &Kind, networks: u64) -> [u32; 2] {
    let mut verdicts = [0; 2];
    for seed in 0..networks {
        let Some(file) = network(&mut Random(seed), kind) else { continue };
        let parsed = Model::parse(&file).map(|_| ());
        // A tensor that no layer reads is refused before.
        if matches!(parsed, Err(Error::Layer { fault: Fault::Readers, .. })) {
            continue;
        }
        assert_eq!(parsed, verdict(&file), "seed {seed}");
        verdicts[usize::from(parsed.is_ok())] += 1;
    }
    verdicts
}

#[test]
fn verdicts_are_those_of_a_check_of_every_unit() {
    let verdicts = compared(&SHORT, 20_000);
    assert!(verdicts.iter().all(|&count| count > 2000), "{verdicts:?}");
}

/// Periods that are skipped change no verdict, wherever in the image rows overwrite others.
#[test]
fn verdicts_are_those_of_a_check_of_every_unit_in_tall_images() {
    let before = skipped();
    let verdicts = compared(&TALL, 2000);
    let skipped = skipped() - before;
    assert!(
        verdicts.iter().all(|&count| count > 150) && skipped > 20_000,
        "{verdicts:?}, {skipped}"
    );
}
