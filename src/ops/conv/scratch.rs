//! Scratch memory of convolutions: what kernels for each packing compute at a time, and the bytes that
//! this takes.

use crate::format::{
    EIGHT, LayerRecord, Packing, SIDE_BY_SIDE, TILE_ROWS, TILE_TRANSFORM, VECTOR, VECTOR_CHANNELS,
};
use crate::ops::Window;
use crate::shape::Shape;

/// Rows of the kernel, and weights in each.
pub(super) fn kernel_taps(window: &Window) -> [usize; 2] {
    [window.kernel[0], window.kernel[1] * usize::from(window.input.channels)]
}

/// Scratch memory of a convolution, in bytes.
pub(in crate::ops) fn scratch_bytes(layer: &LayerRecord, input: Shape) -> u64 {
    scratch_for(layer.packing(), &Window::over(input, layer))
}

/// Weights of a kernel row with what the packing adds to those that there are.
pub(super) fn packed_row(packing: Packing, row: usize) -> usize {
    match packing {
        Packing::Pairs | Packing::WidePairs => row.next_multiple_of(4),
        Packing::Eights => row.next_multiple_of(2),
        _ => row,
    }
}

/// Columns of the output that kernels for [`Packing::Pairs`], [`Packing::Vectors`] and
/// [`Packing::Eights`] compute at a time.
pub const PATCH_COLUMNS: usize = 4;
/// Weights of an output channel that they multiply at a time.
pub const CHUNK_TAPS: usize = 144;
/// Output channels that they keep sums of.
pub const GROUP_CHANNELS: usize = 64;

/// Output channels that kernels for [`Packing::Eights`] keep sums of, with `taps` weights each: if
/// not all weights are multiplied at a time half of them, within limits: whole eights.
#[inline(always)]
pub(crate) fn kept_channels(taps: usize, channels: usize) -> usize {
    let half = (channels / 2).next_multiple_of(EIGHT).clamp(GROUP_CHANNELS / 2, GROUP_CHANNELS);
    channels.min(if taps > CHUNK_TAPS { half } else { EIGHT })
}

/// Columns of the output in a tile of [`Packing::Winograd`].
pub const TILE_COLUMNS: usize = 4;
/// Tiles that kernels for these compute at a time.
pub const TILES: usize = 2;
/// Columns of the input under these tiles.
pub const TILES_SPAN: usize = TILES * TILE_COLUMNS + 2;
/// Output channels whose sums kernels for [`Packing::HwioTiles`] keep in scratch memory.
pub const TILE_LANES: usize = 32;
/// Words that they keep for each: the sums at all positions, and two shifts.
pub const TILE_WORDS: usize = TILE_POSITIONS * TILES + 2;
/// Rows of the input under the tiles of [`Packing::Winograd`].
pub const TILES_ROWS: usize = TILE_ROWS + 2;
/// Values that a tile of it is transformed into.
pub const TILE_POSITIONS: usize = TILE_TRANSFORM.len() * TILE_TRANSFORM.len();
/// Pixels of the input under its tiles.
pub const UNDER_TILES: usize = TILES_ROWS * TILES_SPAN;

/// What kernels for [`Packing::Hwio`] compute at a time.
#[derive(Debug, Clone, Copy)]
pub struct Strip {
    /// Columns of the output.
    pub columns: usize,
    /// Whether each of them has a lane of a vector. Else each channel of the output has.
    pub lanes: bool,
    /// Columns of the input under them.
    pub under: usize,
    /// Bytes of a row of these, and of one more value, as the kernels take them by twos.
    pub line: usize,
    /// With a lane a column: vectors for a kernel row, each of two values at all columns, and
    /// columns of such a vector. Where channels of the input come by twos, they are of these, and
    /// serve all kernel columns; else of all that is under the kernel.
    pub vectors: usize,
    /// See above.
    pub vector_columns: usize,
}

impl Strip {
    /// Lanes that it is made for, those of 128-bit vectors; others do as well.
    pub const LANES: usize = 32;
    /// Sums that a lane has in registers: as many columns where lanes are channels, as many
    /// channels where they are columns.
    pub const SUMS: usize = 3;

    /// That of a convolution: with lanes for what fills them better.
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

    /// Bytes of the vectors for a kernel row: values are int16.
    pub fn plane(&self) -> usize {
        4 * self.vectors * self.vector_columns
    }
}

/// In 64 bits: there is no window whose scratch memory has a larger number of bytes. What is computed
/// in `usize` stays below 2³² for every window.
pub(in crate::ops) fn scratch_for(packing: Packing, window: &Window) -> u64 {
    let channels = usize::from(window.output.channels);
    let [rows, row] = kernel_taps(window);
    if let Some(unpacked) = packing.unpacked() {
        // A group's weights in bytes, its outputs if there are others beside them, and what its
        // own convolution asks for: the last group has fewer channels.
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
        // The values under the kernel as int16, and a sum for each channel, at some columns.
        Packing::Pairs | Packing::WidePairs => {
            let taps = rows * packed_row(packing, row);
            let sums = channels.next_multiple_of(2).min(GROUP_CHANNELS);
            PATCH_COLUMNS * (2 * taps.clamp(4, CHUNK_TAPS) + 4 * sums)
        }
        // The values under the kernel, two columns a word, sums in the same form, and what of a
        // kernel row lies on padding, at two columns.
        Packing::Eights => {
            let row = packed_row(packing, row);
            let sums = kept_channels(rows * row, channels);
            let patch = PATCH_COLUMNS * 2 * (rows * row).clamp(2, CHUNK_TAPS);
            patch + 4 * PATCH_COLUMNS * sums + 2 * row.min(CHUNK_TAPS)
        }
        // The vectors of all kernel rows and a line, or a line of each.
        Packing::Hwio => {
            let strip = Strip::of(window);
            let (rows, line) = (rows as u64, strip.line as u64);
            return match strip.lanes {
                true => rows * strip.plane() as u64 + line,
                false => rows * line,
            };
        }
        // Likewise, and sums.
        Packing::HwioTiles => {
            let inputs = (row / 3).next_multiple_of(2);
            4 * TILE_LANES * TILE_WORDS + 2 * TILE_POSITIONS * TILES * inputs + UNDER_TILES * inputs
        }
        // The transformed values as int16, and what lies under the tiles.
        Packing::Winograd => {
            let inputs = (row / 3).next_multiple_of(4);
            2 * TILE_POSITIONS * TILES * inputs + UNDER_TILES * inputs
        }
        // The transformed values of all columns, what lies under two tiles, and the transformed
        // weights of four channels.
        Packing::WinogradInt8 => {
            let inputs = (row / 3).next_multiple_of(4);
            let spans = usize::from(window.output.columns).div_ceil(TILES * TILE_COLUMNS);
            let transformed = 2 * TILE_POSITIONS * (spans * TILES + SIDE_BY_SIDE);
            return (transformed + UNDER_TILES) as u64 * inputs as u64;
        }
        // The values under the kernel at some columns, as many of padding as under a row of it,
        // and a sum for each channel there.
        Packing::Vectors => {
            let sums = channels.next_multiple_of(4).min(VECTOR_CHANNELS);
            let step = window.stride[1] * usize::from(window.input.channels);
            let span = (PATCH_COLUMNS - 1) * step + row.next_multiple_of(VECTOR);
            PATCH_COLUMNS * 4 * sums + (1 + rows) * span.next_multiple_of(VECTOR)
        }
        // Unpacked above.
        _ => 0,
    };
    bytes as u64
}

/// Bytes of scratch memory for a group of output channels whose weights have fewer bits than a byte: for these
/// in bytes, and for its outputs. Both are aligned as the arena is.
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
