//! Writes a model file into a buffer: the counterpart of [`Model::parse`](crate::Model::parse).

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::{Header, LayerRecord, MAGIC, SegmentRecord, VERSION, crc};

/// Appends the parts of a file to a buffer, and writes the header before them.
///
/// All methods return `None` if the buffer is too short.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    header: Header,
    /// The offset of the room for the tables, unless they come last.
    tables: Option<usize>,
}

impl<'a> Writer<'a> {
    /// A writer that fills `buffer` from its start, after leaving room for the header.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        let mut header: Header = zerocopy::FromZeros::new_zeroed();
        header.magic = MAGIC;
        header.version = U16::new(VERSION);
        Self { buffer, length: size_of::<Header>(), header, tables: None }
    }

    /// The header, to set what does not follow from the parts: `arena_bytes`, `logits`, `output`.
    pub fn header(&mut self) -> &mut Header {
        &mut self.header
    }

    /// Appends `bytes` at the next multiple of `align`, and returns their offset.
    pub fn append(&mut self, bytes: &[u8], align: usize) -> Option<U32> {
        let start = self.length.checked_next_multiple_of(align)?;
        let end = start.checked_add(bytes.len())?;
        self.buffer.get_mut(self.length..start)?.fill(0);
        self.buffer.get_mut(start..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(U32::new(u32::try_from(start).ok()?))
    }

    /// Makes room for the tables here, for files whose weights come last.
    ///
    /// Otherwise [`finish`](Self::finish) appends them.
    pub fn tables(&mut self, segments: usize, layers: usize) -> Option<()> {
        let start = self.length.checked_next_multiple_of(4)?;
        let segments = segments.checked_mul(size_of::<SegmentRecord>())?;
        let layers = layers.checked_mul(size_of::<LayerRecord>())?;
        let end = start.checked_add(segments)?.checked_add(layers)?;
        self.buffer.get_mut(self.length..end)?.fill(0);
        (self.tables, self.length) = (Some(start), end);
        Some(())
    }

    /// Writes the tables and the header, and returns the number of bytes of the file.
    pub fn finish(mut self, segments: &[SegmentRecord], layers: &[LayerRecord]) -> Option<usize> {
        let end = self.length;
        self.length = self.tables.unwrap_or(end);
        self.header.segment_count = U16::new(u16::try_from(segments.len()).ok()?);
        self.header.layer_count = U16::new(u16::try_from(layers.len()).ok()?);
        self.header.segments_offset = self.append(segments.as_bytes(), 4)?;
        self.header.layers_offset = self.append(layers.as_bytes(), 4)?;
        self.length = self.length.max(end);
        self.header.length = U32::new(u32::try_from(self.length).ok()?);
        self.buffer.get_mut(..size_of::<Header>())?.copy_from_slice(self.header.as_bytes());
        seal(self.buffer.get_mut(..self.length)?)?;
        Some(self.length)
    }
}

/// Writes the CRC of a file whose other bytes are final.
fn seal(file: &mut [u8]) -> Option<()> {
    let crc = crc(file.get(20..)?);
    file.get_mut(16..20)?.copy_from_slice(&crc.to_le_bytes());
    Some(())
}
