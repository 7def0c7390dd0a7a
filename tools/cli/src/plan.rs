//! Gives every tensor its ring: how the network is cut into segments, how high each ring is,
//! which rings are updated in place, and where they lie in the arena.
//!
//! The height of a ring is not estimated: the core's own [`Schedule`] is walked with rings as
//! high as the tensors, and the most rows that were ever needed at once is the height. With
//! rings of that height the schedule runs step for step the same.
//!
//! Cuts are made where a single tensor crosses (at the ends of residual blocks). Of all ways
//! to cut, a shortest path through these places finds the one whose largest segment is smallest.

use std::collections::HashMap;
use std::ops::Range;

use brooklet::Graph;
use brooklet::format::{LayerRecord, MAX_SEGMENT_LAYERS, NONE, SegmentRecord, flags};
use brooklet::ops;
use brooklet::schedule::{Next, Schedule};
use zerocopy::little_endian::{U16, U32};

use crate::program::Program;

/// Alignment of a ring in the arena, in bytes.
const RING_ALIGN: usize = 4;
/// Alignment of scratch memory in the arena, in bytes.
const SCRATCH_ALIGN: usize = 16;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The segments.
    pub segments: Vec<SegmentRecord>,
    /// The program's records, with ring, scratch memory and last reader.
    pub layers: Vec<LayerRecord>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
}

/// Why there is no plan: a part of the network between two places where it can be cut has too
/// many layers for a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layers `{first}` to `{last}` cannot be cut apart, and are more than {MAX_SEGMENT_LAYERS}")]
pub struct Uncuttable {
    first: String,
    last: String,
}

/// Finds the plan with the smallest arena.
///
/// # Errors
///
/// [`Uncuttable`] for a network unlike a ResNet.
pub fn plan(program: &Program) -> Result<Plan, Uncuttable> {
    let mut layers = records(program);
    let cuts = cuts(&layers);
    let segments = segments(&layers, &cuts).map_err(|part| Uncuttable {
        first: program.layers[part.start].name.clone(),
        last: program.layers[part.end - 1].name.clone(),
    })?;
    let mut items = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let heights = heights(&layers, segment.clone());
        for layer in segment.clone() {
            let record = &mut layers[layer];
            record.ring_rows = U16::new(heights.get(&layer).map_or(0, |&rows| rows));
            let input = layers[layers[layer].input.get() as usize].shape();
            let bytes = ops::scratch_bytes(&layers[layer], input);
            if bytes > 0 {
                items.push(Item { layer, scratch: true, bytes, life: index..index + 1, offset: 0 });
            }
        }
    }
    let segment_of = |layer: usize| segments.iter().position(|s| s.contains(&layer)).unwrap_or(0);
    for layer in 0..layers.len() {
        if !layers[layer].in_place() {
            let last = chain(&layers, layer)
                .map(|member| match layers[member].last_reader.get() {
                    NONE => segments.len() - 1,
                    reader => segment_of(reader as usize),
                })
                .max()
                .unwrap_or(0);
            let bytes = layers[layer].ring_rows.get() as usize * layers[layer].shape().row_bytes();
            let life = segment_of(layer)..last + 1;
            items.push(Item { layer, scratch: false, bytes, life, offset: 0 });
        }
    }
    let arena_bytes = place(&mut items);
    for item in &items {
        let offset = U32::new(item.offset as u32);
        if item.scratch {
            layers[item.layer].scratch_offset = offset;
        } else {
            let rows = layers[item.layer].ring_rows;
            for member in chain(&layers.clone(), item.layer) {
                layers[member].ring_offset = offset;
                layers[member].ring_rows = rows;
            }
        }
    }
    let segments = segments
        .iter()
        .map(|segment| SegmentRecord {
            first_layer: U16::new(segment.start as u16),
            layer_count: U16::new(segment.len() as u16),
        })
        .collect();
    Ok(Plan { segments, layers, arena_bytes })
}

/// The records with last readers, updates in place, and rings as high as the tensors.
fn records(program: &Program) -> Vec<LayerRecord> {
    let last_readers = program.last_readers();
    let mut layers: Vec<LayerRecord> = program.layers.iter().map(|layer| layer.record).collect();
    for index in 0..layers.len() {
        layers[index].last_reader = U16::new(last_readers[index]);
        layers[index].ring_rows = layers[index].rows;
        let record = &layers[index];
        // The shortcut's rows are overwritten where nobody reads the shortcut later, and the
        // rows are alike.
        if let Some(shortcut) = record.shortcut()
            && last_readers[shortcut] as usize == index
            && record.shape() == layers[shortcut].shape()
            && record.shortcut_stride == 1
            && record.input != record.shortcut
        {
            layers[index].flags |= flags::IN_PLACE;
        }
    }
    layers
}

/// The layers that share the ring of `head`, from it on.
fn chain(layers: &[LayerRecord], head: usize) -> impl Iterator<Item = usize> + use<'_> {
    std::iter::successors(Some(head), |&layer| {
        let next = layers[layer].last_reader.get() as usize;
        let over = |record: &&LayerRecord| record.in_place() && record.shortcut() == Some(layer);
        layers.get(next).filter(over).map(|_| next)
    })
}

/// Layers before which the network can be cut: a single tensor crosses.
fn cuts(layers: &[LayerRecord]) -> Vec<usize> {
    let crossing = |cut: usize| {
        (0..cut).filter(|&layer| (layers[layer].last_reader.get() as usize) >= cut).count()
    };
    let inner = (1..layers.len()).filter(|&cut| crossing(cut) == 1);
    [0].into_iter().chain(inner).chain([layers.len()]).collect()
}

/// The cut into segments whose largest takes the fewest bytes; the part of the network that
/// is too long for any segment, if there is one.
fn segments(layers: &[LayerRecord], cuts: &[usize]) -> Result<Vec<Range<usize>>, Range<usize>> {
    // For each cut: the largest segment up to it, the number of segments, and the cut before.
    let mut best: Vec<Option<(usize, usize, usize)>> = vec![None; cuts.len()];
    best[0] = Some((0, 0, 0));
    for to in 1..cuts.len() {
        for from in (0..to).rev() {
            let segment = cuts[from]..cuts[to];
            if segment.len() > MAX_SEGMENT_LAYERS {
                break;
            }
            let Some((largest, count, _)) = best[from] else { continue };
            let candidate = (largest.max(segment_bytes(layers, segment)), count + 1, from);
            if best[to].is_none_or(|best| candidate < best) {
                best[to] = Some(candidate);
            }
        }
        if best[to].is_none() {
            return Err(cuts[to - 1]..cuts[to]);
        }
    }
    let mut segments = Vec::new();
    let mut to = cuts.len() - 1;
    while to > 0 {
        let from = best[to].map_or(0, |(_, _, from)| from);
        segments.push(cuts[from]..cuts[to]);
        to = from;
    }
    segments.reverse();
    Ok(segments)
}

/// Bytes that are taken while a segment runs.
fn segment_bytes(layers: &[LayerRecord], segment: Range<usize>) -> usize {
    let heights = heights(layers, segment.clone());
    let own: usize = segment
        .clone()
        .map(|layer| {
            let rows = usize::from(heights.get(&layer).copied().unwrap_or(0));
            let record = &layers[layer];
            let input = layers[record.input.get() as usize].shape();
            (rows * record.shape().row_bytes()).next_multiple_of(RING_ALIGN)
                + ops::scratch_bytes(record, input).next_multiple_of(SCRATCH_ALIGN)
        })
        .sum();
    let carried: usize = (0..segment.start)
        .filter(|&layer| layers[layer].last_reader.get() as usize >= segment.start)
        .map(|layer| layers[layer].shape().bytes().next_multiple_of(RING_ALIGN))
        .sum();
    own + carried
}

/// For each ring that begins in the segment: rows that are needed at once.
fn heights(layers: &[LayerRecord], segment: Range<usize>) -> HashMap<usize, u16> {
    let records = [SegmentRecord {
        first_layer: U16::new(segment.start as u16),
        layer_count: U16::new(segment.len() as u16),
    }];
    let graph = Graph { segments: &records, layers };
    let mut schedule = Schedule::new(&graph);
    let mut heights = HashMap::new();
    loop {
        let layer = match schedule.next(&graph) {
            Next::Run { layer, .. } => layer,
            Next::Row { .. } => 0,
            Next::Done | Next::Stalled => return heights,
        };
        if !layers[layer].in_place() {
            let made = schedule.made(&graph, layer);
            let dead = schedule.ring_dead_below(&graph, layer);
            let rows = made.saturating_sub(dead).saturating_add(1).min(layers[layer].rows.get());
            let height = heights.entry(layer).or_insert(1);
            *height = rows.max(*height);
        }
        schedule.complete(&graph, layer);
    }
}

/// Something that needs a place in the arena while some segments run.
#[derive(Debug, Clone)]
struct Item {
    layer: usize,
    scratch: bool,
    bytes: usize,
    life: Range<usize>,
    offset: usize,
}

/// Places the items, those that live at once apart: returns the bytes of the arena.
///
/// First fit, in the order that comes out smallest: long-lived first, or large first.
fn place(items: &mut [Item]) -> usize {
    type Key = fn(&Item) -> (usize, usize);
    let orders: [Key; 2] =
        [|item| (item.life.len(), item.bytes), |item| (item.bytes, item.life.len())];
    let mut best: Option<(usize, Vec<Item>)> = None;
    for key in orders {
        let mut order = items.to_vec();
        order.sort_by_key(|item| std::cmp::Reverse(key(item)));
        let mut placed: Vec<Item> = Vec::new();
        for mut item in order {
            let align = if item.scratch { SCRATCH_ALIGN } else { RING_ALIGN };
            let mut taken: Vec<Range<usize>> = placed
                .iter()
                .filter(|p| p.life.start < item.life.end && item.life.start < p.life.end)
                .map(|p| p.offset..p.offset + p.bytes)
                .collect();
            taken.sort_by_key(|range| range.start);
            for range in taken {
                if item.offset + item.bytes <= range.start {
                    break;
                }
                item.offset = item.offset.max(range.end.next_multiple_of(align));
            }
            placed.push(item);
        }
        let bytes = placed.iter().map(|item| item.offset + item.bytes).max().unwrap_or(0);
        if best.as_ref().is_none_or(|(smallest, _)| bytes < *smallest) {
            best = Some((bytes, placed));
        }
    }
    let (bytes, placed) = best.unwrap_or_default();
    items.clone_from_slice(&placed);
    bytes
}
