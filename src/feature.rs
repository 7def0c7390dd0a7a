//! What not every network has, and so not every build.

use core::fmt;

/// A feature of the crate that runs what not every network has. Builds without it refuse a model
/// that needs it ([`Fault::Feature`](crate::Fault::Feature)), and link nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Feature {
    /// Layers that read or make int16.
    Int16,
    /// A residual stream in 16 bits.
    Stream16,
    /// Weights in four bits.
    Int4,
    /// Weights in three, five and six bits.
    SubByte,
    /// Batch norms that no convolution takes in.
    BatchNorm,
    /// Grouped convolutions.
    GroupedConv,
    /// Depthwise convolutions.
    DepthwiseConv,
    /// Functions of one number, by tables.
    Lookup,
    /// Products of two tensors.
    Multiply,
    /// Concatenations of channels.
    Concat,
    /// Averages over a window.
    WindowAverage,
    /// Borders that repeat what is inside.
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

    /// What `Cargo.toml` calls it.
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
