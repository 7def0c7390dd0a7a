//! Reads the model file again while it is in use, because flash can change after start-up.

use core::hint::black_box;

use zerocopy::FromBytes;

use crate::format::{self, Header, MAGIC, VERSION};
use crate::proved::proved;

/// What [`Session::verify_weights`](crate::Session::verify_weights) knows about the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verification {
    /// The pass has not reached the end of the file.
    InProgress {
        /// Number of bytes of the file that this pass has read, from its start.
        bytes: usize,
    },
    /// A pass ended, and the file is the one that the session was made for. The next call begins
    /// another pass.
    Verified,
    /// A pass ended: the file changed since the session was made, so no result of it can be
    /// trusted. The next call begins another pass.
    Corrupt,
}

/// Number of bytes of a header that its checksum does not cover: they are compared one by one.
const BEFORE_CRC: u32 = 20;

/// How far a pass over the file has come.
#[derive(Debug, Clone)]
pub struct Scrub {
    /// The file's checksum when the session was made.
    expected: u32,
    /// The checksum of the bytes read so far.
    crc: u32,
    /// Number of bytes of the file read so far.
    bytes: u32,
}

impl Scrub {
    /// The state before the first pass over a file with this header.
    pub(crate) fn new(header: &Header) -> Self {
        Self { expected: header.crc.get(), crc: 0, bytes: BEFORE_CRC }
    }

    /// Drops the unfinished pass.
    pub(crate) fn restart(&mut self) {
        (self.crc, self.bytes) = (0, BEFORE_CRC);
    }

    /// Reads up to `budget` further bytes of the file.
    pub(crate) fn advance(&mut self, file: &[u8], budget: usize) -> Verification {
        // Forces the compiler to read again what it may have seen before.
        let file = black_box(file);
        let left = proved!(file.get(self.bytes as usize..)).unwrap_or(&[]);
        let piece = left.get(..budget).unwrap_or(left);
        self.crc = format::crc_after(self.crc, piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u32);
        if piece.len() < left.len() {
            return Verification::InProgress { bytes: self.bytes as usize };
        }
        let header = Header::ref_from_prefix(file)
            .is_ok_and(|(header, _)| self.is_the_same(header, file.len()));
        self.end(header)
    }

    /// As [`advance`](Self::advance), for a file that `read` copies from an offset on. `checked` is
    /// its header when it was checked. Bytes that cannot be read count as changed.
    #[cfg(feature = "weights-window")]
    pub(crate) fn advance_by(
        &mut self,
        checked: &Header,
        budget: usize,
        mut read: impl FnMut(u32, &mut [u8]) -> bool,
    ) -> Verification {
        use zerocopy::{FromZeros, IntoBytes};
        let length = checked.length.get();
        let end = self.bytes.saturating_add(u32::try_from(budget).unwrap_or(u32::MAX)).min(length);
        let mut piece = [0; 64];
        while self.bytes < end {
            let there = piece.len().min((end - self.bytes) as usize);
            let piece = piece.get_mut(..there).unwrap_or_default();
            if !read(self.bytes, piece) {
                return self.end(false);
            }
            self.crc = format::crc_after(self.crc, piece);
            self.bytes += there as u32;
        }
        if end < length {
            return Verification::InProgress { bytes: self.bytes as usize };
        }
        let mut header = Header::new_zeroed();
        let there = read(0, header.as_mut_bytes());
        let same = there && self.is_the_same(&header, length as usize);
        self.end(same)
    }

    /// Whether a header is that of the file, which has `length` bytes.
    fn is_the_same(&self, header: &Header, length: usize) -> bool {
        header.magic == MAGIC
            && header.version.get() == VERSION
            && header.reserved.get() == 0
            && header.length.get() as usize == length
            && header.crc.get() == self.expected
    }

    /// Ends a pass; `header` says whether the header was the same.
    fn end(&mut self, header: bool) -> Verification {
        let same = header && self.crc == self.expected;
        self.restart();
        if same { Verification::Verified } else { Verification::Corrupt }
    }
}
