//! Tables of the packings, with a row for each.

use super::Packing;
use super::layout::{Element, Layout, Order};

/// The exponent for groups with all output channels: the power of two is larger than any number of
/// channels.
pub(super) const ALL: u8 = 16;

/// Number of rows of the tables: each packing's row has the packing's number.
const ROWS: usize = Packing::SixteensTall as usize + 1;

/// The packings by their numbers.
pub(super) static BY_NUMBER: [Option<Packing>; ROWS] = {
    let mut rows = [None; ROWS];
    let mut index = 0;
    while index < Packing::ALL.len() {
        rows[Packing::ALL[index] as usize] = Some(Packing::ALL[index]);
        index += 1;
    }
    rows
};

/// The packings of less than eight bits: the number of bits of a weight, and the packing to which
/// they are [unpacked](Packing::unpacked). Widths other than four need the feature `sub-byte`.
pub(super) static NARROW: [Option<(u8, Packing)>; ROWS] = {
    let mut rows = [None; ROWS];
    let mut form = 0;
    while form < FORMS.len() {
        let (unpacked, narrow) = FORMS[form];
        let mut width = 0;
        while width < NARROW_WIDTHS.len() {
            rows[narrow[width] as usize] = Some((NARROW_WIDTHS[width], unpacked));
            width += 1;
        }
        form += 1;
    }
    rows
};
/// The forms that exist in each width.
const FORMS: [(Packing, [Packing; NARROW_WIDTHS.len()]); 5] = {
    use Packing::{
        Eights, Eights3, Eights4, Eights5, Eights6, Hwio, Hwio3, Hwio4, Hwio5, Hwio6, Ohwi, Ohwi3,
        Ohwi4, Ohwi5, Ohwi6, Pairs, Pairs3, Pairs4, Pairs5, Pairs6, Vectors, Vectors3, Vectors4,
        Vectors5, Vectors6,
    };
    [
        (Ohwi, [Ohwi3, Ohwi4, Ohwi5, Ohwi6]),
        (Pairs, [Pairs3, Pairs4, Pairs5, Pairs6]),
        (Eights, [Eights3, Eights4, Eights5, Eights6]),
        (Vectors, [Vectors3, Vectors4, Vectors5, Vectors6]),
        (Hwio, [Hwio3, Hwio4, Hwio5, Hwio6]),
    ]
};
const NARROW_WIDTHS: [u8; 4] = [3, 4, 5, 6];

/// The layouts of all packings. A packing of less than eight bits has the layout of the packing to
/// which it is [unpacked](Packing::unpacked).
pub(super) static LAYOUTS: [Layout; ROWS] = {
    let mut rows = [OHWI; ROWS];
    let mut index = 0;
    while index < Packing::ALL.len() {
        let packing = Packing::ALL[index];
        rows[packing as usize] = layout(match NARROW[packing as usize] {
            Some((_, unpacked)) => unpacked,
            None => packing,
        });
        index += 1;
    }
    rows
};

const OHWI: Layout = Layout {
    channels_log2: 0,
    taps_log2: 0,
    fill_log2: [0, 0],
    order: Order::Plain,
    element: Element::Int8,
};

/// The layout of a packing in bytes or int16.
const fn layout(packing: Packing) -> Layout {
    use Element::{Int16, Kernel, Position};
    use Order::{EvenFirst, Interleaved};
    let pairs = Layout {
        channels_log2: 1,
        taps_log2: 2,
        fill_log2: [1, 2],
        order: Interleaved,
        element: Element::Int8,
    };
    let hwio = Layout { channels_log2: ALL, taps_log2: 1, fill_log2: [0, 1], ..OHWI };
    let kernels = Layout {
        channels_log2: 2,
        taps_log2: 2,
        fill_log2: [2, 2],
        order: EvenFirst,
        element: Kernel,
    };
    match packing {
        Packing::Pairs => pairs,
        Packing::WidePairs => Layout { order: EvenFirst, element: Int16, ..pairs },
        Packing::Eights => Layout { channels_log2: 3, fill_log2: [3, 1], ..OHWI },
        Packing::Vectors => Layout { channels_log2: 2, taps_log2: 4, fill_log2: [2, 4], ..OHWI },
        Packing::Sixteens | Packing::SixteensTall => {
            Layout { channels_log2: 4, taps_log2: 2, fill_log2: [4, 2], ..OHWI }
        }
        Packing::Hwio | Packing::HwioTall => hwio,
        Packing::HwioTiles => Layout { element: Position, ..hwio },
        Packing::WinogradInt8 | Packing::WinogradInt8Tall => kernels,
        Packing::Winograd => Layout { element: Position, ..kernels },
        _ => OHWI,
    }
}
