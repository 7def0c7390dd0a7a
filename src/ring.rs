//! Rows in the arena.
//!
//! A tensor lives in a ring: row `y` is in slot `y mod rows`. What a step reads and writes
//! are rows of one arena, so they are taken out of it together: [`Carved`] cuts the arena at
//! the two places that the step writes, and finds rows to read in what is left.
//!
//! ```text
//! arena   ├──── read ────┤ output row ├──── read ────┤ scratch ├──── read ────┤
//! ```

use core::ops::Range;

use crate::format::LayerRecord;

/// Where the rows of a tensor are in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring {
    offset: usize,
    rows: usize,
    row_bytes: usize,
}

impl Ring {
    /// The ring of a layer's output.
    #[inline(always)]
    pub(crate) fn of(layer: &LayerRecord) -> Self {
        Self {
            offset: layer.ring_offset.get() as usize,
            rows: layer.ring_rows.get() as usize,
            row_bytes: layer.shape().row_bytes(),
        }
    }

    /// Bytes in the arena; `None` if they do not fit an address.
    pub(crate) fn bytes(self) -> Option<Range<usize>> {
        Some(self.offset..self.offset.checked_add(self.rows.checked_mul(self.row_bytes)?)?)
    }

    /// Bytes of row `y` in the arena.
    #[inline(always)]
    pub(crate) fn row(self, y: usize) -> Range<usize> {
        let start = self.offset + y.checked_rem(self.rows).unwrap_or(0) * self.row_bytes;
        start..start + self.row_bytes
    }

    /// Whether any of the rows `live` shares a byte with `range`.
    pub(crate) fn holds(self, live: Range<usize>, range: &Range<usize>) -> bool {
        let count = live.end.saturating_sub(live.start).min(self.rows);
        if count == 0 || range.is_empty() {
            return false;
        }
        // The live slots are one run, or two where the run wraps around the ring's end.
        let first = live.start.checked_rem(self.rows).unwrap_or(0);
        let before_wrap = count.min(self.rows - first);
        let run = |slot: usize, slots: usize| {
            let start = self.offset + slot * self.row_bytes;
            start < range.end && range.start < start + slots * self.row_bytes
        };
        run(first, before_wrap) || (count > before_wrap && run(0, count - before_wrap))
    }
}

/// An arena cut into what a step writes and what it may read. See the [module](self).
#[derive(Debug)]
pub(crate) struct Carved<'a> {
    read: [(usize, &'a [u8]); 3],
}

impl<'a> Carved<'a> {
    /// Cuts `arena` at `output` and `scratch`, which do not overlap: returns what can be read,
    /// the output row and the scratch memory. What lies outside of the arena comes out empty.
    pub(crate) fn new(
        arena: &'a mut [u8],
        output: Range<usize>,
        scratch: Range<usize>,
    ) -> (Self, &'a mut [u8], &'a mut [u8]) {
        let output_first = output.start <= scratch.start;
        let (first, second) = if output_first { (output, scratch) } else { (scratch, output) };
        let (before, first_start, one, rest) = cut(arena, 0, first);
        let (between, second_start, two, after) = cut(rest, first_start + one.len(), second);
        let read = [
            (0, before),
            (first_start + one.len(), between),
            (second_start + two.len(), after as &[u8]),
        ];
        let (output, scratch) = if output_first { (one, two) } else { (two, one) };
        (Self { read }, output, scratch)
    }

    /// The bytes of `range`; empty if the step writes some of them.
    #[inline(always)]
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        for (start, bytes) in self.read {
            if let Some(from) = range.start.checked_sub(start)
                && let Some(found) = bytes.get(from..from + range.len())
            {
                return found;
            }
        }
        &[]
    }
}

/// Cuts `range` out of `bytes`, whose first is number `start`: before, where the cut is, the
/// cut, after.
fn cut(
    bytes: &mut [u8],
    start: usize,
    range: Range<usize>,
) -> (&[u8], usize, &mut [u8], &mut [u8]) {
    let from = range.start.saturating_sub(start).min(bytes.len());
    let (before, rest) = bytes.split_at_mut_checked(from).unwrap_or_default();
    let length = range.len().min(rest.len());
    let (cut, after) = rest.split_at_mut_checked(length).unwrap_or_default();
    (before, start + from, cut, after)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn live_rows_wrap() {
        let ring = Ring { offset: 100, rows: 4, row_bytes: 10 };
        // Rows 6, 7, 8 are in slots 2, 3, 0.
        assert!(ring.holds(6..9, &(120..121)));
        assert!(ring.holds(6..9, &(139..150)));
        assert!(ring.holds(6..9, &(95..101)));
        assert!(!ring.holds(6..9, &(110..120)));
        assert!(!ring.holds(6..6, &(100..140)));
        assert!(ring.holds(0..100, &(110..111)));
        assert!(!ring.holds(0..100, &(140..141)));
        assert_eq!(ring.row(6), 120..130);
    }

    #[test]
    fn carving_separates() {
        let mut arena: Vec<u8> = (0..100).collect();
        for (output, scratch) in
            [(10..20, 50..60), (50..60, 10..20), (0..5, 15..20), (30..40, 0..0)]
        {
            let (read, o, s) = Carved::new(&mut arena, output.clone(), scratch.clone());
            assert_eq!((o[0] as usize, o.len()), (output.start, output.len()));
            assert_eq!(s.len(), scratch.len());
            assert_eq!(read.bytes(70..80)[0], 70);
            assert!(read.bytes(output.start..output.start + 2).is_empty());
            assert_eq!(read.bytes(output.end + 1..output.end + 3)[0] as usize, output.end + 1);
        }
    }
}
