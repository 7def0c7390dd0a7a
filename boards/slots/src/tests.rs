//! Updates that stop at any moment, and models without a valid signature.

use std::vec::Vec;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};

use super::*;

const SECRET: [u8; 32] = [7; 32];
const SLOT: usize = 4096;
/// Number of bytes of a part of an update.
const PART: usize = 64;

/// A flash in memory, with sectors of 256 bytes and units of four. The power fails after a number
/// of erases and writes: the last one is done only half, and none after it.
#[derive(Clone)]
struct Chip {
    memory: Vec<u8>,
    power: std::rc::Rc<core::cell::Cell<Power>>,
}

#[derive(Clone, Copy, Default)]
struct Power {
    /// Number of units written and sectors erased.
    done: usize,
    /// The number after which the power fails.
    limit: Option<usize>,
    /// What an interrupted operation leaves behind.
    noise: u8,
}

#[derive(Debug, PartialEq)]
struct Fault(NorFlashErrorKind);

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl Chip {
    /// Changes each byte of a unit or a sector as `to` says.
    fn change(
        &mut self,
        place: core::ops::Range<usize>,
        to: impl Fn(usize, u8) -> u8,
    ) -> Result<(), Fault> {
        let mut power = self.power.get();
        let over = power.limit.map_or(core::cmp::Ordering::Less, |limit| power.done.cmp(&limit));
        power.done += 1;
        self.power.set(power);
        if over.is_gt() {
            return Err(Fault(NorFlashErrorKind::Other));
        }
        let half = place.start + place.len() / 2;
        for at in place {
            self.memory[at] = match over.is_eq() {
                true if at >= half => self.memory[at] & power.noise,
                _ => to(at, self.memory[at]),
            };
        }
        if over.is_eq() { Err(Fault(NorFlashErrorKind::Other)) } else { Ok(()) }
    }
}

impl ErrorType for Chip {
    type Error = Fault;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        bytes.copy_from_slice(&self.memory[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        check_erase(self, from, to).map_err(Fault)?;
        for sector in (from as usize..to as usize).step_by(Self::ERASE_SIZE) {
            self.change(sector..sector + Self::ERASE_SIZE, |_, _| 0xff)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        check_write(self, offset, bytes.len()).map_err(Fault)?;
        let start = offset as usize;
        for unit in (0..bytes.len()).step_by(Self::WRITE_SIZE) {
            // Writing clears bits; only erasing sets them.
            self.change(start + unit..start + unit + Self::WRITE_SIZE, |at, old| {
                old & bytes[at - start]
            })?;
        }
        Ok(())
    }
}

impl Slot for Chip {
    fn bytes(&self) -> &[u8] {
        &self.memory
    }
}

/// Two empty slots of one chip.
fn empty() -> [Chip; 2] {
    let chip = Chip { memory: std::vec![0xff; SLOT], power: Default::default() };
    [chip.clone(), chip]
}

/// Bytes in place of a model file, whose length is not a multiple of the unit.
fn file(version: u32) -> Vec<u8> {
    (0..2_301_u32).map(|i| (i * 31 + version * 17 + i / 256) as u8).collect()
}

fn key() -> [u8; 32] {
    public_key(&SECRET)
}

/// Which slot starts, and its counter.
fn started(slots: &mut [Chip; 2]) -> Option<(usize, u32)> {
    let slot = choose(slots, &key(), |found| (1..9).any(|version| found == file(version)))?;
    Some((slot, open::<Chip>(&slots[slot].memory, &key()).unwrap().counter))
}

/// Installs `version` in a slot.
fn update(slot: &mut Chip, version: u32, running: u32) -> Result<(), UpdateFault> {
    let file = file(version);
    let mut update = Update::begin(slot, file.len() as u32)?;
    for (i, part) in file.chunks(PART).enumerate() {
        update.write(slot, (i * PART) as u32, part)?;
    }
    update.finish(slot, version, &sign(&file, version, &SECRET), &key(), running)
}

/// Two slots: `version` runs in the first, and the version before it is in the second.
fn running(version: u32) -> [Chip; 2] {
    let mut slots = empty();
    update(&mut slots[1], version - 1, 0).unwrap();
    assert_eq!(started(&mut slots), Some((1, version - 1)));
    update(&mut slots[0], version, version - 1).unwrap();
    assert_eq!(started(&mut slots), Some((0, version)));
    slots
}

/// The power fails at each erase and each write of an update, and of the start after it. A good
/// model starts, and the update succeeds when it is repeated.
#[test]
fn power_may_fail_at_any_moment() {
    let mut whole = running(2);
    let before = whole[0].power.get().done;
    update(&mut whole[1], 3, 2).unwrap();
    let written = whole[0].power.get().done - before;
    assert_eq!(started(&mut whole), Some((1, 3)));
    let steps = whole[0].power.get().done - before;
    assert!(steps > written && written > file(3).len() / 4, "{steps}");
    for limit in 0..steps {
        for noise in [0xff, 0x5a, 0x00] {
            let mut slots = running(2);
            let power = slots[0].power.clone();
            power.set(Power { done: 0, limit: Some(limit), noise });
            let done = update(&mut slots[1], 3, 2);
            assert_eq!(done.is_ok(), limit >= written, "{limit}");
            if done.is_ok() {
                // It starts, but cannot be confirmed.
                assert_eq!(started(&mut slots), Some((1, 3)));
            }
            power.set(Power::default());
            let (slot, version) = started(&mut slots).unwrap();
            // The header may be complete although the power failed at its last write.
            assert!((slot, version) == (0, 2) || (slot, version) == (1, 3), "{limit}: {version}");
            assert!(done.is_err() || version == 3, "{limit}");
            update(&mut slots[1 - slot], 4, version).unwrap();
            assert_eq!(started(&mut slots), Some((1 - slot, 4)), "{limit}");
        }
    }
}

#[test]
fn the_newest_starts_that_is_good() {
    let mut slots = running(5);
    // A slot that does not pass its test is not started.
    update(&mut slots[1], 9, 5).unwrap();
    assert_eq!(started(&mut slots), Some((0, 5)));
    // Of two slots with the same counter, the one that was started before.
    update(&mut slots[1], 5, 5).unwrap();
    assert_eq!(started(&mut slots), Some((0, 5)));
    // The running slot loses a bit: the other starts, although it was never confirmed.
    slots[0].memory[1000] ^= 1;
    assert_eq!(started(&mut slots), Some((1, 5)));
    slots[1].memory[2000] ^= 1;
    assert_eq!(started(&mut slots), None);
    assert_eq!(started(&mut empty()), None);
}

#[test]
fn an_older_model_is_refused() {
    let mut slots = running(5);
    let refused = update(&mut slots[1], 4, 5);
    assert_eq!(refused, Err(UpdateFault::Older { counter: 4, running: 5 }));
    assert_eq!(started(&mut slots), Some((0, 5)));
    // It does not start either if somebody wrote it there and the newer one fails its test.
    // Otherwise, making the newer one fail would bring the old one back.
    update(&mut slots[1], 4, 0).unwrap();
    assert_eq!(choose(&mut slots, &key(), |found| found == file(4)), None);
}

#[test]
fn what_nobody_signed_is_refused() {
    let signed = running(2)[0].memory.clone();
    let open = |bytes: &[u8], key: &[u8; 32]| open::<Chip>(bytes, key).map(|found| found.counter);
    assert_eq!(open(&signed, &key()), Ok(2));
    // Another key, and an invalid key.
    assert_eq!(open(&signed, &public_key(&[8; 32])), Err(SlotFault::Signature));
    // Any bit of header and file.
    for byte in (0..HEADER_BYTES).chain([HEADER_BYTES, HEADER_BYTES + 1_000, HEADER_BYTES + 2_300])
    {
        for bit in 0..8 {
            let mut changed = signed.clone();
            changed[byte] ^= 1 << bit;
            assert!(open(&changed, &key()).is_err(), "{byte} {bit}");
        }
    }
    let mut long = signed.clone();
    long[76..80].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(open(&long, &key()), Err(SlotFault::Length));
    for length in [0, 3, 4, 64, 127, 131] {
        assert!(open(&signed[..length], &key()).is_err(), "{length}");
    }
}

#[test]
fn parts_come_in_order() {
    let [mut slot, _] = empty();
    let room = (SLOT - HEADER_BYTES - 4) as u32;
    assert_eq!(Update::begin(&mut slot, room + 1).unwrap_err(), UpdateFault::TooLong { room });
    let mut update = Update::begin(&mut slot, 100).unwrap();
    assert_eq!(update.write(&mut slot, 4, &[0; 4]), Err(UpdateFault::Order { expected: 0 }));
    assert_eq!(update.write(&mut slot, 0, &[0; 6]), Err(UpdateFault::Unit { bytes: 4 }));
    assert_eq!(update.write(&mut slot, 0, &[0; 64]), Ok(()));
    assert_eq!(update.write(&mut slot, 0, &[0; 64]), Err(UpdateFault::Order { expected: 64 }));
    assert_eq!(update.write(&mut slot, 64, &[0; 40]), Err(UpdateFault::TooLong { room: 100 }));
    let signature = sign(&[0; 100], 1, &SECRET);
    assert_eq!(update.finish(&mut slot, 1, &signature, &key(), 0), Err(UpdateFault::Incomplete));
}

#[test]
fn keys_are_read_at_compile_time() {
    const KEY: [u8; 32] =
        key_of_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff");
    assert_eq!((KEY[1], KEY[15], KEY[31]), (1, 15, 255));
}
