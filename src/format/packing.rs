//! The orders in which the weights of a convolution lie.

use zerocopy::{FromBytes, IntoBytes};

use super::tiles::{self, Tiles};

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
    /// Kernels of three columns at stride 1, transformed for Winograd's convolution in one
    /// dimension, F(4, 3): each kernel row of an input channel is six int16, [`TRANSFORM`] of its
    /// three weights. Four output channels *a* … *d* are side by side, by two of four input
    /// channels:
    ///
    /// ```text
    /// position 0:  kernel row 0:  a0 a2 b0 b2 c0 c2 d0 d2   a1 a3 b1 b3 c1 c3 d1 d3   …
    ///              kernel row 1:  a0 a2 …
    /// position 1:  …
    /// ```
    ///
    /// Channels that are missing to a multiple of four are zero.
    Winograd = 2,
    /// [`Pairs`](Self::Pairs) widened: each weight is an int16, and two of them a word.
    ///
    /// ```text
    /// a0 a2   b0 b2   a1 a3   b1 b3   a4 a6   b4 b6   a5 a7   b5 b7   …
    /// ```
    WidePairs = 3,
    /// Eight output channels *a* … *h* side by side, by weights in the order of
    /// [`Ohwi`](Self::Ohwi): those of a channel are eight bytes apart.
    ///
    /// ```text
    /// a0 b0 c0 d0 e0 f0 g0 h0   a1 b1 c1 d1 e1 f1 g1 h1   …
    /// ```
    ///
    /// What is missing in a kernel row to an even number, and channels that are missing to a
    /// multiple of eight, are zero.
    Eights = 6,
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
    Winograd2d = 7,
    /// The same kernels as they are, of nine int8: those that transform them as they run take an
    /// eighth of the flash, and more scratch memory. Kernels lie in the order of the transformed ones
    /// at a position:
    ///
    /// ```text
    /// a0…  a2…  b0…  b2…  c0…  c2…  d0…  d2…   a1…  a3…  b1…  b3…
    /// ```
    Winograd2dInt8 = 8,
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
    /// The transformed weights of [`Winograd2d`](Self::Winograd2d) for cores whose vectors have a
    /// lane for each output channel *a*, *b*, *c* …: position by position, and there two input
    /// channels of all output channels after the other:
    ///
    /// ```text
    /// position 0:  a0 a1 b0 b1 c0 c1 …   a2 a3 b2 b3 c2 c3 …   …
    /// position 1:  …
    /// ```
    ///
    /// An input channel that is missing to an even number is zero.
    HwioTiles = 9,
    /// [`Ohwi`](Self::Ohwi) in [four bits](Self::unpacked).
    Ohwi4 = 10,
    /// [`Pairs`](Self::Pairs) in [four bits](Self::unpacked).
    Pairs4 = 11,
    /// [`Eights`](Self::Eights) in [four bits](Self::unpacked).
    Eights4 = 12,
    /// [`Vectors`](Self::Vectors) in [four bits](Self::unpacked).
    Vectors4 = 13,
    /// [`Hwio`](Self::Hwio) in [four bits](Self::unpacked).
    Hwio4 = 14,
}

/// Weights that [`Packing::Vectors`] has in a vector.
pub const VECTOR: usize = 16;

/// Output channels that [`Packing::Vectors`] has side by side, at most.
pub const VECTOR_CHANNELS: usize = 64;

/// How [`Packing::Winograd`] transforms the three weights of a kernel row into six: the matrix *G*
/// of F(4, 3) times 24, so that all is whole (Lavin and Gray, *Fast Algorithms for Convolutional
/// Neural Networks*, 2016, section 4.3).
pub const TRANSFORM: [[i16; 3]; 6] =
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]];

/// Columns of a kernel that is transformed.
const KERNEL_COLUMNS: usize = TRANSFORM[0].len();
/// Rows of the output in a tile of [`Packing::Winograd2d`] and [`Packing::HwioTiles`].
pub const TILE_ROWS: usize = 4;
/// Channels that [`Packing::Winograd`] has side by side.
pub(super) const SIDE_BY_SIDE: usize = 4;
/// Channels that [`Packing::Eights`] has side by side.
pub const EIGHT: usize = 8;
/// Bytes that weights in four bits are unpacked to at a time, about.
const UNPACKED_BYTES: usize = 2304;
/// Bytes whose lower halves lie together, and whose upper ones do.
const HALVES: usize = 16;

impl Packing {
    /// All packings.
    pub const ALL: [Self; 15] = [
        Self::Ohwi,
        Self::Pairs,
        Self::Winograd,
        Self::WidePairs,
        Self::Hwio,
        Self::Vectors,
        Self::Eights,
        Self::Winograd2d,
        Self::Winograd2dInt8,
        Self::HwioTiles,
        Self::Ohwi4,
        Self::Pairs4,
        Self::Eights4,
        Self::Vectors4,
        Self::Hwio4,
    ];

    /// The packing of a number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Ohwi),
            1 => Some(Self::Pairs),
            2 => Some(Self::Winograd),
            3 => Some(Self::WidePairs),
            6 => Some(Self::Eights),
            4 => Some(Self::Hwio),
            7 => Some(Self::Winograd2d),
            8 => Some(Self::Winograd2dInt8),
            5 => Some(Self::Vectors),
            9 => Some(Self::HwioTiles),
            10 => Some(Self::Ohwi4),
            11 => Some(Self::Pairs4),
            12 => Some(Self::Eights4),
            13 => Some(Self::Vectors4),
            14 => Some(Self::Hwio4),
            _ => None,
        }
    }

    /// Its name in reports and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ohwi => "ohwi",
            Self::Pairs => "pairs",
            Self::Winograd => "winograd",
            Self::WidePairs => "wide-pairs",
            Self::Eights => "eights",
            Self::Hwio => "hwio",
            Self::Winograd2d => "winograd-2d",
            Self::Winograd2dInt8 => "winograd-2d-int8",
            Self::Vectors => "vectors",
            Self::HwioTiles => "hwio-tiles",
            Self::Ohwi4 => "ohwi-4",
            Self::Pairs4 => "pairs-4",
            Self::Eights4 => "eights-4",
            Self::Vectors4 => "vectors-4",
            Self::Hwio4 => "hwio-4",
        }
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
        let Some(unpacked) = self.unpacked() else { return usize::MAX };
        match UNPACKED_BYTES.checked_div(unpacked.bytes(EIGHT, kernel)) {
            Some(eights) if eights > 0 => EIGHT * eights,
            _ => EIGHT,
        }
    }

    /// The weights of the group that begins with output channel `first`.
    #[inline(always)]
    pub(crate) fn of_group(self, packed: &[i8], first: usize, kernel: [usize; 2]) -> &[i8] {
        let Some(unpacked) = self.unpacked() else { return packed };
        let group = self.group(kernel);
        // Eights are of an even number of bytes.
        let bytes = unpacked.bytes(group, kernel) / 2;
        let start = first.checked_div(group).unwrap_or(0).saturating_mul(bytes);
        let rest = packed.get(start..).unwrap_or(&[]);
        rest.get(..bytes).unwrap_or(rest)
    }

    /// Whether it can be that of a convolution with such a kernel and stride: rows, columns.
    pub const fn fits(self, kernel: [usize; 2], stride: [usize; 2]) -> bool {
        match self {
            Self::Ohwi
            | Self::Pairs
            | Self::WidePairs
            | Self::Hwio
            | Self::Vectors
            | Self::Eights
            | Self::Ohwi4
            | Self::Pairs4
            | Self::Eights4
            | Self::Vectors4
            | Self::Hwio4 => true,
            Self::Winograd => matches!((kernel, stride), ([_, 3], [_, 1])),
            Self::Winograd2d | Self::Winograd2dInt8 | Self::HwioTiles => {
                matches!((kernel, stride), ([3, 3], [1, 1]))
            }
        }
    }

    /// Whether the weights are transformed, or are to be: by Winograd.
    pub const fn is_transformed(self) -> bool {
        matches!(self, Self::Winograd) || self.rows_a_step() > 1
    }

    /// Rows of the output that a step makes.
    #[inline]
    pub const fn rows_a_step(self) -> usize {
        match self {
            Self::Winograd2d | Self::Winograd2dInt8 | Self::HwioTiles => TILE_ROWS,
            _ => 1,
        }
    }

    /// Bytes that the weights of `channels` output channels take, with a kernel of so many rows
    /// and so many weights in each.
    #[inline]
    pub const fn bytes(self, channels: usize, [rows, row]: [usize; 2]) -> usize {
        match self {
            Self::Ohwi => channels * rows * row,
            Self::Pairs => channels.next_multiple_of(2) * rows * row.next_multiple_of(4),
            Self::WidePairs => 2 * Self::Pairs.bytes(channels, [rows, row]),
            Self::Eights => channels.next_multiple_of(EIGHT) * rows * row.next_multiple_of(2),
            Self::Hwio => channels * rows * row.next_multiple_of(2),
            Self::Winograd => {
                let inputs = (row / KERNEL_COLUMNS).next_multiple_of(SIDE_BY_SIDE);
                2 * TRANSFORM.len() * channels.next_multiple_of(SIDE_BY_SIDE) * rows * inputs
            }
            Self::Winograd2d => tiles::bytes(channels, row / KERNEL_COLUMNS),
            Self::Winograd2dInt8 => {
                let channels = channels.next_multiple_of(SIDE_BY_SIDE);
                channels * (row / KERNEL_COLUMNS).next_multiple_of(SIDE_BY_SIDE) * tiles::KERNEL
            }
            Self::Vectors => channels.next_multiple_of(2) * rows * row.next_multiple_of(VECTOR),
            Self::HwioTiles => tiles::hwio_bytes(channels, row / KERNEL_COLUMNS),
            Self::Ohwi4 | Self::Pairs4 | Self::Eights4 | Self::Vectors4 | Self::Hwio4 => {
                let Some(unpacked) = self.unpacked() else { return 0 };
                let group = self.group([rows, row]);
                let groups = match channels.checked_div(group) {
                    Some(groups) => groups,
                    None => 0,
                };
                let rest = unpacked.bytes(channels - groups * group, [rows, row]);
                groups * (unpacked.bytes(group, [rows, row]) / 2) + rest.div_ceil(2)
            }
        }
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
        kernel @ [rows, row]: [usize; 2],
    ) -> i8 {
        let index = match self {
            Self::Ohwi => (channel * rows + ky) * row + tap,
            Self::Pairs => pairs_index(channel, ky, tap, kernel),
            // The low byte is the weight.
            Self::WidePairs => wide_pairs_index(channel, ky, tap, kernel),
            Self::Eights => eights_index(channel, ky, tap, kernel),
            Self::Vectors => vectors_index(packed.len(), channel, ky, tap, kernel),
            Self::Hwio => hwio_index(packed.len(), channel, ky, tap, kernel),
            Self::Winograd => return recovered(packed, channel, ky, tap, kernel),
            Self::Winograd2d => {
                let inputs = (row / KERNEL_COLUMNS).max(1);
                let (kx, input) = (tap / inputs, tap % inputs);
                return Tiles::new(packed, inputs).weight(channel, [ky, kx], input);
            }
            Self::Winograd2dInt8 => kernel_tap_index(channel, ky, tap, row),
            Self::HwioTiles => {
                let inputs = (row / KERNEL_COLUMNS).max(1);
                let (kx, input) = (tap / inputs, tap % inputs);
                return Tiles::hwio(packed, inputs).weight(channel, [ky, kx], input);
            }
            Self::Ohwi4 | Self::Pairs4 | Self::Eights4 | Self::Vectors4 | Self::Hwio4 => {
                let place = self.nibble(packed, channel, ky, tap, kernel);
                let Some((group, byte, high)) = place else { return 0 };
                let pair = group.get(byte).copied().unwrap_or(0);
                return if high { pair >> 4 } else { pair << 4 >> 4 };
            }
        };
        packed.get(index).copied().unwrap_or(0)
    }

    /// Packs a weight. Before the first, all of `packed` is zero.
    pub fn put(
        self,
        packed: &mut [i8],
        channel: usize,
        ky: usize,
        tap: usize,
        kernel @ [rows, row]: [usize; 2],
        weight: i8,
    ) {
        let index = match self {
            Self::Ohwi => (channel * rows + ky) * row + tap,
            Self::Pairs => pairs_index(channel, ky, tap, kernel),
            Self::Vectors => vectors_index(packed.len(), channel, ky, tap, kernel),
            Self::WidePairs => {
                let low = wide_pairs_index(channel, ky, tap, kernel);
                if let Some(high) = packed.get_mut(low + 1) {
                    *high = weight >> 7;
                }
                low
            }
            Self::Eights => eights_index(channel, ky, tap, kernel),
            Self::Hwio => hwio_index(packed.len(), channel, ky, tap, kernel),
            Self::Winograd => {
                let inputs = (row / KERNEL_COLUMNS).max(1);
                let (kx, input) = (tap / inputs, tap % inputs);
                for (position, factors) in TRANSFORM.iter().enumerate() {
                    let at = transformed_index(position, channel, ky, input, kernel);
                    let product = factors.get(kx).map_or(0, |f| f * i16::from(weight));
                    if let Some(bytes) = packed.get_mut(at..at + 2) {
                        let sum = int16(bytes).wrapping_add(product).to_le_bytes();
                        bytes.copy_from_slice(&sum.map(|byte| byte as i8));
                    }
                }
                return;
            }
            Self::Winograd2d => {
                let inputs = (row / KERNEL_COLUMNS).max(1);
                let (kx, input) = (tap / inputs, tap % inputs);
                return Tiles::new(packed, inputs).put(channel, [ky, kx], input, weight);
            }
            Self::Winograd2dInt8 => kernel_tap_index(channel, ky, tap, row),
            Self::HwioTiles => {
                let inputs = (row / KERNEL_COLUMNS).max(1);
                let (kx, input) = (tap / inputs, tap % inputs);
                return Tiles::hwio(packed, inputs).put(channel, [ky, kx], input, weight);
            }
            Self::Ohwi4 | Self::Pairs4 | Self::Eights4 | Self::Vectors4 | Self::Hwio4 => {
                let place = self.nibble(packed, channel, ky, tap, kernel);
                let Some((group, byte, high)) = place else { return };
                let at = group.as_ptr().addr() - packed.as_ptr().addr() + byte;
                if let Some(pair) = packed.get_mut(at) {
                    *pair = if high { *pair & 15 | weight << 4 } else { *pair & !15 | weight & 15 };
                }
                return;
            }
        };
        if let Some(place) = packed.get_mut(index) {
            *place = weight;
        }
    }

    /// Whether the weights of output channel `channel` are the packed form of int8, and what fills
    /// them up is zero.
    pub fn is_sound(self, packed: &[i8], channel: usize, kernel @ [rows, row]: [usize; 2]) -> bool {
        let filled = row.next_multiple_of(4);
        match self {
            Self::Ohwi => true,
            Self::Pairs => (0..rows).all(|ky| {
                (row..filled)
                    .all(|tap| packed.get(pairs_index(channel, ky, tap, kernel)) == Some(&0))
            }),
            Self::Vectors => (0..rows).all(|ky| {
                (row..row.next_multiple_of(VECTOR)).all(|tap| {
                    packed.get(vectors_index(packed.len(), channel, ky, tap, kernel)) == Some(&0)
                })
            }),
            Self::WidePairs => (0..rows).all(|ky| {
                (0..filled).all(|tap| {
                    let at = wide_pairs_index(channel, ky, tap, kernel);
                    match packed.get(at..at + 2) {
                        Some(&[low, high]) => high == low >> 7 && (tap < row || low == 0),
                        _ => false,
                    }
                })
            }),
            Self::Eights => (0..rows).all(|ky| {
                (row..row.next_multiple_of(2))
                    .all(|tap| packed.get(eights_index(channel, ky, tap, kernel)) == Some(&0))
            }),
            Self::Hwio => (0..rows).all(|ky| {
                (row..row.next_multiple_of(2)).all(|tap| {
                    packed.get(hwio_index(packed.len(), channel, ky, tap, kernel)) == Some(&0)
                })
            }),
            Self::Winograd => {
                let inputs = row / KERNEL_COLUMNS;
                (0..rows).all(|ky| {
                    (0..inputs.next_multiple_of(SIDE_BY_SIDE)).all(|input| {
                        let weight = |kx| match input < inputs {
                            true => recovered(packed, channel, ky, kx * inputs + input, kernel),
                            false => 0,
                        };
                        let weights: [i8; 3] = core::array::from_fn(weight);
                        TRANSFORM.iter().enumerate().all(|(position, factors)| {
                            let products =
                                factors.iter().zip(weights).map(|(&f, w)| f * i16::from(w));
                            let sum = products.fold(0, i16::wrapping_add);
                            sum == transformed(packed, position, channel, ky, input, kernel)
                        })
                    })
                })
            }
            Self::Winograd2d => {
                let inputs = row / KERNEL_COLUMNS;
                Tiles::new(packed, inputs).is_sound(channel, inputs)
            }
            Self::Winograd2dInt8 => {
                let inputs = row / KERNEL_COLUMNS;
                (inputs..inputs.next_multiple_of(SIDE_BY_SIDE)).all(|input| {
                    let at = tiles::kernel_index(channel, input, inputs);
                    packed.get(at..at + tiles::KERNEL).is_some_and(|w| w.iter().all(|&w| w == 0))
                })
            }
            Self::HwioTiles => {
                let inputs = row / KERNEL_COLUMNS;
                Tiles::hwio(packed, inputs).is_sound(channel, inputs)
            }
            Self::Ohwi4 | Self::Pairs4 | Self::Eights4 | Self::Vectors4 | Self::Hwio4 => {
                let filled = match self {
                    Self::Ohwi4 => row,
                    Self::Pairs4 => filled,
                    Self::Vectors4 => row.next_multiple_of(VECTOR),
                    _ => row.next_multiple_of(2),
                };
                (0..rows).all(|ky| {
                    (row..filled).all(|tap| self.weight(packed, channel, ky, tap, kernel) == 0)
                })
            }
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
        kernel @ [rows, row]: [usize; 2],
    ) -> Option<(&[i8], usize, bool)> {
        let group = self.of_group(packed, channel, kernel);
        let channel = channel.checked_rem(self.group(kernel))?;
        // Whoever has to know how many bytes there are has an even number of them.
        let bytes = 2 * group.len();
        let index = match self.unpacked()? {
            Self::Pairs => pairs_index(channel, ky, tap, kernel),
            Self::Eights => eights_index(channel, ky, tap, kernel),
            Self::Vectors => vectors_index(bytes, channel, ky, tap, kernel),
            Self::Hwio => hwio_index(bytes, channel, ky, tap, kernel),
            _ => (channel * rows + ky) * row + tap,
        };
        let start = index / (2 * HALVES) * HALVES;
        let halves = group.len().checked_sub(start)?.min(HALVES);
        let place = index - 2 * start;
        let high = place >= halves;
        Some((group, start + if high { place - halves } else { place }, high))
    }
}

/// Unpacks numbers in [four bits](Packing::unpacked) to bytes; what has no place in `bytes` is
/// left out.
pub(crate) fn unpack_halves(packed: &[i8], bytes: &mut [i8]) {
    // The lower half of each byte of a word, its sign extended: the upper halves are 8, then 0 or
    // 1, so that nothing is borrowed from the next byte.
    let extend = |halves: u32| ((halves & 0x0f0f_0f0f ^ 0x8888_8888) - 0x0808_0808) ^ 0x8080_8080;
    let (blocks, rest) = packed.as_chunks::<HALVES>();
    let (places, _) = bytes.as_chunks_mut::<{ 2 * HALVES }>();
    let words = <[[u32; HALVES / 4]]>::ref_from_bytes(blocks.as_bytes());
    let doubles = <[[[u32; HALVES / 4]; 2]]>::mut_from_bytes(places.as_mut_bytes());
    match (words, doubles) {
        (Ok(words), Ok(doubles)) => {
            for (words, [low, high]) in words.iter().zip(doubles) {
                for ((word, low), high) in words.iter().zip(low).zip(high) {
                    (*low, *high) = (extend(*word), extend(*word >> 4));
                }
            }
        }
        // A file may lie anywhere.
        _ => {
            for (block, places) in blocks.iter().zip(places) {
                split(block, places);
            }
        }
    }
    split(rest, bytes.get_mut(2 * HALVES * blocks.len()..).unwrap_or_default());
}

/// Splits bytes, sixteen at most, into their lower halves and, behind these, their upper ones.
fn split(packed: &[i8], places: &mut [i8]) {
    let Some((low, high)) = places.split_at_mut_checked(packed.len()) else { return };
    for (pair, low) in packed.iter().zip(low) {
        *low = *pair << 4 >> 4;
    }
    for (pair, high) in packed.iter().zip(high) {
        *high = *pair >> 4;
    }
}

/// Where a weight lies in [`Packing::Pairs`].
#[inline]
pub(super) const fn pairs_index(
    channel: usize,
    ky: usize,
    tap: usize,
    [rows, row]: [usize; 2],
) -> usize {
    let row = row.next_multiple_of(4);
    let group = ((channel & !1) * rows + 2 * ky) * row + 2 * (tap & !3);
    group + 4 * (tap & 1) + (tap & 2) + (channel & 1)
}

/// Where a weight lies in [`Packing::WidePairs`].
#[inline]
pub(super) const fn wide_pairs_index(
    channel: usize,
    ky: usize,
    tap: usize,
    kernel: [usize; 2],
) -> usize {
    // Of the four weights in a word of pairs, the second and third change places.
    let index = pairs_index(channel, ky, tap, kernel);
    2 * (index & !3 | (index & 1) << 1 | (index >> 1) & 1)
}

/// Where a weight lies in [`Packing::Eights`].
#[inline]
pub(super) const fn eights_index(
    channel: usize,
    ky: usize,
    tap: usize,
    [rows, row]: [usize; 2],
) -> usize {
    let group = (channel / EIGHT * rows + ky) * row.next_multiple_of(2);
    (group + tap) * EIGHT + channel % EIGHT
}

/// Where a weight lies in [`Packing::Winograd2dInt8`].
#[inline]
pub(super) const fn kernel_tap_index(channel: usize, ky: usize, tap: usize, row: usize) -> usize {
    let inputs = row / KERNEL_COLUMNS;
    let inputs = if inputs == 0 { 1 } else { inputs };
    tiles::kernel_index(channel, tap % inputs, inputs) + ky * KERNEL_COLUMNS + tap / inputs
}

/// Where a weight lies in [`Packing::Vectors`], of so many bytes in all.
#[inline]
pub(super) fn vectors_index(
    bytes: usize,
    channel: usize,
    ky: usize,
    tap: usize,
    [rows, row]: [usize; 2],
) -> usize {
    let row = row.next_multiple_of(VECTOR);
    let channels = bytes.checked_div(rows * row).unwrap_or(0);
    let group = channel - channel % VECTOR_CHANNELS;
    let beside = channels.saturating_sub(group).min(VECTOR_CHANNELS);
    let vector = (ky * row + tap) / VECTOR;
    group * rows * row + (vector * beside + channel - group) * VECTOR + tap % VECTOR
}

/// Where a weight lies in [`Packing::Hwio`], of `length` in all.
#[inline]
pub(super) const fn hwio_index(
    length: usize,
    channel: usize,
    ky: usize,
    tap: usize,
    [rows, row]: [usize; 2],
) -> usize {
    let row = row.next_multiple_of(2);
    let taps = rows * row;
    let channels = match length.checked_div(taps) {
        Some(channels) => channels,
        None => 0,
    };
    (ky * row + (tap & !1)) * channels + 2 * channel + (tap & 1)
}

/// Where a transformed weight lies in [`Packing::Winograd`], in bytes.
pub(super) const fn transformed_index(
    position: usize,
    channel: usize,
    ky: usize,
    input: usize,
    [rows, row]: [usize; 2],
) -> usize {
    let pairs = (row / KERNEL_COLUMNS).next_multiple_of(SIDE_BY_SIDE) / 2;
    let group = channel / SIDE_BY_SIDE * TRANSFORM.len() + position;
    let step = (group * rows + ky) * pairs + input / 4 * 2 + input % 2;
    2 * ((step * SIDE_BY_SIDE + channel % SIDE_BY_SIDE) * 2 + input % 4 / 2)
}

/// A transformed weight.
fn transformed(
    packed: &[i8],
    position: usize,
    channel: usize,
    ky: usize,
    input: usize,
    kernel: [usize; 2],
) -> i16 {
    let at = transformed_index(position, channel, ky, input, kernel);
    packed.get(at..at + 2).map_or(0, int16)
}

/// A weight from its transform.
fn recovered(packed: &[i8], channel: usize, ky: usize, tap: usize, kernel: [usize; 2]) -> i8 {
    let inputs = (kernel[1] / KERNEL_COLUMNS).max(1);
    let (kx, input) = (tap / inputs, tap % inputs);
    let at = |position| transformed(packed, position, channel, ky, input, kernel);
    let weight = match kx {
        0 => at(0) / 6,
        1 => at(2).wrapping_sub(at(1)) / 8,
        _ => at(5) / 24,
    };
    weight as i8
}

pub(super) fn int16(bytes: &[i8]) -> i16 {
    match *bytes {
        [low, high] => i16::from_le_bytes([low as u8, high as u8]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn halves_are_unpacked_wherever_they_lie() {
        for length in 0..100 {
            let numbers: Vec<i8> = (0..2 * length).map(|i| (i * 7 % 16 - 8) as i8).collect();
            let mut packed = Vec::new();
            for block in numbers.chunks(2 * HALVES) {
                let (low, high) = block.split_at(block.len() / 2);
                packed.extend(low.iter().zip(high).map(|(low, high)| low & 15 | high << 4));
            }
            // Aligned as words are, and not.
            for offset in 0..5 {
                let mut shifted = vec![0; offset];
                shifted.extend(&packed);
                let mut bytes = vec![99; numbers.len()];
                unpack_halves(&shifted[offset..], &mut bytes);
                assert_eq!(bytes, numbers, "{length} at {offset}");
            }
        }
    }
}
