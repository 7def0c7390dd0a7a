//! Weights for Winograd's convolution in two dimensions: what [`Packing::Winograd2d`] and
//! [`Packing::HwioTiles`] make of a kernel of three rows by three columns, and where
//! [`Packing::Winograd2dInt8`] has it.
//!
//! [`Packing::Winograd2d`]: super::Packing::Winograd2d
//! [`Packing::HwioTiles`]: super::Packing::HwioTiles
//! [`Packing::Winograd2dInt8`]: super::Packing::Winograd2dInt8

/// How three weights, of a kernel row or of a kernel column, become six: the matrix *G* of F(4, 3),
/// each row times what makes it whole and smallest (Lavin and Gray, *Fast Algorithms for
/// Convolutional Neural Networks*, 2016, section 4.3). The kernels multiply by the rest.
pub const TILE_TRANSFORM: [[i16; 3]; SIDE] =
    [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];

/// Rows and columns of a transformed kernel.
const SIDE: usize = 6;
/// Channels, of the input and of the output, are filled up to a multiple.
const SIDE_BY_SIDE: usize = 4;

/// Where a kernel of [`Packing::Winograd2dInt8`](super::Packing::Winograd2dInt8) begins.
pub(super) const fn kernel_index(channel: usize, input: usize, inputs: usize) -> usize {
    let pairs = inputs.next_multiple_of(SIDE_BY_SIDE) / 2;
    let pair = channel / SIDE_BY_SIDE * pairs + input / 4 * 2 + input % 2;
    KERNEL * ((pair * SIDE_BY_SIDE + channel % SIDE_BY_SIDE) * 2 + input % 4 / 2)
}

/// Weights of a kernel.
pub(super) const KERNEL: usize = 9;

/// Bytes of the transformed weights of [`Packing::Winograd2d`](super::Packing::Winograd2d).
pub(super) const fn bytes(channels: usize, inputs: usize) -> usize {
    let inputs = inputs.next_multiple_of(SIDE_BY_SIDE);
    2 * SIDE * SIDE * inputs * channels.next_multiple_of(SIDE_BY_SIDE)
}

/// Bytes of those of [`Packing::HwioTiles`](super::Packing::HwioTiles).
pub(super) const fn hwio_bytes(channels: usize, inputs: usize) -> usize {
    2 * SIDE * SIDE * inputs.next_multiple_of(2) * channels
}

/// The transformed kernels of all channels.
#[derive(Clone, Copy)]
pub(super) struct Tiles<P> {
    packed: P,
    /// Input channels, with what fills them up.
    inputs: usize,
    /// Where all output channels are side by side, how many there are; else four are.
    channels: Option<usize>,
}

impl<P: AsRef<[i8]>> Tiles<P> {
    /// Those of so many input channels, in [`Packing::Winograd2d`](super::Packing::Winograd2d).
    pub(super) fn new(packed: P, inputs: usize) -> Self {
        Self { packed, inputs: inputs.next_multiple_of(SIDE_BY_SIDE), channels: None }
    }

    /// Those of so many input channels, in [`Packing::HwioTiles`](super::Packing::HwioTiles).
    pub(super) fn hwio(packed: P, inputs: usize) -> Self {
        let channel = hwio_bytes(1, inputs);
        let channels = packed.as_ref().len().checked_div(channel).unwrap_or(0);
        Self { packed, inputs: inputs.next_multiple_of(2), channels: Some(channels) }
    }

    pub(super) fn index(&self, [y, x]: [usize; 2], channel: usize, input: usize) -> usize {
        let pairs = self.inputs / 2;
        if let Some(channels) = self.channels {
            let step = (y * SIDE + x) * pairs + input / 2;
            return 2 * ((step * channels + channel) * 2 + input % 2);
        }
        let (group, pair) = (channel / SIDE_BY_SIDE, input / 4 * 2 + input % 2);
        let step = ((group * SIDE + y) * SIDE + x) * pairs + pair;
        2 * ((step * SIDE_BY_SIDE + channel % SIDE_BY_SIDE) * 2 + input % 4 / 2)
    }

    fn at(&self, position: [usize; 2], channel: usize, input: usize) -> i16 {
        let at = self.index(position, channel, input);
        self.packed.as_ref().get(at..at + 2).map_or(0, super::packing::int16)
    }

    /// A weight of the kernel, from its transform.
    pub(super) fn weight(&self, channel: usize, [ky, kx]: [usize; 2], input: usize) -> i8 {
        // The outer ones are there as they are; twice the middle one is the second less the third.
        let along = |y: usize| {
            let at = |x| self.at([y, x], channel, input);
            match kx {
                0 => at(0),
                1 => at(1).wrapping_sub(at(2)) / 2,
                _ => at(SIDE - 1),
            }
        };
        let weight = match ky {
            0 => along(0),
            1 => along(1).wrapping_sub(along(2)) / 2,
            _ => along(SIDE - 1),
        };
        weight as i8
    }

    /// Whether channel `channel` is the transform of int8, and what fills it up is zero.
    pub(super) fn is_sound(&self, channel: usize, inputs: usize) -> bool {
        (0..self.inputs).all(|input| {
            let weight = |ky, kx| match input < inputs {
                true => i16::from(self.weight(channel, [ky, kx], input)),
                false => 0,
            };
            let kernel: [[i16; 3]; 3] =
                core::array::from_fn(|ky| core::array::from_fn(|kx| weight(ky, kx)));
            let rows = kernel.map(transform);
            (0..SIDE).all(|x| {
                let column = transform(rows.map(|row| row.get(x).copied().unwrap_or(0)));
                (0..).zip(column).all(|(y, value)| value == self.at([y, x], channel, input))
            })
        })
    }
}

impl Tiles<&mut [i8]> {
    /// Adds a weight to its kernel's transform.
    pub(super) fn put(&mut self, channel: usize, [ky, kx]: [usize; 2], input: usize, weight: i8) {
        for (y, down) in TILE_TRANSFORM.iter().enumerate() {
            for (x, along) in TILE_TRANSFORM.iter().enumerate() {
                let factor = down.get(ky).unwrap_or(&0) * along.get(kx).unwrap_or(&0);
                let at = self.index([y, x], channel, input);
                if let Some(bytes) = self.packed.get_mut(at..at + 2) {
                    let sum = super::packing::int16(bytes).wrapping_add(factor * i16::from(weight));
                    bytes.copy_from_slice(&sum.to_le_bytes().map(|byte| byte as i8));
                }
            }
        }
    }
}

fn transform(weights: [i16; 3]) -> [i16; SIDE] {
    TILE_TRANSFORM.map(|factors| {
        factors
            .iter()
            .zip(weights)
            .fold(0, |sum, (&f, w)| i16::wrapping_add(sum, f.wrapping_mul(w)))
    })
}
