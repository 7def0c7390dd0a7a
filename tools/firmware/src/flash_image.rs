//! The contents of flash: firmware and model, byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use board_build::Spec;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

use crate::FirmwareError;

/// Number of bytes that flash takes at a time, and that a UF2 block holds.
pub(crate) const PAGE: usize = 256;

/// Bytes at addresses of a board's flash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlashImage {
    /// Parts by their address; they do not overlap.
    parts: BTreeMap<u32, Vec<u8>>,
}

impl FlashImage {
    /// Firmware and, in its slot, a model.
    pub fn new(spec: &Spec, firmware: &Path, model: Option<&Path>) -> Result<Self, FirmwareError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| FirmwareError::Read { path: path.to_owned(), source })
        };
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |reason: String| FirmwareError::Elf { path, reason }
        };
        let mut image = Self::default();
        let bytes = read(firmware)?;
        segments(&bytes)
            .and_then(|segments| {
                segments.into_iter().try_for_each(|(address, bytes)| {
                    let end = u64::from(address) + bytes.len() as u64;
                    let flash = spec.firmware();
                    if address < flash.address
                        || end > u64::from(flash.address) + u64::from(flash.bytes)
                    {
                        return Err(format!(
                            "{address:#010x} is outside of the memory that {} has for firmware",
                            spec.name
                        ));
                    }
                    image.add(address, bytes)
                })
            })
            .map_err(fault(firmware))?;
        if let Some(model) = model {
            image.add(spec.slot.address, &read(model)?).map_err(fault(model))?;
        }
        Ok(image)
    }

    /// Adds bytes at addresses that have none yet.
    ///
    /// The error names the address that has.
    pub fn add(&mut self, address: u32, bytes: &[u8]) -> Result<(), String> {
        let end = u64::from(address) + bytes.len() as u64;
        let last = self.parts.range(..u32::try_from(end).unwrap_or(u32::MAX)).next_back();
        let taken = last.map_or(0, |(&at, part)| u64::from(at) + part.len() as u64);
        if !bytes.is_empty() && taken > address.into() {
            return Err(format!("{address:#010x} is used twice"));
        }
        self.parts.insert(address, bytes.to_vec());
        Ok(())
    }

    /// The parts, with their addresses.
    pub fn parts(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.parts.iter().map(|(&address, bytes)| (address, bytes.as_slice()))
    }

    /// Whole pages by address; bytes that no part sets are those of erased flash.
    pub fn pages(&self) -> Vec<(u32, [u8; PAGE])> {
        let mut pages = BTreeMap::new();
        for (&address, bytes) in &self.parts {
            for (at, &byte) in (address..).zip(bytes) {
                let begin = at / PAGE as u32 * PAGE as u32;
                pages.entry(begin).or_insert([0xff; PAGE])[(at - begin) as usize] = byte;
            }
        }
        pages.into_iter().collect()
    }
}

/// The segments that an ELF file loads, at the addresses from which start-up code copies them.
fn segments(bytes: &[u8]) -> Result<Vec<(u32, &[u8])>, String> {
    let read = || {
        let header = elf::FileHeader32::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let mut segments = Vec::new();
        for segment in header.program_headers(endian, bytes)? {
            let data = segment.data(endian, bytes).unwrap_or_default();
            if segment.p_type(endian) == elf::PT_LOAD && !data.is_empty() {
                segments.push((segment.p_paddr(endian), data));
            }
        }
        Ok(segments)
    };
    read().map_err(|error: object::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let mut image = FlashImage::default();
        image.add(256, &[1; 10]).unwrap();
        image.add(266, &[2; 10]).unwrap();
        image.add(0, &[3; 256]).unwrap();
        for (address, bytes) in [(255, 2), (256, 1), (260, 1), (275, 1), (200, 400)] {
            assert!(image.add(address, &vec![0; bytes]).is_err(), "{address} {bytes}");
        }
        let pages = image.pages();
        assert_eq!(pages.len(), 2);
        assert_eq!(pages[1].1[8..22], [1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0xff, 0xff]);
    }
}
