//! The network and its camera are two tasks of embassy's executor. The network runs while the camera waits
//! for its next row.
#![no_std]
#![no_main]

use brooklet::kernels::Native;
use brooklet::{Arena, Model, Session, arena_bytes};
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embedded_io::Write;
use examples::{ROW, chip, row};
use static_cell::ConstStaticCell;

const MODEL: &[u8] = brooklet::include_model!(OUT_DIR / "net.brook");

static ARENA: ConstStaticCell<Arena<{ arena_bytes(MODEL) }>> = ConstStaticCell::new(Arena::new());

/// Signals that a millisecond has passed. Firmware with a time driver uses `embassy_time::Ticker` instead.
static BEAT: Signal<CriticalSectionRawMutex, ()> = Signal::new();

/// Rows that wait for the network.
static CAPTURED: Channel<CriticalSectionRawMutex, heapless::Vec<u8, ROW>, 4> = Channel::new();

/// Captures a row at each beat.
#[embassy_executor::task]
async fn camera(rows: usize, row_bytes: usize) {
    for image in 0.. {
        for y in 0..rows {
            BEAT.wait().await;
            let mut pixels = heapless::Vec::new();
            if pixels.resize_default(row_bytes).is_ok() {
                row(image, y, &mut pixels);
                CAPTURED.send(pixels).await;
            }
        }
    }
}

#[cfg_attr(target_arch = "arm", embassy_executor::main)]
#[cfg_attr(target_arch = "riscv32", embassy_executor::main(entry = "riscv_rt::entry"))]
async fn main(spawner: Spawner) {
    let mut console = chip::console();
    let Ok(model) = Model::parse(MODEL) else { panic!("a damaged file would not have compiled") };
    let Ok(mut session) = Session::new(&model, Native, ARENA.take()) else {
        panic!("the arena has the size that the model needs")
    };
    let Ok(camera) = camera(model.input().rows.into(), model.input().row_bytes()) else {
        panic!("the task is spawned only once")
    };
    spawner.spawn(camera);
    chip::every_millisecond(|| BEAT.signal(()));
    for image in 0.. {
        // After each step of the network, the camera gets its turn.
        let Ok(logits) = session.run(CAPTURED.receiver()).await else { continue };
        for best in logits.top_k::<1>() {
            let _ = writeln!(console, "image {image}: class {} ({})", best.class, best.score);
        }
    }
}
