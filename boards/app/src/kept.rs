//! Lines from the crates of chips: their interrupt or DMA keeps received bytes, and this module
//! makes a [`Line`] of them.

use core::convert::Infallible;

use brooklet_protocol::LineErrors;
use embassy_futures::block_on;
use embedded_io::{ErrorType, Read, ReadReady, Write};
use embedded_io_async as asynchronous;

use crate::line::{Bad, Line};

/// A line that keeps `ROOM` bytes.
///
/// Errors are only counted.
#[derive(Debug)]
pub struct Kept<L, F, const ROOM: usize> {
    line: L,
    sort: F,
    errors: LineErrors,
}

/// Distinguishes a chip's overrun error from all others.
pub fn overrun_is<E: PartialEq>(overrun: E) -> impl Fn(&E) -> Bad {
    move |error| if *error == overrun { Bad::Overrun } else { Bad::Framing }
}

impl<L: ErrorType, F: Fn(&L::Error) -> Bad, const ROOM: usize> Kept<L, F, ROOM> {
    /// The line that `make` makes with this memory for received bytes. `sort` classifies errors.
    pub fn new(
        room: &'static mut [u8; ROOM],
        make: impl FnOnce(&'static mut [u8]) -> L,
        sort: F,
    ) -> Self {
        Self { line: make(room), sort, errors: LineErrors::default() }
    }

    fn note(&mut self, error: &L::Error) {
        let count = match (self.sort)(error) {
            Bad::Overrun => &mut self.errors.overruns,
            Bad::Framing => &mut self.errors.framing,
        };
        *count = count.wrapping_add(1);
    }
}

impl<L: ErrorType, F, const ROOM: usize> ErrorType for Kept<L, F, ROOM> {
    type Error = Infallible;
}

impl<L: ReadReady, F, const ROOM: usize> ReadReady for Kept<L, F, ROOM> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        // An error counts as something to read.
        Ok(self.line.read_ready().unwrap_or(true))
    }
}

impl<L: Read, F: Fn(&L::Error) -> Bad, const ROOM: usize> Read for Kept<L, F, ROOM> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            match self.line.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) => self.note(&error),
            }
        }
    }
}

impl<L: Write, F, const ROOM: usize> Write for Kept<L, F, ROOM> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // Bytes that could not be sent are lost: the host asks again.
        Ok(self.line.write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        let _ = self.line.flush();
        Ok(())
    }
}

impl<L, F, const ROOM: usize> Line for Kept<L, F, ROOM>
where
    L: Read + ReadReady + Write,
    F: Fn(&L::Error) -> Bad,
{
    const KEEPS: usize = ROOM - 1;

    fn errors(&self) -> LineErrors {
        self.errors
    }
}

/// A line of embedded-io-async as a blocking line of embedded-io.
#[derive(Debug)]
pub struct Waiting<L>(pub L);

impl<L: ErrorType> ErrorType for Waiting<L> {
    type Error = L::Error;
}

impl<L: ReadReady> ReadReady for Waiting<L> {
    fn read_ready(&mut self) -> Result<bool, L::Error> {
        self.0.read_ready()
    }
}

impl<L: asynchronous::Read> Read for Waiting<L> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, L::Error> {
        block_on(self.0.read(buffer))
    }
}

impl<L: asynchronous::Write> Write for Waiting<L> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, L::Error> {
        block_on(self.0.write(bytes))
    }

    fn flush(&mut self) -> Result<(), L::Error> {
        block_on(self.0.flush())
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::task::Poll;
    use std::collections::VecDeque;
    use std::vec::Vec;

    use super::*;
    use crate::tests::End;

    /// Every second call finds it not ready; every fourth byte is an error.
    #[derive(Default)]
    struct Chip {
        asked: u32,
        received: VecDeque<u8>,
        sent: Vec<u8>,
    }

    impl Chip {
        async fn moment(&mut self) {
            poll_fn(|_| {
                self.asked += 1;
                if self.asked.is_multiple_of(2) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    impl ErrorType for Chip {
        type Error = End;
    }

    impl ReadReady for Chip {
        fn read_ready(&mut self) -> Result<bool, End> {
            Ok(!self.received.is_empty())
        }
    }

    impl asynchronous::Read for Chip {
        async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
            self.moment().await;
            match self.received.pop_front() {
                Some(byte) if byte % 4 == 3 => Err(End),
                Some(byte) => {
                    buffer[0] = byte;
                    Ok(1)
                }
                None => Ok(0),
            }
        }
    }

    impl asynchronous::Write for Chip {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, End> {
            self.moment().await;
            self.sent.push(bytes[0]);
            Ok(1)
        }

        async fn flush(&mut self) -> Result<(), End> {
            self.moment().await;
            Err(End)
        }
    }

    #[test]
    fn an_asynchronous_line_is_waited_for_and_its_errors_are_counted() {
        let chip = Chip { received: (0..10).collect(), ..Chip::default() };
        let room = std::boxed::Box::leak(std::boxed::Box::new([0; 8]));
        let mut line = Kept::new(room, |_| Waiting(chip), |_| Bad::Framing);
        let mut byte = [0];
        let mut read = Vec::new();
        while line.read_ready() == Ok(true) {
            assert_eq!(line.read(&mut byte), Ok(1));
            read.push(byte[0]);
        }
        assert_eq!(read, [0, 1, 2, 4, 5, 6, 8, 9]);
        assert_eq!(line.errors(), LineErrors { framing: 2, ..LineErrors::default() });
        line.write_all(&[7, 8, 9]).unwrap();
        assert_eq!(line.flush(), Ok(()));
        assert_eq!(line.line.0.sent, [7, 8, 9]);
        fn keeps<L: Line>(_: &L) -> usize {
            L::KEEPS
        }
        assert_eq!(keeps(&line), 7);
    }
}
