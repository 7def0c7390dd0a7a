//! Writes a signed model to a slot.

use core::fmt;

use embedded_storage::nor_flash::NorFlash;

use crate::header::{HEADER_BYTES, LARGEST_UNIT, SIGNATURE, SlotFault, header, mark_bytes};
use crate::{Slot, open};

/// An update in progress: the model file arrives in parts, from its first byte to its last, and
/// then the header.
///
/// Each part erases the flash that it fills, so no call takes longer than erasing the sectors of
/// one part.
#[derive(Debug)]
pub struct Update {
    /// End of the model file in the slot.
    end: u32,
    /// Offset of the next part.
    next: u32,
    /// Number of bytes that are erased, from the slot's start.
    erased: u32,
}

/// Why an update failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateFault {
    /// No update has begun.
    NotBegun,
    /// Model and header are longer than the slot.
    TooLong {
        /// Number of bytes for a model.
        room: u32,
    },
    /// Another part is expected: the one from this byte of the model file on.
    Order {
        /// The byte.
        expected: u32,
    },
    /// The length of a part before the last must be a multiple of this number of bytes.
    Unit {
        /// Bytes.
        bytes: u32,
    },
    /// The model file is not complete.
    Incomplete,
    /// The flash reported an error.
    Flash,
    /// What was written is not a signed model.
    Slot(SlotFault),
    /// The model is older than the running one.
    Older {
        /// Its counter.
        counter: u32,
        /// The counter of the running model.
        running: u32,
    },
}

impl fmt::Display for UpdateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("no update has begun"),
            Self::TooLong { room } => {
                write!(f, "the model is longer than {room} bytes, the room in a slot")
            }
            Self::Order { expected } => write!(f, "the next part must begin at byte {expected}"),
            Self::Unit { bytes } => {
                write!(f, "the length of a part is not a multiple of {bytes} bytes")
            }
            Self::Incomplete => f.write_str("parts of the model are missing"),
            Self::Flash => f.write_str("the flash could not be erased or written"),
            Self::Slot(fault) => fault.fmt(f),
            Self::Older { counter, running } => {
                write!(f, "its counter {counter} is below {running}, the running model's")
            }
        }
    }
}

/// Any failure of a flash.
fn failed<E>(_: E) -> UpdateFault {
    UpdateFault::Flash
}

impl Update {
    /// Starts an update with a model file of `length` bytes. The contents of the slot are erased.
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
        // The header is erased first: without it the slot has no model.
        slot.erase(0, sector).map_err(failed)?;
        slot.erase(capacity.saturating_sub(sector), capacity).map_err(failed)?;
        let start = HEADER_BYTES as u32;
        Ok(Self { end: start + length, next: start, erased: sector })
    }

    /// Writes a part of the model file, which begins at its byte `offset`.
    ///
    /// # Errors
    ///
    /// [`UpdateFault::Order`], [`UpdateFault::Unit`], [`UpdateFault::TooLong`] if it reaches beyond
    /// the announced length, and [`UpdateFault::Flash`].
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
            // The last unit is padded as erased flash.
            let mut last = [0xff; LARGEST_UNIT];
            let bytes = last.get_mut(..unit).ok_or(UpdateFault::Flash)?;
            bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            slot.write(self.next + whole.len() as u32, bytes).map_err(failed)?;
        }
        self.next = end;
        Ok(())
    }

    /// Writes the header of a model with this counter, and checks the slot. Its model starts next.
    ///
    /// # Errors
    ///
    /// [`UpdateFault::Incomplete`]; [`UpdateFault::Older`] if the counter is below `running`; and
    /// the faults of [`open`]. After these the slot counts as empty.
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
