//! Numbers in four bits, as bytes.

use zerocopy::{FromBytes, IntoBytes};

use super::packing::HALVES;

/// Unpacks numbers in [four bits](super::Packing::unpacked) to bytes; what has no place in `bytes` is
/// left out.
pub(crate) fn unpack_halves(packed: &[i8], bytes: &mut [i8]) {
    // The lower half of each byte of a word, its sign extended: the upper halves are 8, then 0 or
    // 1, so that nothing is borrowed from the next byte.
    let extend = |halves: u32| ((halves & 0x0f0f_0f0f ^ 0x8888_8888) - 0x0808_0808) ^ 0x8080_8080;
    let (blocks, rest) = packed.as_chunks::<HALVES>();
    let (places, _) = bytes.as_chunks_mut::<{ 2 * HALVES }>();
    let words = <[[u32; HALVES / 4]]>::ref_from_bytes(blocks.as_bytes());
    let doubles = <[[[u32; HALVES / 4]; 2]]>::mut_from_bytes(places.as_mut_bytes());
    match (words, doubles) {
        (Ok(words), Ok(doubles)) => {
            for (words, [low, high]) in words.iter().zip(doubles) {
                for ((word, low), high) in words.iter().zip(low).zip(high) {
                    (*low, *high) = (extend(*word), extend(*word >> 4));
                }
            }
        }
        // A file may lie anywhere.
        _ => {
            for (block, places) in blocks.iter().zip(places) {
                split(block, places);
            }
        }
    }
    split(rest, bytes.get_mut(2 * HALVES * blocks.len()..).unwrap_or_default());
}

/// Splits bytes, sixteen at most, into their lower halves and, behind these, their upper ones.
fn split(packed: &[i8], places: &mut [i8]) {
    let Some((low, high)) = places.split_at_mut_checked(packed.len()) else { return };
    for (pair, low) in packed.iter().zip(low) {
        *low = *pair << 4 >> 4;
    }
    for (pair, high) in packed.iter().zip(high) {
        *high = *pair >> 4;
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn halves_are_unpacked_wherever_they_lie() {
        for length in 0..100 {
            let numbers: Vec<i8> = (0..2 * length).map(|i| (i * 7 % 16 - 8) as i8).collect();
            let mut packed = Vec::new();
            for block in numbers.chunks(2 * HALVES) {
                let (low, high) = block.split_at(block.len() / 2);
                packed.extend(low.iter().zip(high).map(|(low, high)| low & 15 | high << 4));
            }
            // Aligned as words are, and not.
            for offset in 0..5 {
                let mut shifted = vec![0; offset];
                shifted.extend(&packed);
                let mut bytes = vec![99; numbers.len()];
                unpack_halves(&shifted[offset..], &mut bytes);
                assert_eq!(bytes, numbers, "{length} at {offset}");
            }
        }
    }
}
