//! The core in a web page: `cargo xtask wasm` compiles it to WebAssembly, and `brooklet report`
//! embeds the result.
//!
//! The page writes a model and an image into buffers of this module, and calls [`run`]; then it
//! reads scores and arena. Only these bytes are kept between calls: each call runs the image from
//! its first row on, for the requested number of steps. The page can therefore stop anywhere, go
//! back, and look.
//!
//! ```text
//! page:   model(), image() ─► writes ─► check(bytes), run(bytes, steps) ─► reads scores(), arena()
//! ```
#![no_std]

use core::cell::UnsafeCell;

use brooklet::kernels::{Backend, Portable, Reference};
use brooklet::{Error, Model, Session, Step};

/// Maximum number of bytes of a model file.
const MODEL: usize = 4 << 20;
/// Maximum number of bytes of an image.
const IMAGE: usize = 1 << 20;
/// Maximum number of bytes of an arena.
const ARENA: usize = 1 << 20;
/// Maximum number of scores.
const SCORES: usize = 4096;

/// The result of [`run`] and [`check`] for a model that the core refuses.
const REFUSED: i32 = -1;
/// Their result for a model or image that is too large for the buffers.
const TOO_LARGE: i32 = -2;
/// The result of [`run`] for an image of another size.
const OTHER_IMAGE: i32 = -3;

/// Memory that page and module share, aligned as arenas are.
#[repr(C, align(16))]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: a module without threads has one caller, the page, and its calls do not nest, because no
// function of this module calls back.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The memory, for the duration of a call.
    ///
    /// # Safety
    ///
    /// It must be taken at most once in each call. The page writes and reads only between calls,
    /// because it waits for each.
    #[expect(clippy::mut_from_ref, reason = "each call takes it once")]
    unsafe fn take(&self) -> &mut T {
        // SAFETY: the caller takes it once in this call, and no other call is active (see `Sync`).
        unsafe { &mut *self.0.get() }
    }
}

static MODEL_FILE: Shared<[u8; MODEL]> = Shared(UnsafeCell::new([0; MODEL]));
static PIXELS: Shared<[u8; IMAGE]> = Shared(UnsafeCell::new([0; IMAGE]));
static MEMORY: Shared<[u8; ARENA]> = Shared(UnsafeCell::new([0; ARENA]));
static ANSWER: Shared<[i32; SCORES]> = Shared(UnsafeCell::new([0; SCORES]));

/// The core never panics after a model was checked.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Address at which the page writes the model file.
// SAFETY: no other symbol of this module has this name; likewise below.
#[unsafe(no_mangle)]
pub extern "C" fn model() -> *mut u8 {
    MODEL_FILE.0.get().cast()
}

/// Address at which the page writes an image: rows, columns, channels.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn image() -> *mut u8 {
    PIXELS.0.get().cast()
}

/// Address of the arena.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn arena() -> *const u8 {
    MEMORY.0.get().cast()
}

/// Address of the scores, an integer for each.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn scores() -> *const i32 {
    ANSWER.0.get().cast()
}

/// Checks a model file of `bytes` bytes. Returns the number of bytes of its arena, or a negative
/// number.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn check(bytes: usize) -> i32 {
    // SAFETY: taken once in this call.
    let Some(file) = (unsafe { MODEL_FILE.take() }).get(..bytes) else { return TOO_LARGE };
    match Model::parse(file) {
        Ok(model) if model.arena_bytes() > ARENA || model.input().bytes() > IMAGE => TOO_LARGE,
        Ok(model) => model.arena_bytes() as i32,
        Err(_) => REFUSED,
    }
}

/// Runs the image from its start with a model file of `bytes` bytes, for `steps` steps; pushing a
/// row of the image is also a step. Returns the number of scores if the run reached its end, 0 if
/// it did not, or a negative number.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn run(bytes: usize, steps: u32) -> i32 {
    // SAFETY: each is taken once in this call.
    let (file, pixels, memory, answer) =
        unsafe { (MODEL_FILE.take(), PIXELS.take(), MEMORY.take(), ANSWER.take()) };
    let Some(file) = file.get(..bytes) else { return TOO_LARGE };
    let Ok(model) = Model::parse(file) else { return REFUSED };
    let Some(pixels) = pixels.get(..model.input().bytes()) else { return TOO_LARGE };
    match session(&model, Portable, pixels, memory, answer, steps) {
        // The weights are packed for a device; the reference runs every packing.
        Err(Error::Packing { .. }) => {
            session(&model, Reference, pixels, memory, answer, steps).unwrap_or(REFUSED)
        }
        Err(Error::ArenaTooSmall { .. }) => TOO_LARGE,
        done => done.unwrap_or(REFUSED),
    }
}

/// [`run`] on one backend.
fn session<B: Backend>(
    model: &Model<'_>,
    backend: B,
    pixels: &[u8],
    memory: &mut [u8],
    answer: &mut [i32],
    steps: u32,
) -> Result<i32, Error> {
    let mut session = Session::new(model, backend, memory)?;
    let mut left = steps;
    for row in pixels.chunks(model.input().row_bytes().max(1)) {
        while left > 0 && matches!(session.step(), Step::Ran { .. }) {
            left -= 1;
        }
        if left == 0 {
            return Ok(0);
        }
        if session.push_row(row).is_err() {
            return Ok(OTHER_IMAGE);
        }
        left -= 1;
    }
    while left > 0 && matches!(session.step(), Step::Ran { .. }) {
        left -= 1;
    }
    if left == 0 {
        return Ok(0);
    }
    let Ok(logits) = session.logits() else { return Ok(OTHER_IMAGE) };
    let mut count = 0;
    for (place, score) in answer.iter_mut().zip(logits.scores()) {
        *place = i32::from(score);
        count += 1;
    }
    Ok(count)
}
