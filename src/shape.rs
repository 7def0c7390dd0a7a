//! Shapes of tensors.

/// Shape of a tensor, NHWC with N = 1: `rows` × `columns` × `channels` values, which are bytes for
/// int8.
///
/// ```
/// let shape = brooklet::Shape::new(32, 32, 3); // rows, columns, channels
/// assert_eq!((shape.row_bytes(), shape.bytes()), (96, 3072));
/// assert_eq!(shape.to_string(), "32x32x3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
    /// Channels; consecutive in memory.
    pub channels: u16,
}

impl Shape {
    /// A shape from its height, width and channels.
    pub const fn new(rows: u16, columns: u16, channels: u16) -> Self {
        Self { rows, columns, channels }
    }

    /// Number of bytes of one row: columns × channels.
    pub const fn row_bytes(self) -> usize {
        self.columns as usize * self.channels as usize
    }

    /// Number of bytes of the whole tensor; saturates at the largest `usize`.
    pub const fn bytes(self) -> usize {
        (self.rows as usize).saturating_mul(self.row_bytes())
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}x{}x{}", self.rows, self.columns, self.channels)
    }
}
