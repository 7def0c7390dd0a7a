//! A session on an executor: other tasks have their turn, and the results are those of any session.

use std::cell::Cell;
use std::task::Poll;

use brooklet::kernels::Portable;
use brooklet::{Arena, Model, RowError, Session, Step, arena_bytes};
use embassy_futures::{block_on, select, yield_now};
use futures_util::stream;

const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");

fn with_session(test: impl FnOnce(Session<'_, '_, Portable>, &[Vec<u8>])) {
    let mut arena = Arena::<{ arena_bytes(MODEL) }>::new();
    let model = Model::parse(MODEL).unwrap();
    let input = model.input();
    let pixel = |y: usize| move |i: usize| (31 * y + 7 * i) as u8;
    let image: Vec<Vec<u8>> =
        (0..input.rows.into()).map(|y| (0..input.row_bytes()).map(pixel(y)).collect()).collect();
    test(Session::new(&model, Portable, &mut arena).unwrap(), &image);
}

/// Runs an image as a task: the number of polls, and the logits.
fn polls(session: &mut Session<'_, '_, Portable>, image: &[Vec<u8>]) -> (usize, Vec<i8>) {
    let turns = Cell::new(0);
    let others = async {
        loop {
            turns.set(turns.get() + 1);
            yield_now().await;
        }
    };
    let run = async { session.run(stream::iter(image)).await.unwrap().as_slice().to_vec() };
    match block_on(select::select(run, others)) {
        select::Either::First(logits) => (turns.get(), logits),
        select::Either::Second(never) => never,
    }
}

#[test]
fn others_have_a_turn_after_each_step() {
    with_session(|mut session, image| {
        let expected = session.run_image(&image.concat()).unwrap().as_slice().to_vec();
        session.reset();
        let mut steps = 0;
        for row in image {
            session.push_row(row).unwrap();
            while let Step::Ran { .. } = session.step() {
                steps += 1;
            }
        }
        assert_eq!(polls(&mut session, image), (steps, expected));
    });
}

#[test]
fn rows_are_waited_for() {
    with_session(|mut session, image| {
        let expected = session.run_image(&image.concat()).unwrap().as_slice().to_vec();
        // Each row arrives at the third poll.
        let asked = Cell::new(0_usize);
        let mut rows = image.iter();
        let camera = stream::poll_fn(|context| {
            asked.set(asked.get() + 1);
            if asked.get().is_multiple_of(3) {
                return Poll::Ready(rows.next());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let logits = block_on(session.run(camera)).unwrap().as_slice().to_vec();
        assert_eq!((logits, asked.get()), (expected, 3 * image.len()));
    });
}

#[test]
fn rows_that_are_wrong_or_missing_are_told() {
    with_session(|mut session, image| {
        let needed = image[0].len();
        let long = [image[0].clone(), vec![0; needed + 1]];
        let error = block_on(session.run(stream::iter(&long))).unwrap_err();
        assert_eq!(error, RowError::Length { needed, got: needed + 1 });
        let error = block_on(session.run(stream::iter(&image[1..]))).unwrap_err();
        assert_eq!(error, RowError::Missing { rows: 1 });
        // Rows after the end of the image are not taken.
        let mut left = stream::iter(image.iter().chain(image));
        block_on(session.run(&mut left)).unwrap();
        assert_eq!(futures_util::Stream::size_hint(&left).0, image.len());
    });
}

#[test]
fn an_image_that_is_dropped_leaves_nothing_behind() {
    with_session(|mut session, image| {
        let expected = session.run_image(&image.concat()).unwrap().as_slice().to_vec();
        for turns in [1, 5, 20] {
            let limit = async {
                for _ in 0..turns {
                    yield_now().await;
                }
            };
            let run = session.run(stream::iter(image));
            let ended = block_on(select::select(run, limit));
            assert!(matches!(ended, select::Either::Second(())), "{turns}");
            let again = block_on(session.run(stream::iter(image))).unwrap();
            assert_eq!(again.as_slice(), expected);
        }
    });
}
