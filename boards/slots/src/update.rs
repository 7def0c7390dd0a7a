//! A signed model on its way into a slot.

use core::fmt;

use embedded_storage::nor_flash::NorFlash;

use crate::header::{HEADER_BYTES, LARGEST_UNIT, SIGNATURE, SlotFault, header, mark_bytes};
use crate::{Slot, open};

/// An update under way: the model file comes in parts, from its first byte to its last, and then the
/// header.
///
/// A part erases what it is about to fill, so no call takes longer than erasing one part's sectors.
#[derive(Debug)]
pub struct Update {
    /// Where the model file ends in the slot.
    end: u32,
    /// Where the next part goes.
    next: u32,
    /// What is erased, from the slot's beginning.
    erased: u32,
}

/// Why an update does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateFault {
    /// None is under way.
    NotBegun,
    /// Model and header are longer than the slot, which has room for this many bytes of a model.
    TooLong {
        /// Bytes.
        room: u32,
    },
    /// Another part is due: that from this byte of the model file on.
    Order {
        /// The byte.
        expected: u32,
    },
    /// A part before the last has to be a multiple of this many bytes.
    Unit {
        /// Bytes.
        bytes: u32,
    },
    /// The model file is not complete.
    Incomplete,
    /// The flash did not do what it was told.
    Flash,
    /// What was written is no signed model.
    Slot(SlotFault),
    /// The model is older than that which runs.
    Older {
        /// Its counter.
        counter: u32,
        /// The counter of that which runs.
        running: u32,
    },
}

impl fmt::Display for UpdateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("no update is under way"),
            Self::TooLong { room } => {
                write!(f, "the model is longer than the {room} bytes that a slot has for one")
            }
            Self::Order { expected } => write!(f, "the part from byte {expected} on is due"),
            Self::Unit { bytes } => write!(f, "a part is no multiple of {bytes} bytes"),
            Self::Incomplete => f.write_str("parts of the model are missing"),
            Self::Flash => f.write_str("the flash could not be erased or written"),
            Self::Slot(fault) => fault.fmt(f),
            Self::Older { counter, running } => {
                write!(f, "its counter {counter} is below {running}, that of the model that runs")
            }
        }
    }
}

/// Any failure of a flash.
fn failed<E>(_: E) -> UpdateFault {
    UpdateFault::Flash
}

impl Update {
    /// Begins one, of a model file of `length` bytes. What the slot held is gone.
    ///
    /// # Errors
    ///
    /// [`UpdateFault::TooLong`], before anything is erased; [`UpdateFault::Flash`].
    pub fn begin<F: NorFlash>(slot: &mut F, length: u32) -> Result<Self, UpdateFault> {
        let capacity = slot.capacity() as u32;
        let room = capacity.saturating_sub((HEADER_BYTES + mark_bytes::<F>()) as u32);
        if length > room {
            return Err(UpdateFault::TooLong { room });
        }
        let sector = F::ERASE_SIZE as u32;
        // The header first: without it the slot holds nothing.
        slot.erase(0, sector).map_err(failed)?;
        slot.erase(capacity.saturating_sub(sector), capacity).map_err(failed)?;
        let start = HEADER_BYTES as u32;
        Ok(Self { end: start + length, next: start, erased: sector })
    }

    /// Writes a part of the model file, which begins at byte `offset` of it.
    ///
    /// # Errors
    ///
    /// [`UpdateFault::Order`], [`UpdateFault::Unit`], [`UpdateFault::TooLong`] if it reaches beyond the
    /// length that was said, and [`UpdateFault::Flash`].
    pub fn write<F: NorFlash>(
        &mut self,
        slot: &mut F,
        offset: u32,
        part: &[u8],
    ) -> Result<(), UpdateFault> {
        let start = HEADER_BYTES as u32;
        if offset != self.next - start {
            return Err(UpdateFault::Order { expected: self.next - start });
        }
        let end = self.next.checked_add(part.len() as u32).filter(|&end| end <= self.end);
        let end = end.ok_or(UpdateFault::TooLong { room: self.end - start })?;
        let unit = F::WRITE_SIZE;
        let (whole, rest) = part.split_at(part.len() / unit * unit);
        if !rest.is_empty() && end < self.end {
            return Err(UpdateFault::Unit { bytes: unit as u32 });
        }
        let filled = end.next_multiple_of(unit as u32);
        if filled > self.erased {
            let erased = filled.next_multiple_of(F::ERASE_SIZE as u32);
            slot.erase(self.erased, erased).map_err(failed)?;
            self.erased = erased;
        }
        slot.write(self.next, whole).map_err(failed)?;
        if !rest.is_empty() {
            // What fills the last unit up is as erased.
            let mut last = [0xff; LARGEST_UNIT];
            let bytes = last.get_mut(..unit).ok_or(UpdateFault::Flash)?;
            bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            slot.write(self.next + whole.len() as u32, bytes).map_err(failed)?;
        }
        self.next = end;
        Ok(())
    }

    /// Writes the header of a model of this version, and reads the slot. Its model starts next.
    ///
    /// # Errors
    ///
    /// [`UpdateFault::Incomplete`]; [`UpdateFault::Older`] if the counter is below `running`; and what
    /// [`open`] finds of the slot, which is as good as empty then.
    pub fn finish<F: Slot>(
        self,
        slot: &mut F,
        counter: u32,
        signature: &[u8; SIGNATURE],
        key: &[u8; 32],
        running: u32,
    ) -> Result<(), UpdateFault> {
        if self.next != self.end {
            return Err(UpdateFault::Incomplete);
        }
        if counter < running {
            return Err(UpdateFault::Older { counter, running });
        }
        let header = header(counter, self.end - HEADER_BYTES as u32, signature);
        slot.write(0, &header).map_err(failed)?;
        open::<F>(slot.bytes(), key).map_err(UpdateFault::Slot)?;
        Ok(())
    }
}
