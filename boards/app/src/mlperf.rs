//! The text protocol with which MLPerf Tiny's runner (EEMBC) drives a device under test.
//!
//! The application for this runner, instead of [`run`](crate::run). Commands end with `%`. Each is
//! answered with lines, the last of which is `m-ready`:
//!
//! ```text
//! runner                       board
//! name%                        m-name-dut-[brooklet qemu-mps2-an386]
//! profile%                     m-profile-[ULPMark for tinyML Firmware V0.0.1]
//!                              m-model-[ic01]
//! timestamp%                   m-lap-us-123
//! db load 3072%                m-[Expecting 3072 bytes]
//! db 3c3f…%                    m-load-done, with the last of them
//! infer 10 2%                  m-warmup-start-2, m-warmup-done, m-infer-start-10, m-lap-us-…,
//!                              m-lap-us-…, m-infer-done, m-results-[0.004,0.000,…]
//! results%                     m-results-[0.004,0.000,…]
//! ```
//!
//! A command that is not understood is answered with a line that begins with `e-`.

use core::convert::Infallible;
use core::fmt;

use brooklet::kernels::Backend;
use brooklet::{Error, Model, Session};
use brooklet_protocol::Unit;
use embedded_io::{Read, Write};
use heapless::Vec;

use crate::{About, Counter};

/// Maximum number of characters of a command, without its end, as in the runner's own firmware.
const COMMAND: usize = 80;

/// What a board's crate adds to [`About`].
#[derive(Clone, Copy, Debug)]
pub struct Benchmark {
    /// MLPerf Tiny's name of the model, such as `ic01`.
    pub model: &'static str,
    /// Clock frequency of the core.
    pub clock_hz: u32,
}

/// The device under test.
struct Device<'a, B, L, C> {
    link: L,
    counter: C,
    about: About<B>,
    benchmark: Benchmark,
    session: Result<Session<'a, 'a, B>, Error>,
    /// Room for an image. The image has `length` bytes, and `filled` of them are there.
    image: &'a mut [u8],
    length: usize,
    filled: usize,
    /// The count so far.
    counted: u64,
}

/// Runs a network as the runner asks, until the link fails. `image` has room for the runner's
/// image.
///
/// # Errors
///
/// The link's.
pub fn run<B: Backend + Copy, L: Read + Write, C: Counter>(
    link: L,
    counter: C,
    about: About<B>,
    benchmark: Benchmark,
    slot: &[u8],
    arena: &mut [u8],
    image: &mut [u8],
) -> Result<Infallible, L::Error> {
    let model = Model::parse(slot);
    let session = match &model {
        Ok(model) => Session::new(model, about.kernels, arena),
        Err(error) => Err(*error),
    };
    let (length, filled, counted) = (0, 0, 0);
    let mut device =
        Device { link, counter, about, benchmark, session, image, length, filled, counted };
    device.say(format_args!("m-init-done\r\nm-ready\r\n"))?;
    let mut command = Vec::<u8, COMMAND>::new();
    loop {
        let mut byte = [0];
        if device.link.read(&mut byte)? == 0 {
            continue;
        }
        match byte[0] {
            b'%' => {
                // Bytes that are not text are not a command.
                device.obey(str::from_utf8(&command).unwrap_or("?"))?;
                device.say(format_args!("m-ready\r\n"))?;
                command.clear();
            }
            // Line ends between commands are ignored.
            b'\r' | b'\n' => {}
            // A command that is too long is truncated, and therefore not understood.
            byte => drop(command.push(byte)),
        }
    }
}

impl<B: Backend, L: Read + Write, C: Counter> Device<'_, B, L, C> {
    fn say(&mut self, text: fmt::Arguments<'_>) -> Result<(), L::Error> {
        say(&mut self.link, text)?;
        self.link.flush()
    }

    fn obey(&mut self, command: &str) -> Result<(), L::Error> {
        let mut words = command.split_ascii_whitespace();
        let first = words.next().unwrap_or("");
        let [second, third] = [words.next(), words.next()];
        match (first, second) {
            ("name", _) => {
                let board = self.about.board;
                self.say(format_args!("m-name-dut-[brooklet {board}]\r\n"))
            }
            ("profile", _) => {
                let model = self.benchmark.model;
                self.say(format_args!("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\n"))?;
                self.say(format_args!("m-model-[{model}]\r\n"))
            }
            ("timestamp", _) => self.timestamp(),
            ("db", Some("load")) => self.load(third.and_then(|count| count.parse().ok())),
            ("db", Some(digits)) => self.fill(digits.as_bytes()),
            ("infer", _) => {
                let number =
                    |word: Option<&str>, usual| word.map_or(Some(usual), |w| w.parse().ok());
                match (number(second, 1), number(third, 10)) {
                    (Some(images @ 1..), Some(warm_up)) => self.infer(images, warm_up),
                    _ => self.say(format_args!("e-[infer takes numbers of images]\r\n")),
                }
            }
            ("results", _) => self.results(),
            _ => self.say(format_args!("e-[Unknown command: {first}]\r\n")),
        }
    }

    /// The count in microseconds; under QEMU an instruction takes a nanosecond.
    fn timestamp(&mut self) -> Result<(), L::Error> {
        let microseconds = match C::UNIT {
            Unit::Instructions => self.counted / 1_000,
            Unit::Microseconds => self.counted,
            Unit::Cycles => {
                let hz = u64::from(self.benchmark.clock_hz.max(1));
                self.counted / hz * 1_000_000 + self.counted % hz * 1_000_000 / hz
            }
        };
        self.say(format_args!("m-lap-us-{microseconds}\r\n"))
    }

    /// Starts an image.
    fn load(&mut self, bytes: Option<usize>) -> Result<(), L::Error> {
        let needed = match &self.session {
            Ok(session) => session.model().input().bytes(),
            Err(error) => {
                let error = *error;
                return self.say(format_args!("e-[no model that can run: {error}]\r\n"));
            }
        };
        match bytes {
            Some(bytes) if bytes == needed && bytes <= self.image.len() => {
                (self.length, self.filled) = (bytes, 0);
                self.say(format_args!("m-[Expecting {bytes} bytes]\r\n"))
            }
            _ => {
                let room = needed.min(self.image.len());
                self.say(format_args!(
                    "e-[an image has {needed} bytes, and there is room for {room}]\r\n"
                ))
            }
        }
    }

    /// Takes bytes of an image.
    fn fill(&mut self, digits: &[u8]) -> Result<(), L::Error> {
        let number = |digits: &[u8]| {
            let digits = str::from_utf8(digits).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(digits, 16).ok()
        };
        for pair in digits.chunks(2) {
            let place = self.image.get_mut(..self.length).and_then(|all| all.get_mut(self.filled));
            let (Some(byte), Some(place)) = (number(pair), place) else {
                return self.say(format_args!("e-[not a byte of an image]\r\n"));
            };
            *place = byte;
            self.filled += 1;
        }
        if self.filled == self.length { self.say(format_args!("m-load-done\r\n")) } else { Ok(()) }
    }

    fn infer(&mut self, images: u32, warm_up: u32) -> Result<(), L::Error> {
        if self.filled == 0 || self.filled != self.length {
            return self.say(format_args!("e-[no image was loaded]\r\n"));
        }
        self.say(format_args!("m-warmup-start-{warm_up}\r\n"))?;
        (0..warm_up).for_each(|_| self.run_once());
        self.say(format_args!("m-warmup-done\r\nm-infer-start-{images}\r\n"))?;
        self.timestamp()?;
        (0..images).for_each(|_| self.run_once());
        self.timestamp()?;
        self.say(format_args!("m-infer-done\r\n"))?;
        self.results()
    }

    fn run_once(&mut self) {
        let image = self.image.get(..self.length).unwrap_or(&[]);
        if let Ok(session) = &mut self.session {
            self.counter.start();
            let done = session.run_image(image);
            // The length was checked when the image was loaded.
            debug_assert!(done.is_ok());
            self.counted += self.counter.stop();
        }
    }

    /// Sends the network's outputs as real numbers.
    fn results(&mut self) -> Result<(), L::Error> {
        let Self { link, session, .. } = self;
        let output = match session {
            Ok(session) => session.output().ok(),
            Err(error) => return say(link, format_args!("e-[no model that can run: {error}]\r\n")),
        };
        let Some(output) = output else {
            return say(link, format_args!("e-[no image was run]\r\n"));
        };
        say(link, format_args!("m-results-["))?;
        let quantization = output.quantization();
        for (index, score) in output.scores().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            say(link, format_args!("{comma}{:.3}", quantization.dequantize(score)))?;
        }
        say(link, format_args!("]\r\n"))?;
        link.flush()
    }
}

/// Sends text.
fn say<W: Write>(link: &mut W, text: fmt::Arguments<'_>) -> Result<(), W::Error> {
    match link.write_fmt(text) {
        Ok(()) => Ok(()),
        Err(embedded_io::WriteFmtError::Other(error)) => Err(error),
        // Formatting numbers and text cannot fail.
        Err(embedded_io::WriteFmtError::FmtError) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
