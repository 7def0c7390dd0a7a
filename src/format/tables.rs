//! Tables of the packings, with a row for each.

use super::Packing;
use super::layout::{Element, Layout, Order};
use crate::feature::Feature;

/// The exponent for groups with all output channels: the power of two is larger than any number of
/// channels.
pub(super) const ALL: u8 = 16;

/// Number of packings in bytes or int16, which come first.
pub(super) const IN_BYTES: usize = Packing::Ohwi4 as usize;
/// The packings of less than eight bits, in the order of their numbers: the number of bits of a
/// weight, and the packing to which they are [unpacked](Packing::unpacked). Widths other than four
/// need the feature `sub-byte`.
pub(super) static NARROW: [(u8, Packing); FORMS.len() * NARROW_WIDTHS.len()] = {
    let mut rows = [(0, Packing::Ohwi); FORMS.len() * NARROW_WIDTHS.len()];
    let mut row = 0;
    while row < rows.len() {
        rows[row] = (NARROW_WIDTHS[row / FORMS.len()], FORMS[row % FORMS.len()]);
        row += 1;
    }
    rows
};
/// The forms that exist in each width.
const FORMS: [Packing; 5] =
    [Packing::Ohwi, Packing::Pairs, Packing::Eights, Packing::Vectors, Packing::Hwio];
/// The widths, in the order of the packings' numbers.
const NARROW_WIDTHS: &[u8] = if Feature::SubByte.is_on() { &[4, 3, 5, 6] } else { &[4] };

/// The layouts of all packings, in the order of their numbers. A packing of less than eight bits
/// has the layout of the packing to which it is [unpacked](Packing::unpacked).
pub(super) static LAYOUTS: [Layout; Packing::ALL.len()] = {
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
    let in_bytes = [ohwi, pairs, wide_pairs, eights, hwio, vectors, winograd, kernels, hwio_tiles];
    let mut all = [ohwi; Packing::ALL.len()];
    let mut number = 0;
    while number < all.len() {
        all[number] = if number < in_bytes.len() {
            in_bytes[number]
        } else if Packing::ALL[number].is_winograd_int8() {
            kernels
        } else if matches!(Packing::ALL[number], Packing::HwioTall) {
            hwio
        } else {
            in_bytes[FORMS[(number - IN_BYTES) % FORMS.len()] as usize]
        };
        number += 1;
    }
    all
};
