//! A cache between core and flash, which counts its misses.
//!
//! Lines are found by their address: a line belongs to the set whose index is the line's number
//! modulo the number of sets. A set has one line per way, with the most recently used one first; a
//! missing line replaces the least recently used one.

use std::ops::Range;

/// A cache, and the flash that it caches.
#[derive(Debug)]
pub(crate) struct Cache {
    ways: usize,
    line_log2: u32,
    /// Numbers of the lines, one set after another.
    lines: Vec<u64>,
    /// Address ranges of flash.
    flash: Vec<Range<u64>>,
    /// The line of the last read, which is first in its set.
    last: u64,
    /// Number of reads of lines that were not in the cache, while counting.
    pub(crate) misses: u64,
}

/// No line has this number.
const NONE: u64 = u64::MAX;

impl Cache {
    /// Parses an empty cache from `BYTES:WAYS:LINE:BEGIN-END:BEGIN-END…`, with hexadecimal
    /// addresses.
    ///
    /// `None` if the text has another form, or numbers that are not powers of two.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let mut number = || words.next()?.parse().ok();
        let [bytes, ways, line]: [usize; 3] = [number()?, number()?, number()?];
        let lines = bytes.checked_div(line)?;
        let sets = lines.checked_div(ways)?;
        if !sets.is_power_of_two() || !line.is_power_of_two() {
            return None;
        }
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
        let range = |text: &str| {
            let (begin, end) = text.split_once('-')?;
            Some(hexadecimal(begin)?..hexadecimal(end)?)
        };
        Some(Self {
            ways,
            line_log2: line.ilog2(),
            lines: vec![NONE; sets * ways],
            flash: words.map(range).collect::<Option<_>>()?,
            last: NONE,
            misses: 0,
        })
    }

    /// Counts a read at an address.
    pub(crate) fn read(&mut self, address: u64, counting: bool) {
        let line = address >> self.line_log2;
        if line == self.last || !self.flash.iter().any(|flash| flash.contains(&address)) {
            return;
        }
        self.last = line;
        let sets = (self.lines.len() / self.ways) as u64;
        let first = (line & (sets - 1)) as usize * self.ways;
        let set = &mut self.lines[first..first + self.ways];
        let found = set.iter().position(|&there| there == line);
        let place = found.unwrap_or(set.len() - 1);
        set[..=place].rotate_right(1);
        set[0] = line;
        self.misses += u64::from(counting && found.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of 64 bytes: four sets of two lines of eight bytes.
    fn cache() -> Cache {
        Cache::parse("64:2:8:1000-2000").unwrap()
    }

    fn misses(cache: &mut Cache, addresses: &[u64]) -> u64 {
        let before = cache.misses;
        addresses.iter().for_each(|&address| cache.read(address, true));
        cache.misses - before
    }

    #[test]
    fn the_line_that_was_not_used_for_longest_goes() {
        let mut cache = cache();
        assert_eq!(misses(&mut cache, &[0x1000, 0x1007, 0x1008, 0x1000]), 2);
        // Three lines of the same set.
        assert_eq!(misses(&mut cache, &[0x1020, 0x1000, 0x1040, 0x1000, 0x1020]), 3);
    }

    #[test]
    fn round_and_round_through_too_much_keeps_nothing_where_three_lines_meet() {
        let round = |bytes: u64| (0x1000..0x1000 + bytes).step_by(4).collect::<Vec<_>>();
        for (bytes, again) in [(64, 0), (72, 3), (80, 6), (96, 12), (128, 16)] {
            let mut cache = cache();
            misses(&mut cache, &round(bytes));
            assert_eq!(misses(&mut cache, &round(bytes)), again, "{bytes} bytes");
        }
    }

    #[test]
    fn other_memory_and_other_times_do_not_count() {
        let mut cache = cache();
        assert_eq!(misses(&mut cache, &[0xfff, 0x2000]), 0);
        cache.read(0x1000, false);
        assert_eq!(cache.misses, 0);
        assert_eq!(misses(&mut cache, &[0x1004]), 0);
    }

    #[test]
    fn texts_that_are_no_cache() {
        for text in ["", "64:2", "64:2:8:10", "64:2:8:x-20", "64:0:8", "96:2:8", "64:2:0", "0:2:8"]
        {
            assert!(Cache::parse(text).is_none(), "{text}");
        }
    }
}
