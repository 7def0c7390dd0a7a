//! The application on a simulated wire: bytes arrive at their own pace, even while the board
//! computes.

use core::cell::RefCell;
use std::collections::VecDeque;
use std::vec::Vec;

use brooklet::kernels::Portable;
use brooklet_protocol::{Frames, Request, Response, decode};
use embedded_io::{ErrorType, Read, ReadReady, Write};

use crate::line::{Bad, Inlet, Line, Ring};
use crate::tests::{ABOUT, End, Lamp, REQUEST, ROW, TINY, frame};
use crate::{Counter, LineErrors, Parts, Storage, Unit, line_bytes, run};

/// Number of bytes that the UART holds, as in an STM32F4.
const FIFO: usize = 1;

/// Duration of a step of the network, in byte times: 20 ms at 115,200 baud.
const STEP: u64 = 230;

/// Number of queries to the UART in one byte time.
const QUESTIONS: u64 = 50;

/// How long the host waits for an answer, in byte times.
const PATIENCE: u64 = 10_000;

/// A host, the wire, and the board's UART.
struct Wire<'r> {
    /// In byte times.
    now: u64,
    questions: u64,
    /// Requests that the host still has to send, each after the answer to the one before.
    requests: VecDeque<Vec<u8>>,
    /// The bytes of the current request that have not arrived yet.
    arriving: VecDeque<u8>,
    /// When the host began to wait.
    since: u64,
    fifo: VecDeque<u8>,
    overruns: u32,
    /// The interrupt, if it is enabled.
    inlet: Option<Inlet<'r>>,
    answers: Vec<u8>,
}

impl<'r> Wire<'r> {
    fn new(requests: &[Request<'_>], inlet: Option<Inlet<'r>>) -> RefCell<Self> {
        let requests = requests.iter().map(|request| [&[0], &frame(request)[..]].concat());
        let mut wire = Self {
            now: 0,
            questions: 0,
            requests: requests.collect(),
            arriving: VecDeque::new(),
            since: 0,
            fifo: VecDeque::new(),
            overruns: 0,
            inlet,
            answers: Vec::new(),
        };
        wire.next();
        RefCell::new(wire)
    }

    /// The host sends its next request.
    fn next(&mut self) {
        self.arriving = self.requests.pop_front().unwrap_or_default().into();
        self.since = self.now;
    }

    /// Lets time pass, and bytes arrive.
    fn pass(&mut self, time: u64) {
        self.now += time;
        for _ in 0..time {
            let Some(byte) = self.arriving.pop_front() else { return };
            match &mut self.inlet {
                Some(inlet) => inlet.receive(byte),
                None if self.fifo.len() == FIFO => self.overruns += 1,
                None => self.fifo.push_back(byte),
            }
        }
    }

    /// The board asks whether there is a byte, which takes some time.
    fn ask(&mut self) -> Result<(), End> {
        self.questions += 1;
        if self.questions.is_multiple_of(QUESTIONS) {
            self.pass(1);
        }
        if self.now > self.since + PATIENCE {
            if self.requests.is_empty() {
                return Err(End);
            }
            self.next();
        }
        Ok(())
    }
}

/// The UART, polled, or with an interrupt whose ring is read.
struct Uart<'w, 'r, R> {
    wire: &'w RefCell<Wire<'r>>,
    ring: R,
}

impl<R> ErrorType for Uart<'_, '_, R> {
    type Error = End;
}

impl<R> Write for Uart<'_, '_, R> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let mut wire = self.wire.borrow_mut();
        wire.pass(bytes.len() as u64);
        wire.answers.extend(bytes);
        if bytes.ends_with(&[0]) {
            wire.next();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), End> {
        Ok(())
    }
}

impl ReadReady for Uart<'_, '_, ()> {
    fn read_ready(&mut self) -> Result<bool, End> {
        self.wire.borrow_mut().ask()?;
        Ok(!self.wire.borrow().fifo.is_empty())
    }
}

impl Read for Uart<'_, '_, ()> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        buffer[0] = self.wire.borrow_mut().fifo.pop_front().ok_or(End)?;
        Ok(1)
    }
}

impl Line for Uart<'_, '_, ()> {
    /// This UART claims that it keeps all bytes, but it loses them.
    const KEEPS: usize = usize::MAX;

    fn errors(&self) -> LineErrors {
        LineErrors { overruns: self.wire.borrow().overruns, ..LineErrors::default() }
    }
}

impl<R: ReadReady> ReadReady for Uart<'_, '_, Option<R>> {
    fn read_ready(&mut self) -> Result<bool, End> {
        self.wire.borrow_mut().ask()?;
        self.ring.as_mut().ok_or(End)?.read_ready().map_err(|_| End)
    }
}

impl<R: Read> Read for Uart<'_, '_, Option<R>> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        self.ring.as_mut().ok_or(End)?.read(buffer).map_err(|_| End)
    }
}

impl<R: Line> Line for Uart<'_, '_, Option<R>> {
    const KEEPS: usize = R::KEEPS;

    fn errors(&self) -> LineErrors {
        self.ring.as_ref().map(Line::errors).unwrap_or_default()
    }
}

/// Lets time pass with each span, which is each step of the network.
struct Clock<'w, 'r>(&'w RefCell<Wire<'r>>);

impl Counter for Clock<'_, '_> {
    const UNIT: Unit = Unit::Microseconds;

    fn start(&mut self) {}

    fn stop(&mut self) -> u64 {
        self.0.borrow_mut().pass(STEP);
        STEP
    }
}

/// Runs the application on the wire until all requests are answered, or the host gives up.
fn play<'w, 'r, R>(wire: &'w RefCell<Wire<'r>>, ring: R) -> Vec<Vec<u8>>
where
    Uart<'w, 'r, R>: Line + ErrorType<Error = End>,
{
    let parts = Parts {
        link: Uart { wire, ring },
        counter: Clock(wire),
        busy: Lamp(&mut Vec::new()),
        status: Lamp(&mut Vec::new()),
        stack_bytes: || 0,
    };
    let mut arena = brooklet::Arena::<4096>::new();
    let mut storage = Storage::<ROW, REQUEST, { 2 * ROW + 1 }, 4>::new();
    assert_eq!(run(parts, ABOUT, TINY, &mut arena, storage.view()).unwrap_err(), End);
    let mut frames = Frames::new([0; crate::ANSWER_BYTES]);
    let mut cut = Vec::new();
    for &byte in &wire.borrow().answers {
        if let Some(frame) = frames.push(byte) {
            cut.push(frame.unwrap().to_vec());
        }
    }
    cut
}

/// The requests for two images, the first of which is abandoned half way.
fn requests(image: &[u8]) -> Vec<Request<'_>> {
    let model = brooklet::Model::parse(TINY).unwrap();
    let rows = || {
        let rows = image.chunks(model.input().row_bytes());
        rows.zip(0..).map(|(pixels, y)| Request::Row { y, pixels })
    };
    let mut requests = std::vec![Request::Identify];
    requests.extend(rows().take(5));
    requests.extend(rows());
    requests.extend([Request::Logits { first: 0 }, Request::Line]);
    requests
}

#[test]
fn a_ring_keeps_what_comes_while_the_network_computes() {
    let model = brooklet::Model::parse(TINY).unwrap();
    let image: Vec<u8> = (0..model.input().bytes()).map(|at| (at * 91 % 253) as u8).collect();
    let mut arena = brooklet::Arena::<4096>::new();
    let mut session = brooklet::Session::new(&model, Portable, &mut arena).unwrap();
    let expected = session.run_image(&image).unwrap().as_bytes().to_vec();
    let requests = requests(&image);

    // Polled, the same application loses bytes, and reports it.
    let wire = Wire::new(&requests, None);
    let answers = play(&wire, ());
    let failed = |answer: &Vec<u8>| matches!(decode(&mut answer.clone()), Ok(Response::Failed(_)));
    assert!(wire.borrow().overruns > 0);
    assert!(answers.len() < requests.len() || answers.iter().any(failed));

    let mut ring = Ring::<{ line_bytes(ROW) + 1 }>::new();
    let (inlet, buffered) = ring.split(&mut [0_u8; 0][..]);
    let wire = Wire::new(&requests, Some(inlet));
    let mut answers = play(&wire, Some(buffered));
    assert_eq!(answers.len(), requests.len());
    assert!(!answers.iter().any(failed));
    let mut errors = answers.pop().unwrap();
    let errors = decode(&mut errors);
    assert_eq!(errors, Ok(Response::Line(LineErrors::default())));
    let mut values = answers.pop().unwrap();
    let Ok(Response::Values(page)) = decode(&mut values) else { panic!() };
    assert_eq!(page.values, expected);
}

/// Errors of the line are counted and reported, and nothing stops because of them.
#[test]
fn errors_of_the_line_are_told() {
    let mut ring = Ring::<{ line_bytes(ROW) + 1 }>::new();
    let (mut inlet, buffered) = ring.split(&mut [0_u8; 0][..]);
    inlet.note(Bad::Overrun);
    inlet.note(Bad::Framing);
    inlet.note(Bad::Framing);
    for byte in 0..line_bytes(ROW) + 7 {
        inlet.receive(byte as u8 | 1);
    }
    let told = LineErrors { overruns: 1, framing: 2, no_room: 7 };
    assert_eq!(buffered.errors(), told);
    // The contents of the ring are not a frame. The host is first told this, and then why.
    let wire = Wire::new(&[Request::Line, Request::Line], Some(inlet));
    let mut answers = play(&wire, Some(buffered));
    let last = answers.pop().unwrap();
    let Ok(Response::Line(errors)) = decode(&mut last.clone()) else { panic!() };
    assert!(errors.overruns == 1 && errors.framing == 2 && errors.no_room >= 7, "{errors:?}");
}
