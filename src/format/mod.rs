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
//! Only the header's place is fixed. Parts may be shared by layers, as far as all layers together
//! name no more bytes than the file has: so checking it takes time in proportion to its length.
//! Convolutions whose weights an earlier one has, at most [`SHARED_WITHIN`] layers before, name none: so
//! a block that runs several times is stored once.
//! Bytes that no part names are padding and mean nothing.
//!
//! # Layers and tensors
//!
//! Layer *i* makes tensor *i*, and reads tensors of smaller numbers. Layer 0 is the input.
//! A tensor is made and used row by row, and each of its rows has its own *place* in the arena:
//! an offset in bytes, a multiple of 16 ([`ARENA_ALIGN`](crate::ARENA_ALIGN)). Rows that are not needed at one time share
//! places, whatever tensors they belong to. A row that an add or join makes may have the place
//! of the shortcut's row: it is then updated in place. A *segment* is a run of layers that
//! stream rows through each other; segments run one after the other. How they run is specified
//! in [`schedule`](crate::schedule), what each operator computes in [`ops`](crate::ops).
//!
//! ```text
//! tensor 3      row 0   row 1   row 2   row 3   row 4
//! places         512    1024     512    1024    2048     the fifth comes when tensor 1 is done
//! ```
//!
//! The numbers of a tensor are int8, or int16 where a layer's [flags] say so: in the machine's byte
//! order, in rows of twice the bytes. No file holds any.
//!
//! # Weights
//!
//! Output × kernel rows × kernel columns × input channels (OHWI) numbers of int8 in
//! [-127, 127], or of [three to six bits](Packing::unpacked), in one of the orders of [`Packing`]. A bias
//! holds, besides the network's bias, `-Σ zero_point · weight`, so that kernels multiply raw int8
//! values.
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
//! one refuses the file and names it. A check can become stricter under the same version where no
//! tool of brooklet has written what it refuses: unused fields that are not zero, parts that layers
//! share without bound, a preprocessing record out of range.
//!
//! Test images came under version 2. Their offset was a reserved field: a reader from before them
//! refuses a file that has some, and reads every other file. A reader that is built without the
//! feature `self-test` does not look at them, which is harmless.
//!
//! | version | since | what changed |
//! |---|---|---|
//! | 1 | 0.1.0 | the first |
//! | 2 | 0.1.0 | layers say what follows from them; no Winograd in one dimension, packings have other numbers |

mod header;
mod layer;
mod layout;
mod packing;
mod planes;
mod self_test;
mod tables;
mod tiles;
mod unpack;
mod writer;

pub use header::{Header, PreprocessingRecord, SegmentRecord, arena_bytes, crc, crc_after};
pub use layer::{LayerRecord, NONE, Operator, flags};
pub use packing::{EIGHT, Packing, SIDE_BY_SIDE, TILE_ROWS, VECTOR, VECTOR_CHANNELS};
pub(crate) use planes::unpack;
pub use self_test::{MAX_TEST_IMAGES, SelfTestRecord};
pub use tiles::{TILE_KERNEL, TILE_TRANSFORM};
pub use writer::Writer;

/// The first eight bytes: not text, no line end that a transfer could change.
pub const MAGIC: [u8; 8] = *b"\x89BROOK\r\n";

/// The format's version.
pub const VERSION: u16 = 2;

/// Largest number of layers in a segment: the session holds a counter for each.
pub const MAX_SEGMENT_LAYERS: usize = 64;

/// How many layers before a convolution one is looked for that has the same weights: what was found
/// of them is not looked for again.
pub const SHARED_WITHIN: usize = 64;

/// Alignment of weights in the file, in bytes.
pub const WEIGHTS_ALIGN: usize = 16;
