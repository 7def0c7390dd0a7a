//! Checks a convolution: its parts of the file, its weights, and the bound of its sums.

use super::scratch::kernel_taps;
use super::{Conv, MAX_JOIN_BITS, weight_bytes};
use crate::error::{Fault, Section};
use crate::format::{LayerRecord, Packing};
use crate::model::Model;
use crate::ops::stream16::{self, Stream16};
use crate::ops::weights::in_range;
use crate::ops::{Known, Window, check_window, section, weights_section, words};
use zerocopy::little_endian::I32;

/// Largest number of bytes that a packing makes of one weight.
const LARGEST_WEIGHT: u64 = 8;

/// The sums of a channel must be smaller than this in magnitude, for kernels of the packing.
pub const fn sum_bound(packing: Packing) -> u32 {
    match packing {
        // Kernels compute 64 times a sum in 32 bits.
        Packing::Winograd
        | Packing::WinogradInt8
        | Packing::WinogradInt8Tall
        | Packing::HwioTiles => 1 << 25,
        // Kernels compute 8 times a sum.
        Packing::HwioTall => 1 << 28,
        _ => 1 << 31,
    }
}

/// Checks the window, and that the parts to which the layer refers are in the file.
#[inline]
pub(in crate::ops) fn check_parts(
    model: &Model<'_>,
    layer: &LayerRecord,
) -> Result<(Window, Packing), Fault> {
    check_window(model, layer)?;
    let packing = packing_of(layer)?;
    let window = Window::of(model, layer);
    if !packing.fits(window.kernel, window.stride) {
        return Err(Fault::Packing(packing));
    }
    if !can_be_addressed(&window) {
        return Err(Fault::OutOfBounds(Section::Weights));
    }
    weights_section(model, layer.weights, weight_bytes(&window, layer.packing()))?;
    check_numbers(model, layer)?;
    Ok((window, packing))
}

/// The packing in the layer's record.
pub(in crate::ops) fn packing_of(layer: &LayerRecord) -> Result<Packing, Fault> {
    Packing::from_number(layer.packing).ok_or(Fault::UnknownPacking(layer.packing))
}

/// Whether the number of bytes of the weights fits into 32 bits in any packing.
pub(in crate::ops) fn can_be_addressed(window: &Window) -> bool {
    // At most 8 · 16 · 16 · 65536 · 65536, so only a 32-bit address can be too small.
    let bytes = LARGEST_WEIGHT
        * window.kernel[0] as u64
        * window.kernel[1] as u64
        * u64::from(window.input.channels).next_multiple_of(4)
        * u64::from(window.output.channels).next_multiple_of(4);
    u32::try_from(bytes).is_ok()
}

/// Checks that the biases, the multipliers and the padding values are in the file.
pub(in crate::ops) fn check_numbers(model: &Model<'_>, layer: &LayerRecord) -> Result<(), Fault> {
    let channels = usize::from(layer.channels.get());
    section(model, Section::Bias, layer.bias, 4 * channels, 4)?;
    section(model, Section::Multipliers, layer.mantissas, 4 * channels, 4)?;
    section(model, Section::Multipliers, layer.shifts, channels, 1)?;
    if layer.padding_values.get() != 0 {
        let inputs = usize::from(model.input_of(layer).channels.get());
        section(model, Section::PaddingValues, layer.padding_values, inputs, 1)?;
    }
    Ok(())
}

pub(in crate::ops) fn check(
    model: &Model<'_>,
    layer: &LayerRecord,
    known: &mut Known,
) -> Result<(), Fault> {
    check_parts(model, layer)?;
    let offset = offset(model, layer)?;
    if model.is_windowed() {
        return Ok(());
    }
    check_channels(&Conv::new(model, layer), 0, offset, known)
}

/// The largest magnitude of what is added after the requantization.
pub(in crate::ops) fn offset(model: &Model<'_>, layer: &LayerRecord) -> Result<u32, Fault> {
    let mut offset = 128;
    if let Some(stream) = Stream16::of(layer) {
        offset = stream16::offset(&stream, layer)?;
    } else if layer.shortcut().is_some() {
        if layer.join_bits > MAX_JOIN_BITS {
            return Err(Fault::Quantization);
        }
        let table = section(model, Section::ShortcutTable, layer.table, 1024, 4)?;
        offset = largest(words(table));
    }
    Ok(offset)
}

/// Checks weights, multipliers and sums of all output channels of `conv`. Its first channel is
/// channel `first` of the layer. Up to `offset` is added after the requantization.
pub(in crate::ops) fn check_channels(
    conv: &Conv<'_>,
    first: u16,
    offset: u32,
    known: &mut Known,
) -> Result<(), Fault> {
    let (packing, kernel) = (conv.packing, kernel_taps(&conv.window));
    if !known.weights && packing.has_bytes() && !in_range(conv.weights) {
        return Err(Fault::Weight);
    }
    for o in 0..usize::from(conv.window.output.channels) {
        let channel = first.wrapping_add(o as u16);
        let multiplier = conv.multiplier(o);
        if !multiplier.is_valid() {
            return Err(Fault::Quantization);
        }
        if !known.weights && !packing.is_sound(conv.weights, o, kernel) {
            return Err(Fault::Transform { channel });
        }
        let holds = |bound| bound < sum_bound(packing) && multiplier.holds(bound, offset);
        // The bound for arbitrary weights is nearly always small enough: then the weights need not
        // be read.
        if !holds(bound_of_any(conv, o)) {
            known.read += (kernel[0] * kernel[1]) as u64;
            if !holds(accumulator_bound(conv, o)) {
                return Err(Fault::Accumulator { channel });
            }
        }
    }
    Ok(())
}

/// The largest magnitude of a table's entries.
pub(in crate::ops) fn largest(table: &[I32]) -> u32 {
    table.iter().map(|term| term.get().unsigned_abs()).max().unwrap_or(0)
}

/// Upper bound of [`accumulator_bound`], for any weights.
fn bound_of_any(conv: &Conv<'_>, o: usize) -> u32 {
    let taps: usize = kernel_taps(&conv.window).into_iter().product();
    let products = (taps as u32).saturating_mul(bound_with(0, i8::MIN));
    conv.bias(o).unsigned_abs().saturating_add(products)
}

/// Largest magnitude that the sum of output channel `o` can have while it is summed.
fn accumulator_bound(conv: &Conv<'_>, o: usize) -> u32 {
    let [rows, row] = kernel_taps(&conv.window);
    let mut bound = conv.bias(o).unsigned_abs();
    for ky in 0..rows {
        for tap in 0..row {
            bound = bound_with(bound, conv.weight(o, ky, tap));
        }
    }
    bound
}

/// Adds one product, of `weight` and any int8, to `bound`, the largest magnitude of a sum. The
/// first `bound` is the magnitude of the bias.
pub fn bound_with(bound: u32, weight: i8) -> u32 {
    bound.saturating_add(128 * u32::from(weight.unsigned_abs()))
}
