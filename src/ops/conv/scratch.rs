//! Scratch memory of convolutions: how much the kernels for each packing compute at a time, and the
//! number of bytes that this takes.

use crate::format::{
    EIGHT, LayerRecord, MAX_STEP_ROWS, Packing, SIDE_BY_SIDE, TILE_ROWS, TILE_TRANSFORM, VECTOR,
    VECTOR_CHANNELS,
};
use crate::ops::Window;
use crate::shape::Shape;

/// Number of kernel rows, and number of weights in each.
pub(super) fn kernel_taps(window: &Window) -> [usize; 2] {
    [window.kernel[0], window.kernel[1] * usize::from(window.input.channels)]
}

/// Scratch memory of a convolution, in bytes.
pub(in crate::ops) fn scratch_bytes(layer: &LayerRecord, input: Shape) -> u64 {
    scratch_for(layer.packing(), &Window::over(input, layer))
}

/// Number of weights of a kernel row, including the packing's padding.
pub(super) fn packed_row(packing: Packing, row: usize) -> usize {
    match packing {
        Packing::Pairs | Packing::WidePairs => row.next_multiple_of(4),
        Packing::Eights => row.next_multiple_of(2),
        _ => row,
    }
}

/// Number of output columns that kernels for [`Packing::Pairs`], [`Packing::Vectors`] and
/// [`Packing::Eights`] compute at a time.
pub const PATCH_COLUMNS: usize = 4;
/// Number of weights of an output channel that they multiply at a time.
pub const CHUNK_TAPS: usize = 144;
/// Number of output channels whose sums they keep.
pub const GROUP_CHANNELS: usize = 64;

/// Number of output channels whose sums kernels for [`Packing::Eights`] keep, with `taps` weights
/// each. If a channel has too many weights to be multiplied at once, they are half of the channels,
/// within limits. They are a multiple of eight, or all channels.
#[inline(always)]
pub(crate) fn kept_channels(taps: usize, channels: usize) -> usize {
    let half = (channels / 2).next_multiple_of(EIGHT).clamp(GROUP_CHANNELS / 2, GROUP_CHANNELS);
    channels.min(if taps > CHUNK_TAPS { half } else { EIGHT })
}

/// Number of words before the sums of kernels for [`Packing::Vectors`], which these may overwrite.
pub(crate) const BEFORE_SUMS: usize = 4;

/// Number of bytes of the units in which kernels for [`Packing::Vectors`] read a kernel row of `row`
/// bytes, which are whole vectors: one vector or three.
#[inline(always)]
pub(crate) fn vector_unit(row: usize) -> usize {
    if row.is_multiple_of(3 * VECTOR) { 3 * VECTOR } else { VECTOR }
}

/// Number of bytes of the entries of all units of a kernel, and of two more: a word for each of the
/// columns.
#[inline(always)]
pub(crate) fn vector_entries([rows, row]: [usize; 2]) -> usize {
    4 * PATCH_COLUMNS * (rows * (row / vector_unit(row)) + 2)
}

/// Number of output columns in a tile of [`Packing::Winograd`].
pub const TILE_COLUMNS: usize = 4;
/// Number of tiles that kernels for Winograd packings compute at a time.
pub const TILES: usize = 2;
/// Number of such spans whose transformed values kernels for [`Packing::Winograd`] keep, so that
/// some can multiply both at once.
pub const SPANS: usize = 2;
/// Number of input columns under these tiles.
pub const TILES_SPAN: usize = TILES * TILE_COLUMNS + 2;
/// Number of output channels whose sums kernels for [`Packing::HwioTiles`] keep in scratch memory.
pub const TILE_LANES: usize = 32;
/// Number of words for each of these channels: the sums at all positions, and two shifts.
pub const TILE_WORDS: usize = TILE_POSITIONS * TILES + 2;
/// Number of input rows under the tiles of [`Packing::Winograd`].
pub const TILES_ROWS: usize = TILE_ROWS + 2;
/// Number of values into which a tile is transformed.
pub const TILE_POSITIONS: usize = TILE_TRANSFORM.len() * TILE_TRANSFORM.len();
/// Number of input pixels under the tiles.
pub const UNDER_TILES: usize = TILES_ROWS * TILES_SPAN;

/// The part of a row that kernels for [`Packing::Hwio`] compute at a time.
#[derive(Debug, Clone, Copy)]
pub struct Strip {
    /// Number of output columns.
    pub columns: usize,
    /// Whether each output column has a lane of a vector. Otherwise each output channel has one.
    pub lanes: bool,
    /// Number of input columns under them.
    pub under: usize,
    /// Number of bytes of these input columns in one row, plus one, because the kernels load two
    /// values at a time.
    pub line: usize,
    /// If each column has a lane: number of vectors for a kernel row. A vector has two values for
    /// each of its columns. With an even number of input channels, the two values are of adjacent
    /// input channels, and the vectors serve all kernel columns. With an odd number there are
    /// vectors for all values under the kernel.
    pub vectors: usize,
    /// Number of columns of such a vector.
    pub vector_columns: usize,
}

impl Strip {
    /// Number of lanes for which the strip is made, those of 128-bit vectors; other numbers work as
    /// well.
    pub const LANES: usize = 32;
    /// Number of sums that a lane has in registers: the number of columns if lanes are channels,
    /// and of channels if lanes are columns.
    pub const SUMS: usize = 3;

    /// The strip of a convolution: whichever of columns and channels fill the lanes better.
    pub fn of(window: &Window) -> Self {
        let [columns, channels] = [window.output.columns, window.output.channels].map(usize::from);
        let lanes =
            channels * columns.div_ceil(Self::LANES) < columns * channels.div_ceil(Self::LANES);
        let columns = columns.min(if lanes { Self::LANES } else { Self::SUMS });
        let under = columns.saturating_sub(1) * window.stride[1] + window.kernel[1];
        let inputs = usize::from(window.input.channels);
        let (vectors, vector_columns) = match inputs % 2 {
            0 => (inputs / 2, under),
            _ => ((window.kernel[1] * inputs).div_ceil(2), columns),
        };
        Self { columns, lanes, under, line: under * inputs + 1, vectors, vector_columns }
    }

    /// Number of bytes of the vectors for a kernel row; their values are int16.
    pub fn plane(&self) -> usize {
        4 * self.vectors * self.vector_columns
    }
}

/// The part of the rows of a step that kernels for [`Packing::HwioTall`] compute at a time, if columns
/// have lanes. The two rows of tiles are side by side: each column has a lane for each of them.
#[derive(Debug, Clone, Copy)]
pub struct TallStrip {
    /// Number of output columns.
    pub columns: usize,
    /// Number of bytes of the input columns under them in one row, plus one, because the kernels
    /// load two values at a time.
    pub line: usize,
    /// Number of vectors at a position, with two values for each lane: those of adjacent input
    /// channels, which serve all kernel columns. If the number of input channels is odd, there are
    /// vectors for all values under a kernel row.
    pub vectors: usize,
    /// Number of columns of such a vector.
    pub vector_columns: usize,
    /// Number of times that a kernel row reads these vectors, each time one column further on.
    pub times: usize,
}

impl TallStrip {
    /// Largest number of output columns.
    pub const COLUMNS: usize = 32;
    /// Number of output channels whose weights are transformed at a time, and whose weights lie side
    /// by side.
    pub const CHANNELS: usize = 16;
    /// Number of output channels whose sums are kept.
    pub const SUMS: usize = 3;
    /// Number of positions: values and weights that three rows of a kernel become.
    pub const POSITIONS: usize = TILE_TRANSFORM.len();
    /// Number of rows under the tiles.
    pub const ROWS: usize = MAX_STEP_ROWS + 2;

    /// The strip of a convolution of three rows by three columns at stride 1; `None` if output
    /// channels fill the lanes better: see [`TallBlock`].
    pub fn of(window: &Window) -> Option<Self> {
        let [columns, inputs] = [window.output.columns, window.input.channels].map(usize::from);
        let channels = usize::from(window.output.channels);
        let vectors = |lanes: usize| lanes.div_ceil(Self::COLUMNS);
        if channels * vectors(2 * columns) > 2 * columns * vectors(channels) {
            return None;
        }
        let columns = columns.min(Self::COLUMNS);
        let under = columns + 2;
        let (vectors, vector_columns, times) = match inputs % 2 {
            0 => (inputs / 2, under, 3),
            _ => ((3 * inputs).div_ceil(2), columns, 1),
        };
        Some(Self { columns, line: under * inputs + 1, vectors, vector_columns, times })
    }

    /// Number of bytes of the transformed values, which are int16.
    pub fn values(&self) -> usize {
        Self::POSITIONS * self.vectors * self.vector_columns * 8
    }

    /// Number of bytes of the transformed weights, which are int16.
    pub fn weights(&self) -> usize {
        Self::POSITIONS * self.vectors * self.times * 4 * Self::CHANNELS
    }

    /// Number of bytes of the sums.
    pub const KEPT: usize = Self::SUMS * Self::POSITIONS * 2 * Self::COLUMNS * 4;

    /// Number of bytes of scratch memory: the transformed values; then the values under them, in
    /// whose place the transformed weights and the sums are later.
    fn scratch(&self) -> usize {
        self.values() + (Self::ROWS * self.line).max(self.weights() + Self::KEPT)
    }
}

/// The part of a row of tiles that kernels for [`Packing::HwioTall`] compute at a time, if output
/// channels have lanes.
#[derive(Debug, Clone, Copy)]
pub struct TallBlock {
    /// Number of output columns.
    pub columns: usize,
    /// Number of output channels.
    pub channels: usize,
    /// Number of pairs of weights of a kernel row that are transformed at a time.
    pub pairs: usize,
    /// Number of bytes of the input columns under the block in one row, plus one, because the
    /// kernels load two values at a time.
    pub line: usize,
}

impl TallBlock {
    /// Largest number of output columns.
    pub const COLUMNS: usize = 8;
    /// Largest number of output channels.
    pub const CHANNELS: usize = 64;
    /// Largest number of pairs of weights.
    pub const PAIRS: usize = 16;

    /// The block of a convolution of three rows by three columns at stride 1.
    pub fn of(window: &Window) -> Self {
        let [columns, inputs] = [window.output.columns, window.input.channels].map(usize::from);
        let columns = columns.min(Self::COLUMNS);
        Self {
            columns,
            channels: usize::from(window.output.channels).min(Self::CHANNELS),
            pairs: (3 * inputs).div_ceil(2).min(Self::PAIRS),
            line: (columns + 2) * inputs + 1,
        }
    }

    /// Number of bytes of two weights of all channels, or of a sum of each.
    pub fn vector(&self) -> usize {
        4 * self.channels
    }

    /// Number of bytes of the transformed values, which are int16: whole words.
    pub fn values(&self) -> usize {
        2 * TallStrip::POSITIONS * self.line
    }

    /// Number of bytes of the transformed weights, which are int16.
    pub fn weights(&self) -> usize {
        TallStrip::POSITIONS * self.pairs * self.vector()
    }

    /// Number of bytes of the sums at all positions.
    pub fn sums(&self) -> usize {
        TallStrip::POSITIONS * self.columns * self.vector()
    }

    /// As for a [strip](TallStrip). There are two shifts for each channel, too.
    fn scratch(&self) -> usize {
        let kept = self.weights() + self.sums() + 2 * self.vector();
        self.values() + kept.max(TILES_ROWS * self.line)
    }
}

/// In 64 bits, which hold the number of bytes for every window. What is computed in `usize` stays
/// below 2³² for every window.
pub(in crate::ops) fn scratch_for(packing: Packing, window: &Window) -> u64 {
    let channels = usize::from(window.output.channels);
    let [rows, row] = kernel_taps(window);
    if let Some(unpacked) = packing.unpacked() {
        // The unpacked weights of a group, its outputs unless it is the only group, and the scratch
        // memory of its own convolution. The last group has fewer channels.
        let group = packing.group([rows, row]).min(channels);
        let part = |channels: usize| {
            let channels = channels as u16;
            let output = Shape { channels, ..window.output };
            scratch_for(unpacked, &Window { output, ..*window })
        };
        let rest = channels.checked_rem(group).unwrap_or(0);
        let parts = unpacked_parts(packing, window, group);
        return parts[0] as u64 + parts[1] as u64 + part(group).max(part(rest));
    }
    let bytes = match packing {
        Packing::Ohwi => 0,
        // The values under the kernel as int16, and a sum for each channel, for several columns.
        Packing::Pairs | Packing::WidePairs => {
            let taps = rows * packed_row(packing, row);
            let sums = channels.next_multiple_of(2).min(GROUP_CHANNELS);
            PATCH_COLUMNS * (2 * taps.clamp(4, CHUNK_TAPS) + 4 * sums)
        }
        // The values under the kernel with two columns in a word, the sums in the same form, and
        // for two columns the part of a kernel row on padding.
        Packing::Eights => {
            let row = packed_row(packing, row);
            let sums = kept_channels(rows * row, channels);
            let patch = PATCH_COLUMNS * 2 * (rows * row).clamp(2, CHUNK_TAPS);
            patch + 4 * PATCH_COLUMNS * sums + 2 * row.min(CHUNK_TAPS)
        }
        // With a lane for each column: the vectors of all kernel rows, and one line. Otherwise a
        // line for each kernel row.
        Packing::Hwio => {
            let strip = Strip::of(window);
            let (rows, line) = (rows as u64, strip.line as u64);
            return match strip.lanes {
                true => rows * strip.plane() as u64 + line,
                false => rows * line,
            };
        }
        // The transformed values, the values under the tiles, and the sums.
        Packing::HwioTiles => {
            let inputs = (row / 3).next_multiple_of(2);
            4 * TILE_LANES * TILE_WORDS + 2 * TILE_POSITIONS * TILES * inputs + UNDER_TILES * inputs
        }
        Packing::HwioTall => match TallStrip::of(window) {
            Some(strip) => strip.scratch(),
            None => TallBlock::of(window).scratch(),
        },
        // The transformed values of up to two spans as int16, and the values under one.
        Packing::Winograd => {
            let inputs = (row / 3).next_multiple_of(4);
            let spans = usize::from(window.output.columns).div_ceil(TILES * TILE_COLUMNS);
            2 * TILE_POSITIONS * TILES * spans.min(SPANS) * inputs + UNDER_TILES * inputs
        }
        // The transformed values of all columns and rows, the values under two tiles, and the transformed
        // weights of four channels.
        Packing::WinogradInt8 | Packing::WinogradInt8Tall => {
            let inputs = (row / 3).next_multiple_of(4);
            let spans = usize::from(window.output.columns).div_ceil(TILES * TILE_COLUMNS);
            let tiles = spans * TILES * (packing.rows_a_step() / TILE_ROWS);
            let transformed = 2 * TILE_POSITIONS * (tiles + SIDE_BY_SIDE);
            return (transformed + UNDER_TILES) as u64 * inputs as u64;
        }
        // The values under the kernel for several columns, a row of padding of the same size, a sum
        // for each channel and column, and the entries of units of values.
        Packing::Vectors => {
            let sums = channels.next_multiple_of(VECTOR_CHANNELS).min(GROUP_CHANNELS);
            let step = window.stride[1] * usize::from(window.input.channels);
            let row = row.next_multiple_of(VECTOR);
            let span = ((PATCH_COLUMNS - 1) * step + row).next_multiple_of(VECTOR);
            let sums = 4 * (BEFORE_SUMS + PATCH_COLUMNS * sums);
            sums + vector_entries([rows, row]) + (1 + rows) * span
        }
        // Unpacked above.
        _ => 0,
    };
    bytes as u64
}

/// Numbers of bytes of scratch memory for a group of output channels whose weights have less than
/// eight bits: for the unpacked weights, and for the outputs. Both are aligned as the arena is.
pub(crate) fn unpacked_parts(packing: Packing, window: &Window, group: usize) -> [usize; 2] {
    let align = |bytes: usize| bytes.next_multiple_of(crate::ARENA_ALIGN);
    let kernel = kernel_taps(window);
    let weights = packing.unpacked().map_or(0, |unpacked| unpacked.bytes(group, kernel));
    let alone = group == usize::from(window.output.channels);
    let outputs = if alone { 0 } else { group * usize::from(window.output.columns) };
    [align(weights), align(outputs)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_kept_of_whole_eights() {
        for taps in [1, CHUNK_TAPS, CHUNK_TAPS + 1] {
            for channels in 1..300 {
                let kept = kept_channels(taps, channels);
                let whole = kept == channels || kept.is_multiple_of(EIGHT);
                assert!(whole && kept <= GROUP_CHANNELS, "{kept} of {channels}");
            }
        }
    }
}
