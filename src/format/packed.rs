//! Where a packing has each weight: the size of packed weights, their groups, and how one weight is
//! read, written and checked.

use super::layout::{Element, Layout, int16_at};
use super::packing::{EIGHT, Packing};
use super::tables::ALL;
use super::{planes, tiles};

/// Approximate number of bytes to which weights of less than eight bits are unpacked at a time.
const UNPACKED_BYTES: usize = 2304;

impl Packing {
    /// Number of output channels that are unpacked at a time, for weights of less than eight bits:
    /// the multiple of eight whose unpacked weights take up to 2,304 bytes, but at least eight.
    pub const fn group(self, kernel: [usize; 2]) -> usize {
        if self.bits() == 8 {
            return usize::MAX;
        }
        match UNPACKED_BYTES.checked_div(self.layout().bytes(EIGHT, kernel)) {
            Some(eights) if eights > 0 => EIGHT * eights,
            _ => EIGHT,
        }
    }

    /// Number of output channels whose weights are interleaved: the weights of consecutive groups
    /// of this size lie one after the other. [`usize::MAX`] if all channels are interleaved.
    pub(crate) const fn together(self, kernel: [usize; 2]) -> usize {
        let layout = self.layout();
        match self.bits() {
            8 if layout.channels_log2 == ALL => usize::MAX,
            8 => 1 << layout.channels_log2,
            _ => self.group(kernel),
        }
    }

    /// The weights of the group that begins with output channel `first`.
    #[inline(always)]
    pub(crate) fn of_group(self, packed: &[i8], first: usize, kernel: [usize; 2]) -> &[i8] {
        if self.bits() == 8 {
            return packed;
        }
        let (start, bytes) = self.place_of_group(first, kernel);
        let rest = packed.get(start..).unwrap_or(&[]);
        rest.get(..bytes).unwrap_or(rest)
    }

    /// The offset of that group, and its number of bytes unless it is a last one with fewer
    /// channels.
    #[inline(always)]
    fn place_of_group(self, first: usize, kernel: [usize; 2]) -> (usize, usize) {
        let group = self.group(kernel);
        let bytes = planes::bytes(self.bits() as usize, self.layout().bytes(group, kernel));
        (first.checked_div(group).unwrap_or(0).saturating_mul(bytes), bytes)
    }

    /// Number of bytes of the weights of `channels` output channels.
    ///
    /// The kernel has `kernel[0]` rows with `kernel[1]` weights each.
    pub const fn bytes(self, channels: usize, kernel: [usize; 2]) -> usize {
        let layout = self.layout();
        if self.bits() == 8 {
            return layout.bytes(channels, kernel);
        }
        let group = self.group(kernel);
        let groups = match channels.checked_div(group) {
            Some(groups) => groups,
            None => 0,
        };
        let (bits, rest) = (self.bits() as usize, channels - groups * group);
        groups * planes::bytes(bits, layout.bytes(group, kernel))
            + planes::bytes(bits, layout.bytes(rest, kernel))
    }

    /// Weight `tap` of kernel row `ky` of output channel `channel`.
    ///
    /// `tap` counts kernel columns × input channels.
    #[inline]
    pub fn weight(
        self,
        packed: &[i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
    ) -> i8 {
        if self.bits() < 8 {
            let (group, number) = self.number(packed, channel, ky, tap, kernel);
            return planes::get(self.bits() as usize, group, number);
        }
        let layout = self.layout();
        match layout.element {
            Element::Position => {
                let (kx, input) = Layout::tap(tap, kernel);
                let at = |line| layout.int16(packed, channel, line, input, kernel);
                tiles::weight(at, [ky, kx])
            }
            _ => {
                let at = layout.weight(packed.len(), channel, ky, tap, kernel);
                packed.get(at).copied().unwrap_or(0)
            }
        }
    }

    /// Packs a weight. Before the first weight, all of `packed` must be zero.
    pub fn put(
        self,
        packed: &mut [i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
        weight: i8,
    ) {
        if self.bits() < 8 {
            let (group, number) = self.number(packed, channel, ky, tap, kernel);
            let (start, bytes) = (self.place_of_group(channel, kernel).0, group.len());
            // Empty if there is no room for the group.
            let rest = packed.get_mut(start..).unwrap_or_default();
            let group = rest.get_mut(..bytes).unwrap_or_default();
            return planes::put(self.bits() as usize, group, number, weight);
        }
        let layout = self.layout();
        if layout.element == Element::Position {
            let (kx, input) = Layout::tap(tap, kernel);
            for (line, factor) in tiles::factors([ky, kx]).enumerate() {
                let sum = layout.int16(packed, channel, line, input, kernel);
                let sum = sum.wrapping_add(factor * i16::from(weight));
                let at = layout.place(packed.len(), channel, line, input, kernel);
                if let Some(bytes) = packed.get_mut(at..at + 2) {
                    bytes.copy_from_slice(&sum.to_le_bytes().map(|byte| byte as i8));
                }
            }
            return;
        }
        let at = layout.weight(packed.len(), channel, ky, tap, kernel);
        if let Some(place) = packed.get_mut(at) {
            *place = weight;
        }
        if layout.element == Element::Int16
            && let Some(high) = packed.get_mut(at + 1)
        {
            *high = weight >> 7;
        }
    }

    /// Whether each byte is a weight or padding.
    pub(crate) fn has_bytes(self) -> bool {
        self.bits() == 8 && matches!(self.layout().element, Element::Int8 | Element::Kernel)
    }

    /// Whether the weights of output channel `channel` are the packed form of int8, with zeros as
    /// padding. If the form of a weight has more than a byte, the weight must not be -128; bytes are checked
    /// all at once.
    pub fn is_sound(self, packed: &[i8], channel: usize, kernel @ [rows, row]: [usize; 2]) -> bool {
        let layout = self.layout();
        let ([lines, line], filled) = (layout.grid(kernel), layout.filled_line(kernel));
        match layout.element {
            Element::Int8 => (0..rows).all(|ky| {
                (row..filled).all(|tap| self.weight(packed, channel, ky, tap, kernel) == 0)
            }),
            Element::Int16 => (0..rows).all(|ky| {
                (0..filled).all(|tap| {
                    let value = layout.int16(packed, channel, ky, tap, kernel);
                    (-127..=127).contains(&value) && (tap < row || value == 0)
                })
            }),
            Element::Kernel => (line..filled).all(|input| {
                let at = layout.place(packed.len(), channel, 0, input, kernel);
                packed.get(at..at + tiles::TILE_KERNEL).is_some_and(|w| w.iter().all(|&w| w == 0))
            }),
            Element::Position => (0..filled).all(|input| {
                // All positions have the same distance.
                let [first, second] =
                    [0, 1].map(|line| layout.place(packed.len(), channel, line, input, kernel));
                let at = |line: usize| int16_at(packed, first + line * (second - first));
                tiles::is_transform(at) && (input < line || (0..lines).all(|line| at(line) == 0))
            }),
        }
    }

    /// The group of a weight of less than eight bits, and its index in that group.
    #[inline(always)]
    fn number(
        self,
        packed: &[i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
    ) -> (&[i8], usize) {
        let group = self.of_group(packed, channel, kernel);
        let channel = channel.checked_rem(self.group(kernel)).unwrap_or(0);
        // This can be a few more than there are, but too few for another channel.
        let numbers = planes::numbers(self.bits() as usize, group.len());
        (group, self.layout().weight(numbers, channel, ky, tap, kernel))
    }
}
