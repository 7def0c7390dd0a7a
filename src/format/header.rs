//! The fixed records at the start of the file.

use zerocopy::little_endian::{F32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{MAGIC, VERSION};

/// The first 64 bytes.
///
/// ```text
///  0  magic 8                          8  version 2   10  reserved 2
/// 12  length 4                        16  crc 4: CRC-32/ISO-HDLC of the bytes from 20 on
/// 20  arena_bytes 4
/// 24  segments_offset 4               28  segment_count 2   30  layer_count 2
/// 32  layers_offset 4                 36  logits 2          38  output 2
/// 40  names_offset 4                  44  names_bytes 4
/// 48  labels_offset 4                 52  labels_bytes 4
/// 56  preprocessing_offset 4          60  self_test_offset 4
/// ```
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U16,
    /// Zero.
    pub reserved: U16,
    /// Number of bytes of the file.
    pub length: U32,
    /// [`crc()`] of the bytes from 20 on.
    pub crc: U32,
    /// Number of bytes of the arena, for rows and scratch memory.
    pub arena_bytes: U32,
    /// Offset of the segments.
    pub segments_offset: U32,
    /// Number of segments.
    pub segment_count: U16,
    /// Number of layers, including the input.
    pub layer_count: U16,
    /// Offset of the layers; a multiple of 4.
    pub layers_offset: U32,
    /// The layer that makes the logits.
    pub logits: U16,
    /// The last layer: the logits, or a softmax of them.
    pub output: U16,
    /// Offset of the names.
    pub names_offset: U32,
    /// Number of bytes of all names.
    pub names_bytes: U32,
    /// Offset of the labels.
    pub labels_offset: U32,
    /// Number of bytes of all labels; 0 if there are none.
    pub labels_bytes: U32,
    /// Offset of the preprocessing record; 0 if there is none.
    pub preprocessing_offset: U32,
    /// Offset of the [test images](super::SelfTestRecord); 0 if there are none.
    pub self_test_offset: U32,
}

/// A segment: layers `first_layer` to `first_layer + layer_count − 1`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SegmentRecord {
    /// The first of its layers.
    pub first_layer: U16,
    /// Number of layers; at most [`MAX_SEGMENT_LAYERS`](super::MAX_SEGMENT_LAYERS).
    pub layer_count: U16,
}

/// How an image becomes the network's rows, for tools that read image files.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PreprocessingRecord {
    /// Pixels of the shorter side after resizing, at most [`MAX_RESIZE`](Self::MAX_RESIZE); if
    /// `settings` gives the number of columns, this is the number of rows. 0: not resized.
    pub resize: U16,
    /// Number of rows cut out of the centre; 0: not cropped.
    pub crop_rows: U16,
    /// Number of columns cut out of the centre.
    pub crop_columns: U16,
    /// Bit 0: `mean` and `std` were given; otherwise the network takes raw values 0…255. Bits 1 to
    /// 15: number of columns after resizing to a size with another aspect ratio, at most
    /// [`MAX_RESIZE`](Self::MAX_RESIZE); 0 if the aspect ratio is kept.
    pub settings: U16,
    /// Mean of each channel, for pixels in 0…1.
    pub mean: [F32; 3],
    /// Standard deviation of each channel, for pixels in 0…1.
    pub std: [F32; 3],
}

impl PreprocessingRecord {
    /// Largest side after resizing, because images are resized in memory.
    pub const MAX_RESIZE: u16 = 4096;

    /// Whether `mean` and `std` were given.
    pub fn is_normalized(&self) -> bool {
        self.settings.get() & 1 != 0
    }

    /// Number of columns after resizing; 0 if the aspect ratio is kept.
    pub fn resize_columns(&self) -> u16 {
        self.settings.get() >> 1
    }

    /// Whether all values are in their ranges.
    pub(crate) fn is_valid(&self) -> bool {
        let in_range = |number: &F32| number.get().is_finite();
        self.resize.get() <= Self::MAX_RESIZE
            && (self.crop_rows.get() == 0) == (self.crop_columns.get() == 0)
            && self.resize_columns() <= Self::MAX_RESIZE
            && (self.resize_columns() == 0 || self.resize.get() != 0)
            && self.mean.iter().all(in_range)
            && self.std.iter().all(|std| in_range(std) && std.get() > 0.0)
    }
}

/// CRC-32/ISO-HDLC, the one of Ethernet, zip and PNG.
pub fn crc(bytes: &[u8]) -> u32 {
    crc_after(0, bytes)
}

/// The [CRC](crc()) of bytes of which the first part has the CRC `before`, and `bytes` are the
/// rest.
pub fn crc_after(before: u32, bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    // The register of a CRC holds its complement, and the initial value is given with its bits in
    // reverse order.
    let mut digest = CRC.digest_with_initial((!before).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// Number of bytes of the arena that the model in `file` needs, at compile time.
///
/// ```
/// use brooklet::{Arena, arena_bytes};
///
/// const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
/// static ARENA: Arena<{ arena_bytes(MODEL) }> = Arena::new();
/// assert_eq!(ARENA.len(), 720);
/// ```
///
/// # Panics
///
/// If `file` does not begin as a model file does. In a `const` this is a compile error.
pub const fn arena_bytes(file: &[u8]) -> usize {
    assert!(file.len() >= size_of::<Header>(), "this is not a brooklet model file: too short");
    let mut i = 0;
    while i < MAGIC.len() {
        assert!(file[i] == MAGIC[i], "this is not a brooklet model file: wrong first bytes");
        i += 1;
    }
    assert!(
        u16::from_le_bytes([file[8], file[9]]) == VERSION,
        "this model file has another format version: quantize the network again"
    );
    u32::from_le_bytes([file[20], file[21], file[22], file[23]]) as usize
}
