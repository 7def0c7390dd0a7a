//! The model file (`.brook`): the only contract between the tool and the board.
//!
//! All numbers are little-endian. Offsets count from the start of the file, except those of names,
//! which count from the start of the names. A file is used in place, in flash; nothing is copied to
//! RAM.
//!
//! ```text
//!          ┌───────────────────────────────────────────┐
//!        0 │ header                           64 bytes │ Header
//!          ├───────────────────────────────────────────┤
//!          │ segments          4 bytes for each        │ SegmentRecord
//!          ├───────────────────────────────────────────┤ multiple of 4
//!          │ layers           104 bytes for each        │ LayerRecord
//!          ├───────────────────────────────────────────┤
//!          │ names             UTF-8, end to end       │
//!          │ labels            UTF-8, a line a class   │
//!          │ preprocessing    32 bytes                 │ PreprocessingRecord
//!          │ test images      up to 4                  │ SelfTestRecord
//!          ├───────────────────────────────────────────┤
//!          │ weights           multiple of 16          │
//!          │ biases, mantissas int32, multiple of 4    │  in any order,
//!          │ shifts            int8                    │  as the layers say
//!          │ padding values    int8                    │
//!          │ tables            int32 or int8           │
//!          │ places            uint32, multiple of 4   │
//!          └───────────────────────────────────────────┘ length
//! ```
//!
//! Only the header has a fixed position. Layers may share parts, as long as all layers together
//! refer to no more bytes than the file has: checking a file then takes time in proportion to its
//! length. If one of the [`SHARED_WITHIN`] layers before a convolution has the same weights, they
//! do not count for it, so a block that runs several times is stored once. Bytes to which no part
//! refers are padding, and mean nothing.
//!
//! # Layers and tensors
//!
//! Layer *i* makes tensor *i*, and reads tensors with smaller indices. Layer 0 is the input. A
//! tensor is made and used row by row, and each of its rows has its own *place* in the arena: an
//! offset in bytes, a multiple of 16 ([`ARENA_ALIGN`](crate::ARENA_ALIGN)). Rows that are not
//! needed at the same time can share a place, even if they belong to different tensors. A row that
//! an add or join makes may have the place of the shortcut's row, which is then updated in place. A
//! *segment* is a series of consecutive layers that pass rows to each other; segments run one after
//! the other. The module [`schedule`](crate::schedule) specifies how they run, and
//! [`ops`](crate::ops) what each operator computes.
//!
//! ```text
//! tensor 3      row 0   row 1   row 2   row 3   row 4
//! places         512    1024     512    1024    2048     the fifth comes when tensor 1 is done
//! ```
//!
//! The values of a tensor are int8, or int16 if a layer's [flags] say so. Int16 values are in the
//! byte order of the machine, in rows with twice the number of bytes; they do not occur in files.
//!
//! # Weights
//!
//! Weights are output channels × kernel rows × kernel columns × input channels (OHWI) values, int8
//! in [-127, 127] or integers of [three to six bits](Packing::unpacked), in one of the orders of
//! [`Packing`]. A bias is the network's bias minus `Σ zero_point · weight`, so that kernels
//! multiply raw int8 values.
//!
//! # A file in full
//!
//! A network of two layers: the input, 1×1 pixel of one channel, and a 1×1 convolution that
//! multiplies by 2 · 2⁻¹. The test `tests/it/format.rs` reads these bytes from here and parses
//! them.
//!
//! ```text
#![doc = include_str!("example.hex")]
//! ```
//!
//! # Compatibility
//!
//! `version` counts changes that an older reader would misread; a reader accepts only its own
//! version ([`VERSION`]). Reserved fields must be zero, and are checked. A reserved field can get a
//! meaning without a new version only if ignoring it is harmless, which has happened nowhere so
//! far. Operators and packings may be added under the same version: a reader that does not know one
//! refuses the file and names it. A check can become stricter under the same version if no tool of
//! brooklet has written files that it refuses: unused fields that are not zero, unlimited sharing
//! of parts between layers, and preprocessing records out of range were refused in this way.
//!
//! Test images were added under version 2. Their offset was a reserved field before: an older
//! reader refuses a file with test images, and reads every other file. A reader without the feature
//! `self-test` ignores them, which is harmless.
//!
//! The weights of [`Packing::Vectors`] got another order under version 2, and this packing and its
//! forms in fewer bits got other numbers. The former numbers are refused, as older readers refuse the
//! new ones.
//!
//! The flag [`ON_DEMAND`](flags::ON_DEMAND) was added under version 2, too. An older reader refuses a
//! file with it, and this reader runs files without it in the same order as older ones.
//!
//! | version | since | what changed |
//! |---|---|---|
//! | 1 | 0.1.0 | the first |
//! | 2 | 0.1.0 | records hold derived values; no Winograd in one dimension; packings have other numbers |

mod header;
mod layer;
mod layout;
mod packed;
mod packing;
mod planes;
mod self_test;
mod tables;
mod tiles;
mod unpack;
mod writer;

pub use header::{Header, PreprocessingRecord, SegmentRecord, arena_bytes, crc, crc_after};
pub use layer::{LayerRecord, NONE, Operator, flags};
pub use packing::{
    EIGHT, MAX_STEP_ROWS, Packing, SIDE_BY_SIDE, TILE_ROWS, VECTOR, VECTOR_CHANNELS,
};
pub(crate) use planes::unpack;
pub use self_test::{MAX_TEST_IMAGES, SelfTestRecord};
pub use tiles::{TILE_KERNEL, TILE_TRANSFORM};
pub use writer::Writer;

/// The first eight bytes: they are not text, and contain no line end that a transfer could change.
pub const MAGIC: [u8; 8] = *b"\x89BROOK\r\n";

/// The format's version.
pub const VERSION: u16 = 2;

/// Largest number of layers in a segment, because a session holds a counter for each.
pub const MAX_SEGMENT_LAYERS: usize = 64;

/// Number of layers before a convolution among which one with the same weights is looked for.
///
/// What is known about these weights is not computed again.
pub const SHARED_WITHIN: usize = 64;

/// Alignment of weights in the file, in bytes.
pub const WEIGHTS_ALIGN: usize = 16;
