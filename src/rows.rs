//! Rows in the arena.
//!
//! What a step reads and writes are rows of one arena, so they are taken out of it together:
//! [`Carved`] cuts the arena at the two places that the step writes, and finds rows to read in
//! what is left.
//!
//! ```text
//! arena   ├──── read ────┤ output row ├──── read ────┤ scratch ├──── read ────┤
//! ```

use core::ops::Range;

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
