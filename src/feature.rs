//! Features of the crate that not every network needs.

use core::fmt;

/// A feature of the crate that runs what not every network has. A build without the feature refuses
/// a model that needs it ([`Fault::Feature`](crate::Fault::Feature)), and links no code for it.
///
/// ```
/// use brooklet::Feature;
///
/// let on: Vec<&str> = Feature::ALL.iter().filter(|f| f.is_on()).map(|f| f.name()).collect();
/// println!("this build has {}", on.join(", "));
/// # assert_eq!(Feature::SubByte.to_string(), "sub-byte");
/// ```
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
}

/// The functions that follow from the names of the features in `Cargo.toml`.
macro_rules! names {
    ($($feature:ident = $name:literal,)*) => {
        impl Feature {
            /// The name of the feature in `Cargo.toml`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$feature => $name,)* }
            }

            /// Whether this build has it.
            #[inline(always)]
            pub const fn is_on(self) -> bool {
                match self { $(Self::$feature => cfg!(feature = $name),)* }
            }

            /// The compiler's message for a model that needs it, in a build without it.
            const fn lacking(self) -> &'static str {
                match self {
                    $(Self::$feature => concat!(
                        "this model needs the feature `", $name, "` of brooklet: add it in Cargo.toml"
                    ),)*
                }
            }
        }
    };
}

names! {
    Int16 = "int16",
    Stream16 = "stream16",
    Int4 = "int4",
    SubByte = "sub-byte",
    BatchNorm = "batch-norm",
    GroupedConv = "grouped-conv",
    DepthwiseConv = "depthwise-conv",
    Lookup = "lookup",
    Multiply = "multiply",
    Concat = "concat",
    WindowAverage = "window-average",
    Border = "border",
}

impl Feature {
    /// Does not compile, in a `const`, if a required feature is not on.
    pub(crate) const fn assert_on(needed: Option<Self>) {
        if let Some(feature) = needed
            && !feature.is_on()
        {
            panic!("{}", feature.lacking());
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
