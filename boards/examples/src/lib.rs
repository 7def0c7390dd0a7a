//! What the examples have in common: the chip, and a camera that is none.
//!
//! | example | what it shows |
//! |---|---|
//! | `blocking` | rows go in, the best class comes out |
//! | `embassy` | the network and its camera as tasks of an executor |
//! | `interrupt` | an interrupt delivers rows while the network runs |
//! | `spi_flash` | weights in a flash that the core cannot address |
//! | `two_models` | two networks take turns in one arena |
//! | `self_test` | the model is checked at start-up, and while nothing else is to be done |
//!
//! Each runs on two machines of QEMU: `qemu-mps2-an386` (Cortex-M4F) and `qemu-riscv-virt` (RV32IMAC). In
//! firmware of your own a HAL takes the place of [`chip`], a camera's driver that of [`row`], and a path that of
//! `OUT_DIR`: `brooklet::include_model!("net.brook")`.
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

/// Begins an image, and pushes all of its rows: `blocking` shows it row by row.
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

/// Memory that is read as a flash chip is, by a driver that copies. A real one is in
/// `boards/parts/src/spi_flash.rs`.
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
