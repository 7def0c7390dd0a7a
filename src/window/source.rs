//! Sources of model files.

use embedded_storage::nor_flash::ReadNorFlash;

/// A model file behind a driver that copies its bytes.
///
/// [`Flash`] makes a source from any driver for flash. A driver that can read while the core
/// computes implements this trait itself, and begins to read at [`announce`](Self::announce).
pub trait WeightsSource {
    /// The driver's error.
    type Error;

    /// Copies bytes of the file from `offset` on.
    ///
    /// # Errors
    ///
    /// The driver's error. The bytes then have no meaning.
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Number of bytes that can be read, from the file's first byte on.
    fn capacity(&self) -> usize;

    /// Says what will be read next, as far as that is known; the core computes until then. An
    /// announced read may never happen, and others may come before it. By default this does
    /// nothing.
    fn announce(&mut self, offset: u32, bytes: usize) {
        let _ = (offset, bytes);
    }
}

/// A model file in flash behind a driver of [`embedded_storage`]; bytes are read when they are
/// needed.
#[derive(Debug)]
pub struct Flash<F> {
    flash: F,
    start: u32,
}

/// Largest unit that a driver may read in, in bytes.
const UNIT: usize = 16;

impl<F: ReadNorFlash> Flash<F> {
    /// The model file that begins at offset `start` of the flash, a multiple of the unit in which
    /// the driver reads. A driver whose unit has more than 16 bytes does not compile.
    pub const fn new(flash: F, start: u32) -> Self {
        const { assert!(F::READ_SIZE > 0 && UNIT.is_multiple_of(F::READ_SIZE)) };
        Self { flash, start }
    }

    /// Reads bytes that lie within one unit of the largest size: reads the units around them, and
    /// copies what was asked for.
    fn read_unit(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        let mut unit = [0; UNIT];
        let before = at as usize % F::READ_SIZE;
        let length = (before + bytes.len()).next_multiple_of(F::READ_SIZE).min(UNIT);
        let there = unit.get_mut(..length).unwrap_or_default();
        self.flash.read(at - before as u32, there)?;
        let from = unit.iter().skip(before);
        bytes.iter_mut().zip(from).for_each(|(byte, from)| *byte = *from);
        Ok(())
    }
}

impl<F: ReadNorFlash> WeightsSource for Flash<F> {
    type Error = F::Error;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        let at = self.start.saturating_add(offset);
        // The bytes before the first whole unit, the whole units, and the rest.
        let head = (at as usize).wrapping_neg() % F::READ_SIZE;
        let Some((head, rest)) = bytes.split_at_mut_checked(head) else {
            return self.read_unit(at, bytes);
        };
        let whole = rest.len() - rest.len() % F::READ_SIZE;
        let (whole, tail) = rest.split_at_mut_checked(whole).unwrap_or_default();
        let middle = at.saturating_add(head.len() as u32);
        if !head.is_empty() {
            self.read_unit(at, head)?;
        }
        if !whole.is_empty() {
            self.flash.read(middle, whole)?;
        }
        if !tail.is_empty() {
            self.read_unit(middle.saturating_add(whole.len() as u32), tail)?;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.flash.capacity().saturating_sub(self.start as usize)
    }
}
