//! A board that receives models.

use std::vec::Vec;

use brooklet::kernels::Portable;
use brooklet_protocol::{Fault, Request, Response, SlotsState, decode};
use brooklet_slots::{InMemory, SIGNATURE, header, public_key, sign};

use super::*;
use crate::tests::{ABOUT, End, Host, QUEUED, REQUEST, ROW, TINY, frame};
use crate::{Storage, run_from_slots};
use embassy_futures::block_on;

const SECRET: [u8; 32] = [3; 32];
const SLOT: usize = 16_384;

/// Another network for the same images.
const OTHER: &[u8] = include_bytes!("../../../../tests/golden/tiny-stream16.brook");

/// A slot with a signed model.
fn slot(file: &[u8], counter: u32) -> Vec<u8> {
    let signature = sign(file, counter, &SECRET);
    let mut slot = [&header(counter, file.len() as u32, &signature), file].concat();
    slot.resize(SLOT, 0xff);
    slot
}

/// What a host sends to install a model, in parts of 92 bytes.
fn update(file: &[u8], counter: u32, signature: &[u8; SIGNATURE]) -> Vec<u8> {
    let part = brooklet_protocol::part_bytes(ROW, 4);
    let mut sent = frame(&Request::Update { bytes: file.len() as u32 });
    for (i, bytes) in file.chunks(part).enumerate() {
        sent.extend(frame(&Request::Part { offset: (i * part) as u32, bytes }));
    }
    sent.extend(frame(&Request::Install { counter, signature }));
    sent
}

/// Runs a board on what the host sends, and returns its answers.
fn play(slots: &mut [Vec<u8>; 2], sent: &[u8]) -> Vec<Vec<u8>> {
    let (mut host, mut pauses) = (Host::default(), |_| false);
    let mut slots = slots.each_mut().map(|slot| InMemory(slot));
    let mut arena = brooklet::Arena::<8192>::new();
    let mut storage = Storage::<ROW, REQUEST, QUEUED, 4>::new();
    let key = public_key(&SECRET);
    let parts = host.parts(sent, &mut pauses);
    let board = run_from_slots(parts, ABOUT, &mut slots, &key, &mut arena, &mut storage);
    assert_eq!(block_on(board).unwrap_err(), End);
    host.answers()
}

/// What the host sends to have an image classified, and the model's answer.
fn image(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let model = Model::parse(file).unwrap();
    let input = model.input();
    let image: Vec<u8> = (0..input.bytes()).map(|at| (at * 37 % 251) as u8).collect();
    let mut arena = brooklet::Arena::<8192>::new();
    let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    let rows = image.chunks(input.row_bytes()).enumerate();
    let mut sent: Vec<u8> =
        rows.flat_map(|(y, pixels)| frame(&Request::Row { y: y as u16, pixels })).collect();
    sent.extend(frame(&Request::Logits { first: 0 }));
    (sent, session.run_image(&image).unwrap().as_bytes().to_vec())
}

fn values(answer: &mut [u8]) -> Vec<u8> {
    let answer = decode(answer);
    let Ok(Response::Values(page)) = answer else { panic!("{answer:?}") };
    page.values.to_vec()
}

#[test]
fn a_model_comes_over_the_link_and_runs() {
    let mut slots = [slot(TINY, 4), std::vec![0xff; SLOT]];
    let ((sent_rows, before), (_, after)) = (image(TINY), image(OTHER));
    assert_ne!(before, after);
    let mut sent = frame(&Request::Slots);
    sent.extend(&sent_rows);
    sent.extend(update(OTHER, 5, &sign(OTHER, 5, &SECRET)));
    sent.extend(frame(&Request::Slots));
    sent.extend(&sent_rows);
    let mut answers = play(&mut slots, &sent);
    let rows = usize::from(Model::parse(TINY).unwrap().input().rows);
    let running = |counter| Ok(Response::Slots(SlotsState { running: Some(counter), unit: 4 }));
    assert_eq!(decode(&mut answers[0]), running(4));
    assert_eq!(values(&mut answers[1 + rows]), before);
    let last = answers.len() - 1;
    assert_eq!(values(&mut answers[last]), after);
    assert_eq!(decode(&mut answers[last - rows - 1]), running(5), "after the start");
    assert_eq!(decode(&mut answers[last - rows - 2]), running(5), "the end of the update");
    let parts = &mut answers[2 + rows..last - rows - 2];
    assert!(parts.len() > OTHER.len() / ROW);
    assert!(parts.iter_mut().all(|answer| decode(answer) == Ok(Response::Ready)));
    // The same after a reset. An older model is refused, and so is one signed with another key.
    let mut sent = update(TINY, 4, &sign(TINY, 4, &SECRET));
    sent.extend(update(TINY, 6, &sign(TINY, 6, &[9; 32])));
    sent.extend(&sent_rows);
    let mut answers = play(&mut slots, &sent);
    let mut last = answers.pop().unwrap();
    let refused: Vec<_> = answers
        .iter_mut()
        .filter_map(|answer| match decode(answer) {
            Ok(Response::Failed(Fault::Update { reason })) => {
                Some(std::string::String::from(reason))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        refused,
        ["its counter 4 is below 5, the running model's", "its signature is not by this key"]
    );
    assert_eq!(values(&mut last), after, "it still runs");
}

#[test]
fn a_board_without_a_model_takes_one() {
    let mut slots = [std::vec![0; SLOT], std::vec![0xff; SLOT]];
    let (sent_rows, expected) = image(TINY);
    let mut sent = frame(&Request::Slots);
    sent.extend(frame(&Request::Part { offset: 0, bytes: &[0; 4] }));
    sent.extend(frame(&Request::Check));
    sent.extend(update(TINY, 1, &sign(TINY, 1, &SECRET)));
    sent.extend(&sent_rows);
    let mut answers = play(&mut slots, &sent);
    let state = SlotsState { running: None, unit: 4 };
    assert_eq!(decode(&mut answers[0]), Ok(Response::Slots(state)));
    let reason = "no update has begun";
    assert_eq!(decode(&mut answers[1]), Ok(Response::Failed(Fault::Update { reason })));
    assert!(matches!(decode(&mut answers[2]), Ok(Response::Failed(Fault::Model { .. }))));
    let last = answers.len() - 1;
    assert_eq!(values(&mut answers[last]), expected);
}

/// A model that fails its test image does not start, although it is newer and signed.
#[test]
fn a_model_that_fails_its_test_is_left() {
    let wrong = crate::tests::self_test::with_wrong_answer();
    let mut slots = [slot(TINY, 1), slot(&wrong, 2)];
    let mut answers = play(&mut slots, &frame(&Request::Slots));
    let state = SlotsState { running: Some(1), unit: 4 };
    assert_eq!(decode(&mut answers[0]), Ok(Response::Slots(state)));
    let firmware_without = crate::tests::play(TINY, &frame(&Request::Slots)).0;
    assert_eq!(decode(&mut firmware_without.clone()[0]), Ok(Response::Failed(Fault::NoUpdates)));
}
