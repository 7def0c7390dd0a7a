//! The runtime alone, as a proof that it cannot panic, and a measure of its size.
//!
//! This program has one entry, [`infer`]: it checks a model, makes a session, pushes rows, runs
//! steps, and reads the results. The model and the pixels come through `black_box`, so the compiler
//! knows nothing about them. The panic handler calls a function that does not exist. If any
//! instruction reachable from the entry could panic, the handler would be linked, and with it the
//! undefined symbol: the link fails and names it.
//!
//! `cargo xtask cross` links this for a Cortex-M and a RISC-V target, and then once more with
//! the feature `planted-panic`, which must fail.
//!
//! The program contains only the runtime, so its sections have the runtime's size
//! (`brooklet bench`, `text_bytes` and `rodata_bytes`).
#![no_std]
#![no_main]

use core::hint::black_box;

use brooklet::kernels::Native as Kernels;
use brooklet::{Model, Session, Step};

unsafe extern "C" {
    /// Defined nowhere: if this symbol is needed, a panic is reachable.
    safe fn the_runtime_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    the_runtime_can_panic()
}

/// Everything that firmware asks of the runtime: the best three classes of one image, or nothing if
/// the model cannot run.
///
/// # Safety
///
/// It is never called: this program is linked, not run. As a function with a fixed name it is an
/// entry that the linker can keep.
// SAFETY: no other symbol of this program has this name.
#[unsafe(no_mangle)]
pub extern "C" fn infer() {
    let (model, arena): (&[u8], &mut [u8]) = black_box((&[], &mut []));
    let rows: &[&[u8]] = black_box(&[]);
    #[cfg(not(feature = "built-in"))]
    let Ok(model) = Model::parse(model) else { return };
    #[cfg(feature = "built-in")]
    let Ok(model) = Model::checked_before(model) else { return };
    let kernels = Kernels;
    #[cfg(feature = "direct")]
    let kernels = brooklet::kernels::Direct(kernels);
    let Ok(mut session) = Session::new(&model, kernels, arena) else { return };
    classify(&mut session, rows);
    #[cfg(feature = "weights-window")]
    behind_a_driver(kernels, rows);
}

/// The same with weights behind a driver.
#[cfg(feature = "weights-window")]
fn behind_a_driver(kernels: impl brooklet::kernels::Backend, rows: &[&[u8]]) {
    let (resident, window, arena): (&mut [u8], &mut [u8], &mut [u8]) =
        black_box((&mut [], &mut [], &mut []));
    let mut weights = brooklet::WeightsWindow::new(Anything, window);
    let Ok(model) = weights.parse(resident) else { return };
    let Ok(mut session) = Session::with_weights(&model, kernels, arena, weights) else { return };
    classify(&mut session, rows);
    black_box(session.weights().bytes_read());
}

/// A driver that returns unknown bytes.
#[cfg(feature = "weights-window")]
struct Anything;

#[cfg(feature = "weights-window")]
impl brooklet::WeightsSource for Anything {
    type Error = ();

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        black_box((offset, bytes));
        black_box(Ok(()))
    }

    fn capacity(&self) -> usize {
        black_box(0)
    }

    fn announce(&mut self, offset: u32, bytes: usize) {
        black_box((offset, bytes));
    }
}

/// Classifies one image.
fn classify<B: brooklet::kernels::Backend, W: brooklet::Weights>(
    session: &mut Session<'_, '_, B, W>,
    rows: &[&[u8]],
) {
    for row in rows {
        while let Step::Ran { layer } = session.step() {
            black_box(layer);
        }
        black_box(session.push_row(row).is_ok());
    }
    while let Step::Ran { layer } = session.step() {
        black_box(layer);
    }
    if let Ok(logits) = session.logits() {
        black_box(logits.top_k::<3>());
        #[cfg(feature = "planted-panic")]
        black_box(logits.as_slice()[black_box(10)]);
        #[cfg(feature = "int16")]
        black_box(logits.as_bytes());
    }
    if let Ok(output) = session.output() {
        black_box(output.as_slice());
    }
    if let Ok(outputs) = session.outputs() {
        outputs.for_each(|output| {
            black_box(output);
        });
    }
    #[cfg(feature = "maps")]
    if let Ok(map) = session.map() {
        black_box((map.shape(), map.quantization(), map.cell(black_box(1), black_box(2))));
        map.rows().for_each(|row| drop(black_box(row)));
        map.scores().for_each(|score| drop(black_box(score)));
        for (place, cell) in map.cells() {
            black_box((place, cell.top_k::<1>()));
        }
    }
    session.reset();
    #[cfg(feature = "self-test")]
    {
        black_box(session.verify_weights(black_box(64)));
        black_box(session.verify_all());
        black_box(session.self_test());
    }
}
