//! How packings have weights side by side: one rule for all of them, and what each makes of it.

use super::tiles;

/// Where the weights of a convolution lie.
///
/// Output channels come in groups, the last with those that are left; in a group kernel row by
/// kernel row, and there a few weights of each of its channels after the other:
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
    /// Output channels of a group: the exponent of a power of two.
    pub(super) channels_log2: u8,
    /// Weights of a channel that lie together: the exponent of a power of two.
    pub(super) taps_log2: u8,
    /// Output channels, and weights of a kernel row, are filled up to multiples of powers of two:
    /// their exponents.
    pub(super) fill_log2: [u8; 2],
    /// In which order those of a block are.
    pub(super) order: Order,
    /// What a weight is.
    pub(super) element: Element,
}

/// In which order the numbers 0, 1, 2 … of a block lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As they are.
    Plain,
    /// Those of even number first: 0 2 4 6   1 3 5 7.
    EvenFirst,
    /// Likewise, and the halves of either in turn: 0 4 2 6   1 5 3 7.
    Interleaved,
}

/// What lies in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// A weight.
    Int8,
    /// A weight as int16.
    Int16,
    /// An input channel's kernel, of nine int8: it stands for a weight of the one kernel row that
    /// there is.
    Kernel,
    /// A position of an input channel's transformed kernel, an int16: positions stand for kernel
    /// rows, input channels for the weights of each.
    Position,
}

impl Layout {
    /// Lines, and places in each that weights take: those of a kernel row, or at a position.
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

    /// `count` filled up to a multiple of a power of two.
    const fn filled(count: usize, exponent: u8) -> usize {
        let below = (1 << exponent) - 1;
        (count + below) & !below
    }

    /// Weights of a line, with those that fill it up.
    pub(super) const fn filled_line(&self, kernel: [usize; 2]) -> usize {
        Self::filled(self.grid(kernel)[1], self.fill_log2[1])
    }

    /// Bytes of `channels` output channels.
    pub(super) const fn bytes(&self, channels: usize, kernel: [usize; 2]) -> usize {
        let places = self.grid(kernel)[0] * self.filled_line(kernel);
        self.element_bytes() * Self::filled(channels, self.fill_log2[0]) * places
    }

    /// Kernel column and input channel of a weight of a kernel row with three columns.
    pub(super) fn tap(tap: usize, [_, row]: [usize; 2]) -> (usize, usize) {
        let inputs = (row / 3).max(1);
        (tap / inputs, tap % inputs)
    }

    /// The byte at which a weight begins, of `bytes` in all: that of kernel row `ky` and number
    /// `tap`.
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

    /// The byte at which a place begins, of `bytes` in all: number `at` of a line.
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
        // A group has fewer channels only where they are not filled up, and only the last one.
        let channels = match self.fill_log2[0] < self.channels_log2 {
            true => {
                let all = (bytes / self.element_bytes()).checked_div(lines * filled).unwrap_or(0);
                all.saturating_sub(group).min(1 << self.channels_log2)
            }
            false => 1 << self.channels_log2,
        };
        let of_block = at & ((1 << self.taps_log2) - 1);
        let block = (line * filled + at - of_block) * channels;
        // Half a block, a quarter: as powers of two.
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

    /// The int16 of a place.
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

/// The int16 that begins at a byte.
pub(super) fn int16_at(packed: &[i8], at: usize) -> i16 {
    match packed.get(at..).and_then(<[i8]>::first_chunk) {
        Some(&[low, high]) => i16::from_le_bytes([low as u8, high as u8]),
        None => 0,
    }
}
