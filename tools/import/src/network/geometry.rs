//! Sizes of maps and windows, and what is accepted of them.

use crate::error::{Problem, unsupported};

/// Index into [`Network::nodes`](super::Network::nodes), or
/// [`QuantizedNetwork::nodes`](super::QuantizedNetwork::nodes).
pub type NodeId = usize;

/// `[height, width, channels]`.
pub type Shape = [usize; 3];

/// `[top, left, bottom, right]`, in rows and columns.
pub type Pads = [usize; 4];

/// Largest height, width, number of channels, kernel, stride or padding that is accepted: what
/// the model format can say, far above any real network, and small enough that products of three
/// never overflow.
pub(crate) const MAX_EXTENT: usize = u16::MAX as usize;

/// Most nodes: layers have 16-bit numbers in the model format.
pub(crate) const MAX_NODES: usize = u16::MAX as usize;

/// Elements that a network's weights may have, all layers together, where its file holds as many:
/// layers may share weights, and exporters transpose or scale them in the graph, but a few bytes
/// must not become gigabytes.
pub(crate) fn most_elements(held: usize) -> usize {
    held.saturating_mul(8).saturating_add(1 << 24)
}

/// What is wrong with a network that has more.
pub(crate) fn too_many_elements() -> Problem {
    unsupported(
        "makes tensors that are far larger than the file",
        "export the network with constants folded, and weights that layers do not share",
    )
}

/// Strided copy with zero channels before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsample {
    /// Rows, columns; the first of each group is kept.
    pub stride: [usize; 2],
    /// Zero channels before the copied ones.
    pub channels_before: usize,
    /// Zero channels after them.
    pub channels_after: usize,
}

/// A pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height, width.
    pub kernel: [usize; 2],
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Positions around the input that do not count.
    pub pads: Pads,
}

impl Window {
    /// Refuses a window that may lie wholly in the padding.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let beyond = |side: usize| {
            self.pads[side] >= self.kernel[side] || self.pads[side + 2] >= self.kernel[side]
        };
        if (0..2).any(beyond) {
            return Err(unsupported(
                "a pooling window lies wholly in the padding",
                "pad less than the window's size",
            ));
        }
        Ok(())
    }
}

/// Rows and columns around a map that repeat some of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// How many.
    pub pads: Pads,
    /// Which they are.
    pub repeats: Repeats,
}

/// What a border repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// The map mirrored at its outermost rows and columns, which are not repeated themselves.
    Mirrored,
    /// The outermost rows and columns.
    Edge,
}

/// An average over a window: the sum over those of its positions that count, by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AveragePool {
    /// The window; its pads are all positions around the input that windows reach.
    pub window: Window,
    /// Those of the pads that count, as zeros; at most as many as the window's.
    pub counted: Pads,
}

/// Shape of the output of a sliding window.
pub(crate) fn window_output(
    [height, width, _]: Shape,
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: Pads,
) -> Result<Shape, Problem> {
    check_extents(&kernel, "kernel")?;
    check_extents(&stride, "stride")?;
    check_extents(&pads.map(|pad| pad.saturating_add(1)), "padding")?;
    let padded = [height + pads[0] + pads[2], width + pads[1] + pads[3]];
    if padded[0] < kernel[0] || padded[1] < kernel[1] {
        return Err(mismatch(format!(
            "a kernel of {}×{} does not fit into a map of {}×{} with its padding",
            kernel[0], kernel[1], padded[0], padded[1]
        )));
    }
    let shape = [
        (padded[0] - kernel[0]) / stride[0] + 1,
        (padded[1] - kernel[1]) / stride[1] + 1,
        channels,
    ];
    check_extents(&shape, "output")?;
    Ok(shape)
}

/// Rows and columns that windows hang over the bottom and the right of a padded map where the
/// number of windows is rounded up (`ceil_mode`): a window that begins behind the map is none.
pub(crate) fn overhang(
    [height, width, _]: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: Pads,
) -> [usize; 2] {
    std::array::from_fn(|side| {
        let extent = [height, width][side];
        let (padded, stride) = (extent + pads[side] + pads[side + 2], stride[side].max(1));
        let over = padded.saturating_sub(kernel[side]);
        let (rest, last) = (over % stride, over / stride + 1);
        match rest {
            0 => 0,
            _ if last * stride >= extent + pads[side] => 0,
            rest => stride - rest,
        }
    })
}

/// The four pads of TensorFlow's SAME: the output has ⌈input / stride⌉ rows and columns, and an
/// odd row or column of padding goes to the bottom or right. `upper` false puts it first, as
/// ONNX's SAME_LOWER does.
pub(crate) fn same_pads(
    [height, width, _]: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    upper: bool,
) -> Pads {
    let along = |extent: usize, kernel: usize, stride: usize| {
        let steps = extent.div_ceil(stride.max(1)).saturating_sub(1);
        let total = (steps * stride + kernel).saturating_sub(extent);
        let first = if upper { total / 2 } else { total.div_ceil(2) };
        [first, total - first]
    };
    let [top, bottom] = along(height, kernel[0], stride[0]);
    let [left, right] = along(width, kernel[1], stride[1]);
    [top, left, bottom, right]
}

/// Refuses zeros and absurd sizes.
pub(crate) fn check_extents(extents: &[usize], what: &str) -> Result<(), Problem> {
    match extents.iter().find(|&&extent| extent == 0 || extent > MAX_EXTENT) {
        Some(extent) => Err(mismatch(format!("its {what} is impossible: {extents:?} ({extent})"))),
        None => Ok(()),
    }
}

/// Shapes that do not fit together.
pub(crate) fn mismatch(detail: String) -> Problem {
    Problem::Shape { detail }
}
