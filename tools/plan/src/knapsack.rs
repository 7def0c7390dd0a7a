//! The multiple-choice knapsack: one choice of each group, so that all fit at the least total cost.
//!
//! Solved by dynamic programming over the room (Kellerer, Pferschy and Pisinger, *Knapsack
//! Problems*, 2004, section 11.5). It is exact, except that the size of each choice is rounded up
//! to whole units. A unit is the alignment of the parts of a model file, or, in a room of more than
//! 65,536 of these, 1/65,536 of the room.

use brooklet::format::WEIGHTS_ALIGN;

/// Maximum number of units that a room is divided into.
const UNITS: usize = 1 << 16;

/// A choice within a group.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The room that it takes, in bytes.
    pub bytes: usize,
    /// Its cost.
    pub cost: f64,
}

/// The index of the choice for each group; `None` if no choices fit.
///
/// Their cost is the least of all choices within `room` bytes.
pub fn cheapest(groups: &[Vec<Choice>], room: usize) -> Option<Vec<usize>> {
    // Room beyond the largest choices of all groups is not needed.
    let largest = |group: &Vec<Choice>| group.iter().map(|choice| choice.bytes).max();
    let largest: Vec<usize> = groups.iter().filter_map(largest).collect();
    let unit =
        WEIGHTS_ALIGN * (largest.iter().sum::<usize>().min(room) / WEIGHTS_ALIGN / UNITS + 1);
    let room = largest.iter().map(|bytes| bytes.div_ceil(unit)).sum::<usize>().min(room / unit);

    // For each number of units, the least cost of the groups so far, and the choice of the last
    // group that it takes.
    let mut least = vec![0.0; room + 1];
    let mut chosen = Vec::with_capacity(groups.len());
    for group in groups {
        let mut with = vec![(f64::INFINITY, 0); room + 1];
        for (number, choice) in group.iter().enumerate() {
            let taken = choice.bytes.div_ceil(unit);
            for (before, with) in least.iter().zip(with.iter_mut().skip(taken)) {
                if before + choice.cost < with.0 {
                    *with = (before + choice.cost, number);
                }
            }
        }
        least = with.iter().map(|(cost, _)| *cost).collect();
        chosen.push(with.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
    }
    if least[room].is_infinite() {
        return None;
    }
    let mut left = room;
    let mut numbers: Vec<usize> = Vec::with_capacity(groups.len());
    for (group, chosen) in groups.iter().zip(&chosen).rev() {
        let number = chosen[left];
        left -= group[number].bytes.div_ceil(unit);
        numbers.push(number);
    }
    numbers.reverse();
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least cost, found by trying all choices.
    fn brute_force(groups: &[Vec<Choice>], room: usize) -> Option<f64> {
        let Some((group, others)) = groups.split_first() else { return Some(0.0) };
        group
            .iter()
            .filter_map(|choice| {
                Some(choice.cost + brute_force(others, room.checked_sub(choice.bytes)?)?)
            })
            .min_by(f64::total_cmp)
    }

    fn groups() -> impl Strategy<Value = Vec<Vec<Choice>>> {
        let choice = (0_usize..20, 0_u32..100).prop_map(|(units, cost)| Choice {
            bytes: units * WEIGHTS_ALIGN,
            cost: f64::from(cost),
        });
        prop::collection::vec(prop::collection::vec(choice, 1..5), 0..6)
    }

    proptest! {
        #[test]
        fn it_is_the_cheapest_that_fits(groups in groups(), room in 0_usize..1600) {
            let found = cheapest(&groups, room);
            let taken = found.as_ref().map(|numbers| {
                groups.iter().zip(numbers).map(|(group, number)| group[*number]).collect::<Vec<_>>()
            });
            if let Some(taken) = &taken {
                prop_assert!(taken.iter().map(|choice| choice.bytes).sum::<usize>() <= room);
            }
            let cost = taken.map(|taken| taken.iter().map(|choice| choice.cost).sum::<f64>());
            prop_assert_eq!(cost, brute_force(&groups, room));
        }
    }

    #[test]
    fn a_large_room_is_searched_in_coarser_units() {
        let choice = |bytes, cost| Choice { bytes, cost };
        let groups = [9.0, 8.0, 7.0].map(|cost| vec![choice(0, cost), choice(1 << 24, 1.0)]);
        assert_eq!(cheapest(&groups, (1 << 25) + 4096), Some(vec![1, 1, 0]));
        assert_eq!(cheapest(&groups, usize::MAX), Some(vec![1, 1, 1]));
    }
}
