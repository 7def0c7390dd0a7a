//! Two networks take turns in one arena. The second network only runs if the first one's best score is high.
#![no_std]
#![no_main]

use brooklet::kernels::Native;
use brooklet::{Arena, Model, Session, arena_bytes};
use embedded_io::Write;
use examples::chip::entry;
use examples::{chip, push_image};
use static_cell::ConstStaticCell;

const FIRST: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");
const SECOND: &[u8] = brooklet::include_model!(OUT_DIR / "second.brook");

/// Size of the larger of the two arenas.
const BYTES: usize = match [arena_bytes(FIRST), arena_bytes(SECOND)] {
    [first, second] if first > second => first,
    [_, second] => second,
};
static ARENA: ConstStaticCell<Arena<BYTES>> = ConstStaticCell::new(Arena::new());

/// The score of the first network from which on the second network runs.
const ENOUGH: i16 = -38;

/// The class of an image, and its score.
fn classify(model: &Model<'_>, arena: &mut [u8], image: usize) -> Option<(u16, i16)> {
    // The session exists for one image only. Then the arena is free for the other network.
    let mut session = Session::new(model, Native, arena).ok()?;
    push_image(&mut session, image).ok()?;
    let best = session.logits().ok()?.top_k::<1>();
    best.first().map(|best| (best.class, best.score))
}

#[entry]
fn main() -> ! {
    let mut console = chip::console();
    let arena = ARENA.take();
    // The models are checked once, at start-up.
    let (Ok(first), Ok(second)) = (Model::parse(FIRST), Model::parse(SECOND)) else {
        panic!("damaged files would not have compiled")
    };
    for image in 0.. {
        let Some((class, score)) = classify(&first, arena, image) else { continue };
        let worth_it = (score >= ENOUGH).then(|| classify(&second, arena, image)).flatten();
        let _ = match worth_it {
            Some((other, sure)) => writeln!(
                console,
                "image {image}: class {class} ({score}), the second says {other} ({sure})"
            ),
            None => writeln!(console, "image {image}: class {class} ({score})"),
        };
    }
    unreachable!("there is always another image")
}
