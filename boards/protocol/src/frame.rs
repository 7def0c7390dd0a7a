//! Frames: messages with a checksum, and the boundaries between them.

use crc::{CRC_16_IBM_SDLC, Crc};
use postcard::{de_flavors, ser_flavors};
use serde::{Deserialize, Serialize};

/// The checksum of a frame. Its table is small enough for any flash.
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// The end of a frame.
const END: u8 = 0;

/// Writes `message` as a frame, stuffed and terminated, and returns the bytes to send.
///
/// Fails if `buffer` is too short. [`ANSWER_BYTES`](crate::ANSWER_BYTES) is enough for every
/// answer, [`request_bytes`](crate::request_bytes) for a request.
pub fn encode<'b, M: Serialize>(
    message: &M,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], EncodeError> {
    use ser_flavors::{Cobs, Slice, crc::CrcModifier};
    let stuffed = Cobs::try_new(Slice::new(buffer)).map_err(|_| EncodeError)?;
    let checked = CrcModifier::new(stuffed, CRC.digest());
    let bytes = postcard::serialize_with_flavor(message, checked).map_err(|_| EncodeError)?;
    Ok(bytes)
}

/// Reads the message of a frame that [`Frames`] has separated. Unstuffs in place; the message
/// borrows from the frame.
pub fn decode<'f, M: Deserialize<'f>>(frame: &'f mut [u8]) -> Result<M, FrameError> {
    let length = cobs::decode_in_place(frame).map_err(|_| FrameError::Garbled)?;
    let bytes = frame.get(..length).ok_or(FrameError::Garbled)?;
    de_flavors::crc::from_bytes_u16(bytes, CRC.digest()).map_err(|_| FrameError::Garbled)
}

/// The message does not fit into the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError;

/// What was received is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Its stuffing, checksum or contents are wrong.
    Garbled,
    /// It is longer than the receiver's memory.
    TooLong,
}

/// Separates received bytes into frames, in memory that the receiver chooses.
///
/// ```
/// use brooklet_protocol::{Frames, Request, decode, encode};
///
/// let mut buffer = [0; 64];
/// let sent = encode(&Request::Identify, &mut buffer).unwrap();
///
/// let mut frames = Frames::new([0; 64]);
/// for &byte in sent {
///     if let Some(frame) = frames.push(byte) {
///         assert_eq!(decode(frame.unwrap()), Ok(Request::Identify));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Frames<M> {
    memory: M,
    /// Number of bytes of the current frame, including those without room.
    length: usize,
}

impl<M: AsMut<[u8]>> Frames<M> {
    /// The state before the first byte.
    pub const fn new(memory: M) -> Self {
        Self { memory, length: 0 }
    }

    /// Bytes `range` of the last frame, as [`decode`] left them; valid until the next byte is
    /// taken.
    pub fn last(&mut self, range: core::ops::Range<usize>) -> &[u8] {
        self.memory.as_mut().get(range).unwrap_or_default()
    }

    /// Takes one byte. If the byte ends a frame, returns the frame, still stuffed but without its
    /// final zero. Empty frames are skipped.
    pub fn push(&mut self, byte: u8) -> Option<Result<&mut [u8], FrameError>> {
        let memory = self.memory.as_mut();
        if byte != END {
            if let Some(place) = memory.get_mut(self.length) {
                *place = byte;
            }
            self.length = self.length.saturating_add(1);
            return None;
        }
        match core::mem::take(&mut self.length) {
            0 => None,
            length => Some(memory.get_mut(..length).ok_or(FrameError::TooLong)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ANSWER_BYTES, Fault, Identity, LAYERS_PER_PAGE, ProfilePage, REASON_BYTES, Request,
        Response, VALUES_PER_PAGE, ValuesPage, request_bytes,
    };
    use std::vec::Vec as Bytes;

    /// Number of bytes of the longest row that these tests send.
    const ROW_BYTES: usize = 1024;

    fn frame<M: Serialize>(message: &M) -> Bytes<u8> {
        encode(message, &mut [0; request_bytes(ROW_BYTES)]).expect("fits").to_vec()
    }

    fn answer(response: &Response<'_>) {
        assert!(encode(response, &mut [0; ANSWER_BYTES]).is_ok(), "{response:?}");
    }

    /// Feeds bytes, and returns for each frame a request's debug text or an error.
    fn receive(bytes: &[u8]) -> Bytes<Result<std::string::String, FrameError>> {
        let mut frames = Frames::new([0; request_bytes(ROW_BYTES)]);
        let mut out = Bytes::new();
        for &byte in bytes {
            if let Some(frame) = frames.push(byte) {
                out.push(
                    frame.and_then(|f| decode::<Request<'_>>(f).map(|r| std::format!("{r:?}"))),
                );
            }
        }
        out
    }

    #[test]
    fn the_longest_messages_fit_a_frame() {
        for fill in [0, 1, 255] {
            for bytes in [0, 1, 96, 253, 254, 255, 672, ROW_BYTES] {
                let row = Request::Row { y: u16::MAX, pixels: &std::vec![fill; bytes] };
                assert!(encode(&row, &mut std::vec![0; request_bytes(bytes)]).is_ok(), "{bytes}");
            }
            let values = [fill; VALUES_PER_PAGE];
            let (count, first) = (u32::MAX, u32::MAX);
            answer(&Response::Values(ValuesPage { count, first, values: &values }));
        }
        answer(&Response::Profile(ProfilePage {
            total: u64::MAX,
            stack_bytes: u32::MAX,
            layers: u16::MAX,
            first: u16::MAX,
            counts: core::iter::repeat_n(u64::MAX, LAYERS_PER_PAGE).collect(),
        }));
        answer(&Response::Failed(Fault::Model { reason: &"x".repeat(REASON_BYTES) }));
        let name = "a name of thirty-two characters!";
        answer(&Response::Identity(Identity {
            protocol: u16::MAX,
            board: name,
            core: name,
            backend: name,
            firmware: name,
            slot_bytes: u32::MAX,
            arena_bytes: u32::MAX,
            row_bytes: u32::MAX,
            unit: crate::Unit::Microseconds,
            check_count: u64::MAX,
        }));
    }

    #[test]
    fn a_message_survives_the_way() {
        let pixels: Bytes<u8> = (0..=255).collect();
        let row = Request::Row { y: 7, pixels: &pixels };
        let mut bytes = frame(&row);
        assert_eq!(bytes.pop(), Some(END));
        assert!(!bytes.contains(&END));
        assert_eq!(decode::<Request<'_>>(&mut bytes), Ok(row));
    }

    #[test]
    fn the_encoding_is_pinned() {
        // A change of these bytes is a change of the protocol: raise `VERSION`.
        assert_eq!(frame(&Request::Identify), [1, 3, 0x78, 0xf0, 0]);
        assert_eq!(frame(&Request::Row { y: 2, pixels: &[9, 0] })[..5], [5, 2, 2, 2, 9]);
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let good = frame(&Request::Row { y: 3, pixels: &[1, 2, 3, 0, 5, 6] });
        for at in 0..good.len() - 1 {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                for got in receive(&bad) {
                    assert_eq!(got, Err(FrameError::Garbled), "byte {at} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn the_thread_is_found_again() {
        let mut bytes = std::vec![1, 2, 3, 0]; // noise
        bytes.extend(std::vec![7; 3 * ROW_BYTES]); // far too long
        bytes.push(0);
        bytes.extend([0, 0]); // empty frames say nothing
        bytes.extend(frame(&Request::Check));
        assert_eq!(
            receive(&bytes),
            [Err(FrameError::Garbled), Err(FrameError::TooLong), Ok("Check".into())]
        );
    }
}
