//! The orders in which the weights of a convolution lie.

use super::layout::{Element, Layout, Order, int16_at};
use super::tiles;
use crate::feature::Feature;

/// In which order, and in which form, the weights of a convolution lie. The numbers are those of
/// the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Packing {
    /// Output channel, kernel row, kernel column, input channel: the last is consecutive.
    Ohwi = 0,
    /// For cores that widen bytes 0 and 2 of a word at once, and bytes 1 and 3: two output
    /// channels side by side, *a* and *b* = *a* + 1, by four weights of each in the order of
    /// [`Ohwi`](Self::Ohwi):
    ///
    /// ```text
    /// a0 b0 a2 b2   a1 b1 a3 b3   a4 b4 a6 b6   a5 b5 a7 b7   …
    /// ```
    ///
    /// What is missing in a kernel row to a multiple of four, and a channel that is missing to
    /// an even number, are zero.
    Pairs = 1,
    /// [`Pairs`](Self::Pairs) widened: each weight is an int16, and two of them a word.
    ///
    /// ```text
    /// a0 a2   b0 b2   a1 a3   b1 b3   a4 a6   b4 b6   a5 a7   b5 b7   …
    /// ```
    WidePairs = 2,
    /// Eight output channels *a* … *h* side by side, by weights in the order of
    /// [`Ohwi`](Self::Ohwi): those of a channel are eight bytes apart.
    ///
    /// ```text
    /// a0 b0 c0 d0 e0 f0 g0 h0   a1 b1 c1 d1 e1 f1 g1 h1   …
    /// ```
    ///
    /// What is missing in a kernel row to an even number, and channels that are missing to a
    /// multiple of eight, are zero.
    Eights = 3,
    /// For cores whose vectors have a lane for each output channel *a*, *b*, *c* …: kernel row by
    /// kernel row, and there two weights of all output channels, in the order of
    /// [`Ohwi`](Self::Ohwi), after the other:
    ///
    /// ```text
    /// a0 a1 b0 b1 c0 c1 …   a2 a3 b2 b3 c2 c3 …   …
    /// ```
    ///
    /// What is missing in a kernel row to an even number is zero.
    Hwio = 4,
    /// For cores with vectors of 16 bytes. Up to [`VECTOR_CHANNELS`] output channels *a*, *b* …
    /// are side by side, by [`VECTOR`] weights of a kernel row:
    ///
    /// ```text
    /// kernel row 0:  a0 … a15   b0 … b15   …   a16 … a31   b16 … b31   …
    /// kernel row 1:  a0 …
    /// ```
    ///
    /// What is missing in a kernel row to whole vectors, and a channel that is missing to an even
    /// number, are zero.
    Vectors = 5,
    /// Kernels of three rows by three columns at stride 1, transformed for Winograd's convolution
    /// in two dimensions, F(4 × 4, 3 × 3): each kernel of an input channel is six by six int16,
    /// [`TILE_TRANSFORM`](super::TILE_TRANSFORM) of its columns and of its rows. Four output
    /// channels *a* … *d* are side by side, by two of four input channels, and positions row by
    /// row:
    ///
    /// ```text
    /// position 0:  a0 a2 b0 b2 c0 c2 d0 d2   a1 a3 b1 b3 c1 c3 d1 d3   a4 a6 …
    /// position 1:  …
    /// ```
    ///
    /// Channels that are missing to a multiple of four are zero. A step of such a layer makes
    /// four rows.
    Winograd = 6,
    /// The same kernels as they are, of nine int8: those that transform them as they run take an
    /// eighth of the flash, and more scratch memory. Kernels lie in the order of the transformed ones
    /// at a position:
    ///
    /// ```text
    /// a0…  a2…  b0…  b2…  c0…  c2…  d0…  d2…   a1…  a3…  b1…  b3…
    /// ```
    WinogradInt8 = 7,
    /// The transformed weights of [`Winograd`](Self::Winograd) for cores whose vectors have a
    /// lane for each output channel *a*, *b*, *c* …: position by position, and there two input
    /// channels of all output channels after the other:
    ///
    /// ```text
    /// position 0:  a0 a1 b0 b1 c0 c1 …   a2 a3 b2 b3 c2 c3 …   …
    /// position 1:  …
    /// ```
    ///
    /// An input channel that is missing to an even number is zero.
    HwioTiles = 8,
    /// [`Ohwi`](Self::Ohwi) in [four bits](Self::unpacked).
    Ohwi4 = 9,
    /// [`Pairs`](Self::Pairs) in [four bits](Self::unpacked).
    Pairs4 = 10,
    /// [`Eights`](Self::Eights) in [four bits](Self::unpacked).
    Eights4 = 11,
    /// [`Vectors`](Self::Vectors) in [four bits](Self::unpacked).
    Vectors4 = 12,
    /// [`Hwio`](Self::Hwio) in [four bits](Self::unpacked).
    Hwio4 = 13,
}

/// Weights that [`Packing::Vectors`] has in a vector.
pub const VECTOR: usize = 16;
/// Output channels that [`Packing::Vectors`] has side by side, at most.
pub const VECTOR_CHANNELS: usize = 64;
/// Output channels that [`Packing::Winograd`] and [`Packing::WinogradInt8`] have side by side.
pub const SIDE_BY_SIDE: usize = 4;
/// Channels that [`Packing::Eights`] has side by side.
pub const EIGHT: usize = 8;
/// Rows of the output in a tile of [`Packing::Winograd`] and [`Packing::HwioTiles`].
pub const TILE_ROWS: usize = 4;

// A number is its packing's place.
const _: () = {
    let mut number = 0;
    while number < Packing::ALL.len() {
        assert!(Packing::ALL[number] as usize == number);
        number += 1;
    }
};

/// As many output channels side by side as there are: this power of two is more.
const ALL: u8 = 16;

/// The layouts of all packings, by their numbers. Those in four bits have that of what they are
/// [unpacked](Packing::unpacked) to.
static LAYOUTS: [Layout; Packing::ALL.len()] = {
    use Element::{Int8, Int16, Kernel, Position};
    use Order::{EvenFirst, Interleaved, Plain};
    let ohwi =
        Layout { channels_log2: 0, taps_log2: 0, fill_log2: [0, 0], order: Plain, element: Int8 };
    let pairs = Layout {
        channels_log2: 1,
        taps_log2: 2,
        fill_log2: [1, 2],
        order: Interleaved,
        element: Int8,
    };
    let wide_pairs = Layout { order: EvenFirst, element: Int16, ..pairs };
    let eights = Layout { channels_log2: 3, fill_log2: [3, 1], ..ohwi };
    let hwio = Layout { channels_log2: ALL, taps_log2: 1, fill_log2: [0, 1], ..ohwi };
    let vectors = Layout { channels_log2: 6, taps_log2: 4, fill_log2: [1, 4], ..ohwi };
    let kernels = Layout {
        channels_log2: 2,
        taps_log2: 2,
        fill_log2: [2, 2],
        order: EvenFirst,
        element: Kernel,
    };
    let winograd = Layout { element: Position, ..kernels };
    let hwio_tiles = Layout { element: Position, ..hwio };
    [
        ohwi, pairs, wide_pairs, eights, hwio, vectors, winograd, kernels, hwio_tiles, ohwi, pairs,
        eights, vectors, hwio,
    ]
};
/// Bytes that weights in four bits are unpacked to at a time, about.
const UNPACKED_BYTES: usize = 2304;
/// Bytes whose lower halves lie together, and whose upper ones do.
pub(super) const HALVES: usize = 16;

impl Packing {
    /// All packings, by their numbers.
    pub const ALL: [Self; 14] = [
        Self::Ohwi,
        Self::Pairs,
        Self::WidePairs,
        Self::Eights,
        Self::Hwio,
        Self::Vectors,
        Self::Winograd,
        Self::WinogradInt8,
        Self::HwioTiles,
        Self::Ohwi4,
        Self::Pairs4,
        Self::Eights4,
        Self::Vectors4,
        Self::Hwio4,
    ];

    /// The packing of a number; those in four bits only with the crate's feature `int4`.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        let there = Feature::Int4.is_on() || !Self::is_in_four_bits(number);
        if there && (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }

    /// Whether a packing of that number has weights in four bits.
    pub(crate) const fn is_in_four_bits(number: u8) -> bool {
        number >= Self::Ohwi4 as u8 && (number as usize) < Self::ALL.len()
    }

    /// Its name in reports and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ohwi => "ohwi",
            Self::Pairs => "pairs",
            Self::WidePairs => "wide-pairs",
            Self::Eights => "eights",
            Self::Hwio => "hwio",
            Self::Vectors => "vectors",
            Self::Winograd => "winograd",
            Self::WinogradInt8 => "winograd-int8",
            Self::HwioTiles => "hwio-tiles",
            Self::Ohwi4 => "ohwi-4",
            Self::Pairs4 => "pairs-4",
            Self::Eights4 => "eights-4",
            Self::Vectors4 => "vectors-4",
            Self::Hwio4 => "hwio-4",
        }
    }

    /// How it has weights side by side.
    #[inline]
    pub(super) const fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }

    /// What weights in four bits are unpacked to: a packing in bytes, in which kernels multiply
    /// them; `None` of those that are in bytes, or larger, themselves.
    ///
    /// Weights are from -8 to 7, in two's complement. Output channels come in
    /// [groups](Self::group), as many as are unpacked at a time; each group, the last with fewer
    /// channels, is packed by itself: the numbers *n₀*, *n₁* … of its form in bytes lie two in a
    /// byte, low half and high half, by thirty-two.
    ///
    /// ```text
    /// byte     0        1        …  15           16         …
    ///          n₀  n₁₆  n₁  n₁₇  …  n₁₅  n₃₁     n₃₂  n₄₈   …
    /// ```
    ///
    /// The last that are fewer than thirty-two are halved likewise, and a high half that is left
    /// over is zero. So unpacking needs no order of its own: a word becomes two words, a vector
    /// two vectors.
    pub const fn unpacked(self) -> Option<Self> {
        match self {
            _ if !Feature::Int4.is_on() => None,
            Self::Ohwi4 => Some(Self::Ohwi),
            Self::Pairs4 => Some(Self::Pairs),
            Self::Eights4 => Some(Self::Eights),
            Self::Vectors4 => Some(Self::Vectors),
            Self::Hwio4 => Some(Self::Hwio),
            _ => None,
        }
    }

    /// The packing in four bits that is unpacked to this one; itself where it is one.
    pub fn in_four_bits(self) -> Option<Self> {
        let halves = |packing: &Self| *packing == self || packing.unpacked() == Some(self);
        Self::ALL.into_iter().filter(|packing| packing.unpacked().is_some()).find(halves)
    }

    /// Bits of a weight, before any transform.
    pub const fn bits(self) -> u32 {
        if self.unpacked().is_some() { 4 } else { 8 }
    }

    /// Whether it can hold that weight.
    pub const fn holds(self, weight: i8) -> bool {
        self.bits() == 8 || (weight >= -8 && weight <= 7)
    }

    /// Output channels that are unpacked at a time, where weights have four bits: a multiple of
    /// eight whose weights take 2,304 bytes, or eight.
    pub const fn group(self, kernel: [usize; 2]) -> usize {
        if self.bits() == 8 {
            return usize::MAX;
        }
        match UNPACKED_BYTES.checked_div(self.layout().bytes(EIGHT, kernel)) {
            Some(eights) if eights > 0 => EIGHT * eights,
            _ => EIGHT,
        }
    }

    /// Output channels whose weights lie together: bytes of whole numbers of them are one behind the
    /// other. [`usize::MAX`] where those of all channels do.
    pub(crate) const fn together(self, kernel: [usize; 2]) -> usize {
        let layout = self.layout();
        match self.bits() {
            4 => self.group(kernel),
            _ if layout.channels_log2 == ALL => usize::MAX,
            _ => 1 << layout.channels_log2,
        }
    }

    /// The weights of the group that begins with output channel `first`.
    #[inline(always)]
    pub(crate) fn of_group(self, packed: &[i8], first: usize, kernel: [usize; 2]) -> &[i8] {
        if self.bits() == 8 {
            return packed;
        }
        let group = self.group(kernel);
        // Eights are of an even number of bytes.
        let bytes = self.layout().bytes(group, kernel) / 2;
        let start = first.checked_div(group).unwrap_or(0).saturating_mul(bytes);
        let rest = packed.get(start..).unwrap_or(&[]);
        rest.get(..bytes).unwrap_or(rest)
    }

    /// Whether it can be that of a convolution with such a kernel and stride: rows, columns.
    pub const fn fits(self, kernel: [usize; 2], stride: [usize; 2]) -> bool {
        self.rows_a_step() == 1 || matches!((kernel, stride), ([3, 3], [1, 1]))
    }

    /// Rows of the output that a step makes.
    #[inline]
    pub const fn rows_a_step(self) -> usize {
        match self {
            Self::Winograd | Self::WinogradInt8 | Self::HwioTiles => TILE_ROWS,
            _ => 1,
        }
    }

    /// Bytes that the weights of `channels` output channels take, with a kernel of `kernel[0]`
    /// rows and `kernel[1]` weights in each.
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
        let rest = layout.bytes(channels - groups * group, kernel);
        groups * (layout.bytes(group, kernel) / 2) + rest.div_ceil(2)
    }

    /// The weight of output channel `channel` that is number `tap` of kernel row `ky`: kernel
    /// column × input channel.
    #[inline]
    pub fn weight(
        self,
        packed: &[i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
    ) -> i8 {
        if self.bits() == 4 {
            let place = self.nibble(packed, channel, ky, tap, kernel);
            let Some((group, byte, high)) = place else { return 0 };
            let pair = group.get(byte).copied().unwrap_or(0);
            return if high { pair >> 4 } else { pair << 4 >> 4 };
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

    /// Packs a weight. Before the first, all of `packed` is zero.
    pub fn put(
        self,
        packed: &mut [i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
        weight: i8,
    ) {
        if self.bits() == 4 {
            let place = self.nibble(packed, channel, ky, tap, kernel);
            let Some((group, byte, high)) = place else { return };
            let at = group.as_ptr().addr() - packed.as_ptr().addr() + byte;
            if let Some(pair) = packed.get_mut(at) {
                *pair = if high { *pair & 15 | weight << 4 } else { *pair & !15 | weight & 15 };
            }
            return;
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

    /// Whether the weights of output channel `channel` are the packed form of int8, and what fills
    /// them up is zero.
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
                    value == i16::from(value as i8) && (tap < row || value == 0)
                })
            }),
            Element::Kernel => (line..filled).all(|input| {
                let at = layout.place(packed.len(), channel, 0, input, kernel);
                packed.get(at..at + tiles::TILE_KERNEL).is_some_and(|w| w.iter().all(|&w| w == 0))
            }),
            Element::Position => (0..filled).all(|input| {
                // Positions are equally far apart.
                let [first, second] =
                    [0, 1].map(|line| layout.place(packed.len(), channel, line, input, kernel));
                let at = |line: usize| int16_at(packed, first + line * (second - first));
                tiles::is_transform(at) && (input < line || (0..lines).all(|line| at(line) == 0))
            }),
        }
    }

    /// Where a weight in four bits lies: its group, the byte in it, and whether it is the upper
    /// half of that.
    #[inline(always)]
    fn nibble(
        self,
        packed: &[i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel: [usize; 2],
    ) -> Option<(&[i8], usize, bool)> {
        let group = self.of_group(packed, channel, kernel);
        let channel = channel.checked_rem(self.group(kernel))?;
        // Whoever has to know how many bytes there are has an even number of them.
        let index = self.layout().weight(2 * group.len(), channel, ky, tap, kernel);
        let start = index / (2 * HALVES) * HALVES;
        let halves = group.len().checked_sub(start)?.min(HALVES);
        let place = index - 2 * start;
        let high = place >= halves;
        Some((group, start + if high { place - halves } else { place }, high))
    }
}
