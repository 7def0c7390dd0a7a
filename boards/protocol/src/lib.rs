//! The messages between a host and a board running brooklet, over a serial link.
//!
//! The host asks, and the board answers: one [`Response`] for each [`Request`], in order. Both ends
//! of the link are built from this crate, so they cannot diverge unnoticed. A host that meets an
//! older firmware detects it by [`Identity::protocol`], whose position in the encoding never
//! changes.
//!
//! An image is sent row by row, as a camera would deliver it:
//!
//! ```text
//! host                              board
//! Identify                     ->
//!                              <-   Identity { protocol, board, core, … }
//! Check                        ->
//!                              <-   Loaded { rows, columns, arena_bytes, … }
//! Row { y: 0, pixels }         ->
//!                              <-   Accepted { rows: 1 }
//!   …                                 …
//! Row { y: 31, pixels }        ->
//!                              <-   Accepted { rows: 32 }
//! Logits { first: 0 }          ->
//!                              <-   Values { count: 10, first: 0, values }
//! Profile { first: 0 }         ->
//!                              <-   Profile { total, stack_bytes, layers, … }
//! ```
//!
//! # Frames
//!
//! A frame is a message in [postcard](https://postcard.jamesmunns.com)'s encoding, followed by its
//! CRC-16 (IBM-SDLC, little-endian), stuffed with COBS and terminated by a zero byte. A zero occurs
//! nowhere else, so a receiver that lost synchronization regains it at the next zero. If the bytes
//! are not a message (noise, a damaged frame, one that is too long), the board answers with
//! [`Fault::Garbled`] or [`Fault::FrameTooLong`], never with silence. An empty frame is ignored: a
//! host may send a zero first to flush what the line held.
//!
//! The length of a request depends on the board's longest row ([`Identity::row_bytes`],
//! [`request_bytes`]). An answer never exceeds [`ANSWER_BYTES`]; longer results come in pages.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod frame;
mod message;

pub use frame::{EncodeError, FrameError, Frames, decode, encode};
pub use message::{
    Accepted, Counts, Fault, Identity, LineErrors, Loaded, ProfilePage, Request, Response,
    SlotsState, SuiteFailure, Unit, ValuesPage,
};

/// The version of this protocol. A board answers only requests of its own version.
pub const VERSION: u16 = 9;

/// Number of value bytes in one [`ValuesPage`].
pub const VALUES_PER_PAGE: usize = 192;

/// Number of layers in one [`ProfilePage`].
pub const LAYERS_PER_PAGE: usize = 16;

/// Maximum length of [`Fault::Model::reason`]; a longer reason is truncated.
pub const REASON_BYTES: usize = 192;

/// Room for the frame of any answer. All answers are short, so that a board with little RAM can
/// make them.
pub const ANSWER_BYTES: usize = 224;

/// Room for the frame of any request to a board that accepts rows of up to `row_bytes`: tag, two
/// numbers, checksum, final zero, and one byte in 254 for COBS.
pub const fn request_bytes(row_bytes: usize) -> usize {
    row_bytes + row_bytes / 254 + 16
}

/// Number of bytes of the longest part of an update in a request to a board that accepts rows of up
/// to `row_bytes`, as a multiple of `unit`.
///
/// A request with a part is no longer than one with a row, and contains one more number of up to
/// four bytes.
pub const fn part_bytes(row_bytes: usize, unit: usize) -> usize {
    row_bytes.saturating_sub(4) / unit * unit
}

/// Number of bytes that may arrive while a board that accepts such rows is busy.
///
/// A host waits for the answer before it sends the next request, and sends a zero before each.
pub const fn line_bytes(row_bytes: usize) -> usize {
    request_bytes(row_bytes) + 1
}
