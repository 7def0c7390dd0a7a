//! What a host and a board running brooklet say to each other over a serial link.
//!
//! The host asks, the board answers: one [`Response`] for each [`Request`], in order. Both
//! ends of the link are built from this crate, so they cannot drift apart unnoticed; a host
//! that meets an older firmware learns it from [`Identity::protocol`], whose place in the
//! encoding never changes.
//!
//! A picture is sent row by row, as a camera would deliver it:
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
//!                              <-   Logits { classes: 10, first: 0, logits, output }
//! Profile { first: 0 }         ->
//!                              <-   Profile { instructions, stack_bytes, layers, … }
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
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod frame;
mod message;

pub use frame::{EncodeError, FrameError, Frames, decode, encode};
pub use message::{
    Accepted, Counts, Fault, Identity, Loaded, LogitsPage, ProfilePage, Request, Response,
};

/// The version of this protocol. A board answers requests of its own version only.
pub const VERSION: u16 = 1;

/// The longest row of pixels that one request can carry: 341 RGB pixels.
pub const ROW_BYTES: usize = 1024;

/// Values of logits, and of outputs, in one [`LogitsPage`].
pub const LOGITS_PER_PAGE: usize = 256;

/// Layers in one [`ProfilePage`].
pub const LAYERS_PER_PAGE: usize = 16;

/// Room for any frame, stuffed and with its final zero: a full row, two numbers and tags,
/// the checksum, and one byte in 254 for COBS.
pub const FRAME_BYTES: usize = ROW_BYTES + 64;
