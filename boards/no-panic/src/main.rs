//! The runtime alone: proof that it cannot panic, and measure of its size.
//!
//! This program has one entry, [`infer`]: it checks a model, makes a session, pushes rows,
//! steps, and reads the results. Compilers know nothing of the model or the pixels, which
//! come through `black_box`. The panic handler calls a function that exists nowhere. If any
//! instruction that can be reached from the entry could panic, the handler would be linked,
//! and with it the undefined symbol: the link fails and names it.
//!
//! `cargo xtask cross` links this for a Cortex-M and a RISC-V target, and then once more with
//! the feature `planted-panic`, which must fail.
//!
//! As nothing but the runtime is in this program, its sections are the runtime's size
//! (`brooklet bench`, `text_bytes` and `rodata_bytes`).
#![no_std]
#![no_main]

use core::hint::black_box;

use brooklet::kernels::Native as Kernels;
use brooklet::{Model, Session, Step};

unsafe extern "C" {
    /// Defined nowhere: whoever links this has a reachable panic.
    safe fn the_runtime_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    the_runtime_can_panic()
}

/// All that a firmware asks of the runtime: the best three classes of one image, or
/// nothing if the model cannot run.
///
/// # Safety
///
/// Never called: this program is linked, not run. As a function with a fixed name it is an
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
    session.reset();
    #[cfg(feature = "self-test")]
    {
        black_box(session.verify_weights(black_box(64)));
        black_box(session.verify_all());
        black_box(session.self_test());
    }
}
