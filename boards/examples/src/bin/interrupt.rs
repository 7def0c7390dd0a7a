//! An interrupt delivers rows while the network runs, as a camera's interrupt does. It puts them into a
//! queue, from which the network takes them.
#![no_std]
#![no_main]

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use brooklet::kernels::Native;
use brooklet::{Arena, Model, Session, arena_bytes};
use critical_section::Mutex;
use embedded_io::Write;
use examples::chip::entry;
use examples::{ROW, chip, row};
use heapless::spsc::{Producer, Queue};
use static_cell::ConstStaticCell;

const MODEL: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");

static ARENA: ConstStaticCell<Arena<{ arena_bytes(MODEL) }>> = ConstStaticCell::new(Arena::new());

/// Rows that wait for the network. The queue holds three rows, because one place stays free.
static QUEUE: ConstStaticCell<Queue<[u8; ROW], 4>> = ConstStaticCell::new(Queue::new());

/// Number of rows that were lost because the queue was full. An image with a lost row is useless, so
/// firmware should watch this number.
static LOST: AtomicU32 = AtomicU32::new(0);

/// The data of the interrupt.
struct Camera {
    captured: Producer<'static, [u8; ROW]>,
    rows: usize,
    row_bytes: usize,
    image: usize,
    y: usize,
}

static CAMERA: Mutex<RefCell<Option<Camera>>> = Mutex::new(RefCell::new(None));

/// Puts a row into the queue. The interrupt calls this.
fn captured() {
    critical_section::with(|section| {
        let mut camera = CAMERA.borrow_ref_mut(section);
        let Some(camera) = &mut *camera else { return };
        let mut pixels = [0; ROW];
        row(camera.image, camera.y, &mut pixels[..camera.row_bytes]);
        if camera.captured.enqueue(pixels).is_err() {
            LOST.store(LOST.load(Relaxed) + 1, Relaxed);
        }
        camera.y += 1;
        if camera.y == camera.rows {
            (camera.image, camera.y) = (camera.image + 1, 0);
        }
    });
}

#[entry]
fn main() -> ! {
    let mut console = chip::console();
    let Ok(model) = Model::parse(MODEL) else { panic!("a damaged file would not have compiled") };
    let Ok(mut session) = Session::new(&model, Native, ARENA.take()) else {
        panic!("the arena has the size that the model needs")
    };
    let (rows, row_bytes) = (model.input().rows.into(), model.input().row_bytes());
    let (captured_rows, mut waiting) = QUEUE.take().split();
    let camera = Camera { captured: captured_rows, rows, row_bytes, image: 0, y: 0 };
    critical_section::with(|section| CAMERA.replace(section, Some(camera)));
    chip::every_millisecond(captured);
    for image in 0.. {
        session.reset();
        while session.rows_missing() > 0 {
            match waiting.dequeue() {
                Some(pixels) if session.push_row(&pixels[..row_bytes]).is_err() => break,
                Some(_) => {}
                None => chip::wait(),
            }
        }
        let Ok(logits) = session.logits() else { continue };
        for best in logits.top_k::<1>() {
            let lost = LOST.load(Relaxed);
            let (class, score) = (best.class, best.score);
            let _ = writeln!(console, "image {image}: class {class} ({score}), {lost} rows lost");
        }
    }
    unreachable!("there is always another image")
}
