//! Checks that the flash of an Espressif chip holds what its boot loaders expect.
//!
//! The format is documented in Espressif's "Application startup flow" and "esptool: firmware image
//! format".

use std::ops::Range;

use board_build::{Espflash, Spec};
use sha2::{Digest, Sha256};

use crate::FlashImage;

/// The offset at which the second boot loader looks for the partition table.
pub(crate) const PARTITION_TABLE: u32 = 0x8000;

/// Size of a page of the cache's MMU in bytes. Addresses in flash and in memory differ by whole
/// pages.
const PAGE: u32 = 0x1_0000;

/// The properties of a chip that the check needs.
struct Known {
    name: &'static str,
    /// The chip's number in images.
    id: u16,
    /// Addresses at which the cache maps constants and code.
    shown: [Range<u32>; 2],
    /// Addresses of RAM, for data and for code.
    ram: [Range<u32>; 2],
}

const CHIPS: [Known; 2] = [
    Known {
        name: "esp32c3",
        id: 5,
        shown: [0x3c00_0000..0x3c80_0000, 0x4200_0000..0x4280_0000],
        ram: [0x3fc8_0000..0x3fce_0000, 0x4037_c000..0x403e_0000],
    },
    Known {
        name: "esp32c6",
        id: 13,
        shown: [0x4200_0000..0x4300_0000, 0x4200_0000..0x4300_0000],
        ram: [0x4080_0000..0x4088_0000, 0x4080_0000..0x4088_0000],
    },
];

/// Checks the contents of a flash, by their offsets. The error describes what is wrong.
pub(crate) fn check(spec: &Spec, espflash: &Espflash, image: &FlashImage) -> Result<(), String> {
    let chip = CHIPS.iter().find(|chip| chip.name == espflash.chip);
    let chip = chip.ok_or_else(|| format!("images of {} are not known", espflash.chip))?;
    let part = |offset: u32, what: &str| {
        let found = image.parts().find(|(begin, _)| *begin == offset);
        found.map(|(_, bytes)| bytes).ok_or_else(|| format!("there is no {what} at {offset:#x}"))
    };
    let boot_loader = part(0, "boot loader")?;
    if boot_loader.len() > PARTITION_TABLE as usize {
        return Err("the boot loader reaches into the partition table".to_owned());
    }
    let of_boot_loader = |reason| format!("the boot loader: {reason}");
    let boot_loader = Application::parse(boot_loader).map_err(of_boot_loader)?;
    if boot_loader.chip != chip.id {
        return Err("the boot loader is one of another chip".to_owned());
    }
    boot_loader.sums().map_err(of_boot_loader)?;
    table(spec, espflash, part(PARTITION_TABLE, "partition table")?)?;
    let bytes = part(espflash.firmware_offset, "firmware")?;
    let room = spec.firmware().bytes;
    if bytes.len() > room as usize {
        return Err(format!("{} bytes of firmware do not fit {room}", bytes.len()));
    }
    let application = Application::parse(bytes)?;
    application.check(spec, chip)?;
    application.sums()?;
    let model = image.parts().find(|(begin, _)| *begin == espflash.slot_offset);
    match model.is_none_or(|(_, bytes)| bytes.len() <= spec.slot.bytes as usize) {
        true => Ok(()),
        false => Err("the model does not fit its slot".to_owned()),
    }
}

/// Checks that a partition table has the application and the slot.
fn table(spec: &Spec, espflash: &Espflash, bytes: &[u8]) -> Result<(), String> {
    const MAGIC: u16 = 0x50aa;
    // The application, which is the first of its type, and data of an undefined type.
    let wanted = [
        (0, 0, espflash.firmware_offset, spec.firmware().bytes),
        (1, 6, espflash.slot_offset, spec.slot.bytes),
    ];
    for (kind, of_kind, offset, size) in wanted {
        let there = bytes.as_chunks::<32>().0.iter().any(|entry| {
            half(entry, 0) == Some(MAGIC)
                && (entry[2], entry[3]) == (kind, of_kind)
                && (word(entry, 4), word(entry, 8)) == (Some(offset), Some(size))
        });
        if !there {
            return Err(format!("the partition table has nothing at {offset:#x}"));
        }
    }
    Ok(())
}

/// A segment of an image: the address at which it is loaded or mapped, its offset in the image, and
/// its bytes.
struct Loaded<'i> {
    address: u32,
    at: u32,
    bytes: &'i [u8],
}

/// An image, with the contents of its header.
struct Application<'i> {
    image: &'i [u8],
    chip: u16,
    entry: u32,
    segments: Vec<Loaded<'i>>,
    /// The end of the segments.
    end: usize,
}

impl<'i> Application<'i> {
    /// Parses an image: its header of 24 bytes, and its segments, each with a header of 8 bytes.
    fn parse(image: &'i [u8]) -> Result<Self, String> {
        let short = || "it is cut short".to_owned();
        if image.first() != Some(&0xe9) {
            return Err("it is not an image of an application".to_owned());
        }
        let count = *image.get(1).ok_or_else(short)?;
        let mut segments = Vec::new();
        let mut at = 24;
        for _ in 0..count {
            let address = word(image, at).ok_or_else(short)?;
            let length = word(image, at + 4).ok_or_else(short)? as usize;
            at += 8;
            let bytes = image.get(at..at.saturating_add(length)).ok_or_else(short)?;
            segments.push(Loaded { address, at: at as u32, bytes });
            at += length;
        }
        let chip = half(image, 12).ok_or_else(short)?;
        let entry = word(image, 4).ok_or_else(short)?;
        Ok(Self { image, chip, entry, segments, end: at })
    }

    /// Checks that its checksum and its digest match its bytes.
    fn sums(&self) -> Result<(), String> {
        // The checksum is the last byte of the next 16.
        let checksum_at = self.end | 15;
        let digest_at = checksum_at + 1;
        let bytes = self.segments.iter().flat_map(|segment| segment.bytes);
        let checksum = bytes.fold(0xef, |sum, byte| sum ^ byte);
        if self.image.get(checksum_at) != Some(&checksum) {
            return Err("its checksum is wrong".to_owned());
        }
        let digest = Sha256::digest(&self.image[..digest_at]);
        match self.image.get(digest_at..digest_at + 32) == Some(&digest[..]) {
            true => Ok(()),
            false => Err("its digest is wrong".to_owned()),
        }
    }

    /// Checks that the boot loader can start it on that board.
    fn check(&self, spec: &Spec, chip: &Known) -> Result<(), String> {
        const DESCRIPTOR: u32 = 0xabcd_5432;
        if self.chip != chip.id {
            return Err("it is for another chip".to_owned());
        }
        let of =
            |ranges: &[Range<u32>], address| ranges.iter().any(|range| range.contains(&address));
        let mut shown = 0;
        for (number, Loaded { address, at, bytes }) in self.segments.iter().enumerate() {
            let last = u64::from(*address) + (bytes.len() as u64).max(1) - 1;
            let last = u32::try_from(last).unwrap_or(u32::MAX);
            // A segment without an address fills a gap, and is not loaded.
            if *address == 0 || of(&chip.ram, *address) && of(&chip.ram, last) {
                continue;
            }
            if !(of(&chip.shown, *address) && of(&chip.shown, last)) {
                return Err(format!(
                    "segment {number} is at {address:#x}, where there is no memory"
                ));
            }
            if address % PAGE != at % PAGE {
                return Err(format!(
                    "segment {number} has another offset within a page of the MMU"
                ));
            }
            let slot = spec.slot.address..spec.slot.address + spec.slot.bytes;
            if *address < slot.end && last >= slot.start {
                return Err(format!("segment {number} is where the slot is mapped"));
            }
            shown += 1;
        }
        if shown != 2 {
            return Err(format!("it has {shown} segments that are mapped, not two"));
        }
        let is_code = |segment: &Loaded<'_>| {
            let end = segment.address.saturating_add(segment.bytes.len() as u32);
            (segment.address..end).contains(&self.entry)
        };
        if !(of(&chip.shown[1..], self.entry) && self.segments.iter().any(is_code)) {
            return Err(format!("its entry is at {:#x}, where there is no code", self.entry));
        }
        let first = self.segments.first().filter(|segment| of(&chip.shown[..1], segment.address));
        match first.and_then(|segment| word(segment.bytes, 0)) {
            Some(DESCRIPTOR) => Ok(()),
            _ => Err("it does not begin with the descriptor of an application".to_owned()),
        }
    }
}

/// Two bytes of an image.
fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|half| u16::from_le_bytes(*half))
}

/// Four bytes of an image.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}
