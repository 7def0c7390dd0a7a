//! Test images in a model file, with the results that it must give.

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Largest number of test images in a file.
pub const MAX_TEST_IMAGES: usize = 4;

/// The head of the test images, which follow it one after the other.
///
/// ```text
/// 0  count 2: 1 to 4       2  reserved 2
///    ┌─────────────────────┬────────┬────────┬─────────────────────┬─────
/// 4  │ image 0             │ logits │ output │ image 1             │ …
///    └─────────────────────┴────────┴────────┴─────────────────────┴─────
///      rows × columns ×      the rows of the   likewise of the output layer;
///      channels bytes, as    logits' layer     none if that is the logits' layer
///      they are pushed
/// ```
///
/// The numbers of bytes follow from the layers. Logits and output are int8, or little-endian int16
/// if their layer's output is int16.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SelfTestRecord {
    /// Number of test images, from 1 to [`MAX_TEST_IMAGES`].
    pub count: U16,
    /// Zero.
    pub reserved: U16,
}
