//! Rows in the arena.
//!
//! The rows that a step reads and writes lie in one arena, so they are taken out of it together:
//! [`Carved`] cuts the arena at the places that the step writes, and finds rows to read in the
//! rest.
//!
//! ```text
//! arena   ├──── read ────┤ output row ├──── read ────┤ scratch ├──── read ────┤
//! ```

use core::ops::Range;

use heapless::Vec;

use crate::format::MAX_STEP_ROWS;
use crate::proved::proved;

/// The parts that can be read: the position and the bytes of each.
type Gaps<'a> = Vec<(usize, &'a [u8]), { MAX_STEP_ROWS + 2 }>;

/// An arena cut into the parts that a step writes and the parts that it may read. See the
/// [module](self).
///
/// It is filled in place: moving it would copy its list at every step.
#[derive(Debug, Default)]
pub(crate) struct Carved<'a> {
    /// The parts before, between and after the output rows and the scratch memory: the position and
    /// the bytes of each.
    read: Gaps<'a>,
}

impl<'a> Carved<'a> {
    /// Cuts `arena` at `places`, which do not overlap, and returns the bytes of each; the rest can
    /// be read. Bytes outside of the arena come out empty.
    #[inline]
    pub(crate) fn cut<const N: usize>(
        &mut self,
        arena: &'a mut [u8],
        places: &[Range<usize>],
    ) -> [&'a mut [u8]; N] {
        const { assert!(N < MAX_STEP_ROWS + 2) };
        let mut cuts: [&'a mut [u8]; N] = core::array::from_fn(|_| Default::default());
        carve(arena, places, &mut cuts, &mut self.read);
        cuts
    }

    /// The bytes of `range`; empty if the step writes some of them.
    #[inline]
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        for &(start, bytes) in &self.read {
            if let Some(from) = range.start.checked_sub(start)
                && let Some(found) = bytes.get(from..from + range.len())
            {
                return found;
            }
        }
        &[]
    }
}

/// Cuts `arena` at `places`, and adds the parts before, between and after them to `gaps`.
#[inline(never)]
fn carve<'a>(
    arena: &'a mut [u8],
    places: &[Range<usize>],
    cuts: &mut [&'a mut [u8]],
    gaps: &mut Gaps<'a>,
) {
    // In the order of their addresses, which most of them have already.
    let starts_at = |index: usize| places.get(index).map_or(0, |place| place.start);
    let mut order: Vec<usize, { MAX_STEP_ROWS + 1 }> = Vec::new();
    for index in 0..places.len().min(cuts.len()) {
        let _ = order.push(index);
        let mut at = index;
        while let Some(before) = at.checked_sub(1)
            && let Some([before, this]) = order.get_mut(before..=at)
            && starts_at(*before) > starts_at(*this)
        {
            core::mem::swap(before, this);
            at -= 1;
        }
    }
    let (mut rest, mut start) = (arena, 0);
    for &index in &order {
        let (Some(place), Some(bytes)) = (places.get(index), cuts.get_mut(index)) else { break };
        // An empty place cuts nothing.
        if place.is_empty() || place.start < start {
            continue;
        }
        let (before, cut_start, cut, after) = cut(rest, start, place.clone());
        // Nothing is found in a part without bytes.
        if !before.is_empty() {
            let _ = gaps.push((start, before));
        }
        (rest, start) = (after, cut_start + cut.len());
        *bytes = cut;
        if rest.is_empty() {
            break;
        }
    }
    let _ = gaps.push((start, rest));
}

/// Cuts `range` out of `bytes`, the first of which has the index `start`. Returns the bytes before
/// the cut, the position of the cut, the cut, and the bytes after it.
fn cut(
    bytes: &mut [u8],
    start: usize,
    range: Range<usize>,
) -> (&[u8], usize, &mut [u8], &mut [u8]) {
    let from = range.start.saturating_sub(start).min(bytes.len());
    let (before, rest) = proved!(bytes.split_at_mut_checked(from)).unwrap_or_default();
    let length = range.len().min(rest.len());
    let (cut, after) = proved!(rest.split_at_mut_checked(length)).unwrap_or_default();
    (before, start + from, cut, after)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;

    #[test]
    fn carving_separates() {
        let mut arena: vec::Vec<u8> = (0..100).collect();
        for (output, scratch) in
            [(10..20, 50..60), (50..60, 10..20), (0..5, 15..20), (30..40, 0..0)]
        {
            let mut read = Carved::default();
            let [o, s] = read.cut(&mut arena, &[output.clone(), scratch.clone()]);
            assert_eq!((o[0] as usize, o.len()), (output.start, output.len()));
            assert_eq!(s.len(), scratch.len());
            assert_eq!(read.bytes(70..80)[0], 70);
            assert!(read.bytes(output.start..output.start + 2).is_empty());
            assert_eq!(read.bytes(output.end + 1..output.end + 3)[0] as usize, output.end + 1);
        }
    }

    #[test]
    fn what_is_empty_cuts_nothing() {
        let mut arena: vec::Vec<u8> = (0..100).collect();
        for empty in [0..0, 25..25, 50..50, 15..15, 100..100, 400..400] {
            for places in [[10..20, empty.clone()], [empty.clone(), 10..20]] {
                let mut read = Carved::default();
                let [_, _] = read.cut(&mut arena, &places);
                assert_eq!(read.bytes(20..100).len(), 80, "{empty:?}");
                assert_eq!(read.bytes(0..10).len(), 10, "{empty:?}");
            }
        }
    }

    #[test]
    fn as_many_cuts_as_a_step_makes_rows() {
        let mut arena: vec::Vec<u8> = (0..100).collect();
        let places = [60..70, 20..30, 0..0, 90..100, 30..40];
        let mut read = Carved::default();
        let cuts: [_; 5] = read.cut(&mut arena, &places);
        for (place, cut) in places.iter().zip(&cuts) {
            assert_eq!(cut.len(), place.len());
            assert!(cut.iter().map(|&byte| usize::from(byte)).eq(place.clone()));
        }
        for between in [0..20, 40..60, 70..90] {
            assert_eq!(read.bytes(between.clone()).len(), between.len());
        }
        assert!(read.bytes(25..35).is_empty());
    }
}
