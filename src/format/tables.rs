//! Tables of the packings, a row each.

use super::Packing;
use super::layout::{Element, Layout, Order};
use crate::feature::Feature;

/// As many output channels side by side as there are: this power of two is more.
pub(super) const ALL: u8 = 16;

/// The packings in bytes or int16: the first ones.
pub(super) const IN_BYTES: usize = Packing::Ohwi4 as usize;
/// The packings in fewer bits than a byte, by their numbers: bits of a weight, and what they are
/// [unpacked](Packing::unpacked) to. Those of other widths than four only with the feature `sub-byte`.
pub(super) static NARROW: [(u8, Packing); FORMS.len() * NARROW_WIDTHS.len()] = {
    let mut rows = [(0, Packing::Ohwi); FORMS.len() * NARROW_WIDTHS.len()];
    let mut row = 0;
    while row < rows.len() {
        rows[row] = (NARROW_WIDTHS[row / FORMS.len()], FORMS[row % FORMS.len()]);
        row += 1;
    }
    rows
};
/// What each width has a packing for.
const FORMS: [Packing; 5] =
    [Packing::Ohwi, Packing::Pairs, Packing::Eights, Packing::Vectors, Packing::Hwio];
/// In the order of the packings' numbers.
const NARROW_WIDTHS: &[u8] = if Feature::SubByte.is_on() { &[4, 3, 5, 6] } else { &[4] };

/// The layouts of all packings, by their numbers. Those in fewer bits than a byte have that of what they
/// are [unpacked](Packing::unpacked) to.
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
        all[number] = match number < in_bytes.len() {
            true => in_bytes[number],
            false => in_bytes[FORMS[(number - IN_BYTES) % FORMS.len()] as usize],
        };
        number += 1;
    }
    all
};
