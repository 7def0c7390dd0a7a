//! Gives every row its place: decides where the network is cut into segments, and where in the
//! arena each row is.
//!
//! The size of a segment is not estimated: the core's own schedule is walked, which tells at which
//! step each row is made, and at which it is used for the last time ([`Timeline`]). Of all ways to
//! cut, a shortest path finds the one whose largest segment is smallest. Then rows are placed
//! ([`place`](mod@crate::place)).

use std::collections::HashMap;
use std::ops::Range;

use brooklet::Graph;
use brooklet::format::{LayerRecord, MAX_SEGMENT_LAYERS, NONE, SegmentRecord, flags};
use brooklet::ops::{self, Derived};
use zerocopy::little_endian::{U16, U32};

use crate::place::place;
use crate::program::Program;
use crate::timeline::Timeline;

/// Maximum number of tensors that live on from one segment to the next. At a cut with more than
/// this, a network that is built of blocks should not be cut.
const MAX_CARRIED: usize = 4;

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
    let enough = match goal {
        Goal::Size => 0,
        Goal::Speed { arena_bytes } => arena_bytes,
    };
    let Some(smallest) = plan_cut(program, Goal::Size, enough)? else {
        unreachable!("the smallest cut has no limit");
    };
    let Goal::Speed { arena_bytes } = goal else { return Ok(smallest) };
    // The bytes that a cut needs at its fullest step are known before its rows are placed; the
    // bytes that placing adds are not.
    let mut room = arena_bytes;
    while room >= smallest.peak_bytes && smallest.arena_bytes <= arena_bytes {
        let Some(plan) = plan_cut(program, Goal::Speed { arena_bytes: room }, enough)? else {
            break;
        };
        match plan.arena_bytes.checked_sub(arena_bytes) {
            None | Some(0) => return Ok(plan),
            Some(excess) => room = plan.peak_bytes.saturating_sub(excess.max(1)),
        }
    }
    Ok(smallest)
}

/// The best cut, with its rows placed; `None` if none fits. An arena of `enough` bytes need not become
/// smaller.
fn plan_cut(program: &Program, goal: Goal, enough: usize) -> Result<Option<Plan>, Uncuttable> {
    let mut known = HashMap::new();
    let mut cut = |layers| Cut::of(program, layers, goal, &mut known);
    let (eager, on_demand) = orders(program);
    let cuts = [cut(eager)?, on_demand.map(cut).transpose()?.flatten()];
    let best = cuts.into_iter().flatten().min_by_key(|cut| (cut.cost, cut.peak_bytes));
    let Some(best) = best else { return Ok(None) };
    let Cut { segments, mut layers, timeline, peak_bytes, .. } = best;
    let (offsets, arena_bytes) = place(&timeline, peak_bytes, enough);
    let places = |items: &Vec<usize>| items.iter().map(|&item| U32::new(offsets[item])).collect();
    let places = timeline.rows.iter().map(places).collect();
    for (layer, item) in layers.iter_mut().zip(&timeline.scratch) {
        layer.scratch_offset = U32::new(item.map_or(0, |item| offsets[item]));
    }
    Ok(Some(Plan { segments, layers, places, arena_bytes, peak_bytes }))
}

/// The best cut of a network whose steps run in a given order.
struct Cut {
    /// See [`segments`].
    cost: usize,
    segments: Vec<SegmentRecord>,
    layers: Vec<LayerRecord>,
    timeline: Timeline,
    peak_bytes: usize,
}

impl Cut {
    fn of(
        program: &Program,
        layers: Vec<LayerRecord>,
        goal: Goal,
        known: &mut Known,
    ) -> Result<Option<Self>, Uncuttable> {
        let cut = segments(&layers, &cuts(&layers), goal, known);
        let cut = cut.map_err(|part| Uncuttable {
            first: program.layers[part.start].name.clone(),
            last: program.layers[part.end - 1].name.clone(),
        })?;
        let Some((cost, segments)) = cut else { return Ok(None) };
        let timeline = Timeline::of(&Graph { segments: &segments, layers: &layers });
        let peak_bytes = peak(&timeline);
        Ok(Some(Self { cost, segments, layers, timeline, peak_bytes }))
    }
}

/// The records for both orders of steps that are tried, with last readers and steps filled in: all
/// layers run as soon as they can, or layers that are only a shortcut run
/// [on demand](flags::ON_DEMAND), if there are any.
///
/// A layer that waits keeps fewer of its own rows, but may keep more rows of its input.
fn orders(program: &Program) -> (Vec<LayerRecord>, Option<Vec<LayerRecord>>) {
    let complete = |(layer, last): (&crate::program::Layer, u16)| {
        let mut record = layer.record;
        record.flags &= !flags::ON_DEMAND;
        record.last_reader = U16::new(last);
        let input = &program.layers[usize::from(record.input.get())].record;
        Derived::of(&record, input.shape()).set(&mut record);
        record
    };
    let eager: Vec<_> = program.layers.iter().zip(program.last_readers()).map(complete).collect();
    let mut readers = vec![0; eager.len()];
    for record in &eager[1..] {
        let operands = [Some(usize::from(record.input.get())), record.shortcut()];
        operands.into_iter().flatten().for_each(|operand| readers[operand] += 1);
    }
    let mut on_demand = eager.clone();
    let mut waits = false;
    for (index, readers) in readers.into_iter().enumerate().skip(1) {
        let last = eager.get(usize::from(eager[index].last_reader.get()));
        if readers == 1 && last.is_some_and(|last| last.shortcut() == Some(index)) {
            on_demand[index].flags |= flags::ON_DEMAND;
            waits = true;
        }
    }
    (eager, waits.then_some(on_demand))
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

/// The bytes and the number of steps of segments, by their [`signature`].
type Known = HashMap<Vec<u32>, (usize, usize)>;

/// The best cut into segments, and its cost: for size, the one whose largest segment takes the
/// fewest bytes. `None` if no cut fits. The error is the part of the network that is too long for a
/// segment, if there is one.
///
/// Deep networks repeat themselves, and equal segments take equal memory: what is `known`.
fn segments(
    layers: &[LayerRecord],
    cuts: &[usize],
    goal: Goal,
    known: &mut Known,
) -> Result<Option<(usize, Vec<SegmentRecord>)>, Range<usize>> {
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
    let mut to = cuts.len() - 1;
    let Some((cost, ..)) = best[to] else { return Ok(None) };
    let mut segments = Vec::new();
    while let Some((_, _, from)) = best[to].filter(|_| to > 0) {
        segments.push(record(&(cuts[from]..cuts[to])));
        to = from;
    }
    segments.reverse();
    Ok(Some((cost, segments)))
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
                u32::from(record.shortcut_stride) << 2
                    | u32::from(record.is_on_demand()) << 1
                    | u32::from(updates),
            ]);
        }
    }
    signature
}

/// Bytes in use at the fullest step.
fn peak(timeline: &Timeline) -> usize {
    timeline.bytes_taken().into_iter().max().unwrap_or(0)
}
