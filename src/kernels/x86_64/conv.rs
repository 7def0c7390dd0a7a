//! The loops of a convolution.

use core::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::finish::Block;
use super::{Four, LANES, Room, Vectors, Walk};
use crate::format::Packing;
use crate::kernels::{Backend, Reference};
use crate::ops::conv::Conv;
use crate::ops::{Rows, Shortcut, Window};

/// Number of blocks of output channels that are multiplied together.
pub(super) const BLOCKS: usize = 2;
/// Number of unpacked weights of an output channel in a block: nine for each of 64 inputs.
const TAPS: usize = 576;
/// Number of values of the input under a block.
const WINDOW: usize = 64 * 1024;
/// Number of columns of a block, in all rows of the step.
const COLUMNS: usize = 64;

/// The rows of a step; `shortcuts` are those of `outputs`.
#[inline(always)]
pub(super) fn conv<V: Vectors>(
    vectors: V,
    conv: &Conv<'_>,
    rows: &Rows<'_>,
    shortcuts: &[Shortcut<'_>],
    outputs: &mut [&mut [i8]],
) {
    let Window { input, output, kernel: [kernel_rows, kernel_columns], stride, .. } = conv.window;
    let (inputs, channels) = (usize::from(input.channels), usize::from(output.channels));
    // A block cannot hold even four input channels of a kernel with more than 144 positions.
    if 4 * kernel_rows * kernel_columns > TAPS {
        for (r, (output, shortcut)) in outputs.iter_mut().zip(shortcuts).enumerate() {
            let under = rows.get(r * stride[0]..).unwrap_or(&[]);
            Reference.conv(conv, under, shortcut, &mut [], output);
        }
        return;
    }
    let made = outputs.iter().take_while(|output| !output.is_empty()).count().max(1);
    let under = kernel_rows + (made - 1) * stride[0];
    let packed = packed(conv).filter(|_| under * kernel_columns * inputs <= WINDOW);
    // The number of input channels of a block is limited by the room for their weights, then the
    // number of columns by the room for the values under them.
    let at_once = match packed {
        Some(_) => inputs,
        None => inputs.next_multiple_of(4).min(TAPS / (kernel_rows * kernel_columns) / 4 * 4),
    };
    let fit = (WINDOW / (under * at_once)).saturating_sub(kernel_columns) / stride[1] + 1;
    let columns = fit.min(COLUMNS / made).min(usize::from(output.columns));
    let walk = |inputs: usize, columns: usize| {
        // Unpacked weights of each pixel end with a whole four, those in the file of each kernel row.
        let pixel = if packed.is_some() { inputs } else { inputs.next_multiple_of(4) };
        let pixels = (columns - 1) * stride[1] + kernel_columns;
        let run = (kernel_columns * pixel).div_ceil(4);
        Walk { run, pixel, row: pixels * pixel, column: stride[1] * pixel }
    };

    // Only what is used is set to zero, because the steps of small layers are short.
    let largest = walk(at_once.min(inputs), columns);
    let mut for_values = Room::<_, { WINDOW + 4 }>::new();
    // The last four of a kernel row may reach beyond the last pixel.
    let values = for_values.zeros(under * largest.row + 3);
    let block = kernel_rows * largest.run;
    let mut for_weights = Room::<_, { BLOCKS * TAPS / 4 }>::new();
    let unpacked = for_weights.zeros(if packed.is_some() { 0 } else { BLOCKS * block });
    let mut for_sums = Room::<_, { BLOCKS * COLUMNS }>::new();
    for x in (0..usize::from(output.columns)).step_by(columns) {
        let columns = columns.min(usize::from(output.columns) - x);
        let mut filled = usize::MAX;
        for o in (0..channels).step_by(BLOCKS * LANES) {
            let blocks = (channels - o).div_ceil(LANES).min(BLOCKS);
            let sums = for_sums.zeros(blocks * made * columns);
            let mut corrections = [[0; LANES]; BLOCKS];
            for input in (0..inputs).step_by(at_once) {
                let input = input..inputs.min(input + at_once);
                let walk = walk(input.len(), columns);
                // If the block has all input channels, the window serves all output channels.
                if filled != input.start {
                    filled = input.start;
                    for (row, values) in rows.iter().zip(values.chunks_mut(walk.row)).take(under) {
                        fill::<V>(conv, row, x, &input, walk.pixel, values);
                    }
                }
                let block = kernel_rows * walk.run;
                let weights = match packed {
                    Some(packed) => &packed[o / LANES * block..][..blocks * block],
                    None => {
                        let unpacked = &mut unpacked[..blocks * block];
                        for (part, weights) in unpacked.chunks_mut(block).enumerate() {
                            unpack(vectors, conv, o + part * LANES, &input, weights);
                        }
                        unpacked
                    }
                };
                let mut corrects = Some(&mut corrections);
                let (first, second) = sums.split_at_mut(made * columns);
                let (mut first, mut second) =
                    (first.chunks_mut(columns), second.chunks_mut(columns));
                for row in 0..made {
                    let values = &values[row * stride[0] * walk.row..];
                    let sums =
                        [first.next().unwrap_or_default(), second.next().unwrap_or_default()];
                    vectors.multiply(weights, values, walk, sums, corrects.take());
                }
            }
            for (part, sums) in sums.chunks(made * columns).enumerate() {
                let block = Block::new(conv, o + part * LANES, &corrections[part]);
                let rows = sums.chunks(columns).zip(&mut *outputs).zip(shortcuts);
                for ((sums, output), shortcut) in rows {
                    block.finish(vectors, conv, sums, shortcut, x, output);
                }
            }
        }
    }
}

/// The weights, if they lie in the file as they are multiplied: those of each sixteen output channels
/// together.
#[inline(always)]
fn packed<'m>(conv: &Conv<'m>) -> Option<&'m [Four]> {
    match conv.packing {
        Packing::Sixteens | Packing::SixteensTall => {
            <[Four]>::ref_from_bytes(conv.weights.as_bytes()).ok()
        }
        _ => None,
    }
}

/// Fills a row of the window from output column `x` on with input channels `channels` of `row`, and
/// with padding. Pixels are `pixel` values apart.
#[inline(always)]
fn fill<V: Vectors>(
    conv: &Conv<'_>,
    row: &[i8],
    x: usize,
    channels: &Range<usize>,
    pixel: usize,
    values: &mut [V::Value],
) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let pixels = values.len() / pixel;
    let left = window.pad_left.saturating_sub(x * window.stride[1]).min(pixels);
    let first = x * window.stride[1] + left - window.pad_left;
    let row = row.get(first * inputs..).unwrap_or(&[]);
    let inside = (row.len() / inputs).min(pixels - left);
    let (before, rest) = values.split_at_mut(left * pixel);
    let (values, after) = rest.split_at_mut(inside * pixel);
    for padding in before.chunks_exact_mut(pixel).chain(after.chunks_exact_mut(pixel)) {
        for (place, channel) in padding.iter_mut().zip(channels.clone()) {
            *place = V::value(conv.padding.at(channel));
        }
    }
    if pixel == inputs {
        return convert::<V>(row, values);
    }
    for (values, row) in values.chunks_exact_mut(pixel).zip(row.chunks_exact(inputs)) {
        convert::<V>(&row[channels.clone()], values);
    }
}

#[inline(always)]
fn convert<V: Vectors>(activations: &[i8], values: &mut [V::Value]) {
    for (value, activation) in values.iter_mut().zip(activations) {
        *value = V::value(*activation);
    }
}

/// Unpacks the weights of the output channels from `o` on for input channels `channels`.
#[inline(always)]
fn unpack<V: Vectors>(
    vectors: V,
    conv: &Conv<'_>,
    o: usize,
    channels: &Range<usize>,
    weights: &mut [Four],
) {
    let window = &conv.window;
    let inputs = usize::from(window.input.channels);
    let kernel = [window.kernel[0], window.kernel[1] * inputs];
    // A whole kernel row is one series, if all its weights are needed and each pixel ends at a
    // multiple of four.
    let whole = channels.len() == inputs && inputs.is_multiple_of(4);
    let (runs, length) = if whole { (1, kernel[1]) } else { (window.kernel[1], channels.len()) };
    let outputs = o..usize::from(window.output.channels).min(o + LANES);
    if conv.packing == Packing::Ohwi {
        // The weights of an output channel are consecutive, those of all kernel rows.
        let step = kernel[0] * kernel[1];
        let length = if whole { step } else { length };
        for (run, fours) in weights.chunks_exact_mut(length.div_ceil(4)).enumerate() {
            let first = o * step + run * inputs + channels.start;
            vectors.transpose(&conv.weights[first..], step, [outputs.len(), length], fours);
        }
        return;
    }
    let mut fours = weights.chunks_exact_mut(length.div_ceil(4));
    for ky in 0..kernel[0] {
        for (kx, fours) in (0..runs).zip(&mut fours) {
            let first = kx * inputs + channels.start;
            let taps = first..first + length;
            conv.packing.unpack(conv.weights, outputs.clone(), ky, taps, kernel, fours);
        }
    }
}
