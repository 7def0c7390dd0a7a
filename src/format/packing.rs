//! The orders in which the weights of a convolution are stored.

use super::layout::Layout;
use super::tables::{BY_NUMBER, LAYOUTS, NARROW};
use crate::feature::Feature;

/// The order and the form in which the weights of a convolution are stored. The values are the
/// packing numbers in the file. The numbers 5, 12, 17, 22 and 27 were those of
/// [`Vectors`](Self::Vectors) with 64 channels interleaved, and are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Packing {
    /// Output channel, kernel row, kernel column, input channel: the last index is consecutive.
    Ohwi = 0,
    /// For cores that widen bytes 0 and 2 of a word in one instruction, and bytes 1 and 3 in
    /// another. Two output channels *a* and *b* = *a* + 1 are interleaved, with four weights of
    /// each in the order of [`Ohwi`](Self::Ohwi):
    ///
    /// ```text
    /// a0 b0 a2 b2   a1 b1 a3 b3   a4 b4 a6 b6   a5 b5 a7 b7   …
    /// ```
    ///
    /// Kernel rows are padded with zeros to a multiple of four weights, and channels to an even
    /// number.
    Pairs = 1,
    /// [`Pairs`](Self::Pairs) widened: each weight is an int16, and a word holds two of them.
    ///
    /// ```text
    /// a0 a2   b0 b2   a1 a3   b1 b3   a4 a6   b4 b6   a5 a7   b5 b7   …
    /// ```
    WidePairs = 2,
    /// Eight output channels *a* … *h* are interleaved, with weights in the order of
    /// [`Ohwi`](Self::Ohwi): consecutive weights of a channel are eight bytes apart.
    ///
    /// ```text
    /// a0 b0 c0 d0 e0 f0 g0 h0   a1 b1 c1 d1 e1 f1 g1 h1   …
    /// ```
    ///
    /// Kernel rows are padded with zeros to an even number of weights, and channels to a multiple
    /// of eight.
    Eights = 3,
    /// For cores whose vectors have a lane for each output channel *a*, *b*, *c* …. In each kernel
    /// row, two weights of all output channels follow each other, in the order of
    /// [`Ohwi`](Self::Ohwi):
    ///
    /// ```text
    /// a0 a1 b0 b1 c0 c1 …   a2 a3 b2 b3 c2 c3 …   …
    /// ```
    ///
    /// Kernel rows are padded with zeros to an even number of weights.
    Hwio = 4,
    /// Kernels of three rows by three columns at stride 1, transformed for Winograd's convolution
    /// in two dimensions, F(4 × 4, 3 × 3). The kernel of each input channel becomes six by six
    /// int16: its columns and its rows are multiplied by [`TILE_TRANSFORM`](super::TILE_TRANSFORM).
    /// Positions are stored row by row. In each position, four output channels *a* … *d* are
    /// interleaved, with two of four input channels at a time:
    ///
    /// ```text
    /// position 0:  a0 a2 b0 b2 c0 c2 d0 d2   a1 a3 b1 b3 c1 c3 d1 d3   a4 a6 …
    /// position 1:  …
    /// ```
    ///
    /// Input and output channels are padded with zeros to a multiple of four. A step of such a
    /// layer makes four rows.
    Winograd = 6,
    /// The same kernels without the transform, as nine int8 each. The layer transforms them while
    /// it runs: it takes an eighth of the flash, and more scratch memory. The order of the kernels
    /// is that of the transformed ones in a position:
    ///
    /// ```text
    /// a0…  a2…  b0…  b2…  c0…  c2…  d0…  d2…   a1…  a3…  b1…  b3…
    /// ```
    WinogradInt8 = 7,
    /// The transformed weights of [`Winograd`](Self::Winograd) for cores whose vectors have a lane
    /// for each output channel *a*, *b*, *c* …. In each position, two input channels of all output
    /// channels follow each other:
    ///
    /// ```text
    /// position 0:  a0 a1 b0 b1 c0 c1 …   a2 a3 b2 b3 c2 c3 …   …
    /// position 1:  …
    /// ```
    ///
    /// Input channels are padded with zeros to an even number.
    HwioTiles = 8,
    /// [`Ohwi`](Self::Ohwi) in [four bits](Self::unpacked).
    Ohwi4 = 9,
    /// [`Pairs`](Self::Pairs) in [four bits](Self::unpacked).
    Pairs4 = 10,
    /// [`Eights`](Self::Eights) in [four bits](Self::unpacked).
    Eights4 = 11,
    /// [`Hwio`](Self::Hwio) in [four bits](Self::unpacked).
    Hwio4 = 13,
    /// [`Ohwi`](Self::Ohwi) in [three bits](Self::unpacked).
    Ohwi3 = 14,
    /// [`Pairs`](Self::Pairs) in [three bits](Self::unpacked).
    Pairs3 = 15,
    /// [`Eights`](Self::Eights) in [three bits](Self::unpacked).
    Eights3 = 16,
    /// [`Hwio`](Self::Hwio) in [three bits](Self::unpacked).
    Hwio3 = 18,
    /// [`Ohwi`](Self::Ohwi) in [five bits](Self::unpacked).
    Ohwi5 = 19,
    /// [`Pairs`](Self::Pairs) in [five bits](Self::unpacked).
    Pairs5 = 20,
    /// [`Eights`](Self::Eights) in [five bits](Self::unpacked).
    Eights5 = 21,
    /// [`Hwio`](Self::Hwio) in [five bits](Self::unpacked).
    Hwio5 = 23,
    /// [`Ohwi`](Self::Ohwi) in [six bits](Self::unpacked).
    Ohwi6 = 24,
    /// [`Pairs`](Self::Pairs) in [six bits](Self::unpacked).
    Pairs6 = 25,
    /// [`Eights`](Self::Eights) in [six bits](Self::unpacked).
    Eights6 = 26,
    /// [`Hwio`](Self::Hwio) in [six bits](Self::unpacked).
    Hwio6 = 28,
    /// [`WinogradInt8`](Self::WinogradInt8) in steps of eight rows. Kernels are transformed once per
    /// step, so half as often. The transformed values of eight rows need more scratch memory.
    WinogradInt8Tall = 29,
    /// [`Hwio`](Self::Hwio) for kernels of three rows by three columns at stride 1, in steps of eight
    /// rows. The layer multiplies the columns of kernels by [`TILE_TRANSFORM`](super::TILE_TRANSFORM)
    /// while it runs, for Winograd's convolution along columns only, F(4, 3).
    HwioTall = 30,
    /// For cores with vectors of 16 bytes. [`VECTOR_CHANNELS`] output channels *a*, *b*, *c*, *d* are
    /// interleaved, with [`VECTOR`] weights of a kernel row at a time:
    ///
    /// ```text
    /// kernel row 0:  a0 … a15   b0 … b15   c0 … c15   d0 … d15   a16 … a31   b16 … b31   …
    /// kernel row 1:  a0 …
    /// ```
    ///
    /// Kernel rows are padded with zeros to whole vectors, and channels to a multiple of four.
    Vectors = 31,
    /// [`Vectors`](Self::Vectors) in [four bits](Self::unpacked).
    Vectors4 = 32,
    /// [`Vectors`](Self::Vectors) in [three bits](Self::unpacked).
    Vectors3 = 33,
    /// [`Vectors`](Self::Vectors) in [five bits](Self::unpacked).
    Vectors5 = 34,
    /// [`Vectors`](Self::Vectors) in [six bits](Self::unpacked).
    Vectors6 = 35,
    /// For vectors with lanes of 32 bits, each of which multiplies four bytes. Sixteen output channels
    /// *a* … *p* are interleaved, with four weights of each in the order of [`Ohwi`](Self::Ohwi):
    ///
    /// ```text
    /// a0 a1 a2 a3   b0 b1 b2 b3   …   p0 p1 p2 p3   a4 a5 a6 a7   …
    /// ```
    ///
    /// Kernel rows are padded with zeros to a multiple of four weights, and channels to a multiple of
    /// sixteen.
    Sixteens = 36,
    /// [`Sixteens`](Self::Sixteens) for kernels of three rows by three columns at stride 1, in steps of
    /// eight rows. Weights are read an eighth as often.
    SixteensTall = 37,
}

/// Number of weights in a vector of [`Packing::Vectors`].
pub const VECTOR: usize = 16;
/// Number of output channels that [`Packing::Vectors`] interleaves.
pub const VECTOR_CHANNELS: usize = 4;
/// Number of output channels that [`Packing::Winograd`] and [`Packing::WinogradInt8`] interleave.
pub const SIDE_BY_SIDE: usize = 4;
/// Number of channels that [`Packing::Eights`] interleaves.
pub const EIGHT: usize = 8;
/// Number of output rows in a tile of [`Packing::Winograd`] and [`Packing::HwioTiles`].
pub const TILE_ROWS: usize = 4;
/// Largest number of output rows of a step: [`Packing::WinogradInt8Tall`] and [`Packing::HwioTall`]
/// have two rows of tiles.
pub const MAX_STEP_ROWS: usize = 2 * TILE_ROWS;

impl Packing {
    /// All packings, in the order of their numbers.
    pub const ALL: [Self; 33] = [
        Self::Ohwi,
        Self::Pairs,
        Self::WidePairs,
        Self::Eights,
        Self::Hwio,
        Self::Winograd,
        Self::WinogradInt8,
        Self::HwioTiles,
        Self::Ohwi4,
        Self::Pairs4,
        Self::Eights4,
        Self::Hwio4,
        Self::Ohwi3,
        Self::Pairs3,
        Self::Eights3,
        Self::Hwio3,
        Self::Ohwi5,
        Self::Pairs5,
        Self::Eights5,
        Self::Hwio5,
        Self::Ohwi6,
        Self::Pairs6,
        Self::Eights6,
        Self::Hwio6,
        Self::WinogradInt8Tall,
        Self::HwioTall,
        Self::Vectors,
        Self::Vectors4,
        Self::Vectors3,
        Self::Vectors5,
        Self::Vectors6,
        Self::Sixteens,
        Self::SixteensTall,
    ];

    /// The possible numbers of bits of a weight.
    pub const WIDTHS: [u32; 5] = [3, 4, 5, 6, 8];

    /// The packing with this number.
    ///
    /// Packings in four bits need the crate's feature `int4`; those in three, five and six bits
    /// need `sub-byte`.
    ///
    /// ```
    /// use brooklet::format::Packing;
    ///
    /// let packing = Packing::from_number(0).unwrap();
    /// assert_eq!((packing.name(), packing.bits(), packing.rows_a_step()), ("ohwi", 8, 1));
    /// assert_eq!(Packing::Winograd.rows_a_step(), 4);
    /// ```
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        let there = match Self::feature(number) {
            Some(feature) => feature.is_on(),
            None => true,
        };
        if there && (number as usize) < BY_NUMBER.len() { BY_NUMBER[number as usize] } else { None }
    }

    /// The feature that a build needs to run the packing with this number.
    pub(crate) const fn feature(number: u8) -> Option<Feature> {
        if number as usize >= NARROW.len() {
            return None;
        }
        match NARROW[number as usize] {
            Some((4, _)) => Some(Feature::Int4),
            Some(_) => Some(Feature::SubByte),
            None => None,
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
            Self::WinogradInt8Tall => "winograd-int8-tall",
            Self::HwioTall => "hwio-tall",
            Self::Sixteens => "sixteens",
            Self::SixteensTall => "sixteens-tall",
        }
    }

    /// The layout of the weights; for weights of less than eight bits, that of the unpacked
    /// weights.
    #[inline]
    pub(super) const fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }

    /// The row of [`NARROW`] of a packing of less than eight bits.
    #[inline]
    const fn narrow(self) -> Option<&'static (u8, Self)> {
        if Feature::Int4.is_on() { NARROW[self as usize].as_ref() } else { None }
    }

    /// For weights of less than eight bits: the packing in bytes to which they are unpacked, and in
    /// which kernels multiply them.
    ///
    /// `None` for all other packings.
    ///
    /// Weights are in two's complement, so in four bits they range from -8 to 7. Output channels
    /// form [groups](Self::group), which are unpacked one at a time. The last group may have fewer
    /// channels. Each group is packed by itself: the weights *n₀*, *n₁* … of its form in bytes, in
    /// blocks of thirty-two; the last block has the remaining weights.
    ///
    /// A block has one or two planes, each with some bits of every weight. Three bits are split
    /// into 2 and 1, four into 4, five into 4 and 1, six into 4 and 2. The plane with the lower
    /// bits comes first. A plane with *p* bits of *m* weights has *m·p*/8 bytes, rounded up, say
    /// *b*. Weight *n* is in byte *n* mod *b*, from bit *p* · (*n* div *b*) on. A whole block in
    /// five bits is
    ///
    /// ```text
    /// byte       0       1       …  15       16                    …  19
    /// bits 0 …   n₀      n₁      …  n₁₅      n₀ n₄ n₈ … n₂₈        …  n₃ n₇ … n₃₁
    /// bits 4 …   n₁₆     n₁₇     …  n₃₁
    ///            bits 0 to 3 of each         bit 4 of each
    /// ```
    ///
    /// Unused bits are zero. A word of a plane holds fields of four consecutive weights, one in
    /// each byte, so that a shift and a mask turn it into a word of bytes.
    #[inline]
    pub const fn unpacked(self) -> Option<Self> {
        match self.narrow() {
            Some(&(_, unpacked)) => Some(unpacked),
            None => None,
        }
    }

    /// The packing with weights of `bits` bits and the same form in bytes; `None` if there is none.
    pub fn in_bits(self, bits: u32) -> Option<Self> {
        let form = self.unpacked().unwrap_or(self);
        let is = |packing: &Self| packing.unpacked().unwrap_or(*packing) == form;
        Self::ALL.into_iter().filter(is).find(|packing| packing.bits() == bits)
    }

    /// Number of bits of a weight, before any transform.
    pub const fn bits(self) -> u32 {
        match self.narrow() {
            Some(&(bits, _)) if Feature::SubByte.is_on() => bits as u32,
            Some(_) => 4,
            None => 8,
        }
    }

    /// Whether it can hold this weight.
    pub const fn holds(self, weight: i8) -> bool {
        let above = 8 - self.bits();
        weight << above >> above == weight
    }

    /// Whether it can be the packing of a convolution with this kernel and stride, each given as
    /// rows and columns.
    pub const fn fits(self, kernel: [usize; 2], stride: [usize; 2]) -> bool {
        self.rows_a_step() == 1 || matches!((kernel, stride), ([3, 3], [1, 1]))
    }

    /// Whether its weights are kernels in int8 that Winograd's convolution transforms at run time.
    #[inline]
    pub const fn is_winograd_int8(self) -> bool {
        matches!(self, Self::WinogradInt8 | Self::WinogradInt8Tall)
    }

    /// Number of output rows that a step makes.
    #[inline]
    pub const fn rows_a_step(self) -> usize {
        match self {
            Self::Winograd | Self::WinogradInt8 | Self::HwioTiles => TILE_ROWS,
            Self::WinogradInt8Tall | Self::HwioTall | Self::SixteensTall => MAX_STEP_ROWS,
            _ => 1,
        }
    }
}
