//! The bytes of the arena that are taken, from step to step of a walk over the schedule.
//!
//! Rows lie side by side in the arena, so only the *stretches* that they fill together are
//! recorded. Taking a row adds a stretch or makes one longer; freeing a row makes a stretch shorter
//! or splits it in two.
//!
//! ```text
//! arena   │ row │ row │ row │        │ row │ row │ scratch │       │ row │
//! kept    ├── a stretch ────┤        ├─── a stretch ───────┤       ├─────┤
//! ```
//!
//! There is room for [`STRETCHES`] of them. If there are more, the walk continues with the lower
//! ones alone, and another walk begins where they end: each walk covers a *window* of the arena.

use core::ops::Range;

use crate::arena::ARENA_ALIGN;

/// Largest number of stretches.
const STRETCHES: usize = 32;

/// The taken bytes in a window of the arena, in units of [`ARENA_ALIGN`] bytes. See the
/// [module](self).
#[derive(Clone)]
pub(super) struct Taken {
    window: Stretch,
    /// Separate from each other, in the order of their addresses.
    stretches: heapless::Vec<Stretch, STRETCHES>,
}

#[derive(Clone, Copy)]
struct Stretch {
    start: u32,
    end: u32,
}

impl Taken {
    /// Makes an empty one; its window begins at unit `start` and reaches to the end of the arena.
    pub(super) fn from(start: u32) -> Self {
        Self { window: Stretch { start, end: u32::MAX }, stretches: heapless::Vec::new() }
    }

    /// The unit at which the window ends, if that is before the end of the arena. From there on
    /// nothing was recorded.
    pub(super) fn end(&self) -> Option<u32> {
        (self.window.end < u32::MAX).then_some(self.window.end)
    }

    /// The units of `place` that are in the window.
    #[inline]
    fn within(&self, place: Range<u32>) -> Option<Stretch> {
        #[cfg(test)]
        self.count();
        let (start, end) = (place.start.max(self.window.start), place.end.min(self.window.end));
        (start < end).then_some(Stretch { start, end })
    }

    /// The index of the first stretch that ends at `unit` or after it.
    #[inline]
    fn first_to(&self, unit: u32) -> usize {
        let mut index = 0;
        while self.stretches.get(index).is_some_and(|stretch| stretch.end < unit) {
            index += 1;
        }
        index
    }

    /// The byte behind all taken units.
    pub(super) fn top(&self) -> u32 {
        self.stretches.last().map_or(0, |highest| highest.end.saturating_mul(ARENA_ALIGN as u32))
    }

    /// Takes the units of a place; returns `false` if some of them are taken already.
    #[must_use]
    pub(super) fn take(&mut self, place: Range<u32>) -> bool {
        let Some(new) = self.within(place) else { return true };
        let index = self.first_to(new.start);
        // The stretch that ends where the place begins, and the stretch that begins where the place
        // ends.
        let below = self.stretches.get(index).is_some_and(|stretch| stretch.end == new.start);
        let next = index + usize::from(below);
        let above = match self.stretches.get(next) {
            Some(stretch) if stretch.start < new.end => return false,
            Some(stretch) => stretch.start == new.end,
            None => false,
        };
        let end = match (below, above) {
            (false, false) => {
                self.insert(index, new);
                return true;
            }
            (true, true) => self.remove(next).map_or(new.end, |above| above.end),
            _ => new.end,
        };
        if let Some(stretch) = self.stretches.get_mut(index) {
            match below {
                true => stretch.end = end,
                false => stretch.start = new.start,
            }
        }
        true
    }

    /// Frees the units of a place, which are taken.
    pub(super) fn free(&mut self, place: Range<u32>) {
        let Some(old) = self.within(place) else { return };
        let index = self.first_to(old.end);
        let Some(stretch) = self.stretches.get_mut(index) else { return };
        let Stretch { start, end } = *stretch;
        match (start < old.start, old.end < end) {
            _ if old.start < start => {}
            (false, false) => {
                self.remove(index);
            }
            (false, true) => stretch.start = old.end,
            (true, false) => stretch.end = old.start,
            (true, true) => {
                stretch.end = old.start;
                self.insert(index + 1, Stretch { start: old.end, end });
            }
        }
    }

    /// Inserts a stretch at `index`. If there is no room for another, the window ends before the
    /// highest.
    fn insert(&mut self, index: usize, mut new: Stretch) {
        for stretch in self.stretches.iter_mut().skip(index) {
            core::mem::swap(stretch, &mut new);
        }
        if let Err(highest) = self.stretches.push(new) {
            self.window.end = highest.start;
        }
    }

    /// Removes the stretch at `index`.
    fn remove(&mut self, index: usize) -> Option<Stretch> {
        let mut above = self.stretches.pop()?;
        for stretch in self.stretches.iter_mut().skip(index).rev() {
            core::mem::swap(stretch, &mut above);
        }
        Some(above)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::{thread_local, vec};

    use super::*;

    thread_local! {
        static LOOKED_AT: Cell<u64> = const { Cell::new(0) };
    }

    /// Number of stretches that this thread has looked at.
    pub(in super::super) fn looked_at() -> u64 {
        LOOKED_AT.get()
    }

    impl Taken {
        pub(super) fn count(&self) {
            LOOKED_AT.set(LOOKED_AT.get() + 1 + self.stretches.len() as u64);
        }
    }

    /// Windows that begin where the one before ended give the same answers as an array with one
    /// flag for each unit, for any sequence of takes and frees.
    #[test]
    fn stretches_are_what_an_array_of_units_says() {
        const UNITS: usize = 1000;
        let mut state = 1u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) as usize % n
        };
        let mut windows = 0;
        for longest in [1, 2, 3, 20] {
            let (mut places, mut units) = (vec![], vec![false; UNITS]);
            // The operations: each takes or frees a place; for takes, whether that is possible.
            let mut done = vec![];
            for _ in 0..4000 {
                if below(3) == 0 && !places.is_empty() {
                    let place: Range<usize> = places.swap_remove(below(places.len()));
                    units[place.clone()].fill(false);
                    done.push((place, None));
                    continue;
                }
                let start = below(UNITS - longest);
                let place = start..start + 1 + below(longest);
                let free = place.clone().all(|unit| !units[unit]);
                if free {
                    units[place.clone()].fill(true);
                    places.push(place.clone());
                }
                done.push((place, Some(free)));
            }
            let mut start = 0;
            // Some window must refuse a place that is not free; no window may refuse any other.
            let mut refused = vec![false; done.len()];
            loop {
                let mut taken = Taken::from(start);
                for ((place, free), refused) in done.iter().zip(&mut refused) {
                    let units = place.start as u32..place.end as u32;
                    match free {
                        None => taken.free(units),
                        Some(true) => assert!(taken.take(units)),
                        Some(false) => {
                            // A real walk ends where a place is refused; this one continues.
                            let before = taken.clone();
                            *refused |= !taken.take(units);
                            taken = before;
                        }
                    }
                }
                windows += 1;
                match taken.end() {
                    Some(end) => assert!(end > start),
                    None => break,
                }
                start = taken.end().unwrap_or(0);
            }
            assert!(
                done.iter()
                    .zip(refused)
                    .all(|((_, free), refused)| { *free != Some(false) || refused })
            );
        }
        assert!(windows > 8, "{windows}");
    }
}
