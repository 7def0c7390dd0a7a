//! UF2: firmware and model in blocks of 512 bytes, for boot loaders that appear as drives.
//!
//! Each block contains the address of its bytes, so a file system may write the blocks in any
//! order. The format is <https://github.com/microsoft/uf2>.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use board_build::{Spec, Uf2};

use crate::FirmwareError;
use crate::flash_image::{FlashImage, PAGE};

const BLOCK: usize = 512;
const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
/// The flag that the word after the number of blocks is a family.
const FAMILY_PRESENT: u32 = 0x2000;

/// The blocks of an image.
pub fn encode(image: &FlashImage, uf2: &Uf2) -> Vec<u8> {
    let pages = image.pages();
    let mut bytes = Vec::with_capacity(pages.len() * BLOCK);
    for (number, (address, page)) in pages.iter().enumerate() {
        let words = [
            MAGIC[0],
            MAGIC[1],
            FAMILY_PRESENT,
            *address,
            PAGE as u32,
            number as u32,
            pages.len() as u32,
            uf2.family,
        ];
        let begin = bytes.len();
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(page);
        bytes.resize(begin + BLOCK - 4, 0);
        bytes.extend(MAGIC_END.to_le_bytes());
    }
    bytes
}

/// The image in a file of blocks.
///
/// The error describes what is wrong with the file.
pub fn decode(bytes: &[u8], uf2: &Uf2) -> Result<FlashImage, String> {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(format!(
            "{} bytes are not a whole number of blocks of {BLOCK} bytes",
            bytes.len()
        ));
    }
    let mut image = FlashImage::default();
    for (number, block) in blocks.iter().enumerate() {
        let (words, _) = block.as_chunks::<4>();
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let magic = [word(0), word(1), word(BLOCK / 4 - 1)];
        if magic != [MAGIC[0], MAGIC[1], MAGIC_END] {
            return Err(format!("block {number} is not a UF2 block"));
        }
        if word(2) & FAMILY_PRESENT == 0 || word(7) != uf2.family {
            return Err(format!("block {number} is for chips of another family"));
        }
        if (word(5), word(6)) != (number as u32, blocks.len() as u32) {
            return Err(format!("block {number} is numbered {} of {}", word(5), word(6)));
        }
        let data = block.get(32..32 + word(4) as usize).filter(|data| data.len() <= BLOCK - 36);
        let data = data.ok_or_else(|| format!("block {number} is too long"))?;
        image.add(word(3), data)?;
    }
    Ok(image)
}

/// The file that identifies the drive of a boot loader.
const INFO: &str = "INFO_UF2.TXT";

/// Folders in which drives are mounted.
fn mounts() -> Vec<PathBuf> {
    let user = env::var_os("USER").unwrap_or_default();
    let roots = ["/media", "/run/media", "/Volumes", "/mnt"].map(PathBuf::from);
    let of_user = roots.clone().map(|root| root.join(&user));
    let letters = ('D'..='Z').filter(|_| cfg!(windows)).map(|letter| format!("{letter}:\\").into());
    roots.into_iter().chain(of_user).chain(letters).collect()
}

/// The drive of a board's boot loader, if it is mounted.
pub fn drive(spec: &Spec) -> Option<PathBuf> {
    let uf2 = spec.uf2.as_ref()?;
    drive_in(&mounts(), uf2)
}

fn drive_in(mounts: &[PathBuf], uf2: &Uf2) -> Option<PathBuf> {
    let named = mounts.iter().map(|mount| mount.join(&uf2.drive));
    named.chain(mounts.iter().cloned()).find(|drive| {
        let info = fs::read_to_string(drive.join(INFO)).unwrap_or_default();
        info.lines()
            .any(|line| line.strip_prefix("Board-ID:").is_some_and(|id| id.trim() == uf2.drive))
    })
}

/// Copies an image to the drive of a board's boot loader, which then starts it.
pub fn copy(spec: &Spec, drive: &Path, image: &FlashImage) -> Result<PathBuf, FirmwareError> {
    let missing = || FirmwareError::NoDrive {
        board: spec.name.clone(),
        drive: spec.uf2.as_ref().map_or_else(|| "UF2".to_owned(), |uf2| uf2.drive.clone()),
    };
    let uf2 = spec.uf2.as_ref().ok_or_else(missing)?;
    if !drive.join(INFO).is_file() {
        return Err(missing());
    }
    let path = drive.join(format!("{}.uf2", spec.name));
    let write = || {
        let mut file = fs::File::create(&path)?;
        io::Write::write_all(&mut file, &encode(image, uf2))?;
        // The drive disappears once it has the whole file, which is no error.
        let _ = file.sync_all();
        Ok(())
    };
    write().map_err(|source| FirmwareError::Create { path: path.clone(), source })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drive_of_a_boot_loader_takes_the_file() {
        let registry = crate::Registry::find().unwrap();
        let spec = registry.board("rpi-pico").unwrap();
        let uf2 = spec.uf2.as_ref().unwrap();
        let mounts = tempfile::tempdir().unwrap();
        let drive = mounts.path().join("RPI-RP2");
        fs::create_dir(&drive).unwrap();
        let roots = [mounts.path().join("none"), mounts.path().to_owned()];
        assert_eq!(drive_in(&roots, uf2), None, "a folder of that name is not a boot loader");
        let error = copy(spec, &drive, &image()).unwrap_err();
        assert_eq!(error.to_string(), "rpi-pico: there is no drive `RPI-RP2`");
        let info =
            |id: &str| format!("UF2 Bootloader v3.0\r\nModel: Raspberry\r\nBoard-ID: {id}\r\n");
        fs::write(drive.join(INFO), info("RP2350")).unwrap();
        assert_eq!(drive_in(&roots, uf2), None, "it is another chip's");
        fs::write(drive.join(INFO), info("RPI-RP2")).unwrap();
        assert_eq!(drive_in(&roots, uf2), Some(drive.clone()));
        let path = copy(spec, &drive, &image()).unwrap();
        let read = decode(&fs::read(path).unwrap(), uf2).unwrap();
        assert_eq!(read.pages(), image().pages());
    }

    const PICO: Uf2 = Uf2 { family: 0xe48b_ff56, drive: String::new() };

    fn image() -> FlashImage {
        let mut image = FlashImage::default();
        image.add(0x1000_0000, &[1; 256]).unwrap();
        image.add(0x1000_0100, &[2; 300]).unwrap();
        image.add(0x1004_0000, &[3; 1]).unwrap();
        image
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = encode(&image(), &PICO);
        assert_eq!(bytes.len(), 4 * BLOCK);
        assert_eq!(decode(&bytes, &PICO).unwrap().pages(), image().pages());
        // The first block, as the format defines it.
        assert_eq!(bytes[..8], *b"UF2\nWQ]\x9e");
        assert_eq!(bytes[12..16], 0x1000_0000_u32.to_le_bytes());
        assert_eq!(bytes[28..33], [0x56, 0xff, 0x8b, 0xe4, 1]);
        assert_eq!(bytes[508..512], 0x0ab1_6f30_u32.to_le_bytes());
    }

    #[test]
    fn other_files_are_refused() {
        let good = encode(&image(), &PICO);
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            decode(&bytes, &PICO).unwrap_err()
        };
        assert_eq!(changed(0), "block 0 is not a UF2 block");
        assert_eq!(changed(512 + 28), "block 1 is for chips of another family");
        assert_eq!(changed(20), "block 0 is numbered 1 of 4");
        assert_eq!(changed(512 + 18), "block 1 is too long");
        assert!(decode(&good[1..], &PICO).is_err() && decode(&[], &PICO).is_err());
    }
}
