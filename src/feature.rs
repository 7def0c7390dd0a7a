//! Features of the crate that not every network needs.

use core::fmt;

/// A feature of the crate that runs what not every network has. A build without the feature refuses
/// a model that needs it ([`Fault::Feature`](crate::Fault::Feature)), and links no code for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Feature {
    /// Layers that read or make int16.
    Int16,
    /// A residual 16-bit stream.
    Stream16,
    /// Weights in four bits.
    Int4,
    /// Weights in three, five and six bits.
    SubByte,
    /// Batch norms that could not be folded into a convolution.
    BatchNorm,
    /// Grouped convolutions.
    GroupedConv,
    /// Depthwise convolutions.
    DepthwiseConv,
    /// Functions of one value, computed by tables.
    Lookup,
    /// Products of two tensors.
    Multiply,
    /// Concatenations of channels.
    Concat,
    /// Averages over a window.
    WindowAverage,
    /// Borders that repeat values of the image.
    Border,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Int16,
        Self::Stream16,
        Self::Int4,
        Self::SubByte,
        Self::BatchNorm,
        Self::GroupedConv,
        Self::DepthwiseConv,
        Self::Lookup,
        Self::Multiply,
        Self::Concat,
        Self::WindowAverage,
        Self::Border,
    ];

    /// The name of the feature in `Cargo.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int16 => "int16",
            Self::Stream16 => "stream16",
            Self::Int4 => "int4",
            Self::SubByte => "sub-byte",
            Self::BatchNorm => "batch-norm",
            Self::GroupedConv => "grouped-conv",
            Self::DepthwiseConv => "depthwise-conv",
            Self::Lookup => "lookup",
            Self::Multiply => "multiply",
            Self::Concat => "concat",
            Self::WindowAverage => "window-average",
            Self::Border => "border",
        }
    }

    /// Whether this build has it.
    #[inline(always)]
    pub const fn is_on(self) -> bool {
        match self {
            Self::Int16 => cfg!(feature = "int16"),
            Self::Stream16 => cfg!(feature = "stream16"),
            Self::Int4 => cfg!(feature = "int4"),
            Self::SubByte => cfg!(feature = "sub-byte"),
            Self::BatchNorm => cfg!(feature = "batch-norm"),
            Self::GroupedConv => cfg!(feature = "grouped-conv"),
            Self::DepthwiseConv => cfg!(feature = "depthwise-conv"),
            Self::Lookup => cfg!(feature = "lookup"),
            Self::Multiply => cfg!(feature = "multiply"),
            Self::Concat => cfg!(feature = "concat"),
            Self::WindowAverage => cfg!(feature = "window-average"),
            Self::Border => cfg!(feature = "border"),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
