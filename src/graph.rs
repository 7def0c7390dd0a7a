//! The layers of a network, and the segments in which they run.

use core::ops::Range;

use crate::format::{LayerRecord, Operator, SegmentRecord};
use crate::shape::Shape;

/// The layers and segments of a model file, which are what the [schedule](crate::schedule) needs.
///
/// Tools build one from their own tables to find out how a plan would run.
#[derive(Debug, Clone, Copy)]
pub struct Graph<'m> {
    /// The segments.
    pub segments: &'m [SegmentRecord],
    /// The layers, the input first.
    pub layers: &'m [LayerRecord],
}

/// Stands in for a layer whose index is wrong, which the checks have ruled out.
static NO_LAYER: LayerRecord = zerocopy::transmute!([0u8; size_of::<LayerRecord>()]);

impl<'m> Graph<'m> {
    /// The layer with this index; a layer of zeros if there is none.
    #[inline]
    pub fn layer(&self, index: usize) -> &'m LayerRecord {
        self.layers.get(index).unwrap_or(&NO_LAYER)
    }

    /// The layer that `layer` reads.
    #[inline]
    pub fn input_of(&self, layer: &LayerRecord) -> &'m LayerRecord {
        self.layer(layer.input.get() as usize)
    }

    /// The indices of the layers of a segment.
    pub fn segment(&self, index: usize) -> Range<usize> {
        self.segments.get(index).map_or(0..0, |segment| {
            let first = segment.first_layer.get() as usize;
            first..first + segment.layer_count.get() as usize
        })
    }

    /// Number of input channels that one output channel of a convolution reads.
    pub fn channels_read(&self, record: &LayerRecord) -> usize {
        let inputs = usize::from(self.input_of(record).channels.get());
        match record.operator() {
            Operator::GroupedConv => {
                let groups = usize::try_from(record.parameter.get()).unwrap_or(0);
                inputs.checked_div(groups).unwrap_or(0)
            }
            Operator::DepthwiseConv => 1,
            _ => inputs,
        }
    }

    /// Number of multiply-accumulates of a layer for one image, including those on padding.
    ///
    /// ```
    /// # use brooklet::Model;
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let model = Model::parse(MODEL).unwrap();
    /// let graph = model.graph();
    /// let macs: u64 = (0..graph.layers.len()).map(|layer| graph.macs(layer)).sum();
    /// assert_eq!(macs, 87_010);
    /// ```
    pub fn macs(&self, layer: usize) -> u64 {
        let record = self.layer(layer);
        match record.operator() {
            operator if operator.has_channels() && operator.has_window() => {
                let [rows, columns] = record.kernel.map(u64::from);
                let taps = rows * columns * self.channels_read(record) as u64;
                let Shape { rows, columns, channels } = record.shape();
                let outputs = u64::from(rows) * u64::from(columns) * u64::from(channels);
                taps.saturating_mul(outputs)
            }
            _ => 0,
        }
    }

    /// Number of bytes of a layer's weights.
    pub fn weight_bytes(&self, layer: usize) -> usize {
        let record = self.layer(layer);
        match record.operator() {
            operator if operator.has_channels() && operator.has_window() => {
                let [rows, columns] = record.kernel.map(usize::from);
                let taps = rows * columns * self.channels_read(record);
                let weights = taps.saturating_mul(usize::from(record.channels.get()));
                let bits =
                    if operator.has_packing() { record.packing().bits() as usize } else { 8 };
                weights / 8 * bits + (weights % 8 * bits).div_ceil(8)
            }
            Operator::BatchNorm => usize::from(record.channels.get()),
            _ => 0,
        }
    }
}
