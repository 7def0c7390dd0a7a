//! Rows go in, the best class comes out. Nothing else runs meanwhile.
#![no_std]
#![no_main]

use brooklet::kernels::Native;
use brooklet::{Arena, Model, Session, arena_bytes};
use embedded_io::Write;
use examples::chip::entry;
use examples::{ROW, chip, row};
use static_cell::ConstStaticCell;

const MODEL: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");

/// RAM of the network. Its size is read from the model at compile time.
static ARENA: ConstStaticCell<Arena<{ arena_bytes(MODEL) }>> = ConstStaticCell::new(Arena::new());

#[entry]
fn main() -> ! {
    let mut console = chip::console();
    let Ok(model) = Model::parse(MODEL) else { panic!("a damaged file would not have compiled") };
    let Ok(mut session) = Session::new(&model, Native, ARENA.take()) else {
        panic!("the arena has the size that the model needs")
    };
    let (rows, row_bytes) = (model.input().rows.into(), model.input().row_bytes());
    let mut pixels = [0; ROW];
    for image in 0.. {
        session.reset();
        for y in 0..rows {
            row(image, y, &mut pixels[..row_bytes]);
            // The network runs here as far as the rows allow. `session.step()` does less at a time.
            if session.push_row(&pixels[..row_bytes]).is_err() {
                break;
            }
        }
        let Ok(logits) = session.logits() else { continue };
        for best in logits.top_k::<1>() {
            let _ = writeln!(console, "image {image}: class {} ({})", best.class, best.score);
        }
    }
    unreachable!("there is always another image")
}
