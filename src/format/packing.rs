//! The orders in which the weights of a convolution lie.

use super::layout::{Element, Layout, int16_at};
use super::tables::{ALL, IN_BYTES, LAYOUTS, NARROW};
use super::{planes, tiles};
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
    /// [`Ohwi`](Self::Ohwi) in [three bits](Self::unpacked).
    Ohwi3 = 14,
    /// [`Pairs`](Self::Pairs) in [three bits](Self::unpacked).
    Pairs3 = 15,
    /// [`Eights`](Self::Eights) in [three bits](Self::unpacked).
    Eights3 = 16,
    /// [`Vectors`](Self::Vectors) in [three bits](Self::unpacked).
    Vectors3 = 17,
    /// [`Hwio`](Self::Hwio) in [three bits](Self::unpacked).
    Hwio3 = 18,
    /// [`Ohwi`](Self::Ohwi) in [five bits](Self::unpacked).
    Ohwi5 = 19,
    /// [`Pairs`](Self::Pairs) in [five bits](Self::unpacked).
    Pairs5 = 20,
    /// [`Eights`](Self::Eights) in [five bits](Self::unpacked).
    Eights5 = 21,
    /// [`Vectors`](Self::Vectors) in [five bits](Self::unpacked).
    Vectors5 = 22,
    /// [`Hwio`](Self::Hwio) in [five bits](Self::unpacked).
    Hwio5 = 23,
    /// [`Ohwi`](Self::Ohwi) in [six bits](Self::unpacked).
    Ohwi6 = 24,
    /// [`Pairs`](Self::Pairs) in [six bits](Self::unpacked).
    Pairs6 = 25,
    /// [`Eights`](Self::Eights) in [six bits](Self::unpacked).
    Eights6 = 26,
    /// [`Vectors`](Self::Vectors) in [six bits](Self::unpacked).
    Vectors6 = 27,
    /// [`Hwio`](Self::Hwio) in [six bits](Self::unpacked).
    Hwio6 = 28,
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

/// Bytes that weights in fewer bits are unpacked to at a time, about.
const UNPACKED_BYTES: usize = 2304;

impl Packing {
    /// All packings, by their numbers.
    pub const ALL: [Self; 29] = [
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
        Self::Ohwi3,
        Self::Pairs3,
        Self::Eights3,
        Self::Vectors3,
        Self::Hwio3,
        Self::Ohwi5,
        Self::Pairs5,
        Self::Eights5,
        Self::Vectors5,
        Self::Hwio5,
        Self::Ohwi6,
        Self::Pairs6,
        Self::Eights6,
        Self::Vectors6,
        Self::Hwio6,
    ];

    /// Bits that a weight can have.
    pub const WIDTHS: [u32; 5] = [3, 4, 5, 6, 8];

    /// The packing of a number; those in four bits only with the crate's feature `int4`, those in
    /// three, five and six only with `sub-byte`.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        let there = match Self::feature(number) {
            Some(feature) => feature.is_on(),
            None => true,
        };
        if there && (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }

    /// What a build needs to run the packing of a number.
    pub(crate) const fn feature(number: u8) -> Option<Feature> {
        if number < Self::Ohwi4 as u8 || number as usize >= Self::ALL.len() {
            None
        } else if number < Self::Ohwi3 as u8 {
            Some(Feature::Int4)
        } else {
            Some(Feature::SubByte)
        }
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
            Self::Ohwi3 => "ohwi-3",
            Self::Pairs3 => "pairs-3",
            Self::Eights3 => "eights-3",
            Self::Vectors3 => "vectors-3",
            Self::Hwio3 => "hwio-3",
            Self::Ohwi5 => "ohwi-5",
            Self::Pairs5 => "pairs-5",
            Self::Eights5 => "eights-5",
            Self::Vectors5 => "vectors-5",
            Self::Hwio5 => "hwio-5",
            Self::Ohwi6 => "ohwi-6",
            Self::Pairs6 => "pairs-6",
            Self::Eights6 => "eights-6",
            Self::Vectors6 => "vectors-6",
            Self::Hwio6 => "hwio-6",
        }
    }

    /// How it has weights side by side: as what it is unpacked to.
    #[inline]
    pub(super) const fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }

    /// The row of a packing in fewer bits than a byte.
    #[inline]
    const fn narrow(self) -> Option<&'static (u8, Self)> {
        match (self as usize).checked_sub(IN_BYTES) {
            Some(row) if Feature::Int4.is_on() && row < NARROW.len() => Some(&NARROW[row]),
            _ => None,
        }
    }

    /// What weights in fewer bits than a byte are unpacked to: a packing in bytes, in which kernels
    /// multiply them; `None` of those that are in bytes, or larger, themselves.
    ///
    /// Weights are in two's complement: from -8 to 7 in four bits. Output channels come in
    /// [groups](Self::group), as many as are unpacked at a time; each group, the last with fewer
    /// channels, is packed by itself: the numbers *n₀*, *n₁* … of its form in bytes, in blocks of
    /// thirty-two, the last with those that are left.
    ///
    /// A block is one or two planes, which have some bits of each number: 3 bits are 2 and 1, 4 are
    /// 4, 5 are 4 and 1, 6 are 4 and 2. The lower bits come first. A plane of *p* bits of *m* numbers is
    /// *m·p*/8 bytes, rounded up; number *n* is in byte *n* mod that, in bits *p* · (*n* div that) and
    /// above. So a whole block in five bits is
    ///
    /// ```text
    /// byte       0       1       …  15       16                    …  19
    /// bits 0 …   n₀      n₁      …  n₁₅      n₀ n₄ n₈ … n₂₈        …  n₃ n₇ … n₃₁
    /// bits 4 …   n₁₆     n₁₇     …  n₃₁
    ///            bits 0 to 3 of each         bit 4 of each
    /// ```
    ///
    /// Bits that are left over are zero. Unpacking needs no order of its own: a word of a plane holds
    /// fields of four consecutive numbers, one above the other, and a shift and a mask make a word of
    /// bytes of them.
    #[inline]
    pub const fn unpacked(self) -> Option<Self> {
        match self.narrow() {
            Some(&(_, unpacked)) => Some(unpacked),
            None => None,
        }
    }

    /// The packing of that number of bits with the same form in bytes; `None` where there is none.
    pub fn in_bits(self, bits: u32) -> Option<Self> {
        let form = self.unpacked().unwrap_or(self);
        let is = |packing: &Self| packing.unpacked().unwrap_or(*packing) == form;
        Self::ALL.into_iter().filter(is).find(|packing| packing.bits() == bits)
    }

    /// Bits of a weight, before any transform.
    pub const fn bits(self) -> u32 {
        match self.narrow() {
            Some(&(bits, _)) if Feature::SubByte.is_on() => bits as u32,
            Some(_) => 4,
            None => 8,
        }
    }

    /// Whether it can hold that weight.
    pub const fn holds(self, weight: i8) -> bool {
        let above = 8 - self.bits();
        weight << above >> above == weight
    }

    /// Output channels that are unpacked at a time, where weights have fewer bits than a byte: a multiple of
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

    /// Where that group begins, and its bytes if it is no last one with fewer channels.
    #[inline(always)]
    fn place_of_group(self, first: usize, kernel: [usize; 2]) -> (usize, usize) {
        let group = self.group(kernel);
        let bytes = planes::bytes(self.bits() as usize, self.layout().bytes(group, kernel));
        (first.checked_div(group).unwrap_or(0).saturating_mul(bytes), bytes)
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
        let (bits, rest) = (self.bits() as usize, channels - groups * group);
        groups * planes::bytes(bits, layout.bytes(group, kernel))
            + planes::bytes(bits, layout.bytes(rest, kernel))
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
        if self.bits() < 8 {
            let (group, number) = self.number(packed, channel, ky, tap, kernel);
            let (start, bytes) = (self.place_of_group(channel, kernel).0, group.len());
            // Empty where there is no room for the group.
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

    /// Where a weight in fewer bits than a byte lies: its group, and which of the numbers there it is.
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
        // A few more than there are, but too few for another channel.
        let numbers = planes::numbers(self.bits() as usize, group.len());
        (group, self.layout().weight(numbers, channel, ky, tap, kernel))
    }
}
