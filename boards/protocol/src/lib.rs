//! What a host and a board running brooklet say to each other over a serial link.
//!
//! The host asks, the board answers: one [`Response`] for each [`Request`], in order. Both
//! ends of the link are built from this crate, so they cannot drift apart unnoticed; a host
//! that meets an older firmware learns it from [`Identity::protocol`], whose place in the
//! encoding never changes.
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
//! A frame is a message in [postcard](https://postcard.jamesmunns.com)'s encoding, followed
//! by its CRC-16 (IBM-SDLC, little-endian), stuffed by COBS and ended by a zero byte. A zero
//! occurs nowhere else, so whoever lost the thread finds it again at the next zero. What is
//! no message (noise, a damaged frame, one that is too long) is answered with
//! [`Fault::Garbled`] or [`Fault::FrameTooLong`], never with silence. An empty frame is
//! ignored: a host may send a zero first to flush what the line held.
//!
//! A request is as long as the board's longest row ([`Identity::row_bytes`], [`request_bytes`]);
//! an answer never exceeds [`ANSWER_BYTES`], what is longer comes in pages.
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

/// The version of this protocol. A board answers requests of its own version only.
pub const VERSION: u16 = 7;

/// Values in one [`ValuesPage`].
pub const VALUES_PER_PAGE: usize = 192;

/// Layers in one [`ProfilePage`].
pub const LAYERS_PER_PAGE: usize = 16;

/// The longest [`Fault::Model::reason`]; a longer one is cut.
pub const REASON_BYTES: usize = 192;

/// Room for the frame of any answer. All answers are short, so that a board with little RAM
/// can make them.
pub const ANSWER_BYTES: usize = 224;

/// Room for the frame of any request to a board that takes rows of up to `row_bytes`: tag,
/// two numbers, checksum, final zero, and one byte in 254 for COBS.
pub const fn request_bytes(row_bytes: usize) -> usize {
    row_bytes + row_bytes / 254 + 16
}

/// Room for the longest part of an update in a request to a board that takes rows of up to `row_bytes`,
/// in multiples of `unit`: a part has no more bytes than a row, and a number more that is four bytes.
pub const fn part_bytes(row_bytes: usize, unit: usize) -> usize {
    row_bytes.saturating_sub(4) / unit * unit
}

/// Bytes that may come while a board that takes such rows is busy: a host waits for the answer
/// before it sends the next request, and sends a zero before each.
pub const fn line_bytes(row_bytes: usize) -> usize {
    request_bytes(row_bytes) + 1
}
