//! How packings lay out weights: one rule for all of them, with parameters for each.

use super::tiles;

/// The layout of a convolution's weights.
///
/// Output channels form groups; the last group has the remaining channels. A group is stored one
/// kernel row after the other. In a kernel row, a few weights of each channel of the group follow
/// each other:
///
/// ```text
/// channels_log2: 1, taps_log2: 2                      a block
///
/// kernel row 0:   a0 a1 a2 a3  b0 b1 b2 b3  a4 a5 a6 a7  b4 …
/// kernel row 1:   a0 …
/// kernel row 0:   c0 c1 c2 c3  d0 …
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Number of output channels of a group, as the exponent of a power of two.
    pub(super) channels_log2: u8,
    /// Number of consecutive weights of one channel, as the exponent of a power of two.
    pub(super) taps_log2: u8,
    /// The number of output channels, and of weights of a kernel row, are padded to multiples of
    /// powers of two: these are the exponents.
    pub(super) fill_log2: [u8; 2],
    /// The order of the elements of a block.
    pub(super) order: Order,
    /// What an element is.
    pub(super) element: Element,
}

/// The order in which the elements 0, 1, 2 … of a block lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// In the order of their indices.
    Plain,
    /// Even indices first: 0 2 4 6   1 3 5 7.
    EvenFirst,
    /// Even indices first, and each half again in alternation: 0 4 2 6   1 5 3 7.
    Interleaved,
}

/// What an element of a layout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// A weight.
    Int8,
    /// A weight as int16.
    Int16,
    /// The kernel of an input channel, nine int8. There is only one kernel row, and its weights are
    /// the kernels.
    Kernel,
    /// A position of an input channel's transformed kernel, an int16. Positions take the place of
    /// kernel rows, and input channels that of the weights in each.
    Position,
}

impl Layout {
    /// The number of lines, and of elements in each without padding. A line is a kernel row or a
    /// position.
    pub(super) const fn grid(&self, [rows, row]: [usize; 2]) -> [usize; 2] {
        match self.element {
            Element::Int8 | Element::Int16 => [rows, row],
            Element::Kernel => [1, row / 3],
            Element::Position => [tiles::POSITIONS, row / 3],
        }
    }

    const fn element_bytes(&self) -> usize {
        match self.element {
            Element::Int8 => 1,
            Element::Int16 | Element::Position => 2,
            Element::Kernel => tiles::TILE_KERNEL,
        }
    }

    /// `count` rounded up to a multiple of a power of two.
    const fn filled(count: usize, exponent: u8) -> usize {
        let below = (1 << exponent) - 1;
        (count + below) & !below
    }

    /// Number of elements of a line, including padding.
    pub(super) const fn filled_line(&self, kernel: [usize; 2]) -> usize {
        Self::filled(self.grid(kernel)[1], self.fill_log2[1])
    }

    /// Number of bytes of `channels` output channels.
    pub(super) const fn bytes(&self, channels: usize, kernel: [usize; 2]) -> usize {
        let places = self.grid(kernel)[0] * self.filled_line(kernel);
        self.element_bytes() * Self::filled(channels, self.fill_log2[0]) * places
    }

    /// Kernel column and input channel of a weight of a kernel row, if the kernel has three
    /// columns.
    pub(super) fn tap(tap: usize, [_, row]: [usize; 2]) -> (usize, usize) {
        let inputs = (row / 3).max(1);
        (tap / inputs, tap % inputs)
    }

    /// The offset of weight `tap` of kernel row `ky`. `bytes` is the number of bytes of all
    /// weights.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(super) fn weight(
        &self,
        bytes: usize,
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
    ) -> usize {
        if self.element == Element::Kernel {
            let (kx, input) = Self::tap(tap, kernel);
            return self.place(bytes, channel, 0, input, kernel) + 3 * ky + kx;
        }
        self.place(bytes, channel, ky, tap, kernel)
    }

    /// The offset of element `at` of a line. `bytes` is the number of bytes of all weights.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(super) fn place(
        &self,
        bytes: usize,
        channel: usize,
        line: usize,
        at: usize,
        kernel: [usize; 2],
    ) -> usize {
        let (lines, filled) = (self.grid(kernel)[0], self.filled_line(kernel));
        let beside = channel & ((1 << self.channels_log2) - 1);
        let group = channel - beside;
        // Only the last group has fewer channels, and only if channels are not padded.
        let channels = match self.fill_log2[0] < self.channels_log2 {
            true => {
                let all = (bytes / self.element_bytes()).checked_div(lines * filled).unwrap_or(0);
                all.saturating_sub(group).min(1 << self.channels_log2)
            }
            false => 1 << self.channels_log2,
        };
        let of_block = at & ((1 << self.taps_log2) - 1);
        let block = (line * filled + at - of_block) * channels;
        // Half of a block and a quarter of it, as exponents of two.
        let half = (self.channels_log2 + self.taps_log2).saturating_sub(1);
        let quarter = half.saturating_sub(1);
        let number = (beside << self.taps_log2) + of_block;
        let even_first = ((number & 1) << half) + (number >> 1);
        let number = match self.order {
            Order::Plain => number,
            Order::EvenFirst => even_first,
            Order::Interleaved => {
                let (odd, number) = (even_first >> half, even_first & ((1 << half) - 1));
                (odd << half) + ((number & ((1 << quarter) - 1)) << 1) + (number >> quarter)
            }
        };
        (group * lines * filled + block + number) * self.element_bytes()
    }

    /// The int16 element `at` of a line.
    pub(super) fn int16(
        &self,
        packed: &[i8],
        channel: usize,
        line: usize,
        at: usize,
        kernel: [usize; 2],
    ) -> i16 {
        int16_at(packed, self.place(packed.len(), channel, line, at, kernel))
    }
}

/// The int16 that begins at offset `at`.
pub(super) fn int16_at(packed: &[i8], at: usize) -> i16 {
    match packed.get(at..).and_then(<[i8]>::first_chunk) {
        Some(&[low, high]) => i16::from_le_bytes([low as u8, high as u8]),
        None => 0,
    }
}
