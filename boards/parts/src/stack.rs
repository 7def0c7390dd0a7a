//! Measures the maximum depth of the stack.
//!
//! At start-up the free part of the stack is painted with a pattern. Calls overwrite it, so the
//! lowest word without the pattern is the high-water mark. A call that reserves stack without
//! writing to it is missed; compilers rarely generate such calls.

/// The pattern of free words.
const PAINT: u32 = 0xcccc_cccc;

/// Number of bytes below the painting function's own frame that are not painted.
const MARGIN: usize = 256;

unsafe extern "C" {
    /// One past the highest byte of the stack, which is its start. Defined by the runtime's linker
    /// script.
    #[link_name = "_stack_start"]
    static TOP: u32;
    /// The lowest word of the memory that is left for the stack. Defined by the same script.
    #[cfg_attr(target_arch = "arm", link_name = "_stack_end")]
    #[cfg_attr(target_arch = "riscv32", link_name = "__estack")]
    static BOTTOM: u32;
}

/// Addresses of both ends of the stack's memory, aligned to words.
fn ends() -> (usize, usize) {
    let (bottom, top) = (&raw const BOTTOM, &raw const TOP);
    (bottom.addr().next_multiple_of(4), top.addr() & !3)
}

/// Paints the free part of the stack. It must be called first in `main`.
#[inline(never)]
pub fn paint() {
    let here = 0_u32;
    let (bottom, _) = ends();
    let limit = ((&raw const here).addr() & !3).saturating_sub(MARGIN);
    let mut at = bottom;
    while at < limit {
        // SAFETY: `at` is a multiple of 4 between the end of the statics and the present frame
        // minus `MARGIN`. The linker script gives that memory to the stack alone, and no live frame
        // is that deep: this function calls nothing. Interrupts push frames below it, but they
        // write what they need after this word is painted, or return before the next one is painted
        // and lose nothing.
        unsafe { core::ptr::without_provenance_mut::<u32>(at).write_volatile(PAINT) };
        at += 4;
    }
}

/// Number of bytes from the stack's start to the deepest word that has been written.
pub fn high_water() -> u32 {
    let (bottom, top) = ends();
    let mut at = bottom;
    while at < top {
        // SAFETY: `at` is a multiple of 4 inside the stack's memory, which is RAM and may be read
        // at any time. The read is volatile, because the compiler knows nothing about the contents.
        let word = unsafe { core::ptr::without_provenance::<u32>(at).read_volatile() };
        if word != PAINT {
            break;
        }
        at += 4;
    }
    (top - at) as u32
}
