//! Weights are in a flash that the core cannot address, such as an SPI flash. They are read through a window
//! in RAM. `brooklet plan --weights-window` wrote the model file for this.
#![no_std]
#![no_main]

use brooklet::kernels::Native;
use brooklet::{Arena, Flash, Session, WeightsWindow, arena_bytes, resident_bytes};
use embedded_io::Write;
use examples::chip::entry;
use examples::{chip, push_image};
use static_cell::ConstStaticCell;

/// The file that is in the flash. The compiler reads sizes from it, but the firmware does not contain it.
const MODEL: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");

static ARENA: ConstStaticCell<Arena<{ arena_bytes(MODEL) }>> = ConstStaticCell::new(Arena::new());

/// RAM for the part of the file before the weights.
static RESIDENT: ConstStaticCell<Arena<{ resident_bytes(MODEL) }>> =
    ConstStaticCell::new(Arena::new());

/// The window for weights. In a larger window more weights stay, so fewer are read again.
static WINDOW: ConstStaticCell<Arena<{ 1 << 10 }>> = ConstStaticCell::new(Arena::new());

#[entry]
fn main() -> ! {
    let mut console = chip::console();
    // This takes any driver with `embedded_storage`'s `ReadNorFlash`. The file begins at offset 0.
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
        panic!("the compiler has checked arena and kernels")
    };
    for image in 0.. {
        // This fails if the flash cannot be read. The next image starts anew.
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
