//! How much work checking is, counted in stretches looked at, and which files are refused because
//! they take too much.

use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{F32, I32, U16, U32};

use super::taken::tests::looked_at;
use crate::error::Error;
use crate::format::{LayerRecord, NONE, Operator, SegmentRecord, Writer};
use crate::model::Model;
use crate::ops::Derived;
use crate::shape::Shape;

/// A network of 1×1 convolutions whose rows have one byte.
struct Chain {
    rows: u16,
    /// Number of layers whose outputs are complete before the layers after them begin; the last
    /// layers read them.
    whole: u16,
    /// Number of layers that hold two rows at a time.
    streams: u16,
    /// Units of the arena from one row of a complete output to the next.
    distance: u32,
    /// Number of layers that share one layer's weights and places.
    sharing: usize,
    /// Number of pools of the input beside the one at the end; a layer adds each of them to that
    /// one.
    pools: u16,
}

const CHAIN: Chain = Chain { rows: 100, whole: 4, streams: 20, distance: 1, sharing: 1, pools: 0 };

impl Chain {
    /// Parses it: the result, and the number of stretches looked at.
    fn parse(&self) -> (Result<(), Error>, u64) {
        let file = self.file();
        let before = looked_at();
        let result = Model::parse(&file).map(|_| ());
        (result, looked_at() - before)
    }

    fn file(&self) -> Vec<u8> {
        let mut buffer = vec![0; (1 << 20) + 64 * 5 * usize::from(self.rows)];
        let mut writer = Writer::new(&mut buffer);
        let mut parts = vec![];
        let mut add = |writer: &mut Writer<'_>, layer: usize| {
            if parts.is_empty() || layer.is_multiple_of(self.sharing) {
                parts.clear();
                let one = [1i32 << 30];
                for (bytes, align) in
                    [(&[1][..], 16), (&[0; 4], 4), (one.as_bytes(), 4), (&[1], 1), (&[0; 1024], 4)]
                {
                    parts.push(writer.append(bytes, align).unwrap());
                }
            }
            parts.clone()
        };
        let convs = self.whole + self.streams;
        let shape = Shape::new(self.rows, 1, 1);
        let mut layers: Vec<LayerRecord> = vec![];
        let mut free = 0;
        let mut place = |rows: u16, distance: u32| {
            let places: Vec<_> =
                (0..rows).map(|y| U32::new(16 * (free + distance * u32::from(y)))).collect();
            free += distance * u32::from(rows);
            places
        };
        for index in 0..convs + 2 * self.pools + 2 {
            let mut record = LayerRecord::new();
            let conv = index > 0 && index < convs;
            let behind = index.checked_sub(convs);
            let last = behind == Some(2 * self.pools + 1);
            let pool = behind.is_some_and(|behind| !last && (behind == 0 || behind % 2 == 1));
            let sum = behind.is_some_and(|behind| behind > 0 && !pool && !last);
            record.operator = match index {
                0 => Operator::Input,
                _ if pool => Operator::AveragePool,
                _ => Operator::Conv,
            } as u8;
            let own = if behind.is_some() { Shape::new(1, 1, 1) } else { shape };
            (record.rows, record.columns, record.channels) =
                (U16::new(own.rows), U16::new(own.columns), U16::new(own.channels));
            let input = if pool && index > convs { 0 } else { index.saturating_sub(1) };
            (record.input, record.shortcut) = (U16::new(input), U16::new(NONE));
            (record.scale, record.clamp_min, record.clamp_max) = (F32::new(1.0), -128, 127);
            if conv || sum || last {
                (record.kernel, record.stride) = ([1; 2], [1; 2]);
                let parts = add(&mut writer, usize::from(index));
                (record.weights, record.bias) = (parts[0], parts[1]);
                (record.mantissas, record.shifts) = (parts[2], parts[3]);
                // The last of the convolutions also read the complete outputs.
                let beside = (index + self.whole).checked_sub(convs).filter(|_| conv);
                let beside = beside.filter(|&of| of < self.whole);
                if let Some(of) = beside.or(sum.then(|| index - 2)) {
                    (record.shortcut, record.shortcut_stride) = (U16::new(of), 1);
                    record.table = parts[4];
                }
            }
            let places = match index {
                _ if behind.is_some() => place(1, 1),
                _ if index < self.whole => place(self.rows, self.distance),
                _ => {
                    let two = place(2, 1);
                    (0..usize::from(self.rows)).map(|y| two[y % 2]).collect()
                }
            };
            record.places = match usize::from(index) % self.sharing {
                0 => writer.append(places.as_bytes(), 4).unwrap(),
                _ => layers.last().unwrap().places,
            };
            let from = layers.get(usize::from(input)).map_or(own, LayerRecord::shape);
            Derived::of(&record, from).set(&mut record);
            if record.scratch_bytes.get() > 0 {
                record.scratch_offset = place(1, 1)[0];
            }
            if pool {
                record.multiplier_mantissas[0] = I32::new(1 << 30);
                record.multiplier_shifts[0] = -20;
            }
            layers.push(record);
        }
        for index in 0..layers.len() {
            let reads = |layer: &LayerRecord| {
                usize::from(layer.input.get()) == index || layer.shortcut() == Some(index)
            };
            let reader = (index + 1..layers.len()).rev().find(|&at| reads(&layers[at]));
            layers[index].last_reader = U16::new(reader.map_or(NONE, |at| at as u16));
        }
        let all = layers.len() as u16;
        let header = writer.header();
        header.arena_bytes = U32::new(16 * free);
        (header.logits, header.output) = (U16::new(all - 1), U16::new(all - 1));
        let segment = |first: u16, end: u16| SegmentRecord {
            first_layer: U16::new(first),
            layer_count: U16::new(end - first),
        };
        let segments = [segment(0, self.whole), segment(self.whole, all)];
        let length = writer.finish(&segments, &layers).unwrap();
        buffer.truncate(length);
        buffer
    }
}

/// Rows of a ring are not looked for in the arena: of these 24 layers, only those that are complete
/// before others begin are.
#[test]
fn rings_take_no_work() {
    let (result, work) = CHAIN.parse();
    assert_eq!(result, Ok(()));
    let rows = work / u64::from(CHAIN.rows);
    assert!(rows <= 60, "{rows} stretches looked at for each row");
}

/// Twice as many rows take twice as much work, however many rows are needed at the same time.
#[test]
fn work_grows_with_rows() {
    let work = |rows| {
        let (result, work) = Chain { rows, ..CHAIN }.parse();
        assert_eq!(result, Ok(()), "{rows} rows");
        work as f64 / f64::from(rows)
    };
    let few = work(1000);
    for rows in [2000, 4000, 8000] {
        let ratio = work(rows) / few;
        assert!((0.9..1.1).contains(&ratio), "{rows} rows: {ratio} times as much for each");
    }
}

/// Rows with gaps between them need more walks, up to a limit that follows from the file's length.
#[test]
fn scattered_rows_take_more_walks_or_are_refused() {
    let (side_by_side, work) = Chain { rows: 30, ..CHAIN }.parse();
    assert_eq!(side_by_side, Ok(()));
    let (scattered, more) = Chain { rows: 30, distance: 2, ..CHAIN }.parse();
    assert_eq!(scattered, Ok(()));
    assert!(more > 2 * work, "{more}, {work}");
    let (refused, _) = Chain { rows: 4000, distance: 2, ..CHAIN }.parse();
    assert_eq!(refused, Err(Error::Work));
}

/// A part that several layers share is checked for each of them, so it counts once for each.
#[test]
fn parts_shared_without_bound_are_refused() {
    assert_eq!(Chain { rows: 1000, sharing: 1, ..CHAIN }.parse().0, Ok(()));
    let (shared, work) = Chain { rows: 1000, sharing: 2, ..CHAIN }.parse();
    assert_eq!((shared, work), (Err(Error::Work), 0));
}

/// A pool takes a step for each row of its input, but refers to few bytes.
#[test]
fn steps_without_bound_are_refused() {
    let pooled = |pools| Chain { rows: 10_000, streams: 1, whole: 1, pools, ..CHAIN }.parse().0;
    assert_eq!(pooled(2), Ok(()));
    assert_eq!(pooled(20), Err(Error::Work));
}
