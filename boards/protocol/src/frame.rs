//! Frames: messages, their checksum, and where one ends and the next begins.

use crc::{CRC_16_IBM_SDLC, Crc};
use heapless::Vec;
use postcard::{de_flavors, ser_flavors};
use serde::{Deserialize, Serialize};

use crate::FRAME_BYTES;

/// The checksum of a frame. Its table is small enough for any flash.
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// The end of a frame.
const END: u8 = 0;

/// Writes `message` as a frame, stuffed and ended, and returns the bytes to send.
///
/// Fails if `buffer` is too short; [`FRAME_BYTES`] is enough for every message.
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

/// Reads the message of a frame that [`Frames`] has cut out. Unstuffs in place; the message
/// borrows from the frame.
pub fn decode<'f, M: Deserialize<'f>>(frame: &'f mut [u8]) -> Result<M, FrameError> {
    let length = cobs::decode_in_place(frame).map_err(|_| FrameError::Garbled)?;
    let bytes = frame.get(..length).ok_or(FrameError::Garbled)?;
    de_flavors::crc::from_bytes_u16(bytes, CRC.digest()).map_err(|_| FrameError::Garbled)
}

/// The message does not fit the buffer that it was to be written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError;

/// What was received is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Its stuffing, checksum or contents are wrong.
    Garbled,
    /// It is longer than any message.
    TooLong,
}

/// Cuts received bytes into frames.
///
/// ```
/// use brooklet_protocol::{Frames, Request, decode, encode};
///
/// let mut buffer = [0; 64];
/// let sent = encode(&Request::Identify, &mut buffer).unwrap();
///
/// let mut frames = Frames::new();
/// for &byte in sent {
///     if let Some(frame) = frames.push(byte) {
///         assert_eq!(decode(frame.unwrap()), Ok(Request::Identify));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8, FRAME_BYTES>,
    /// A frame has ended, and its bytes are dropped when the next one begins.
    ended: bool,
    /// The frame under way is too long; the rest of it is ignored.
    too_long: bool,
}

impl Frames {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ended: false, too_long: false }
    }

    /// Takes one byte. Returns a frame, still stuffed but without its final zero, when the
    /// byte ends one. Empty frames are passed over.
    pub fn push(&mut self, byte: u8) -> Option<Result<&mut [u8], FrameError>> {
        if self.ended {
            self.bytes.clear();
            self.ended = false;
            self.too_long = false;
        }
        if byte != END {
            self.too_long |= self.bytes.push(byte).is_err();
            return None;
        }
        self.ended = true;
        if self.too_long {
            Some(Err(FrameError::TooLong))
        } else if self.bytes.is_empty() {
            None
        } else {
            Some(Ok(&mut self.bytes))
        }
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Fault, LAYERS_PER_PAGE, LOGITS_PER_PAGE, LogitsPage, ProfilePage, ROW_BYTES, Request,
        Response,
    };
    use std::vec::Vec as Bytes;

    fn frame<M: Serialize>(message: &M) -> Bytes<u8> {
        encode(message, &mut [0; FRAME_BYTES]).expect("fits").to_vec()
    }

    /// Feeds bytes; what comes out of each frame, as a request's debug text or an error.
    fn receive(bytes: &[u8]) -> Bytes<Result<std::string::String, FrameError>> {
        let mut frames = Frames::new();
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
            let pixels = [fill; ROW_BYTES];
            frame(&Request::Row { y: u16::MAX, pixels: &pixels });
            let values = [fill; LOGITS_PER_PAGE];
            frame(&Response::Logits(LogitsPage {
                classes: u16::MAX,
                first: u16::MAX,
                logits: &values,
                output: &values,
            }));
        }
        frame(&Response::Profile(ProfilePage {
            instructions: u64::MAX,
            stack_bytes: u32::MAX,
            layers: u16::MAX,
            first: u16::MAX,
            counts: core::iter::repeat_n(u64::MAX, LAYERS_PER_PAGE).collect(),
        }));
        let reason = "x".repeat(512);
        frame(&Response::Failed(Fault::Model { reason: &reason }));
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
        // Changing these bytes is changing the protocol: raise `VERSION`.
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
        bytes.extend(std::vec![7; 3 * FRAME_BYTES]); // far too long
        bytes.push(0);
        bytes.extend([0, 0]); // empty frames say nothing
        bytes.extend(frame(&Request::Check));
        assert_eq!(
            receive(&bytes),
            [Err(FrameError::Garbled), Err(FrameError::TooLong), Ok("Check".into())]
        );
    }
}
