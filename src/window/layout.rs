//! How the weights of a segment's layers share the window.
//!
//! ```text
//! window   │ kept: whole layers, or their first parts │ room for outputs │ a part that was read │
//! ```
//!
//! A layer's weights go through the window in *parts*. All parts but the last have the same number
//! of output channels. A layer reads its weights at each of its steps, so it is worth most to keep
//! those of the layers with the most steps. These are kept first, for as long as their segment
//! runs. If not all weights can be kept, half of the window is for parts that are read, or more if
//! the weights of a layer cannot be cut that small.

use core::ops::Range;

use crate::error::Error;
use crate::format::{LayerRecord, MAX_SEGMENT_LAYERS, Operator};
use crate::graph::Graph;
use crate::ops::grouped_conv;

/// Alignment of weights and outputs in the window.
const ALIGN: usize = crate::ARENA_ALIGN;

/// How a layer's weights can be cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<'m> {
    record: &'m LayerRecord,
    /// Number of output channels.
    channels: usize,
    /// Number of output channels whose weights cannot be separated, at most all of them.
    together: usize,
    /// Number of bytes of the weights of these channels.
    bytes: usize,
    /// Number of output bytes that a step makes for one channel, if parts need room for them.
    outputs: usize,
    kernel: [usize; 2],
}

impl<'m> Cut<'m> {
    /// `None` if the layer's weights do not go through the window.
    pub(super) fn of(graph: &Graph<'m>, layer: usize) -> Option<Self> {
        let record = graph.layer(layer);
        if !record.operator().has_kernels() {
            return None;
        }
        let (packing, channels) = (record.packing(), usize::from(record.channels.get()));
        let inputs = usize::from(graph.input_of(record).channels.get());
        let kernel = [usize::from(record.kernel[0]), usize::from(record.kernel[1]) * inputs];
        let together = match record.operator() {
            Operator::Conv => packing.together(kernel),
            Operator::GroupedConv => channels.checked_div(grouped_conv::groups(record))?,
            _ => channels,
        };
        let together = together.clamp(1, channels.max(1));
        let alone = record.operator() == Operator::Conv && !record.has_int16();
        let numbers = usize::from(record.columns.get()) << u32::from(record.is_stream16());
        let outputs = if alone { numbers.saturating_mul(packing.rows_a_step()) } else { 0 };
        let cut = Self { record, channels, together, bytes: 0, outputs, kernel };
        Some(Self { bytes: cut.begin(together), ..cut })
    }

    /// The offset of the weights of output channel `channel`, which is a multiple of `together`, or
    /// the number of channels.
    fn begin(&self, channel: usize) -> usize {
        let all = self.record.weight_bytes.get() as usize;
        match self.record.operator() {
            _ if channel >= self.channels => all,
            Operator::Conv => self.record.packing().bytes(channel, self.kernel),
            // All groups have the same number of bytes.
            _ => {
                let groups = self.channels.checked_div(self.together).unwrap_or(1).max(1);
                all / groups * (channel / self.together.max(1))
            }
        }
    }

    /// Number of bytes that the whole layer takes in the window.
    fn whole(&self) -> usize {
        aligned(self.begin(self.channels))
    }

    /// Number of bytes of the smallest part and of its outputs, or of the whole layer if that is
    /// less.
    fn smallest(&self) -> usize {
        let part = aligned(self.bytes).saturating_add(self.outputs_of(self.together));
        part.min(self.whole())
    }

    /// Number of bytes of the outputs of `channels` channels.
    fn outputs_of(&self, channels: usize) -> usize {
        if channels >= self.channels { 0 } else { aligned(self.outputs.saturating_mul(channels)) }
    }

    /// Number of output channels of a part, if there are `room` bytes for weights and outputs: the
    /// channels are divided evenly among the smallest number of parts that fit.
    fn channels_for(&self, room: usize) -> usize {
        if self.whole() <= room {
            return self.channels;
        }
        let each = self.bytes.saturating_add(self.outputs.saturating_mul(self.together));
        let fit = room.saturating_sub(2 * (ALIGN - 1)).checked_div(each).unwrap_or(0).max(1);
        let blocks = self.channels.div_ceil(self.together.max(1));
        let parts = blocks.div_ceil(fit).max(1);
        (blocks.div_ceil(parts) * self.together).min(self.channels)
    }

    /// How many bytes need not be read for each byte that is kept.
    fn worth(&self, once: bool) -> u16 {
        self.record.steps.get().saturating_sub(u16::from(!once))
    }
}

/// How a layer's weights go through the window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Split {
    /// Number of output channels of a part; 0 if the layer has no weights here, or has no place
    /// yet.
    channels: u16,
    /// Number of parts that are kept, from the first on.
    pub(super) kept: u16,
    /// The position of the first part in the window.
    at: u32,
}

/// How the weights of a segment's layers share the window. It is filled in place, because stacks
/// are small.
#[derive(Debug)]
pub(super) struct Layout {
    /// The layers of the segment.
    layers: Range<usize>,
    splits: [Split; MAX_SEGMENT_LAYERS],
    /// Where the room for outputs and for parts that are read begins in the window.
    room: usize,
}

impl Layout {
    /// The layout of no segment.
    pub(super) const fn none() -> Self {
        let nothing = Split { channels: 0, kept: 0, at: 0 };
        Self { layers: 0..0, splits: [nothing; MAX_SEGMENT_LAYERS], room: 0 }
    }

    /// Becomes the layout of a segment, in a window of `bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::WindowTooSmall`]. The layout is then that of no segment.
    #[inline(never)]
    pub(super) fn fill(
        &mut self,
        graph: &Graph<'_>,
        segment: usize,
        bytes: usize,
    ) -> Result<(), Error> {
        let layers = graph.segment(segment);
        self.layers = 0..0;
        self.splits.fill(Split::default());
        let cuts = || layers.clone().filter_map(|layer| Some((layer, Cut::of(graph, layer)?)));
        let all = cuts().fold(0, |sum: usize, (_, cut)| sum.saturating_add(cut.whole()));
        let mut room = 0;
        if all > bytes {
            for (layer, cut) in cuts() {
                let needed = cut.smallest();
                if needed > bytes {
                    return Err(Error::WindowTooSmall { layer: layer as u16, needed, got: bytes });
                }
                room = needed.max(room).max(bytes / 2 / ALIGN * ALIGN);
            }
        }
        self.layers = layers.clone();
        let once = only_segment(graph);
        let mut left = bytes.saturating_sub(room);
        let mut kept = 0;
        // Whole layers, then first parts of the others.
        for whole in [true, false] {
            let mut bound = u32::MAX;
            while let Some((layer, cut, rank)) = self.next(graph, once, bound) {
                bound = rank;
                let channels = if whole { cut.channels } else { cut.channels_for(room) };
                let each = aligned(cut.begin(channels));
                let parts = cut.channels.div_ceil(channels.max(1));
                let fit = if cut.worth(once) == 0 && all > bytes {
                    0
                } else {
                    left.checked_div(each).unwrap_or(0).min(parts)
                };
                if whole && fit < parts {
                    continue;
                }
                if let Some(split) = self.splits.get_mut(layer - layers.start) {
                    let (fit, at) = (fit as u16, kept as u32);
                    *split = Split { channels: channels as u16, kept: fit, at };
                }
                kept += fit * each;
                left -= fit * each;
            }
        }
        self.room = kept;
        Ok(())
    }

    /// Of the layers that have no place yet, the one with the highest rank below `bound`.
    fn next<'m>(&self, graph: &Graph<'m>, once: bool, bound: u32) -> Option<(usize, Cut<'m>, u32)> {
        let ranked = self.layers.clone().filter_map(|layer| {
            let cut = Cut::of(graph, layer).filter(|_| self.split(layer).channels == 0)?;
            // Of layers with the same number of steps, the first has the highest rank.
            let place = (MAX_SEGMENT_LAYERS - 1).saturating_sub(layer - self.layers.start) as u32;
            Some((layer, cut, u32::from(cut.worth(once)) << 8 | place))
        });
        ranked.filter(|&(.., rank)| rank < bound).max_by_key(|&(.., rank)| rank)
    }

    /// Whether a layer is in the segment.
    pub(super) fn has(&self, layer: usize) -> bool {
        self.layers.contains(&layer)
    }

    /// The bit of a layer in the set of layers that have been read.
    pub(super) fn bit(&self, layer: usize) -> u64 {
        1u64.checked_shl(layer.wrapping_sub(self.layers.start) as u32).unwrap_or(0)
    }

    /// Number of parts of a layer's weights.
    pub(super) fn parts(cut: &Cut<'_>, split: Split) -> u16 {
        cut.channels.div_ceil(usize::from(split.channels).max(1)) as u16
    }

    pub(super) fn split(&self, layer: usize) -> Split {
        let index = layer.wrapping_sub(self.layers.start);
        self.splits.get(index).copied().unwrap_or_default()
    }

    /// Part `index` of a layer's weights.
    pub(super) fn part(&self, cut: &Cut<'_>, split: Split, index: u16) -> Placed {
        let each = usize::from(split.channels);
        let from = usize::from(index) * each;
        let channels = from.min(cut.channels)..(from + each).min(cut.channels);
        let bytes = cut.begin(channels.start)..cut.begin(channels.end);
        let outputs = cut.outputs_of(channels.len());
        let (at, kept) = if index < split.kept {
            (split.at as usize + usize::from(index) * aligned(cut.begin(each)), true)
        } else {
            (self.room + outputs, false)
        };
        let rows = self.room..self.room + cut.outputs.saturating_mul(channels.len()).min(outputs);
        Placed { channels, bytes, window: at, rows, kept }
    }

    /// Numbers of bytes that are read while the segment runs once: for the parts that are kept, and
    /// for the others.
    fn bytes_read(&self, graph: &Graph<'_>) -> [u64; 2] {
        let mut read = [0; 2];
        for layer in self.layers.clone() {
            let Some(cut) = Cut::of(graph, layer) else { continue };
            let split = self.split(layer);
            let all = cut.begin(cut.channels) as u64;
            let kept = cut.begin(usize::from(split.kept) * usize::from(split.channels)) as u64;
            read[0] += kept;
            read[1] += (all - kept) * u64::from(cut.record.steps.get());
        }
        read
    }
}

/// A part of a layer's weights.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// The output channels.
    pub(super) channels: Range<usize>,
    /// Its bytes, as a range of the layer's weights.
    pub(super) bytes: Range<usize>,
    /// Where in the window they go.
    pub(super) window: usize,
    /// Where in the window the room for its outputs is.
    pub(super) rows: Range<usize>,
    /// Whether its weights are kept.
    pub(super) kept: bool,
}

/// Whether only one segment has weights that go through the window.
fn only_segment(graph: &Graph<'_>) -> bool {
    let has =
        |segment: &usize| graph.segment(*segment).any(|layer| Cut::of(graph, layer).is_some());
    (0..graph.segments.len()).filter(has).count() == 1
}

fn aligned(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX)
}

/// Number of bytes of weights that are read for an image that follows another, with a window of
/// `bytes` bytes.
///
/// # Errors
///
/// [`Error::WindowTooSmall`].
pub fn weight_bytes_read(graph: &Graph<'_>, bytes: usize) -> Result<u64, Error> {
    let (mut sum, mut layout) = (0, Layout::none());
    for segment in 0..graph.segments.len() {
        layout.fill(graph, segment, bytes)?;
        let [kept, others] = layout.bytes_read(graph);
        // What is kept of the only segment is still there for the next image.
        sum += others + if only_segment(graph) { 0 } else { kept };
    }
    Ok(sum)
}

/// Number of bytes of the smallest window that the weights can go through.
///
/// ```
/// # use brooklet::Model;
/// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// # let model = Model::parse(MODEL).unwrap();
/// use brooklet::{smallest_window, weight_bytes_read};
///
/// let least = smallest_window(model.graph());
/// assert!(weight_bytes_read(model.graph(), least - 1).is_err());
/// // With a larger window less is read.
/// let read = |bytes| weight_bytes_read(model.graph(), bytes).unwrap();
/// assert!(read(64 << 10) <= read(least));
/// ```
pub fn smallest_window(graph: &Graph<'_>) -> usize {
    let cuts = (0..graph.layers.len()).filter_map(|layer| Cut::of(graph, layer));
    cuts.map(|cut| cut.smallest()).max().unwrap_or(0)
}
