//! The parts that the examples share: the chip, and a function that stands for a camera.
//!
//! | example | what it shows |
//! |---|---|
//! | `blocking` | rows go in, the best class comes out |
//! | `embassy` | the network and a camera are two tasks of an executor |
//! | `interrupt` | an interrupt puts rows into a queue while the network runs |
//! | `spi_flash` | weights in a flash that the core cannot address are read through a window |
//! | `two_models` | two networks take turns in one arena |
//! | `self_test` | the model is checked at start-up, and between images |
//!
//! Each example runs on two machines of QEMU: `qemu-mps2-an386` (Cortex-M4F) and `qemu-riscv-virt` (RV32IMAC).
//! In your own firmware, use a HAL instead of [`chip`] and a camera's driver instead of [`row`]. Name the model
//! by its path: `brooklet::include_model!("net.brook")`.
#![no_std]

use brooklet::kernels::Backend;
use brooklet::{RowError, Session, Weights};
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash, check_read};

#[cfg(target_arch = "arm")]
#[path = "mps2.rs"]
pub mod chip;
#[cfg(target_arch = "riscv32")]
#[path = "virt.rs"]
pub mod chip;

/// The longest row of the models here, in bytes.
pub const ROW: usize = 32;

/// Row `y` of an image, its pixels from left to right. Each image differs.
pub fn row(image: usize, y: usize, pixels: &mut [u8]) {
    for (x, pixel) in pixels.iter_mut().enumerate() {
        *pixel = (7 * x + 13 * y + 101 * image) as u8;
    }
}

/// Begins an image, and pushes all of its rows. The example `blocking` does the same row by row.
///
/// # Errors
///
/// Those of [`Session::push_row`].
pub fn push_image(
    session: &mut Session<'_, '_, impl Backend, impl Weights>,
    image: usize,
) -> Result<(), RowError> {
    let input = session.model().input();
    let mut pixels = [0; ROW];
    session.reset();
    for y in 0..input.rows.into() {
        row(image, y, &mut pixels[..input.row_bytes()]);
        session.push_row(&pixels[..input.row_bytes()])?;
    }
    Ok(())
}

/// Memory behind a driver that copies bytes, as a flash chip is. `boards/parts/src/spi_flash.rs` is a driver
/// of a real chip.
pub struct Chip(&'static [u8]);

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let there = self.0.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(there.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}
