//! Checks weights, in memory or behind a driver.

#[cfg(feature = "weights-window")]
use core::ops::Range;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use super::section;
#[cfg(feature = "weights-window")]
use super::{
    Known,
    conv::{Conv, check},
    depthwise_conv::{self, DepthwiseConv},
    grouped_conv::{self, GroupedConv},
};
use crate::error::{Fault, Section};
use crate::format::WEIGHTS_ALIGN;
#[cfg(feature = "weights-window")]
use crate::format::{LayerRecord, Operator};
#[cfg(feature = "weights-window")]
use crate::kernels::shared::channels::conv_of;
use crate::model::Model;

/// Whether all weights are in [-127, 127], as the format requires. Some kernels add products in pairs, and
/// two products with -128 would be too large.
pub(super) fn in_range(weights: &[i8]) -> bool {
    // Four at once: the highest bit of a byte is set if the byte was -128, or if one below it was.
    let is_in_range = |four: u32| {
        let differs = four ^ 0x8080_8080;
        differs.wrapping_sub(0x0101_0101) & !differs & 0x8080_8080 == 0
    };
    let fours = weights.len() / 4;
    let (fours, rest) = <[u32]>::ref_from_prefix_with_elems(weights.as_bytes(), fours)
        .unwrap_or((&[], weights.as_bytes()));
    fours.iter().all(|&four| is_in_range(four)) && !rest.contains(&0x80)
}

/// Checks that a layer's weights are in the file, and aligned.
pub(super) fn weights_section(model: &Model<'_>, offset: U32, bytes: usize) -> Result<(), Fault> {
    if !model.is_windowed() {
        return section(model, Section::Weights, offset, bytes, WEIGHTS_ALIGN).map(|_| ());
    }
    let (length, start) = (u64::from(model.header().length.get()), u64::from(offset.get()));
    let there = start.saturating_add(bytes as u64) <= length;
    let aligned = start.is_multiple_of(WEIGHTS_ALIGN as u64);
    if there && aligned { Ok(()) } else { Err(Fault::OutOfBounds(Section::Weights)) }
}

/// Checks the weights of some output channels of a layer whose other parts were checked. What is
/// `known` is not checked again.
#[cfg(feature = "weights-window")]
pub(crate) fn check_weights(
    model: &Model<'_>,
    layer: &LayerRecord,
    channels: Range<usize>,
    weights: &[i8],
    known: &mut Known,
) -> Result<(), Fault> {
    if layer.has_int16() {
        return Ok(());
    }
    match layer.operator() {
        Operator::Conv => {
            let (conv, offset) = (Conv::new(model, layer), check::offset(model, layer)?);
            let part = conv_of(&conv, &channels, conv.packing, weights);
            check::check_channels(&part, channels.start as u16, offset, known)
        }
        Operator::GroupedConv => {
            let conv = GroupedConv::new(model, layer);
            grouped_conv::check_groups(&conv.of_channels(channels, weights), known)
        }
        Operator::DepthwiseConv => {
            let conv = DepthwiseConv::new(model, layer);
            depthwise_conv::check_channels(&DepthwiseConv { weights, ..conv })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_found_wherever_it_lies() {
        for (start, length) in (0..4).flat_map(|start| (1..13).map(move |length| (start, length))) {
            for other in [-127, -1, 0, 127] {
                for at in start..start + length {
                    let mut memory = [other; 16];
                    assert!(in_range(&memory[start..start + length]));
                    memory[at] = -128;
                    assert!(!in_range(&memory[start..start + length]), "{start}, {length}, {at}");
                }
            }
        }
    }
}
