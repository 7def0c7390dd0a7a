//! Runs a step with the weights of some output channels, then of the next.

use crate::feature::Feature;
use crate::format::{LayerRecord, Operator};
use crate::kernels::Backend;
use crate::kernels::shared::channels::{conv_of, put, take};
use crate::model::Model;
use crate::ops::conv::Conv;
use crate::ops::depthwise_conv::DepthwiseConv;
use crate::ops::grouped_conv::GroupedConv;
use crate::ops::{MAX_STEP_ROWS, Outputs, Rows, Shortcut, Shortcuts};
use crate::proved::proved;
use crate::weights::{Part, Weights};

/// One output row of a convolution; see [`Backend::conv`].
#[inline(never)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn conv(
    weights: &mut impl Weights,
    model: &Model<'_>,
    index: usize,
    backend: &impl Backend,
    rows: &Rows<'_>,
    shortcut: &Shortcut<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    let whole = Conv::new(model, model.layer(index));
    weights.each_part(model, index, |Part { channels, weights, rows: room }| {
        let conv = conv_of(&whole, &channels, whole.packing, weights);
        let scratch = proved!(scratch.get_mut(..conv.scratch_bytes())).unwrap_or_default();
        let alone = channels.len() == usize::from(whole.window.output.channels);
        let made = if alone { 0 } else { conv.output_bytes() };
        let made = proved!(room.get_mut(..made)).unwrap_or_default();
        let (shortcut, target) = match alone {
            true => (shortcut, &mut *output),
            false => {
                take(&whole, &channels, shortcut, output, made);
                (&Shortcut::InPlace, &mut *made)
            }
        };
        backend.conv(&conv, rows, shortcut, scratch, target);
        if !alone {
            put(&whole, &channels, made, output);
        }
    });
}

/// The output rows of a step; see [`Backend::conv_rows`].
#[inline(never)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn conv_rows(
    weights: &mut impl Weights,
    model: &Model<'_>,
    index: usize,
    backend: &impl Backend,
    rows: &Rows<'_>,
    shortcuts: &Shortcuts<'_>,
    scratch: &mut [u8],
    outputs: &mut Outputs<'_>,
) {
    let whole = Conv::new(model, model.layer(index));
    weights.each_part(model, index, |Part { channels, weights, rows: room }| {
        let conv = conv_of(&whole, &channels, whole.packing, weights);
        let scratch = proved!(scratch.get_mut(..conv.scratch_bytes())).unwrap_or_default();
        if channels.len() == usize::from(whole.window.output.channels) {
            return backend.conv_rows(&conv, rows, shortcuts, scratch, outputs);
        }
        let mut places = room.chunks_exact_mut(conv.output_bytes().max(1));
        // A row below the end of the output is empty.
        let mut made: Outputs<'_> = core::array::from_fn(|row| match outputs.get(row) {
            Some(output) if !output.is_empty() => proved!(places.next()).unwrap_or_default(),
            _ => Default::default(),
        });
        for ((made, output), shortcut) in made.iter_mut().zip(&*outputs).zip(shortcuts) {
            take(&whole, &channels, shortcut, output, made);
        }
        let in_place = [Shortcut::InPlace; MAX_STEP_ROWS];
        backend.conv_rows(&conv, rows, &in_place, scratch, &mut made);
        for (made, output) in made.iter().zip(outputs.iter_mut()) {
            put(&whole, &channels, made, output);
        }
    });
}

/// One output row of a grouped or depthwise convolution.
#[inline(never)]
pub(crate) fn other(
    weights: &mut impl Weights,
    model: &Model<'_>,
    index: usize,
    backend: &impl Backend,
    rows: &Rows<'_>,
    scratch: &mut [u8],
    output: &mut [i8],
) {
    let layer: &LayerRecord = model.layer(index);
    weights.each_part(model, index, |part| match layer.operator() {
        Operator::GroupedConv if Feature::GroupedConv.is_on() => {
            let grouped = GroupedConv::new(model, layer).of_channels(part.channels, part.weights);
            grouped.run(backend, rows, scratch, output);
        }
        Operator::DepthwiseConv if Feature::DepthwiseConv.is_on() => {
            let conv = DepthwiseConv { weights: part.weights, ..DepthwiseConv::new(model, layer) };
            backend.depthwise_conv(&conv, rows, output);
        }
        _ => {}
    });
}
