//! Two slots of flash for signed models; the newest good one starts.
//!
//! A slot holds a model file after a header of [`HEADER_BYTES`] bytes:
//!
//! ```text
//!   0  signature 64        Ed25519 (RFC 8032), over all that follows up to the file's end
//!  64  magic "BRSLOT1\0" 8
//!  72  counter 4           the model's version: a larger number is newer
//!  76  length 4            of the model file
//!  80  zeros 48
//! 128  the model file
//!      …
//! end - unit               all zero once the model was confirmed; a unit is what the flash writes
//! ```
//!
//! Numbers are little-endian. [`choose`] takes the newest slot whose signature is valid, whose
//! counter is not below a confirmed one, and whose model passes the firmware's test. Then it
//! confirms the slot. An [`Update`] is written to the other slot. It begins by erasing that slot's
//! header, and ends by writing it. At any moment the slot in use is therefore complete, and the
//! other is complete or has no model.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod header;
mod memory;
#[cfg(test)]
mod tests;
mod update;

pub use self::header::{HEADER_BYTES, SIGNATURE, Signed, SlotFault, header, key_of_hex, open};
#[cfg(feature = "sign")]
pub use self::header::{public_key, sign};
pub use memory::InMemory;
pub use update::{Update, UpdateFault};

use self::header::mark;
use embedded_storage::nor_flash::NorFlash;

/// A slot of flash that can also be read as memory, where written bytes are visible.
pub trait Slot: NorFlash {
    /// All of its bytes.
    fn bytes(&self) -> &[u8];
}

/// The slot to start, if there is a good one: the newest that passes `is_good`, which is called
/// with its model file. It is confirmed before this returns.
///
/// A slot whose counter is below that of a confirmed one is ignored, so that an old model cannot be
/// brought back by writing it again.
///
/// ```
/// use brooklet_slots::{InMemory, choose, header, public_key, sign};
///
/// let secret = [7; 32];
/// let slot = |model: &[u8], counter| {
///     let signature = sign(model, counter, &secret);
///     let mut slot = [&header(counter, model.len() as u32, &signature), model].concat();
///     slot.resize(4096, 0xff); // erased flash
///     slot
/// };
/// let [mut first, mut second] = [slot(b"a model", 3), slot(b"a newer model", 4)];
/// let mut slots = [InMemory(&mut first), InMemory(&mut second)];
/// let key = public_key(&secret);
/// assert_eq!(choose(&mut slots, &key, |_| true), Some(1));
/// // A model that fails its test is not started. The other is older than a confirmed one by now.
/// assert_eq!(choose(&mut slots, &key, |model| model == b"a model"), None);
/// ```
pub fn choose<F: Slot>(
    slots: &mut [F; 2],
    key: &[u8; 32],
    mut is_good: impl FnMut(&[u8]) -> bool,
) -> Option<usize> {
    let [first, second] = slots.each_ref().map(|slot| open::<F>(slot.bytes(), key).ok());
    let confirmed = [&first, &second].into_iter().flatten().filter(|slot| slot.confirmed);
    let least = confirmed.map(|slot| slot.counter).max().unwrap_or(0);
    // Of two slots with the same counter, the confirmed one.
    let age = |slot: &Option<Signed<'_>>| slot.as_ref().map(|slot| (slot.counter, slot.confirmed));
    let order = if age(&second) > age(&first) { [1, 0] } else { [0, 1] };
    let candidates = [first, second];
    let found = order.into_iter().find(|&index| {
        let slot = candidates.get(index).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.counter >= least && is_good(slot.file))
    })?;
    let confirmed = candidates.get(found).and_then(Option::as_ref)?.confirmed;
    if !confirmed && let Some(slot) = slots.get_mut(found) {
        // If the mark cannot be written, the next start tries again.
        let _ = mark(slot);
    }
    Some(found)
}
