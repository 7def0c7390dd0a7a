//! A slot in RAM, for emulated boards and tests.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use crate::Slot;

/// RAM that behaves like flash: it has sectors of 4 KiB and units of four bytes; writing clears
/// bits, and only erasing sets them.
#[derive(Debug)]
pub struct InMemory<'m>(pub &'m mut [u8]);

impl InMemory<'_> {
    /// The bytes at an offset.
    fn part(&mut self, offset: u32, bytes: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        let rest = self.0.get_mut(offset as usize..);
        rest.and_then(|rest| rest.get_mut(..bytes)).ok_or(NorFlashErrorKind::OutOfBounds)
    }
}

impl ErrorType for InMemory<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for InMemory<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(self.part(offset, bytes.len())?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for InMemory<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.part(from, (to - from) as usize)?.fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let part = self.part(offset, bytes.len())?;
        part.iter_mut().zip(bytes).for_each(|(old, new)| *old &= new);
        Ok(())
    }
}

impl Slot for InMemory<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}
