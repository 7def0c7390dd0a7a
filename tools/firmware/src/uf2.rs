//! UF2: firmware and model in blocks of 512 bytes, as boot loaders that are drives take them.
//!
//! Each block says where its bytes go, so a file system may hand the blocks over in any order. The
//! format is <https://github.com/microsoft/uf2>.

use board_build::Uf2;

use crate::flash_image::{FlashImage, PAGE};

const BLOCK: usize = 512;
const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
/// That the word behind the number of blocks is a family.
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

/// What a file of blocks puts where. The error says what is wrong with it.
pub fn decode(bytes: &[u8], uf2: &Uf2) -> Result<FlashImage, String> {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(format!("{} bytes are no number of blocks of {BLOCK}", bytes.len()));
    }
    let mut image = FlashImage::default();
    for (number, block) in blocks.iter().enumerate() {
        let (words, _) = block.as_chunks::<4>();
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let magic = [word(0), word(1), word(BLOCK / 4 - 1)];
        if magic != [MAGIC[0], MAGIC[1], MAGIC_END] {
            return Err(format!("block {number} is none of UF2"));
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

#[cfg(test)]
mod tests {
    use super::*;

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
        // The first block, as the format has it.
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
        assert_eq!(changed(0), "block 0 is none of UF2");
        assert_eq!(changed(512 + 28), "block 1 is for chips of another family");
        assert_eq!(changed(20), "block 0 is numbered 1 of 4");
        assert_eq!(changed(512 + 18), "block 1 is too long");
        assert!(decode(&good[1..], &PICO).is_err() && decode(&[], &PICO).is_err());
    }
}
