//! A check of the schedule without shortcuts: it notes the row in each unit of the arena, and looks
//! at all of them in each step. `Model::parse` must give the same verdict.

use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{F32, I32, U16, U32};

use crate::error::{Error, Fault};
use crate::format::{LayerRecord, NONE, Operator, SegmentRecord, Writer};
use crate::model::Model;
use crate::ops::Derived;
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

/// A file of max-pools, each of which reads the one before it or the one before that. Most have an
/// area of their own in the arena, and a ring of a few places in it.
fn network(random: &mut Random) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 1 << 14];
    let mut writer = Writer::new(&mut buffer);
    let mut layers: Vec<LayerRecord> = vec![];
    let (count, mut top) = (3 + random.below(6), 0);
    for index in 0..count {
        let mut record = LayerRecord::new();
        record.shortcut = U16::new(NONE);
        (record.scale, record.clamp_min, record.clamp_max) = (F32::new(1.0), -128, 127);
        let last = index == count - 1;
        let input =
            layers.len().saturating_sub(if index > 1 && !last && random.one_in(8) { 2 } else { 1 });
        record.input = U16::new(input as u16);
        let shape = match layers.get(input).map(LayerRecord::shape) {
            None => Shape::new(4 + random.below(12) as u16, 1, 17),
            Some(_) if last => {
                (record.operator, record.multiplier_shifts[0]) = (Operator::AveragePool as u8, -20);
                record.multiplier_mantissas[0] = I32::new(1 << 30);
                Shape::new(1, 1, 17)
            }
            Some(from) => {
                let [kernel, stride] = [1 + random.below(3) as u16, 1 + random.below(2) as u16];
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
        let (rows, own) = (u32::from(shape.rows), !random.one_in(16));
        let ring = (1 + random.below(5)).min(rows);
        let base = if own { top } else { random.below(top + 1) };
        let mut places: Vec<_> = (0..rows).map(|y| 16 * (base + 2 * (y % ring))).collect();
        if random.one_in(16) {
            places[random.below(rows) as usize] = 16 * random.below(top + 1);
        }
        top = places.iter().fold(top, |top, place| top.max(place / 16 + 2));
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
        let reads = |at: &usize| usize::from(layers[*at].input.get()) == index;
        let reader = (index + 1..layers.len()).rev().find(reads);
        layers[index].last_reader = U16::new(reader.map_or(NONE, |at| at as u16));
    }
    let cut = random.below(count) as u16;
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

/// The first layer that overwrites what is still needed.
fn overwrites(file: &[u8]) -> Option<usize> {
    let header = crate::model::header(file).unwrap();
    let model = Model::with_tables(file, header).unwrap();
    let graph = model.graph();
    let mut units: Vec<Option<(usize, u16)>> = vec![None; model.arena_bytes() / 16];
    let mut schedule = Schedule::new(graph);
    loop {
        let (layer, step) = match schedule.next(graph) {
            Next::Row { row } => (0, row),
            Next::Run { layer, step } => (layer, step),
            _ => return None,
        };
        // What `layer` has in the arena, by number: its rows, and its scratch memory.
        let first = schedule.made(graph, layer);
        let scratch = model.scratch(model.layer(layer));
        let mut writes = vec![(u16::MAX, scratch.clone())];
        writes.retain(|(_, scratch)| !scratch.is_empty() && step == 0);
        schedule.complete(graph, layer);
        writes.extend((first..schedule.made(graph, layer)).map(|y| (y, model.row(layer, y))));
        for (y, place) in writes {
            for unit in &mut units[place.start / 16..place.end.div_ceil(16)] {
                if unit.replace((layer, y)).is_some() {
                    return Some(layer);
                }
            }
        }
        let done = |of: usize| schedule.made(graph, of) == model.layer(of).rows.get();
        for unit in &mut units {
            *unit = unit.filter(|&(of, y)| match y {
                u16::MAX => !done(of),
                _ => y >= schedule.needed_from(graph, of, None, 0),
            });
        }
    }
}

#[test]
fn verdicts_are_those_of_a_check_of_every_unit() {
    let mut verdicts = [0; 2];
    for seed in 0..20_000 {
        let Some(file) = network(&mut Random(seed)) else { continue };
        let expected = match overwrites(&file) {
            Some(layer) => Err(Error::layer(layer, Fault::Overwrites)),
            None => Ok(()),
        };
        let verdict = Model::parse(&file).map(|_| ());
        // A tensor that no layer reads is refused before.
        if !matches!(verdict, Err(Error::Layer { fault: Fault::Readers, .. })) {
            assert_eq!(verdict, expected, "seed {seed}");
            verdicts[usize::from(verdict.is_ok())] += 1;
        }
    }
    assert!(verdicts.iter().all(|&count| count > 2000), "{verdicts:?}");
}
