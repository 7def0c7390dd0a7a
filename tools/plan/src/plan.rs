//! Gives every row its place: decides where the network is cut into segments, and where in the
//! arena each row is.
//!
//! The size of a segment is not estimated: the core's own schedule is walked, which tells at which
//! step each row is made, and at which it is used for the last time ([`Timeline`]). Of all ways to
//! cut, a shortest path finds the one whose largest segment is smallest. Then rows are placed, so
//! that those that live at the same time are apart. Rows of different tensors that live one after
//! another share places: where a map shrinks, the output grows into the input that it consumes.

use std::collections::HashMap;
use std::ops::Range;

use brooklet::Graph;
use brooklet::format::{LayerRecord, MAX_SEGMENT_LAYERS, NONE, SegmentRecord};
use brooklet::ops::{self, Derived};
use zerocopy::little_endian::{U16, U32};

use crate::program::Program;
use crate::timeline::{Item, Timeline};

/// Maximum number of tensors that live on from one segment to the next. At a cut with more than
/// this, a network that is built of blocks should not be cut.
const MAX_CARRIED: usize = 4;
/// Number of tries to place the rows again, with those first that ended up highest. Tries stop as
/// soon as the arena is as small as the peak.
const TRIES: usize = 40;
/// Number of rows above which there are only two tries: more than the deepest network of the papers
/// has.
const MANY: usize = 1 << 15;
/// Number of steps in a bucket. Items are sorted into buckets to find those that live at the same
/// time.
const BUCKET: u32 = 128;

/// The places of all rows.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The segments.
    pub segments: Vec<SegmentRecord>,
    /// The program's records, with scratch memory and last readers filled in.
    pub layers: Vec<LayerRecord>,
    /// For each layer the places of its rows in the arena.
    pub places: Vec<Vec<U32>>,
    /// Size of the arena in bytes.
    pub arena_bytes: usize,
    /// Bytes of rows and scratch memory at the fullest step: with these cuts no arena is smaller.
    pub peak_bytes: usize,
}

/// The error if there is no plan: a part of the network between two possible cuts has too many
/// layers for a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layers `{first}` to `{last}` cannot be cut apart, and are more than {MAX_SEGMENT_LAYERS}")]
pub struct Uncuttable {
    first: String,
    last: String,
}

/// The goal of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The smallest arena.
    Size,
    /// The fewest instructions within an arena of this many bytes; if no plan is that small, the
    /// smallest. Each step searches its layer among those of its segment, so short segments are
    /// fast, but they keep whole maps in between.
    Speed {
        /// Maximum size of the arena in bytes.
        arena_bytes: usize,
    },
}

/// Finds the best plan for `goal`.
///
/// ```
/// use brooklet_plan::model_file::ModelFile;
/// use brooklet_plan::plan::{Goal, plan};
/// use brooklet_plan::program::Program;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = ModelFile::open("../../tests/golden/tiny.brook")?;
/// let program = Program::read(&file.model());
/// let plan = plan(&program, Goal::Size)?;
/// assert_eq!(plan.arena_bytes, file.model().arena_bytes());
/// // The bytes of a model file: what the core parses.
/// assert!(brooklet::Model::parse(&program.write(&plan)).is_ok());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Uncuttable`] if too many layers lie between two places at which the network can be cut.
pub fn plan(program: &Program, goal: Goal) -> Result<Plan, Uncuttable> {
    let smallest = plan_cut(program, Goal::Size)?;
    let Goal::Speed { arena_bytes } = goal else { return Ok(smallest) };
    // The bytes that a cut needs at its fullest step are known before its rows are placed; the
    // bytes that placing adds are not.
    let mut room = arena_bytes;
    while room >= smallest.peak_bytes && smallest.arena_bytes <= arena_bytes {
        let plan = plan_cut(program, Goal::Speed { arena_bytes: room })?;
        match plan.arena_bytes.checked_sub(arena_bytes) {
            None | Some(0) => return Ok(plan),
            Some(excess) => room = plan.peak_bytes.saturating_sub(excess.max(1)),
        }
    }
    Ok(smallest)
}

/// The best cut, with its rows placed.
fn plan_cut(program: &Program, goal: Goal) -> Result<Plan, Uncuttable> {
    let mut layers = records(program);
    let segments = segments(&layers, &cuts(&layers), goal).map_err(|part| Uncuttable {
        first: program.layers[part.start].name.clone(),
        last: program.layers[part.end - 1].name.clone(),
    })?;
    let timeline = Timeline::of(&Graph { segments: &segments, layers: &layers });
    let (offsets, arena_bytes) = place(&timeline.items, peak(&timeline));
    let places = |items: &Vec<usize>| items.iter().map(|&item| U32::new(offsets[item])).collect();
    let places = timeline.rows.iter().map(places).collect();
    for (layer, item) in layers.iter_mut().zip(&timeline.scratch) {
        layer.scratch_offset = U32::new(item.map_or(0, |item| offsets[item]));
    }
    Ok(Plan { segments, layers, places, arena_bytes, peak_bytes: peak(&timeline) })
}

/// The records, with last readers and steps filled in.
fn records(program: &Program) -> Vec<LayerRecord> {
    let complete = |(layer, last): (&crate::program::Layer, u16)| {
        let mut record = layer.record;
        record.last_reader = U16::new(last);
        let input = &program.layers[usize::from(record.input.get())].record;
        Derived::of(&record, input.shape()).set(&mut record);
        record
    };
    program.layers.iter().zip(program.last_readers()).map(complete).collect()
}

/// Tensors that are made before `cut` and used after it.
fn crossing(layers: &[LayerRecord], cut: usize) -> impl Iterator<Item = usize> + use<'_> {
    (0..cut).filter(move |&layer| layers[layer].last_reader.get() as usize >= cut)
}

/// The layers before which the network can be cut.
fn cuts(layers: &[LayerRecord]) -> Vec<usize> {
    let inner = (1..layers.len()).filter(|&cut| crossing(layers, cut).count() <= MAX_CARRIED);
    [0].into_iter().chain(inner).chain([layers.len()]).collect()
}

/// The best cut into segments: for size, the one whose largest segment takes the fewest bytes. The
/// error is the part of the network that is too long for a segment, if there is one.
fn segments(
    layers: &[LayerRecord],
    cuts: &[usize],
    goal: Goal,
) -> Result<Vec<SegmentRecord>, Range<usize>> {
    // Deep networks repeat themselves, and equal segments take equal memory.
    let mut known: HashMap<Vec<u32>, (usize, usize)> = HashMap::new();
    // For each cut: the cost of the segments up to it (the bytes of the largest, or the layers that
    // all steps search), the number of segments, and the previous cut.
    let mut best: Vec<Option<(usize, usize, usize)>> = vec![None; cuts.len()];
    best[0] = Some((0, 0, 0));
    for to in 1..cuts.len() {
        for from in (0..to).rev() {
            let segment = cuts[from]..cuts[to];
            if segment.len() > MAX_SEGMENT_LAYERS {
                break;
            }
            let Some((before, count, _)) = best[from] else { continue };
            let (bytes, steps) = *known.entry(signature(layers, &segment)).or_insert_with(|| {
                let timeline = Timeline::of(&Graph { segments: &[record(&segment)], layers });
                (peak(&timeline), timeline.steps.len())
            });
            let cost = match goal {
                Goal::Size => before.max(bytes),
                Goal::Speed { arena_bytes } if bytes > arena_bytes => continue,
                Goal::Speed { .. } => before + steps * segment.len(),
            };
            let candidate = (cost, count + 1, from);
            if best[to].is_none_or(|best| candidate < best) {
                best[to] = Some(candidate);
            }
        }
        // For speed, a cut may need more than the arena, and then later cuts do not matter.
        if best[to].is_none() && goal == Goal::Size {
            return Err(cuts[to - 1]..cuts[to]);
        }
    }
    let mut segments = Vec::new();
    let mut to = cuts.len() - 1;
    while to > 0 {
        let from = best[to].map_or(0, |(_, _, from)| from);
        segments.push(record(&(cuts[from]..cuts[to])));
        to = from;
    }
    segments.reverse();
    Ok(segments)
}

fn record(segment: &Range<usize>) -> SegmentRecord {
    SegmentRecord {
        first_layer: U16::new(segment.start as u16),
        layer_count: U16::new(segment.len() as u16),
    }
}

/// All numbers on which the memory of a segment depends.
fn signature(layers: &[LayerRecord], segment: &Range<usize>) -> Vec<u32> {
    let carried: Vec<usize> = crossing(layers, segment.start).collect();
    // Tensors by their index in the segment, after those that are carried in.
    let number = |tensor: u16| match (tensor as usize).checked_sub(segment.start) {
        Some(inside) => (inside.min(segment.len()) + carried.len()) as u32,
        None => carried.iter().position(|&c| c == tensor as usize).map_or(u32::MAX, |c| c as u32),
    };
    let mut signature = vec![carried.len() as u32];
    for layer in carried.iter().copied().chain(segment.clone()) {
        let record = &layers[layer];
        let [kernel, stride, pads] =
            [record.kernel[0], record.stride[0], record.pads[0]].map(u32::from);
        let input = layers[record.input.get() as usize].shape();
        signature.extend([
            u32::from(record.operator) << 24 | kernel << 16 | stride << 8 | pads,
            u32::from(record.packing) << 16 | u32::from(record.rows.get()),
            record.row_bytes() as u32,
            ops::scratch_bytes(record, input) as u32,
            number(record.last_reader.get()),
        ]);
        if segment.contains(&layer) {
            let shortcut = record.shortcut.get();
            let updates = ops::can_update(&Graph { segments: &[], layers }, record);
            signature.extend([
                number(record.input.get()),
                if shortcut == NONE { u32::MAX } else { number(shortcut) },
                u32::from(record.shortcut_stride) << 1 | u32::from(updates),
            ]);
        }
    }
    signature
}

/// Bytes in use at the fullest step.
fn peak(timeline: &Timeline) -> usize {
    timeline.bytes_taken().into_iter().max().unwrap_or(0)
}

/// Places the items so that those that live at the same time are apart; returns their offsets, and
/// the size of the arena in bytes.
///
/// First fit in different orders: long-lived first, large first, in order of time, and each of
/// these after scratch memory. If the result is larger than `peak`, again with those first that
/// were placed highest.
fn place(items: &[Item], peak: usize) -> (Vec<u32>, usize) {
    type Key = fn(&Item) -> (u64, u64);
    let orders: [Key; 5] = [
        |item| (u64::from(u32::MAX - (item.life.end - item.life.start)), 0),
        |item| (u64::MAX - item.bytes as u64, u64::from(item.life.start)),
        |item| (u64::from(item.life.start), u64::MAX - item.bytes as u64),
        |item| {
            let area = item.bytes as u64 * u64::from(item.life.end - item.life.start);
            (u64::MAX - area, 0)
        },
        |item| (u64::from(item.moments.is_empty()), u64::from(item.life.start)),
    ];
    let tries = if items.len() > MANY { 2 } else { TRIES };
    let mut best = (Vec::new(), usize::MAX);
    for key in orders {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|&item| key(&items[item]));
        for _ in 0..tries {
            let (offsets, bytes) = first_fit(items, &order);
            let top = |item: &usize| offsets[*item] as usize + items[*item].bytes > peak;
            let (high, low): (Vec<usize>, Vec<usize>) = order.iter().partition(|item| top(item));
            if bytes < best.1 {
                best = (offsets, bytes);
            }
            if best.1 <= peak {
                return best;
            }
            order = [high, low].concat();
        }
    }
    best
}

/// Places each item at the lowest offset that is free during its life.
fn first_fit(items: &[Item], order: &[usize]) -> (Vec<u32>, usize) {
    let mut offsets = vec![0; items.len()];
    let mut end = 0;
    // Placed items, by the buckets of steps that they live in. Two items that live at the same time
    // share the bucket in which the later one begins, so none is needed after the last beginning.
    let last = items.iter().map(first_bucket).max().unwrap_or(0);
    let last_bucket = |item: &Item| (item.life.end.saturating_sub(1) / BUCKET) as usize;
    let mut placed: Vec<Vec<usize>> = vec![Vec::new(); last + 1];
    let mut taken = Vec::new();
    for &item in order {
        let bytes = items[item].bytes;
        let first = first_bucket(&items[item]);
        let buckets = first..=last_bucket(&items[item]).clamp(first, last);
        taken.clear();
        for bucket in buckets.clone() {
            // A pair of items is compared only in the first bucket that both have.
            let here = placed[bucket].iter().filter(|&&other| {
                first_bucket(&items[other]).max(*buckets.start()) == bucket
                    && items[other].meets(&items[item])
            });
            taken.extend(here.map(|&other| offsets[other]..offsets[other] + items[other].bytes));
        }
        taken.sort_unstable_by_key(|range: &Range<usize>| range.start);
        let mut offset = 0;
        for range in &taken {
            if offset + bytes <= range.start {
                break;
            }
            offset = offset.max(range.end);
        }
        offsets[item] = offset;
        end = end.max(offset + bytes);
        for bucket in buckets {
            placed[bucket].push(item);
        }
    }
    (offsets.into_iter().map(|offset| offset as u32).collect(), end)
}

fn first_bucket(item: &Item) -> usize {
    (item.life.start / BUCKET) as usize
}
