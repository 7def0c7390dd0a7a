//! The application on the host: what it answers to whatever comes over the link.

use std::vec::Vec;

use brooklet::kernels::Portable;
use brooklet_protocol::{Fault, Frames, Request, Response, decode, encode};
use embedded_hal::digital::{ErrorType, OutputPin};

use super::*;

/// A link that plays back what the host sends, keeps what the board answers, and then ends.
struct Tape<'t> {
    sent: &'t [u8],
    answers: &'t mut Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct End;

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
        Ok(!self.sent.is_empty())
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

/// A pin that remembers.
struct Lamp<'l>(&'l mut Vec<bool>);

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

/// Every span takes one instruction.
struct One;

impl Counter for One {
    fn start(&mut self) {}

    fn stop(&mut self) -> u64 {
        1
    }
}

const ABOUT: About<Portable> =
    About { board: "host", core: "any", kernels: Portable, firmware: "test" };

/// The longest row that this board takes, and the request that it comes in.
const ROW: usize = 96;
const REQUEST: usize = request_bytes(ROW);

/// Runs the application on what the host sends until that ends. Returns its answers, one
/// frame each, and what its two pins showed.
fn play(slot: &[u8], sent: &[u8]) -> (Vec<Vec<u8>>, Vec<bool>, Vec<bool>) {
    let (mut answers, mut busy, mut status) = (Vec::new(), Vec::new(), Vec::new());
    let parts = Parts {
        link: Tape { sent, answers: &mut answers },
        counter: One,
        busy: Lamp(&mut busy),
        status: Lamp(&mut status),
        stack_bytes: || 77,
    };
    let mut arena = brooklet::Arena::<4096>::new();
    let mut storage = Storage::<ROW, REQUEST, { 2 * ROW + 1 }, 4>::new();
    assert_eq!(run(parts, ABOUT, slot, &mut arena, storage.view()).unwrap_err(), End);

    let mut frames = Frames::new([0; ANSWER_BYTES]);
    let mut cut = Vec::new();
    for byte in answers {
        if let Some(frame) = frames.push(byte) {
            cut.push(frame.unwrap().to_vec());
        }
    }
    (cut, busy, status)
}

fn frame(request: &Request<'_>) -> Vec<u8> {
    encode(request, &mut [0; REQUEST]).unwrap().to_vec()
}

#[test]
fn a_board_without_a_model_says_so_and_lives_on() {
    let mut sent = frame(&Request::Identify);
    sent.extend(frame(&Request::Check));
    sent.extend(frame(&Request::Row { y: 0, pixels: &[1, 2, 3] }));
    sent.extend(frame(&Request::Identify));
    let (mut answers, busy, status) = play(&[0xff; 64], &sent);

    assert_eq!(answers.len(), 4);
    for at in [0, 3] {
        let Ok(Response::Identity(identity)) = decode(&mut answers[at]) else { panic!() };
        assert_eq!((identity.board, identity.slot_bytes, identity.arena_bytes), ("host", 64, 4096));
        assert_eq!(identity.row_bytes, ROW as u32);
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
const TINY: &[u8] = include_bytes!("../../../tests/golden/tiny.brook");

#[test]
fn a_picture_gets_the_answer_of_the_runtime() {
    let model = brooklet::Model::parse(TINY).unwrap();
    let input = model.input();
    let picture: Vec<u8> = (0..input.bytes()).map(|at| (at * 37 % 251) as u8).collect();
    let mut arena = brooklet::Arena::<4096>::new();
    let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    let expected: Vec<u8> = session.run_picture(&picture).unwrap().as_bytes().to_vec();

    // Two pictures: the first is given up half way, the second is whole. Flash after the
    // model is erased.
    let rows = || picture.chunks(input.row_bytes()).enumerate();
    let row = |(y, pixels)| frame(&Request::Row { y: y as u16, pixels });
    let mut sent: Vec<u8> = rows().take(3).flat_map(row).collect();
    sent.extend(frame(&Request::Logits { first: 0 }));
    sent.extend(frame(&Request::Row { y: 5, pixels: &picture[..input.row_bytes()] }));
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
    assert!(profile.instructions > profile.counts.iter().sum::<u64>());
    assert_eq!(profile.counts.len(), 4, "layers that this board has room to count");
    assert!(profile.layers > 4);
    assert_eq!(status, [true]);
    assert_eq!(busy.last(), Some(&false));
    assert_eq!(busy.iter().filter(|high| **high).count(), 2, "two pictures were begun");
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
    // A linear congruential sequence, with frame ends strewn in.
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
