//! What can be wrong with a model file, an arena or a row.

use core::fmt;

use crate::feature::Feature;
use crate::format::Packing;

/// A section of the model file, for [`Error::OutOfBounds`] and [`Fault::OutOfBounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the format's specification")]
pub enum Section {
    Segments,
    Layers,
    Names,
    Labels,
    Preprocessing,
    Weights,
    Bias,
    Multipliers,
    PaddingValues,
    ShortcutTable,
    PixelTable,
    Table,
    Places,
    #[cfg(feature = "self-test")]
    SelfTest,
    Row,
    Scratch,
}

/// What is wrong with one layer, for [`Error::Layer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// A section lies outside of the file or of the arena, or is not aligned.
    OutOfBounds(Section),
    /// The operator's number is not one of the format's.
    UnknownOperator(u8),
    /// The packing's number is not one of the format's.
    UnknownPacking(u8),
    /// The packing is not for a kernel with this shape and stride.
    Packing(Packing),
    /// The packed weights are not what the packing makes of any weights in [-127, 127].
    Transform {
        /// The output channel.
        channel: u16,
    },
    /// A weight is -128, in a packing that stores weights as bytes. The format has weights in
    /// [-127, 127].
    Weight,
    /// A dimension is zero, or the output does not follow from the input, kernel, stride and pads.
    Shape,
    /// A kernel has more than [`MAX_KERNEL`](crate::ops::MAX_KERNEL) rows or columns.
    Kernel,
    /// The layer reads a tensor that is not made before it, or it reads one tensor too few or too
    /// many.
    Operands,
    /// A layer after the recorded last reader reads this layer, or no layer does.
    Readers,
    /// The stride or channels of the shortcut do not fit the output.
    Shortcut,
    /// The sum of a channel can overflow 32 bits.
    Accumulator {
        /// The output channel.
        channel: u16,
    },
    /// A multiplier, shift, scale or clamp is outside of its range.
    Quantization,
    /// This build cannot run the layer: it lacks a feature of the crate.
    Feature(Feature),
    /// The layer makes int16 where that is not possible, or its flags contradict its operands.
    #[cfg(feature = "int16")]
    Int16Flags,
    /// The layer makes a 16-bit stream, but its operator or packing cannot.
    #[cfg(feature = "stream16")]
    Stream16,
    /// The number of steps, or of bytes of weights or scratch memory, does not follow from
    /// operator, shapes and packing.
    Derived,
    /// A field that the operator does not use is not zero.
    Unused,
    /// A step of this layer would overwrite bytes that are still needed.
    Overwrites,
}

/// Why a model file was refused, or a session could not be made.
///
/// [`Model::parse`](crate::Model::parse) finds everything that could go wrong later: with a model
/// that it accepts, running neither errors nor panics.
///
/// ```
/// use brooklet::{Error, Model};
///
/// let error = Model::parse(b"not a model").unwrap_err();
/// assert!(matches!(error, Error::TooShort { .. }));
/// println!("{error}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the file does.
    TooShort {
        /// Number of bytes that the file has by its header, or that a header takes.
        needed: usize,
        /// Number of bytes given.
        got: usize,
    },
    /// The first eight bytes are not those of a model file.
    BadMagic,
    /// The file's format version is not [`VERSION`](crate::format::VERSION).
    UnsupportedVersion {
        /// The file's version.
        found: u16,
    },
    /// The bytes of the file changed after it was written.
    Checksum {
        /// CRC-32 in the header.
        stored: u32,
        /// CRC-32 of the bytes.
        computed: u32,
    },
    /// A reserved bit or byte of the header is set.
    Reserved,
    /// A section that the header names lies outside of the file, or is not aligned.
    OutOfBounds {
        /// Which section.
        section: Section,
    },
    /// The segments do not cover the layers, in order, with at most
    /// [`MAX_SEGMENT_LAYERS`](crate::format::MAX_SEGMENT_LAYERS) each.
    Segments,
    /// The number of test images is not from 1 to
    /// [`MAX_TEST_IMAGES`](crate::format::MAX_TEST_IMAGES).
    #[cfg(feature = "self-test")]
    TestImages {
        /// The number in the file.
        count: u16,
    },
    /// The names or labels are not UTF-8 ([`Model::check_text`](crate::Model::check_text)).
    Text,
    /// No image can be processed as the preprocessing record says
    /// ([`Model::check_preprocessing`](crate::Model::check_preprocessing)).
    Preprocessing,
    /// Checking would take too long for the length of the file: layers share data, or rows lie
    /// scattered over the arena ([`Model::parse`](crate::Model::parse)).
    Work,
    /// A layer contradicts itself or the layers that it reads.
    Layer {
        /// The layer.
        layer: u16,
        /// What is wrong.
        fault: Fault,
    },
    /// No layer of the segment can run, and the segment is not finished.
    Stalls {
        /// The segment.
        segment: u16,
    },
    /// The arena is smaller than the model's.
    ArenaTooSmall {
        /// Number of bytes that the model needs.
        needed: usize,
        /// Number of bytes given.
        got: usize,
    },
    /// The arena does not start at a multiple of [`ARENA_ALIGN`](crate::ARENA_ALIGN).
    ArenaMisaligned,
    /// The model file does not start at a multiple of the unit that the backend's kernels load.
    ModelMisaligned {
        /// The unit, in bytes.
        align: usize,
        /// The backend.
        backend: &'static str,
    },
    /// The weights are neither in memory after the rest of the file, nor read through the window
    /// that checked it ([`Session::with_weights`](crate::Session::with_weights)).
    #[cfg(feature = "weights-window")]
    WeightsElsewhere,
    /// The driver could not read the model file.
    #[cfg(feature = "weights-window")]
    Read,
    /// The RAM given is too small for the part of the file that precedes the weights.
    #[cfg(feature = "weights-window")]
    ResidentTooSmall {
        /// Number of bytes before the weights.
        needed: usize,
        /// Number of bytes given.
        got: usize,
    },
    /// The window is smaller than the smallest part into which a layer's weights can be cut.
    #[cfg(feature = "weights-window")]
    WindowTooSmall {
        /// The layer.
        layer: u16,
        /// Number of bytes of the part and of its outputs.
        needed: usize,
        /// Number of bytes of the window.
        got: usize,
    },
    /// The weights are packed for another backend.
    Packing {
        /// The first layer with this packing.
        layer: u16,
        /// The packing's name.
        packing: &'static str,
        /// The backend that cannot read it.
        backend: &'static str,
    },
}

impl Error {
    pub(crate) const fn layer(layer: usize, fault: Fault) -> Self {
        Self::Layer { layer: layer as u16, fault }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segments => "the segment table",
            Self::Layers => "the layer table",
            Self::Names => "the names",
            Self::Labels => "the labels",
            Self::Preprocessing => "the preprocessing record",
            Self::Weights => "the weights",
            Self::Bias => "the biases",
            Self::Multipliers => "the multipliers",
            Self::PaddingValues => "the padding values",
            Self::ShortcutTable => "the shortcut's table",
            Self::PixelTable => "the table from pixels to int8",
            Self::Table => "the table",
            Self::Places => "the places of its rows",
            #[cfg(feature = "self-test")]
            Self::SelfTest => "the test images",
            Self::Row => "a row in the arena",
            Self::Scratch => "the scratch memory",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds(section) => write!(f, "{section}: out of bounds"),
            Self::UnknownOperator(n) => write!(f, "operator number {n} is not known"),
            Self::UnknownPacking(n) => write!(f, "packing number {n} is not known"),
            Self::Packing(packing) => {
                write!(f, "kernels of its shape and stride cannot be packed as {}", packing.name())
            }
            Self::Transform { channel } => {
                write!(f, "the weights of output channel {channel} are not packed int8")
            }
            Self::Weight => f.write_str("a weight is -128, less than the format allows"),
            Self::Shape => f.write_str("the shapes of input and output do not fit"),
            Self::Kernel => f.write_str("the kernel is larger than 16x16"),
            Self::Operands => f.write_str("it reads a tensor that is not there"),
            Self::Readers => f.write_str(
                "its recorded last reader is wrong, or does not take it as its shortcut",
            ),
            Self::Shortcut => f.write_str("the shortcut does not fit the output"),
            Self::Accumulator { channel } => {
                write!(f, "the sum of output channel {channel} can overflow 32 bits")
            }
            Self::Quantization => f.write_str("a scale, multiplier or clamp is out of range"),
            Self::Feature(feature) => write!(f, "it needs brooklet's feature `{feature}`"),
            #[cfg(feature = "int16")]
            Self::Int16Flags => f.write_str("its int16 flags contradict its operands"),
            #[cfg(feature = "stream16")]
            Self::Stream16 => {
                f.write_str("only a convolution with weights in bytes makes a stream in 16 bits")
            }
            Self::Derived => f.write_str(
                "its number of steps or bytes does not follow from operator, shapes and packing",
            ),
            Self::Unused => f.write_str("a field that its operator does not use is not zero"),
            Self::Overwrites => f.write_str("a step overwrites rows that are still needed"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { needed, got } => {
                write!(f, "the model file is cut off: {got} of {needed} bytes")
            }
            Self::BadMagic => f.write_str("not a model file"),
            Self::UnsupportedVersion { found } => write!(
                f,
                "model file of format version {found}; this build reads version {}",
                crate::format::VERSION
            ),
            Self::Checksum { stored, computed } => {
                write!(f, "the model file is damaged: CRC {computed:08x}, should be {stored:08x}")
            }
            Self::Reserved => f.write_str("a reserved field of the header is set"),
            Self::OutOfBounds { section } => write!(f, "{section}: out of bounds"),
            Self::Segments => f.write_str("the segments do not cover the layers in order"),
            #[cfg(feature = "self-test")]
            Self::TestImages { count } => write!(
                f,
                "the file has {count} test images; it can have from 1 to {}",
                crate::format::MAX_TEST_IMAGES
            ),
            Self::Text => f.write_str("the names or labels are not UTF-8"),
            Self::Preprocessing => f.write_str("the preprocessing record is out of range"),
            Self::Work => f.write_str(
                "the model file takes too long to check: its layers share data, or its rows lie \
                 scattered over the arena; plan it again",
            ),
            Self::Layer { layer, fault } => write!(f, "layer {layer}: {fault}"),
            Self::Stalls { segment } => write!(f, "segment {segment}: no layer can run"),
            Self::ArenaTooSmall { needed, got } => {
                write!(f, "the arena has {got} bytes, the model needs {needed}")
            }
            Self::ArenaMisaligned => {
                write!(f, "the arena must start at a multiple of {} bytes", crate::ARENA_ALIGN)
            }
            Self::ModelMisaligned { align, backend } => write!(
                f,
                "for the backend `{backend}` the model file must start at a multiple of {align} bytes"
            ),
            #[cfg(feature = "weights-window")]
            Self::WeightsElsewhere => f.write_str(
                "the model's weights are neither in memory nor read through the given window",
            ),
            #[cfg(feature = "weights-window")]
            Self::Read => f.write_str("the model file could not be read"),
            #[cfg(feature = "weights-window")]
            Self::ResidentTooSmall { needed, got } => write!(
                f,
                "the model file has {needed} bytes before its weights, the memory for them {got}; \
                 plan the model with its weights last"
            ),
            #[cfg(feature = "weights-window")]
            Self::WindowTooSmall { layer, needed, got } => {
                write!(f, "layer {layer}: its weights need a window of {needed} bytes, not {got}")
            }
            Self::Packing { layer, packing, backend } => write!(
                f,
                "layer {layer}: its weights are packed as `{packing}`, which the backend \
                 `{backend}` does not run"
            ),
        }
    }
}

impl core::error::Error for Error {}

/// Why a row was not taken, or a result is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RowError {
    /// The length of the row is not columns × channels of the input.
    Length {
        /// Number of bytes of a row.
        needed: usize,
        /// Number of bytes given.
        got: usize,
    },
    /// The image is complete; [`reset`](crate::Session::reset) begins the next one.
    Complete,
    /// The result needs further rows.
    Missing {
        /// Number of rows that are still to be pushed.
        rows: u16,
    },
    /// The network's output is a map of several cells, not one vector:
    /// [`map`](crate::Session::map) returns it.
    Map,
    /// The driver could not read weights: the image is lost. [`reset`](crate::Session::reset) begins
    /// the next one.
    #[cfg(feature = "weights-window")]
    Weights,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { needed, got } => {
                write!(f, "the row has {got} bytes, the network takes {needed}")
            }
            Self::Complete => f.write_str("the image is complete"),
            Self::Missing { rows } => write!(f, "{rows} rows are still to be pushed"),
            Self::Map => f.write_str("the output is a map, not one vector"),
            #[cfg(feature = "weights-window")]
            Self::Weights => f.write_str("the weights could not be read: the image is lost"),
        }
    }
}

impl core::error::Error for RowError {}
