//! Weights in a flash that the core cannot address, such as at an SPI controller: they go through a window
//! in RAM. The model file is in that flash; `brooklet plan --weights-window` has written it for that.
#![no_std]
#![no_main]

use brooklet::kernels::Native;
use brooklet::{Arena, Flash, Session, WeightsWindow, arena_bytes, resident_bytes};
use embedded_io::Write;
use examples::chip::entry;
use examples::{chip, push_image};
use static_cell::ConstStaticCell;

/// The file as it is in the flash: the compiler reads sizes from it, and firmware has none of it.
const MODEL: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");

static ARENA: ConstStaticCell<Arena<{ arena_bytes(MODEL) }>> = ConstStaticCell::new(Arena::new());

/// For what comes before the weights.
static RESIDENT: ConstStaticCell<Arena<{ resident_bytes(MODEL) }>> =
    ConstStaticCell::new(Arena::new());

/// What weights are read into. With more, less is read.
static WINDOW: ConstStaticCell<Arena<{ 1 << 10 }>> = ConstStaticCell::new(Arena::new());

#[entry]
fn main() -> ! {
    let mut console = chip::console();
    // Any driver of `embedded_storage`; the file begins at offset 0.
    let flash = Flash::new(chip::spi_flash(), 0);
    let mut weights = WeightsWindow::new(flash, WINDOW.take());
    let model = match weights.parse(RESIDENT.take()) {
        Ok(model) => model,
        Err(error) => {
            let _ = writeln!(console, "no model in the flash: {error}");
            loop {
                chip::wait();
            }
        }
    };
    let Ok(mut session) = Session::with_weights(&model, Native, ARENA.take(), weights) else {
        panic!("arena and kernels are as the compiler has checked")
    };
    for image in 0.. {
        // It fails if the flash does. The next image is a new try.
        if push_image(&mut session, image).is_err() {
            continue;
        }
        let Ok(logits) = session.logits() else { continue };
        for best in logits.top_k::<1>() {
            let _ = writeln!(console, "image {image}: class {} ({})", best.class, best.score);
        }
    }
    unreachable!("there is always another image")
}
