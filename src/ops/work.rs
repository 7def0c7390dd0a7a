//! How much work it is to check a layer, if layers share weights.
//!
//! A block whose weights are used several times (a *recursive* block) is stored once: several
//! layers refer to the same bytes. What is known about the weights is true for all these layers and
//! is not computed again, so that checking a file takes time in proportion to its length.

use super::{add, concat, lookup};
use crate::format::{LayerRecord, Operator, SHARED_WITHIN};
use crate::graph::Graph;

/// What is known about a layer's weights, and how many of them were read anyway.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Whether an earlier layer refers to the same weights in the same form.
    pub(crate) weights: bool,
    /// Number of weights that were read to bound a channel's sum, which depends on the bias, too.
    pub(crate) read: u64,
}

impl Known {
    /// What is known about layer `index`, when the layers before it have been checked.
    #[inline(never)]
    pub(crate) fn of(graph: &Graph<'_>, index: usize) -> Self {
        let layer = graph.layer(index);
        let form = form(graph, layer);
        let mut before = index.saturating_sub(SHARED_WITHIN)..index;
        // Layers of int16 do not check their weights.
        let same = |of: &LayerRecord| self::form(graph, of) == form && !of.has_int16();
        let weights = layer.operator().has_packing() && before.any(|at| same(graph.layer(at)));
        Self { weights, read: 0 }
    }
}

/// The weights to which a layer refers, and the fields that say how they are checked.
#[inline(never)]
fn form(graph: &Graph<'_>, layer: &LayerRecord) -> [u32; 4] {
    let inputs = graph.input_of(layer).channels.get();
    let channels = u32::from(layer.channels.get()) << 16 | u32::from(inputs);
    let kernel =
        u32::from_le_bytes([layer.operator, layer.packing, layer.kernel[0], layer.kernel[1]]);
    // The parameter is the number of groups.
    [layer.weights.get(), channels, kernel, layer.parameter.get() as u32]
}

/// Number of bytes of the file to which a layer refers: those of its parts, of its places and of
/// its name, except for weights that are `known`. Checking the layer takes time in proportion to
/// this number.
pub(crate) fn named_bytes(layer: &LayerRecord, input: &LayerRecord, known: &Known) -> u64 {
    let channels = u64::from(layer.channels.get());
    let weights = if known.weights { 0 } else { layer.weight_bytes.get() };
    let table = |bytes: u64| if layer.table.get() == 0 { 0 } else { bytes };
    let parts = match layer.operator() {
        Operator::Conv | Operator::GroupedConv | Operator::DepthwiseConv => {
            let padded = layer.padding_values.get() != 0;
            let padding = if padded { input.channels.get().into() } else { 0 };
            let joins = layer.shortcut().is_some();
            9 * channels + padding + if joins { table(1024) } else { 0 }
        }
        Operator::BatchNorm => 9 * channels,
        Operator::Lookup => lookup::table_bytes(layer),
        Operator::Concat => table(concat::TABLE_BYTES as u64),
        Operator::Add => table(add::TABLE_BYTES as u64),
        Operator::Input => table(256 * channels),
        _ => 0,
    };
    let places = 4 * u64::from(layer.rows.get());
    u64::from(weights) + parts + places + u64::from(layer.name_bytes.get())
}
