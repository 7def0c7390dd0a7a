//! The serial line: it keeps what arrives while nobody reads.
//!
//! While a step of the network runs, for milliseconds, nobody reads. A chip's UART holds a few
//! bytes, and loses the next. An interrupt therefore moves them into a [`Ring`] with room for a
//! request. Errors of the line are only counted: frames have a checksum, and the host is told about
//! a damaged one.

use core::convert::Infallible;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use brooklet_protocol::LineErrors;
use embedded_io::{ErrorType, Read, ReadReady, Write};
use heapless::spsc::{Consumer, Producer, Queue};

/// A line to the host.
pub trait Line: Read + ReadReady + Write {
    /// Number of bytes that it keeps while nobody reads. [`line_bytes`](crate::line_bytes) are
    /// enough.
    const KEEPS: usize;

    /// The errors so far.
    fn errors(&self) -> LineErrors;
}

impl<L: Line> Line for &mut L {
    const KEEPS: usize = L::KEEPS;

    fn errors(&self) -> LineErrors {
        (**self).errors()
    }
}

/// Why a UART has no byte, or a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Bytes before this one were lost.
    Overrun,
    /// The byte has no proper end or the wrong parity, or is a break.
    Framing,
}

/// Numbers of errors, written by an interrupt and read by the application.
#[derive(Debug, Default)]
struct Counts {
    overruns: AtomicU32,
    framing: AtomicU32,
    no_room: AtomicU32,
}

/// Adds one. There is one writer, so a load and a store suffice, which every core has.
fn count(counter: &AtomicU32) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Memory between the receiving interrupt and the application.
///
/// `ROOM` is the number of bytes that it keeps plus one, to distinguish full from empty.
#[derive(Debug)]
pub struct Ring<const ROOM: usize> {
    queue: Queue<u8, ROOM>,
    counts: Counts,
}

impl<const ROOM: usize> Ring<ROOM> {
    /// Empty.
    pub const fn new() -> Self {
        let counts = Counts {
            overruns: AtomicU32::new(0),
            framing: AtomicU32::new(0),
            no_room: AtomicU32::new(0),
        };
        Self { queue: Queue::new(), counts }
    }

    /// The interrupt's end, and the application's end, which sends with `sender`.
    pub fn split<S>(&mut self, sender: S) -> (Inlet<'_>, Buffered<'_, S, ROOM>) {
        let Self { queue, counts } = self;
        let (to, from) = queue.split();
        (Inlet { to, counts }, Buffered { from, counts, sender })
    }
}

impl<const ROOM: usize> Default for Ring<ROOM> {
    fn default() -> Self {
        Self::new()
    }
}

/// The interrupt's end of a [`Ring`].
pub struct Inlet<'r> {
    to: Producer<'r, u8>,
    counts: &'r Counts,
}

impl Inlet<'_> {
    /// Takes a byte from the UART. A wrong byte is left out; the checksum then rejects its frame.
    pub fn receive(&mut self, byte: u8) {
        if self.to.enqueue(byte).is_err() {
            count(&self.counts.no_room);
        }
    }

    /// Counts an error of the line.
    pub fn note(&mut self, bad: Bad) {
        match bad {
            Bad::Overrun => count(&self.counts.overruns),
            Bad::Framing => count(&self.counts.framing),
        }
    }
}

/// The application's end of a [`Ring`], which sends with `S`.
pub struct Buffered<'r, S, const ROOM: usize> {
    from: Consumer<'r, u8>,
    counts: &'r Counts,
    sender: S,
}

impl<S, const ROOM: usize> ErrorType for Buffered<'_, S, ROOM> {
    type Error = Infallible;
}

impl<S, const ROOM: usize> ReadReady for Buffered<'_, S, ROOM> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.from.ready())
    }
}

impl<S, const ROOM: usize> Read for Buffered<'_, S, ROOM> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        loop {
            if let Some(byte) = self.from.dequeue() {
                *first = byte;
                return Ok(1);
            }
            core::hint::spin_loop();
        }
    }
}

impl<S: Write, const ROOM: usize> Write for Buffered<'_, S, ROOM> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // If the sender fails, these bytes are lost: the host asks again.
        Ok(self.sender.write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        let _ = self.sender.flush();
        Ok(())
    }
}

impl<S: Write, const ROOM: usize> Line for Buffered<'_, S, ROOM> {
    const KEEPS: usize = ROOM - 1;

    fn errors(&self) -> LineErrors {
        let Counts { overruns, framing, no_room } = self.counts;
        LineErrors {
            overruns: overruns.load(Relaxed),
            framing: framing.load(Relaxed),
            no_room: no_room.load(Relaxed),
        }
    }
}
