//! The application on the host: its answers to anything that arrives over the link.

pub(crate) mod self_test;

use core::cell::Cell;
use std::vec::Vec;

use brooklet::kernels::Portable;
use brooklet_protocol::{Fault, Frames, Request, Response, decode, encode};
use embassy_futures::select::{Either, select};
use embedded_hal::digital::{ErrorType, OutputPin};

use embedded_io::{Read, ReadReady, Write};

use super::*;

/// A link that plays back what the host sends, records the board's answers, and then ends.
struct Tape<'t> {
    sent: &'t [u8],
    answers: &'t mut Vec<u8>,
    /// Whether the host pauses, given the number of bytes left to send.
    pauses: &'t mut dyn FnMut(usize) -> bool,
}

#[derive(Debug, PartialEq)]
pub(crate) struct End;

impl core::fmt::Display for End {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the tape has ended")
    }
}

impl core::error::Error for End {}

impl embedded_io::Error for End {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

impl embedded_io::ErrorType for Tape<'_> {
    type Error = End;
}

impl Read for Tape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        let (&byte, rest) = self.sent.split_first().ok_or(End)?;
        self.sent = rest;
        buffer[0] = byte;
        Ok(1)
    }
}

impl ReadReady for Tape<'_> {
    fn read_ready(&mut self) -> Result<bool, End> {
        if self.sent.is_empty() { Err(End) } else { Ok(!(self.pauses)(self.sent.len())) }
    }
}

impl Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, End> {
        self.answers.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), End> {
        Ok(())
    }
}

impl Line for Tape<'_> {
    const KEEPS: usize = usize::MAX;

    fn errors(&self) -> LineErrors {
        LineErrors { framing: 3, ..LineErrors::default() }
    }
}

/// A pin that records its states.
pub(crate) struct Lamp<'l>(pub(crate) &'l mut Vec<bool>);

impl ErrorType for Lamp<'_> {
    type Error = core::convert::Infallible;
}

impl OutputPin for Lamp<'_> {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        self.0.push(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        self.0.push(true);
        Ok(())
    }
}

/// Every span takes one cycle.
struct One;

impl Counter for One {
    const UNIT: Unit = Unit::Cycles;

    fn start(&mut self) {}

    fn stop(&mut self) -> u64 {
        1
    }
}

pub(crate) const ABOUT: About<Portable> =
    About { board: "host", core: "any", kernels: Portable, firmware: "test" };

/// Number of bytes of the longest row that this board accepts, and of the request that contains it.
pub(crate) const ROW: usize = 96;
pub(crate) const REQUEST: usize = request_bytes(ROW);

/// Room for queued rows, plus one byte.
pub(crate) const QUEUED: usize = 2 * ROW + 1;

/// A host at the other end of a [`Tape`], and its observations of the board.
#[derive(Default)]
pub(crate) struct Host {
    answers: Vec<u8>,
    busy: Vec<bool>,
    status: Vec<bool>,
}

impl Host {
    /// The parts of a board that this host talks to.
    pub(crate) fn parts<'t>(
        &'t mut self,
        sent: &'t [u8],
        pauses: &'t mut dyn FnMut(usize) -> bool,
    ) -> Parts<impl Line<Error = End> + 't, impl Counter, impl OutputPin + 't, impl OutputPin + 't>
    {
        let Self { answers, busy, status } = self;
        let link = Tape { sent, answers, pauses };
        Parts { link, counter: One, busy: Lamp(busy), status: Lamp(status), stack_bytes: || 77 }
    }

    /// All bytes that the board sent.
    pub(crate) fn said(&self) -> &[u8] {
        &self.answers
    }

    /// The board's answers, frame by frame.
    pub(crate) fn answers(&self) -> Vec<Vec<u8>> {
        let mut frames = Frames::new([0; ANSWER_BYTES]);
        let mut cut = Vec::new();
        for &byte in &self.answers {
            if let Some(frame) = frames.push(byte) {
                cut.push(frame.unwrap().to_vec());
            }
        }
        cut
    }
}

/// Runs the application on what the host sends, until that ends. Returns its answers, frame by
/// frame, and the states of its two pins.
pub(crate) fn play(slot: &[u8], sent: &[u8]) -> (Vec<Vec<u8>>, Vec<bool>, Vec<bool>) {
    play_with(slot, sent, &mut |_| false)
}

/// [`play`] with pauses of the host.
fn play_with(
    slot: &[u8],
    sent: &[u8],
    pauses: &mut dyn FnMut(usize) -> bool,
) -> (Vec<Vec<u8>>, Vec<bool>, Vec<bool>) {
    let mut host = Host::default();
    let mut arena = brooklet::Arena::<4096>::new();
    let mut storage = Storage::<ROW, REQUEST, QUEUED, 4>::new();
    let ended = run(host.parts(sent, pauses), ABOUT, slot, &mut arena, storage.view());
    assert_eq!(ended.unwrap_err(), End);
    (host.answers(), host.busy, host.status)
}

pub(crate) fn frame(request: &Request<'_>) -> Vec<u8> {
    encode(request, &mut [0; REQUEST]).unwrap().to_vec()
}

#[test]
fn a_board_without_a_model_says_so_and_lives_on() {
    let mut sent = frame(&Request::Identify);
    sent.extend(frame(&Request::Check));
    sent.extend(frame(&Request::Row { y: 0, pixels: &[1, 2, 3] }));
    sent.extend(frame(&Request::Identify));
    sent.extend(frame(&Request::Line));
    let (mut answers, busy, status) = play(&[0xff; 64], &sent);

    assert_eq!(answers.len(), 5);
    let errors = LineErrors { framing: 3, ..LineErrors::default() };
    assert_eq!(decode(&mut answers[4]), Ok(Response::Line(errors)));
    for at in [0, 3] {
        let Ok(Response::Identity(identity)) = decode(&mut answers[at]) else { panic!() };
        assert_eq!((identity.board, identity.slot_bytes, identity.arena_bytes), ("host", 64, 4096));
        assert_eq!(identity.row_bytes, ROW as u32);
        assert_eq!(identity.unit, Unit::Cycles);
    }
    for at in [1, 2] {
        let answer = decode(&mut answers[at]);
        assert!(
            matches!(answer, Ok(Response::Failed(Fault::Model { reason })) if !reason.is_empty())
        );
    }
    assert_eq!(busy, [], "nothing ran");
    assert_eq!(status, [false]);
}

/// A model small enough to read.
pub(crate) const TINY: &[u8] = include_bytes!("../../../tests/golden/tiny.brook");

#[test]
fn a_image_gets_the_answer_of_the_runtime() {
    let model = brooklet::Model::parse(TINY).unwrap();
    let input = model.input();
    let image: Vec<u8> = (0..input.bytes()).map(|at| (at * 37 % 251) as u8).collect();
    let mut arena = brooklet::Arena::<4096>::new();
    let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    let expected: Vec<u8> = session.run_image(&image).unwrap().as_bytes().to_vec();

    // Two images: the first is abandoned half way, the second is complete. The flash after the
    // model is erased.
    let rows = || image.chunks(input.row_bytes()).enumerate();
    let row = |(y, pixels)| frame(&Request::Row { y: y as u16, pixels });
    let mut sent: Vec<u8> = rows().take(3).flat_map(row).collect();
    sent.extend(frame(&Request::Logits { first: 0 }));
    sent.extend(frame(&Request::Row { y: 5, pixels: &image[..input.row_bytes()] }));
    sent.extend(frame(&Request::Row { y: 3, pixels: &[] }));
    sent.extend(rows().flat_map(row));
    sent.extend(frame(&Request::Logits { first: 0 }));
    sent.extend(frame(&Request::Profile { first: 0 }));
    let (mut answers, busy, status) = play(&[TINY, &[0xff; 100]].concat(), &sent);

    let rows = input.rows;
    let failed = |answer: &mut Vec<u8>, fault: Fault<'_>| {
        assert_eq!(decode(answer), Ok(Response::Failed(fault)));
    };
    failed(&mut answers[3], Fault::RowsMissing { seen: 3, of: rows });
    failed(&mut answers[4], Fault::RowOutOfOrder { expected: 3 });
    failed(&mut answers[5], Fault::RowBytes { expected: input.row_bytes() as u32 });
    let mut last = answers.split_off(6 + usize::from(rows));
    let Ok(Response::Values(page)) = decode(&mut last[0]) else { panic!() };
    assert_eq!(page.values, expected);
    assert_eq!(page.count as usize, expected.len());
    let Ok(Response::Profile(profile)) = decode(&mut last[1]) else { panic!() };
    assert_eq!(profile.stack_bytes, 77);
    assert!(profile.total > profile.counts.iter().sum::<u64>());
    assert_eq!(profile.counts.len(), 4, "layers that this board has room to count");
    assert!(profile.layers > 4);
    assert_eq!(status, [true]);
    assert_eq!(busy.last(), Some(&false));
    assert_eq!(busy.iter().filter(|high| **high).count(), 2, "two images were begun");
}

/// A model that ends in a map.
const MAP: &[u8] = include_bytes!("../../../tests/golden/tiny-map.brook");

#[test]
fn a_map_is_sent_row_by_row() {
    let model = brooklet::Model::parse(MAP).unwrap();
    let input = model.input();
    let image: Vec<u8> = (0..input.bytes()).map(|at| (at * 37 % 251) as u8).collect();
    let mut arena = brooklet::Arena::<4096>::new();
    let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    session.push_image(&image).unwrap();
    let bytes = |map: brooklet::Map<'_>| map.rows().collect::<Vec<_>>().concat();
    let expected = [bytes(session.logits_map().unwrap()), bytes(session.map().unwrap())];
    assert_ne!(expected[0], expected[1]);

    let all = expected[0].len() as u32;
    let row = all / u32::from(model.layer(model.output()).shape().rows);
    let rows = image.chunks(input.row_bytes()).enumerate();
    let rows = rows.map(|(y, pixels)| frame(&Request::Row { y: y as u16, pixels }));
    let mut sent: Vec<u8> = rows.flatten().collect();
    // A page may begin anywhere, and ends with its row. Behind the end there is nothing.
    let pages: Vec<u32> =
        (0..all).step_by(row as usize).chain([1, row + 5, all, all + 9]).collect();
    for &first in &pages {
        sent.extend(frame(&Request::Logits { first }));
        sent.extend(frame(&Request::Output { first }));
    }
    let (mut answers, ..) = play(MAP, &sent);
    let mut answers = answers.split_off(usize::from(input.rows)).into_iter();
    for first in pages {
        for expected in &expected {
            let mut answer = answers.next().unwrap();
            let Ok(Response::Values(page)) = decode(&mut answer) else { panic!("{first}") };
            assert_eq!((page.count, page.first), (all, first));
            let end = (first / row * row + row).min(all);
            let wanted = expected.get(first as usize..end as usize).unwrap_or_default();
            assert_eq!(page.values, wanted, "from byte {first}");
        }
    }
}

/// Records how many turns another task had, at the start of each span.
struct Turns<'t> {
    turns: &'t Cell<usize>,
    seen: &'t mut Vec<usize>,
}

impl Counter for Turns<'_> {
    const UNIT: Unit = Unit::Cycles;

    fn start(&mut self) {
        self.seen.push(self.turns.get());
    }

    fn stop(&mut self) -> u64 {
        1
    }
}

#[test]
fn other_tasks_have_their_turn_between_steps_while_the_host_waits() {
    let input = brooklet::Model::parse(TINY).unwrap().input();
    let image = std::vec![9; input.bytes()];
    let rows = image.chunks(input.row_bytes()).enumerate();
    let mut sent: Vec<u8> =
        rows.flat_map(|(y, pixels)| frame(&Request::Row { y: y as u16, pixels })).collect();
    sent.extend(frame(&Request::Logits { first: 0 }));
    let (turns, mut seen, mut answers) = (Cell::new(0), Vec::new(), Vec::new());
    let parts = Parts {
        link: Tape { sent: &sent, answers: &mut answers, pauses: &mut |_| false },
        counter: Turns { turns: &turns, seen: &mut seen },
        busy: Lamp(&mut Vec::new()),
        status: Lamp(&mut Vec::new()),
        stack_bytes: || 77,
    };
    let mut arena = brooklet::Arena::<4096>::new();
    let mut storage = Storage::<ROW, REQUEST, { 2 * ROW + 1 }, 4>::new();
    let board = run_async(parts, ABOUT, TINY, &mut arena, storage.view());
    let other = async {
        loop {
            turns.set(turns.get() + 1);
            yield_now().await;
        }
    };
    match block_on(select(board, other)) {
        Either::First(ended) => assert_eq!(ended.unwrap_err(), End),
        Either::Second(never) => never,
    }
    // The first two spans are the check at start-up, before any turn.
    let (start, spans) = seen.split_at(2);
    assert_eq!(start, [0, 0]);
    assert!(spans.len() > usize::from(input.rows), "{}", spans.len());
    assert!(spans.is_sorted_by(|a, b| a < b), "{spans:?}");
}

#[test]
fn noise_is_answered_and_the_next_request_is_heard() {
    let mut sent = std::vec![1, 2, 3, 0]; // no frame
    sent.extend(std::vec![7; 2 * REQUEST]); // far too long
    sent.extend([0, 0, 0]);
    let mut cut_off = frame(&Request::Row { y: 0, pixels: &[5; 90] });
    cut_off.truncate(40);
    sent.extend(cut_off);
    sent.push(0);
    sent.extend(frame(&Request::Identify));
    let (mut answers, ..) = play(&[], &sent);

    assert_eq!(answers.len(), 4);
    assert_eq!(decode(&mut answers[0]), Ok(Response::Failed(Fault::Garbled)));
    assert_eq!(decode(&mut answers[1]), Ok(Response::Failed(Fault::FrameTooLong)));
    assert_eq!(decode(&mut answers[2]), Ok(Response::Failed(Fault::Garbled)));
    assert!(matches!(decode(&mut answers[3]), Ok(Response::Identity(_))));
}

#[test]
fn any_bytes_are_survived() {
    // A linear congruential sequence, with frame ends in between.
    let mut state = 1_u32;
    let sent: Vec<u8> = core::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 28 == 0 { 0 } else { (state >> 16) as u8 }
    })
    .take(100_000)
    .collect();
    let (answers, ..) = play(&[0x89; 200], &sent);
    assert!(!answers.is_empty());
}
