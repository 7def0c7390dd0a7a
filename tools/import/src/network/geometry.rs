//! Sizes of maps and windows, and their limits.

use crate::error::{Problem, unsupported};

/// Index into [`Network::nodes`](super::Network::nodes), or
/// [`QuantizedNetwork::nodes`](super::QuantizedNetwork::nodes).
pub type NodeId = usize;

/// `[height, width, channels]`.
pub type Shape = [usize; 3];

/// `[top, left, bottom, right]`, in rows and columns.
pub type Pads = [usize; 4];

/// Maximum number of rows and columns of a layer's kernel.
pub(crate) const MAX_KERNEL: usize = 16;

/// Largest height, width, number of channels, kernel, stride or padding that is accepted: the
/// largest that the model format can store.
///
/// It is far above any real network, and products of three such numbers do not overflow.
pub(crate) const MAX_EXTENT: usize = u16::MAX as usize;

/// Maximum number of nodes, as layers have 16-bit numbers in the model format.
pub(crate) const MAX_NODES: usize = u16::MAX as usize;

/// Maximum number of elements of all weights together, for a file that holds `held` elements.
///
/// Layers may share weights, and exporters transpose or scale them in the graph, but a few bytes
/// must not become gigabytes.
pub(crate) fn most_elements(held: usize) -> usize {
    held.saturating_mul(8).saturating_add(1 << 24)
}

/// The error for a network with more elements.
pub(crate) fn too_many_elements() -> Problem {
    unsupported(
        "makes tensors that are far larger than the file",
        "export the network with constants folded, and weights that layers do not share",
    )
}

/// A subsampled copy, with channels of zeros before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsample {
    /// Strides of rows and columns; the first of each group is kept.
    pub stride: [usize; 2],
    /// Number of zero channels before the copied ones.
    pub channels_before: usize,
    /// Number of zero channels after them.
    pub channels_after: usize,
}

/// A pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height, width.
    pub kernel: [usize; 2],
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Positions around the input, which do not count.
    pub pads: Pads,
}

impl Window {
    /// Refuses a window that may lie entirely in the padding.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let beyond = |side: usize| {
            self.pads[side] >= self.kernel[side] || self.pads[side + 2] >= self.kernel[side]
        };
        if (0..2).any(beyond) {
            return Err(unsupported(
                "a pooling window lies entirely in the padding",
                "pad less than the window's size",
            ));
        }
        Ok(())
    }
}

/// Rows and columns around a map that repeat rows and columns of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// Number of rows and columns.
    pub pads: Pads,
    /// The rows and columns that are repeated.
    pub repeats: Repeats,
}

/// The rows and columns that a border repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// The map mirrored at its outermost rows and columns, which are not repeated themselves.
    Mirrored,
    /// The outermost rows and columns.
    Edge,
}

/// An average over a window: the sum of the positions that count, divided by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AveragePool {
    /// The window, with all positions around the input as its pads.
    pub window: Window,
    /// The pads that count as zeros; at most those of the window.
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

/// Rows and columns by which windows exceed the bottom and the right of a padded map if the number
/// of windows is rounded up (`ceil_mode`).
///
/// A window that begins after the map is left out.
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

/// The four pads of TensorFlow's SAME, with which the output has ⌈input / stride⌉ rows and columns.
///
/// An odd row or column of padding goes to the bottom or right; if `upper` is false, to the top or
/// left, as in ONNX's SAME_LOWER.
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

/// Refuses zeros and sizes that are too large.
pub(crate) fn check_extents(extents: &[usize], what: &str) -> Result<(), Problem> {
    match extents.iter().find(|&&extent| extent == 0 || extent > MAX_EXTENT) {
        Some(extent) => Err(mismatch(format!("its {what} is impossible: {extents:?} ({extent})"))),
        None => Ok(()),
    }
}

/// An error for shapes that do not match.
pub(crate) fn mismatch(detail: String) -> Problem {
    Problem::Shape { detail }
}
