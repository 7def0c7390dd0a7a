//! Decides where in the arena each row and each scratch memory is, so that those that are in use at
//! the same time are apart.
//!
//! Rows of different tensors that live one after another share places: where a map shrinks, the
//! output grows into the input that it consumes. The arena cannot be smaller than the bytes in use
//! at the fullest step, and most often it need not be larger.

use std::cmp::Reverse;

use crate::timeline::{Item, Timeline};

/// Number of times that an item is placed anew, all items together, in each order that is tried.
const WORK: usize = 300_000;
/// Largest number of tries in an order.
const TRIES: usize = 300;
/// Number of tries after which an arena that is small enough is taken.
const FEW: usize = 40;
/// Number of steps in a bucket. Items are sorted into buckets to find those that live at the same
/// time.
const BUCKET: u32 = 128;

/// Places the items of a timeline; returns their offsets, and the size of the arena in bytes.
///
/// Each item in turn has the lowest place that is free during its life. If the arena becomes larger
/// than the `peak`, the bytes in use at the fullest step, this is tried again, with those items
/// first that were most often too high. (This is squeaky wheel optimization: Joslin and Clements
/// 1999.) It begins with four orders: long-lived items first, large items first, items of full steps
/// first, and in order of time. If the arena has at most `enough` bytes after [`FEW`] tries, there are
/// no more.
pub(crate) fn place(timeline: &Timeline, peak: usize, enough: usize) -> (Vec<u32>, usize) {
    let items = &timeline.items;
    let taken = timeline.bytes_taken();
    let fullest = |item: &Item| match &item.moments[..] {
        [] => {
            let end = taken.len().min(item.life.end as usize);
            taken[item.life.start as usize..end].iter().max().copied().unwrap_or(0)
        }
        moments => moments.iter().map(|&step| taken[step as usize]).max().unwrap_or(0),
    };
    let length = |item: &Item| item.life.end - item.life.start;
    let meetings = meetings(items);
    let tries = (WORK / items.len().max(1)).clamp(2, TRIES);
    let mut best = (Vec::new(), usize::MAX);
    let orders: [&dyn Fn(&Item) -> usize; 4] =
        [&|item| length(item) as usize, &|item| item.bytes, &fullest, &|_| 0];
    for first in orders {
        let mut too_high = vec![0u32; items.len()];
        let mut initial: Vec<usize> = (0..items.len()).collect();
        initial.sort_by_key(|&item| (Reverse(first(&items[item])), items[item].life.start));
        let mut order = initial.clone();
        for number in 1..=tries {
            let (offsets, bytes) = first_fit(items, &order, &meetings);
            for (times, (&offset, item)) in too_high.iter_mut().zip(offsets.iter().zip(items)) {
                *times += u32::from(offset as usize + item.bytes > peak);
            }
            if bytes < best.1 {
                best = (offsets, bytes);
            }
            if best.1 <= peak || number >= FEW && best.1 <= enough {
                return best;
            }
            order.clone_from(&initial);
            order.sort_by_key(|&item| Reverse(too_high[item]));
        }
    }
    best
}

/// Places each item at the lowest offset that is free during its life.
fn first_fit(items: &[Item], order: &[usize], meetings: &[Vec<u32>]) -> (Vec<u32>, usize) {
    const NOT_YET: u32 = u32::MAX;
    let mut offsets = vec![NOT_YET; items.len()];
    let mut end = 0;
    let mut taken = Vec::new();
    for &item in order {
        let placed = meetings[item].iter().map(|&other| other as usize);
        taken.clear();
        taken.extend(placed.filter(|&other| offsets[other] != NOT_YET).map(|other| {
            let offset = offsets[other] as usize;
            (offset, offset + items[other].bytes)
        }));
        taken.sort_unstable();
        let mut offset = 0;
        for &(start, end) in &taken {
            if offset + items[item].bytes <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[item] = offset as u32;
        end = end.max(offset + items[item].bytes);
    }
    (offsets, end)
}

/// For each item those that are in use at the same time.
fn meetings(items: &[Item]) -> Vec<Vec<u32>> {
    let first = |item: &Item| (item.life.start / BUCKET) as usize;
    let last = |item: &Item| (item.life.end.saturating_sub(1) / BUCKET) as usize;
    // Two items that live at the same time share the bucket in which the later one begins, so none
    // is needed after the last beginning.
    let buckets = items.iter().map(first).max().map_or(0, |last| last + 1);
    let mut alive: Vec<Vec<usize>> = vec![Vec::new(); buckets];
    let mut meetings = vec![Vec::new(); items.len()];
    for (index, item) in items.iter().enumerate() {
        let here = first(item)..last(item).clamp(first(item), buckets - 1) + 1;
        for bucket in here.clone() {
            for &other in &alive[bucket] {
                // A pair of items is compared only in the first bucket that both have.
                let compared = first(&items[other]).max(here.start) == bucket;
                if compared && items[other].meets(item) {
                    meetings[index].push(other as u32);
                    meetings[other].push(index as u32);
                }
            }
            alive[bucket].push(index);
        }
    }
    meetings
}
