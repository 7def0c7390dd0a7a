//! Checks the model at start-up and between images. At start-up, the file must be sound, and this chip must
//! compute the stored answers for the test images that `brooklet quantize --self-test` put into the file.
//! Between images, the file in flash is read again.
#![no_std]
#![no_main]

use brooklet::kernels::Native;
use brooklet::{Arena, Model, SelfTest, Session, Verification, arena_bytes};
use embedded_io::Write;
use examples::chip::entry;
use examples::{chip, push_image};
use static_cell::ConstStaticCell;

const MODEL: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");

static ARENA: ConstStaticCell<Arena<{ arena_bytes(MODEL) }>> = ConstStaticCell::new(Arena::new());

/// Number of bytes of flash that are read between two images.
const BUDGET: usize = 4 << 10;

#[entry]
fn main() -> ! {
    let mut console = chip::console();
    let Ok(model) = Model::parse(MODEL) else { panic!("a damaged file would not have compiled") };
    let Ok(mut session) = Session::new(&model, Native, ARENA.take()) else {
        panic!("the arena has the size that the model needs")
    };
    let tested = session.self_test();
    let _ = match tested {
        SelfTest::Passed { images } => writeln!(console, "{images} test images passed"),
        SelfTest::Differs { image } => writeln!(console, "test image {image} differs"),
        SelfTest::NoneStored => writeln!(console, "the model has no test images"),
    };
    for image in 0.. {
        if push_image(&mut session, image).is_err() {
            continue;
        }
        let Ok(logits) = session.logits() else { continue };
        let best = logits.top_k::<1>();
        // If the file is corrupt, real firmware would stop here, or restart with a spare model.
        let flash = match session.verify_weights(BUDGET) {
            Verification::Verified => "verified",
            Verification::InProgress { .. } => "being verified",
            Verification::Corrupt => "corrupt",
        };
        for best in best {
            let (class, score) = (best.class, best.score);
            let _ = writeln!(console, "image {image}: class {class} ({score}), flash {flash}");
        }
    }
    unreachable!("there is always another image")
}
