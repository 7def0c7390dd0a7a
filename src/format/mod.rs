//! The model file (`.brook`): the only contract between the tool and the board.
//!
//! All numbers are little-endian. Offsets count from the start of the file, except those of
//! names, which count from the start of the names. A file is used where it lies, in flash;
//! nothing of it is copied to RAM.
//!
//! ```text
//!          ┌───────────────────────────────────────────┐
//!        0 │ header                           64 bytes │ Header
//!          ├───────────────────────────────────────────┤
//!          │ segments          4 bytes for each        │ SegmentRecord
//!          ├───────────────────────────────────────────┤ multiple of 4
//!          │ layers           96 bytes for each        │ LayerRecord
//!          ├───────────────────────────────────────────┤
//!          │ names             UTF-8, end to end       │
//!          │ labels            UTF-8, a line a class   │
//!          │ preprocessing    32 bytes                 │ PreprocessingRecord
//!          ├───────────────────────────────────────────┤
//!          │ weights           multiple of 16          │
//!          │ biases, mantissas int32, multiple of 4    │  in any order,
//!          │ shifts            int8                    │  as the layers say
//!          │ padding values    int8                    │
//!          │ tables            int32 or int8           │
//!          └───────────────────────────────────────────┘ length
//! ```
//!
//! Parts may be shared or apart; only the header's place is fixed. Bytes that no part names
//! are padding and mean nothing.
//!
//! # Layers and tensors
//!
//! Layer *i* makes tensor *i*, and reads tensors of smaller numbers. Layer 0 is the input.
//! A tensor lives in a *ring of rows* in the arena: row `y` is in slot `y mod ring_rows`, at
//! `ring_offset + slot · columns · channels`. A *segment* is a run of layers that stream rows
//! through each other; segments run one after the other. How they run is specified in
//! [`schedule`](crate::schedule), what each operator computes in [`ops`](crate::ops).
//!
//! # Weights
//!
//! Output × kernel rows × kernel columns × input channels (OHWI) numbers of int8 in
//! [-127, 127], in one of the orders of [`Packing`]. A bias holds, besides the network's bias,
//! `-Σ zero_point · weight`, so that kernels multiply raw int8 values.
//!
//! # A file in full
//!
//! A network of two layers: the input, 1×1 pixel of one channel, and a 1×1 convolution that
//! multiplies by 2 · 2⁻¹. The test `tests/format.rs` parses these bytes, read from here.
//!
//! ```text
#![doc = include_str!("example.hex")]
//! ```
//!
//! # Compatibility
//!
//! `version` counts changes that an older reader would misread; a reader takes exactly its own
//! ([`VERSION`]). Reserved fields are zero and are checked to be: they can get a meaning
//! without a new version only where ignoring them is harmless, which is nowhere so far.
//! Operators and packings may be added under the same version: a reader that does not know
//! one refuses the file and names it.
//!
//! | version | since | what changed |
//! |---|---|---|
//! | 1 | 0.1.0 | the first |

mod header;
mod layer;
mod writer;

pub use header::{Header, PreprocessingRecord, SegmentRecord, arena_bytes, crc};
pub use layer::{LayerRecord, NONE, Operator, Packing, flags};
pub use writer::Writer;

/// The first eight bytes: not text, no line end that a transfer could change.
pub const MAGIC: [u8; 8] = *b"\x89BROOK\r\n";

/// The format's version.
pub const VERSION: u16 = 1;

/// Largest number of layers in a segment: the session holds a counter for each.
pub const MAX_SEGMENT_LAYERS: usize = 64;

/// Largest number of tensors that live on from one segment to the next.
pub const MAX_CARRIED: usize = 4;

/// Alignment of weights in the file, in bytes.
pub const WEIGHTS_ALIGN: usize = 16;
